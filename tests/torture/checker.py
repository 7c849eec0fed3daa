"""The check of a run's evidence against the promises of the protocol. It knows nothing of the package.

The promises, each with the name under which a violation is reported:

- `missing`: at the end every permitted person is there; `stale`: with the present values.
- `left_over`: at the end no one else is there. `field_left`: nor the e-mail of a person who withdrew consent to it.
- `sent_after_the_check`: an addition is based on the latest answer of the source that its worker had. A person who was
  not permitted at any time during that question is not in it. A question lasts from the step before it to its answer:
  a change in these milliseconds may have been seen or not. `never_asked`: no addition is sent without an answer.
- `answer_too_old`: that answer is not older than the interval between questions, the question itself and the batches
  in progress, whatever they had to wait for.
- `not_from_the_filter`: an addition has the values that the customer had, and was permitted, at some time of the
  extraction that its load got.
- `other_rows_under_a_key`, `applied_twice`: one key always identifies the same rows, and they take effect once.
- `duplicate`: no person is sent the same values under two keys, unless there is a reason: see `Reason`.
- `sent_without_lease`: once another worker has the lease, a worker sends nothing more than its requests in progress.
- `does_not_add_up`: the counts that a load reports.
- `not_quiet`: a load that has nothing to do sends nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from torture.evidence import Evidence, Request, Worker


class Reason(StrEnum):
    """The reason why a person was sent the same values again, under another key."""

    # They changed meanwhile, or lost their permission: a removal, or other values, were sent or about to be sent.
    CHANGED = "changed"
    # The earlier worker did not learn the result, or died before it recorded the result.
    UNKNOWN = "unknown"
    # Before that, a request with them was not answered, or a worker that died may have made one: it may have taken
    # effect after the values that were sent then, so the present values there are not known. A batch counts as a whole,
    # also for people who were withheld from its next try.
    UNSETTLED = "unsettled"


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken."""

    rule: str
    what: str


@dataclass
class Verdict:
    """What was found.

    Args:
        violations: all of them.
        duplicates: people who were sent the same again, by reason.
        longest_after_withdrawal_s: the longest time between a withdrawal and the sending of that person.
    """

    violations: list[Violation] = field(default_factory=list)
    duplicates: Counter[Reason] = field(default_factory=Counter)
    longest_after_withdrawal_s: float = 0.0


def check(evidence: Evidence) -> Verdict:
    """Return every promise that was broken, and what was counted on the way."""
    verdict = Verdict()
    for rule in (final_state, _keys, _additions, _leases, _reports):
        verdict.violations += rule(evidence)
    verdict.violations += _duplicates(evidence, verdict.duplicates)
    verdict.longest_after_withdrawal_s = max(after_withdrawal_s(evidence), default=0.0)
    return verdict


def final_state(evidence: Evidence) -> Iterator[Violation]:
    """Yield each person who is missing, left over or stale at the end, or whose withdrawn e-mail is still there."""
    there = _at_the_end(evidence)
    wanted = {identifier: changes[-1] for identifier, changes in evidence.changes_of.items() if changes[-1].permitted}
    for identifier in sorted(wanted.keys() | there.keys()):
        if identifier not in there:
            yield Violation("missing", f"customer {identifier}")
            continue
        version, has_mail = there[identifier]
        if identifier not in wanted:
            yield Violation("left_over", f"customer {identifier}, version {version}")
        elif version != wanted[identifier].version:
            yield Violation(
                "stale", f"customer {identifier}: version {version} instead of {wanted[identifier].version}"
            )
        elif has_mail and not wanted[identifier].mail_permitted:
            yield Violation("field_left", f"the e-mail of customer {identifier}")
        elif wanted[identifier].mail_permitted and not has_mail:
            yield Violation("stale", f"customer {identifier} has no e-mail")


