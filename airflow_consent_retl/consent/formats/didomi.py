"""Didomi's users and consent events, as its batch export, its API and its webhooks write them.

    {"consents": {"purposes": [{"id": "ads", "enabled": true, "enabled_li": null}], "channels": [], "vendors": {}}}

The schema: https://developers.didomi.io/api-and-platform/consents/users/users-schema and
https://developers.didomi.io/api-and-platform/consents/events/consent-event-approvals (the API's published OpenAPI
document and these pages were read on 29 November 2026). The export contains GDPR choices only, and only people with an
organization user ID.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from airflow_consent_retl.consent.document_parts import SCALAR, DocumentPart, part_along, parts_together
from airflow_consent_retl.consent.formats.json_lookup import (
    JsonLookup,
    JsonWalk,
    Path,
    UnreadableDocumentError,
    agreed,
    document_problems,
    id_problems,
    truth,
)
from airflow_consent_retl.consent.signals import ConsentStatus, WholeConsent, require
from airflow_consent_retl.errors import Problem

Kind = Literal["purposes", "channels"]

_CONFIRMED, _PENDING = "confirmed", "pending_approval"
_ENTRY = DocumentPart((("id", SCALAR), ("enabled", SCALAR), ("enabled_li", SCALAR)))


@dataclass(frozen=True, slots=True)
class DidomiPurpose(JsonLookup):
    """One purpose or channel of a Didomi user or event: only `"enabled": true` grants.

    `"enabled": false` denies. An objection to legitimate interest, `"enabled_li": false`, denies unless there is
    consent: consent is another legal basis. `"enabled_li": true` is no consent. `null`, a missing field and a purpose
    that is not listed are unknown. In an event whose `status` is `pending_approval`, a yes is unknown, because Didomi
    has not applied it yet. Any other status than `confirmed` is invalid. Arrays are read as in `JsonListItem`.

    Args:
        column: the column with the user or the event.
        purpose: the id of the purpose or channel.
        path: the keys that lead to the object with `purposes` and `channels`; empty if the column contains that object.
        kind: `purposes` or `channels`.
    """

    is_standard: ClassVar[bool] = True
    may_overrule_yes: ClassVar[bool] = True

    column: str
    purpose: str
    path: Path = ("consents",)
    kind: Kind = "purposes"

    def __post_init__(self) -> None:
        require(
            [
                *_problems(self.column, self.path, self.kind, "DidomiPurpose"),
                *id_problems(self.purpose, "DidomiPurpose.purpose"),
            ]
        )

    @property
    def document_part(self) -> DocumentPart:
        """The status of the event, and the choices of every purpose."""
        return parts_together(part_along(("status",)), part_along((*self.path, self.kind), DocumentPart(items=_ENTRY)))

    def answer(self, document: object, walk: JsonWalk) -> ConsentStatus:
        """Return the status of the purpose."""
        status = walk.member(document, "status")
        if status not in (None, _CONFIRMED, _PENDING):
            raise UnreadableDocumentError
        choices = walk.entries(walk.at(document, (*self.path, self.kind)), ("id",), self.purpose)
        found = agreed(
            [_choice(truth(walk.member(one, "enabled")), truth(walk.member(one, "enabled_li"))) for one in choices]
        )
        return ConsentStatus.UNKNOWN if found is ConsentStatus.GRANTED and status == _PENDING else found


@dataclass(frozen=True, slots=True)
class DidomiPurposes(WholeConsent):
    """A Didomi user or event for all categories, whose ids are Didomi's purposes. The parameters of `DidomiPurpose`."""

    column: str
    path: Path = ("consents",)
    kind: Kind = "purposes"

    def __post_init__(self) -> None:
        require(_problems(self.column, self.path, self.kind, "DidomiPurposes"))

    def for_category(self, category_id: str, name: str) -> DidomiPurpose:
        """Return the signal of one category."""
        return DidomiPurpose(self.column, category_id, self.path, self.kind)


def _choice(enabled: bool | None, enabled_li: bool | None) -> ConsentStatus:
    if enabled:
        return ConsentStatus.GRANTED
    return ConsentStatus.DENIED if enabled is False or enabled_li is False else ConsentStatus.UNKNOWN


def _problems(column: object, path: object, kind: object, name: str) -> list[Problem]:
    problems = document_problems(column, path, name)
    if kind not in ("purposes", "channels"):
        problems.append(Problem(f"{name}.kind", "expected `purposes` or `channels`"))
    return problems
