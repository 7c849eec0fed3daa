"""The trigger that waits for a destination to process requests, without a worker. It decides nothing: a load asks.

Airflow stores the destination's parameters, which name connections and hold no secret, and the ids of requests.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, TransientError
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Destination

log = module_log(__name__)

_GROWTH = 1.5
_LONGEST_INTERVAL_S = 600.0
# The event has to come before Airflow's own timeout.
_OF_THE_TIMEOUT = 0.95


class PendingRequestsTrigger(BaseTrigger):
    """Fires when every request is processed, at the deadline, or when the destination refuses questions.

    Its event: `{"processed": bool, "refused": bool, "open": the number of requests that are not processed}`.

    Args:
        spec: the module and the name of the class of a destination's parameters.
        parameters: its arguments.
        request_ids: the destination's ids of the requests.
        deadline: ISO 8601 with offset; it survives a restart of the triggerer.
        poll_interval_s: seconds before the first question; the interval grows by half with each round, up to ten
            minutes.
    """

    def __init__(
        self,
        *,
        spec: str,
        parameters: Mapping[str, Any],
        request_ids: Sequence[str],
        deadline: str,
        poll_interval_s: float = 30,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.spec = spec
        self.parameters = dict(parameters)
        self.request_ids = list(request_ids)
        self.deadline = deadline
        self.poll_interval_s = poll_interval_s

    @classmethod
    def of(cls, spec: DestinationSpec, request_ids: Sequence[str], *, poll_interval_s: float, timeout_s: float) -> Self:
        """Return a trigger for requests of a destination, which waits a little less than `timeout_s`.

        Args:
            spec: a frozen dataclass, whose parameters are texts, numbers, lists and objects.
            request_ids: see the class.
            poll_interval_s: see the class.
            timeout_s: seconds.
        """
        if not dataclasses.is_dataclass(spec):
            raise TypeError(f"{type(spec).__name__} has to be a dataclass")
        parameters = {field.name: _plain(getattr(spec, field.name)) for field in dataclasses.fields(spec) if field.init}
        return cls(
            spec=f"{type(spec).__module__}.{type(spec).__qualname__}",
            parameters=parameters,
            request_ids=request_ids,
            deadline=(datetime.now(UTC) + timedelta(seconds=_OF_THE_TIMEOUT * timeout_s)).isoformat(),
            poll_interval_s=poll_interval_s,
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments."""
        names = ("spec", "parameters", "request_ids", "deadline", "poll_interval_s")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask again and again, and yield one event."""
        left = list(self.request_ids)
        refused = False
        try:
            destination = await sync_to_async(self._built)()
            try:
                await self._wait(destination, left)
            finally:
                # It ends a question that a thread still waits for.
                await sync_to_async(destination.abort, thread_sensitive=False)()
        except ConsentRetlError as error:
            # The task itself asks next, and fails with this error, or waits where only the triggerer cannot ask.
            log.warning("cannot wait for the requests: %s", error)
            refused = True
        event = {"processed": not left, "refused": refused, "open": len(left)}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _wait(self, destination: Destination, left: list[str]) -> None:
        interval_s = self.poll_interval_s
        deadline = datetime.fromisoformat(self.deadline)
        while left:
            left_s = (deadline - datetime.now(UTC)).total_seconds()
            if left_s <= 0:
                log.warning("%s of %s requests are not processed in time", len(left), len(self.request_ids))
                return
            await asyncio.sleep(min(interval_s, left_s))
            interval_s = min(interval_s * _GROWTH, _LONGEST_INTERVAL_S)
            for request_id in list(left):
                try:
                    # Threads of its own: a slow answer must not hold up the other triggers.
                    processed = await sync_to_async(destination.is_processed, thread_sensitive=False)(request_id)
                except TransientError as error:
                    log.info("no answer about the requests (%s): asking again", error)
                    break
                if processed:
                    left.remove(request_id)

    def _built(self) -> Destination:
        module, _, name = self.spec.rpartition(".")
        try:
            spec_class = getattr(import_module(module), name)
        except (ImportError, AttributeError):
            raise ConfigurationError(
                f"the triggerer cannot import {self.spec}: a class of a DAG file has to move to a module"
            ) from None
        if not (isinstance(spec_class, type) and issubclass(spec_class, DestinationSpec)):
            raise ConfigurationError(f"{self.spec} is no DestinationSpec")
        return spec_class(**self.parameters).build()


def _plain(value: Any) -> Any:
    """Return a parameter in the types that Airflow stores."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    return value
