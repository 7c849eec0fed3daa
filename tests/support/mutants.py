"""The runner of `make mutants`: it changes the law in small ways, each of which has to fail a test of the law.

mutmut writes the mutants, and finds which tests call which function. It would collect the tests again for each mutant,
so this runner takes over: each of its processes collects them once, and forks for each mutant. The tests that failed
for other mutants of the function come first, then the quickest; the first that fails ends the mutant. At the end of a
function, its tests that failed run without a mutant: one that fails then too would make the results worthless.

    PYTHONPATH=tests python -m support.mutants ['airflow_consent_retl.consent.answers.*' …]
"""

from __future__ import annotations

import fnmatch
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from _pytest.runner import runtestprotocol

_MUTANTS: Final = Path("mutants")
_TESTS: Final = ("tests/consent", "--confcutdir=tests/consent", "-p", "no:cacheprovider", "--tb=no", "-qq", "-s")
_PROCESSES: Final = 2
# No test of the law takes as long.
_ENDLESS_S: Final = 60
_KILLED, _ENDLESS, _SURVIVED, _NO_TESTS = "killed", "never ends", "survived", "no tests"


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the law, its mutants, and the tests that call it, the quickest first."""

    name: str
    mutants: tuple[str, ...]
    tests: tuple[str, ...]


@dataclass(slots=True)
class _InPlaceOfTests:
    """A plugin of pytest that runs mutants in place of the tests."""

    functions: Iterable[Function]
    results: dict[str, str] = field(default_factory=dict)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the mutants of all functions."""
        collected = {item.nodeid: item for item in session.items}
        for function in self.functions:
            tests = [collected[name] for name in function.tests]
            kills: Counter[str] = Counter()
            for mutant in function.mutants:
                tests.sort(key=lambda item: -kills[item.nodeid])
                status, killer = _run(mutant, tests)
                if killer:
                    kills[killer] += 1
                    self.results[mutant] = _KILLED
                    continue
                self.results[mutant] = _ENDLESS if status else _SURVIVED if tests else _NO_TESTS
                print(f"{mutant}: {self.results[mutant]}", flush=True)  # noqa: T201 - a command's output
            if _run("", [collected[name] for name in kills]) != (0, ""):
                pytest.exit(f"a test of `{function.name}` fails without a mutant", returncode=1)
        return True


def _run(mutant: str, tests: Iterable[pytest.Item]) -> tuple[int, str]:
    """Run tests until one fails, in a process of their own. Return its status, and the test that failed, or ""."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (_ENDLESS_S, _ENDLESS_S))
        os.environ["MUTANT_UNDER_TEST"] = mutant
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        for item in tests:
            if any(report.failed for report in runtestprotocol(item, nextitem=None, log=False)):
                os.write(write, item.nodeid.encode())
                break
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        killer = pipe.read().decode()
    return os.waitpid(child, 0)[1], killer


def _results(functions: Sequence[Function]) -> dict[str, str]:
    os.chdir(_MUTANTS)
    sys.path.insert(0, str(Path.cwd()))
    runner = _InPlaceOfTests(functions)
    status = pytest.main([*_TESTS], plugins=[runner])
    if len(runner.results) != sum(len(function.mutants) for function in functions):
        raise SystemExit(f"the mutants were not run to their end: {status!r}")
    return runner.results


def _functions(patterns: Sequence[str]) -> list[Function]:
    stats = json.loads((_MUTANTS / "mutmut-stats.json").read_text())
    seconds, tests = stats["duration_by_test"], stats["tests_by_mangled_function_name"]
    mutants: dict[str, list[str]] = defaultdict(list)
    for file in sorted(_MUTANTS.rglob("*.meta")):
        for name in json.loads(file.read_text())["exit_code_by_key"]:
            if any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
                mutants[name.rpartition("__mutmut_")[0]].append(name)
    return [
        Function(name, tuple(names), tuple(sorted(tests.get(name, ()), key=lambda test: seconds.get(test, 0.0))))
        for name, names in mutants.items()
    ]


def main(patterns: Sequence[str]) -> int:
    """Run the mutants that a pattern names, and show whatever no test saw. Return 1 if there is any."""
    # To run the few mutants of one module writes those of all modules, and finds the tests of each function.
    mutmut = Path(sys.executable).with_name("mutmut")
    subprocess.run([mutmut, "run", "airflow_consent_retl.near.*"], check=True, stdout=subprocess.DEVNULL)
    functions = _functions(patterns or ["*"])
    began = time.monotonic()
    shares = [functions[start::_PROCESSES] for start in range(_PROCESSES)]
    results: dict[str, str] = {}
    with ProcessPoolExecutor(_PROCESSES, multiprocessing.get_context("spawn")) as pool:
        for share in pool.map(_results, shares):
            results |= share
    counts = Counter(results.values())
    summary = ", ".join(f"{count:,} {result}" for result, count in counts.most_common())
    print(f"{len(results):,} mutants in {time.monotonic() - began:,.0f} s: {summary}")  # noqa: T201 - a command's output
    return int(bool(counts[_SURVIVED] or counts[_NO_TESTS] or not results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
