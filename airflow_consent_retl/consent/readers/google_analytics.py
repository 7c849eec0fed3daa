"""Consent in the BigQuery export of Google Analytics 4: Consent Mode of events, and ads personalization of users.

Sources: https://support.google.com/analytics/answer/7029846 for events, and
https://support.google.com/analytics/answer/12769371 for users, read on 29 November 2026. Traps: Consent Mode is about
the event and not about the person, so a history of events is a `ConsentSource`; there is no `ad_user_data`; people
without consent are absent from `pseudonymous_users`. For the states of Google's other products, use `GoogleConsent`.
"""

from __future__ import annotations

from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.formats.opt_out import OptOut

_NOT_SET = ("(not set)", "")


def ga4_consent_mode(column: str) -> Literals:
    """Return the format of `privacy_info.ads_storage` or `privacy_info.analytics_storage` of an event.

    `Yes` grants, `No` denies, and `Unset` is unknown: the tag of the event did not use Consent Mode.
    """
    return Literals(column, granted=("Yes",), denied=("No",), unknown=("Unset",))


def ga4_ads_personalization(column: str = "is_ads_personalization_allowed") -> OptOut:
    """Return the format of `privacy_info.is_ads_personalization_allowed` of a user: `false` denies.

    `true` is unknown: it says that a user is eligible, which is the default, and not that the user said yes.
    """
    return OptOut(Literals(column, granted=("false",), denied=("true",), unknown=_NOT_SET))


def ga4_limited_ad_tracking(column: str = "is_limited_ad_tracking") -> OptOut:
    """Return the format of `privacy_info.is_limited_ad_tracking` of a user: `true` denies, `false` is unknown."""
    return OptOut(Literals(column, granted=("true",), denied=("false",), unknown=_NOT_SET))
