"""A local HubSpot: contacts and subscriptions of version 2026-09, each request in the shape of the specification.

The shapes are those of `HubSpot/HubSpot-public-api-spec-collection@9989379`; `required` fields have no default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import Struct
from support.vendor_api import RefusedCallError, VendorApi
from support.vendor_server import Asked, Reply

CONTACTS = "/crm/objects/2026-09/contacts"
STATUSES = "/communication-preferences/2026-09/statuses/batch"
UNIQUE = ("email", "customer_id")
MOST = 100
TOKEN_PATH = "/oauth/2026-09/token"
APP = {
    "grant_type": "refresh_token",
    "client_id": "app-41",
    "client_secret": "app-secret-7d",
    "refresh_token": "refresh-5e02",
}
_TEN_SECONDS = {"policyName": "TEN_SECONDLY_ROLLING"}
_AT = "2026-11-29T09:00:00.000Z"
LegalBasis = Literal[
    "CONSENT_WITH_NOTICE", "LEGITIMATE_INTEREST_CLIENT", "LEGITIMATE_INTEREST_OTHER", "LEGITIMATE_INTEREST_PQL",
    "NON_GDPR", "PERFORMANCE_OF_CONTRACT", "PROCESS_AND_STORE",
]  # fmt: skip


class RecordId(Struct, forbid_unknown_fields=True):
    id: str


class RecordIds(Struct, forbid_unknown_fields=True):
    inputs: list[RecordId]


class Input(Struct, forbid_unknown_fields=True, rename="camel"):
    id: str
    properties: dict[str, str]
    id_property: str | None = None
    object_write_trace_id: str | None = None


class Inputs(Struct, forbid_unknown_fields=True):
    inputs: list[Input]


class Reading(Struct, forbid_unknown_fields=True, rename="camel"):
    inputs: list[RecordId]
    properties: list[str]
    properties_with_history: list[str]
    id_property: str | None = None


class Deletion(Struct, forbid_unknown_fields=True, rename="camel"):
    object_id: str
    id_property: str | None = None


class Addresses(Struct, forbid_unknown_fields=True):
    inputs: list[str]


class State(Struct, forbid_unknown_fields=True, rename="camel"):
    channel: Literal["EMAIL"]
    status_state: Literal["SUBSCRIBED", "UNSUBSCRIBED", "NOT_SPECIFIED"]
    subscriber_id_string: str
    subscription_id: int
    legal_basis: LegalBasis | None = None
    legal_basis_explanation: str | None = None


class States(Struct, forbid_unknown_fields=True):
    inputs: list[State]


@dataclass
class HubSpot(VendorApi):
    """An account.

    Attributes:
        contacts: the properties of each contact, by the id of its record.
        archived: likewise, of those in the recycling bin.
        states: of subscriptions, by address and id.
        opted_out: addresses that are opted out of all e-mail.
        subscriptions: the ids that the account has.
        refused: identifiers whose contacts it refuses to write, and records that it refuses to delete.
        blocked: addresses that a deletion did not find: they can never be contacts.
    """

    contacts: dict[str, dict[str, str]] = field(default_factory=dict)
    archived: dict[str, dict[str, str]] = field(default_factory=dict)
    states: dict[tuple[str, int], State] = field(default_factory=dict)
    opted_out: set[str] = field(default_factory=set)
    subscriptions: Sequence[int] = (11, 12)
    refused: set[str] = field(default_factory=set)
    blocked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self._next = 1000
        self.token_calls: list[dict[str, str]] = []

    def take(self, call: Asked) -> Reply:
        return self._token(call) if call.path == TOKEN_PATH else super().take(call)

    def _token(self, call: Asked) -> Reply:
        """Answer an app in the form of OAuth 2026-09: everything is in the body."""
        self.token_calls.append(call.form)
        self.expect(call.headers.get("content-type") == "application/x-www-form-urlencoded", "no form")
        self.expect("authorization" not in call.headers and not call.query, "a secret outside of the body")
        if call.form != APP:
            return Reply(400, {"error": "invalid_grant", "message": f"no such token: {call.form['refresh_token']}"})
        answer = {"access_token": self.token, "token_type": "bearer", "expires_in": 1800, "hub_id": 7001}
        return Reply(200, {**answer, "refresh_token": APP["refresh_token"]})

    def answer(self, call: Asked) -> Reply:
        routes: dict[str, Callable[[Asked], Reply]] = {
            f"{CONTACTS}/batch/upsert": self._upsert,
            f"{CONTACTS}/batch/update": self._update,
            f"{CONTACTS}/batch/read": self._read,
            f"{CONTACTS}/batch/archive": self._archive,
            f"{CONTACTS}/gdpr-delete": self._delete,
            f"{STATUSES}/read": self._states_of,
            f"{STATUSES}/write": self._write,
            f"{STATUSES}/unsubscribe-all/read": self._wide,
            f"{STATUSES}/unsubscribe-all": self._opt_out,
        }
        if call.method == "GET" and call.path == "/account-info/2026-09/details":
            return Reply(200, {"portalId": 7001})
        if call.method != "POST" or call.path not in routes:
            self.violations.append(f"{call.method} {call.path} is not in the specification")
            return Reply(404, failure("OBJECT_NOT_FOUND", "no such endpoint"))
        return routes[call.path](call)

    def by(self, name: str, text: str) -> str | None:
        """Return the record of the contact with a unique value."""
        fold = str.casefold if name == "email" else str
        found = [record for record, one in self.contacts.items() if fold(one.get(name, "")) == fold(text)]
        return found[0] if found else None

    def _upsert(self, call: Asked) -> Reply:
        inputs = self.shaped(call, Inputs).inputs
        self._batch(
            [f"{one.id_property} {one.id.casefold() if one.id_property == 'email' else one.id}" for one in inputs]
        )
        traces = [one.object_write_trace_id for one in inputs]
        self.expect(len(set(traces)) == len(traces) and None not in traces, "trace ids that are not unique")
        results, errors = [], []
        for one in inputs:
            self.expect(one.id_property in UNIQUE, "an upsert needs a unique property")
            name = str(one.id_property)
            record = self.by(name, one.id)
            if one.id in self.refused or (name == "email" and one.id in self.blocked):
                errors.append(self._error(one))
                continue
            is_new = record is None
            if record is None:
                self._next += 1
                record = str(self._next)
                self.contacts[record] = {}
            self.contacts[record] |= {**one.properties, name: one.id}
            results.append(self._result(record, one.object_write_trace_id, new=is_new))
        return batch_answer(results, errors)

    def _update(self, call: Asked) -> Reply:
        inputs = self.shaped(call, Inputs).inputs
        self._batch([one.id for one in inputs])
        results, errors = [], []
        for one in inputs:
            self.expect(one.id_property in {None, *UNIQUE}, "an update by a property that is not unique")
            record = one.id if one.id_property is None else self.by(one.id_property, one.id)
            if record is None or record not in self.contacts or one.id in self.refused:
                is_there = record is not None and record in self.contacts
                errors.append(self._error(one, "VALIDATION_ERROR" if is_there else "OBJECT_NOT_FOUND"))
                continue
            self.contacts[record] |= one.properties
            results.append(self._result(record, one.object_write_trace_id))
        return batch_answer(results, errors)

    def _read(self, call: Asked) -> Reply:
        asked = self.shaped(call, Reading)
        ids = [one.id for one in asked.inputs]
        self._batch(ids)
        found = {text: self.by(str(asked.id_property), text) for text in ids}
        results = [
            self._result(record, None, only=[*asked.properties, "email"])
            for record in found.values()
            if record is not None
        ]
        missing = [text for text, record in found.items() if record is None]
        error = {**failure("OBJECT_NOT_FOUND", f"no {missing}"), "status": "error", "context": {"ids": missing}}
        return batch_answer(results, [error] if missing else [])

    def _archive(self, call: Asked) -> Reply:
        ids = [one.id for one in self.shaped(call, RecordIds).inputs]
        self._batch(ids)
        self.archived |= {record: self.contacts.pop(record) for record in ids if record in self.contacts}
        return Reply(204)

    def _delete(self, call: Asked) -> Reply:
        asked = self.shaped(call, Deletion)
        if asked.id_property == "email" and self.by("email", asked.object_id) is None:
            self.blocked.add(asked.object_id)
            return Reply(204)
        if asked.object_id in self.refused:
            return Reply(400, failure("VALIDATION_ERROR", f"{self.contacts.get(asked.object_id)} has to stay"))
        self.contacts.pop(asked.object_id, None)
        return Reply(204)

    def _states_of(self, call: Asked) -> Reply:
        return batch_answer(
            [
                {"subscriberIdString": email, "statuses": [self._state(email, number) for number in self.subscriptions]}
                for email in self._emails(call)
            ]
        )

    def _wide(self, call: Asked) -> Reply:
        results = []
        for email in self._emails(call):
            wide = {"channel": "EMAIL", "status": "UNSUBSCRIBED", "subscriberIdString": email, "timestamp": _AT}
            statuses = [{**wide, "wideStatusType": "PORTAL_WIDE"}] if email in self.opted_out else []
            results.append({"subscriberIdString": email, "wideStatuses": statuses})
        return batch_answer(results)

    def _write(self, call: Asked) -> Reply:
        inputs = self.shaped(call, States).inputs
        self._batch([f"{one.subscriber_id_string} {one.subscription_id}" for one in inputs])
        results, errors = [], []
        for one in inputs:
            if one.subscription_id not in self.subscriptions:
                errors.append({**failure("VALIDATION_ERROR", f"{one.subscriber_id_string} cannot"), "status": "error"})
                continue
            self.states[one.subscriber_id_string, one.subscription_id] = one
            results.append(self._state(one.subscriber_id_string, one.subscription_id))
        return batch_answer(results, errors)

    def _opt_out(self, call: Asked) -> Reply:
        emails = self._emails(call)
        self.opted_out |= set(emails)
        return batch_answer([{"subscriberIdString": email} for email in emails])

    def _emails(self, call: Asked) -> list[str]:
        self.expect(call.query.get("channel") == ["EMAIL"], "no channel")
        emails = self.shaped(call, Addresses).inputs
        self._batch(emails)
        return [email.casefold() for email in emails]

    def _state(self, email: str, number: int) -> dict[str, Any]:
        state = self.states.get((email, number))
        return {
            "channel": "EMAIL",
            "source": "Public Status API",
            "status": "NOT_SPECIFIED" if state is None else state.status_state,
            "subscriberIdString": email,
            "subscriptionId": number,
            "timestamp": _AT,
        }

    def _batch(self, keys: Sequence[str]) -> None:
        self.expect(0 < len(keys) <= MOST, f"{len(keys)} inputs in a batch")
        if len(set(keys)) != len(keys):
            self.violations.append("an input occurs twice")
            raise RefusedCallError(Reply(400, failure("VALIDATION_ERROR", "Duplicate IDs found in batch input")))

    def _result(
        self, record: str, trace: str | None, *, new: bool | None = None, only: Sequence[str] | None = None
    ) -> dict[str, Any]:
        one = self.contacts[record]
        result: dict[str, Any] = {
            "id": record,
            "archived": False,
            "createdAt": _AT,
            "updatedAt": _AT,
            "properties": one if only is None else {name: one.get(name) for name in only},
        }
        return result | ({} if trace is None else {"objectWriteTraceId": trace}) | ({} if new is None else {"new": new})

    def _error(self, one: Input, category: str = "VALIDATION_ERROR") -> dict[str, Any]:
        quoting = f"Property values were not valid: {one.id} {one.properties}"
        context = {"objectWriteTraceId": [str(one.object_write_trace_id)], "propertyName": [*one.properties][:1]}
        return {**failure(category, quoting), "status": "error", "context": context}


def failure(category: str, message: str) -> dict[str, Any]:
    return {
        "status": "error", "message": message, "category": category, "context": {}, "errors": [], "links": {},
        "correlationId": "aeb5f871-7f07-4993-9211-075dc63e7cbf",
    }  # fmt: skip


def batch_answer(results: Sequence[object], errors: Sequence[object] = ()) -> Reply:
    document = {"status": "COMPLETE", "results": results, "startedAt": _AT, "completedAt": _AT}
    return Reply(207, {**document, "errors": errors, "numErrors": len(errors)}) if errors else Reply(200, document)


def limited(_: Asked, __: Callable[[], Reply]) -> Reply:
    """Refuse a call, since the account has used up its interval; HubSpot names its length, and no time to wait."""
    document = {**failure("RATE_LIMITS", "You have reached your ten_secondly_rolling limit."), **_TEN_SECONDS}
    return Reply(429, document, {"X-HubSpot-RateLimit-Interval-Milliseconds": "10"})


def daily_limit(_: Asked, __: Callable[[], Reply]) -> Reply:
    """Refuse a call, since the account has used up its day."""
    document = {**failure("RATE_LIMITS", "You have reached your daily limit."), "policyName": "DAILY"}
    return Reply(429, document)


def bad_token(call: Asked, _: Callable[[], Reply]) -> Reply:
    """Refuse a call, and quote its token."""
    return Reply(401, failure("INVALID_AUTHENTICATION", f"{call.headers['authorization']} is not valid"))
