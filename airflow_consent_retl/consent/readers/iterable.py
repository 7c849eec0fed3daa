"""Iterable's subscriptions of users: arrays of channels and message types.

Users are subscribed until they unsubscribe, so a missing opt-out is no yes. Only message types with opt-in have an
explicit one, in `subscribedMessageTypeIds`. Source: the fields of a user in https://api.iterable.com/api/docs (not read
again). Trap: to be on a list (`emailListIds`) is no consent.
"""

from __future__ import annotations

from airflow_consent_retl.consent.answers import FirstOf, MostRestrictive
from airflow_consent_retl.consent.formats.granted_ids import GrantedId
from airflow_consent_retl.consent.formats.opt_out import OptOut

CHANNELS, MESSAGE_TYPES, SUBSCRIBED = (
    "unsubscribedChannelIds",
    "unsubscribedMessageTypeIds",
    "subscribedMessageTypeIds",
)


def iterable_opt_out(
    channel: int, message_type: int, *, channels: str = CHANNELS, message_types: str = MESSAGE_TYPES
) -> MostRestrictive:
    """Return the records of a message type with opt-out: an unsubscription denies, and nothing else is known.

    Args:
        channel: the id of the message type's channel.
        message_type: the id of the message type.
        channels: the column with the channels that the user unsubscribed from, a JSON array or an array of integers.
        message_types: likewise, the message types.
    """
    return MostRestrictive(OptOut(GrantedId(channels, channel)), OptOut(GrantedId(message_types, message_type)))


def iterable_opt_in(
    channel: int,
    message_type: int,
    *,
    channels: str = CHANNELS,
    message_types: str = MESSAGE_TYPES,
    subscribed: str = SUBSCRIBED,
) -> FirstOf:
    """Return the records of a message type with opt-in: an unsubscription denies, and a subscription grants.

    Args:
        channel, message_type, channels, message_types: as for `iterable_opt_out`.
        subscribed: the column with the message types that the user subscribed to.
    """
    return FirstOf(
        OptOut(GrantedId(channels, channel)),
        OptOut(GrantedId(message_types, message_type)),
        GrantedId(subscribed, message_type, unlisted="unknown"),
    )
