"""Salesforce's consent objects, as the DAG declares them, and the values that are written into them.

Fields and values: object reference, `ContactPointTypeConsent`, `PartyConsent` and `Individual`
(https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/, read 2026-11-29;
`PartyConsent` 2026-11-30).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Literal, get_args

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.tagged_parameters import as_tagged, of_tagged
from airflow_consent_retl.destinations.http.consent_records import ConsentRecord, WithdrawalFlags

ContactPoint = Literal["Email", "Phone", "MailingAddress", "Social", "Web"]
PartyAction = Literal["CrossDevice", "DataCollection", "Reidentification", "Segment", "ShareData", "Target"]
_COLUMN = re.compile(r"(?:[A-Za-z][A-Za-z0-9_]*:)?[A-Za-z][A-Za-z0-9_]*\.[A-Za-z][A-Za-z0-9_]*")

GRANTED, WITHDRAWN = "airflow-consent-retl: granted", "airflow-consent-retl: withdrawn"
"""The `CaptureSource` of what this package wrote. An opt-out with another source is the person's own, and survives."""


@parameter_class
class PersonConsent(ConsentRecord):
    """One consent of a person, as a record of a consent object of its own.

    Attributes:
        column: that of the subject.
        period: the columns with the time since when and until when it is valid, where the object has them.

    Args:
        field: the load's field with the person's answer, mapped with `consent(…, granted="OptIn")`. A row with any
            other value, or none, has an opt-out. Not sent to the object of the load.
        external_id: an external id of the consent object, a text of 255 characters that is unique. Its value is the
            person's key, a colon and the subject.
        party: the column that finds the person's `Individual`, such as `Individual:Party.Customer_Key__c`: a custom
            external id of `Individual` that has the person's key.
        data_use_purpose_id: the id of a `DataUsePurpose`; empty: none.
    """

    column: ClassVar[str]
    period: ClassVar[tuple[str, ...]] = ()
    status: ClassVar[str] = "PrivacyConsentStatus"
    source: ClassVar[str] = "CaptureSource"
    granted: ClassVar[str] = "OptIn"
    denied: ClassVar[str] = "OptOut"
    withdrawn: ClassVar[str] = WITHDRAWN
    alike: ClassVar[tuple[str, ...]] = ("external_id", "party")

    party: str
    data_use_purpose_id: str = ""

    def wrong(self) -> list[str]:
        """Return the errors in the values."""
        words = "party must be a column such as Individual:Party.Customer_Key__c"
        return super().wrong() + ([] if _COLUMN.fullmatch(self.party) else [words])

    def record(self, person: str, *, granted: bool, at: datetime | None = None) -> Mapping[str, str]:
        """Return the record of a person's answer, by its columns."""
        when = f"{at:%Y-%m-%dT%H:%M:%S.000}Z" if at else ""
        return {
            self.external_id: self.key(person),
            self.party: person,
            "Name": f"{self.about} consent",
            self.column: self.about,
            "CaptureContactPointType": "Web",
            "CaptureDate": when,
            self.source: GRANTED if granted else WITHDRAWN,
            self.status: self.granted if granted else self.denied,
            **dict(zip(self.period, (when, "#N/A"), strict=False)),
            "DataUsePurposeId": self.data_use_purpose_id,
        }


@parameter_class
class ContactPointTypeConsent(PersonConsent):
    """The consent of a person to be contacted in one way, as a record of `ContactPointTypeConsent`.

    Args:
        contact_point: the way.
        field, external_id, party, data_use_purpose_id: see `PersonConsent`.
    """

    kind: ClassVar[str] = "ContactPointTypeConsent"
    subject: ClassVar[tuple[str, tuple[str, ...]]] = ("contact_point", get_args(ContactPoint))
    column: ClassVar[str] = "ContactPointType"
    period: ClassVar[tuple[str, ...]] = ("EffectiveFrom", "EffectiveTo")

    contact_point: ContactPoint


@parameter_class
class PartyConsent(PersonConsent):
    """The consent of a person to one use of their data, as a record of `PartyConsent`.

    Args:
        action: the use.
        field, external_id, party, data_use_purpose_id: see `PersonConsent`.
    """

    kind: ClassVar[str] = "PartyConsent"
    subject: ClassVar[tuple[str, tuple[str, ...]]] = ("action", get_args(PartyAction))
    column: ClassVar[str] = "Action"

    action: PartyAction


@parameter_class
class IndividualFlags(WithdrawalFlags):
    """Flags of the person's `Individual` that a withdrawal sets. No load ever takes one back: a person may have set it.

    Args:
        flags: such as `("HasOptedOutProcessing", "HasOptedOutSolicit")`.
        external_id: a custom external id of `Individual` that has the person's key.
    """

    kind: ClassVar[str] = "Individual"
    known: ClassVar[tuple[str, ...]] = (
        "HasOptedOutGeoTracking",
        "HasOptedOutProcessing",
        "HasOptedOutProfiling",
        "HasOptedOutSolicit",
        "HasOptedOutTracking",
        "SendIndividualData",
        "ShouldForget",
    )


ConsentObject = ContactPointTypeConsent | PartyConsent | IndividualFlags
_KINDS: Mapping[str, Callable[..., ConsentObject]] = {
    one.kind: one for one in (ContactPointTypeConsent, PartyConsent, IndividualFlags)
}


def as_parameters(objects: Iterable[ConsentObject]) -> list[dict[str, object]]:
    """Return consent objects in the types that Airflow stores for a triggerer."""
    return as_tagged(objects, _KINDS)


def of_parameters(given: Iterable[ConsentObject | Mapping[str, Any]]) -> list[ConsentObject]:
    """Return consent objects, also from what `as_parameters` returned.

    Raises:
        ConfigurationError: one is none.
    """
    words = "consent_objects has ContactPointTypeConsent, PartyConsent and IndividualFlags, and nothing else"
    return of_tagged(given, _KINDS, option="consent_objects", words=words)
