"""Salesforce's consent objects, as the DAG declares them, and the values that are written into them.

Fields and values: object reference, `ContactPointTypeConsent` and `Individual`
(https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/, read 2026-11-29).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.tagged_parameters import as_tagged, of_tagged
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.fields.field_values import other_than_answers

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.salesforce.api import SalesforceApi

ContactPoint = Literal["Email", "Phone", "MailingAddress", "Social", "Web"]
_POINTS = ("Email", "Phone", "MailingAddress", "Social", "Web")
_FLAGS = ("HasOptedOutGeoTracking", "HasOptedOutProcessing", "HasOptedOutProfiling", "HasOptedOutSolicit",
          "HasOptedOutTracking", "SendIndividualData", "ShouldForget")  # fmt: skip
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
_COLUMN = re.compile(r"(?:[A-Za-z][A-Za-z0-9_]*:)?[A-Za-z][A-Za-z0-9_]*\.[A-Za-z][A-Za-z0-9_]*")

GRANTED, WITHDRAWN = "airflow-consent-retl: granted", "airflow-consent-retl: withdrawn"
"""The `CaptureSource` of what this package wrote. An opt-out with another source is the person's own, and survives."""

CONSENT_OBJECT = "ContactPointTypeConsent"


@parameter_class
class ContactPointTypeConsent:
    """The consent of a person to be contacted in one way, as a record of `ContactPointTypeConsent`.

    Args:
        contact_point: the way.
        field: the load's field with the person's answer, mapped with `consent(…, granted="OptIn")`. A row with any
            other value, or none, has an opt-out. Not sent to the object of the load.
        external_id: an external id of `ContactPointTypeConsent`, a text of 255 characters that is unique. Its value is
            the person's key, a colon and the contact point.
        party: the column that finds the person's `Individual`, such as `Individual:Party.Customer_Key__c`: a custom
            external id of `Individual` that has the person's key.
        data_use_purpose_id: the id of a `DataUsePurpose`; empty: none.
    """

    contact_point: ContactPoint
    field: str
    external_id: str
    party: str
    data_use_purpose_id: str = ""

    def wrong(self) -> list[str]:
        """Return the errors in the values."""
        wrong = [] if self.contact_point in _POINTS else [f"contact_point must be one of {', '.join(_POINTS)}"]
        wrong += [] if _NAME.fullmatch(self.external_id) else ["external_id of a consent object must be a field's name"]
        return wrong + (
            [] if _COLUMN.fullmatch(self.party) else ["party must be a column such as Individual:Party.Customer_Key__c"]
        )

    def key(self, person: str) -> str:
        """Return the record's key."""
        return f"{person}:{self.contact_point}"

    def record(self, person: str, *, granted: bool, at: datetime | None = None) -> dict[str, str]:
        """Return the record of a person's answer, by its columns."""
        when = f"{at:%Y-%m-%dT%H:%M:%S.000}Z" if at else ""
        return {
            self.external_id: self.key(person),
            self.party: person,
            "Name": f"{self.contact_point} consent",
            "ContactPointType": self.contact_point,
            "CaptureContactPointType": "Web",
            "CaptureDate": when,
            "CaptureSource": GRANTED if granted else WITHDRAWN,
            "PrivacyConsentStatus": "OptIn" if granted else "OptOut",
            "EffectiveFrom": when,
            "EffectiveTo": "#N/A",
            "DataUsePurposeId": self.data_use_purpose_id,
        }

    @property
    def header(self) -> list[str]:
        """The columns of records."""
        return list(self.record("", granted=False))


@parameter_class
class IndividualFlags:
    """Flags of the person's `Individual` that a withdrawal sets. No load ever takes one back: a person may have set it.

    Args:
        flags: such as `("HasOptedOutProcessing", "HasOptedOutSolicit")`.
        external_id: a custom external id of `Individual` that has the person's key.
    """

    flags: tuple[str, ...]
    external_id: str

    def wrong(self) -> list[str]:
        """Return the errors in the values."""
        unknown = [flag for flag in self.flags if flag not in _FLAGS]
        wrong = [f"`{flag}` is no flag of Individual: {', '.join(_FLAGS)}" for flag in unknown]
        wrong += [] if self.flags else ["flags names no flag of Individual"]
        return wrong + (
            [] if _NAME.fullmatch(self.external_id) else ["external_id of Individual must be a field's name"]
        )


