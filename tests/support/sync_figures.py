"""A deployment with many syncs and runs, for pages: written into a ledger and an archive of policies, without loads.

The numbers follow from the names, so that each call writes the same deployment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from support.ledgers import opened, sqlite_url

from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.delivery.lags import Lags
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.records import parsed_sync_name
from airflow_consent_retl.delivery.ledger.run_history import note_run
from airflow_consent_retl.delivery.ledger.run_records import RunCounts, RunKind, RunningTask, RunRecord, RunState
from airflow_consent_retl.storage.policy_archive import PolicyArchive, PolicyEffect

MODELS = ("customers", "leads", "newsletter_readers", "app_users", "shop_orders", "event_guests", "members", "trials")
DESTINATIONS = ("google_ads:emea", "webhook", "crm_table", "braze", "lake", "meta", "hubspot", "klaviyo", "salesforce")
PLACE = "variable:consent_policy"
# The numbers of the syncs whose last load failed.
_TROUBLED = (1, 4)

FIRST_POLICY: dict[str, Any] = {
    "unmapped_destinations": "deny",
    "categories": [
        {"id": "C0002", "name": "Analytics", "destinations": ["webhook", "crm_table"]},
        {"id": "C0004", "name": "Advertising", "destinations": ["google_ads", "meta", "webhook"]},
    ],
    "destinations": {"lake": {"consent": "not_required", "reason": "own analytics store, no third party"}},
}
POLICY: dict[str, Any] = {
    **FIRST_POLICY,
    "categories": [
        {"id": "C0002", "name": "Analytics", "destinations": ["webhook", "crm_table", "hubspot"]},
        {"id": "C0004", "name": "Advertising", "destinations": ["google_ads", "meta", "webhook", "klaviyo"]},
        {"id": "C0007", "name": "Direct marketing", "destinations": ["braze", "klaviyo", "salesforce"]},
    ],
}


@dataclass(frozen=True)
class Sized:
    """The size of a deployment: its syncs, each with a load and a run of the fast lane on each day up to now."""

    syncs: int
    days: int


def write_policies(archive: PolicyArchive, *, at: datetime) -> None:
    """Write two policies, the present one with an approval and its effect on people."""
    first, present = parse_policy(FIRST_POLICY), parse_policy(POLICY)
    for policy, since in ((first, at - timedelta(days=70)), (present, at - timedelta(days=20))):
        archive.keep(policy)
        archive.note_in_force(PLACE, policy, at=since, change_of=lambda place: None)
    archive.approve(
        present, PLACE, by="Ida Petersen", at=at - timedelta(days=21), note="marketing by e-mail asks for its own yes"
    )
    effect = PolicyEffect("customers", first.digest, at - timedelta(days=20), {"braze": (0, 1_904)})
    archive.note_effect(present, effect)


def write_runs(place: Path | str, size: Sized, *, at: datetime) -> int:
    """Write syncs and their runs up to a time into the ledger in a file or at a URL; return the number of runs."""
    url = sqlite_url(place) if isinstance(place, Path) else place
    names = list(_names(size.syncs))
    people = {name: 2_000 + _from(name, "people", 90_000) for name in names}
    with opened(url) as ledger:
        for name in names:
            _deliver(ledger, name, dag=name.partition("/")[0], people=people[name])
    runs = [
        run
        for number, name in enumerate(names)
        for run in _runs_of(name, size.days, people[name], at=at, troubled=number in _TROUBLED)
    ]
    engine = sa.create_engine(url)
    # One transaction for all: each run would wait for the disk.
    with engine.begin() as connection:
        for run in sorted(runs, key=lambda run: run.ended_at):
            note_run(connection, run)
    engine.dispose()
    return len(runs)


def _names(syncs: int) -> Iterator[str]:
    for number in range(syncs):
        rest, place = divmod(number, len(MODELS) * len(DESTINATIONS))
        yield f"{MODELS[place % len(MODELS)]}{rest or ''}/{DESTINATIONS[place // len(MODELS)]}"


def _deliver(ledger: Ledger, name: str, *, dag: str, people: int) -> None:
    sync = parsed_sync_name(name)
    with ledger.acquire(sync, holder="a test") as lease:
        lease.target(f"https://{sync.rpartition('/')[2].partition(':')[0]}.example.com/people")
        lease.serve(dag, [])
        delivery = lease.begin(
            key=name,
            kind="load",
            changes_uri=f"file:///changes/{name}",
            changes_sha256="c" * 64,
            decided_at=lease.newest().decided_at or datetime.fromisoformat("2026-01-01T00:00:00+00:00"),
            send_rows=100,
            remove_rows=100,
        )
        lease.advance(
            delivery, uri=f"file:///state/{name}", sha256="5" * 64, rows=people, decided_at=delivery.decided_at
        )
        lease.note_served()


def _runs_of(name: str, days: int, people: int, *, at: datetime, troubled: bool) -> Iterator[RunRecord]:
    for back in range(days, 0, -1):
        ended_at = at - timedelta(days=back - 1, minutes=20 + _from(name, str(back), 300))
        is_last, share = back == 1, 0.62 + 0.2 * _wave(name, back)
        read = int(people / 0.7)
        permitted = int(read * share)
        denied, sent = read - permitted, people // 40 + _from(name, f"sent {back}", people // 30)
        rejected = _from(name, f"rejected {back}", 12) if troubled or _from(name, str(back), 9) == 0 else 0
        unknown = denied // 4
        run = f"scheduled__{ended_at:%Y-%m-%dT%H:%M:%S}+00:00"
        yield RunRecord(
            sync=parsed_sync_name(name),
            kind=RunKind.LOAD,
            state=RunState.FAILED if troubled and is_last else RunState.DONE,
            failure="GuardError" if troubled and is_last else "",
            task=RunningTask(dag=name.partition("/")[0], run=run, task=f"load_{name.rpartition('/')[2]}"),
            began_at=ended_at - timedelta(seconds=40 + _from(name, f"took {back}", 200)),
            ended_at=ended_at,
            policy_digest=_PRESENT if back <= 20 else _FIRST,
            decided_at=ended_at - timedelta(minutes=4),
            data_time=ended_at - timedelta(minutes=9),
            people=people,
            counts=RunCounts(
                read=read,
                permitted=permitted,
                denied=denied,
                added=sent,
                unchanged=max(permitted - sent, 0),
                accepted=sent - rejected,
                rejected=rejected,
                removed=sent // 40,
                not_removed=3 if troubled and is_last else 0,
            ),
            denied_by_reason={
                "C0004:denied": denied - unknown,
                "C0002:unknown": unknown,
                "C0002:expired": unknown // 5,
                "gpc:denied": unknown // 9,
            },
            removals_by_cause={"left_model": sent // 40},
            codes={"rejected:invalid_email": rejected} if rejected else {},
        )
        yield _fast_lane(name, ended_at - timedelta(minutes=50), withdrawn=sent // 12, people=people)


def _fast_lane(name: str, at: datetime, *, withdrawn: int, people: int) -> RunRecord:
    lags_s = [60.0 + _from(name, f"lag {at} {place}", 5_000) for place in range(min(withdrawn, 20))]
    return RunRecord(
        sync=parsed_sync_name(name),
        kind=RunKind.WITHDRAWALS,
        state=RunState.DONE,
        task=RunningTask(dag=name.partition("/")[0], run=f"withdrawals__{at:%Y-%m-%dT%H:%M:%S}+00:00", task="withdraw"),
        began_at=at - timedelta(seconds=12),
        ended_at=at,
        people=people,
        counts=RunCounts(removed=withdrawn, found=people),
        removals_by_cause={"consent_withdrawn": withdrawn},
        lags=Lags.of(lags_s),
    )


_FIRST, _PRESENT = parse_policy(FIRST_POLICY).digest, parse_policy(POLICY).digest


def _from(name: str, use: str, most: int) -> int:
    """Return a number from 0 up to `most`, without it, that follows from names."""
    return int.from_bytes(hashlib.sha256(f"{name} {use}".encode()).digest()[:6]) % max(most, 1)


def _wave(name: str, back: int) -> float:
    return abs((back + _from(name, "phase", 40)) % 40 - 20) / 20
