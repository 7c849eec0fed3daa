"""Where a webhook may go: the connection's host only, encrypted, and never into the own network unasked."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import logging
import ssl
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow.sdk import Connection
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.servers import receiver, status

from airflow_consent_retl.contract.destination import Batch, Load
from airflow_consent_retl.destinations.http.address import http_address
from airflow_consent_retl.destinations.http.guard import refusal
from airflow_consent_retl.destinations.http.retry import retry_after_s
from airflow_consent_retl.destinations.webhook.destination import WebhookDestination
from airflow_consent_retl.destinations.webhook.operator import LoadToWebhookOperator
from airflow_consent_retl.destinations.webhook.options import WebhookOptions
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError

SCHEMA = pa.schema([("id", pa.string())])
LOAD = Load(
    key="0" * 64,
    destination="webhook",
    model="customers",
    schema=SCHEMA,
    key_field="id",
    rows=1,
    decided_at=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
)
BATCH = Batch(key="a" * 64, rows=pa.record_batch([["canary-row-4471"]], schema=SCHEMA))


def connection(host: str | None = "https://api.example.com", *, extra: object = None, **fields: Any) -> Connection:
    return Connection(
        conn_id="crm_http",
        **{"conn_type": "http", "host": host, "extra": None if extra is None else json.dumps(extra), **fields},
    )


def opened(connection: Connection) -> WebhookDestination:
    options = WebhookOptions(timeout_s=2, max_attempts=1, backoff_s=0.01)
    destination = WebhookDestination(http_address(connection, endpoint="/v1/people"), options)
    destination.open(LOAD)
    return destination


@pytest.mark.parametrize(
    ("fields", "endpoint", "url"),
    [
        ({}, "/v1/people", "https://api.example.com:443/v1/people"),
        ({}, "v1/people", "https://api.example.com:443/v1/people"),
        ({"host": "https://api.example.com/base/"}, "/people", "https://api.example.com:443/base/people"),
        ({"host": "https://api.example.com:8443"}, "/people?v=2", "https://api.example.com:8443/people?v=2"),
        ({"host": "api.example.com", "schema": "https", "port": 8443}, "/", "https://api.example.com:8443/"),
        ({"host": "api.example.com"}, "/", "http://api.example.com:80/"),
        ({"host": "api.example.com", "conn_type": "https"}, "/", "https://api.example.com:443/"),
        ({"host": "https://[2606:4700::1111]:8443/v1"}, "/p", "https://2606:4700::1111:8443/v1/p"),
    ],
)
def test_joins_the_endpoint_to_the_connections_host(fields: dict[str, Any], endpoint: str, url: str) -> None:
    address = http_address(connection(**fields), endpoint=endpoint)

    assert f"{address.scheme}://{address.host}:{address.port}{address.target}" == url


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example/x",
        "//evil.example/x",
        "///evil.example",
        "/\\evil.example/x",
        "\\\\evil.example",
        "http:evil",
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1%2f..%2fadmin",
        "/v1/./people",
        "/v1//people",
        "/v1/people#fragment",
        "/v1/peo ple",
        "/v1/people\r\nHost: evil.example",
        "/v1/people%0d%0aHost:evil",
        "/v1/people?x=1\r\ny",
        "/v1/people?x=%00",
        "/personnes/é",
    ],
)
def test_refuses_an_endpoint_that_is_more_than_a_path(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="endpoint must be a path below"):
        http_address(connection(), endpoint=endpoint)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"conn_type": "postgres"}, "is of type `postgres`"),
        ({"host": ""}, "the host of connection `crm_http`"),
        ({"host": None}, "the host of connection `crm_http`"),
        ({"host": "ftp://api.example.com"}, "scheme"),
        ({"host": "file:///etc/passwd"}, "scheme"),
        ({"host": "https://user:hunter2@api.example.com"}, "login and password"),
        ({"host": "https://api.example.com?to=evil"}, "the host of"),
        ({"host": "https://api.example.com#evil"}, "the host of"),
        ({"host": "https://api.example.com\\@evil.example"}, "the host of"),
        ({"host": "https://münchen.example"}, "punycode"),
        ({"host": "https://[::1"}, "the host of"),
        ({"host": "https://api.example.com:99999"}, "port"),
        ({"host": "https://api.example.com:8443", "port": 443}, "two ports"),
        ({"login": "a:b", "password": "hunter2"}, "colon"),
        ({"login": "a", "extra": {"token": "hunter2"}}, "more than one way"),
        ({"extra": {"token": "hunter2", "headers": {"authorization": "hunter2"}}}, "more than one way"),
        ({"extra": {"token": "hunter2\r\n"}}, "is not a token"),
        ({"extra": {"headers": ["hunter2"]}}, "must be an object"),
        ({"extra": {"headers": {"X-Key": "hunter2\r\nHost: evil"}}}, "the value of header `X-Key`"),
        ({"extra": {"headers": {"X-Key": 7}}}, "the value of header `X-Key`"),
        ({"extra": {"headers": {"X-Key: hunter2": "x"}}}, "header's name"),
        ({"extra": {"headers": {"X-Key": "a", "x-key": "b"}}}, "twice"),
        ({"extra": {"headers": {"Idempotency-Key": "hunter2", "HOST": "evil"}}}, "sets itself: host, idempotency-key"),
        ({"extra": {"allow_private": "true"}}, "must be true or false"),
        ({"extra": {"verify": False}}, "unknown keys in the extra of connection `crm_http`: verify"),
        ({"extra": ["x"]}, "must be a JSON object"),
    ],
)
def test_refuses_a_connection_that_is_not_clear_and_quotes_no_secret(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        http_address(connection(**fields), endpoint="/v1/people")

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "authorization"),
    [
        ({"login": "crm", "password": "pä:ss"}, "Basic " + base64.b64encode("crm:pä:ss".encode()).decode()),
        ({"extra": {"token": "t-1"}}, "Bearer t-1"),
        ({"extra": {"headers": {"Authorization": "Key k-1"}}}, "Key k-1"),
    ],
)
def test_authenticates_as_the_connection_says(fields: dict[str, Any], authorization: str) -> None:
    extra = {"allow_private": True, **fields.pop("extra", {})}
    with receiver() as server:
        destination = opened(connection(server.url, extra=extra, **fields))

        destination.send(BATCH)
        destination.commit()

    assert server.received[0].headers["authorization"] == authorization


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::10.0.0.1]",
        "[2002:0a00:0001::]",
        "[2001:0000:4136:e378:8000:63bf:3fff:fdd2]",
        "[64:ff9b:1::1]",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "240.0.0.1",
        "[fd12:3456::1]",
        "[fec0::1]",
        "[100::1]",
    ],
)
def test_refuses_a_host_inside_the_own_network(host: str) -> None:
    with pytest.raises(DestinationError, match=r"connection `crm_http` resolves to .* set `allow_private`"):
        opened(connection(f"https://{host}"))


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.170.2",
        "2852039166",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "0",
        "224.0.0.1",
        "[::]",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "[fe80::1]",
        "[ff02::1]",
        "[::ffff:169.254.169.254]",
        "[::a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
    ],
)
def test_refuses_metadata_and_nobodys_addresses_even_where_private_ones_are_allowed(host: str) -> None:
    with pytest.raises(DestinationError, match="which is never a destination"):
        opened(connection(f"https://{host}", extra={"allow_private": True, "allow_plain_http": True}))


def test_refuses_plain_http_to_a_public_address() -> None:
    with pytest.raises(DestinationError, match="a public address, over plain http; use https"):
        opened(connection("http://8.8.8.8", extra={"allow_private": True}))


def test_allows_plain_http_to_a_public_address_when_the_connection_says_so() -> None:
    opened(connection("http://8.8.8.8", extra={"allow_plain_http": True})).abort()


@pytest.mark.parametrize(
    ("address", "allow_private", "plain", "allowed"),
    [
        ("8.8.8.8", False, False, True),
        ("8.8.8.8", True, True, False),
        ("10.0.0.1", True, True, True),
        ("2606:4700::1111", False, False, True),
        ("64:ff9b::808:808", False, False, True),
        ("64:ff9b::808:808", False, True, False),
        ("2002:808:808::", False, False, False),
        ("::ffff:8.8.8.8", False, False, True),
        ("fd12:3456::1", True, False, True),
        ("64:ff9b:1::a00:1", True, True, True),
        ("64:ff9b:1::808:808", False, False, False),
        ("::ffff:0:808:808", False, False, False),
    ],
)
def test_judges_an_address_by_where_its_packets_may_end(
    address: str, allow_private: bool, plain: bool, allowed: bool
) -> None:
    reason = refusal(ipaddress.ip_address(address), allow_private=allow_private, plain=plain)

    assert (reason is None) is allowed


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::a9fe:a9fe",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "::ffff:0:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:fffe::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:aaa9:fe:a9fe::",
        "64:ff9b:1:0:a9:fea9:fe00:0",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
        "2001:0:101:101:0:0:5601:5601",
        "2001:db8::5efe:a9fe:a9fe",
        "fd12:3456::200:5efe:a9fe:a9fe",
        "::ffff:0:6464:64c8",
        "64:ff9b:1::c000:c0",
    ],
)
def test_refuses_a_metadata_address_in_every_form_also_inside_the_own_network(address: str) -> None:
    reason = refusal(ipaddress.ip_address(address), allow_private=True, plain=True)

    assert reason is not None
    assert "never a destination" in reason


def test_says_unavailable_when_the_host_cannot_be_resolved() -> None:
    with pytest.raises(DestinationUnavailableError, match=r"nobody\.invalid, port 443: the name cannot be resolved"):
        opened(connection("https://nobody.invalid"))


def test_uses_no_proxy_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as server, receiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)

        destination = opened(connection(server.url, extra={"allow_private": True}))
        destination.send(BATCH)
        destination.commit()

    assert len(server.received) == 1
    assert proxy.received == []


def test_sends_over_tls_only_to_a_host_whose_certificate_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = _certified(tmp_path)
    host = connection("https://127.0.0.1", extra={"allow_private": True})
    with receiver(tls=context) as server:
        host.port = server.port
        untrusted = opened(host)

        with pytest.raises(DestinationError, match="the certificate of connection `crm_http` is not trusted"):
            untrusted.send(BATCH)
        refused = list(server.received)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        trusted = opened(host)
        outcomes = trusted.send(BATCH)
        trusted.abort()

    assert refused == []
    assert [outcome.status for outcome in outcomes.counts()] == ["accepted"]
    assert len(server.received) == 1


def test_refuses_a_trusted_certificate_of_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = _certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with receiver(tls=context) as server:
        destination = opened(connection(f"https://localhost:{server.port}", extra={"allow_private": True}))

        with pytest.raises(DestinationError, match="is not trusted for its host"):
            destination.send(BATCH)

    assert server.received == []


def test_shows_no_row_and_no_secret_in_logs_messages_or_reprs(caplog: pytest.LogCaptureFixture) -> None:
    secrets = {"headers": {"X-Api-Key": "canary-header-7732"}, "allow_private": True}
    caplog.set_level(logging.DEBUG)
    messages: list[str] = []
    with receiver() as server:
        host = connection(server.url, login="crm", password="canary-password-1180", extra=secrets)
        address = http_address(host, endpoint="/v1/people?key=canary-query-2093")
        destination = WebhookDestination(address, WebhookOptions(max_attempts=1))
        destination.open(LOAD)
        for code in (200, 302, 401, 422, 429):
            server.answers = [status(code, b"canary-row-4471")]
            try:
                messages.append(repr(destination.send(BATCH)))
            except (DestinationError, DestinationUnavailableError) as failure:
                messages.append(f"{failure!r} {failure.__cause__!r}")
        messages.append(f"{address!r} {destination!r} {destination.__dict__!r}")
        destination.commit()

    assert len(server.received) == 5
    assert "canary" not in caplog.text + " ".join(messages)


def test_reads_the_wished_pause_as_seconds_or_as_a_date() -> None:
    assert retry_after_s(b"7") == 7
    assert retry_after_s(b"9" * 5000) == 1e9
    assert retry_after_s(b"Fri, 01 Jan 1999 00:00:00 GMT") == 0
    assert [retry_after_s(value) for value in (None, b"", b"soon", b"-1", b"1.5", b"\xff", b"\xb2")] == [None] * 7


def test_operator_builds_its_destination_from_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as server:
        monkeypatch.setenv(
            "AIRFLOW_CONN_CRM_HTTP",
            json.dumps({"conn_type": "http", "host": server.url, "extra": {"allow_private": True}}),
        )
        operator = LoadToWebhookOperator(
            task_id="load_webhook",
            permitted={},
            destination="webhook",
            fields={"id": "user_id"},
            conn_id="crm_http",
            endpoint="/v1/people",
            batch_rows=250,
            concurrency=3,
            envelope="people",
        )

        destination = operator.build_destination()
        destination.open(LOAD)
        destination.send(BATCH)
        destination.commit()

    assert (destination.limits.batch_rows, destination.limits.concurrency) == (250, 3)
    assert json.loads(server.received[0].body) == {"people": [{"id": "canary-row-4471"}]}
    assert {"conn_id", "endpoint", "fields", "destination", "permitted"} <= set(operator.template_fields)


def _certified(folder: Path) -> ssl.SSLContext:
    """Return a server's context with a certificate for 127.0.0.1, signed by itself, in `cert.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
