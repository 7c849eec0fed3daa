"""Klaviyo's consent of profiles: `subscriptions.<channel>.marketing`, with suppressions.

Source: https://developers.klaviyo.com/en/docs/collect_email_and_sms_consent_via_api, read on 29 November 2026. Traps: a
suppressed profile keeps its consent; `can_receive_email_marketing` is "implicit consent" and TRUE for people who never
said yes.
"""

from __future__ import annotations

from airflow_consent_retl.consent.answers import FirstOf
from airflow_consent_retl.consent.formats.filled_list import FilledList
from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.formats.opt_out import OptOut
from airflow_consent_retl.errors import PolicyError, Problem

_IMPLICIT = "can_receive_"


def klaviyo_consent(consent: str = "consent") -> Literals:
    """Return the format of a channel's `consent`: `SUBSCRIBED` grants, `UNSUBSCRIBED` denies, `NEVER_SUBSCRIBED` is
    unknown.

    Raises:
        PolicyError: the column is `can_receive_…`, which is no consent.
    """
    if consent.lower().rpartition(".")[2].startswith(_IMPLICIT):
        problem = "`can_receive_…` is true for people who never said yes: name the column of `consent`"
        raise PolicyError([Problem("klaviyo_consent.consent", problem)])
    return Literals(consent, granted=("SUBSCRIBED",), denied=("UNSUBSCRIBED",), unknown=("NEVER_SUBSCRIBED",))


def klaviyo_marketing(consent: str = "consent", *, suppression: str = "suppression") -> FirstOf:
    """Return the records of a channel: any suppression denies, and then `klaviyo_consent` decides.

    Args:
        consent: the column with the consent.
        suppression: the column with the list of suppressions, JSON or an array. NULL and `[]`: there is none.

    Raises:
        PolicyError: as for `klaviyo_consent`.
    """
    return FirstOf(OptOut(FilledList(suppression)), klaviyo_consent(consent))
