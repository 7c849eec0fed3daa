"""The contract, kept by Customer Match: the official client against a local server that speaks the API."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import ClassVar

import pyarrow as pa
import pytest
from google.ads.datamanager_v1 import types
from google.rpc import code_pb2
from support.customer_match import destination_of
from support.data_manager_server import DataManager, Ending, Fault, Identifier, data_manager, identifiers_of

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.destinations.google_customer_match.destination import GoogleCustomerMatchDestination
from airflow_consent_retl.testing import DestinationContract, Person, StandIn

ALWAYS = 1000
NOBODY_KNOWS = 77


class AudienceStandIn(StandIn):
    """An audience tells nobody's values, only whether somebody with exactly these is in it."""

    impossible: ClassVar[Mapping[str, str]] = {
        "overwriting": "an audience keeps all that somebody was added with: changes remove the old values first",
        "swallowed_removal": "an audience cannot be read, so that only Google's own answer says what was removed",
        "secrets": "a local server takes anonymous calls; the destination is handed a client, and no credentials",
    }
    key_field = None
    text_field = "given_name"

    def __init__(self, google: DataManager) -> None:
        self._google = google
        self._texts: dict[str, str] = {}

    def destination(self) -> Destination:
        return destination_of(self._google)

    def rows(self, people: Sequence[Person]) -> pa.Table:
        self._texts.update({person.id: person.text for person in people})
        columns = {
            "email": [email(person.id) for person in people],
            "given_name": [person.text for person in people],
            "family_name": [name(person.id) for person in people],
            "region_code": ["DE"] * len(people),
            "postal_code": ["10115"] * len(people),
        }
        return pa.table({field: pa.array(column, pa.string()) for field, column in columns.items()})

    def stored(self) -> Sequence[Person]:
        there = []
        for person, text in self._texts.items():
            known: set[Identifier] = {("email", digest(email(person)))}
            expected = set(known)
            if text.strip():
                expected.add(("address", digest(text.strip().lower()), digest(name(person)), "DE", "10115"))
            found = expected & self._google.audience
            if found:
                # Without an address, the audience has no text of the person.
                there.append(Person(person, text if found == expected else "" if found == known else "in parts"))
        return there

    def takes(self, kind: pa.DataType) -> bool:
        # A member has the fields that Google knows, and no others.
        return False

    def requests(self) -> int:
        return len(self._google.received)

    def applied_then_timeout(self) -> None:
        self._google.script = [Fault(code_pb2.UNAVAILABLE, apply=True)] * ALWAYS

    def unreadable_answer(self) -> None:
        self._google.endings = [Ending(NOBODY_KNOWS)] * ALWAYS

    def unavailable(self) -> None:
        self._google.script = [Fault(code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMIT_EXCEEDED", retry_after_s=0.01)] * ALWAYS

    def refused(self) -> None:
        self._google.script = [Fault(code_pb2.PERMISSION_DENIED, "PERMISSION_DENIED")] * ALWAYS

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        self._refuse(refused)
        return self.rows(people)

    def partial_removal(self, held: Collection[str]) -> None:
        self._refuse(held)

    def recover(self) -> None:
        self._google.script = []
        self._google.endings = []

    def _refuse(self, ids: Collection[str]) -> None:
        hashes = {digest(email(person)) for person in ids}

        def malformed(member: types.AudienceMember) -> bool:
            return any(identifier[1] in hashes for identifier in identifiers_of(member))

        self._google.malformed = malformed


def name(person: str) -> str:
    """Return a name that is different for each id, whatever characters it has."""
    return person if re.fullmatch(r"canary7f3a-[0-9]+", person) else person.encode().hex()


def email(person: str) -> str:
    return f"{name(person)}@example.com"


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


class TestGoogleCustomerMatch(DestinationContract):
    destination_class = GoogleCustomerMatchDestination

    @pytest.fixture
    def stand_in(self) -> Iterator[StandIn]:
        with data_manager(polls=1) as google:
            yield AudienceStandIn(google)
        assert google.violations == []
