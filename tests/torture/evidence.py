"""What a run leaves behind: the vendor's log, the history of consent, and the workers' journals, read into records.

Independent of the package that is tested: the checker sees nothing else.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the vendor read; times in nanoseconds since 1970.

    Args:
        number: in the order of reading.
        at: when it was read.
        worker: the sender.
        key: its idempotency key.
        removes: whether it is a removal.
        rows: the version by id; a removal has none, nor has a request that clears fields.
        fault: what went wrong with it.
        applied_at: when it took effect; None: never, or under the same key before.
        rejected: ids that the vendor did not accept.
        answered_at: when an answer about all rows was written.
        clears: whether it only clears the e-mails of people.
        without_mail: ids whose e-mail it does not have.
    """

    number: int
    at: int
    worker: str
    key: str
    removes: bool
    rows: Mapping[int, int | None]
    fault: str = "none"
    applied_at: int | None = None
    rejected: frozenset[int] = frozenset()
    answered_at: int | None = None
    clears: bool = False
    without_mail: frozenset[int] = frozenset()

    @property
    def adds(self) -> bool:
        """Whether it has rows of people."""
        return not self.removes and not self.clears


@dataclass(frozen=True, slots=True)
class Change:
    """The values of a customer from some time between `before` and `after` on."""

    id: int
    before: int
    after: int
    permitted: bool
    version: int
    mail_permitted: bool = True


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that extracted and filtered, or loaded.

    Args:
        name: of the worker.
        kind: `filter`, `load`, or `quiet` for a load that must have nothing to do.
        run: the number of the permitted set that it made or loads.
        began: when it began.
        steps: each step of the protocol with its time.
        outcome: `ok`, the name of an error, or None where it was killed.
        ended: when it ended.
        counts: what it reported.
        killed_at_step: the step at which it killed itself; `""`: somewhere else; None: it was not killed.
        stops: from when to when it was stopped.
    """

    name: str
    kind: str
    run: int
    began: int
    steps: tuple[tuple[str, int], ...] = ()
    outcome: str | None = None
    ended: int | None = None
    counts: Mapping[str, Any] = field(default_factory=dict)
    killed_at_step: str | None = None
    stops: tuple[tuple[int, int], ...] = ()

    @property
    def stopped_ns(self) -> int:
        """For how long it was stopped, all in all."""
        return sum(end - begin for begin, end in self.stops)

    @property
    def leases(self) -> list[int]:
        """When it took the lease, as far as that is known.

        A worker that was stopped after the step before may have taken it, and lost it again, long before it wrote that.
        """
        steps = [("began", self.began), *self.steps]
        return [
            at
            for (_, before), (name, at) in pairwise(steps)
            if name == "leased" and not any(begin < at and end > before for begin, end in self.stops)
        ]

    def when(self, step: str) -> list[int]:
        """Return the times of a step."""
        return [at for name, at in self.steps if name == step]

    @property
    def questions(self) -> list[tuple[int, int]]:
        """When it asked for consent again: after the step before, until the answer was there."""
        return [
            (self.steps[number - 1][1] if number else self.began, at)
            for number, (name, at) in enumerate(self.steps)
            if name == "asked_again"
        ]


@dataclass(frozen=True)
class Evidence:
    """All of it.

    Args:
        requests: by their numbers.
        changes: of all customers, in the order in which they took effect.
        workers: in the order in which they began.
        bound_s: how old an answer of the source may be at the most when a request goes out on it, without the
            duration of the question and the time for which a worker was stopped.
        concurrency: requests that one worker has in progress.
        settle_s: for how long a request that was not answered is taken into account.
    """

    requests: tuple[Request, ...]
    changes: tuple[Change, ...]
    workers: tuple[Worker, ...]
    bound_s: float
    concurrency: int
    settle_s: float

    @cached_property
    def worker(self) -> dict[str, Worker]:
        return {worker.name: worker for worker in self.workers}

    def run_of(self, request: Request) -> int:
        """Return the number of the permitted set from which a request was made; 0: not known."""
        worker = self.worker.get(request.worker)
        return 0 if worker is None else worker.run

    @cached_property
    def changes_of(self) -> dict[int, list[Change]]:
        found: dict[int, list[Change]] = {}
        for change in self.changes:
            found.setdefault(change.id, []).append(change)
        return found

    def possible(self, identifier: int, begin: int, end: int) -> list[Change]:
        """Return the values that a customer may have had at some time between two times."""
        changes = self.changes_of.get(identifier, [])
        ends = [change.after for change in changes[1:]]
        first = bisect_right(ends, begin - 1)
        return [change for change in changes[first:] if change.before <= end]

    @cached_property
    def applied(self) -> list[Request]:
        """The requests that took effect, in the order in which they did."""
        in_effect = [(request.applied_at, request) for request in self.requests if request.applied_at is not None]
        return [request for _, request in sorted(in_effect, key=lambda pair: (pair[0], pair[1].number))]


def read_evidence(folder: Path, *, bound_s: float, concurrency: int, settle_s: float) -> Evidence:
    """Read what a scenario left in a folder."""
    return Evidence(
        requests=tuple(_requests(_lines(folder / "vendor.jsonl"))),
        changes=tuple(Change(**line) for line in _lines(folder / "history.jsonl")),
        workers=tuple(_workers(_lines(folder / "journal.jsonl"))),
        bound_s=bound_s,
        concurrency=concurrency,
        settle_s=settle_s,
    )


def _lines(file: Path) -> list[Line]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _requests(lines: Iterable[Line]) -> list[Request]:
    requests: dict[int, Request] = {}
    for line in lines:
        number, at = line["number"], line["at"]
        match line["event"]:
            case "received":
                requests[number] = Request(
                    number=number,
                    at=at,
                    worker=line["worker"],
                    key=line["key"],
                    removes=line["removes"],
                    rows=dict(line["rows"]),
                    fault=line["fault"],
                    clears=line.get("clears", False),
                    without_mail=frozenset(line.get("without_mail", ())),
                )
            case "applied":
                requests[number] = replace(requests[number], applied_at=at, rejected=frozenset(line["rejected"]))
            case "answered" if line["clear"]:
                requests[number] = replace(requests[number], answered_at=at)
    return list(requests.values())


def _workers(lines: Iterable[Line]) -> list[Worker]:
    workers: dict[str, Worker] = {}
    stopped: dict[str, int] = {}
    # The parent's lines and the worker's own are appended to one file by several processes.
    for line in sorted(lines, key=lambda line: line["at"]):
        name, at = line["worker"], line["at"]
        worker = workers.get(name)
        match line["event"]:
            case "began":
                workers[name] = Worker(name, line["kind"], line["run"], at)
            case _ if worker is None:
                raise ValueError(f"worker {name} never began")
            case "step":
                workers[name] = replace(worker, steps=(*worker.steps, (line["step"], at)))
            case "dies":
                workers[name] = replace(worker, killed_at_step=line["step"])
            case "killed":
                workers[name] = replace(worker, killed_at_step=worker.killed_at_step or "")
            case "stopped":
                stopped[name] = at
            case "continued":
                workers[name] = replace(worker, stops=(*worker.stops, (stopped.pop(name), at)))
            case "ended":
                workers[name] = replace(worker, outcome=line["outcome"], ended=at, counts=line["counts"])
    return list(workers.values())
