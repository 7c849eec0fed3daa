"""The authentication of an HTTP connection, and the headers of every request."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Connection

# Set by this package or by HTTP itself, or read by proxies on the way.
_RESERVED_HEADERS = {
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "forwarded",
    "host", "idempotency-key", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "user-agent",
}  # fmt: skip
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+")
HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")


def headers_of(connection: Connection, extra: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of every request: those in the extra, and at most one way to authenticate.

    Login and password are sent as basic authentication, `token` in the extra as a bearer token.

    Raises:
        ConfigurationError: a header is malformed, reserved or occurs twice, or there are several ways to authenticate.
            No secret is quoted.
    """
    conn_id, headers = connection.conn_id, _object(extra.get("headers", {}))
    if not isinstance(headers, dict):
        raise ConfigurationError(f"`headers` in the extra of connection `{conn_id}` must be an object")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            # Not quoted: a whole header line in the wrong place contains its secret.
            raise ConfigurationError(f"a header's name in the extra of connection `{conn_id}` is not valid")
        if not isinstance(value, str) or not HEADER_VALUE.fullmatch(value):
            raise ConfigurationError(
                f"the value of header `{name}` in the extra of connection `{conn_id}` is not valid"
            )
    names = [name.lower() for name in headers]
    reserved = sorted(_RESERVED_HEADERS.intersection(names))
    if reserved:
        raise ConfigurationError(
            f"headers of connection `{conn_id}` that the destination sets itself: {', '.join(reserved)}"
        )
    if len(set(names)) != len(names):
        raise ConfigurationError(f"a header occurs twice in the extra of connection `{conn_id}`")
    credentials = [value for value in (_bearer(conn_id, extra), _basic(connection)) if value]
    if len(credentials) + ("authorization" in names) > 1:
        raise ConfigurationError(
            f"connection `{conn_id}` authenticates in more than one way: keep login and password, `token`, or a header"
        )
    return {**headers, "Authorization": credentials[0]} if credentials else dict(headers)


def _object(headers: object) -> object:
    """Return the headers; the form of Airflow 3.1 saves them as text."""
    if isinstance(headers, str) and headers.strip():
        try:
            return json.loads(headers)
        except ValueError:
            return headers
    return {} if headers == "" else headers


def _bearer(conn_id: str, extra: Mapping[str, Any]) -> str | None:
    token = extra.get("token")
    if token is None or token == "":
        return None
    if not isinstance(token, str) or not HEADER_VALUE.fullmatch(token):
        raise ConfigurationError(f"`token` in the extra of connection `{conn_id}` is not a token")
    return f"Bearer {token}"


def _basic(connection: Connection) -> str | None:
    if not connection.login and not connection.password:
        return None
    login = connection.login or ""
    if ":" in login:
        raise ConfigurationError(f"the login of connection `{connection.conn_id}` contains a colon")
    return "Basic " + base64.b64encode(f"{login}:{connection.password or ''}".encode()).decode()
