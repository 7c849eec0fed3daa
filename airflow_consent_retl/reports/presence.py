"""Where a person is, by the last recorded event that could change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_consent_retl.reports.history_of_person import PersonHistory

State = Literal["yes", "no", "may be"]

# By the outcome: whether a person who was sent is there, and one who was removed.
_STATES: Final[dict[str, tuple[State, State]]] = {
    "accepted": ("yes", "no"),
    "uncertain": ("may be", "may be"),
    "pending": ("may be", "may be"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentPlace:
    """The presence of a person at the destination of a sync.

    Args:
        sync: the sync's name; `model` and `destination` are its parts.
        state: `may be` after an answer that was not clear.
        at: the time of the event that says so.
        target: where the sync's rows are delivered.
    """

    sync: str
    model: str
    destination: str
    state: State
    at: datetime
    target: str


def present_places(history: PersonHistory) -> Sequence[PresentPlace]:
    """Return, for each sync with a delivery of the person, whether the person is there."""
    found: dict[str, PresentPlace] = {}
    for event in history.deliveries:
        # A person whose fields were cleared is there as before.
        if event.status in _STATES and event.event != "cleared":
            there, removed = _STATES[event.status]
            found[event.sync] = PresentPlace(
                sync=event.sync,
                model=event.model,
                destination=event.destination,
                state=removed if event.event == "removed" else there,
                at=event.at,
                target=event.target,
            )
    return list(found.values())
