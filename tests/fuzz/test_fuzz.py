"""Short runs of the fuzzers, from texts that grant. `make fuzz` runs them for longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent


@pytest.mark.parametrize(
    ("script", "runs", "longest"), [("iab.py", 1_000, 600), ("records.py", 10_000, 900)], ids=["iab", "records"]
)
def test_nothing_that_a_fuzzer_makes_of_texts_that_grant_raises_or_grants_without_the_documented_yes(
    script: str, runs: int, longest: int
) -> None:
    command = [sys.executable, str(FUZZ / script), f"-runs={runs}", f"-max_len={longest}", "-seed=1"]

    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)

    assert run.returncode == 0, run.stderr[-2_000:]
    assert f"Done {runs} runs" in run.stderr


def test_the_seeds_grant() -> None:
    answers = printed(
        "import iab\n"
        "signals = (iab.TCF, iab.OLD, iab.GPP_TCF, iab.NATIONAL, *iab.OF_STATES, *iab.CANADIAN)\n"
        "for text in iab.seeds(): print(*(signal.read(text) for signal in signals))"
    )

    assert all("granted" in line for line in answers)
    assert len(answers) == 5 + 2 + 16 + 4


def test_the_seeds_of_every_reader_of_records_grant() -> None:
    answers = printed(
        "import records\n"
        "for signal, may_grant, texts in records.READERS:\n"
        "    for text in texts: print(signal.status(signal.token(text)), may_grant(text))"
    )

    assert set(answers) == {"granted True"}
    assert len(answers) > 40


def printed(script: str) -> list[str]:
    """Run a script beside the fuzzers in a process of its own, and return the lines that it prints."""
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = [sys.argv[1]]; {script}", str(FUZZ)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return run.stdout.splitlines()
