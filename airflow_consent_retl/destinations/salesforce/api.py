"""Single calls of Salesforce's REST API on the session of Airflow's hook, with retries and the org's daily budget.

The hook and `simple_salesforce` log in. The calls are our own: the client's Bulk 2.0 handler waits inside one call, so
a job could not be resumed; it splits files by an estimate; and its errors quote the answer, which quotes rows. Nothing
here writes a file, and no address contains a value of a row.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests
from simple_salesforce.exceptions import SalesforceAuthenticationFailed

from airflow_consent_retl import __version__
from airflow_consent_retl.contract.outcomes import vendor_code
from airflow_consent_retl.destinations.http.attempt import AttemptError, RequestDoubt
from airflow_consent_retl.destinations.http.pace import Pace
from airflow_consent_retl.destinations.http.retry import Retries, retry_after_s
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    from simple_salesforce.api import Salesforce

    from airflow_consent_retl.destinations.salesforce.options import SalesforceOptions

API_VERSION = "66.0"
_JSON, _CSV = "application/json; charset=UTF-8", "text/csv; charset=UTF-8"
_USAGE = re.compile(r"(?:^|,\s*)api-usage=([0-9]+)/([0-9]+)")
_OVER_LIMIT = "REQUEST_LIMIT_EXCEEDED"
# A query has at most 2,000 records in an answer, and the text of a statement at most 100,000 characters.
_KEYS_IN_A_QUERY = 500
_QUERY_CHARACTERS = 40_000
# A table of results has the lines of the file, each with an id or an error.
_MAX_ANSWER_BYTES = 400_000_000


class RefusedCallError(Exception):
    """A call was refused, and would be again: its status and Salesforce's code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class ApiUsage:
    """The org's API requests of the last 24 hours and their limit, from the header `Sforce-Limit-Info`."""

    used: int
    limit: int


