"""Transcend's preference records: of the Preference Store, and of the consent manager in the browser (`tcmConsent`).

    {"purposes": [{"purpose": "Marketing", "enabled": true,
                   "preferences": [{"topic": "Newsletter", "choice": {"booleanValue": true}}]}]}
    {"purposes": {"Advertising": true, "SaleOfInfo": "Auto"}, "confirmed": true, "timestamp": "2026-11-23T10:00:00Z"}

The schemas: https://docs.transcend.io/docs/api-reference (Preference Management; not read again), and public examples
of `tcmConsent` (read on 29 November 2026). A CSV export has a column `true` or `false` for each purpose, and
`<purpose>_<topic>` for each topic: see `readers.transcend`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_consent_retl.consent.document_parts import SCALAR, DocumentPart, part_along, parts_together
from airflow_consent_retl.consent.formats.json_lookup import (
    JsonLookup,
    JsonWalk,
    Path,
    UnreadableDocumentError,
    agreed,
    choice_status,
    document_problems,
    id_problems,
    truth,
)
from airflow_consent_retl.consent.signals import ConsentStatus, WholeConsent, require

# The consent manager applies it by the person's region while the person has made no choice.
_AUTO = "Auto"


@dataclass(frozen=True, slots=True)
class TranscendPurpose(JsonLookup):
    """One purpose of a Transcend record: only `true` grants, and only `false` denies.

    In a record of the browser, where `purposes` is an object, a yes counts only with `"confirmed": true`: otherwise it
    is a default. `"Auto"`, null and a purpose that is missing are unknown. With `topic`, a yes also needs that the
    topic's `booleanValue` is true: false denies, and a topic that is missing is unknown. Arrays are read as in
    `JsonListItem`; every topic of another kind than booleans is invalid if it is asked for.

    Args:
        column: the column with the record.
        purpose: the purpose's name, as in Transcend.
        topic: the name of a topic of the purpose, in a record of the Preference Store.
        path: the keys that lead to the record; empty if the column contains it.
    """

    is_standard: ClassVar[bool] = True

    column: str
    purpose: str
    topic: str | None = None
    path: Path = ()

    def __post_init__(self) -> None:
        require(
            [
                *document_problems(self.column, self.path, "TranscendPurpose"),
                *id_problems(self.purpose, "TranscendPurpose.purpose"),
                *([] if self.topic is None else id_problems(self.topic, "TranscendPurpose.topic")),
            ]
        )

    @property
    def document_part(self) -> DocumentPart:
        """The purpose, and whether the person confirmed it."""
        topics = DocumentPart(items=DocumentPart((("topic", SCALAR), ("choice", part_along(("booleanValue",))))))
        entry = [("purpose", SCALAR), ("enabled", SCALAR), *([("preferences", topics)] if self.topic else [])]
        purposes = DocumentPart(((self.purpose, SCALAR),), DocumentPart(tuple(entry)))
        return part_along(self.path, parts_together(part_along(("purposes",), purposes), part_along(("confirmed",))))

    def answer(self, document: object, walk: JsonWalk) -> ConsentStatus:
        """Return the status of the purpose."""
        record = walk.at(document, self.path)
        purposes = walk.member(record, "purposes")
        confirmed = truth(walk.member(record, "confirmed"))
        if isinstance(purposes, list):
            listed = walk.entries(purposes, ("purpose",), self.purpose)
            return agreed([self._stored(entry, walk) for entry in listed])
        chosen = walk.member(purposes, self.purpose)
        if chosen == _AUTO:
            return ConsentStatus.UNKNOWN
        found = choice_status(truth(chosen))
        if found is not ConsentStatus.GRANTED:
            return found
        return found if confirmed and self.topic is None else ConsentStatus.UNKNOWN

    def _stored(self, entry: object, walk: JsonWalk) -> ConsentStatus:
        """Return the status of the purpose's entry in a record of the Preference Store."""
        found = choice_status(truth(walk.member(entry, "enabled")))
        if self.topic is None:
            return found
        topics = walk.entries(walk.member(entry, "preferences"), ("topic",), self.topic)
        of_topic = agreed([choice_status(truth(walk.at(one, ("choice", "booleanValue")))) for one in topics])
        if of_topic is ConsentStatus.INVALID:
            raise UnreadableDocumentError
        return of_topic if found is ConsentStatus.GRANTED else found


@dataclass(frozen=True, slots=True)
class TranscendPurposes(WholeConsent):
    """A Transcend record for all categories, whose ids are Transcend's purposes. `path` as in `TranscendPurpose`."""

    column: str
    path: Path = ()

    def __post_init__(self) -> None:
        require(document_problems(self.column, self.path, "TranscendPurposes"))

    def for_category(self, category_id: str, name: str) -> TranscendPurpose:
        """Return the signal of one category."""
        return TranscendPurpose(self.column, category_id, path=self.path)
