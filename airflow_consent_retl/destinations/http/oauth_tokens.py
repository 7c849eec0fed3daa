"""Access tokens by OAuth 2: fetched from a token endpoint, renewed in time, and shared by all threads of a load.

A token is masked as soon as it is known. No message contains a token, a secret or a text of the other side.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.auth import HEADER_VALUE
from airflow_consent_retl.errors import DestinationError
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer

Grant = Literal["client_credentials", "refresh_token"]

log = module_log(__name__)

_ROTATING = (
    "A vendor that replaces refresh tokens has to let the old one live: turn their rotation off for this application, "
    "or use another way to authenticate"
)
_TIMEOUT_S = 30.0
_MAX_ANSWER_BYTES = 64 * 1024
# A token is renewed this long before it expires, but not before nine tenths of its life are over.
_EARLY_S = 60.0
# RFC 6749, section 5.2. Any other code is the other side's text.
_CODES = frozenset(
    {
        "invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "unauthorized_client",
        "unsupported_grant_type",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """The request for a token.

    Args:
        address: of the token endpoint.
        grant: see RFC 6749, sections 4.4 and 6.
        client_id, client_secret: of the application.
        refresh_token: for the grant of this name.
        client_in: whether id and secret go into the body, or into a header as basic authentication.
        body: the form of the body.
        parameters: further parameters, such as `scope`.
    """

    address: HttpAddress
    grant: Grant
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    client_in: Literal["body", "header"] = "body"
    body: Literal["form", "json"] = "form"
    parameters: Mapping[str, str] = field(default_factory=dict)


class OAuthTokens:
    """The token that requests carry now. Thread-safe; contacts nothing before the first request.

    Some vendors replace the refresh token with each use. The new one is used as long as this object lives, and is not
    stored: no task of Airflow can change a connection, and two workers would end each other's token. Many vendors let
    the old one live. With a vendor that ends it at its first use, the next load is refused, and a warning says so here.

    Args:
        request: see there.
        header: the header that carries the token.
        prefix: the text before the token, such as `Bearer `.
    """

    def __init__(self, request: TokenRequest, *, header: str = "Authorization", prefix: str = "Bearer ") -> None:
        self._request = request
        self._header = header
        self._prefix = prefix
        self._lock = threading.Lock()
        self._refresh_token = request.refresh_token
        self._is_replaced = False
        self._token = ""
        self._renew_at = 0.0
        # Whether the token was accepted once, and whether it replaces one that was refused.
        self._is_proven = False
        self._replaces_refused = False

    @property
    def account(self) -> tuple[str, ...]:
        """The part that stays the same as tokens change. Never shown."""
        request = self._request
        return request.grant, request.client_id, request.refresh_token or request.client_secret

    def header(self) -> tuple[str, str]:
        """Return the name and the value of the header for the next request; fetch a token if there is none.

        Raises:
            AttemptError: the token endpoint does not answer. Nothing was sent to the destination.
            DestinationError: it refuses the credentials.
        """
        with self._lock:
            if not self._token or time.monotonic() >= self._renew_at:
                self._fetch()
            return self._header, f"{self._prefix}{self._token}"

    def accepted(self, value: str) -> None:
        """Note that the destination accepted a header's value."""
        with self._lock:
            self._is_proven = self._is_proven or value == f"{self._prefix}{self._token}"

    def refused(self, value: str) -> bool:
        """Note that the destination refused a header's value, and return whether a try with a new token may help."""
        with self._lock:
            if value != f"{self._prefix}{self._token}":
                return True
            if self._replaces_refused and not self._is_proven:
                return False
            self._token = ""
            self._replaces_refused = True
            return True

    def _fetch(self) -> None:
        from airflow.sdk.log import mask_secret

        answer = self._answer()
        try:
            document = json.loads(answer.body or b"")
            token, life_s = document["access_token"], document.get("expires_in")
            life_s = None if life_s is None else float(life_s)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise self._unreadable() from None
        if not isinstance(token, str) or not HEADER_VALUE.fullmatch(token):
            raise self._unreadable()
        mask_secret(token)
        renewed = document.get("refresh_token")
        if isinstance(renewed, str) and renewed:
            mask_secret(renewed)
            if renewed != self._refresh_token and not self._is_replaced:
                self._is_replaced = True
                log.warning(
                    "the token endpoint of connection `%s` gave a new refresh token, which cannot be stored: if it "
                    "ends the old one, the next load is refused. %s",
                    self._request.address.conn_id,
                    _ROTATING,
                )
            self._refresh_token = renewed
        self._token, self._is_proven = token, False
        # A token without an end is renewed when it is refused.
        lives_s = float("inf") if life_s is None else max(life_s - _EARLY_S, 0.9 * life_s)
        self._renew_at = time.monotonic() + lives_s

    def _answer(self) -> Answer:
        from airflow_consent_retl.destinations.http.client import GuardedClient

        address = self._request.address
        body, headers = self._form()
        client = GuardedClient(address, connections=1, timeout_s=_TIMEOUT_S, max_answer_bytes=_MAX_ANSWER_BYTES)
        try:
            answer = client.request("POST", address.target, body, headers=headers)
        except AttemptError as failure:
            # Only a token was asked for: no row is on its way.
            raise AttemptError(
                "token_unavailable",
                maybe_applied=False,
                retry_after_s=failure.retry_after_s,
                words=f"no token from {address.host}, port {address.port}: {failure.words}",
            ) from None
        finally:
            client.close()
        if answer.status == 429 or answer.status >= 500:
            raise AttemptError(
                "token_unavailable",
                maybe_applied=False,
                retry_after_s=answer.retry_after_s,
                words=f"no token from {address.host}, port {address.port}: it answers {answer.status}",
            )
        if answer.status != 200:
            raise DestinationError(
                f"the token endpoint of connection `{address.conn_id}` refuses its credentials with {answer.status}"
                f"{self._named_error(answer.body)}"
            )
        return answer

    def _named_error(self, body: bytes | None) -> str:
        try:
            code = json.loads(body or b"").get("error")
        except (ValueError, AttributeError, RecursionError):
            return ""
        if not isinstance(code, str) or code not in _CODES:
            return ""
        if code != "invalid_grant" or self._request.grant != "refresh_token":
            return f" ({code})"
        return f" ({code}): the refresh token is not valid, or not any more. {_ROTATING}"

    def _form(self) -> tuple[bytes, dict[str, str]]:
        request = self._request
        fields = {"grant_type": request.grant, **request.parameters}
        if request.grant == "refresh_token":
            fields["refresh_token"] = self._refresh_token
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if request.client_in == "header":
            pair = f"{request.client_id}:{request.client_secret}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        else:
            fields |= {"client_id": request.client_id, "client_secret": request.client_secret}
        if request.body == "json":
            return json.dumps(fields).encode(), headers | {"Content-Type": "application/json"}
        return urlencode(fields).encode(), headers | {"Content-Type": "application/x-www-form-urlencoded"}

    def _unreadable(self) -> DestinationError:
        return DestinationError(
            f"the token endpoint of connection `{self._request.address.conn_id}` answers 200 without a token that can "
            "be read"
        )
