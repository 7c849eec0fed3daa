"""A vendor's connections: each way to authenticate, tokens that are renewed, and secrets that no one sees."""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from destinations.http.acme_crm import AcmeCrmDestination, AcmeCrmSpec
from support.vendor_server import Asked, Reply, VendorServer, vendor_server

from airflow_consent_retl.contract import Batch, Load
from airflow_consent_retl.destinations.http.address import HttpAddress
from airflow_consent_retl.destinations.http.vendor import Vendor, vendor_address
from airflow_consent_retl.destinations.http.vendor_auth import BEARER, ApiKey, LoginAndPassword, OAuth2
from airflow_consent_retl.destinations.http.vendor_hook import VendorHook
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError

SCHEMA = pa.schema([("id", pa.string())])
LOAD = Load(
    key="0" * 64,
    destination="acme",
    model="customers",
    schema=SCHEMA,
    key_field="id",
    rows=1,
    decided_at=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
)
BATCHES = [Batch(key=f"{number:064x}", rows=pa.record_batch([[f"u{number}"]], schema=SCHEMA)) for number in range(9)]

ACME = Vendor(
    conn_type="consentacme",
    name="Acme",
    hook="destinations.http.test_vendor.AcmeHook",
    host="https://api.acme.example/v2",
    authentication=BEARER,
    headers={"Acme-Version": "2026-11"},
    test="GET /me",
)
OAUTH = replace(ACME, authentication=OAuth2(grant="client_credentials", token_url="/oauth/token"))
REFRESH = replace(ACME, authentication=OAuth2(grant="refresh_token", token_url="/oauth/token", client_in="header"))


