"""A local Graph API of Meta: it refuses requests that Meta would refuse, and fails in Meta's own ways on request.

Shapes as in the wheel facebook-business 26.0.3, and as on the pages that the destinations cite, read 2026-11-29. The
server keeps errors of the client in `violations`, so that a test can assert that there were none.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from support.vendor_server import Asked, Reply, VendorServer, vendor_server

TOKEN = "EAAB-token-5f1c"
APP_SECRET = "app-secret-77d1"
AUDIENCE, DATASET = "120330000000042", "1234567890123"
VERSION = "v26.0"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HASHED = {"EMAIL", "PHONE", "FN", "LN", "GEN", "DOBY", "DOBM", "DOBD", "CT", "ST", "ZIP", "COUNTRY"}
_OPTIONS = ("DATA_PROCESSING_OPTIONS", "DATA_PROCESSING_OPTIONS_COUNTRY", "DATA_PROCESSING_OPTIONS_STATE")
_KEYS = {*_HASHED, "EXTERN_ID", "MADID", *_OPTIONS}
_HASHED_USER_DATA = {"em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country", "external_id"}
_PLAIN_USER_DATA = {"client_ip_address", "client_user_agent", "fbc", "fbp", "madid", "lead_id", "subscription_id"}
_SOURCES = {
    "email", "website", "app", "phone_call", "chat", "physical_store", "system_generated", "business_messaging",
    "other",
}  # fmt: skip
# An event that has only keys of one of these is invalid.
_TOO_BROAD = (
    {"ct", "country", "st", "zp", "ge", "client_user_agent"},
    {"db", "client_user_agent"},
    {"fn", "ge"},
    {"ln", "ge"},
)
_DAY_S = 86_400

User = tuple[tuple[str, str], ...]


@dataclass
class MetaApi:
    """The state of one audience and of one dataset.

    Args:
        script: replies instead of the usual ones, in order; None answers as usual. `Reply(0)` resets the connection.
        applies: whether a scripted reply comes after the request was applied.
        invalid: selects entries of an audience that Meta counts as invalid, without a name.
        refused_event: selects events because of which Meta refuses the whole request.
        flagged: Meta flagged the audience.
        usage: the document of the header `X-Business-Use-Case-Usage`; None: no header.
    """

    script: list[Reply | None] = field(default_factory=list)
    applies: bool = False
    invalid: Callable[[dict[str, Any]], bool] = lambda user: False
    refused_event: Callable[[dict[str, Any]], bool] = lambda event: False
    flagged: bool = False
    usage: object = None
    users: dict[User, list[Any]] = field(default_factory=dict)
    events: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    received: list[Asked] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    server: VendorServer | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    @property
    def removals(self) -> list[Asked]:
        return [one for one in self.received if one.method == "DELETE"]

    def answer(self, asked: Asked) -> Reply:
        reply = self._answer(asked)
        if self.usage is None or not reply.status:
            return reply
        return replace(reply, headers={**reply.headers, "X-Business-Use-Case-Usage": json.dumps(self.usage)})

    def _answer(self, asked: Asked) -> Reply:
        if wrong := _wrong_credentials(asked):
            return _error(190, wrong, status=401)
        if asked.path == f"/{VERSION}/me":
            return Reply(200, {"id": "7", "name": "system user"})
        body = asked.document
        self.received.append(asked)
        scripted = self.script.pop(0) if self.script else None
        if scripted is not None and not self.applies:
            return scripted
        if asked.path == f"/{VERSION}/{AUDIENCE}/users" and asked.method in {"POST", "DELETE"}:
            reply = self._change(asked.method, body)
        elif asked.path == f"/{VERSION}/{DATASET}/events" and asked.method == "POST":
            reply = self._take(body)
        else:
            reply = _error(100, f"Unsupported request {asked.method} {asked.path}", subcode=33)
        return reply if scripted is None else scripted

    def _change(self, method: str, body: dict[str, Any]) -> Reply:
        if self.flagged:
            return _error(100, "Invalid parameter", subcode=1713230)
        schema, data = body["payload"]["schema"], body["payload"]["data"]
        wrong = list(_wrong_audience(body, schema, data))
        if wrong:
            self.violations += wrong
            return _error(100, f"Data is missing or does not match schema: {data[0]}")
        users = [dict(zip(schema, values, strict=True)) for values in data]
        bad = [user for user in users if self.invalid(user)]
        for user in users:
            if user in bad:
                continue
            known = tuple((key, value) for key, value in user.items() if key not in _OPTIONS and value)
            if method == "POST":
                self.users[known] = [user.get(key) for key in _OPTIONS]
            else:
                self.users.pop(known, None)
        answer = {
            "audience_id": AUDIENCE,
            "session_id": str(body["session"]["session_id"]),
            "num_received": len(users),
            "num_invalid_entries": len(bad),
            "invalid_entry_samples": {str(row): json.dumps(user) for row, user in enumerate(bad)},
        }
        return Reply(200, answer)

    def _take(self, body: dict[str, Any]) -> Reply:
        events = body["data"]
        wrong = [problem for event in events for problem in _wrong_event(event)]
        if not 1 <= len(events) <= 1000:
            wrong.append(f"{len(events)} events")
        if wrong:
            self.violations += wrong
            return _error(100, f"Invalid parameter: {events[0]}", subcode=2804050)
        if any(self.refused_event(event) for event in events):
            return _error(100, f"Invalid parameter: {events[0]['user_data']}", subcode=2804050)
        for event in events:
            # A repeated event of one name and id counts once.
            self.events.setdefault((event["event_name"], event["event_id"]), event)
        return Reply(200, {"events_received": len(events), "messages": [], "fbtrace_id": "AbCdEfGhIjKlMnOpQrStUv1"})


def throttled() -> Reply:
    return _error(80003, "There have been too many calls to this ad-account", status=400)


def temporary() -> Reply:
    return _error(2, "Service temporarily unavailable", status=500, is_transient=True)


def refused() -> Reply:
    return _error(190, f"Error validating access token {TOKEN}", status=401)


def _error(code: int, message: str, *, subcode: int = 0, status: int = 400, is_transient: bool = False) -> Reply:
    error: dict[str, Any] = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "AbC"}
    if subcode:
        error |= {"error_subcode": subcode, "error_user_title": "Blocked", "error_user_msg": message}
    return Reply(status, {"error": error | {"is_transient": is_transient}})


def _wrong_credentials(asked: Asked) -> str:
    if asked.headers.get("authorization") != f"Bearer {TOKEN}":
        return "no valid token"
    proof = hmac.new(APP_SECRET.encode(), TOKEN.encode(), hashlib.sha256).hexdigest()
    given = asked.document.get("appsecret_proof") if asked.body else asked.query.get("appsecret_proof", [None])[0]
    return "" if given == proof else "API calls from the server require an appsecret_proof argument"


def _wrong_audience(body: dict[str, Any], schema: list[str], data: list[list[Any]]) -> Iterator[str]:
    session = body.get("session", {})
    if body.keys() - {"payload", "session", "appsecret_proof"}:
        yield f"unknown parameters {sorted(body)}"
    if not isinstance(session.get("session_id"), int) or (session.get("batch_seq"), session.get("last_batch_flag")) != (
        1,
        True,
    ):
        yield "a session that is not one"
    if not set(schema) <= _KEYS or len(set(schema)) != len(schema):
        yield f"schema {schema}"
    if not 1 <= len(data) <= 10_000:
        yield f"{len(data)} users"
    for values in data:
        if len(values) != len(schema):
            yield "a user with another number of values"
        for key, value in zip(schema, values, strict=False):
            if key in _HASHED and value and not _SHA256.fullmatch(value):
                yield f"{key} is not hashed"
        yield from _wrong_options([dict(zip(schema, values, strict=False)).get(key) for key in _OPTIONS])
        if not any(value for key, value in zip(schema, values, strict=False) if key not in _OPTIONS):
            yield "a user without an identifier"


def _wrong_options(options: list[Any]) -> Iterator[str]:
    chosen, country, state = options
    if chosen not in (None, [], ["LDU"]) or country not in (None, 0, 1):
        yield f"options {options}"
    if state not in (None, 0, *range(1000, 1014)) or (country == 1) != bool(state):
        yield f"a state that is none: {options}"


def _wrong_event(event: dict[str, Any]) -> Iterator[str]:
    user, source = event.get("user_data", {}), event.get("action_source")
    if not event.get("event_name") or not event.get("event_id"):
        yield "an event without a name or an id"
    if not isinstance(event.get("event_time"), int):
        yield "an event without a time"
    elif not -_DAY_S <= time.time() - event["event_time"] <= (62 if source == "physical_store" else 7) * _DAY_S:
        yield "an event that is too old"
    if source not in _SOURCES:
        yield f"action_source {source}"
    if source == "website" and not (event.get("event_source_url") and user.get("client_user_agent")):
        yield "a website event without its address or its browser"
    if None in user.values() or None in event.values() or None in event.get("custom_data", {}).values():
        yield "null"
    names = [name.lower() for name in _OPTIONS]
    yield from _wrong_options([event.get(name) for name in names])
    yield from _wrong_user_data(user)


def _wrong_user_data(user: dict[str, Any]) -> Iterator[str]:
    if user.keys() - _HASHED_USER_DATA - _PLAIN_USER_DATA or not user:
        yield f"user_data {sorted(user)}"
    if any(set(user) <= broad for broad in _TOO_BROAD):
        yield "an event that is too broad"
    for key in _HASHED_USER_DATA & user.keys():
        for value in user[key] if isinstance(user[key], list) else [user[key]]:
            if not _SHA256.fullmatch(value):
                yield f"{key} is not hashed"


def connection_to(api: MetaApi, *, conn_id: str = "local_meta") -> str:
    """Make the connection to a local server, and return its id."""
    extra = {"app_secret": APP_SECRET, "allow_private": True}
    connection = {"conn_type": "consentmeta", "host": api.url, "password": TOKEN, "extra": extra}
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)
    return conn_id


@contextmanager
def meta_api(**settings: Any) -> Iterator[MetaApi]:
    """Serve until the block ends, with a connection to the server."""
    api = MetaApi(**settings)
    with vendor_server(api.answer) as server:
        api.server = server
        connection_to(api)
        yield api
    assert api.violations == []
