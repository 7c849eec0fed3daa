"""Usercentrics' settings, as its Browser SDK keeps them (`uc_settings`) and sites record them.

    {"controllerId": "…", "services": [{"id": "H1Vl5NidjWX", "status": true, "history": [
        {"action": "onInitialPageLoad", "status": true, "timestamp": 1697590963232, "type": "implicit"},
        {"action": "onAcceptAllServices", "status": true, "timestamp": 1697590987880, "type": "explicit"}]}]}

The schema: https://docs.usercentrics.com/cmp_browser_sdk/4.41.0/interfaces/ConsentHistory.html and public examples of
`uc_settings` by versions 4.28 and 4.35 of the SDK (read on 29 November 2026). Usercentrics publishes no schema of an
export; its later versions keep other settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_consent_retl.consent.document_parts import SCALAR, DocumentPart, part_along
from airflow_consent_retl.consent.formats.json_lookup import (
    JsonLookup,
    JsonWalk,
    Path,
    UnreadableDocumentError,
    agreed,
    document_problems,
    id_problems,
    objects_of,
    truth,
)
from airflow_consent_retl.consent.signals import ConsentStatus, WholeConsent, require
from airflow_consent_retl.consent.strict_json import as_number

_TYPES = ("explicit", "implicit", "update")
_HISTORY = DocumentPart(items=DocumentPart((("status", SCALAR), ("timestamp", SCALAR), ("type", SCALAR))))
_SERVICE = DocumentPart((("id", SCALAR), ("status", SCALAR), ("history", _HISTORY)))


@dataclass(frozen=True, slots=True)
class UsercentricsService(JsonLookup):
    """One service of `uc_settings`: only a status of true that the person chose grants, and false denies.

    The person chose it if the latest entry of the service's history is `explicit`. An `implicit` yes is what the site
    assumes before any choice: it is unknown, and so is one without a history. A status that contradicts the latest
    entry is invalid. A service that is not listed is unknown. Arrays are read as in `JsonListItem`.

    Args:
        column: the column with the settings.
        service: the id of the service's template.
        path: the keys that lead to the settings; empty if the column contains them.
    """

    is_standard: ClassVar[bool] = True

    column: str
    service: str
    path: Path = ()

    def __post_init__(self) -> None:
        require(
            [
                *document_problems(self.column, self.path, "UsercentricsService"),
                *id_problems(self.service, "UsercentricsService.service"),
            ]
        )

    @property
    def document_part(self) -> DocumentPart:
        """The status and the history of every service."""
        return part_along((*self.path, "services"), DocumentPart(items=_SERVICE))

    def answer(self, document: object, walk: JsonWalk) -> ConsentStatus:
        """Return the status of the service."""
        services = walk.at(document, (*self.path, "services"))
        return agreed([_status(service, walk) for service in walk.entries(services, ("id",), self.service)])


@dataclass(frozen=True, slots=True)
class UsercentricsServices(WholeConsent):
    """`uc_settings` for all categories, whose ids are those of services. `path` as in `UsercentricsService`."""

    column: str
    path: Path = ()

    def __post_init__(self) -> None:
        require(document_problems(self.column, self.path, "UsercentricsServices"))

    def for_category(self, category_id: str, name: str) -> UsercentricsService:
        """Return the signal of one category."""
        return UsercentricsService(self.column, category_id, self.path)


def _status(service: object, walk: JsonWalk) -> ConsentStatus:
    status = truth(walk.member(service, "status"))
    choices = [
        (_time(walk.member(entry, "timestamp")), walk.member(entry, "type"), truth(walk.member(entry, "status")))
        for entry in objects_of(walk.member(service, "history"))
    ]
    if any(type_ not in _TYPES for _, type_, _ in choices):
        raise UnreadableDocumentError
    # Without a choice, the default is compared with nothing.
    latest = max((time for time, _, _ in choices), default=0.0)  # pragma: no mutate
    last = {(type_, chosen) for time, type_, chosen in choices if time == latest}
    if any(chosen is not status for _, chosen in last):
        raise UnreadableDocumentError
    if status is None:
        return ConsentStatus.UNKNOWN
    if not status:
        return ConsentStatus.DENIED
    return ConsentStatus.GRANTED if {type_ for type_, _ in last} == {"explicit"} else ConsentStatus.UNKNOWN


def _time(value: object) -> float:
    number = as_number(value)
    if number is None:
        raise UnreadableDocumentError
    return number
