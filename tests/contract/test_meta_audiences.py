"""The contract, kept by Meta's audiences: HTTP against a local Graph API that checks each request."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from support.meta_server import APP_SECRET, AUDIENCE, TOKEN, MetaApi, meta_api, refused, throttled
from support.vendor_server import Reply

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.destinations.meta_audiences.destination import MetaAudienceDestination
from airflow_consent_retl.destinations.meta_audiences.options import MetaAudienceSpec
from airflow_consent_retl.testing import DestinationContract, Person, StandIn
from airflow_consent_retl.values.identifier_forms import letters

ALWAYS = 1000


class MetaAudienceStandIn(StandIn):
    """An audience has only hashes: whether a person is there is known from the values that were sent."""

    impossible: ClassVar[Mapping[str, str]] = {
        "overwriting": "an audience keeps all that a person was added with: changes remove the old values first",
        "swallowed_removal": "an audience cannot be read, so only Meta's own answer shows what was removed",
    }
    key_field = "external_id"
    text_field = "first_name"

    def __init__(self, meta: MetaApi) -> None:
        self._meta = meta
        self._texts: dict[tuple[str, str], str] = {}

    def destination(self) -> Destination:
        return MetaAudienceSpec(
            conn_id="local_meta",
            audience_id=AUDIENCE,
            on_withdrawal="leave_audience",
            timeout_s=20,
            max_attempts=3,
            backoff_s=0.01,
        ).build()

    def rows(self, people: Sequence[Person]) -> pa.Table:
        self._texts.update({(name(person.id), digest(person.text)): person.text for person in people})
        columns = {
            "external_id": [name(person.id) for person in people],
            "first_name": [person.text for person in people],
        }
        return pa.table({field: pa.array(column, pa.string()) for field, column in columns.items()})

    def stored(self) -> Sequence[Person]:
        found = []
        for user in self._meta.users:
            known = dict(user)
            person = known["EXTERN_ID"]
            text = self._texts[person, known.get("FN", "")]
            found.append(Person(person if person.startswith("canary") else bytes.fromhex(person).decode(), text))
        return found

    def takes(self, kind: pa.DataType) -> bool:
        # A user has the fields that Meta knows, and no others.
        return False

    def secrets(self) -> Sequence[str]:
        return [TOKEN, APP_SECRET]

    def requests(self) -> int:
        return len(self._meta.received)

    def applied_then_timeout(self) -> None:
        self._meta.script, self._meta.applies = [Reply(0)] * ALWAYS, True

    def unreadable_answer(self) -> None:
        self._meta.script, self._meta.applies = [Reply(200, {"audience_id": AUDIENCE})] * ALWAYS, True

    def unavailable(self) -> None:
        self._meta.script, self._meta.applies = [throttled()] * ALWAYS, False

    def refused(self) -> None:
        self._meta.script, self._meta.applies = [refused()] * ALWAYS, False

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        self._refuse(refused)
        return self.rows(people)

    def partial_removal(self, held: Collection[str]) -> None:
        self._refuse(held)

    def recover(self) -> None:
        self._meta.script.clear()

    def _refuse(self, ids: Collection[str]) -> None:
        names = {name(person) for person in ids}

        def invalid(user: dict[str, Any]) -> bool:
            return user["EXTERN_ID"] in names

        self._meta.invalid = invalid


def name(person: str) -> str:
    """Return a name that is different for each id, whatever characters it has."""
    return person if re.fullmatch(r"canary7f3a-[0-9]+", person) else person.encode().hex()


def digest(text: str) -> str:
    normalised = letters(text) if text.strip() else None
    return "" if normalised is None else sha256(normalised.encode()).hexdigest()


class TestMetaAudience(DestinationContract):
    destination_class = MetaAudienceDestination

    @pytest.fixture
    def stand_in(self) -> Iterator[StandIn]:
        with meta_api() as meta:
            yield MetaAudienceStandIn(meta)
