"""Mailchimp's status of a list's member.

Source: https://mailchimp.com/developer/marketing/api/list-members/ (not read again). Traps: `cleaned` is an address
that bounced; `archived` hides whether the member had unsubscribed before; `pending` waits for the confirmation of a
double opt-in; `transactional` never subscribed.
"""

from __future__ import annotations

from airflow_consent_retl.consent.formats.literals import Literals


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
