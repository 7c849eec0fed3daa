"""A ledger with the runs of some weeks, and a policy that changed, for the tests of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from support.ledgers import advanced, begun
from support.noted_runs import a_load, withdrawals

from airflow_consent_retl.consent import ConsentPolicy, parse_policy
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.records import parsed_sync_name
from airflow_consent_retl.delivery.ledger.run_records import RunRecord, RunState
from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.storage.location import policy_archive

END = datetime(2026, 11, 28, 18, tzinfo=UTC)
DAYS = 20
PLACE = "variable:consent_policy"
SYNCS = {
    "customers/crm": "sqlite crm.db, table people",
    "customers/google_ads:emea": "Google Data Manager, audience 8391",
    "customers/webhook": "https://crm.example.com/v1/people",
}
_ANALYTICS = {"id": "C0002", "name": "Analytics", "destinations": ["crm"]}
_ADVERTISING = {"id": "C0004", "name": "Advertising", "destinations": ["google_ads", "webhook"]}


def policies() -> tuple[ConsentPolicy, ConsentPolicy]:
    """Return the policy of the first days, and the one that asks for more."""
    more = {**_ADVERTISING, "destinations": ["google_ads", "webhook", "crm"], "max_age": "13 months"}
    of_both = [{"categories": [_ANALYTICS, one], "unmapped_destinations": "deny"} for one in (_ADVERTISING, more)]
    before, after = map(parse_policy, of_both)
    return before, after


def some_weeks() -> None:
    """Have the deployment's ledger and archive know three syncs, their loads and withdrawals, and two policies.

    The last load of `customers/google_ads:emea` waits for the vendor. A limit stopped one of `customers/crm`.
    """
    before, after = policies()
    archive = policy_archive()
    for policy, at in ((before, END - timedelta(days=200)), (after, END - timedelta(days=8))):
        archive.keep(policy)
        archive.note_in_force(PLACE, policy, at=at, change_of=lambda _: None)
    archive.approve(after, PLACE, by="Ida Officer", at=END - timedelta(days=9), note="DPIA 2026-14")
    with open_ledger(None, None) as ledger:
        for number, (name, target) in enumerate(SYNCS.items()):
            _served(ledger, name, target)
            for run in _runs(name, number, before, after):
                ledger.note_run(run)


def _served(ledger: Ledger, name: str, target: str) -> None:
    with ledger.acquire(parsed_sync_name(name), holder="a test") as lease:
        lease.target(target)
        lease.serve("customers_daily", [])
        advanced(lease, begun(lease), rows=60)
        lease.note_served()


def _runs(name: str, number: int, before: ConsentPolicy, after: ConsentPolicy) -> Sequence[RunRecord]:
    found = []
    for day in range(DAYS, 0, -1):
        at = END - timedelta(days=day)
        state, failure = RunState.DONE, ""
        if day == 1 and "google" in name:
            state = RunState.WAITING
        if day == 5 and "crm" in name:
            state, failure = RunState.FAILED, "GuardError"
        load = a_load(name, at=at, state=state, failure=failure, denied=30 + day, rejected=number, accepted=5 + day % 4)
        waits = 7 if state is RunState.WAITING else 0
        found.append(
            replace(
                load,
                policy_digest=(before if day > 8 else after).digest,
                counts=replace(load.counts, pending=waits, added=load.counts.added + waits),
                denied_by_reason={**load.denied_by_reason, "gpc:denied": 3, "C0002:conflict": 1},
            )
        )
        lags_s = [60.0 * (day + 1) * (one + 1) ** 3 for one in range(day % 5)]
        if lags_s:
            found.append(withdrawals(name, at=at + timedelta(hours=6), lags_s=lags_s, not_removed=int(day == 5)))
    return found
