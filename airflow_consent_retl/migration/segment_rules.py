"""Segment's published rules: the reference that this package is compared with.

Sources, all read 2026-11-24:
    Reverse ETL: https://segment.com/docs/privacy/consent-management/consent-in-retl/
    Connections: https://segment.com/docs/privacy/consent-management/consent-in-segment-connections/
    Categories:  https://segment.com/docs/privacy/consent-management/configure-consent-management/
    Common:      https://segment.com/docs/connections/spec/common/#integrations
    Filtering:   https://segment.com/docs/guides/filtering-data/#filtering-with-the-integrations-object
in the version of https://github.com/segmentio/segment-docs at 747b35d8 of 2025-11-07.
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
    """Segment's answer for one row: whether it would send it, and by which rule."""

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
        policy: the policy. Only the parts that Segment knows count: categories, their destinations and whether they
            are enabled.
        destination: a name of the policy.
        preferences: the known consent of each category. None if no consent columns are mapped or there is no consent
            object. An empty consent object counts as None without an integrations object, and as `{}` with one.
        integrations: the integrations object, if there is one, with the policy's names of destinations.
        unenforced: the policy's names of the destinations for which Segment enforces nothing: AWS S3 and Engage.
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
