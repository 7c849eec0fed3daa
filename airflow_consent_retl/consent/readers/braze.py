"""Braze's subscription states: of a channel, and of a subscription group.

Sources: https://www.braze.com/docs/developer_guide/push_notifications/subscription_states and
https://www.braze.com/docs/user_guide/audience/subscription_preferences/subscription_status, read on 29 November 2026.
Trap: `subscribed` is the state in which Braze makes every user, so it is no yes; `opted_in` is one.
"""

from __future__ import annotations

from airflow_consent_retl.consent.answers import FirstOf
from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.formats.opt_out import OptOut

EMAIL = "email_subscribe"


def braze_channel(column: str = EMAIL) -> Literals:
    """Return the format of `email_subscribe` or `push_subscribe`.

    `opted_in` grants and `unsubscribed` denies. `subscribed` is unknown: it permits under `opt_out` only.
    """
    return Literals(column, granted=("opted_in",), denied=("unsubscribed",), unknown=("subscribed",))


def braze_group(column: str, *, channel: str = EMAIL) -> FirstOf:
    """Return the records of a subscription group: the channel's `unsubscribed`, and then the state in the group.

    In the group, `subscribed` grants, because a user enters it by an act of its own; `unsubscribed` denies, and
    `unknown` is unknown. Who unsubscribed from the channel gets nothing from any group.

    Args:
        column: the column with the state in the group.
        channel: the column with the state of the channel.
    """
    channel_state = Literals(channel, granted=("unsubscribed",), denied=("subscribed", "opted_in"))
    group_state = Literals(column, granted=("subscribed",), denied=("unsubscribed",), unknown=("unknown",))
    return FirstOf(OptOut(channel_state), group_state)
