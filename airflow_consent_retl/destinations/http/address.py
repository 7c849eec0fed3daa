"""Where a webhook's requests go: the address an Airflow connection and an endpoint name, checked by its shape only.

The connection alone names the host; no parameter of an operator can lead to another one. Nothing is resolved here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Connection

_EXTRA_KEYS = {"headers", "token", "allow_private", "allow_plain_http"}
# Set by this package, by HTTP itself, or read by proxies on the way.
_RESERVED_HEADERS = {
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "forwarded",
    "host", "idempotency-key", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "user-agent",
}  # fmt: skip
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,251}[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]{2,45}\]")
_PATH = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*")
_QUERY = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAddress:
    """One endpoint of one host.

    Args:
        conn_id: the connection it was built from, for messages.
        scheme: `https` or `http`.
        host: a name or a literal address, without brackets.
        port: 1 to 65535.
        path: with a leading slash; messages name it.
        query: what follows `?`, or an empty string; messages leave it out.
        headers: sent with every request; never shown.
        allow_private: addresses inside the own network may be contacted.
        allow_plain_http: rows may cross the public internet unencrypted.
    """

    conn_id: str
    scheme: str
    host: str
    port: int
    path: str
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow_private: bool = False
    allow_plain_http: bool = False

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port

    @property
    def target(self) -> str:
        """What the request line names."""
        return f"{self.path}?{self.query}" if self.query else self.path


def webhook_address(connection: Connection, *, endpoint: str) -> WebhookAddress:
    """Return the address of an endpoint of an Airflow HTTP connection.

    Args:
        connection: host (with or without a scheme and a base path), schema `https` or `http`, port, login and
            password for basic authentication, and an extra with `headers`, `token`, `allow_private` and
            `allow_plain_http`.
        endpoint: a path below the host's base path, perhaps with a query.

    Raises:
        ConfigurationError: the connection or the endpoint is not usable; no secret is quoted.
    """
    conn_id = connection.conn_id
    base = _base(connection)
    path, query = _target(base.path, endpoint)
    extra = _extra(connection)
    return WebhookAddress(
        conn_id=conn_id,
        scheme=base.scheme,
        host=(base.hostname or "").strip("[]"),
        port=_port(connection, base),
        path=path,
        query=query,
        headers=_headers(connection, extra),
        allow_private=_flag(conn_id, extra, "allow_private"),
        allow_plain_http=_flag(conn_id, extra, "allow_plain_http"),
    )


def _base(connection: Connection) -> SplitResult:
    conn_id, host = connection.conn_id, (connection.host or "").strip()
    if connection.conn_type not in {"http", "https"}:
        raise ConfigurationError(f"connection `{conn_id}` is of type `{connection.conn_type}`, a webhook needs `http`")
    if "://" not in host:
        # As Airflow's own HTTP hook reads a connection.
        host = f"{connection.schema or connection.conn_type}://{host}"
    try:
        base = urlsplit(host)
    except ValueError:
        raise ConfigurationError(f"the host of connection `{conn_id}` cannot be read as a URL") from None
    if base.scheme not in {"http", "https"}:
        raise ConfigurationError(f"connection `{conn_id}` must use the scheme `https` or `http`")
    authority = base.netloc.removesuffix(":").rsplit("@", 1)
    name = re.sub(r":[0-9]+$", "", authority[-1])
    if len(authority) > 1 or base.query or base.fragment or not _HOST.fullmatch(name):
        raise ConfigurationError(
            f"the host of connection `{conn_id}` must be a name or an address, at most with a scheme, a port and a "
            "path; credentials belong into login and password, names with other letters into punycode"
        )
    return base


def _port(connection: Connection, base: SplitResult) -> int:
    try:
        named = base.port
    except ValueError:
        named = 0
    if named is not None and connection.port is not None and named != connection.port:
        raise ConfigurationError(f"connection `{connection.conn_id}` names two ports, in its host and in its port")
    port = next(p for p in (named, connection.port, 443 if base.scheme == "https" else 80) if p is not None)
    if not 1 <= port <= 65535:
        raise ConfigurationError(f"the port of connection `{connection.conn_id}` must be 1 to 65535")
    return port


def _target(base: str, endpoint: str) -> tuple[str, str]:
    path, _, query = endpoint.partition("?")
    joined = f"{base.rstrip('/')}/{path.removeprefix('/')}"
    segments = unquote(joined).replace("\\", "/").split("/")
    if (
        not _PATH.fullmatch(joined)
        or not _QUERY.fullmatch(query)
        or not {"..", "."}.isdisjoint(segments)
        or "" in segments[1:-1]
        or ":" in segments[1]
        or any(not character.isprintable() for character in unquote(joined + query))
    ):
        raise ConfigurationError(
            "endpoint must be a path below the connection's host such as `/v1/people`: no scheme, no host, no empty, "
            "`.` or `..` segments, and other letters percent-encoded"
        )
    return joined, query


def _extra(connection: Connection) -> dict[str, Any]:
    extra = connection.extra_dejson
    if not isinstance(extra, dict):
        raise ConfigurationError(f"the extra of connection `{connection.conn_id}` must be a JSON object")
    unknown = sorted(extra.keys() - _EXTRA_KEYS)
    if unknown:
        raise ConfigurationError(
            f"unknown keys in the extra of connection `{connection.conn_id}`: {', '.join(unknown)}; a webhook "
            "reads `headers`, `token`, `allow_private` and `allow_plain_http`"
        )
    return dict(extra)


def _flag(conn_id: str, extra: Mapping[str, Any], name: str) -> bool:
    value = extra.get(name, False)
    if not isinstance(value, bool):
        raise ConfigurationError(f"`{name}` in the extra of connection `{conn_id}` must be true or false")
    return value


def _headers(connection: Connection, extra: Mapping[str, Any]) -> dict[str, str]:
    conn_id, headers = connection.conn_id, extra.get("headers", {})
    if not isinstance(headers, dict):
        raise ConfigurationError(f"`headers` in the extra of connection `{conn_id}` must be an object")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            # Not quoted: a whole header line in the wrong place brings its secret along.
            raise ConfigurationError(f"a header's name in the extra of connection `{conn_id}` is not valid")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ConfigurationError(
                f"the value of header `{name}` in the extra of connection `{conn_id}` is not valid"
            )
    names = [name.lower() for name in headers]
    reserved = sorted(_RESERVED_HEADERS.intersection(names))
    if reserved:
        raise ConfigurationError(f"headers of connection `{conn_id}` that a webhook sets itself: {', '.join(reserved)}")
    if len(set(names)) != len(names):
        raise ConfigurationError(f"a header occurs twice in the extra of connection `{conn_id}`")
    credentials = [value for value in (_bearer(conn_id, extra), _basic(connection)) if value]
    if len(credentials) + ("authorization" in names) > 1:
        raise ConfigurationError(
            f"connection `{conn_id}` authenticates in more than one way: keep login and password, `token`, or a header"
        )
    return {**headers, "Authorization": credentials[0]} if credentials else dict(headers)


def _bearer(conn_id: str, extra: Mapping[str, Any]) -> str | None:
    if "token" not in extra:
        return None
    token = extra["token"]
    if not isinstance(token, str) or not _HEADER_VALUE.fullmatch(token):
        raise ConfigurationError(f"`token` in the extra of connection `{conn_id}` is not a token")
    return f"Bearer {token}"


def _basic(connection: Connection) -> str | None:
    if not connection.login and not connection.password:
        return None
    login = connection.login or ""
    if ":" in login:
        raise ConfigurationError(f"the login of connection `{connection.conn_id}` contains a colon")
    return "Basic " + base64.b64encode(f"{login}:{connection.password or ''}".encode()).decode()
