"""OneTrust's purposes of Universal Consent, as webhooks of the event 3010 write them.

    {"payload": {"profiles": [{"purposeId": "3e90…", "profileFields": {"TransactionStatus": "ACTIVE"},
                               "topics": [{"topicGuid": "6ed6…", "integrationKey": "social", "value": true}]}]}}

The schema of the webhook: https://github.com/segmentio/segment-docs (`catalog/cloud-apps/onetrust`, read on 29 November
2026). The statuses: https://developer.onetrust.com/onetrust/reference/getdatasubjectprofilev4 (not read again).
OneTrust's events may arrive out of order: give the time of the event to `ConsentSource`, not that of its arrival.
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
    choice_status,
    document_problems,
    expiry_of,
    id_problems,
    objects_of,
    status_in,
    truth,
)
from airflow_consent_retl.consent.literal_values import LiteralValues
from airflow_consent_retl.consent.signals import ConsentStatus, WholeConsent, require

# `NOT_OPTED_OUT` says that the person did not object: it is no yes, and permits where silence permits.
STATUSES = LiteralValues(
    ("ACTIVE",), ("WITHDRAWN", "NO_CONSENT", "OPT_OUT", "HARD_OPT_OUT"), ("PENDING", "NOT_OPTED_OUT"), ("EXPIRED",)
)
_STATUS = ("profileFields", "TransactionStatus")
_TOPIC_KEYS = ("integrationKey", "topicGuid")


@dataclass(frozen=True, slots=True)
class OneTrustPurpose(JsonLookup):
    """One purpose of a webhook: only the status `ACTIVE` grants.

    `WITHDRAWN`, `NO_CONSENT`, `OPT_OUT` and `HARD_OPT_OUT` deny; `EXPIRED` is expired. `PENDING`, which waits for the
    second step of a double opt-in, and `NOT_OPTED_OUT` are unknown. Any other status is invalid. With `topic`, a yes
    also needs that the topic's value is true: false denies, and a topic that is missing is unknown. Arrays are read as
    in `JsonListItem`.

    Args:
        column: the column with the webhook.
        purpose: the id of the purpose.
        topic: the integration key or the GUID of a topic that the destination needs.
        path: the keys that lead to the array of profiles.
    """

    is_standard: ClassVar[bool] = True

    column: str
    purpose: str
    topic: str | None = None
    path: Path = ("payload", "profiles")

    def __post_init__(self) -> None:
        require(
            [
                *document_problems(self.column, self.path, "OneTrustPurpose"),
                *id_problems(self.purpose, "OneTrustPurpose.purpose"),
                *([] if self.topic is None else id_problems(self.topic, "OneTrustPurpose.topic")),
            ]
        )

    @property
    def expiring(self) -> tuple[str, ...]:
        """The answer of a consent that has expired."""
        return expiry_of(STATUSES)

    @property
    def document_part(self) -> DocumentPart:
        """The status of every purpose, with its topics if one is asked for."""
        topic = DocumentPart(tuple((key, SCALAR) for key in (*_TOPIC_KEYS, "value")))
        keys = [("purposeId", SCALAR), ("profileFields", part_along(("TransactionStatus",)))]
        if self.topic is not None:
            keys.append(("topics", DocumentPart(items=topic)))
        return part_along(self.path, DocumentPart(items=DocumentPart(tuple(keys))))

    def answer(self, document: object, walk: JsonWalk) -> ConsentStatus:
        """Return the status of the purpose."""
        profiles = walk.entries(walk.at(document, self.path), ("purposeId",), self.purpose)
        return agreed([self._status(profile, walk) for profile in profiles])

    def _status(self, profile: object, walk: JsonWalk) -> ConsentStatus:
        found = status_in(STATUSES, walk.at(profile, _STATUS))
        if self.topic is None or found is ConsentStatus.INVALID:
            return found
        of_topic = agreed(self._topics(walk.member(profile, "topics"), self.topic, walk))
        if of_topic is ConsentStatus.INVALID:
            raise UnreadableDocumentError
        return of_topic if found is ConsentStatus.GRANTED else found

    def _topics(self, topics: object, topic: str, walk: JsonWalk) -> list[ConsentStatus]:
        found = []
        for entry in objects_of(topics):
            names = [walk.member(entry, key) for key in _TOPIC_KEYS]
            if not all(isinstance(name, str | None) for name in names):
                raise UnreadableDocumentError
            if topic in names:
                found.append(choice_status(truth(walk.member(entry, "value"))))
            else:
                walk.missed(topic, [name for name in names if isinstance(name, str)])
        return found


@dataclass(frozen=True, slots=True)
class OneTrustPurposes(WholeConsent):
    """A webhook for all categories, whose ids are those of purposes. `path` as in `OneTrustPurpose`."""

    column: str
    path: Path = ("payload", "profiles")

    def __post_init__(self) -> None:
        require(document_problems(self.column, self.path, "OneTrustPurposes"))

    def for_category(self, category_id: str, name: str) -> OneTrustPurpose:
        """Return the signal of one category."""
        return OneTrustPurpose(self.column, category_id, path=self.path)