class AcmeHook(VendorHook):
    """A hook for connections to Acme."""

    vendor = ACME


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that defines the connection `acme`."""

    def define(*, extra: dict[str, Any] | None = None, **fields: Any) -> None:
        whole = {"conn_type": "consentacme", "password": "secret-1d77", **fields, "extra": extra or {}}
        monkeypatch.setenv("AIRFLOW_CONN_ACME", json.dumps(whole))

    return define


def headers_of(address: HttpAddress) -> dict[str, str]:
    return {**address.headers, **address.api_headers}


def deliver(address: HttpAddress, batches: list[Batch], *, threads: int = 1) -> int:
    """Send these batches, and return how many rows were accepted."""
    options = AcmeCrmSpec(conn_id="acme", timeout_s=10, max_attempts=3, backoff_s=0.01, concurrency=threads)
    destination = AcmeCrmDestination(address, options)
    destination.open(LOAD)
    try:
        with ThreadPoolExecutor(threads) as pool:
            return sum(1 for outcomes in pool.map(destination.send, batches) if outcomes[0].status == "accepted")
    finally:
        destination.commit()


class Authorizer:
    """Gives tokens, and refuses those that it did not give, that are over, or that were revoked."""

    def __init__(self, *, life_s: float | None = 3600, answer: Reply | None = None) -> None:
        self.life_s = life_s
        self.answer = answer
        self.valid: set[str] = set()
        self.revoked: set[str] = set()
        self.numbers = itertools.count(1)
        self.after_request: Callable[[], None] = lambda: None

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/oauth/token":
            if self.answer is not None:
                return self.answer
            token = f"token-{next(self.numbers)}-c4a1"
            self.valid.add(token)
            end = {} if self.life_s is None else {"expires_in": self.life_s}
            return Reply(200, {"access_token": token, "token_type": "bearer", "refresh_token": f"next-{token}", **end})
        if asked.headers.get("authorization", "").removeprefix("Bearer ") not in self.valid - self.revoked:
            return Reply(401, {"message": "no such token"})
        self.after_request()
        return Reply(200, {"results": [{"status": "ok"} for _ in asked.document["rows"]]})


@pytest.mark.parametrize(
    ("authentication", "fields", "headers"),
    [
        (BEARER, {}, {"Authorization": "Bearer secret-1d77"}),
        (ApiKey(header="X-Key"), {}, {"X-Key": "secret-1d77"}),
        (ApiKey(prefix="Acme-API-Key "), {}, {"Authorization": "Acme-API-Key secret-1d77"}),
        (
            LoginAndPassword(),
            {"login": "site-7"},
            {"Authorization": "Basic " + base64.b64encode(b"site-7:secret-1d77").decode()},
        ),
    ],
)
def test_each_way_to_authenticate_makes_its_header(
    connect: Callable[..., None], authentication: Any, fields: dict[str, str], headers: dict[str, str]
) -> None:
    connect(**fields)

    address = vendor_address("acme", replace(ACME, authentication=authentication), "/contacts")

    assert headers_of(address) == {**headers, "Acme-Version": "2026-11"}
    assert f"{address.origin}{address.target}" == "('https', 'api.acme.example', 443)/v2/contacts"
    assert address.at("/lists/7").path == "/v2/lists/7"
    assert "secret-1d77" not in repr(address)
    # The version of the API is no part of the place: a new one would look like another target.
    assert address.place_headers == {}


@pytest.mark.parametrize(
    ("vendor", "fields", "message"),
    [
        (ACME, {"conn_type": "http"}, "is of type `http`, Acme needs `consentacme`"),
        (ACME, {"password": ""}, r"the Access token of connection `acme` \(password\) is missing"),
        (ACME, {"password": "hunter2\n"}, "is not valid: it has spaces"),
        (ACME, {"extra": {"token": "hunter2"}}, "unknown keys in the extra of connection `acme`: token; an HTTP"),
        (replace(ACME, host=None), {}, "connection `acme` has no host: each account of Acme has one of its own"),
        (replace(ACME, authentication=LoginAndPassword(login="Site id")), {}, "the Site id of connection `acme`"),
        (OAUTH, {}, r"the Client id of connection `acme` \(login\) is missing"),
        (REFRESH, {"login": "app"}, "has no refresh token"),
        (OAUTH, {"login": "app", "extra": {"token_url": "ftp://hunter2"}}, "scheme `https` or `http` in `token_url`"),
        (OAUTH, {"login": "app", "extra": {"token_url": "https://a:hunter2@acme.example"}}, "`token_url` of conn"),
    ],
)
def test_a_connection_that_is_not_usable_is_refused_without_its_secret(
    connect: Callable[..., None], vendor: Vendor, fields: dict[str, Any], message: str
) -> None:
    connect(**fields)

    with pytest.raises(ConfigurationError, match=message) as refused:
        vendor_address("acme", vendor, "/contacts")

    assert "hunter2" not in str(refused.value)
    assert "secret-1d77" not in str(refused.value)


def with_tokens(connect: Callable[..., None], server: VendorServer, vendor: Vendor = OAUTH) -> HttpAddress:
    refresh = {"refresh_token": "first-90b2"} if vendor is REFRESH else {}
    connect(host=server.url, login="app-7", extra={"allow_private": True, **refresh})
    return vendor_address("acme", vendor, "/contacts")


def test_threads_share_one_token_that_is_asked_for_with_the_first_request(connect: Callable[..., None]) -> None:
    authorizer = Authorizer()
    with vendor_server(authorizer) as server:
        address = with_tokens(connect, server)
        assert server.asked == []

        assert deliver(address, BATCHES, threads=4) == len(BATCHES)

        (token,) = server.of("/oauth/token")
        assert token.form == {
            "grant_type": "client_credentials",
            "client_id": "app-7",
            "client_secret": "secret-1d77",
        }
        assert "authorization" not in token.headers
        assert {one.headers["authorization"] for one in server.of("/contacts")} == {"Bearer token-1-c4a1"}


def test_a_token_is_renewed_before_it_expires(connect: Callable[..., None]) -> None:
    authorizer = Authorizer(life_s=0.2)
    with vendor_server(authorizer) as server:
        address = with_tokens(connect, server)
        authorizer.after_request = lambda: time.sleep(0.19)

        deliver(address, BATCHES[:2])

        # Each request carries a token of its own, and none was refused.
        assert [one.headers["authorization"] for one in server.of("/contacts")] == [
            "Bearer token-1-c4a1",
            "Bearer token-2-c4a1",
        ]


@pytest.mark.parametrize("life_s", [3600, None])
def test_a_token_that_is_refused_is_renewed_once_and_its_rows_are_sent_again(
    connect: Callable[..., None], life_s: float | None
) -> None:
    authorizer = Authorizer(life_s=life_s)
    with vendor_server(authorizer) as server:
        address = with_tokens(connect, server, REFRESH)
        authorizer.after_request = lambda: authorizer.revoked.add("token-1-c4a1")

        assert deliver(address, BATCHES[:2]) == 2

        first, second = server.of("/oauth/token")
        assert first.headers["authorization"] == "Basic " + base64.b64encode(b"app-7:secret-1d77").decode()
        assert first.form == {"grant_type": "refresh_token", "refresh_token": "first-90b2"}
        # The vendor replaced the refresh token.
        assert second.form["refresh_token"] == "next-token-1-c4a1"
        assert len(server.of("/contacts")) == 3


@pytest.mark.parametrize("ends_the_old_one", [True, False])
def test_a_refresh_token_that_the_vendor_replaces_is_named_and_the_next_load_works_only_if_the_old_one_lives(
    connect: Callable[..., None], caplog: pytest.LogCaptureFixture, ends_the_old_one: bool
) -> None:
    authorizer, valid = Authorizer(), {"first-90b2"}

    def rotating(asked: Asked) -> Reply:
        if asked.path == "/oauth/token":
            if asked.form["refresh_token"] not in valid:
                return Reply(400, {"error": "invalid_grant", "error_description": "first-90b2"})
            valid.difference_update(valid if ends_the_old_one else ())
            reply = authorizer(asked)
            valid.add(reply.content["refresh_token"])
            return reply
        return authorizer(asked)

    with vendor_server(rotating) as server:
        assert deliver(with_tokens(connect, server, REFRESH), BATCHES[:1]) == 1
        (warning,) = [one.getMessage() for one in caplog.records if "new refresh token" in one.getMessage()]
        assert "connection `acme` gave a new refresh token, which cannot be stored" in warning

        address = with_tokens(connect, server, REFRESH)
        if ends_the_old_one:
            with pytest.raises(DestinationError, match=r"not any more\. A vendor that replaces refresh tokens"):
                deliver(address, BATCHES[:1])
        else:
            assert deliver(address, BATCHES[:1]) == 1
        assert len(server.of("/contacts")) == (1 if ends_the_old_one else 2)
    assert "first-90b2" not in caplog.text
    assert "next-token" not in caplog.text


def test_a_new_token_that_is_refused_as_well_stops_the_load(connect: Callable[..., None]) -> None:
    authorizer = Authorizer()
    with vendor_server(authorizer) as server:
        address = with_tokens(connect, server)
        authorizer.revoked = {f"token-{number}-c4a1" for number in range(9)}

        with pytest.raises(DestinationError, match="refuses every request with 401"):
            deliver(address, BATCHES[:1])

        assert len(server.of("/oauth/token")) == 2


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        (Reply(400, {"error": "invalid_grant", "error_description": "secret-1d77"}), DestinationError, "invalid_grant"),
        (Reply(401, {"error": "secret-1d77"}), DestinationError, "refuses its credentials with 401$"),
        (Reply(200, b"<html>secret-1d77"), DestinationError, "without a token that can be read"),
        (Reply(200, {"access_token": "a\r\nb"}), DestinationError, "without a token that can be read"),
        (Reply(200, {"access_token": "token-77", "expires_in": "soon"}), DestinationError, "without a token"),
        (Reply(503), DestinationUnavailableError, "no token from 127.0.0.1, port .*: it answers 503"),
    ],
)
def test_no_token_means_no_request_with_rows_and_no_secret_in_the_error(
    connect: Callable[..., None], reply: Reply, error: type[Exception], message: str
) -> None:
    with vendor_server(Authorizer(answer=reply)) as server:
        address = with_tokens(connect, server)

        with pytest.raises(error, match=message) as refused:
            deliver(address, BATCHES[:1])

        assert server.of("/contacts") == []
        assert "secret-1d77" not in str(refused.value)


def test_a_token_endpoint_of_another_host_gets_no_header_of_the_vendor(connect: Callable[..., None]) -> None:
    with vendor_server(Authorizer()) as tokens, vendor_server(lambda asked: Reply(500)) as api:
        extra = {"allow_private": True, "token_url": f"{tokens.url}/oauth/token"}
        connect(host=api.url, login="app-7", extra=extra)

        assert deliver(vendor_address("acme", OAUTH, "/contacts"), BATCHES[:1]) == 0

        (asked,) = tokens.asked
        assert "acme-version" not in asked.headers
        assert all("secret-1d77" not in f"{one.headers}{one.body!r}" for one in api.asked)


def test_a_token_endpoint_in_the_own_network_is_refused_unless_that_is_meant(connect: Callable[..., None]) -> None:
    with vendor_server(Authorizer()) as server:
        connect(host="https://192.0.2.1", login="app", extra={"token_url": f"{server.url}/oauth/token"})
        tokens = vendor_address("acme", OAUTH, "/contacts").tokens
        assert tokens is not None

        with pytest.raises(DestinationError, match="inside the own network"):
            tokens.header()

        assert server.asked == []


def test_no_log_line_has_a_secret_or_a_token(connect: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with vendor_server(Authorizer()) as server:
        deliver(with_tokens(connect, server, REFRESH), BATCHES[:2])

    for secret in ("secret-1d77", "first-90b2", "token-1-c4a1"):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("status", "passes", "words"),
    [
        (200, True, "Acme accepts the credentials"),
        (401, False, "does not accept these credentials"),
        (404, False, "Acme answers 200 to valid ones"),
        (500, False, "its server fails"),
    ],
)
def test_the_test_of_a_connection_asks_what_the_vendor_names(
    connect: Callable[..., None], status: int, passes: bool, words: str
) -> None:
    with vendor_server(lambda asked: Reply(status, {})) as server:
        connect(host=f"{server.url}/v2", extra={"allow_private": True})

        passed, message = AcmeHook("acme").test_connection()

        (asked,) = server.asked
        assert (asked.method, asked.path) == ("GET", "/v2/me")
        assert (asked.headers["authorization"], asked.headers["acme-version"]) == ("Bearer secret-1d77", "2026-11")
    assert (passed, words in message, "secret-1d77" in message) == (passes, True, False)


def test_the_test_of_a_connection_with_tokens_asks_with_one_and_names_none(connect: Callable[..., None]) -> None:
    class TokenHook(VendorHook):
        """A hook for connections to Acme with tokens."""

        vendor = replace(OAUTH, test="POST /contacts", test_body=b'{"rows": []}')

    authorizer = Authorizer()
    with vendor_server(authorizer) as server:
        with_tokens(connect, server)

        assert TokenHook("acme").test_connection()[0]
        authorizer.revoked = {"token-2-c4a1"}
        passed, message = TokenHook("acme").test_connection()

    assert not passed
    assert message.endswith("it does not accept a token that was just made for it")


def test_the_form_names_what_the_authentication_needs() -> None:
    bearer, oauth = ACME.form, REFRESH.form

    assert bearer["ui-field-behaviour"]["relabeling"]["password"] == "Access token"
    assert "login" in bearer["ui-field-behaviour"]["hidden-fields"]
    assert list(bearer["conn-fields"]) == ["allow_private", "allow_plain_http"]
    assert list(oauth["conn-fields"])[:2] == ["refresh_token", "token_url"]
    assert oauth["conn-fields"]["refresh_token"]["schema"]["format"] == "password"
    assert (AcmeHook.conn_type, AcmeHook.hook_name, AcmeHook().conn_id) == (
        "consentacme",
        "Acme",
        "consentacme_default",
    )
