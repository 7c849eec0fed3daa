"""The steps of a delivery, named, for the debug log: between any two of them a worker may die.

Set the logger `airflow_consent_retl.delivery.steps` to DEBUG to see them. The tests kill workers at each.
"""

from __future__ import annotations

import logging
from enum import StrEnum

log = logging.getLogger(__name__)


class Step(StrEnum):
    """What has just been done, in the order of a delivery."""

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
    ADVANCED = "advanced"
    SWEPT = "swept"


def reached(step: Step) -> None:
    """Note that a step is done."""
    log.debug(step)