def _at_the_end(evidence: Evidence) -> dict[int, tuple[int | None, bool]]:
    """Return who is at the vendor at the end: the version of each, and whether it has an e-mail."""
    there: dict[int, tuple[int | None, bool]] = {}
    for request in evidence.applied:
        for identifier, version in request.rows.items():
            if request.removes:
                there.pop(identifier, None)
            elif request.clears:
                if identifier in there:
                    there[identifier] = (there[identifier][0], False)
            elif identifier not in request.rejected:
                there[identifier] = (version, identifier not in request.without_mail)
    return there


def _keys(evidence: Evidence) -> Iterator[Violation]:
    stands_for: dict[str, tuple[object, ...]] = {}
    for request in evidence.requests:
        content = (request.removes, request.clears, request.without_mail, *request.rows.items())
        if stands_for.setdefault(request.key, content) != content:
            yield Violation("other_rows_under_a_key", f"request {request.number} of {request.worker}")
    times = Counter(request.key for request in evidence.applied)
    yield from (Violation("applied_twice", key) for key, count in times.items() if count > 1)


def _additions(evidence: Evidence) -> Iterator[Violation]:
    sent_at = _sent_at(evidence)
    made_by = {worker.run: worker for worker in evidence.workers if worker.kind == "filter" and worker.ended}
    for request in evidence.requests:
        worker = evidence.worker[request.worker]
        where = f"request {request.number} of {worker.name} (run {worker.run})"
        if worker.kind == "quiet" and not request.removes:
            yield Violation("not_quiet", where)
        if not request.adds:
            continue
        made = made_by[worker.run]
        for identifier, version in request.rows.items():
            was = evidence.possible(identifier, made.began, made.ended or made.began)
            if not any(change.permitted and change.version == version for change in was):
                yield Violation("not_from_the_filter", f"customer {identifier}, version {version}, in {where}")
        sent = sent_at[worker.name, request.key]
        answered = [(begin, end) for begin, end in worker.questions if end <= sent]
        if not answered:
            yield Violation("never_asked", where)
            continue
        begin, end = answered[-1]
        for identifier in request.rows:
            if not any(change.permitted for change in evidence.possible(identifier, begin, end)):
                yield Violation("sent_after_the_check", f"customer {identifier} in {where}")
        if request.at - begin > evidence.bound_s * 1e9 + (end - begin) + worker.stopped_ns:
            yield Violation("answer_too_old", f"{(request.at - begin) / 1e9:.2f} s in {where}")


def _sent_at(evidence: Evidence) -> dict[tuple[str, str], int]:
    """Return when each worker first sent each key: a worker asks again only when all that it sent was answered."""
    sent_at: dict[tuple[str, str], int] = {}
    for request in evidence.requests:
        sent_at.setdefault((request.worker, request.key), request.at)
    return sent_at


def _leases(evidence: Evidence) -> Iterator[Violation]:
    leases = sorted((at, worker.name) for worker in evidence.workers for at in worker.leases)
    for (_, holder), (taken, _) in pairwise(leases):
        late = [request for request in evidence.requests if request.worker == holder and request.at > taken]
        if len(late) > evidence.concurrency:
            yield Violation("sent_without_lease", f"{len(late)} requests of {holder}")


def _reports(evidence: Evidence) -> Iterator[Violation]:
    for worker in evidence.workers:
        if worker.kind not in {"load", "quiet"} or worker.outcome != "ok":
            continue
        counts = worker.counts
        planned = counts["added"] + counts["updated"]
        broken = [
            sentence
            for sentence, is_right in {
                "permitted": counts["permitted"] == planned + counts["unchanged"] + counts["skipped"],
                "sent": planned == counts["accepted"] + counts["rejected"] + counts["withheld"],
                "ended": not (counts["uncertain"] or counts["pending"] or counts["unsent"] or counts["not_removed"])
                and not counts.get("not_cleared"),
                "read": counts["read"] == counts["permitted"] + counts["denied"],
            }.items()
            if not is_right
        ]
        if broken:
            yield Violation("does_not_add_up", f"{worker.name}: {', '.join(broken)}")


