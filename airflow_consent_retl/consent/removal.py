"""Why somebody who was delivered has to be removed, from the reasons for which they are denied now.

Pure. Tells an explicit withdrawal, which nothing may hold up, from consent that merely cannot be found, which may be
the sign of a broken table.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.decision import SubjectStatus
from airflow_consent_retl.consent.signals import ConsentStatus

if TYPE_CHECKING:
    from airflow_consent_retl.consent.decision import Denied


class RemovalCause(StrEnum):
    """Why a delivered person is removed. Only `left_model` depends on the sync's mode."""

    # Some required category says no.
    CONSENT_WITHDRAWN = "consent_withdrawn"
    # No required category says no, but one that is needed does not say yes: unknown, invalid or expired.
    CONSENT_MISSING = "consent_missing"
    # The model has no row of this person any more.
    LEFT_MODEL = "left_model"
    # The policy maps no category to the destination, and does not permit that.
    DESTINATION_UNMAPPED = "destination_unmapped"
    # Several rows say they are about this person.
    ID_AMBIGUOUS = "id_ambiguous"
    # Still permitted, but what the destination knows them by changed: the old goes before the new comes.
    IDENTIFIERS_CHANGED = "identifiers_changed"


# INVARIANT: no guard holds up a removal for one of these.
UNGUARDED = frozenset({RemovalCause.CONSENT_WITHDRAWN, RemovalCause.IDENTIFIERS_CHANGED})


def removal_cause(reasons: Collection[str]) -> RemovalCause:
    """Return the cause for the codes of a denial's reasons; an explicit no outweighs all others.

    With match `any`, a no counts as explicit too: none of the alternatives is granted, and one was refused.

    Raises:
        ValueError: no reasons, which is no denial.
    """
    if not reasons:
        raise ValueError("a denial needs a reason")
    if any(code.endswith(f":{ConsentStatus.DENIED}") for code in reasons):
        return RemovalCause.CONSENT_WITHDRAWN
    if SubjectStatus.DUPLICATE_ID in reasons or SubjectStatus.MISSING_ID in reasons:
        return RemovalCause.ID_AMBIGUOUS
    if "unmapped_destination" in reasons or "misspelt_destination" in reasons:
        return RemovalCause.DESTINATION_UNMAPPED
    return RemovalCause.CONSENT_MISSING


def cause_of(denied: Denied) -> RemovalCause:
    """Return the cause for a denial."""
    return removal_cause([reason.code for reason in denied.reasons])
