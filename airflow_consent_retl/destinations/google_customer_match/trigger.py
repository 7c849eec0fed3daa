"""The trigger that waits for Google to process requests, without a worker. It decides nothing: `confirm` asks again.

Airflow stores its connection id, settings and request ids; its event contains request ids and states.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_consent_retl.destinations.google_customer_match.audience import OVER_QUOTA
from airflow_consent_retl.destinations.google_customer_match.data_manager_hook import GoogleDataManagerHook
from airflow_consent_retl.destinations.google_customer_match.faults import RefusedRequestError
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.pace import Pace
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.google_customer_match.api import DataManagerApi

log = logging.getLogger(__name__)

_GROWTH = 1.5
_LONGEST_INTERVAL_S = 600.0


class DataManagerRequestsTrigger(BaseTrigger):
    """Fires when every request is processed, at the deadline, or when the API refuses questions.

    Its event: `{"states": {request_id: "processing" | "succeeded" | "failed" | "partial_success" | "unknown"},
    "processed": bool}`.

    Args:
        request_ids: the API's ids of the requests.
        gcp_conn_id: a Google Cloud connection.
        impersonation_chain: service account to impersonate, or a chain of them.
        deadline: ISO 8601 with offset; it survives a restart of the triggerer.
        poll_interval_s: seconds before the first question; the interval grows by half with each round, up to ten
            minutes.
        requests_per_minute: maximum number of questions.
        timeout_s: seconds for each answer.
    """

    def __init__(
        self,
        *,
        request_ids: Sequence[str],
        gcp_conn_id: str,
        deadline: str,
        impersonation_chain: str | Sequence[str] | None = None,
        poll_interval_s: float = 60,
        requests_per_minute: int = 300,
        timeout_s: float = 120,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.request_ids = list(request_ids)
        self.gcp_conn_id = gcp_conn_id
        self.deadline = deadline
        self.impersonation_chain = impersonation_chain
        self.poll_interval_s = poll_interval_s
        self.requests_per_minute = requests_per_minute
        self.timeout_s = timeout_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments."""
        chain = self.impersonation_chain
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "request_ids": self.request_ids,
                "gcp_conn_id": self.gcp_conn_id,
                "deadline": self.deadline,
                "impersonation_chain": chain if chain is None or isinstance(chain, str) else list(chain),
                "poll_interval_s": self.poll_interval_s,
                "requests_per_minute": self.requests_per_minute,
                "timeout_s": self.timeout_s,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll, and yield one event."""
        states = dict.fromkeys(self.request_ids, "processing")
        try:
            api = await sync_to_async(self._connected)()
        except ConfigurationError as error:
            # The task itself asks next, and fails with this error.
            log.warning("cannot wait for the requests: %s", error)
            yield self._event(states)
            return
        try:
            await self._poll(api, states)
        finally:
            api.close()
        yield self._event(states)

    async def _poll(self, api: DataManagerApi, states: dict[str, str]) -> None:
        interval_s = self.poll_interval_s
        deadline = datetime.fromisoformat(self.deadline)
        while open_ids := [request_id for request_id, state in states.items() if state == "processing"]:
            left_s = (deadline - datetime.now(UTC)).total_seconds()
            if left_s <= 0:
                log.warning("%s of %s requests are not processed in time", len(open_ids), len(states))
                return
            await asyncio.sleep(min(interval_s, left_s))
            interval_s = min(interval_s * _GROWTH, _LONGEST_INTERVAL_S)
            for request_id in open_ids:
                try:
                    # Threads of its own: a slow answer must not hold up the other triggers.
                    states[request_id] = await sync_to_async(self._state, thread_sensitive=False)(api, request_id)
                except AttemptError as fault:
                    log.info("the Data Manager API does not answer (%s): asking again", fault.code)
                    break
                except RefusedRequestError as refusal:
                    log.warning("the Data Manager API refuses the question: %s", refusal.code)
                    return

    def _connected(self) -> DataManagerApi:
        hook = GoogleDataManagerHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        client = hook.get_conn()
        # Imported after the hook: without the extra, the hook raises an error that names it.
        from airflow_consent_retl.destinations.google_customer_match.api import DataManagerApi

        return DataManagerApi(
            client, pace=Pace(requests=self.requests_per_minute, code=OVER_QUOTA), timeout_s=self.timeout_s
        )

    def _state(self, api: DataManagerApi, request_id: str) -> str:
        api.pace.wait(at_most_s=self.timeout_s)
        return str(api.status(request_id).state)

    def _event(self, states: dict[str, str]) -> TriggerEvent:
        payload = {"states": states, "processed": "processing" not in states.values()}
        return TriggerEvent(payload)  # type: ignore[no-untyped-call]
