"""Ketch's consent records, as its webhooks and its data forwarder write them.

    {"purposes": {"advertising": "granted", "email": "denied"},
     "legalBasis": {"advertising": "consent_optin", "email": "disclosure"}, "collectedAt": 1790000000}

The schema: https://github.com/ketch-com/ketch-forwarder/blob/main/api/consent/v1/Consent.md (read on 29 November 2026).
The record of a webhook is under `request`. `collectedAt` is a time in seconds since 1970. A record may name several
identities, each of which has its own row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_consent_retl.consent.document_parts import DocumentPart, part_along, parts_together
from airflow_consent_retl.consent.formats.json_lookup import (
    JsonLookup,
    JsonWalk,
    Path,
    UnreadableDocumentError,
    document_problems,
    id_problems,
)
from airflow_consent_retl.consent.signals import ConsentStatus, WholeConsent, require

_CONSENT = "consent_optin"


@dataclass(frozen=True, slots=True)
class KetchPurpose(JsonLookup):
    """One purpose of a Ketch record: only `granted` under the legal basis `consent_optin` grants, and `denied` denies.

    Under another legal basis, `granted` is unknown: under `consent_optout` it is the assumption of Ketch about people
    without an answer, and under `disclosure` it only says that the person was informed. It is unknown as well if the
    record has no legal basis of the purpose. A purpose that is null or missing is unknown. Anything else is invalid.

    Args:
        column: the column with the record.
        purpose: the purpose's code.
        path: the keys that lead to the object with `purposes` and `legalBasis`: `("request",)` for a whole webhook.
    """

    is_standard: ClassVar[bool] = True

    column: str
    purpose: str
    path: Path = ()

    def __post_init__(self) -> None:
        require(
            [
                *document_problems(self.column, self.path, "KetchPurpose"),
                *id_problems(self.purpose, "KetchPurpose.purpose"),
            ]
        )

    @property
    def document_part(self) -> DocumentPart:
        """The purpose and its legal basis."""
        return part_along(
            self.path,
            parts_together(part_along(("purposes", self.purpose)), part_along(("legalBasis", self.purpose))),
        )

    def answer(self, document: object, walk: JsonWalk) -> ConsentStatus:
        """Return the status of the purpose under its legal basis."""
        record = walk.at(document, self.path)
        state = walk.at(record, ("purposes", self.purpose))
        basis = walk.at(record, ("legalBasis", self.purpose))
        if state not in (None, "granted", "denied") or not isinstance(basis, str | None):
            raise UnreadableDocumentError
        if state == "denied":
            return ConsentStatus.DENIED
        return ConsentStatus.GRANTED if state == "granted" and basis == _CONSENT else ConsentStatus.UNKNOWN


@dataclass(frozen=True, slots=True)
class KetchPurposes(WholeConsent):
    """A Ketch record for all categories, whose ids are Ketch's purposes. The parameters of `KetchPurpose`."""

    column: str
    path: Path = ()

    def __post_init__(self) -> None:
        require(document_problems(self.column, self.path, "KetchPurposes"))

    def for_category(self, category_id: str, name: str) -> KetchPurpose:
        """Return the signal of one category."""
        return KetchPurpose(self.column, category_id, self.path)
