"""The law: whether one subject's row may go to one destination, with every reason if not.

Pure: the time is passed in, and every faster path is proved equal to `decide`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.policy import requirement_of
from airflow_consent_retl.consent.signals import ConsentStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from airflow_consent_retl.consent.policy import CategoryId, ConsentPolicy


class SubjectStatus(StrEnum):
    """Whether a row says unambiguously whom it is about. Only `identified` can be permitted anything."""

    IDENTIFIED = "identified"
    MISSING_ID = "missing_id"
    DUPLICATE_ID = "duplicate_id"


class Ground(StrEnum):
    """On what ground a row is permitted."""

    CONSENTED = "consented"
    UNMAPPED = "unmapped"
    NOT_REQUIRED = "not_required"


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """One reason for a denial: `C0004:denied`, `missing_id`, `unmapped_destination`. Never holds a value of a row."""

    code: str

    def __str__(self) -> str:
        return self.code


@dataclass(frozen=True, slots=True)
class Permitted:
    """The row may go. `categories` are those the destination requires, sorted; none unless by consent."""

    ground: Ground
    categories: tuple[CategoryId, ...] = ()


@dataclass(frozen=True, slots=True)
class Denied:
    """The row may not go, for all of these reasons, sorted."""

    reasons: tuple[Reason, ...]

    def __post_init__(self) -> None:
        if not self.reasons:
            raise ValueError("a denial needs a reason")


Decision = Permitted | Denied


def decide(
    policy: ConsentPolicy,
    destination: str,
    consent: Mapping[CategoryId, ConsentStatus],
    *,
    subject: SubjectStatus = SubjectStatus.IDENTIFIED,
    at: datetime,
) -> Decision:
    """Decide whether a subject's row may go to a destination.

    `consent` holds the subject's status by category id; a category that is not there is `unknown`. `at` is the
    moment of the decision, with a time zone; raises `ValueError` without one. A destination that the policy does not
    name but that resembles one that it names is denied, whatever the setting for unmapped destinations.
    """
    if at.utcoffset() is None:
        raise ValueError("`at` needs a time zone")
    asked = requirement_of(policy, destination)
    refused = [
        f"{category}:{status}"
        for category in asked.categories
        if (status := _status(consent, category)) is not ConsentStatus.GRANTED
    ]
    codes = [] if asked.rule.match == "any" and len(refused) < len(asked.categories) else refused
    if asked.rule.consent_required and not asked.categories and policy.unmapped_destinations != "permit":
        codes.append("unmapped_destination")
    if asked.misspelt is not None:
        codes.append("misspelt_destination")
    if subject is not SubjectStatus.IDENTIFIED:
        codes.append(str(subject))
    if codes:
        return Denied(tuple(Reason(code) for code in sorted(codes)))
    if asked.categories:
        return Permitted(Ground.CONSENTED, asked.categories)
    return Permitted(Ground.UNMAPPED if asked.rule.consent_required else Ground.NOT_REQUIRED)


def _status(consent: Mapping[CategoryId, ConsentStatus], category: CategoryId) -> ConsentStatus:
    status = consent.get(category, ConsentStatus.UNKNOWN)
    # A raw value in place of a status must neither grant nor reach a reason.
    return status if isinstance(status, ConsentStatus) else ConsentStatus.INVALID
