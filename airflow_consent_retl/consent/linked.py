"""The answers of linked people: what a cluster makes of the answer of one person in it.

Pure, and the only implementation of the rule: a no of anyone in the cluster is a no of all, a doubt of anyone is a
doubt of all, and a yes is never passed on.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_consent_retl.consent.decision import Circumstances, SubjectStatus
from airflow_consent_retl.consent.signals import ConsentStatus

_DOUBTS = frozenset({ConsentStatus.INVALID, ConsentStatus.CONFLICT})
# What is not consent to a category. No category's name begins like this, because `category:` precedes them.
GPC, SUPPRESSION = "gpc", "suppression"


@dataclass(frozen=True, slots=True)
class Said:
    """What a person says, or what the people of a cluster say together. It contains no value of a row.

    Args:
        noes: what is refused: `about_category(…)`, `GPC`, `SUPPRESSION` or `about_switch(…)`.
        doubts: that about which an answer is in doubt.
        yeses: the categories that are granted.
    """

    noes: frozenset[str] = frozenset()
    doubts: frozenset[str] = frozenset()
    yeses: frozenset[str] = frozenset()

    def __or__(self, other: Said) -> Said:
        return Said(self.noes | other.noes, self.doubts | other.doubts, self.yeses | other.yeses)

    @property
    def denying(self) -> Said:
        """The part that matters to others: a yes is never passed on."""
        return Said(self.noes, self.doubts)

    @property
    def clashes(self) -> frozenset[str]:
        """The categories that one person grants and another refuses."""
        return self.noes & self.yeses


NOTHING_SAID = Said()


@dataclass(frozen=True, slots=True)
class LinkedSubject:
    """The status of a row's id, and what the people who are linked to the row say."""

    status: SubjectStatus
    linked: Said


# A subject without links is its status alone.
Subject = SubjectStatus | LinkedSubject


def status_of(subject: Subject) -> SubjectStatus:
    """Return the status of a row's id."""
    return subject.status if isinstance(subject, LinkedSubject) else subject


def linked_to(subject: Subject) -> Said:
    """Return what the people who are linked to a row say."""
    if not isinstance(subject, LinkedSubject):
        return NOTHING_SAID
    if subject.status is not SubjectStatus.FORGOTTEN:
        return subject.linked
    # The person says it themself, which is reason enough.
    return Said(subject.linked.noes - FORGOTTEN.noes, subject.linked.doubts)


def about_category(category_id: str) -> str:
    """Return the name of a category in `Said`."""
    return f"category:{category_id}"


def about_switch(destination: str) -> str:
    """Return the name of a row's own switch for a destination in `Said`."""
    return f"row_switch:{destination}"


def said(statuses: dict[str, ConsentStatus]) -> Said:
    """Return what statuses say, by the names that `Said` uses. Silence says nothing, and neither does an old yes."""
    found = {
        wanted: frozenset(name for name, status in statuses.items() if status in wanted)
        for wanted in (frozenset({ConsentStatus.DENIED}), _DOUBTS, frozenset({ConsentStatus.GRANTED}))
    }
    return Said(*found.values())


# What a person says who was forgotten, whatever else they said.
FORGOTTEN = Said(noes=frozenset({SUPPRESSION}))
# What the people of a cluster that is too large say: it is not known who belongs together.
TOO_LARGE = Said(doubts=frozenset({SUPPRESSION}))


def with_links(own: ConsentStatus, name: str, linked: Said) -> ConsentStatus:
    """Return the status of one of a person's answers, after those of the people who are linked to them.

    INVARIANT: the result never permits more than the person's own answer. The person's own no stays the reason.
    """
    if own is ConsentStatus.DENIED:
        return own
    if name in linked.noes:
        return ConsentStatus.LINKED_NO
    if own in _DOUBTS:
        return own
    return ConsentStatus.LINKED_DOUBT if name in linked.doubts else own


def circumstances_with_links(own: Circumstances, linked: Said) -> Circumstances:
    """Return a person's circumstances, after what the people who are linked to them say."""
    if linked.denying == NOTHING_SAID:
        return own
    return Circumstances(
        region=own.region,
        gpc=with_links(own.gpc, GPC, linked),
        suppression=with_links(own.suppression, SUPPRESSION, linked),
        switches={name: with_links(status, about_switch(name), linked) for name, status in own.switches.items()},
    )
