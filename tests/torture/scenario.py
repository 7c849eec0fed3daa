"""One scenario: what happens to a sync, round after round, decided by a seed; its evidence is left in a folder.

In each round customers change, the model is extracted and filtered, and the load is tried until it ends well or a
newer filter comes in between. Workers are killed at named steps and anywhere else, stopped for longer than their lease
and continued while another one works, and overlapped by others, with the same permitted set or an older one.
Meanwhile people withdraw and grant all the time. At last a load loses all its additions and another one all its
removals, which take effect when the next run has sent the contrary already. In the end everything is quiet, and the
last loads have to bring the vendor to where it belongs.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from torture.source import Source
from torture.vendor import LATEST_EFFECT_S, Mode
from torture.worker import LEASE_TTL_S, SETTLE_S, Fall, Journal, Place, work

# The steps of a load, in their order, and how often it may reach each.
STEPS = {
    "leased": 1,
    "resolved": 1,
    "changes_published": 1,
    "begun": 1,
    "opened": 1,
    "asked_again": 1,
    "intended": 3,
    "answered": 8,
    "noted": 3,
    "committed": 1,
    "folded": 1,
    "advanced": 1,
    "swept": 1,
}
LONGEST_STOP_S = 2.0
_LONGEST_LOAD_S = 60.0
_TRIES = 5


@dataclass(eq=False)
class _Process:
    """A worker that was started."""

    name: str
    kind: str
    pid: int
    began: float
    fall: Fall | None
    kill_at: float | None = None
    stop_at: float | None = None
    continue_at: float | None = None
    has_ended: bool = False


@dataclass
class Scenario:
    """Starts workers, watches them, and has the source change meanwhile.

    To be run in a process with one thread, since it forks, and one that has imported what the workers use.

    Args:
        seed: decides what happens.
        folder: an empty one.
        rows: customers in the beginning.
    """

    seed: int
    folder: Path
    rows: int = 240
    _number: int = 0
    _run: int = 0
    _running: list[_Process] = field(default_factory=list)
    _succeeded: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not LONGEST_STOP_S + LATEST_EFFECT_S < SETTLE_S:
            raise ValueError("a removal would be final before the last request of before took effect")
        self._chance = random.Random(f"scenario {self.seed}")  # noqa: S311 - chance, not secrets
        steps = list(STEPS)
        self._chance.shuffle(steps)
        # The next one to die at is the first.
        self._steps = deque(steps)
        self._journal = Journal(self.folder / "journal.jsonl")
        self._source = Source(
            self.folder / "source.db",
            self.folder / "history.jsonl",
            chance=random.Random(f"source {self.seed}"),  # noqa: S311 - as above
            rows=self.rows,
        )

    def run(self, *, until: float, least_rounds: int = 3) -> None:
        """Go through rounds until a time of the monotonic clock, and then to the quiet end."""
        with self._vendor() as port:
            self._place = Place(self.folder, port, self._journal)
            try:
                rounds = 0
                while rounds < least_rounds or time.monotonic() < until:
                    self._round()
                    rounds += 1
                self._end_unluckily()
                self._end_quietly()
            finally:
                self._end_all()

    def run_calmly(self, steps: Iterable[str]) -> None:
        """Kill one load at each of some steps, with a vendor that does what it is told, and end quietly."""
        with self._vendor() as port:
            self._place = Place(self.folder, port, self._journal)
            self._have_vendor(Mode.OBEY)
            try:
                for step in steps:
                    self._source.change_rows(0.3)
                    self._source.withdraw(0.1)
                    self._source.withdraw_mail(0.1)
                    self._filter_quietly()
                    self._start("load", self._run, fall=Fall(step, 1))
                    self._watch(changing=False)
                    self._must("load")
                self._end_quietly()
            finally:
                self._end_all()

    def _round(self) -> None:
        self._source.change_rows(self._chance.uniform(0.1, 0.6))
        self._source.withdraw(self._chance.uniform(0.02, 0.15))
        self._source.grant(self._chance.uniform(0.02, 0.15))
        self._source.withdraw_mail(self._chance.uniform(0.02, 0.15))
        self._source.grant_mail(self._chance.uniform(0.02, 0.15))
        self._source.come_and_go(self._chance.uniform(0.01, 0.05))
        self._filter()
        for _ in range(_TRIES):
            self._start_load(self._run, kind="withdraw" if self._chance.random() < 0.15 else "load")
            if self._chance.random() < 0.25:
                self._overlap()
            self._watch()
            if "load" in self._succeeded or self._chance.random() < 0.2:
                return

    def _filter(self) -> None:
        self._run += 1
        # The source changes while it is read, too.
        self._start("filter", self._run, fall=None)
        self._watch()
        if "filter" not in self._succeeded:
            raise RuntimeError(f"the filter failed: see {self.folder / 'output.log'}")

    def _start_load(self, run: int, *, kind: str = "load") -> None:
        what = self._chance.choices(["kill_at_step", "kill", "stop_at_step", "stop", "nothing"], [38, 17, 8, 7, 30])[0]
        # Also the shortest scenario has some.
        what = "kill_at_step" if self._number < 5 else what
        fall = None
        if what in {"kill_at_step", "stop_at_step"}:
            step = self._steps.popleft()
            fall = Fall(step, self._chance.randint(1, STEPS[step]), stops=what == "stop_at_step")
        process = self._start(kind, run, fall=fall)
        at = process.began + self._chance.uniform(0.02, 0.8)
        if what == "kill":
            process.kill_at = at
        elif what == "stop":
            process.stop_at = at

    def _overlap(self) -> None:
        """Start another load in parallel with the last one, sometimes with an older permitted set."""
        self._pause(self._chance.uniform(0, 0.6))
        older = self._run > 1 and self._chance.random() < 0.3
        self._start_load(self._run - 1 if older else self._run)

    def _end_unluckily(self) -> None:
        self._source.change_rows(0.3)
        self._lose(Mode.LOSE_ADDITIONS)
        self._source.change_rows(1.0)
        self._filter_quietly()
        self._must("load")
        self._source.withdraw(0.1)
        self._source.withdraw_mail(0.2)
        self._lose(Mode.LOSE_REMOVALS)
        self._source.grant(1.0)
        self._filter_quietly()
        self._must("load")

    def _lose(self, mode: Mode) -> None:
        self._filter_quietly()
        self._have_vendor(mode)
        self._start("load", self._run, fall=None)
        self._watch(changing=False)
        self._have_vendor(Mode.OBEY)

    def _have_vendor(self, mode: Mode) -> None:
        urllib.request.urlopen(f"http://127.0.0.1:{self._place.vendor_port}/{mode}", timeout=60).close()

    def _end_quietly(self) -> None:
        self._have_vendor(Mode.QUIET)
        # The last removals are final only when nothing of before can take effect any more.
        for pause_s in (0.0, SETTLE_S + 0.5):
            time.sleep(pause_s)
            self._filter_quietly()
            self._must("load")
        self._filter_quietly()
        self._must("quiet")

    def _filter_quietly(self) -> None:
        self._run += 1
        self._must("filter")

    def _must(self, kind: str) -> None:
        self._start(kind, self._run, fall=None)
        self._watch(changing=False)
        if kind not in self._succeeded:
            raise RuntimeError(f"the last {kind} failed: see {self.folder / 'output.log'}")

    def _start(self, kind: str, run: int, *, fall: Fall | None) -> _Process:
        self._number += 1
        name = f"{kind}-{self._number}"
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                status = 0 if work(self._place, name=name, kind=kind, run=run, fall=fall) else 1
            finally:
                # Not as the parent would end.
                os._exit(status)
        process = _Process(name, kind, pid, time.monotonic(), fall)
        self._running.append(process)
        return process

    def _watch(self, *, changing: bool = True) -> None:
        """Wait until every worker ended, and leave in `_succeeded` which kinds of them ended well."""
        self._succeeded.clear()
        while self._running:
            self._tend()
            if changing and self._chance.random() < 0.05:
                self._source.change_a_little()
            time.sleep(0.01)

    def _pause(self, pause_s: float) -> None:
        until = time.monotonic() + pause_s
        while time.monotonic() < until:
            self._tend()
            time.sleep(0.01)

    def _tend(self) -> None:
        for process in list(self._running):
            self._reap(process)
            if not process.has_ended:
                self._meddle(process)

    def _reap(self, process: _Process) -> None:
        pid, status = os.waitpid(process.pid, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            self._journal.write(process.name, "stopped")
            process.continue_at = time.monotonic() + self._chance.uniform(0.3 * LEASE_TTL_S, LONGEST_STOP_S)
            if self._chance.random() < 0.7:
                # Another worker has to take over meanwhile.
                self._start_load(self._run)
            return
        process.has_ended = True
        self._running.remove(process)
        if process.fall is not None and (process.fall.stops or os.WIFSIGNALED(status)):
            self._steps.append(process.fall.step)
        elif process.fall is not None:
            # It did not reach the step: another worker has to.
            self._steps.appendleft(process.fall.step)
        if os.WIFSIGNALED(status):
            self._journal.write(process.name, "killed")
        elif os.WEXITSTATUS(status) == 0:
            self._succeeded.add(process.kind)

    def _meddle(self, process: _Process) -> None:
        now = time.monotonic()
        if process.continue_at is not None and now >= process.continue_at:
            process.continue_at = None
            self._journal.write(process.name, "continued")
            os.kill(process.pid, signal.SIGCONT)
        elif process.stop_at is not None and now >= process.stop_at:
            process.stop_at = None
            os.kill(process.pid, signal.SIGSTOP)
        elif process.kill_at is not None and now >= process.kill_at:
            process.kill_at = None
            os.kill(process.pid, signal.SIGKILL)
        elif now - process.began > _LONGEST_LOAD_S:
            raise RuntimeError(f"worker {process.name} does not end: see {self.folder / 'output.log'}")

    def _end_all(self) -> None:
        for process in self._running:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            os.waitpid(process.pid, 0)

    @contextmanager
    def _vendor(self) -> Iterator[int]:
        program = Path(__file__).with_name("vendor.py")
        with subprocess.Popen(
            [sys.executable, str(program), str(self.seed), str(self.folder / "vendor.jsonl")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as vendor:
            assert vendor.stdout is not None
            assert vendor.stdin is not None
            try:
                yield int(vendor.stdout.readline())
            finally:
                vendor.stdin.close()
                if vendor.wait(10):
                    raise RuntimeError("the vendor failed")
