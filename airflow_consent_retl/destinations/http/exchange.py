"""The requests to one host: a guarded client with kept connections, and the retries that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_consent_retl import __version__
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.client import Answer, GuardedClient
from airflow_consent_retl.destinations.http.retry import Retries

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.options import HttpOptions
    from airflow_consent_retl.destinations.http.pace import Pace

_ASK_AGAIN = frozenset({408, 425, 429})
_PACED = frozenset({429, 503})


class Exchange:
    """Makes single tries, for `retries` to repeat. Any number of threads may call.

    Args:
        address: the host, and the headers of every request.
        options: connections, time limits and retries.
        pace: of all requests.
        max_answer_bytes: the most bytes of an answer.
    """

    def __init__(self, address: HttpAddress, options: HttpOptions, *, pace: Pace, max_answer_bytes: int) -> None:
        self.retries = Retries(pace, options)
        self._client = GuardedClient(
            address, connections=options.concurrency, timeout_s=options.timeout_s, max_answer_bytes=max_answer_bytes
        )

    def check_address(self) -> None:
        """Resolve the host and check every address. Raises as `GuardedClient.check_address`."""
        self._client.check_address()

    def request(self, method: str, target: str, body: bytes, *, headers: Mapping[str, str]) -> Answer:
        """Make one try, and return its answer, whatever its status. Raises as `GuardedClient.request`."""
        own = {"Accept": "application/json", "Accept-Encoding": "identity"}
        agent = {"User-Agent": f"airflow-consent-retl/{__version__}"}
        return self._client.request(method, target, body, headers={**own, **agent, **headers})

    def check_final(self, answer: Answer, *, changes: bool) -> None:
        """Raise for an answer whose status asks for another try; all requests wait where it names a time.

        Args:
            answer: of a try.
            changes: whether the request may have changed something.

        Raises:
            AttemptError: with the time to wait.
        """
        status, waits_s = answer.status, answer.retry_after_s
        if status not in _ASK_AGAIN and status < 500:
            return
        if waits_s is not None and status in _PACED:
            self.retries.pace.hold(waits_s)
        raise AttemptError(f"http_{status}", maybe_applied=changes and status != 429, retry_after_s=waits_s)

    def close(self, *, give_up: bool) -> None:
        """Close the connections; with `give_up`, end waits and running requests as well."""
        if give_up:
            self.retries.give_up()
        self._client.close()
