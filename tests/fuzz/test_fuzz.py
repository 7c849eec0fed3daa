"""Short runs of the fuzzers, from texts that grant. `make fuzz` runs them for longer."""

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


RECORDS = Path(__file__).with_name("records.py")


def test_nothing_that_a_fuzzer_makes_of_granting_records_raises_or_grants_without_the_documented_yes() -> None:
    command = [sys.executable, str(RECORDS), "-runs=10000", "-max_len=900", "-seed=1"]

    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)

    assert run.returncode == 0, run.stderr[-2_000:]
    assert "Done 10000 runs" in run.stderr


def test_the_seeds_of_every_reader_of_records_grant() -> None:
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]; import records\n"
        "for signal, may_grant, texts in records.READERS:\n"
        "    for text in texts: print(signal.status(signal.token(text)), may_grant(text))"
    )

    run = subprocess.run(
        [sys.executable, "-c", script, str(RECORDS.parent)], capture_output=True, text=True, check=True, timeout=120
    )

    assert set(run.stdout.splitlines()) == {"granted True"}
    assert len(run.stdout.splitlines()) > 40
