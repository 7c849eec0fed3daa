"""Shared code of the benchmarks: one measurement in a separate process, and a table of ratios."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tabulate import tabulate

CACHE = Path(__file__).resolve().parent / ".cache"


@dataclass(frozen=True)
class Measured:
    """Wall time and processor time of the work only, and the peak memory of its whole process."""

    wall_s: float
    cpu_s: float
    peak_mib: int


def measure_here(work: Callable[[], object]) -> None:
    """Do the work, and print its time and memory as one line of JSON for `measure`."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    measured = Measured(
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    )
    print(json.dumps(asdict(measured)))


def measure(script: str, *arguments: object) -> Measured:
    """Run a script in a new process, so that measurements do not share memory, and return its printed result."""
    command = [sys.executable, script, *map(str, arguments)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Measured(**json.loads(printed.splitlines()[-1]))


def show(title: str, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in the form of `docs/how-fast.md`."""
    print(f"\n{title}\n")
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments of every benchmark."""
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    made.add_argument("--json", type=Path, help="also write the figures here")
    return made


def write_figures(path: Path | None, figures: object) -> None:
    """Write the figures as JSON if there is a path."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n")
