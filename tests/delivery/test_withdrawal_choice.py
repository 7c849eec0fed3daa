"""The choice of what removal means: checked against what the vendor offers, and named by each load that removes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import ClassVar

import pytest
from support.syncing import Recorder, SyncBench, people, verified

from airflow_consent_retl.contract import wrong_withdrawal

CHOICES = {"unsubscribe": "they get no more newsletters", "leave_audience": "they leave the audience"}


class Newsletter(Recorder):
    withdrawal_choices: ClassVar = CHOICES

    @property
    def on_withdrawal(self) -> str:
        return "unsubscribe"


def test_a_choice_that_the_vendor_does_not_offer_is_refused_with_the_nearest_and_all_others() -> None:
    assert wrong_withdrawal("unsubscribe", CHOICES) == []
    assert wrong_withdrawal("unsubscribed", CHOICES) == [
        "on_withdrawal is not one of the destination's choices, did you mean `unsubscribe`? "
        "(`unsubscribe`: they get no more newsletters; `leave_audience`: they leave the audience)"
    ]
    assert len(wrong_withdrawal(None, CHOICES)) == 1


def test_a_load_with_removals_logs_once_what_happens_to_these_people(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = SyncBench(tmp_path)
    caplog.set_level(logging.INFO)
    everyone: dict[int, tuple[str, bool | None]] = {number: (f"e{number}", True) for number in range(12)}
    sentence = "people who are removed from `ads`: unsubscribe: they get no more newsletters"

    bench.load(verified(bench.filtered(people(everyone))), Newsletter())
    assert sentence not in caplog.text
    withdrawn: dict[int, tuple[str, bool | None]] = {
        number: (email, number < 3) for number, (email, _) in everyone.items()
    }
    report = bench.load(verified(bench.filtered(people(withdrawn))), Newsletter(batch_rows=2))

    assert report.removed.accepted == 9
    assert caplog.text.count(sentence) == 1
