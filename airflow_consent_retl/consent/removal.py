"""The causes for which a delivered person must be removed.

Pure. Separates an explicit withdrawal, which no guard delays, from consent that was not found, which may be the sign of
a broken table.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.decision import SubjectStatus
from airflow_consent_retl.consent.signals import ConsentStatus

if TYPE_CHECKING:
    from airflow_consent_retl.consent.decision import Denied


class RemovalCause(StrEnum):
    """The cause of a removal. Only `left_model` depends on the sync's mode.

    A sync counts the people who are not in the model any more under one of two causes, as its DAG declares:
    `left_model` or `withdrawn_by_absence`.
    """

    # A category is denied that the destination required when the person was delivered, as far as that is known.
    CONSENT_WITHDRAWN = "consent_withdrawn"
    # Only categories that the destination did not require then are not granted.
    POLICY_CHANGED = "policy_changed"
    # No required category is denied, but one is not granted: it is unknown or invalid.
    CONSENT_MISSING = "consent_missing"
    # As `consent_missing`, but there is a yes, which is too old.
    EXPIRED = "expired"
    # The person objects in another way than by a category: Global Privacy Control, or the row's own switch.
    OBJECTED = "objected"
    # The person is on a suppression list.
    SUPPRESSED = "suppressed"
    # The person was forgotten: they are on the deployment's own suppression list.
    FORGOTTEN = "forgotten"
    # The model no longer has a row of this person.
    LEFT_MODEL = "left_model"
    # The model no longer has a row of this person, and its query keeps only people who consent.
    WITHDRAWN_BY_ABSENCE = "withdrawn_by_absence"
    # The policy maps no category to the destination, and does not permit unmapped destinations.
    DESTINATION_UNMAPPED = "destination_unmapped"
    # Several rows have this person's id.
    ID_AMBIGUOUS = "id_ambiguous"
    # Still permitted, but the destination's identifiers for the person changed: the old ones go first.
    IDENTIFIERS_CHANGED = "identifiers_changed"
    # Still permitted, but a field of theirs is not any more: the field is cleared. Where the destination cannot clear
    # fields, the person is removed, and the next load sends them without the field.
    FIELD_WITHDRAWN = "field_withdrawn"
    # The whole sync is emptied on purpose, whoever is permitted.
    SYNC_RETIRED = "sync_retired"

    @property
    def code(self) -> CauseCode:
        """The number that is written to files."""
        return CauseCode[self.name]

    @property
    def rank(self) -> CauseRank:
        """The rank among all causes."""
        return CauseRank[self.name]


class CauseCode(IntEnum):
    """A removal cause as a number in the files of a change set. A number never changes its meaning."""

    CONSENT_WITHDRAWN = 0
    CONSENT_MISSING = 1
    LEFT_MODEL = 2
    DESTINATION_UNMAPPED = 3
    ID_AMBIGUOUS = 4
    IDENTIFIERS_CHANGED = 5
    WITHDRAWN_BY_ABSENCE = 6
    SUPPRESSED = 7
    OBJECTED = 8
    EXPIRED = 9
    SYNC_RETIRED = 10
    POLICY_CHANGED = 11
    FORGOTTEN = 12
    FIELD_WITHDRAWN = 13

    @property
    def cause(self) -> RemovalCause:
        """The cause."""
        return RemovalCause[self.name]


class CauseRank(IntEnum):
    """The ranking of removal causes: if one person has several causes, the one with the highest number counts.

    Python and SQL compare the numbers; no file contains them.
    """

    # A denied person is removed because of the denial: not because of a field, of identifiers, nor for having left the
    # model.
    FIELD_WITHDRAWN = 1
    IDENTIFIERS_CHANGED = 2
    LEFT_MODEL = 3
    WITHDRAWN_BY_ABSENCE = 4
    POLICY_CHANGED = 5
    EXPIRED = 6
    CONSENT_MISSING = 7
    DESTINATION_UNMAPPED = 8
    ID_AMBIGUOUS = 9
    SUPPRESSED = 10
    OBJECTED = 11
    CONSENT_WITHDRAWN = 12
    # No consent brings this person back.
    FORGOTTEN = 13
    # The only cause of all removals of a sync that ends.
    SYNC_RETIRED = 14

    @property
    def cause(self) -> RemovalCause:
        """The cause."""
        return RemovalCause[self.name]


# A person's own no, in whichever way: these are carried out even where a guard stops the rest.
EXPLICIT = frozenset(
    {RemovalCause.CONSENT_WITHDRAWN, RemovalCause.OBJECTED, RemovalCause.SUPPRESSED, RemovalCause.FORGOTTEN}
)
# INVARIANT: no guard delays a removal for one of these causes.
UNGUARDED = EXPLICIT | {RemovalCause.IDENTIFIERS_CHANGED, RemovalCause.SYNC_RETIRED}

_OTHER_REASONS: dict[str, RemovalCause] = {
    SubjectStatus.DUPLICATE_ID: RemovalCause.ID_AMBIGUOUS,
    SubjectStatus.MISSING_ID: RemovalCause.ID_AMBIGUOUS,
    SubjectStatus.FORGOTTEN: RemovalCause.FORGOTTEN,
    "unmapped_destination": RemovalCause.DESTINATION_UNMAPPED,
    "misspelt_destination": RemovalCause.DESTINATION_UNMAPPED,
    f"gpc:{ConsentStatus.DENIED}": RemovalCause.OBJECTED,
    f"row_switch:{ConsentStatus.DENIED}": RemovalCause.OBJECTED,
    f"suppression:{ConsentStatus.DENIED}": RemovalCause.SUPPRESSED,
    # The no is a person's own, though not this person's: it counts like theirs.
    f"gpc:{ConsentStatus.LINKED_NO}": RemovalCause.OBJECTED,
    f"row_switch:{ConsentStatus.LINKED_NO}": RemovalCause.OBJECTED,
    f"suppression:{ConsentStatus.LINKED_NO}": RemovalCause.SUPPRESSED,
}
# What stands before the status in reasons that are about no category.
_OVERRULING = frozenset({"gpc", "row_switch", "suppression"})
_CATEGORY_STATUSES: dict[str, RemovalCause] = {
    ConsentStatus.DENIED: RemovalCause.CONSENT_WITHDRAWN,
    ConsentStatus.LINKED_NO: RemovalCause.CONSENT_WITHDRAWN,
    ConsentStatus.EXPIRED: RemovalCause.EXPIRED,
}


# The ids of categories whose no denied a person; in a tuple, categories of which any one was enough.
Required = Collection["str | tuple[str, ...]"]


def removal_cause(reasons: Collection[str], *, required_before: Required | None = None) -> RemovalCause:
    """Return the strongest cause for the reason codes of a denial. An explicit no outranks all other causes.

    With match `any`, a no counts as explicit too: none of the alternatives is granted, and one was refused.

    Args:
        reasons: the reason codes.
        required_before: the categories that the destination required when the person was delivered. A no to another
            category takes nothing back: the policy changed. So does a no to one of several alternatives, as long as
            another one of them is granted: the person may have said it before. None: not known.

    Raises:
        ValueError: there are no reasons, so there is no denial.
    """
    if not reasons:
        raise ValueError("a denial needs a reason")
    before = None if required_before is None else _taking_back(reasons, required_before)
    return max(_cause_of_reason(code, before).rank for code in reasons).cause


def cause_of(denied: Denied, *, required_before: Required | None = None) -> RemovalCause:
    """Return the cause for a denial: see `removal_cause`."""
    return removal_cause([reason.code for reason in denied.reasons], required_before=required_before)


def _taking_back(reasons: Collection[str], required_before: Required) -> set[str]:
    """Return the categories whose answers must have changed since, if they do not grant now."""
    alternatives = [{one} if isinstance(one, str) else {*one} for one in required_before]
    not_granted = {code.rpartition(":")[0] for code in reasons}
    return {category for some in alternatives if some <= not_granted for category in some}


def _cause_of_reason(code: str, required_before: Collection[str] | None) -> RemovalCause:
    other = _OTHER_REASONS.get(code)
    if other is not None:
        return other
    category, _, status = code.rpartition(":")
    if required_before is not None and category not in {*required_before, *_OVERRULING}:
        return RemovalCause.POLICY_CHANGED
    return _CATEGORY_STATUSES.get(status, RemovalCause.CONSENT_MISSING)