def _duplicates(evidence: Evidence, counted: Counter[Reason]) -> Iterator[Violation]:
    made_by = {worker.run: worker for worker in evidence.workers if worker.kind == "filter" and worker.ended}
    is_known = _known_keys(evidence)
    unanswered, deaths = _unanswered(evidence), _deaths(evidence)
    latest: dict[int, Request] = {}
    for request in evidence.applied:
        if not request.adds:
            continue
        for identifier, version in request.rows.items():
            if identifier in request.rejected:
                continue
            earlier = latest.get(identifier)
            latest[identifier] = request
            if earlier is None or earlier.rows[identifier] != version:
                continue
            # A request may take effect after one that was sent later.
            first = min(earlier, request, key=lambda one: one.at)
            since = made_by[evidence.worker[first.worker].run].began
            if len(evidence.possible(identifier, since, request.applied_at or request.at)) > 1:
                counted[Reason.CHANGED] += 1
            elif first.key not in is_known:
                counted[Reason.UNKNOWN] += 1
            elif any(0 < first.at - at < evidence.settle_s * 1e9 for at in [*unanswered.get(identifier, []), *deaths]):
                counted[Reason.UNSETTLED] += 1
            else:
                where = f"requests {earlier.number} of {earlier.worker} and {request.number} of {request.worker}"
                yield Violation("duplicate", f"customer {identifier} in {where}")


def _unanswered(evidence: Evidence) -> dict[int, list[int]]:
    """Return, by customer, when requests with the customer, or with others of the same batch, were not answered."""
    found: dict[int, list[int]] = {}
    batches: dict[tuple[int, bool, bool], list[frozenset[int]]] = {}
    for request in evidence.requests:
        batches.setdefault(_kind(evidence, request), []).append(frozenset(request.rows))
    for request in evidence.requests:
        if request.answered_at is None:
            # Another try of a batch, before or after, is without the people who were withheld at its time. No person
            # is in two batches of one run and kind.
            rows = frozenset(request.rows)
            for identifier in rows.union(*(batch for batch in batches[_kind(evidence, request)] if rows & batch)):
                found.setdefault(identifier, []).append(request.at)
    return found


def _kind(evidence: Evidence, request: Request) -> tuple[int, bool, bool]:
    return evidence.run_of(request), request.removes, request.clears


def _deaths(evidence: Evidence) -> list[int]:
    """Return when workers made their last step that may have meant to send something, and died."""
    return [worker.steps[-1][1] for worker in evidence.workers if worker.ended is None and worker.when("intended")]


def _known_keys(evidence: Evidence) -> set[str]:
    """Return the keys of batches of which a worker certainly recorded the results.

    A load that ended well noted all of them. One that failed noted those that were answered at once, unless it had
    lost its lease or its ledger by then.
    """
    leased_at = sorted(at for worker in evidence.workers for at in worker.leases)
    known = set()
    for request in evidence.requests:
        worker = evidence.worker[request.worker]
        quickly = request.answered_at is not None and request.answered_at - request.at < _AT_ONCE_NS
        if worker.outcome == "ok" or (quickly and _ended_in_order(worker, leased_at)):
            known.add(request.key)
    return known


def _ended_in_order(worker: Worker, leased_at: list[int]) -> bool:
    own = worker.when("leased")
    if worker.ended is None or not own or worker.outcome == "LedgerUnavailableError":
        return False
    following = bisect_right(leased_at, own[-1])
    return following == len(leased_at) or leased_at[following] > worker.ended


def after_withdrawal_s(evidence: Evidence) -> Iterator[float]:
    """Yield how long after their permission ended people were sent."""
    for request in evidence.requests:
        if not request.adds:
            continue
        for identifier in request.rows:
            now = evidence.possible(identifier, request.at, request.at)
            if not any(change.permitted for change in now):
                ended = _permission_ended(evidence, identifier, request.at)
                yield (request.at - ended) / 1e9


def _permission_ended(evidence: Evidence, identifier: int, at: int) -> int:
    ended = at
    for change in reversed([change for change in evidence.changes_of.get(identifier, []) if change.after <= at]):
        if change.permitted:
            break
        ended = change.after
    return ended


_AT_ONCE_NS = 250_000_000
