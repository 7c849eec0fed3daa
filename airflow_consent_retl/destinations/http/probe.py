"""The test of an HTTP connection: one request without a row, with every check that a load makes of the address."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.errors import ConsentRetlError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer, GuardedClient

_TIMEOUT_S = 10.0
_MAX_ANSWER_BYTES = 64 * 1024
_CREDENTIALS_REFUSED = frozenset({401, 403, 407})
_CAUSES = {
    "timeout": "it accepted the connection, and did not answer in time",
    "connection_lost": "the connection was lost, or the answer is not HTTP",
    "token_refused": "it does not accept a token that was just made for it",
}


def probe_client(address: HttpAddress) -> GuardedClient:
    """Return a client for single requests; contacts nothing."""
    from airflow_consent_retl.destinations.http.client import GuardedClient

    return GuardedClient(address, connections=1, timeout_s=_TIMEOUT_S, max_answer_bytes=_MAX_ANSWER_BYTES)


def probed(
    address_of: Callable[[], HttpAddress], method: str, *, body: bytes = b"", verdict: Callable[[int], tuple[bool, str]]
) -> tuple[bool, str]:
    """Ask once, and return whether a connection passes its test, with a sentence that names no secret.

    Args:
        address_of: returns the address to ask.
        method: of the request.
        body: JSON, or nothing.
        verdict: returns the same for a status that refuses no credentials and is no failure of the server.
    """
    try:
        address = address_of()
        answer = _answer(address, method, body)
    except ConsentRetlError as error:
        return False, str(error)
    except AttemptError as failure:
        # A failure to connect names its place itself.
        place = f"{address.host}, port {address.port}"
        return False, f"{place}: {_CAUSES[failure.code]}" if failure.code in _CAUSES else failure.words
    found = f"{address.host}, port {address.port}, answered {method} {address.path} with {answer.status}"
    if answer.status in _CREDENTIALS_REFUSED:
        return False, f"{found}: it does not accept these credentials, or wants some"
    if answer.status >= 500:
        return False, f"{found}: its server fails"
    passes, sentence = verdict(answer.status)
    return passes, f"{found}: {sentence}"


def _answer(address: HttpAddress, method: str, body: bytes) -> Answer:
    headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body else {})
    client = probe_client(address)
    try:
        client.check_address()
        return client.request(method, address.target, body, headers=headers)
    finally:
        client.close()
