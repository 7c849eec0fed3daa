"""Codes in plain words: reasons of denials, causes of removals, and their colours. Pure.

A code without words is shown as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from airflow_consent_retl.consent.decision import SubjectStatus
from airflow_consent_retl.consent.removal import EXPLICIT, RemovalCause
from airflow_consent_retl.consent.signals import ConsentStatus
from airflow_consent_retl.sight.charts import Tone

_OF_CATEGORIES: Final[Mapping[str, str]] = {
    ConsentStatus.DENIED: "the person said no",
    ConsentStatus.UNKNOWN: "no answer is recorded",
    ConsentStatus.INVALID: "the recorded answer cannot be read",
    ConsentStatus.EXPIRED: "the yes is too old",
    ConsentStatus.CONFLICT: "recorded answers contradict each other",
    ConsentStatus.LINKED_NO: "a linked person said no",
    ConsentStatus.LINKED_DOUBT: "a linked person's answer is in doubt",
}
_OVERRULING: Final[Mapping[str, str]] = {
    "gpc": "Global Privacy Control",
    "suppression": "suppression list",
    "row_switch": "the row's own switch for this destination",
}
_OF_OVERRULING: Final[Mapping[str, str]] = {
    ConsentStatus.DENIED: "it says no",
    ConsentStatus.LINKED_NO: "it says no for a linked person",
    ConsentStatus.LINKED_DOUBT: "it is in doubt for a linked person",
}
_OTHERS: Final[Mapping[str, str]] = {
    SubjectStatus.MISSING_ID: "the row has no id",
    SubjectStatus.DUPLICATE_ID: "several rows have this id",
    SubjectStatus.FORGOTTEN: "the person asked to be forgotten",
    "unmapped_destination": "the policy maps no category to this destination",
    "misspelt_destination": "the policy has a destination with a similar name",
}
_CAUSES: Final[Mapping[str, str]] = {
    RemovalCause.CONSENT_WITHDRAWN: "the person withdrew consent",
    RemovalCause.POLICY_CHANGED: "the policy asks for more than before",
    RemovalCause.CONSENT_MISSING: "consent is not recorded any more, or cannot be read",
    RemovalCause.EXPIRED: "consent is too old",
    RemovalCause.OBJECTED: "the person objected: Global Privacy Control, or the row's own switch",
    RemovalCause.SUPPRESSED: "the person is on a suppression list",
    RemovalCause.FORGOTTEN: "the person asked to be forgotten",
    RemovalCause.LEFT_MODEL: "the model has no row of the person any more",
    RemovalCause.WITHDRAWN_BY_ABSENCE: "the model, which keeps only people who consent, has no row any more",
    RemovalCause.DESTINATION_UNMAPPED: "the policy maps no category to the destination any more",
    RemovalCause.ID_AMBIGUOUS: "several rows have the person's id",
    RemovalCause.IDENTIFIERS_CHANGED: "the identifiers changed: the old ones were removed",
    RemovalCause.FIELD_WITHDRAWN: "consent to some fields ended",
    RemovalCause.SYNC_RETIRED: "the sync was emptied on purpose",
}
LIMITS: Final[Mapping[str, str]] = {
    "max_removed_ratio": "at most %s of the people there are removed without their own wish",
    "max_added_ratio": "at most %s as many people as are there are added",
    "max_rejected_ratio": "at most %s of the rows may be rejected",
    "min_found_ratio": "at least %s of the people there have to be found",
}
"""The limits of a run in words, by parameter; `%s` is the share."""

_DOUBTS: Final = frozenset({ConsentStatus.INVALID, ConsentStatus.CONFLICT, ConsentStatus.LINKED_DOUBT})
_NOES: Final = frozenset({ConsentStatus.DENIED, ConsentStatus.LINKED_NO})


def reason(code: str, categories: Mapping[str, str]) -> str:
    """Return the reason of a denial in words: `Advertising (C0004): the person said no`.

    Args:
        code: as a decision has it.
        categories: the names of the policy's categories, by id; a category without one is shown by its id.
    """
    if code in _OTHERS:
        return _OTHERS[code]
    subject, _, status = code.rpartition(":")
    if subject in _OVERRULING and subject not in categories:
        return f"{_OVERRULING[subject]}: {_OF_OVERRULING.get(status, 'it cannot be read')}"
    if subject and status in _OF_CATEGORIES:
        name = categories.get(subject)
        return f"{subject if name in (None, subject) else f'{name} ({subject})'}: {_OF_CATEGORIES[status]}"
    return code


def cause(code: str) -> str:
    """Return the cause of a removal in words."""
    return _CAUSES.get(code, code)


def is_own_wish(code: str) -> bool:
    """Return whether a removal is the person's own wish: a withdrawal, an objection, or a request to be forgotten."""
    return code in EXPLICIT or code in {RemovalCause.FIELD_WITHDRAWN, RemovalCause.WITHDRAWN_BY_ABSENCE}


def tone(code: str) -> Tone:
    """Return the colour of the reason of a denial: a no, no answer, or an answer in doubt."""
    status = code.rpartition(":")[2]
    if status in _NOES or code == SubjectStatus.FORGOTTEN:
        return Tone.DENIED
    return Tone.DOUBT if status in _DOUBTS else Tone.UNKNOWN
