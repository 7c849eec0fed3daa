"""Fields that people withdraw consent to between two loads: cleared, or else the person is removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.syncing import Recorder, SyncBench, accept, consenting, verified

from airflow_consent_retl.changes.cleared_fields import null_fields, withdrawn_fields
from airflow_consent_retl.consent import CauseRank
from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.delivery.settings import Guards, SyncSettings
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError, GuardError
from airflow_consent_retl.filtering.consent_answers import PERMITTED, WITHOUT_FIELDS, ConsentAnswers
from airflow_consent_retl.storage.delivered import CLEARED_HASH, DeliveredState

FIELDS = {"id": "id", "mail": "email", "copy": "email"}


class Clearing(Recorder):
    """A destination that clears fields, and gives the answers of the test."""

    can_clear = True

    def __init__(self, on_clear: Any = accept, **more: Any) -> None:
        super().__init__(**more)
        self._on_clear = on_clear
        self.cleared: dict[int, tuple[str, ...]] = {}

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        self.cleared |= {row["id"]: tuple(fields) for row in batch.rows.to_pylist()}
        outcomes: Outcomes = self._on_clear(batch)
        return outcomes


def locked(batch: Batch) -> Outcomes:
    return Outcomes.rejected(batch.rows.num_rows, "locked")


def answers(
    withheld: Mapping[int, tuple[str, ...]],
    *,
    denied: Sequence[int] = (),
    rank: CauseRank = CauseRank.CONSENT_WITHDRAWN,
    people: int = 5,
) -> Any:
    """Return how to ask a source that permits everyone, some of them without some guarded fields."""
    partial = sorted(set(withheld.values()))
    verdicts = [PERMITTED] * people
    for number, guards in withheld.items():
        verdicts[number] = WITHOUT_FIELDS + partial.index(guards)
    for number in denied:
        verdicts[number] = rank

    def ask(id_type: pa.DataType) -> Iterator[ConsentAnswers]:
        yield ConsentAnswers(
            ids=pa.array(range(people), id_type),
            by_destination={"ads": np.array(verdicts, np.int16)},
            partial=partial,
        )

    return ask


@pytest.fixture
def bench(tmp_path: Path) -> SyncBench:
    made = SyncBench(tmp_path)
    made.load(verified(made.filtered(consenting(5)), fields=FIELDS), Recorder())
    return made


def load_again(bench: SyncBench) -> LoadReport:
    # Decided after the withdrawals, which have the present time.
    bench.runs += 1_000_000
    return bench.load(verified(bench.filtered(consenting(5)), fields=FIELDS), Recorder())


def withdraw(bench: SyncBench, destination: Recorder, ask: Any, **settings: Any) -> LoadReport:
    report = LoadReport(permitted=0)
    with bench.leased(destination, SyncSettings(**settings)) as sync:
        sync.withdraw(ask, report)
    return report


def state_of(bench: SyncBench) -> DeliveredState:
    with bench.leased(Recorder(), SyncSettings()) as sync:
        state = sync.state()
    assert isinstance(state, DeliveredState)
    return state


def entries(bench: SyncBench) -> dict[int, tuple[bytes | None, str | None]]:
    rows = [row for some in state_of(bench).entries(100) for row in some.to_pylist()]
    return {row["id"]: (row["hash"], row["cleared"]) for row in rows}


def test_every_field_of_the_guarded_column_is_cleared_and_a_denied_person_is_removed(bench: SyncBench) -> None:
    destination = Clearing(batch_rows=2)
    withheld = {0: ("mail",), 1: ("mail",), 2: ("email",), 3: ("none",)}

    report = withdraw(bench, destination, answers(withheld, denied=[4]))

    assert destination.cleared == dict.fromkeys(range(3), ("copy", "mail"))
    assert destination.removed_ids == [4]
    assert (report.cleared.accepted, report.cleared.batches, report.removed.accepted) == (3, 2, 1)
    assert report.removals_by_cause == {"consent_withdrawn": 1, "field_withdrawn": 3}
    after = entries(bench)
    assert after[1] == after[2] == (CLEARED_HASH, '["copy", "mail"]')
    assert after[3][1] is None
    assert withdraw(bench, Clearing(), answers(withheld)).cleared.planned == 0


def test_a_destination_that_cannot_clear_removes_the_person_and_the_next_load_adds_them(bench: SyncBench) -> None:
    destination = Recorder()

    report = withdraw(bench, destination, answers({1: ("mail",)}), guards=Guards(max_removed_ratio=0.5))

    assert destination.removed_ids == [1]
    assert report.removals_by_cause == {"field_withdrawn": 1}
    again = load_again(bench)
    assert (again.added, again.unchanged) == (1, 4)


def test_a_guard_limits_removals_for_a_field_and_never_delays_what_is_cleared(bench: SyncBench) -> None:
    everyone = dict.fromkeys(range(5), ("mail",))

    with pytest.raises(GuardError, match="field_withdrawn 5"):
        withdraw(bench, Recorder(), answers(everyone), guards=Guards(max_removed_ratio=0.5))

    destination = Clearing()
    withdraw(bench, destination, answers(everyone), guards=Guards(max_removed_ratio=0.0))
    assert len(destination.cleared) == 5


def test_what_a_guard_stops_does_not_stop_the_clearing(bench: SyncBench) -> None:
    destination = Clearing()
    ask = answers({0: ("mail",)}, denied=[1, 2, 3, 4], rank=CauseRank.POLICY_CHANGED)

    with pytest.raises(GuardError, match="withdrawn fields of 1 people were cleared"):
        withdraw(bench, destination, ask, guards=Guards(max_removed_ratio=0.5))

    assert (destination.cleared, destination.removed_ids) == ({0: ("copy", "mail")}, [])


def test_a_destination_that_cannot_remove_is_left_to_the_next_load(bench: SyncBench) -> None:
    class Fixed(Recorder):
        can_remove = False

    report = withdraw(bench, Fixed(), answers({1: ("mail",)}), accept_no_removal=True)

    assert (report.removed.planned, report.unremovable, report.cleared.planned) == (0, 0, 0)


def test_a_refused_and_an_unanswered_request_are_repeated_and_the_row_is_sent_again(bench: SyncBench) -> None:
    ask = answers({1: ("mail",)})
    with pytest.raises(DestinationError, match=r"did not clear withdrawn fields of 1 of 1 people .*locked"):
        withdraw(bench, Clearing(locked), ask)
    with pytest.raises(DestinationUnavailableError, match="timeout"):
        withdraw(bench, Clearing(lambda batch: Outcomes.uncertain(1, "timeout")), ask)

    destination = Clearing()
    withdraw(bench, destination, ask)

    assert destination.cleared == {1: ("copy", "mail")}
    # No answer was certain since: the row counts as changed.
    assert entries(bench)[1][0] is None
    again = load_again(bench)
    assert (again.updated, again.unchanged) == (1, 4)


def test_what_was_not_removed_does_not_hide_what_was_not_cleared(bench: SyncBench) -> None:
    destination = Clearing(locked, on_remove=locked)

    with pytest.raises(DestinationError, match=r"did not remove 1 of 1.*did not clear withdrawn fields of 1 of 1"):
        withdraw(bench, destination, answers({1: ("mail",)}, denied=[2]))


def test_a_state_of_an_earlier_release_may_have_a_value_in_every_field(bench: SyncBench) -> None:
    withdraw(bench, Clearing(), answers({1: ("mail",)}))
    state = state_of(bench)
    withheld: dict[tuple[str, ...], Any] = {("mail",): np.arange(5)}

    now = withdrawn_fields(state, withheld)
    state.manifest = state.manifest.model_copy(update={"has_cleared": False})
    before = withdrawn_fields(state, withheld)

    assert {fields: found.tolist() for fields, found in before.items()} == {("copy", "mail"): list(range(5))}
    assert sum(map(len, now.values())) == 4


def test_only_the_null_fields_of_a_row_count_as_cleared() -> None:
    rows = pa.record_batch({"a": [1, None, None], "b": ["x", "y", None], "c": pa.nulls(3)})

    assert null_fields(rows, {"b", "a"}, {"a": "a", "b": "b"}).to_pylist() == [None, '["a"]', '["a", "b"]']
    assert null_fields(rows, set(), {}).to_pylist() == [None, None, None]
    assert null_fields(rows.slice(0, 0), {"a"}, {"a": "a", "b": "b"}).to_pylist() == []
