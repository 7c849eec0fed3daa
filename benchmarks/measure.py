"""Shared code of the benchmarks: one measurement in a separate process, and a table of ratios."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

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


@dataclass(frozen=True)
class Paired:
    """One way as a ratio to its rival, over pairs of runs that take turns: medians, and the highest peak."""

    wall_s: float
    cpu_s: float
    wall_ratio: float
    cpu_ratio: float
    peak_mib: int

    @property
    def columns(self) -> list[str]:
        """The columns of a table: seconds, processor seconds, both ratios, and the peak."""
        ratios = [f"{self.wall_ratio:.2f}", f"{self.cpu_ratio:.2f}"]
        return [f"{self.wall_s:.1f}", f"{self.cpu_s:.1f}", *ratios, str(self.peak_mib)]

    @classmethod
    def of(cls, runs: Sequence[Measured], rivals: Sequence[Measured]) -> Paired:
        """Compare each run with the rival's run of the same pair."""
        return cls(
            wall_s=median(run.wall_s for run in runs),
            cpu_s=median(run.cpu_s for run in runs),
            wall_ratio=median(run.wall_s / rival.wall_s for run, rival in zip(runs, rivals, strict=True)),
            cpu_ratio=median(run.cpu_s / rival.cpu_s for run, rival in zip(runs, rivals, strict=True)),
            peak_mib=max(run.peak_mib for run in runs),
        )


def in_pairs(pairs: int, ways: Mapping[str, Callable[[], Measured]]) -> dict[str, Paired]:
    """Let ways take turns, and compare each with the first one."""
    runs = [{name: way() for name, way in ways.items()} for _ in range(pairs)]
    rival = next(iter(ways))
    return {name: Paired.of([run[name] for run in runs], [run[rival] for run in runs]) for name in ways}


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
