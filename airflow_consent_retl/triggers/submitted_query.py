"""The trigger that waits for a query to end without occupying a worker. It reads no row and decides nothing.

Airflow stores its connection id, its settings and the query id. Its event says whether the query has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_consent_retl.databases.submitted import SubmittedQueries, submitted_queries
from airflow_consent_retl.errors import ConsentRetlError, TransientError
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.progress import module_log

log = module_log(__name__)


class SubmittedQueryTrigger(BaseTrigger):
    """A trigger that fires when the query ends, whether it succeeded or failed, or at the deadline.

    Its event is `{"over": bool, "query_id": …}` plus the entries of `note`. It does not contain the reason of a
    failure: the task gets it when it attaches to the result. The query is cancelled if a person clears, fails or marks
    the task while it waits (Airflow 3.3 or newer).

    Args:
        conn_id: the connection that the query runs on.
        hook_params: arguments of its hook, as in the extraction; they contain no secret.
        query_id: the query's id on the server.
        deadline: ISO 8601 with offset; it survives a restart of the triggerer.
        poll_interval_s: seconds between two polls.
        note: values that the event returns to the task unchanged.
    """

    def __init__(
        self,
        *,
        conn_id: str,
        query_id: str,
        deadline: str,
        poll_interval_s: float = 10,
        note: Mapping[str, str | None] | None = None,
        hook_params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.query_id = query_id
        self.deadline = deadline
        self.poll_interval_s = poll_interval_s
        self.note = dict(note or {})
        self.hook_params = dict(hook_params or {})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "conn_id": self.conn_id,
                "query_id": self.query_id,
                "deadline": self.deadline,
                "poll_interval_s": self.poll_interval_s,
                "note": self.note,
                "hook_params": self.hook_params,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll, and yield one event."""
        deadline = datetime.fromisoformat(self.deadline)
        while True:
            is_running = await sync_to_async(self._is_running, thread_sensitive=False)()
            if not is_running:
                yield self._event(is_over=True)
                return
            left_s = (deadline - datetime.now(UTC)).total_seconds()
            if left_s <= 0:
                await self.on_kill()
                yield self._event(is_over=False)
                return
            await asyncio.sleep(min(self.poll_interval_s, left_s))

    async def on_kill(self) -> None:
        """Cancel the query, because no task will read its result."""
        await sync_to_async(self._cancel, thread_sensitive=False)()

    def _event(self, *, is_over: bool) -> TriggerEvent:
        payload = {**self.note, "over": is_over, "query_id": self.query_id}
        return TriggerEvent(payload)  # type: ignore[no-untyped-call]

    def _queries(self) -> SubmittedQueries:
        return submitted_queries(sql_hook(self.conn_id, self.hook_params), conn_id=self.conn_id)

    def _is_running(self) -> bool:
        try:
            # Each poll opens its own session: a session kept open for hours breaks, and occupies a slot on the server.
            with self._queries() as queries:
                return queries.is_running(self.query_id)
        except TransientError as error:
            log.info("connection `%s` does not answer, the trigger will poll again: %s", self.conn_id, error)
            return True
        except ConsentRetlError as error:
            log.warning("the trigger stopped waiting for query %s: %s", self.query_id, error)
            return False

    def _cancel(self) -> None:
        try:
            with self._queries() as queries:
                queries.cancel(self.query_id)
        except ConsentRetlError as error:
            log.warning("query %s was not cancelled: %s", self.query_id, error)
        else:
            log.info("query %s was cancelled", self.query_id)
