"""A short run of the fuzzer, from strings that grant. `make fuzz` runs it for longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("iab.py")


def test_nothing_that_a_fuzzer_makes_of_granting_strings_raises_or_grants_wrongly() -> None:
    command = [sys.executable, str(SCRIPT), "-runs=3000", "-max_len=600", "-seed=1"]

    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)

    assert run.returncode == 0, run.stderr[-2_000:]
    assert "Done 3000 runs" in run.stderr


def test_the_seeds_grant() -> None:
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]; import iab\n"
        "signals = (iab.TCF, iab.OLD, iab.GPP_TCF, iab.NATIONAL, *iab.OF_STATES, *iab.CANADIAN)\n"
        "for text in iab.seeds(): print(*(signal.read(text) for signal in signals))"
    )

    run = subprocess.run(
        [sys.executable, "-c", script, str(SCRIPT.parent)], capture_output=True, text=True, check=True, timeout=120
    )

    assert all("granted" in line for line in run.stdout.splitlines())
    assert len(run.stdout.splitlines()) == 5 + 2 + 16 + 4
