"""The cases of recorded answers (`cases/recorded_answers.json`) as rows of a table, for every engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_consent_retl.consent import CLOCK_SKEW

_CASES = Path(__file__).parents[1] / "cases" / "recorded_answers.json"
_NOW = 5


@dataclass(frozen=True)
class RecordedAnswers:
    """All cases, with one subject each.

    Args:
        at: the present time, which is day 5 of the case file.
        values: the values that stand for `yes` and `no`.
    """

    at: datetime
    values: Mapping[str, Any]

    @property
    def cases(self) -> dict[str, dict[str, Any]]:
        """The cases by subject."""
        return {f"case-{number:02d}": case for number, case in enumerate(json.loads(_CASES.read_text()))}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every recorded answer: `subject`, `time`, `profile` and `ads`."""
        return [
            {
                "subject": subject,
                "time": self._time(time),
                "profile": subject if profile == ["itself"] else next(iter(profile), None),
                "ads": self.values.get(value),
            }
            for subject, case in self.cases.items()
            for value, time, *profile in case["answers"]
        ]

    @property
    def expected(self) -> dict[str, tuple[tuple[Any, ...] | None, int | None, datetime | None]]:
        """By subject, the answer that counts (None: in doubt), its doubt and its time; NULL without a record."""
        found: dict[str, tuple[tuple[Any, ...] | None, int | None, datetime | None]] = {}
        for subject, case in self.cases.items():
            if case["expected"] is None:
                found[subject] = (None,), None, None
            else:
                value, doubt, time = case["expected"]
                found[subject] = None if doubt else (self.values.get(value),), doubt, self._time(time)
        return found

    def _time(self, day: int | str | None) -> datetime | None:
        if day == "limit":
            return self.at + CLOCK_SKEW
        return None if day is None else self.at + timedelta(days=int(day) - _NOW)
