"""The contents of each page: figures of the read model, cut to what the user may see, and the charts of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.hooks.approving import approve as approve_policy
from airflow_consent_retl.hooks.ledgers import existing_ledger, unserved_days
from airflow_consent_retl.reports.presence import present_places
from airflow_consent_retl.sight import figures
from airflow_consent_retl.sight.charts import Series, Tone, column_chart, share_bar
from airflow_consent_retl.sight.days import DayFigures, Period
from airflow_consent_retl.sight.figures import MOST_RUNS, Health, SyncFigures
from airflow_consent_retl.sight.page.airflow_facts import DagState, dag_states, note_look_up, noted_approval
from airflow_consent_retl.sight.page.form_proof import form_proof, is_proof
from airflow_consent_retl.sight.page.written_reports import written_report
from airflow_consent_retl.sight.reasons import reason_trends
from airflow_consent_retl.sight.shown_policies import category_names, place_figures, policy_places
from airflow_consent_retl.sight.templating import day as day_in_words
from airflow_consent_retl.sight.templating import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.hooks.known_workspaces import KnownWorkspace
    from airflow_consent_retl.sight.charts import ColumnChart, TrendChart
    from airflow_consent_retl.sight.page.access import Rights

Contents = dict[str, Any]
PERIODS: Final = (7, 30, 90, 365)
_WORST_FIRST: Final = tuple(Health)
_PERSON: Final = "airflow_consent_retl.reports.history_of_person"


def overview(reader: Rights, within: KnownWorkspace, *, days: int, find: str) -> Contents:
    """Return all syncs that the user may see, or those with a text in their names, the worst first."""
    at = datetime.now(UTC)
    period = Period.of_days(days, until=at)
    with _ledger(within) as ledger:
        if ledger is None:
            return {**_common(days, at), "find": find, "all": None}
        found = figures.overview(
            ledger,
            period,
            at=at,
            unserved_days=unserved_days(),
            shows=lambda one: reader.may_see(one) and find.casefold() in one.sync.casefold(),
        )
    dags = dag_states({one.dag for one in found.syncs if one.dag})
    names = _names_of(found.syncs)
    states = {one.sync: _state(one, dags.get(one.dag)) for one in found.syncs}
    return {
        **_common(days, at),
        "find": find,
        "all": found,
        "syncs": sorted(found.syncs, key=lambda one: (_WORST_FIRST.index(states[one.sync]), one.sync)),
        "states": states,
        "unserved": [one for one in found.syncs if states[one.sync] is Health.UNSERVED],
        "dags": dags,
        "reasons": found.denied_by_reason,
        "names": names,
        "decided": _decided_chart(found.days, "Permitted and denied, all syncs"),
        "trends": _denied_chart(found.days, names),
        "removed": _removed_chart(found.days),
        "shares": {one.sync: _share(one) for one in found.syncs if one.load is not None},
    }


def sync(reader: Rights, within: KnownWorkspace, name: str, *, days: int, page: int) -> Contents | None:
    """Return one sync; None: it is not known, or the user may not see it."""
    at = datetime.now(UTC)
    with _ledger(within) as ledger:
        if ledger is None:
            return None
        found = figures.sync_history(
            ledger,
            name,
            Period.of_days(days, until=at),
            at=at,
            unserved_days=unserved_days(),
            shows=reader.may_see,
            offset=(page - 1) * MOST_RUNS,
        )
    if found is None:
        return None
    one = found.figures
    names = _names_of([one])
    dag_state = dag_states({one.dag})[one.dag] if one.dag else None
    return {
        **_common(days, at),
        "history": found,
        "sync": one,
        "page": page,
        "pages": max(1, -(-found.number // MOST_RUNS)),
        "dag_state": dag_state,
        "state": _state(one, dag_state),
        "names": names,
        "decided": _decided_chart(found.days, "Permitted and denied"),
        "trends": _denied_chart(found.days, names),
        "sent": _sent_chart(found.days),
        "share": None if one.load is None else _share(one),
    }


def run(
    reader: Rights, within: KnownWorkspace, dag_id: str, run_id: str, task_id: str, map_index: int | None
) -> Contents | None:
    """Return what one task did in one run; None: it is not recorded, or the user may not see it."""
    with _ledger(within) as ledger:
        if ledger is None:
            return None
        visible = {one.sync for one in ledger.syncs() if reader.may_see(one)}
        with ledger.history() as history:
            found = history.of_task(dag_id, run_id, task_id, map_index=map_index)
    shown = [one for one in found if one.sync in visible]
    if not shown:
        return None
    return {
        **_common(PERIODS[1], datetime.now(UTC)),
        "runs": shown,
        "task": shown[0].task,
        "names": {one.policy_digest: category_names(one.policy_digest) for one in shown},
        "has_report": report(reader, within, dag_id, run_id) is not None,
    }


def report(reader: Rights, within: KnownWorkspace, dag_id: str, run_id: str) -> bytes | None:
    """Return the HTML report of a run; None: none was written, or the user may not see each of its syncs."""
    with _ledger(within) as ledger:
        if ledger is None:
            return None
        visible = {one.sync for one in ledger.syncs() if reader.may_see(one)}
        with ledger.history() as history:
            found = history.of_task(dag_id, run_id)
    if not found or not {one.sync for one in found} <= visible:
        return None
    return written_report(dag_id, run_id, workspace=within.workspace)


def policy(reader: Rights, place: str | None) -> Contents | None:
    """Return the policies at a place; None: no run saw one there, or the user may not see it."""
    if not reader.sees_anything:
        return None
    places = policy_places()
    chosen = place if place is not None else next(iter(places), None)
    # A place that someone made up is never read.
    found = place_figures(chosen) if chosen in places and chosen is not None else None
    if found is None and place is not None:
        return None
    waiting = None if found is None else found.waiting
    can_approve = found is not None and waiting is not None and reader.may_approve(found.place)
    return {
        **_common(PERIODS[1], datetime.now(UTC)),
        "places": places,
        "found": found,
        "proof": form_proof(reader.name, found.place, waiting.digest) if can_approve and found and waiting else None,
    }


def approve(reader: Rights, *, place: str, digest: str, proof: str, note: str) -> bool:
    """Approve a policy in the name of the user, as the form on the page about policies asks.

    Returns:
        False: the user may not approve it, or this Airflow did not show them this form in the last hour.

    Raises:
        ConfigurationError: another policy is at the place now.
    """
    if not (reader.sees_anything and is_proof(proof, reader.name, place, digest) and reader.may_approve(place)):
        return False
    with noted_approval(reader.name, place=place, digest=digest):
        approve_policy(place, digest=digest, by=reader.name, note=note, is_login=True)
    return True


def person_form(reader: Rights) -> Contents:
    """Return the empty form. What its answer needs is imported meanwhile: an id takes some seconds to type."""
    if reader.may_look_up:
        Thread(target=import_module, args=(_PERSON,), name="consent page, one person").start()
    return {**_common(PERIODS[1], datetime.now(UTC)), "history": None}


def person(reader: Rights, within: KnownWorkspace, person_id: str) -> Contents:
    """Return what is recorded of one person, and note that the user asked. The id is not part of it."""
    if not reader.may_look_up:
        return person_form(reader)
    # Late: it loads much that no other page needs.
    from airflow_consent_retl.reports.history_of_person import person_history

    note_look_up(reader.name)
    history = person_history(person_id, workspace=within.workspace, ledger_conn_id=within.ledger_conn_id)
    digests = {one.policy_digest for one in history.decisions}
    return {
        **_common(PERIODS[1], datetime.now(UTC)),
        "history": history,
        "present": present_places(history),
        "names": {digest: category_names(digest) for digest in digests},
    }


@contextmanager
def _ledger(within: KnownWorkspace) -> Iterator[Ledger | None]:
    ledger = existing_ledger(within.workspace, within.ledger_conn_id)
    if ledger is None:
        yield None
        return
    with ledger:
        yield ledger


def _common(days: int, at: datetime) -> Contents:
    return {"days": days, "periods": PERIODS, "at": at}


def _names_of(syncs: Sequence[SyncFigures]) -> Mapping[str, str]:
    digests = dict.fromkeys(one.load.policy_digest for one in syncs if one.load is not None)
    names: dict[str, str] = {}
    for digest in digests:
        names.update(category_names(digest))
    return names


def _state(one: SyncFigures, dag: DagState | None) -> Health:
    """Return the state of a sync. One with people whose DAG Airflow does not run is served by no one."""
    return Health.UNSERVED if one.people and dag is not DagState.ACTIVE else one.health


def _share(one: SyncFigures) -> Any:
    parts = [("permitted", Tone.PERMITTED, one.permitted or 0), ("denied", Tone.DENIED, one.denied or 0)]
    return share_bar(parts, title=one.sync)


def _decided_chart(days: Sequence[DayFigures], title: str) -> ColumnChart | None:
    known = [one for one in days if one.permitted is not None]
    if not known:
        return None
    last = known[-1]
    return column_chart(
        [day_in_words(one.day) for one in days],
        [
            Series("permitted", Tone.PERMITTED, [one.permitted or 0 for one in days]),
            Series("denied", Tone.DENIED, [one.denied or 0 for one in days]),
        ],
        title=title,
        label=_label(days),
        summary=f"By the last load of each {_label(days)}. Now {number(last.permitted or 0)} permitted and "
        f"{number(last.denied or 0)} denied.",
    )


def _denied_chart(days: Sequence[DayFigures], names: Mapping[str, str]) -> TrendChart | None:
    labels = [day_in_words(one.day) for one in days]
    return reason_trends(labels, [one.by_reason for one in days], names=names, label=_label(days))


def _removed_chart(days: Sequence[DayFigures]) -> ColumnChart | None:
    if not any(one.removed or one.rejected for one in days):
        return None
    removed, rejected = sum(one.removed for one in days), sum(one.rejected for one in days)
    return column_chart(
        [day_in_words(one.day) for one in days],
        [
            Series("taken back", Tone.REMOVED, [one.removed for one in days]),
            Series("rejected", Tone.REJECTED, [one.rejected for one in days]),
        ],
        title="Taken back and rejected",
        label=_label(days),
        summary=f"{number(removed)} taken back and {number(rejected)} rejected in this period.",
    )


def _sent_chart(days: Sequence[DayFigures]) -> ColumnChart | None:
    if not any(one.sent or one.removed or one.rejected for one in days):
        return None
    totals = [sum(getattr(one, name) for one in days) for name in ("sent", "removed", "rejected")]
    return column_chart(
        [day_in_words(one.day) for one in days],
        [
            Series("sent", Tone.PEOPLE, [one.sent for one in days]),
            Series("taken back", Tone.REMOVED, [one.removed for one in days]),
            Series("rejected", Tone.REJECTED, [one.rejected for one in days]),
        ],
        title="Sent, taken back and rejected",
        label=_label(days),
        summary="{} sent, {} taken back and {} rejected in this period.".format(*map(number, totals)),
    )


def _label(days: Sequence[DayFigures]) -> str:
    is_daily = len(days) < 2 or days[1].day - days[0].day == timedelta(days=1)
    return "day" if is_daily else "week"
