"""The address that an Airflow connection and an endpoint name: the target of requests, checked by its form only.

Only the connection names the host; no parameter of an operator can lead to another host. This module resolves no name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from airflow_consent_retl.destinations.http.auth import headers_of
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.masking import mask_extra

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_consent_retl.destinations.http.oauth_tokens import OAuthTokens

_TYPES = ("consentwebhook", "http", "https")
_EXTRA_KEYS = ("headers", "token", "allow_private", "allow_plain_http")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,251}[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]{2,45}\]")
_PATH = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*")
# Parts of the names of headers whose values are credentials: they change, and the place stays.
_CREDENTIALS = frozenset(
    {"apikey", "auth", "authorization", "cookie", "key", "password", "secret", "signature", "token"}
)
_ABOUT_THE_CLIENT = frozenset({"accept", "accept-language", "user-agent"})
_QUERY_SAFE = "-._~!$&'()*+,;=:@%/?"
_QUERY = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAddress:
    """One endpoint of one host.

    Args:
        conn_id: the connection of the address, for messages.
        scheme: `https` or `http`.
        host: a name or a literal address, without brackets.
        port: 1 to 65535.
        path: with a leading slash; messages name it.
        query: the part after `?`, or an empty string; messages leave it out.
        headers: sent with every request; never shown.
        allow_private: addresses inside the own network may be contacted.
        allow_plain_http: rows may cross the public internet unencrypted.
        base: the connection's base path, for other endpoints of the host.
        api_headers: sent with every request too, and no part of the place: the version of the vendor's API.
        tokens: the source of a header that changes; all addresses that are made of this one share it.
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
    base: str = "/"
    api_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tokens: OAuthTokens | None = field(default=None, repr=False, compare=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port

    @property
    def account(self) -> str:
        """The credentials, by which the vendor knows the account. Never shown."""
        headers = sorted((name.lower(), value) for name, value in self.headers.items())
        return repr((self.origin, headers, None if self.tokens is None else self.tokens.account))

    @property
    def place_headers(self) -> Mapping[str, str]:
        """The headers that may decide where a row ends up: all but credentials, and those about the client."""
        return {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in _ABOUT_THE_CLIENT and _CREDENTIALS.isdisjoint(re.split(r"[^a-z0-9]+", name.lower()))
        }

    def below(self, endpoint: str) -> HttpAddress:
        """Return the address of an endpoint below this one's path, on the same host, with the same headers.

        Raises:
            ConfigurationError: the endpoint is no such path.
        """
        path, query = _target(self.path, endpoint)
        return replace(self, path=path, query=query)

    def at(self, endpoint: str) -> HttpAddress:
        """Return the address of another endpoint of the connection's host, with the same headers.

        Raises:
            ConfigurationError: the endpoint is no path below the host's base path.
        """
        path, query = _target(self.base, endpoint)
        return replace(self, path=path, query=query)

    def linked(self, link: str) -> HttpAddress:
        """Return the address of an endpoint, or of a URL in an answer, which has to be at the same host.

        Raises:
            ConfigurationError: it leads to another host, or is no such link.
        """
        if link.startswith("/") or "://" not in link:
            return self.at(link)
        base = _split(self.conn_id, link.partition("?")[0], what="a link in an answer")
        found = base.scheme, (base.hostname or "").strip("[]"), _port(self.conn_id, base, None)
        if found != (self.scheme, self.host.lower(), self.port):
            raise ConfigurationError(f"an answer at connection `{self.conn_id}` has a link to another host")
        path, query = _target("/", f"{base.path}?{quote(link.partition('?')[2], safe=_QUERY_SAFE)}")
        return replace(self, path=path, query=query)

    def token_endpoint(self, url: str) -> HttpAddress:
        """Return the address of a token endpoint: a URL, or a path of this host. It has none of the headers.

        Raises:
            ConfigurationError: it is no such address.
        """
        bare = replace(self, headers={}, api_headers={}, tokens=None)
        if url.startswith("/"):
            return bare.at(url)
        base = _split(self.conn_id, url, what="`token_url`")
        path, query = _target("/", base.path)
        host, port = (base.hostname or "").strip("[]"), _port(self.conn_id, base, None)
        return replace(bare, scheme=base.scheme, host=host, port=port, path=path, query=query, base="/")

    @property
    def target(self) -> str:
        """The target of the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path


def http_address(connection: Connection, *, endpoint: str) -> HttpAddress:
    """Return the address of an endpoint of an Airflow connection of type `consentwebhook`, `http` or `https`.

    Args:
        connection: host (with or without a scheme and a base path), schema `https` or `http`, port, login and
            password for basic authentication, and an extra with `headers`, `token`, `allow_private` and
            `allow_plain_http`.
        endpoint: a path below the host's base path, with or without a query.

    Raises:
        ConfigurationError: the connection or the endpoint is not usable; no secret is quoted.
    """
    if connection.conn_type not in _TYPES:
        raise ConfigurationError(
            f"connection `{connection.conn_id}` is of type `{connection.conn_type}`, an HTTP destination needs "
            f"`consentwebhook` or `http`{how_to_change(connection, 'consentwebhook', 'Consent webhook')}"
        )
    extra = extra_of(connection, _EXTRA_KEYS)
    address = address_of(connection, extra, endpoint=endpoint)
    return replace(address, headers=headers_of(connection, extra))


def address_of(connection: Connection, extra: Mapping[str, Any], *, endpoint: str, host: str = "") -> HttpAddress:
    """Return the address of an endpoint of a connection's host, without headers.

    Args:
        connection: see `http_address`; its type is not looked at.
        extra: from `extra_of`.
        endpoint: a path below the host's base path, with or without a query.
        host: used where the connection names none.

    Raises:
        ConfigurationError: the connection or the endpoint is not usable; no secret is quoted.
    """
    conn_id = connection.conn_id
    named = (connection.host or "").strip() or host
    if "://" not in named:
        # As Airflow's own HTTP hook reads a connection of type `http`.
        named = f"{connection.schema or _scheme_of(connection)}://{named}"
    base = _split(conn_id, named, what="the host")
    path, query = _target(base.path, endpoint)
    return HttpAddress(
        conn_id=conn_id,
        scheme=base.scheme,
        host=(base.hostname or "").strip("[]"),
        port=_port(conn_id, base, connection.port),
        path=path,
        query=query,
        allow_private=_flag(conn_id, extra, "allow_private"),
        allow_plain_http=_flag(conn_id, extra, "allow_plain_http"),
        base=base.path or "/",
    )


def how_to_change(connection: Connection, conn_type: str, name: str) -> str:
    """Return the end of a message about a connection of another type than a destination needs."""
    conn_id = connection.conn_id
    return (
        f". In Airflow's pages, edit it and choose the type `{name}`. By commands: `airflow connections delete "
        f"{conn_id}`, then `airflow connections add {conn_id} --conn-type {conn_type} --conn-host https://…`. Airflow "
        "saves a type whose provider is not installed as `generic`"
    )


def _split(conn_id: str, url: str, *, what: str) -> SplitResult:
    try:
        base = urlsplit(url)
    except ValueError:
        raise ConfigurationError(f"{what} of connection `{conn_id}` cannot be read as a URL") from None
    if base.scheme not in {"http", "https"}:
        raise ConfigurationError(f"connection `{conn_id}` must use the scheme `https` or `http` in {what}")
    authority = base.netloc.removesuffix(":").rsplit("@", 1)
    name = re.sub(r":[0-9]+$", "", authority[-1])
    if len(authority) > 1 or base.query or base.fragment or not _HOST.fullmatch(name):
        raise ConfigurationError(
            f"{what} of connection `{conn_id}` must be a name or an address, at most with a scheme, a port and a "
            "path; put credentials into login and password, and write names with other letters in punycode"
        )
    return base


def _scheme_of(connection: Connection) -> str:
    return "http" if connection.conn_type == "http" else "https"


def _port(conn_id: str, base: SplitResult, other: int | None) -> int:
    try:
        named = base.port
    except ValueError:
        named = 0
    if named is not None and other is not None and named != other:
        raise ConfigurationError(f"connection `{conn_id}` names two ports, in its host and in its port")
    port = next(p for p in (named, other, 443 if base.scheme == "https" else 80) if p is not None)
    if not 1 <= port <= 65535:
        raise ConfigurationError(f"the port of connection `{conn_id}` must be 1 to 65535")
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


def extra_of(connection: Connection, keys: Collection[str]) -> dict[str, Any]:
    """Return a connection's extra, whose texts Airflow masks from now on.

    Raises:
        ConfigurationError: it is no JSON object, or has other keys than these.
    """
    mask_extra(connection)
    extra = connection.extra_dejson
    if not isinstance(extra, dict):
        raise ConfigurationError(f"the extra of connection `{connection.conn_id}` must be a JSON object")
    # Airflow's forms save an empty field as null, and the form of `http` has a field that is no field of ours.
    extra = {name: value for name, value in extra.items() if value is not None}
    if extra.get("srv_lookup") is False:
        del extra["srv_lookup"]
    unknown = sorted(extra.keys() - set(keys))
    if unknown:
        *known, last = (f"`{key}`" for key in keys)
        raise ConfigurationError(
            f"unknown keys in the extra of connection `{connection.conn_id}`: {', '.join(unknown)}; an HTTP "
            f"destination reads {', '.join(known)} and {last}"
        )
    return extra


def _flag(conn_id: str, extra: Mapping[str, Any], name: str) -> bool:
    value = extra.get(name, False)
    if not isinstance(value, bool):
        raise ConfigurationError(f"`{name}` in the extra of connection `{conn_id}` must be true or false")
    return value
