"""A sync delivers exactly what changed, resumes where a try ended, and removes people who withdrew."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.syncing import Recorder, SyncBench, accept, consenting, first_id, people, verified

from airflow_consent_retl.consent import RemovalCause
from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.recheck import Recheck, SourceRecheck
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.delivery.settings import Guards, SyncSettings
from airflow_consent_retl.errors import (
    ConfigurationError,
    DestinationError,
    DestinationUnavailableError,
    GuardError,
    OvertakenError,
    RefusedError,
)
from airflow_consent_retl.filtering.consent_answers import PERMITTED, ConsentAnswers
from airflow_consent_retl.filtering.subject_index import SubjectIndex
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.sync_mode import SyncMode

FIELDS = {"id": "id", "email": "email"}
People = dict[int, tuple[str, bool | None]]
BEFORE: People = {1: ("a", True), 2: ("b", True), 3: ("c", True), 4: ("d", True), 5: ("e", True)}
# 1 stays, 2 has another e-mail, 3 withdrew, 4's consent is not known any more, 5 left, 6 is new.
AFTER: People = {1: ("a", True), 2: ("B", True), 3: ("c", False), 4: ("d", None), 6: ("f", True)}


@pytest.fixture
def bench(tmp_path: Path) -> SyncBench:
    return SyncBench(tmp_path)


def loaded(bench: SyncBench, rows: People, **options: Any) -> tuple[Recorder, LoadReport]:
    """Filter these people and load them, in a run of its own."""
    destination = options.pop("destination", None) or Recorder()
    report = bench.load(verified(bench.filtered(people(rows)), fields=FIELDS), destination, **options)
    return destination, report


def emails(destination: Recorder) -> dict[int, str]:
    return {row["id"]: row["email"] for batch in destination.batches for row in batch.rows.to_pylist()}


def lost(batch: Batch) -> Outcomes:
    return Outcomes.uncertain(batch.rows.num_rows, "timeout")


# What changed


@pytest.mark.parametrize(
    ("mode", "sent", "removed"),
    [
        (SyncMode.MIRROR, {2: "B", 6: "f"}, [3, 4, 5]),
        (SyncMode.UPSERT, {2: "B", 6: "f"}, [3, 4]),
        (SyncMode.INSERT, {6: "f"}, [3, 4]),
        (SyncMode.FULL, {1: "a", 2: "B", 6: "f"}, [3, 4, 5]),
    ],
)
def test_each_mode_sends_and_removes_what_it_says(
    bench: SyncBench, mode: SyncMode, sent: dict[int, str], removed: list[int]
) -> None:
    loaded(bench, BEFORE, mode=mode)

    destination, report = loaded(bench, AFTER, mode=mode)

    assert emails(destination) == sent
    assert destination.removed_ids == removed
    assert (report.added, report.updated + report.skipped, report.unchanged, report.permitted) == (1, 1, 1, 3)
    assert report.removals_by_cause["consent_withdrawn"] == 1
    assert report.removals_by_cause["consent_missing"] == 1


def test_a_second_load_of_the_same_rows_sends_nothing(bench: SyncBench) -> None:
    run = verified(bench.filtered(people(BEFORE)), fields=FIELDS)
    bench.load(run, Recorder())

    again = Recorder()
    report = bench.load(run, again)

    assert again.calls == []
    assert (report.unchanged, report.sent.planned) == (5, 0)


def test_removals_go_before_additions(bench: SyncBench) -> None:
    order: list[str] = []

    def noting(verb: str) -> Callable[[Batch], Outcomes]:
        def answer(batch: Batch) -> Outcomes:
            order.append(verb)
            return accept(batch)

        return answer

    loaded(bench, BEFORE)

    loaded(bench, AFTER, destination=Recorder(noting("send"), on_remove=noting("remove")))

    assert order == ["remove", "send"]


def test_an_older_decision_never_replaces_a_newer_one(bench: SyncBench) -> None:
    older = verified(bench.filtered(people(BEFORE)), fields=FIELDS)
    loaded(bench, AFTER)
    destination = Recorder()

    with pytest.raises(OvertakenError, match=r"already has a newer decision.* is not needed any more"):
        bench.load(older, destination)

    assert destination.calls == []


def test_an_older_decision_is_refused_also_where_the_newer_one_changed_nothing(bench: SyncBench) -> None:
    loaded(bench, BEFORE)
    older = verified(bench.filtered(people(AFTER)), fields=FIELDS)
    loaded(bench, BEFORE)

    with pytest.raises(OvertakenError, match=r"already has a newer decision.* is not needed any more"):
        bench.load(older, Recorder())


def test_a_destination_that_is_another_one_now_is_refused(bench: SyncBench) -> None:
    class Placed(Recorder):
        def __init__(self, place: str) -> None:
            super().__init__()
            self.place = place

        @property
        def target(self) -> str:
            return self.place

    loaded(bench, BEFORE, destination=Placed("table a"))

    with pytest.raises(ConfigurationError, match="delivered to table a before, now it would deliver to table b"):
        loaded(bench, AFTER, destination=Placed("table b"))


# Tries that fail


def test_the_next_try_sends_what_was_not_answered_under_the_same_keys(bench: SyncBench) -> None:
    run = verified(bench.filtered(consenting(20)))
    first = Recorder(lambda batch: lost(batch) if first_id(batch) == 8 else accept(batch), concurrency=2)
    with pytest.raises(DestinationUnavailableError):
        bench.load(run, first)
    answered = {b.key for b, o in zip(first.batches, first.answers, strict=False) if o == accept(b)}

    second = Recorder()
    report = bench.load(run, second)

    keys = {batch.key: batch.rows.to_pylist() for batch in first.batches}
    assert report.resumed
    assert first_id(second.batches[0]) == 8
    assert all(batch.rows.to_pylist() == keys.get(batch.key, batch.rows.to_pylist()) for batch in second.batches)
    assert answered.isdisjoint(batch.key for batch in second.batches)
    assert (report.sent.accepted, report.sent.unsent) == (20, 0)
    assert len(bench.delivered()) == 20


def test_rows_without_an_answer_are_sent_again_by_the_next_run_and_can_be_removed(bench: SyncBench) -> None:
    with pytest.raises(DestinationUnavailableError):
        loaded(bench, BEFORE, destination=Recorder(lost, batch_rows=10))

    destination, report = loaded(bench, AFTER, settle_s=0)

    assert emails(destination) == {1: "a", 2: "B", 6: "f"}
    assert destination.removed_ids == [3, 4, 5]
    assert report.removed.accepted == 3
    assert sorted(bench.delivered()) == [1, 2, 6]


def test_a_removal_is_repeated_as_long_as_an_earlier_request_may_take_effect(bench: SyncBench) -> None:
    with pytest.raises(DestinationUnavailableError):
        loaded(bench, BEFORE, destination=Recorder(lost, batch_rows=10), settle_s=3600)

    loaded(
        bench,
        AFTER,
        settle_s=3600,
    )
    still = bench.delivered()
    again, _ = loaded(bench, AFTER, settle_s=3600)

    assert [still[id_] for id_ in (3, 4, 5)] == [[(False, True)]] * 3
    assert again.removed_ids == [3, 4, 5]


def test_removals_that_are_not_answered_stop_the_load_before_additions(bench: SyncBench) -> None:
    loaded(bench, BEFORE)
    destination = Recorder(on_remove=lost)

    with pytest.raises(DestinationUnavailableError):
        loaded(bench, AFTER, destination=destination)

    assert destination.batches == []
    assert sorted(bench.delivered()) == [1, 2, 3, 4, 5]


def test_people_who_cannot_be_removed_fail_the_load_and_are_tried_again(bench: SyncBench) -> None:
    loaded(bench, BEFORE)
    stubborn = Recorder(on_remove=lambda batch: Outcomes(3, exceptions={0: Outcome(RowStatus.REJECTED, "locked")}))

    with pytest.raises(DestinationError, match="did not remove 1 of 3 people \\(rejected:locked 1\\)"):
        loaded(bench, AFTER, destination=stubborn)

    again, report = loaded(bench, AFTER)
    assert again.removed_ids == [3]
    assert report.removed.accepted == 1
    assert sorted(bench.delivered()) == [1, 2, 6]


def test_a_rejected_row_keeps_its_old_state_and_is_sent_again(bench: SyncBench) -> None:
    loaded(bench, BEFORE)
    picky = Recorder(
        lambda batch: Outcomes.rejected(1, "invalid_email") if first_id(batch) == 2 else accept(batch), batch_rows=1
    )

    loaded(bench, AFTER, destination=picky, max_rejected_ratio=0.5)

    again, _ = loaded(bench, AFTER)
    assert emails(again) == {2: "B"}


# Consent asked again


class Source:
    """A source with an answer for each person each time it is asked."""

    def __init__(self, *answers: dict[int, str | None]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def ask(self, id_type: pa.DataType) -> Iterator[ConsentAnswers]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        numbers = [PERMITTED if cause is None else RemovalCause(cause).rank for cause in answer.values()]
        yield ConsentAnswers(pa.array(list(answer), id_type), {"ads": np.array(numbers, dtype=np.int8)})

    def rechecking(self, *, interval_s: float) -> Callable[[Changes], AbstractContextManager[Recheck | None]]:
        @contextmanager
        def make(changes: Changes) -> Iterator[Recheck]:
            ids = (some["id"] for _, some in changes.people_to_send(100))
            with SubjectIndex(ids, pa.int64(), people=changes.manifest.upsert_rows) as found:
                yield SourceRecheck(
                    found, "ads", self.ask, carrying=lambda fields: np.empty(0, np.int64), interval_s=interval_s
                )

        return make


def yes(*ids: int) -> dict[int, str | None]:
    return dict.fromkeys(ids)


def test_people_who_lost_permission_since_the_filter_are_withheld_and_counted(bench: SyncBench) -> None:
    source = Source({**yes(1, 2, 5), 3: "consent_withdrawn"})

    destination, report = loaded(bench, BEFORE, make_recheck=source.rechecking(interval_s=60))

    assert destination.ids == [1, 2, 5]
    assert (report.sent.accepted, report.sent.withheld, report.sent.unsent) == (3, 2, 0)
    assert source.asked == 1
    assert sorted(bench.delivered()) == [1, 2, 5]


def test_the_source_is_asked_again_while_the_load_runs(bench: SyncBench) -> None:
    source = Source(yes(*range(20)), yes(*range(20)), yes(*range(17)))
    run = verified(bench.filtered(consenting(20)))
    destination = Recorder(batch_rows=1)

    report = bench.load(run, destination, make_recheck=source.rechecking(interval_s=0))

    assert source.asked == 5
    # Withheld from the third answer on, which came before the ninth batch.
    assert destination.ids == list(range(17))
    assert report.sent.withheld == 3


def test_an_answer_never_permits_a_person_an_earlier_one_denied(bench: SyncBench) -> None:
    source = Source(yes(*range(19)), yes(*range(20)))
    run = verified(bench.filtered(consenting(20)))

    destination = Recorder(batch_rows=1)
    bench.load(run, destination, make_recheck=source.rechecking(interval_s=0))

    assert destination.ids == list(range(19))


def test_other_rows_under_way_carry_another_key(bench: SyncBench) -> None:
    run = verified(bench.filtered(consenting(8)))
    with pytest.raises(DestinationUnavailableError):
        bench.load(run, first := Recorder(lost))

    second = Recorder()
    bench.load(run, second, make_recheck=Source(yes(0, 1, 2, 4, 5, 6, 7)).rechecking(interval_s=60))

    assert {batch.key for batch in first.batches} & {batch.key for batch in second.batches} == {
        batch.key for batch in first.batches if first_id(batch) == 4
    }
    # Sent once, without an answer, and withheld now: still to be removed.
    assert bench.delivered()[3] == [(False, True)]


def test_a_withheld_update_of_a_delivered_person_removes_them_in_the_same_run(bench: SyncBench) -> None:
    loaded(bench, BEFORE)
    source = Source({**yes(1, 3, 4, 5), 2: "consent_withdrawn"})

    destination, report = loaded(
        bench, {**BEFORE, 2: ("B", True)}, make_recheck=source.rechecking(interval_s=60), settle_s=0
    )

    assert destination.batches == []
    assert destination.removed_ids == [2]
    assert (report.sent.withheld, report.removed.accepted) == (1, 1)
    assert sorted(bench.delivered()) == [1, 3, 4, 5]


def test_a_source_that_does_not_answer_sends_nothing(bench: SyncBench) -> None:
    class Broken(Source):
        def ask(self, id_type: pa.DataType) -> Iterator[ConsentAnswers]:
            raise RefusedError("the warehouse sleeps")

    destination = Recorder()

    with pytest.raises(RefusedError, match="the warehouse sleeps"):
        loaded(bench, BEFORE, destination=destination, make_recheck=Broken().rechecking(interval_s=60))

    assert destination.batches == []


# Guards


def test_a_run_that_would_empty_the_audience_stops_before_the_first_request(bench: SyncBench) -> None:
    loaded(bench, BEFORE)
    destination = Recorder()

    with pytest.raises(GuardError) as stopped:
        loaded(bench, {1: ("a", True), 6: ("f", True)}, destination=destination, guards=guards(0.5))

    assert str(stopped.value) == (
        "`ads`: nothing was sent: it would remove 4 of 5 people (left_model 4), max_removed_ratio is 0.5"
    )
    assert destination.calls == []
    assert sorted(bench.delivered()) == [1, 2, 3, 4, 5]


def test_explicit_withdrawals_pass_a_guard_that_stops_everything_else(bench: SyncBench) -> None:
    loaded(bench, BEFORE)
    destination = Recorder()

    with pytest.raises(GuardError, match="1 explicit withdrawals were carried out"):
        loaded(bench, {1: ("A", True), 3: ("c", False)}, destination=destination, guards=guards(0.1))

    assert destination.removed_ids == [3]
    assert destination.batches == []
    assert sorted(bench.delivered()) == [1, 2, 4, 5]


def test_every_person_may_withdraw_whatever_the_guard(bench: SyncBench) -> None:
    loaded(bench, BEFORE)

    destination, _ = loaded(bench, dict.fromkeys(BEFORE, ("x", False)), guards=guards(0.0))

    assert destination.removed_ids == [1, 2, 3, 4, 5]


def test_a_run_that_would_add_too_many_stops_but_a_first_load_does_not(bench: SyncBench) -> None:
    few: People = {1: ("a", True), 2: ("b", True)}
    loaded(bench, few, guards=guards(None, added=1.0))

    with pytest.raises(GuardError, match="it would add 3 people to 2, max_added_ratio is"):
        loaded(bench, BEFORE, guards=guards(None, added=1.0))


def guards(removed: float | None, *, added: float | None = None) -> Guards:
    return Guards(max_removed_ratio=removed, max_added_ratio=added)


# Destinations that cannot remove, that replace, that process later


class Keeper(Recorder):
    """Cannot remove people."""

    can_remove = False


def test_a_destination_that_cannot_remove_has_to_be_accepted(bench: SyncBench) -> None:
    with pytest.raises(ConfigurationError, match="Keeper cannot remove people"):
        loaded(bench, BEFORE, destination=Keeper())


def test_people_whom_a_destination_cannot_remove_are_reported_in_every_run(bench: SyncBench) -> None:
    loaded(bench, BEFORE, destination=Keeper(), accept_no_removal=True)

    reports = [loaded(bench, AFTER, destination=Keeper(), accept_no_removal=True)[1] for _ in range(2)]

    assert [report.unremovable for report in reports] == [3, 3]
    assert [report.as_counts()["not_removed"] for report in reports] == [3, 3]


class Shelf(Recorder):
    """Holds what the last load published, and nothing else."""

    replaces = True

    def __init__(self, answer: Callable[[Batch], Outcomes] = accept) -> None:
        super().__init__(answer)
        self.published: list[int] = []

    def commit(self) -> None:
        super().commit()
        self.published = self.ids


def test_a_destination_that_replaces_gets_every_row_and_drops_the_others(bench: SyncBench) -> None:
    loaded(bench, BEFORE, destination=Shelf())

    shelf = Shelf()
    _, report = loaded(bench, AFTER, destination=shelf)

    assert shelf.published == [1, 2, 6]
    assert shelf.removals == []
    assert (report.sent.accepted, report.removed.accepted) == (3, 3)
    assert sorted(bench.delivered()) == [1, 2, 6]


def test_a_destination_that_replaces_starts_again_after_a_try_that_failed(bench: SyncBench) -> None:
    run = verified(bench.filtered(consenting(20)))
    with pytest.raises(DestinationUnavailableError):
        bench.load(run, Shelf(lambda batch: lost(batch) if first_id(batch) == 8 else accept(batch)))

    shelf = Shelf()
    report = bench.load(run, shelf)

    assert shelf.published == list(range(20))
    assert report.sent.accepted == 20


def test_people_who_withdraw_while_a_version_is_written_are_not_published(bench: SyncBench) -> None:
    run = verified(bench.filtered(consenting(20)))
    source = Source(yes(*range(20)), yes(*range(1, 20)), yes(*range(1, 20)))
    shelf = Shelf()
    with pytest.raises(DestinationUnavailableError, match="consent ended while `ads` was written"):
        bench.load(run, shelf, make_recheck=source.rechecking(interval_s=0))
    assert shelf.published == []

    shelf = Shelf()
    report = bench.load(run, shelf, make_recheck=source.rechecking(interval_s=60))

    assert shelf.published == list(range(1, 20))
    assert report.sent.withheld == 1


class Later(Recorder):
    """Receives everything, and confirms the results later."""

    def __init__(self, *, processed_after: int, outcome: Callable[[int], Outcomes] = Outcomes.accepted) -> None:
        super().__init__()
        self.left = processed_after
        self.outcome = outcome
        self.asked: list[str] = []

    def send(self, batch: Batch) -> Outcomes:
        super().send(batch)
        return Outcomes.pending(batch.rows.num_rows, f"request-{batch.key[:8]}")

    def remove(self, batch: Batch) -> Outcomes:
        super().remove(batch)
        return Outcomes.pending(batch.rows.num_rows, f"removal-{batch.key[:8]}")

    def confirm(self, request_id: str, rows: int) -> Outcomes | None:
        self.asked.append(request_id)
        self.left -= 1
        return None if self.left >= 0 else self.outcome(rows)


def test_taken_is_not_processed_the_load_waits_until_it_is(bench: SyncBench) -> None:
    destination, report = loaded(
        bench, BEFORE, destination=Later(processed_after=3), confirm_interval_s=0.01, confirm_timeout_s=30
    )

    assert report.sent.accepted == 5
    assert destination.calls == ["open", "commit"]
    assert len(bench.delivered()) == 5


def test_what_is_processed_soon_is_not_waited_for_as_long_as_the_interval(bench: SyncBench) -> None:
    started = time.monotonic()
    _, report = loaded(bench, BEFORE, destination=Later(processed_after=1), confirm_interval_s=20, confirm_timeout_s=60)

    assert report.sent.accepted == 5
    assert time.monotonic() - started < 20


def test_request_ids_are_kept_over_tries_and_nothing_is_sent_twice(bench: SyncBench) -> None:
    run = verified(bench.filtered(people(BEFORE)), fields=FIELDS)
    first = Later(processed_after=99)
    report = bench.load(run, first, confirm_timeout_s=0)
    assert (report.sent.pending, bench.waiting) == (5, first.asked)

    second = Later(processed_after=0)
    report = bench.load(run, second, confirm_timeout_s=0)

    assert second.batches == []
    assert second.asked == first.asked
    assert (report.sent.accepted, report.sent.pending, bench.waiting) == (5, 0, [])


def test_removals_are_confirmed_before_additions_are_sent(bench: SyncBench) -> None:
    loaded(bench, BEFORE)
    run = verified(bench.filtered(people(AFTER)), fields=FIELDS)
    first = Later(processed_after=99)
    bench.load(run, first, confirm_timeout_s=0)

    assert first.batches == []
    assert first.removed_ids == [3, 4, 5]

    second = Later(processed_after=0)
    bench.load(run, second, confirm_timeout_s=0)

    assert second.removals == []
    assert emails(second) == {2: "B", 6: "f"}


def test_a_refusal_that_comes_later_is_a_refusal(bench: SyncBench) -> None:
    destination = Later(processed_after=0, outcome=lambda rows: Outcomes.rejected(rows, "too_few_identifiers"))

    with pytest.raises(GuardError, match="rejected:too_few_identifiers 5"):
        loaded(bench, BEFORE, destination=destination, confirm_timeout_s=0)


def test_the_next_run_asks_what_became_of_the_last_ones_requests(bench: SyncBench) -> None:
    run = verified(bench.filtered(people(BEFORE)), fields=FIELDS)
    bench.load(run, Later(processed_after=99), confirm_timeout_s=0)

    next_run = Later(processed_after=0)
    _, report = loaded(bench, BEFORE, destination=next_run, confirm_timeout_s=0)

    assert next_run.batches == []
    assert report.unchanged == 5


# The fast lane


def withdrawn(bench: SyncBench, source: Source, destination: Destination, **settings: Any) -> LoadReport:
    report = LoadReport(permitted=0)
    with bench.leased(destination, SyncSettings(**settings)) as sync:
        sync.withdraw(source.ask, report)
    return report


@pytest.mark.parametrize("cause", ["consent_withdrawn", "objected", "suppressed"])
def test_no_guard_delays_a_persons_own_no(bench: SyncBench, cause: str) -> None:
    loaded(bench, BEFORE)
    destination = Recorder()

    report = withdrawn(bench, Source({**yes(1, 2), 3: cause, 4: cause}), destination, guards=guards(0.0))

    assert destination.removed_ids == [3, 4]
    assert report.removals_by_cause == {cause: 2}


@pytest.mark.parametrize("cause", ["expired", "consent_missing", "destination_unmapped", "id_ambiguous"])
def test_a_guard_stops_other_removals_and_carries_out_each_persons_own_no(bench: SyncBench, cause: str) -> None:
    loaded(bench, BEFORE)
    destination = Recorder()
    source = Source({**yes(1), 2: "objected", 3: "suppressed", 4: cause})

    with pytest.raises(GuardError, match=rf"\({cause} 1\), .*; 2 explicit withdrawals were carried out"):
        withdrawn(bench, source, destination, guards=guards(0.0))

    assert destination.removed_ids == [2, 3]


def test_a_persons_own_no_is_carried_out_before_all_other_removals(bench: SyncBench) -> None:
    causes = ["id_ambiguous", "destination_unmapped", "policy_changed", "consent_missing", "expired"]
    own = ["suppressed", "objected", "consent_withdrawn"]
    everyone = range(1, 9)
    loaded(bench, {number: (f"{number}@x", True) for number in everyone})
    destination = Recorder()

    withdrawn(bench, Source(dict(zip(everyone, [*causes, *own], strict=True))), destination)

    in_order = [row["id"] for batch in destination.removals for row in batch.rows.to_pylist()]
    assert in_order[:3] == [8, 7, 6]
    assert sorted(in_order[3:]) == [1, 2, 3, 4, 5]


def test_the_fast_lane_removes_exactly_the_people_who_lost_permission(bench: SyncBench) -> None:
    loaded(bench, BEFORE)
    source = Source({**yes(1, 2), 3: "consent_withdrawn", 4: "consent_missing"})
    destination = Recorder()

    report = withdrawn(bench, source, destination)

    assert destination.removed_ids == [3, 4]
    assert report.removals_by_cause == {"consent_withdrawn": 1, "consent_missing": 1}
    # 5 merely left the model.
    assert sorted(bench.delivered()) == [1, 2, 5]


def test_the_fast_lane_has_nothing_to_do_before_the_first_load(bench: SyncBench) -> None:
    source, destination = Source(yes()), Recorder()

    withdrawn(bench, source, destination)

    assert destination.calls == []


def test_the_fast_lane_takes_in_what_a_load_left_unanswered(bench: SyncBench) -> None:
    with pytest.raises(DestinationUnavailableError):
        loaded(bench, BEFORE, destination=Recorder(lost, batch_rows=10))
    destination = Recorder()

    withdrawn(bench, Source({**yes(1, 2, 4, 5), 3: "consent_withdrawn"}), destination, settle_s=0)

    assert destination.removed_ids == [3]


def test_a_load_decided_before_a_withdrawal_is_refused_if_consent_is_not_asked_again(bench: SyncBench) -> None:
    loaded(bench, BEFORE)
    stale = verified(bench.filtered(people({**BEFORE, 3: ("C", True)})), fields=FIELDS)
    withdrawn(bench, Source({**yes(1, 2, 4, 5), 3: "consent_withdrawn"}), Recorder())
    destination = Recorder()

    with pytest.raises(RefusedError, match="withdrawals were carried out after"):
        bench.load(stale, destination)

    assert destination.batches == []
    asking = Source({**yes(1, 2, 4, 5), 3: "consent_withdrawn"})
    bench.load(stale, destination, make_recheck=asking.rechecking(interval_s=60))
    assert destination.batches == []


def test_the_limits_of_a_destination_are_kept_also_where_they_changed_between_tries(bench: SyncBench) -> None:
    run = verified(bench.filtered(consenting(20)))
    with pytest.raises(DestinationUnavailableError):
        bench.load(run, Recorder(lost, batch_rows=10))

    destination = Recorder(batch_rows=3)
    bench.load(run, destination)

    assert max(batch.rows.num_rows for batch in destination.batches) == 3
    assert sorted(set(destination.ids)) == list(range(20))


def test_past_versions_and_leftovers_are_deleted(bench: SyncBench) -> None:
    for rows in (BEFORE, AFTER, BEFORE):
        loaded(bench, rows, max_rejected_ratio=0)

    folders = [path.name.partition("-")[0] for path in (bench.path / "workspace" / "syncs").glob("*/*")]

    assert folders == ["delivered"]


def test_limits_are_those_of_the_destination() -> None:
    assert Limits(batch_rows=4, removal_rows=2).removal_rows == 2
    with pytest.raises(ValueError, match="at least 1"):
        Limits(batch_rows=4, removal_rows=0)


def test_a_load_tells_the_destination_when_it_may_not_send_any_more(bench: SyncBench) -> None:
    seen: list[Load | None] = []

    def checking(batch: Batch) -> Outcomes:
        seen.append(destination.load)
        assert destination.load is not None
        destination.load.before_request()
        return accept(batch)

    destination = Recorder(checking)
    loaded(bench, BEFORE, destination=destination)

    assert len(seen) == 2
