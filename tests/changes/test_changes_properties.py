"""Changes and folding against a second, naive implementation of both, over random histories of one sync."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import cycle, islice, pairwise
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.changing import BY_MAIL, FIELDS, Sync, batch_result, entries, people, people_of, removed, sent
from support.permitting import AT

from airflow_consent_retl.changes.results import BatchResult
from airflow_consent_retl.contract.outcomes import RowStatus
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.sync_mode import SyncMode

Row = dict[str, Any]
# Mostly accepted: an empty state would show nothing.
STATUSES = [*RowStatus, *[RowStatus.ACCEPTED] * 4, RowStatus.UNCERTAIN]
# Ids may repeat in half of the models.
UNIQUE: list[Callable[[Row], Hashable]] = [itemgetter("id"), repr]
IDENTIFIERS = ("mail", "phone")


@dataclass(frozen=True)
class Entry:
    id: int
    # What was certainly accepted; None: not known.
    payload: tuple[Any, ...] | None
    removal: tuple[Any, ...]
    unsettled_until: datetime | None = None


@dataclass(frozen=True)
class Expected:
    """What the naive implementation finds."""

    sends: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    removes: Counter[tuple[int, str, tuple[Any, ...]]] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)


def payload_of(row: Row) -> tuple[Any, ...]:
    return (row["email"], row["phone"], row["name"])


def removal_of(payload: tuple[Any, ...]) -> tuple[Any, ...]:
    return payload[:2]


def cause_of(rows: list[Row]) -> str | None:
    """Return why a person is not permitted, None if they are."""
    if not rows:
        return "left_model"
    if any(row["ads_ok"] is False for row in rows):
        return "consent_withdrawn"
    if len(rows) > 1:
        return "id_ambiguous"
    return "consent_missing" if rows[0]["ads_ok"] is None else None


def expected_changes(state: list[Entry], model: list[Row], mode: SyncMode) -> Expected:
    expected = Expected()
    for id_ in sorted({entry.id for entry in state} | {row["id"] for row in model}):
        mine = [entry for entry in state if entry.id == id_]
        rows = [row for row in model if row["id"] == id_]
        cause = cause_of(rows)
        if cause is None:
            expect_permitted(expected, id_, payload_of(rows[0]), mine, mode)
            continue
        keeps = cause == "left_model" and mode in {SyncMode.UPSERT, SyncMode.INSERT}
        for entry in mine:
            expected.counts["kept_left_model"] += keeps
            if not keeps:
                expected.removes[id_, cause, entry.removal] += 1
    expected.counts["delivered"] = len({entry.id for entry in state})
    return expected


def expect_permitted(expected: Expected, id_: int, payload: tuple[Any, ...], mine: list[Entry], mode: SyncMode) -> None:
    verdict = "updated"
    if not mine:
        verdict = "added"
    elif all(entry.payload == payload for entry in mine):
        verdict = "unchanged"
    elif mode is SyncMode.INSERT and any(entry.payload is not None for entry in mine):
        verdict = "skipped"
    expected.counts[verdict] += 1
    expected.counts["unconfirmed"] += verdict == "updated" and any(entry.payload is None for entry in mine)
    if verdict in {"added", "updated"} or mode is SyncMode.FULL:
        expected.sends[id_] = payload
        for entry in mine:
            if any(old is not None and old != new for old, new in zip(entry.removal, payload, strict=False)):
                expected.removes[id_, "identifiers_changed", entry.removal] += 1


def expected_state(
    state: list[Entry],
    expected: Expected,
    sends: dict[int, tuple[RowStatus, BatchResult]],
    removes: dict[tuple[int, str, tuple[Any, ...]], list[tuple[RowStatus, BatchResult]]],
) -> list[Entry]:
    after: list[Entry] = []
    untouched: list[Entry] = []
    causes = {(id_, removal): cause for id_, cause, removal in expected.removes}
    for entry in state:
        cause = causes.get((entry.id, entry.removal))
        if cause is None:
            untouched.append(entry)
            continue
        status, result = removes[entry.id, cause, entry.removal].pop()
        settled = entry.unsettled_until is None or entry.unsettled_until <= result.at
        if not (status is RowStatus.ACCEPTED and settled):
            after.append(Entry(entry.id, None, entry.removal, latest(result, [entry])))
    for id_, payload in expected.sends.items():
        status, result = sends[id_]
        mine = [entry for entry in untouched if entry.id == id_]
        if status is RowStatus.ACCEPTED:
            untouched = [entry for entry in untouched if entry.id != id_]
            # Requests of before that may still undo it.
            late = [entry for entry in mine if entry.unsettled_until is not None and entry.unsettled_until > result.at]
            after.append(Entry(id_, None if late else payload, removal_of(payload), latest(result, late)))
        elif status in {RowStatus.UNCERTAIN, RowStatus.PENDING}:
            # Also one whose removal failed just now, if it is for the same values.
            same = [entry for entry in [*mine, *after] if entry.id == id_ and entry.removal == removal_of(payload)]
            untouched = [entry for entry in untouched if entry not in same]
            after = [entry for entry in after if entry not in same]
            after.append(Entry(id_, None, removal_of(payload), latest(result, same)))
    return [*after, *untouched]


def latest(result: BatchResult, replaced: list[Entry]) -> datetime | None:
    times = [result.unsettled_until, *(entry.unsettled_until for entry in replaced)]
    return max((time for time in times if time is not None), default=None)


@st.composite
def steps(draw: st.DrawFn) -> dict[str, Any]:
    rows = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "id": st.integers(0, 3),
                    "email": st.sampled_from([None, "a", "b"]),
                    "phone": st.sampled_from([None, "1"]),
                    "name": st.sampled_from([None, "x"]),
                    "ads_ok": st.sampled_from([True] * 6 + [False, None]),
                }
            ),
            min_size=2,
            max_size=6,
            unique_by=draw(st.sampled_from(UNIQUE)),
        )
    )
    return {
        "rows": rows,
        "mode": draw(st.sampled_from(SyncMode)),
        "batch_rows": draw(st.integers(1, 5)),
        "sends": draw(st.lists(st.sampled_from(STATUSES), min_size=1, max_size=7)),
        "removes": draw(st.lists(st.sampled_from(STATUSES), min_size=1, max_size=7)),
        "unsettled_hours": draw(st.sampled_from([None, 0, 1, 3])),
        "unsent": draw(st.sampled_from([0, 0, 0, 1, 2])),
        "leaves_rows": draw(st.booleans()),
    }


def results_of(some: list[RowStatus], rows: int, step: dict[str, Any], *, hours: int) -> list[BatchResult]:
    """Return batches with these statuses, again and again; the last `unsent` of them leave no trace."""
    statuses = list(islice(cycle(some), rows))
    starts = [*range(0, len(statuses), step["batch_rows"]), len(statuses)]
    batches = list(pairwise(starts))
    unsettled = None if step["unsettled_hours"] is None else hours + step["unsettled_hours"]
    return [
        batch_result(statuses[start:end], start=start, hours=hours, unsettled_hours=unsettled)
        for start, end in batches[: len(batches) - step["unsent"]]
    ]


def status_at(results: list[BatchResult], position: int) -> tuple[RowStatus, BatchResult]:
    for one in results:
        if one.start <= position < one.start + one.outcomes.rows:
            return one.outcomes[position - one.start].status, one
    return RowStatus.UNSENT, batch_result([RowStatus.UNSENT])


@settings(max_examples=40, deadline=None)
@given(history=st.lists(steps(), min_size=2, max_size=6))
@pytest.mark.long
def test_every_step_of_every_history_is_what_the_naive_implementation_finds(
    tmp_path_factory: pytest.TempPathFactory, history: list[dict[str, Any]]
) -> None:
    sync = Sync(tmp_path_factory.mktemp("sync"), FIELDS, BY_MAIL)
    state: list[Entry] = []
    for hours, step in enumerate(history):
        at = AT + timedelta(hours=hours)
        sync = sync.with_(mode=step["mode"], at=at, leaves_rows=step["leaves_rows"])

        changes = sync.changes(people(*step["rows"]))

        expected = expected_changes(state, step["rows"], step["mode"])
        check_changes(changes, expected, state)
        sends = results_of(step["sends"], changes.manifest.upsert_rows, step, hours=hours)
        removes = results_of(step["removes"], changes.manifest.removal_rows, step, hours=hours)
        sync = sync.folded(changes, sends, removes)
        state = expected_state(state, expected, sends_by_id(changes, sends), removes_by_entry(changes, removes))
        assert entries(sync.state) == sorted(map(as_entry, state), key=in_order)


def check_changes(changes: Changes, expected: Expected, state: list[Entry]) -> None:
    counts = changes.counts
    assert {id_: tuple(row.values()) for id_, row in sent(changes).items()} == expected.sends
    assert Counter((id_, cause, tuple(values.values())) for id_, cause, values in removed(changes)) == expected.removes
    assert counts.permitted == counts.added + counts.updated + counts.unchanged + counts.skipped
    names = ("added", "updated", "unconfirmed", "unchanged", "skipped", "kept_left_model", "delivered")
    assert {name: getattr(counts, name) for name in names} == {name: expected.counts[name] for name in names}
    by_cause: Counter[str] = Counter()
    for (_, cause, _), rows in expected.removes.items():
        by_cause[cause] += rows
    assert counts.removed == by_cause
    delivered = {entry.id for entry in state}
    sent_people = people_of(changes)
    assert sent_people["was_delivered"].to_pylist() == [id_ in delivered for id_ in sent_people["id"].to_pylist()]


def sends_by_id(changes: Changes, results: list[BatchResult]) -> dict[int, tuple[RowStatus, BatchResult]]:
    ids = people_of(changes)["id"].to_pylist()
    return {id_: status_at(results, position) for position, id_ in enumerate(ids)}


def removes_by_entry(
    changes: Changes, results: list[BatchResult]
) -> dict[tuple[int, str, tuple[Any, ...]], list[tuple[RowStatus, BatchResult]]]:
    found: dict[tuple[int, str, tuple[Any, ...]], list[tuple[RowStatus, BatchResult]]] = {}
    for position, (id_, cause, values) in enumerate(removed(changes)):
        found.setdefault((id_, cause, tuple(values.values())), []).append(status_at(results, position))
    return found


def as_entry(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "confirmed": entry.payload is not None,
        "unsettled_until": entry.unsettled_until,
        "removal": dict(zip(IDENTIFIERS, entry.removal, strict=True)),
    }


def in_order(entry: dict[str, Any]) -> tuple[str, str, bool]:
    return str(entry["id"]), str(entry["removal"]), not entry["confirmed"]
