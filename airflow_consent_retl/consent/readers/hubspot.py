"""HubSpot's e-mail consent: the opt-out of everything, opt-outs of subscriptions, and states of subscriptions.

A person who unsubscribed from everything may still be subscribed to single subscriptions, so the portal's opt-out
always counts first. Sources:
https://developers.hubspot.com/docs/api-reference/legacy/communication-preferences/v3/guide and
https://developers.hubspot.com/docs/api-reference/latest/communication-preferences/status/get-unsubscribed-status, read
on 29 November 2026. Traps: `NOT_SUBSCRIBED` of version 3 of the API also stands for people who unsubscribed; a property
such as `hs_email_optout` is text in many copies, and NULL for people who were never asked.
"""

from __future__ import annotations

from typing import Literal

from airflow_consent_retl.consent.answers import FirstOf
from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.formats.opt_out import OptOut
from airflow_consent_retl.errors import PolicyError, Problem

OPT_OUT = "hs_email_optout"
Written = Literal["boolean", "text", "status"]


def hubspot_opt_out(column: str = OPT_OUT, *, written: Written = "boolean") -> OptOut:
    """Return the format of the property `hs_email_optout`, or of `hs_email_optout_<subscription>`.

    TRUE denies; FALSE, NULL and empty text are unknown.

    Args:
        column: the property's column.
        written: `boolean`; `text` if the column contains `true`, `false` and empty text; or `status` if it contains
            `UNSUBSCRIBED` and `SUBSCRIBED`, as `portal_subscription_status` does.

    Raises:
        PolicyError: it is written in another way.
    """
    if written == "boolean":
        return OptOut(column)
    if written == "text":
        return OptOut(Literals(column, granted=("true",), denied=("false",), unknown=("",)))
    if written == "status":
        return OptOut(Literals(column, granted=("UNSUBSCRIBED",), denied=("SUBSCRIBED",)))
    raise PolicyError([Problem("hubspot_opt_out.written", "expected `boolean`, `text` or `status`")])


def hubspot_subscription(status: str, *, portal: str = OPT_OUT, written: Written = "boolean") -> FirstOf:
    """Return the records of one subscription: the opt-out of everything, and then the subscription's state.

    `SUBSCRIBED` grants if the person did not unsubscribe from everything. `UNSUBSCRIBED` and `NOT_SUBSCRIBED` deny, and
    `NOT_SPECIFIED` is unknown.

    Args:
        status: the column with the state of the subscription.
        portal: the column with the opt-out of everything.
        written: as for `hubspot_opt_out`.
    """
    state = Literals(
        status, granted=("SUBSCRIBED",), denied=("UNSUBSCRIBED", "NOT_SUBSCRIBED"), unknown=("NOT_SPECIFIED",)
    )
    return FirstOf(hubspot_opt_out(portal, written=written), state)
