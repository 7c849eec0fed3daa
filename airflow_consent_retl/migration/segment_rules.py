"""What Segment would send, by the rules that it publishes: the reference that this package is held against.

Sources, all read 2026-11-24:
    Reverse ETL: https://segment.com/docs/privacy/consent-management/consent-in-retl/
    Connections: https://segment.com/docs/privacy/consent-management/consent-in-segment-connections/
    Categories:  https://segment.com/docs/privacy/consent-management/configure-consent-management/
    Common:      https://segment.com/docs/connections/spec/common/#integrations
    Filtering:   https://segment.com/docs/guides/filtering-data/#filtering-with-the-integrations-object
as they are in https://github.com/segmentio/segment-docs at 747b35d8 of 2025-11-07.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.policy import base_of

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPolicy

_ALL = "All"


@dataclass(frozen=True, slots=True)
class SegmentAnswer:
    """Whether Segment would send, and by which of its rules."""

    sends: bool
    rule: str


def segment_would_send(
    policy: ConsentPolicy,
    destination: str,
    preferences: Mapping[str, bool | None] | None,
    *,
    integrations: Mapping[str, object] | None = None,
    unenforced: Collection[str] = (),
) -> SegmentAnswer:
    """Return what Segment would do with one row or event.

    Args:
        policy: of which only what Segment knows counts: categories, their destinations, whether they are enabled.
        destination: a name of the policy.
        preferences: what is known of each category; None: no consent columns are mapped, or no consent object is
            there. An empty consent object is as none, but beside an integrations object it is `{}`.
        integrations: the integrations object, where there is one, with the policy's names of destinations.
        unenforced: the policy's names of those destinations for which Segment enforces nothing: AWS S3 and Engage.
    """
    refused = _refused_by_integrations(destination, integrations)
    required = policy.required_for(destination)
    if {destination, base_of(destination)}.intersection(unenforced):
        # "AWS S3 and Engage destinations do not enforce consent preferences" (Categories)
        return refused or SegmentAnswer(True, "the destination enforces no consent")
    if preferences is None:
        # "results in no consent enforcement" (Reverse ETL); "continue to flow to destinations without consent
        # enforcement" (Connections)
        return refused or SegmentAnswer(True, "without consent information nothing is enforced")
    if not required:
        # "Segment assumes all destinations without a mapping do not require user consent" (Reverse ETL, Categories)
        return refused or SegmentAnswer(True, "the destination is mapped to no category")
    lacking = [category for category in required if preferences.get(category) is not True]
    if lacking:
        # "a user must consent to all categories" (Reverse ETL, Categories); a category without a column (Reverse ETL),
        # or not in the object (Connections), is false
        return SegmentAnswer(False, f"no consent to {', '.join(lacking)}")
    return refused or SegmentAnswer(True, "consent to every category of the destination")


def _refused_by_integrations(destination: str, integrations: Mapping[str, object] | None) -> SegmentAnswer | None:
    switches = integrations or {}
    # "any settings in the Integrations object apply to all instances" (Filtering)
    base = base_of(destination)
    # "'All' is a special key that applies when no key for a specific destination is found" (Common)
    if switches.get(destination, switches.get(base, switches.get(_ALL, True))) is False:
        return SegmentAnswer(False, "false in the integrations object")
    return None
