"""Connections of the type `consentwebhook`: what their test says, and the forms that Airflow's versions save."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_consent_retl.destinations.http.address import http_address
from airflow_consent_retl.destinations.http.webhook_hook import WebhookHook
from airflow_consent_retl.errors import ConfigurationError


@contextmanager
def answering(status: int) -> Iterator[tuple[str, list[str]]]:
    """Serve HEAD with this status, and note each request's path and credentials."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(f"{self.path} {self.headers['Authorization']}")
            self.send_response(status)
            self.end_headers()

        def log_request(self, code: object = "-", size: object = "-") -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def told(monkeypatch: pytest.MonkeyPatch, host: str, **extra: object) -> tuple[bool, str]:
    document = {"conn_type": "consentwebhook", "host": host, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_HTTP", json.dumps(document))
    return WebhookHook("crm_http").test_connection()


def address(**fields: Any) -> str:
    extra = fields.pop("extra", None)
    connection = Connection(conn_id="crm_http", extra=None if extra is None else json.dumps(extra), **fields)
    found = http_address(connection, endpoint="/v1/people")
    return f"{found.scheme}://{found.host}:{found.port}{found.target} {sorted(found.headers.items())}"


@pytest.mark.parametrize(
    ("status", "passes", "sentence"),
    [
        (200, True, "it is there"),
        (404, True, "Only a load shows whether its endpoint accepts rows"),
        (401, False, "it does not accept these credentials"),
        (403, False, "it does not accept these credentials"),
        (503, False, "its server fails"),
    ],
)
def test_the_test_of_a_connection_asks_the_receiver_with_its_credentials(
    monkeypatch: pytest.MonkeyPatch, status: int, passes: bool, sentence: str
) -> None:
    with answering(status) as (url, asked):
        passed, message = told(monkeypatch, f"{url}/crm", token="canary-token-7", allow_private=True)

    assert (passed, asked) == (passes, ["/crm/ Bearer canary-token-7"])
    assert sentence in message
    assert f"answered HEAD /crm/ with {status}" in message
    assert "canary" not in message


def test_the_test_of_a_connection_makes_the_checks_of_a_load(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200) as (url, asked):
        passed, message = told(monkeypatch, url)

    assert (passed, asked) == (False, [])
    assert "set `allow_private`" in message


def test_a_receiver_that_is_not_there_is_named_with_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200) as (url, _):
        pass

    passed, message = told(monkeypatch, url, allow_private=True)

    assert not passed
    assert message == f"127.0.0.1, port {url.rpartition(':')[2]}: the connection was refused: " + (
        "nothing listens there, or a firewall refuses"
    )


def test_a_connection_that_is_not_usable_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    passed, message = told(monkeypatch, "https://crm.example.com", verify=False)

    assert not passed
    assert "unknown keys in the extra of connection `crm_http`: verify" in message


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"conn_type": "consentwebhook", "host": "crm.example.com"}, "https://crm.example.com:443/v1/people []"),
        (
            {"conn_type": "consentwebhook", "host": "crm.example.com", "schema": "http"},
            "http://crm.example.com:80/v1/people []",
        ),
        # Fields that are left empty in Airflow's form are saved as null.
        (
            {
                "conn_type": "consentwebhook",
                "host": "https://crm.example.com",
                "extra": {"token": None, "headers": None, "allow_private": None, "allow_plain_http": None},
            },
            "https://crm.example.com:443/v1/people []",
        ),
        (
            {"conn_type": "http", "host": "https://crm.example.com", "extra": {"srv_lookup": None}},
            "https://crm.example.com:443/v1/people []",
        ),
        (
            {"conn_type": "http", "host": "https://crm.example.com", "extra": {"srv_lookup": False}},
            "https://crm.example.com:443/v1/people []",
        ),
        # Airflow 3.1 has no field for an object.
        (
            {
                "conn_type": "consentwebhook",
                "host": "https://crm.example.com",
                "extra": {"token": "", "headers": '{"X-Api-Key": "k-1"}'},
            },
            "https://crm.example.com:443/v1/people [('X-Api-Key', 'k-1')]",
        ),
        (
            {"conn_type": "consentwebhook", "host": "https://crm.example.com", "extra": {"headers": ""}},
            "https://crm.example.com:443/v1/people []",
        ),
    ],
)
def test_a_connection_is_read_as_airflows_forms_save_it(fields: dict[str, Any], url: str) -> None:
    assert address(**fields) == url


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"headers": '{"X-Api-Key": hunter2}'}, "must be an object"),
        ({"headers": '["hunter2"]'}, "must be an object"),
        ({"srv_lookup": True}, "unknown keys in the extra of connection `crm_http`: srv_lookup"),
    ],
)
def test_a_form_that_means_something_else_is_refused(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        address(conn_type="consentwebhook", host="https://crm.example.com", extra=extra)

    assert "hunter2" not in str(refused.value)


def test_a_connection_that_airflow_saved_as_generic_names_both_ways_out() -> None:
    with pytest.raises(ConfigurationError) as refused:
        address(conn_type="generic", host="https://crm.example.com")

    assert "choose the type `Consent webhook`" in str(refused.value)
    assert "`airflow connections delete crm_http`" in str(refused.value)
    assert "`airflow connections add crm_http --conn-type consentwebhook --conn-host https://…`" in str(refused.value)