ConsentObject = ContactPointTypeConsent | IndividualFlags
_KINDS: Mapping[str, Callable[..., ConsentObject]] = {
    CONSENT_OBJECT: ContactPointTypeConsent,
    "Individual": IndividualFlags,
}


def as_parameters(objects: Iterable[ConsentObject]) -> list[dict[str, object]]:
    """Return consent objects in the types that Airflow stores for a triggerer."""
    return as_tagged(objects, _KINDS)


def of_parameters(given: Iterable[ConsentObject | Mapping[str, Any]]) -> list[ConsentObject]:
    """Return consent objects, also from what `as_parameters` returned.

    Raises:
        ConfigurationError: one is none.
    """
    words = "consent_objects has ContactPointTypeConsent and IndividualFlags, and nothing else"
    return of_tagged(given, _KINDS, words=words)


def check_same_ids(objects: Iterable[ConsentObject]) -> list[str]:
    """Return the errors of consent objects that would share a job and cannot."""
    points = [one for one in objects if isinstance(one, ContactPointTypeConsent)]
    wrong = []
    if len({(one.external_id, one.party) for one in points}) > 1:
        wrong.append("all ContactPointTypeConsent need the same external_id and party")
    if len({one.contact_point for one in points}) != len(points):
        wrong.append("consent_objects has a contact_point twice")
    if sum(isinstance(one, IndividualFlags) for one in objects) > 1:
        wrong.append("consent_objects has IndividualFlags twice")
    return wrong


def changed_lines(
    api: SalesforceApi,
    points: Iterable[ContactPointTypeConsent],
    answers: Mapping[str, Mapping[str, bool]],
    *,
    at: datetime,
    makes: bool = False,
) -> dict[str, list[list[str]]]:
    """Return the records to write for each person, after a look at what Salesforce has.

    An opt-out that this package did not write stays, whatever the person answers elsewhere. A record that already says
    the same is not written again, so its dates stay.

    Args:
        api: of the org.
        points: the declared consents.
        answers: by person: the field of each consent, and whether the person granted it.
        at: since when the answer is valid.
        makes: whether a record is made only to say no.

    Raises: as the calls do.
    """
    found: dict[str, list[list[str]]] = {}
    for point in points:
        asked = {point.key(person): person for person in answers}
        columns = ("PrivacyConsentStatus", "CaptureSource")
        present = {
            record[point.external_id]: record
            for record in api.records(CONSENT_OBJECT, point.external_id, list(asked), columns)
        }
        for key, person in asked.items():
            granted = answers[person][point.field]
            record = present.get(key)
            if _is_written(record, granted=granted) if record else granted or makes:
                found.setdefault(person, []).append(list(point.record(person, granted=granted, at=at).values()))
    return found


def _is_written(record: Mapping[str, Any], *, granted: bool) -> bool:
    match record["PrivacyConsentStatus"], record["CaptureSource"]:
        case "OptOut", source:
            return granted and source == WITHDRAWN
        case "OptIn", _:
            return not granted
        case _:
            # Neither: `Seen`, `NotSeen` or none yet.
            return True


def check_told(objects: Iterable[ConsentObject], fields: object) -> None:
    """Check, when a DAG file is parsed, that each consent is a person's own answer to a category.

    Args:
        objects: as the DAG declares them.
        fields: of the load; a template, or the output of a task, is known when the task runs.

    Raises:
        ConfigurationError: one is a column, a constant, or another value than `OptIn`.
    """
    points = [one.field for one in objects if isinstance(one, ContactPointTypeConsent)]
    for name in other_than_answers(fields, points, granted="OptIn", is_needed=True):
        raise ConfigurationError(
            f"consent_objects tells Salesforce `{name}`, each person's own answer to a category: map it with "
            'consent("C0005", granted="OptIn")'
        )


def check_answers(columns: Collection[str], objects: Iterable[ConsentObject]) -> None:
    """Check that the load has the field of each consent.

    Raises:
        ConfigurationError: a field is missing.
    """
    missing = [one.field for one in objects if isinstance(one, ContactPointTypeConsent) and one.field not in columns]
    if missing:
        raise ConfigurationError(
            f'consent_objects need the fields {", ".join(missing)}: map each with consent(…, granted="OptIn")'
        )
