"""What a destination is: its limits, and one outcome for each row it is sent.

A destination sees permitted rows only, with its own field names, and nothing else of the model. It knows nothing of
consent, policies or Airflow's tasks: `delivery.protocol` stands between.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.delivery.outcomes import Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a destination takes at once.

    Args:
        batch_rows: rows in one `send` at the most.
        concurrency: calls of `send` under way at the same time, from as many threads.
    """

    batch_rows: int
    concurrency: int = 1

    def __post_init__(self) -> None:
        if self.batch_rows < 1 or self.concurrency < 1:
            raise ValueError("batch_rows and concurrency must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load of one permitted set into one destination, known before the first row is read.

    Args:
        key: hex digest; the same for every try that sends the same rows with the same fields.
        destination: the policy's name for it.
        model: the model's name.
        schema: the rows as the destination sees them: its field names, in the mapping's order.
        key_field: the destination's name for the primary key, or None where it is not mapped.
        rows: how many rows will be sent.
        decided_at: when consent was decided.
    """

    key: str
    destination: str
    model: str
    schema: pa.Schema
    key_field: str | None
    rows: int
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that are sent together.

    Args:
        key: hex digest, the idempotency key: the same rows in the same load always carry the same one.
        rows: at most `Limits.batch_rows`, with the schema of the `Load`.
    """

    key: str
    rows: pa.RecordBatch


class Destination(ABC):
    """A place that permitted rows can be sent to.

    The protocol calls `open` once, `send` for each batch from up to `limits.concurrency` threads, then `commit`, or
    `abort` when the load did not end well. A destination may publish in `send` or only in `commit`.
    """

    @property
    @abstractmethod
    def limits(self) -> Limits:
        """What it takes at once."""

    @abstractmethod
    def open(self, load: Load) -> None:
        """Connect, and check that the rows fit, before anything is sent.

        Raises:
            ConfigurationError: the fields do not suit the destination.
            DestinationError: the destination refuses: credentials, address, a table of another shape.
            DestinationUnavailableError: it does not answer.
        """

    @abstractmethod
    def send(self, batch: Batch) -> Outcomes:
        """Send a batch and return exactly one outcome for each of its rows.

        A row is `accepted` only where the destination said so. Retries of single requests happen inside.

        Raises:
            DestinationError: no batch can succeed: the load stops.
            DestinationUnavailableError: this batch was surely not applied, and later tries may succeed.
        """

    def commit(self) -> None:  # noqa: B027 - a destination that publishes in `send` has nothing to do here
        """Publish what was sent, after the last batch."""

    def abort(self) -> None:  # noqa: B027
        """Give up what `commit` has not published, and let go of every resource."""
