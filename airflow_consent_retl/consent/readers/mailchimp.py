"""Mailchimp's status of a list's member.

Source: https://mailchimp.com/developer/marketing/api/list-members/ (not read again). Traps: `cleaned` is an address
that bounced; `archived` hides whether the member had unsubscribed before; `pending` waits for the confirmation of a
double opt-in; `transactional` never subscribed.
"""

from __future__ import annotations

from airflow_consent_retl.consent.answers import FirstOf
from airflow_consent_retl.consent.formats.json_values import JsonListItem
from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.formats.opt_out import OptOut


def mailchimp_status(column: str = "status") -> Literals:
    """Return the format of `status`: `subscribed` grants; `unsubscribed`, `cleaned` and `archived` deny.

    `pending` and `transactional` are unknown.
    """
    return Literals(
        column,
        granted=("subscribed",),
        denied=("unsubscribed", "cleaned", "archived"),
        unknown=("pending", "transactional"),
    )


def mailchimp_permission(
    permission: str, *, permissions: str = "marketing_permissions", status: str = "status"
) -> FirstOf:
    """Return the records of one marketing permission: a status that denies, and then the permission's `enabled`.

    `true` grants if the member neither unsubscribed nor was cleaned or archived; `false` denies, and a permission that
    is not listed is unknown.

    Args:
        permission: its `marketing_permission_id`.
        permissions: the JSON column with the member's permissions.
        status: the column with the member's status.
    """
    member = mailchimp_status(status)
    ended = Literals(status, granted=member.denied, denied=member.granted, unknown=member.unknown)
    return FirstOf(OptOut(ended), JsonListItem(permissions, permission, id="marketing_permission_id"))
