"""Single calls of an API on the session that an Airflow hook of another package logs in, with retries.

The session is one of `requests`: the hook's package knows how to log in, and these calls are our own, so that each can
be resumed and no error quotes an answer. No address may contain a value of a row.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import requests

from airflow_consent_retl import __version__
from airflow_consent_retl.contract.outcomes import vendor_code
from airflow_consent_retl.destinations.http.attempt import AttemptError, RequestDoubt, end_of
from airflow_consent_retl.destinations.http.pace import Pace
from airflow_consent_retl.destinations.http.retry import Retries, retry_after_s
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.budget import Budget, UsageHeader
    from airflow_consent_retl.destinations.http.options import HttpOptions

JSON, CSV = "application/json; charset=UTF-8", "text/csv; charset=UTF-8"
# A table of results has the lines of a file, each with an id or an error.
_MAX_ANSWER_BYTES = 400_000_000


class LoggedIn(Protocol):
    """A client that is logged in."""

    session: requests.Session


Client = TypeVar("Client", bound=LoggedIn)


class RefusedCallError(Exception):
    """A call was refused, and would be again: its status and the vendor's code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class SessionApi(ABC, Generic[Client]):
    """Calls of one API, from any number of threads. A subclass logs in, and knows addresses and codes.

    Attributes:
        name: the vendor's name in messages.
        over_limit: the codes of an answer that asks to come again, whatever its status, each with the seconds to wait.
        usage: the requests of the account in a long window, as answers state them.
        refused_login: the client's errors of credentials that the vendor refuses; their `code` is the vendor's.
        budget: the requests of the account, once an answer stated them.

    Args:
        options: time limits and retries.
        before_request: called before each request that carries rows or lets them take effect.
        share: the share of the account's requests that loads may use up: the option `max_api_share`.
    """

    name: ClassVar[str]
    over_limit: ClassVar[Mapping[str, float]] = {}
    refused_login: ClassVar[tuple[type[Exception], ...]] = ()
    usage: ClassVar[UsageHeader | None] = None

    def __init__(self, options: HttpOptions, before_request: Callable[[], None], *, share: float = 1) -> None:
        self._timeout_s = options.timeout_s
        self._before_request = before_request
        self._retries = Retries(Pace(), options)
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._share = share
        self.budget: Budget | None = None

    @abstractmethod
    def logged_in(self) -> Client:
        """Log in, and return the client. It may raise any error: none of its words are shown."""

    @abstractmethod
    def address(self, client: Client, path: str) -> str:
        """Return the URL of a path."""

    @abstractmethod
    def token(self, client: Client) -> str:
        """Return the access token of the session."""

    @abstractmethod
    def code_of(self, body: object) -> str:
        """Return the code in the body of a refusal, without any other text of it."""

    def close(self, *, give_up: bool) -> None:
        """Close the connections; with `give_up`, end all waits as well."""
        if give_up:
            self._retries.give_up()
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.session.close()

    def document(
        self, method: str, path: str, document: object = None, *, carries_rows: bool = False, once: bool = False
    ) -> dict[str, Any]:
        """Make a call with JSON, and return the object of its answer.

        Args:
            method: such as `GET`.
            path: see `address`.
            document: the body; None: none.
            carries_rows: whether the body has values of rows, or lets rows take effect.
            once: whether to try only once.

        Raises:
            AttemptError: another try may help.
            RefusedCallError: another try does not help.
        """
        body = None if document is None else json.dumps(document, ensure_ascii=False).encode()
        answer = self._call(method, path, body, kind=JSON, carries_rows=carries_rows, once=once)
        try:
            found = json.loads(answer) if answer else {}
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            # The parser's message may quote the answer.
            raise AttemptError("unreadable_answer", maybe_applied=True)
        return found

    def upload(self, path: str, body: bytes) -> None:
        """Put rows as CSV; tried once. Raises as `document`."""
        self._call("PUT", path, body, kind=CSV, carries_rows=True, once=True)

    def table(self, path: str) -> bytes:
        """Return the CSV of an answer. Raises as `document`."""
        return self._call("GET", path, None, kind=CSV, carries_rows=False, once=False)

    def _call(self, method: str, path: str, body: bytes | None, *, kind: str, carries_rows: bool, once: bool) -> bytes:
        def attempt() -> bytes:
            return self._attempt(method, path, body, kind=kind)

        if not once:
            before = self._before_request if carries_rows else None
            return self._retries.run(attempt, doubt=RequestDoubt(), before_request=before)
        if carries_rows:
            self._before_request()
        return attempt()

    def _attempt(self, method: str, path: str, body: bytes | None, *, kind: str) -> bytes:
        client = self._connected()
        status, headers, content = self._answer(client, method, path, body, kind=kind)
        if status == 401:
            # The session ended: a new one, once.
            client = self._connected(instead_of=client)
            status, headers, content = self._answer(client, method, path, body, kind=kind)
        if 200 <= status < 300 and content is not None:
            return content
        code = self.code_of(_json_or_none(content))
        if status in {408, 425, 429} or status >= 500 or status < 300 or code in self.over_limit:
            waits = retry_after_s(headers.get("retry-after", "").encode("latin-1", "replace"))
            maybe = status not in {403, 429}
            if code in self.over_limit:
                waits = waits or self.over_limit[code]
                words = f"its requests are used up ({code}), and are asked for again at {end_of(waits)}"
                raise AttemptError(code, maybe_applied=maybe, retry_after_s=waits, words=words)
            failed = f"http_{status}" if status >= 300 else "answer_too_long"
            raise AttemptError(failed, maybe_applied=maybe, retry_after_s=waits)
        if status < 400:
            raise DestinationError(f"{self.name} answers {status} at `{path}`: redirects are not followed")
        if status in {401, 403}:
            raise DestinationError(f"{self.name} refuses the connection's user with {status} ({code}) at `{path}`")
        raise RefusedCallError(status, code)

    def _answer(
        self, client: Client, method: str, path: str, body: bytes | None, *, kind: str
    ) -> tuple[int, dict[str, str], bytes | None]:
        headers = {
            "Authorization": f"Bearer {self.token(client)}",
            "Accept": "text/csv" if kind == CSV and body is None else "application/json",
            "User-Agent": f"airflow-consent-retl/{__version__}",
        }
        if body is not None:
            headers["Content-Type"] = kind
        url, timeout_s = self.address(client, path), self._timeout_s
        try:
            with client.session.request(
                method, url, data=body, headers=headers, timeout=timeout_s, allow_redirects=False, stream=True
            ) as response:
                content = _content(response, most=_MAX_ANSWER_BYTES)
                lowered = {name.lower(): value for name, value in response.headers.items()}
        except (requests.exceptions.SSLError, requests.exceptions.InvalidURL):
            raise DestinationError(f"the certificate or the address of the {self.name} instance is not valid") from None
        except requests.exceptions.ConnectTimeout:
            raise AttemptError("unreachable", maybe_applied=False) from None
        except requests.exceptions.Timeout:
            raise AttemptError("timeout", maybe_applied=True) from None
        except requests.exceptions.RequestException:
            # Its message has the address.
            raise AttemptError("connection_lost", maybe_applied=True) from None
        if self.usage is not None:
            self.budget = self.usage.budget(lowered, share=self._share, option="max_api_share") or self.budget
        return response.status_code, lowered, content

    def _connected(self, *, instead_of: Client | None = None) -> Client:
        with self._lock:
            if self._client is None or self._client is instead_of:
                self._client = self._login()
            return self._client

    def _login(self) -> Client:
        try:
            return self.logged_in()
        except self.refused_login as failure:
            code = vendor_code(getattr(failure, "code", None))
            raise DestinationError(f"{self.name} refuses the login of the connection ({code})") from None
        except requests.exceptions.RequestException:
            raise AttemptError("unreachable", maybe_applied=False, words="the login did not answer") from None
        except (TypeError, ValueError, OSError, AttributeError):
            # The client's words may quote a key or an answer.
            raise ConfigurationError(f"the connection has no usable way to log in to {self.name}") from None


def call_error(failure: AttemptError | RefusedCallError, name: str) -> DestinationError | DestinationUnavailableError:
    """Return the error of the contract for a call that failed; `name` is the vendor's."""
    if isinstance(failure, RefusedCallError):
        return DestinationError(f"{name} refuses the request with {failure.status} ({failure.code})")
    words = f"{name} did not answer: {failure.words}"
    return DestinationUnavailableError(words, retry_after_s=failure.retry_after_s)


def _content(response: requests.Response, *, most: int) -> bytes | None:
    parts: list[bytes] = []
    length = 0
    for part in response.iter_content(1 << 16):
        length += len(part)
        if length > most:
            return None
        parts.append(part)
    return b"".join(parts)


def _json_or_none(content: bytes | None) -> object:
    try:
        return json.loads(content or b"")
    except (ValueError, RecursionError):
        return None