class SalesforceApi:
    """Calls of one org, from any number of threads.

    Args:
        connect: logs in with Airflow's hook, and returns its client; called again when the session expires.
        options: time limits, retries, and the share of the org's daily requests.
        before_request: called before each request that carries rows or lets them take effect.
    """

    def __init__(
        self, connect: Callable[[], Salesforce], options: SalesforceOptions, before_request: Callable[[], None]
    ) -> None:
        self._connect = connect
        self._options = options
        self._before_request = before_request
        self._retries = Retries(
            Pace(), max_attempts=options.max_attempts, max_retry_s=options.max_retry_s, backoff_s=options.backoff_s
        )
        self._lock = threading.Lock()
        self._client: Salesforce | None = None
        self.usage: ApiUsage | None = None

    def close(self, *, give_up: bool) -> None:
        """Close the connections; with `give_up`, end all waits as well."""
        if give_up:
            self._retries.give_up()
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.session.close()

    def check_budget(self) -> None:
        """Raise `DestinationUnavailableError` where the org has used up the share of its daily requests."""
        usage = self.usage
        if usage is not None and usage.used >= self._options.max_api_share * usage.limit:
            raise DestinationUnavailableError(
                f"the Salesforce org has used {usage.used:,} of its {usage.limit:,} API requests of 24 hours: "
                f"max_api_share={self._options.max_api_share:g} leaves the rest to others"
            )

    def document(
        self, method: str, path: str, document: object = None, *, carries_rows: bool = False, once: bool = False
    ) -> dict[str, Any]:
        """Make a call with JSON, and return the object of its answer.

        Args:
            method: such as `GET`.
            path: below `/services/data/v66.0/`.
            document: the body; None: none.
            carries_rows: whether the body has values of rows, or lets rows take effect.
            once: whether to try only once.

        Raises:
            AttemptError: another try may help.
            RefusedCallError: another try does not help.
        """
        body = None if document is None else json.dumps(document, ensure_ascii=False).encode()
        answer = self._call(method, path, body, kind=_JSON, carries_rows=carries_rows, once=once)
        try:
            found = json.loads(answer) if answer else {}
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            # The parser's message may quote the answer.
            raise AttemptError("unreadable_answer", maybe_applied=True)
        return found

    def upload(self, path: str, body: bytes) -> None:
        """Put the rows of a job; tried once, since a job takes them once. Raises as `document`."""
        self._call("PUT", path, body, kind=_CSV, carries_rows=True, once=True)

    def table(self, path: str) -> bytes:
        """Return the CSV of a job's results. Raises as `document`."""
        return self._call("GET", path, None, kind=_CSV, carries_rows=False, once=False)

    def records(
        self, sobject: str, field: str, keys: Sequence[str], columns: Sequence[str] = (), *, quoted: bool = True
    ) -> list[dict[str, Any]]:
        """Return the records whose field has one of these values, with `Id`, the field and further columns.

        The statement is in the body of a composite request, as Salesforce advises for long ones: in an address, it
        would be limited to 16,384 bytes and in everyone's logs.
        (https://help.salesforce.com/s/articleView?id=000386264, read 2026-11-29)

        Raises: as `document`; AttemptError where the answer is not complete.
        """
        found: list[dict[str, Any]] = []
        select = f"SELECT {', '.join(['Id', field, *columns])} FROM {sobject} WHERE {field} IN "  # noqa: S608
        for some in _some_keys([_literal(key) if quoted else key for key in keys]):
            soql = quote(f"{select}({','.join(some)})", safe="")
            url = f"/services/data/v{API_VERSION}/query?q={soql}"
            request = {"compositeRequest": [{"method": "GET", "url": url, "referenceId": "found"}]}
            answer = self.document("POST", "composite", request, carries_rows=True)
            match answer.get("compositeResponse"):
                case [{"httpStatusCode": 200, "body": {"done": True, "records": list(records)}}]:
                    found += records
                case [{"httpStatusCode": int(status), "body": body}] if 400 <= status < 500:
                    raise RefusedCallError(status, _code_of(body))
                case _:
                    raise AttemptError("unreadable_answer", maybe_applied=False)
        return found

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
        code = _code_of(_json_or_none(content))
        if status in {408, 425, 429} or status >= 500 or status < 300 or code == _OVER_LIMIT:
            waits = retry_after_s(headers.get("retry-after", "").encode("latin-1", "replace"))
            maybe = status not in {403, 429}
            words = code if code == _OVER_LIMIT else f"http_{status}"
            raise AttemptError(words if status >= 300 else "answer_too_long", maybe_applied=maybe, retry_after_s=waits)
        if status < 400:
            raise DestinationError(f"Salesforce answers {status} at `{path}`: redirects are not followed")
        if status in {401, 403}:
            raise DestinationError(f"Salesforce refuses the connection's user with {status} ({code}) at `{path}`")
        raise RefusedCallError(status, code)

    def _answer(
        self, client: Salesforce, method: str, path: str, body: bytes | None, *, kind: str
    ) -> tuple[int, dict[str, str], bytes | None]:
        headers = {
            "Authorization": f"Bearer {client.session_id}",
            "Accept": "text/csv" if kind == _CSV and body is None else "application/json",
            "User-Agent": f"airflow-consent-retl/{__version__}",
        }
        if body is not None:
            headers["Content-Type"] = kind
        url = f"https://{client.sf_instance}/services/data/v{API_VERSION}/{path}"
        timeout_s = self._options.timeout_s
        try:
            with client.session.request(
                method, url, data=body, headers=headers, timeout=timeout_s, allow_redirects=False, stream=True
            ) as response:
                content = _content(response, most=_MAX_ANSWER_BYTES)
                lowered = {name.lower(): value for name, value in response.headers.items()}
        except (requests.exceptions.SSLError, requests.exceptions.InvalidURL):
            raise DestinationError("the certificate or the address of the Salesforce instance is not valid") from None
        except requests.exceptions.ConnectTimeout:
            raise AttemptError("unreachable", maybe_applied=False) from None
        except requests.exceptions.Timeout:
            raise AttemptError("timeout", maybe_applied=True) from None
        except requests.exceptions.RequestException:
            # Its message has the address.
            raise AttemptError("connection_lost", maybe_applied=True) from None
        if found := _USAGE.search(lowered.get("sforce-limit-info", "")):
            self.usage = ApiUsage(int(found[1]), int(found[2]))
        return response.status_code, lowered, content

    def _connected(self, *, instead_of: Salesforce | None = None) -> Salesforce:
        with self._lock:
            if self._client is None or self._client is instead_of:
                self._client = self._logged_in()
            return self._client

    def _logged_in(self) -> Salesforce:
        try:
            return self._connect()
        except SalesforceAuthenticationFailed as failure:
            code = vendor_code(failure.code)
            raise DestinationError(f"Salesforce refuses the login of the connection ({code})") from None
        except requests.exceptions.RequestException:
            raise AttemptError("unreachable", maybe_applied=False, words="the login did not answer") from None
        except (TypeError, ValueError, OSError, AttributeError):
            # The client's words may quote a key or an answer.
            raise ConfigurationError("the connection has no usable way to log in to Salesforce") from None


def _some_keys(literals: Sequence[str]) -> list[list[str]]:
    groups: list[list[str]] = []
    characters = _QUERY_CHARACTERS
    for literal in literals:
        if characters + len(literal) > _QUERY_CHARACTERS or len(groups[-1]) == _KEYS_IN_A_QUERY:
            groups.append([])
            characters = 0
        groups[-1].append(literal)
        characters += len(literal) + 1
    return groups


def _literal(text: str) -> str:
    """Return a text as a literal of SOQL.

    https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_quotedstringescapes.htm
    """
    escapes = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
    return "'" + "".join(escapes.get(character, character) for character in text) + "'"


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


def _code_of(body: object) -> str:
    match body:
        case [{"errorCode": code}, *_] | {"errorCode": code}:
            return vendor_code(code)
        case _:
            return "unnamed"
