"""Lines of the log fit into Airflow's pages, which do not wrap them, and their numbers add up."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.log_lines import fitting, task_fails, unwrapped

from airflow_consent_retl.compat import AirflowFailException, AirflowSkipException
from airflow_consent_retl.errors import (
    ConfigurationError,
    OvertakenError,
    PolicyError,
    Problem,
    SourceUnavailableError,
)
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator
from airflow_consent_retl.progress import LINE, FittedLog, Progress, filled, fitted, short, table


class Kept:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, /, *arguments: object) -> None:
        self.lines.append(message % arguments if arguments else message)

    warning = info


WORDS = "the model has people who were delivered before and are not in it any more: " * 3


@pytest.mark.parametrize("level", ["info", "warning"])
def test_a_long_line_is_cut_at_spaces_and_nothing_is_lost(level: str) -> None:
    log = Kept()

    getattr(FittedLog(log), level)("100 %% of %s", WORDS)

    assert max(map(len, log.lines[0].splitlines())) <= LINE
    assert unwrapped(log.lines[0]) == f"100 % of {WORDS}".strip()


def test_a_path_is_never_cut_and_a_percent_sign_without_values_stays() -> None:
    path = "file:///" + "x" * 200
    log = Kept()

    FittedLog(log).info(f"snapshot 100 % {path}")

    assert path in log.lines[0].split()
    assert fitted("short") == "short"


def test_what_stands_in_backquotes_stays_whole() -> None:
    command = "`airflow connections add crm_http --conn-type consentwebhook --conn-host https://crm.example.com`"

    for words in range(1, 30):
        assert command in fitted(f"{'word ' * words}: {command}, then run it again: {'word ' * words}")


def test_a_command_that_is_longer_than_a_line_can_be_pasted_as_it_is_shown(tmp_path: Path) -> None:
    program = tmp_path / "consent-retl"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    words = [
        "approve",
        "variable:consent_policy",
        "--digest",
        f"sha256:{'ab' * 32}",
        "--by",
        "NAME",
        "--note",
        "quarterly",
    ]

    shown = fitted(
        f"the policy was never approved: approve it with `consent-retl {' '.join(words)}`, then run it again"
    )

    pasted = shown.split("`")[1]
    assert "\n" in pasted
    assert max(map(len, shown.splitlines())) <= LINE
    assert subprocess.check_output(["bash", "-c", f"{tmp_path}/{pasted}"], text=True).split() == words


class _Fails(ConsentRetlOperator):
    """A task that fails."""

    def __init__(self, *, error: Exception, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def run(self, context: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "airflows"),
    [
        (ConfigurationError(WORDS), AirflowFailException),
        (OvertakenError(WORDS), AirflowSkipException),
        (SourceUnavailableError(WORDS, retry_after_s=7), SourceUnavailableError),
        (PolicyError([Problem("$.categories", WORDS), Problem("$.name", WORDS)]), AirflowFailException),
    ],
)
def test_the_text_of_a_tasks_error_fits_too_and_nothing_is_lost(error: Exception, airflows: type[Exception]) -> None:
    words = str(error).split()

    with pytest.raises(airflows) as failed:
        _Fails(task_id="fails", error=error).execute({})

    assert fitting(failed.value).split() == words
    assert getattr(failed.value, "retry_after_s", 7) == 7


def test_the_words_about_a_full_disk_fit_too() -> None:
    with task_fails() as failed:
        _Fails(task_id="fails", error=OSError(28, "full")).execute({})

    assert "the disk is full" in str(failed.value)


def test_a_table_that_is_too_wide_has_one_fact_a_line() -> None:
    headers = ["destination", "permitted", "denied because", "nothing"]
    reasons = ", ".join(f"C000{number}:denied {number * 1_000:,}" for number in range(9))

    wide = table(headers, [["webhook", 1_200_000, reasons, ""], ["lake", 5, "none", ""]])

    lines = wide.splitlines()
    assert max(map(len, lines)) <= LINE
    assert lines[:2] == ["destination     webhook", "permitted       1,200,000"]
    assert " ".join(wide.split()).count("C0008:denied 8,000") == 1
    assert "permitted       5" in lines
    assert "nothing" not in wide


def test_columns_of_nothing_but_zeros_are_left_out() -> None:
    assert filled(["a", "b", "c"], [[1, 0, ""]], always={"a"}) == (["a"], [[1]])


def test_a_digest_is_cut_to_twelve_characters() -> None:
    assert short("sha256:ed4ab27d07f7fc8df30ac689edcd7a09") == short("ed4ab27d07f7fc8d") == "ed4ab27d07f7"


def test_progress_with_a_total_says_when_it_may_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_consent_retl.progress._INTERVAL_S", 0.0)
    log = Kept()

    Progress(log, "read", total_rows=2_000_000)(1_000_000)
    Progress(log, "read")(5)

    assert log.lines[0].startswith("read 1,000,000 of 2,000,000 rows, ")
    assert "rows/s, until about 20" in log.lines[0]
    assert log.lines[0].endswith(" UTC")
    assert "until" not in log.lines[1]
