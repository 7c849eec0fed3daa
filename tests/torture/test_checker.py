"""The checker can fail: evidence that is in order passes, and each way to doctor it is found, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torture.checker import Reason, check
from torture.evidence import Change, Evidence, Request, Worker, read_evidence
from torture.scenario import LONGEST_STOP_S
from torture.table import check_table

MS = 1_000_000
COUNTS = {"read": 3, "denied": 1, "permitted": 2, "added": 2, "updated": 0, "unchanged": 0, "skipped": 0}
COUNTS |= {"accepted": 2, "rejected": 0, "withheld": 0, "uncertain": 0, "pending": 0, "unsent": 0, "not_removed": 0}
NOTHING = COUNTS | {"read": 3, "denied": 2, "permitted": 1, "added": 0, "unchanged": 1, "accepted": 0}


def made(run: int, at: int) -> Worker:
    return Worker(f"filter-{run}", "filter", run, at * MS, outcome="ok", ended=(at + 10) * MS)


def loaded(run: int, at: int, *, kind: str = "load", counts: dict[str, int]) -> Worker:
    """Return a load that took 90 ms, and asked for consent 6 to 10 ms after its begin."""
    times = {"leased": at + 5, "opened": at + 6, "asked_again": at + 10, "intended": at + 12, "advanced": at + 80}
    steps = tuple((step, time * MS) for step, time in times.items())
    return Worker(f"{kind}-{run}", kind, run, at * MS, steps=steps, outcome="ok", ended=(at + 90) * MS, counts=counts)


def request(number: int, at: int, worker: str, rows: dict[int, int | None], *, removes: bool = False) -> Request:
    """Return a request that took effect and was answered at once."""
    return Request(
        number=number,
        at=at * MS,
        worker=worker,
        key=f"key-{number}",
        removes=removes,
        rows=rows,
        applied_at=(at + 1) * MS,
        answered_at=(at + 2) * MS,
    )


def change(identifier: int, at: int, *, permitted: bool, version: int = 1) -> Change:
    return Change(identifier, at * MS, at * MS, permitted, version)


def in_order() -> Evidence:
    """1 stays, 2 withdraws at 500 ms, 3 never permits; a run before that, one after, and a quiet one."""
    return Evidence(
        requests=(
            request(1, 220, "load-1", {1: 1, 2: 1}),
            request(2, 720, "load-2", {2: None}, removes=True),
        ),
        changes=(
            change(1, 0, permitted=True),
            change(2, 0, permitted=True),
            change(3, 0, permitted=False),
            change(2, 500, permitted=False),
        ),
        workers=(
            made(1, 100),
            loaded(1, 200, counts=COUNTS),
            made(2, 600),
            loaded(2, 700, counts=NOTHING),
            made(3, 800),
            loaded(3, 900, kind="quiet", counts=NOTHING),
        ),
        bound_s=0.5,
        concurrency=2,
        settle_s=0.2,
    )


def with_requests(evidence: Evidence, *more: Request) -> Evidence:
    return replace(evidence, requests=tuple(sorted([*evidence.requests, *more], key=lambda request: request.at)))


def with_changes(evidence: Evidence, *more: Change) -> Evidence:
    return replace(evidence, changes=tuple(sorted([*evidence.changes, *more], key=lambda change: change.before)))


def with_worker(evidence: Evidence, changed: Worker) -> Evidence:
    workers = tuple(changed if worker.name == changed.name else worker for worker in evidence.workers)
    return replace(evidence, workers=workers)


def with_request(evidence: Evidence, changed: Request) -> Evidence:
    requests = tuple(changed if request.number == changed.number else request for request in evidence.requests)
    return replace(evidence, requests=requests)


def rules(evidence: Evidence) -> list[str]:
    return [violation.rule for violation in check(evidence).violations]


def test_nothing_is_wrong_with_evidence_in_order() -> None:
    verdict = check(in_order())

    assert verdict.violations == []
    assert not verdict.duplicates


def lose_a_row(evidence: Evidence) -> Evidence:
    return with_request(evidence, replace(evidence.requests[0], rejected=frozenset({1})))


def forget_a_removal(evidence: Evidence) -> Evidence:
    return replace(evidence, requests=evidence.requests[:1])


def bring_back_after_removal(evidence: Evidence) -> Evidence:
    return with_request(evidence, replace(evidence.requests[0], applied_at=800 * MS))


def leave_an_old_version(evidence: Evidence) -> Evidence:
    return with_changes(evidence, change(1, 550, permitted=True, version=2))


def keep_a_withdrawn_field(evidence: Evidence) -> Evidence:
    return with_changes(evidence, replace(change(1, 550, permitted=True), mail_permitted=False))


def clear_a_field_that_is_permitted(evidence: Evidence) -> Evidence:
    return with_requests(evidence, replace(request(9, 730, "load-2", {1: None}), clears=True))


def ask_nobody(evidence: Evidence) -> Evidence:
    worker = evidence.worker["load-1"]
    return with_worker(
        evidence, replace(worker, steps=tuple(step for step in worker.steps if step[0] != "asked_again"))
    )


def send_long_after_the_check(evidence: Evidence) -> Evidence:
    worker = evidence.worker["load-1"]
    steps = (("leased", 5 * MS), ("opened", 10 * MS), ("asked_again", 15 * MS), *worker.steps[3:])
    return replace(with_worker(evidence, replace(worker, steps=steps)), bound_s=0.1)


def send_whom_the_filter_denied(evidence: Evidence) -> Evidence:
    granted = with_changes(evidence, change(3, 150, permitted=True))
    return with_request(granted, replace(evidence.requests[0], rows={1: 1, 2: 1, 3: 1}))


def send_another_payload(evidence: Evidence) -> Evidence:
    changed = with_changes(evidence, change(1, 150, permitted=True, version=7))
    return with_request(changed, replace(evidence.requests[0], rows={1: 7, 2: 1}))


def use_a_key_for_other_rows(evidence: Evidence) -> Evidence:
    return with_requests(evidence, replace(evidence.requests[0], number=9, rows={1: 1}, applied_at=None))


def apply_a_key_twice(evidence: Evidence) -> Evidence:
    # Under the same key nothing changed for a customer: only the vendor's log shows it.
    return with_requests(evidence, replace(evidence.requests[1], number=9, at=730 * MS, applied_at=731 * MS))


def send_the_same_twice(evidence: Evidence) -> Evidence:
    return with_requests(evidence, request(9, 230, "load-1", {1: 1}))


def send_after_another_took_over(evidence: Evidence) -> Evidence:
    late = [request(10 + number, 706 + number, "load-1", {2: None}, removes=True) for number in range(3)]
    return with_requests(evidence, *late)


def report_a_row_too_few(evidence: Evidence) -> Evidence:
    worker = evidence.worker["load-1"]
    return with_worker(evidence, replace(worker, counts=COUNTS | {"accepted": 1}))


def send_where_nothing_is_to_be_done(evidence: Evidence) -> Evidence:
    # Unanswered before, so that it is no duplicate, and of the right time.
    lost = replace(evidence.requests[0], answered_at=None)
    killed = with_worker(evidence, replace(evidence.worker["load-1"], outcome=None, ended=None, killed_at_step=""))
    return with_requests(with_request(killed, lost), request(9, 920, "quiet-3", {1: 1}))


@pytest.mark.parametrize(
    ("doctor", "rule"),
    [
        (lose_a_row, "missing"),
        (forget_a_removal, "left_over"),
        (bring_back_after_removal, "left_over"),
        (leave_an_old_version, "stale"),
        (keep_a_withdrawn_field, "field_left"),
        (clear_a_field_that_is_permitted, "stale"),
        (ask_nobody, "never_asked"),
        (send_long_after_the_check, "answer_too_old"),
        (send_whom_the_filter_denied, "not_from_the_filter"),
        (send_another_payload, "not_from_the_filter"),
        (use_a_key_for_other_rows, "other_rows_under_a_key"),
        (apply_a_key_twice, "applied_twice"),
        (send_the_same_twice, "duplicate"),
        (send_after_another_took_over, "sent_without_lease"),
        (report_a_row_too_few, "does_not_add_up"),
        (send_where_nothing_is_to_be_done, "not_quiet"),
    ],
)
def test_each_broken_promise_is_found(doctor: Callable[[Evidence], Evidence], rule: str) -> None:
    broken = doctor(in_order())

    assert set(rules(broken)) == {rule}


@pytest.mark.parametrize("clears", [True, False])
def test_a_withdrawn_field_is_gone_after_a_request_that_clears_it_or_a_row_without_it(*, clears: bool) -> None:
    evidence = keep_a_withdrawn_field(in_order())
    rows: dict[int, int | None] = {1: None if clears else 1}
    emptied = replace(request(9, 730, "load-2", rows), clears=clears, without_mail=frozenset({1}))

    assert rules(with_requests(evidence, emptied)) == []


def test_somebody_who_withdrew_before_the_check_must_not_be_in_the_batch_after_it() -> None:
    broken = with_changes(in_order(), change(2, 150, permitted=False))

    verdict = check(broken)

    assert [violation.rule for violation in verdict.violations] == ["sent_after_the_check"]
    assert verdict.longest_after_withdrawal_s == pytest.approx(0.07)


def test_a_change_while_the_question_was_asked_may_have_been_seen_or_not() -> None:
    assert rules(with_changes(in_order(), change(2, 208, permitted=False))) == []


def test_somebody_who_withdrew_after_the_check_may_be_in_the_batch_that_was_under_way() -> None:
    verdict = check(with_changes(in_order(), change(2, 215, permitted=False)))

    assert verdict.violations == []
    assert verdict.longest_after_withdrawal_s == pytest.approx(0.005)


@pytest.mark.parametrize(("stopped", "found"), [((701, 704), []), ((690, 699), ["sent_without_lease"])])
def test_a_worker_that_is_stopped_as_it_takes_the_lease_may_have_lost_it_before_it_writes_that(
    stopped: tuple[int, int], found: list[str]
) -> None:
    begin, end = stopped
    evidence = send_after_another_took_over(in_order())
    worker = replace(evidence.worker["load-2"], stops=((begin * MS, end * MS),))

    assert sorted(set(rules(with_worker(evidence, worker)))) == found


def test_an_answer_may_be_as_old_as_the_worker_was_stopped() -> None:
    old = send_long_after_the_check(in_order())

    assert rules(with_worker(old, replace(old.worker["load-1"], stops=((MS, 111 * MS),)))) == []


def test_what_was_not_answered_may_be_sent_again() -> None:
    evidence = send_where_nothing_is_to_be_done(in_order())

    assert check(evidence).duplicates == {Reason.UNKNOWN: 1}


def test_who_changed_in_between_may_be_sent_the_same_again() -> None:
    evidence = with_changes(
        in_order(), change(1, 510, permitted=False), change(1, 520, permitted=True), change(1, 530, permitted=True)
    )
    evidence = with_requests(evidence, request(9, 730, "load-2", {1: 1}))

    verdict = check(evidence)

    assert verdict.violations == []
    assert verdict.duplicates == {Reason.CHANGED: 1}


def test_what_was_not_answered_may_take_effect_after_it_was_sent_again() -> None:
    evidence = in_order()
    late = replace(evidence.requests[0], applied_at=300 * MS, answered_at=None)
    killed = replace(evidence.worker["load-1"], outcome=None, ended=None, killed_at_step="")
    evidence = with_requests(with_request(with_worker(evidence, killed), late), request(9, 240, "load-1", {1: 1}))

    assert check(evidence).duplicates == {Reason.UNKNOWN: 1}


def test_what_may_have_been_overtaken_by_an_older_request_may_be_sent_again() -> None:
    evidence = send_the_same_twice(in_order())
    lost = replace(request(8, 215, "load-1", {1: 1}), applied_at=None, answered_at=None)

    assert check(with_requests(evidence, lost)).duplicates == {Reason.UNSETTLED: 1}


def test_a_person_who_was_withheld_from_the_next_try_of_a_lost_batch_may_be_sent_again() -> None:
    evidence = send_the_same_twice(in_order())
    batch = replace(request(7, 212, "load-1", {1: 1, 2: 1}), applied_at=None)
    lost = replace(request(8, 215, "load-1", {2: 1}), applied_at=None, answered_at=None)

    assert check(with_requests(evidence, batch, lost)).duplicates == {Reason.UNSETTLED: 1}


def test_a_person_who_was_withheld_from_a_lost_batch_and_not_from_its_next_try_may_be_sent_again() -> None:
    evidence = send_the_same_twice(in_order())
    lost = replace(request(7, 212, "load-1", {2: 1, 3: 1}), applied_at=None, answered_at=None)
    batch = replace(request(8, 215, "load-1", {1: 1, 2: 1}), applied_at=None)

    assert check(with_requests(evidence, lost, batch)).duplicates == {Reason.UNSETTLED: 1}


def test_an_unanswered_request_of_another_kind_explains_no_duplicate() -> None:
    evidence = send_the_same_twice(in_order())
    lost = replace(request(7, 212, "load-1", {2: None}, removes=True), applied_at=None, answered_at=None)

    assert [one.rule for one in check(with_requests(evidence, lost)).violations] == ["duplicate"]


def test_a_worker_that_lost_its_lease_may_not_have_noted_the_answers_that_it_got() -> None:
    evidence = in_order()
    first = replace(evidence.worker["load-1"], outcome="DestinationUnavailableError", ended=760 * MS)
    evidence = with_requests(with_worker(evidence, first), request(9, 730, "load-2", {1: 1}))

    assert check(evidence).duplicates == {Reason.UNKNOWN: 1}


def test_evidence_is_read_from_the_files_of_a_scenario(tmp_path: Path) -> None:
    vendor: list[dict[str, Any]] = [
        {"event": "received", "number": 1, "at": 5, "worker": "load-2", "key": "k", "removes": False, "rows": [[7, 1]]},
        {"event": "applied", "number": 1, "at": 6, "rejected": [7]},
        {"event": "answered", "number": 1, "at": 7, "clear": True},
    ]
    vendor[0]["fault"] = "slow"
    journal = [
        {"event": "began", "worker": "load-2", "at": 1, "kind": "load", "run": 1},
        {"event": "step", "worker": "load-2", "at": 2, "step": "leased"},
        {"event": "step", "worker": "load-2", "at": 4, "step": "asked_again"},
        {"event": "continued", "worker": "load-2", "at": 9},
        {"event": "stopped", "worker": "load-2", "at": 8},
        {"event": "dies", "worker": "load-2", "at": 10, "step": "answered"},
        {"event": "killed", "worker": "load-2", "at": 11},
    ]
    history = [{"id": 7, "before": 0, "after": 1, "permitted": True, "version": 1}]
    left: dict[str, list[dict[str, Any]]] = {"vendor": vendor, "journal": journal, "history": history}
    for name, lines in left.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    evidence = read_evidence(tmp_path, bound_s=1, concurrency=3, settle_s=1)

    assert evidence.requests == (
        Request(1, 5, "load-2", "k", False, {7: 1}, "slow", applied_at=6, rejected=frozenset({7}), answered_at=7),
    )
    (worker,) = evidence.workers
    assert (worker.questions, worker.stopped_ns, worker.killed_at_step) == ([(2, 4)], 1, "answered")
    assert evidence.possible(7, 0, 0) == list(evidence.changes)


def table_in_order() -> Evidence:
    """Return what a table's trigger wrote of the same story: each row's change is a request of its own."""
    evidence = in_order()
    changes = (
        request(1, 220, "", {1: 1}),
        request(2, 221, "", {2: 1}),
        request(3, 720, "", {2: None}, removes=True),
    )
    return replace(evidence, requests=changes, bound_s=-LONGEST_STOP_S + 0.2)


def test_a_table_in_order_passes() -> None:
    assert check_table(table_in_order()).violations == []


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("missing", [(4, 730, {1: None}, True)]),
        ("left_over", [(4, 650, {3: 1}, False)]),
        ("stale", [(4, 300, {1: 2}, False)]),
        ("sent_after_the_check", [(4, 750, {2: 1}, False)]),
        ("not_quiet", [(4, 950, {1: 1}, False)]),
    ],
)
def test_a_table_out_of_order_is_found(rule: str, changes: list[tuple[int, int, dict[int, int | None], bool]]) -> None:
    evidence = table_in_order()
    more = tuple(request(number, at, "", rows, removes=removes) for number, at, rows, removes in changes)

    verdict = check_table(replace(evidence, requests=evidence.requests + more))

    assert rule in {violation.rule for violation in verdict.violations}
