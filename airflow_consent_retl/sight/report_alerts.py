"""The matters of a report that need a person's attention, the worst first. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from airflow_consent_retl.delivery.ledger.run_records import RunState
from airflow_consent_retl.sight.templating import number, when

if TYPE_CHECKING:
    from airflow_consent_retl.sight.report_figures import ReportedSync, ReportFigures


class Level(IntEnum):
    """The urgency of a matter. `BAD`: consent may not be honoured as it should be."""

    BAD = 0
    WARN = 1

    @property
    def css(self) -> str:
        """The class of its box."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, order=True)
class Alert:
    """One matter: how urgent it is, the sync that it is about, and a sentence or two."""

    level: Level
    sync: str
    text: str


def alerts(figures: ReportFigures) -> list[Alert]:
    """Return what needs attention, the worst first."""
    return sorted(Alert(level, one.sync, text) for one in figures.syncs for level, text in _of_sync(one))


def _of_sync(one: ReportedSync) -> Iterator[tuple[Level, str]]:
    last, waiting = one.last, one.waiting
    if one.is_unserved:
        yield (
            Level.BAD,
            f"No run has served it since {when(one.served_at)}, and {number(one.people)} people are there: their "
            "withdrawals are not seen. Run its load again, or retire the sync.",
        )
    if waiting.to_take_back:
        yield (
            Level.BAD,
            f"{number(waiting.to_take_back)} people were to be taken back, and may still be at the destination.",
        )
    if last is not None and last.state is RunState.FAILED:
        yield (
            Level.BAD,
            f"The last run failed ({last.failure}) at {when(last.ended_at)}. What it would have found is not known.",
        )
    if waiting.uncertain:
        yield (
            Level.WARN,
            f"The destination gave no clear answer about {_rows(waiting.uncertain)}. These count as delivered, so that "
            "they are taken back when consent ends.",
        )
    if waiting.pending:
        yield Level.WARN, f"The destination has not processed {_rows(waiting.pending)} yet."
    if waiting.unsent:
        yield Level.WARN, f"{_rows(waiting.unsent)} of permitted people not sent: the next load sends what is missing."
    if waiting.rejected:
        yield Level.WARN, f"The destination rejected {_rows(waiting.rejected)} at the last load."
    if one.open_since is not None and last is not None and last.state is not RunState.WAITING:
        yield Level.WARN, f"A delivery that began at {when(one.open_since)} is unfinished. The next load resumes it."


def _rows(count: int) -> str:
    return f"{number(count)} row{'' if count == 1 else 's'}"
