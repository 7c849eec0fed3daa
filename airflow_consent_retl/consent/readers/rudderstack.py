"""RudderStack's consent of events in a warehouse: `context.consentManagement`, flattened into columns.

Ids of categories that are allowed and denied are two arrays, stored as JSON text. RudderStack itself blocks only what
is denied, so an event without lists flows there. Here, an id in neither list is unknown, and one in both is invalid.
Source: https://www.rudderstack.com/docs/data-governance/consent-management/passing-consent/, read on 29 November 2026.
Traps: ids are case-sensitive; column names have at most 63 characters in PostgreSQL, and capital letters in Snowflake.
"""

from __future__ import annotations

from airflow_consent_retl.consent.formats.two_lists import TwoLists

ALLOWED = "context_consent_management_allowed_consent_ids"
DENIED = "context_consent_management_denied_consent_ids"


def rudderstack_consent(allowed: str = ALLOWED, denied: str = DENIED) -> TwoLists:
    """Return the format of RudderStack's two lists for all categories, whose ids are the policy's.

    Args:
        allowed: the column with the allowed ids.
        denied: the column with the denied ids.
    """
    return TwoLists(allowed, denied)
