"""The named steps of a delivery, for the debug log. A worker may die between any two of them.

Set the logger `airflow_consent_retl.delivery.steps` to DEBUG to see them. The tests kill workers at each step.
"""

from __future__ import annotations

import logging
from enum import StrEnum

log = logging.getLogger(__name__)


class Step(StrEnum):
    """The step that was just completed, in the order of a delivery."""

    LEASED = "leased"
    RESOLVED = "resolved"
    CHANGES_PUBLISHED = "changes_published"
    BEGUN = "begun"
    OPENED = "opened"
    ASKED_AGAIN = "asked_again"
    INTENDED = "intended"
    ANSWERED = "answered"
    NOTED = "noted"
    COMMITTED = "committed"
    FOLDED = "folded"
    RECORDED = "recorded"
    ADVANCED = "advanced"
    SWEPT = "swept"


def reached(step: Step) -> None:
    """Log that a step is completed."""
    log.debug(step)
