"""Salesforce's consent: opt-out flags of Contact, Lead and Individual, and consent of contact points.

The flags are FALSE for everyone who was never asked, so FALSE is no yes. Salesforce's own Consent API takes the least
permissive of all linked records. Sources: the object reference of `ContactPointTypeConsent`, `ContactPointConsent` and
`Individual`, https://developer.salesforce.com/docs/platform/object-reference/, read on 29 November 2026.
"""

from __future__ import annotations

from airflow_consent_retl.consent.answers import MostRestrictive, Recorded
from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.formats.opt_out import OptOut

# Of Contact and Lead, and of Individual.
EMAIL_FLAG = "HasOptedOutOfEmail"
INDIVIDUAL_FLAGS = (
    "HasOptedOutTracking",
    "HasOptedOutProfiling",
    "HasOptedOutProcessing",
    "HasOptedOutSolicit",
    "HasOptedOutGeoTracking",
    "HasOptedOutPartnerConsent",
    "ShouldForget",
)


def salesforce_opt_out(*flags: str) -> OptOut | MostRestrictive:
    """Return the format of one or several opt-out flags: `salesforce_opt_out("HasOptedOutOfEmail")`.

    TRUE in any of them denies; FALSE and NULL are unknown. Several flags are those of linked records, such as the
    contact and the lead of one address, or an individual's `ShouldForget`.
    """
    if len(flags) < 2:
        return OptOut(flags[0] if flags else EMAIL_FLAG)
    return MostRestrictive(*map(OptOut, flags))


def salesforce_contact_point(
    status: str = "PrivacyConsentStatus",
    *,
    effective_from: str | None = "EffectiveFrom",
    effective_to: str | None = "EffectiveTo",
    captured: str | None = "CaptureDate",
) -> Recorded:
    """Return the record of `ContactPointTypeConsent` or `ContactPointConsent`.

    `OptIn` grants from `EffectiveFrom` until `EffectiveTo`, if these are set; `OptOut` always denies; `NotSeen` and
    `Seen` are unknown: the person saw a question, or did not.

    Args:
        status: the column with the status.
        effective_from: the column with the start of validity; None: the model has none.
        effective_to: the column with its end; None: the model has none.
        captured: the column with the time of the answer, for a `max_age`; None: the model has none.
    """
    answer = Literals(status, granted=("OptIn",), denied=("OptOut",), unknown=("NotSeen", "Seen"))
    return Recorded(answer, time=captured, valid_from=effective_from, valid_until=effective_to)
