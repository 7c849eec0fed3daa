"""The ways in which a vendor wants to be authenticated to, each with its fields of the connection's form.

They are data: importing this module is cheap. A secret is in the connection's password, or in its extra.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_consent_retl.destinations.http.auth import HEADER_VALUE
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.oauth_tokens import Grant, OAuthTokens


class Authentication(ABC):
    """One way to authenticate."""

    @property
    @abstractmethod
    def labels(self) -> Mapping[str, str]:
        """The form's labels of the connection's own fields that are used: `login`, `password`."""

    @property
    def fields(self) -> Mapping[str, Mapping[str, Any]]:
        """Further fields of the form, which are keys of the extra."""
        return {}

    def headers(self, connection: Connection) -> dict[str, str]:
        """Return the headers that carry the secret.

        Raises:
            ConfigurationError: the connection has none, or one that is no header's value; it is not quoted.
        """
        return {}

    def tokens(self, connection: Connection, extra: Mapping[str, Any], address: HttpAddress) -> OAuthTokens | None:
        """Return the source of tokens, where headers change; `address` is the vendor's."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey(Authentication):
    """A key in a header: the connection's password.

    Args:
        header: its name.
        prefix: the text before the key, such as `Bearer `.
        label: the key's name in the vendor's own pages.
    """

    header: str = "Authorization"
    prefix: str = ""
    label: str = "API key"

    @property
    def labels(self) -> Mapping[str, str]:
        """The password."""
        return {"password": self.label}

    def headers(self, connection: Connection) -> dict[str, str]:
        """Return the one header."""
        return {self.header: f"{self.prefix}{_secret(connection, 'password', self.label)}"}


BEARER = ApiKey(prefix="Bearer ", label="Access token")
"""A token in the header `Authorization`: the connection's password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAndPassword(Authentication):
    """Basic authentication: the connection's login and password, under the vendor's names for them."""

    login: str = "Login"
    password: str = "Password"  # noqa: S105 - a label

    @property
    def labels(self) -> Mapping[str, str]:
        """Both."""
        return {"login": self.login, "password": self.password}

    def headers(self, connection: Connection) -> dict[str, str]:
        """Return the header of basic authentication."""
        login, password = _secret(connection, "login", self.login), _secret(connection, "password", self.password)
        if ":" in login:
            raise ConfigurationError(f"the {self.login} of connection `{connection.conn_id}` contains a colon")
        return {"Authorization": "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()}


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2(Authentication):
    """OAuth 2: the client's id is the connection's login, its secret the password. Tokens are fetched and renewed.

    Args:
        grant: `client_credentials`, or `refresh_token`, which is a field of the form.
        token_url: the vendor's token endpoint; a path is one of the host of requests. The field `token_url` of the
            connection has precedence.
        client_in: whether id and secret go into the request's body, or into a header as basic authentication.
        body: the form of the request's body.
        parameters: further parameters, such as `scope`.
        header, prefix: the header that carries the token, and the text before the token.
    """

    grant: Grant
    token_url: str
    client_in: Literal["body", "header"] = "body"
    body: Literal["form", "json"] = "form"
    parameters: Mapping[str, str] = field(default_factory=dict)
    header: str = "Authorization"
    prefix: str = "Bearer "

    labels: ClassVar[Mapping[str, str]] = {"login": "Client id", "password": "Client secret"}

    @property
    def fields(self) -> Mapping[str, Mapping[str, Any]]:
        """The refresh token, where one is needed, and the token endpoint."""
        fields: dict[str, Mapping[str, Any]] = {}
        if self.grant == "refresh_token":
            fields["refresh_token"] = {
                "label": "Refresh token",
                "description": "The vendor gives it once, when a person permits the application.",
                "schema": {"type": ["string", "null"], "format": "password"},
            }
        fields["token_url"] = {
            "label": "Token endpoint",
            "description": f"Leave it empty for {self.token_url}.",
            "schema": {"type": ["string", "null"]},
        }
        return fields

    def tokens(self, connection: Connection, extra: Mapping[str, Any], address: HttpAddress) -> OAuthTokens | None:
        """Return the source of tokens; contacts nothing."""
        from airflow_consent_retl.destinations.http.oauth_tokens import OAuthTokens, TokenRequest

        refresh_token = extra.get("refresh_token") or ""
        if self.grant == "refresh_token" and not (isinstance(refresh_token, str) and refresh_token):
            raise ConfigurationError(f"connection `{connection.conn_id}` has no refresh token: `refresh_token`")
        request = TokenRequest(
            address=address.token_endpoint(extra.get("token_url") or self.token_url),
            grant=self.grant,
            client_id=_secret(connection, "login", self.labels["login"]),
            client_secret=_secret(connection, "password", self.labels["password"]),
            refresh_token=refresh_token,
            client_in=self.client_in,
            body=self.body,
            parameters=self.parameters,
        )
        return OAuthTokens(request, header=self.header, prefix=self.prefix)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOrOAuth2(Authentication):
    """A key, or an application by OAuth 2, as the connection has it: a refresh token means the second.

    Args:
        key: the connection's password.
        app: its login is the client's id, and its password the client's secret.
    """

    key: ApiKey
    app: OAuth2

    @property
    def labels(self) -> Mapping[str, str]:
        """Both ways use the password."""
        return {
            "login": f"{self.app.labels['login']} (only for OAuth)",
            "password": f"{self.key.label}, or {self.app.labels['password'].lower()}",
        }

    @property
    def fields(self) -> Mapping[str, Mapping[str, Any]]:
        """Those of OAuth 2."""
        return self.app.fields

    def headers(self, connection: Connection) -> dict[str, str]:
        """Return the header with the key; none for an application."""
        return {} if self._is_app(connection) else self.key.headers(connection)

    def tokens(self, connection: Connection, extra: Mapping[str, Any], address: HttpAddress) -> OAuthTokens | None:
        """Return the source of an application's tokens; contacts nothing."""
        return self.app.tokens(connection, extra, address) if self._is_app(connection) else None

    def _is_app(self, connection: Connection) -> bool:
        return bool(connection.extra_dejson.get("refresh_token"))


def _secret(connection: Connection, name: str, label: str) -> str:
    value = getattr(connection, name) or ""
    if not HEADER_VALUE.fullmatch(value):
        state = "is not valid: it has spaces at its ends, or other letters" if value else "is missing"
        raise ConfigurationError(f"the {label} of connection `{connection.conn_id}` ({name}) {state}")
    return str(value)
