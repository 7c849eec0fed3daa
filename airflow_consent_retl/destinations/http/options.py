"""The options that all HTTP destinations share: batches, connections, retries and sizes, checked."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_consent_retl.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """The limits on requests, and their retries.

    Args:
        batch_rows: maximum number of rows in a request.
        removal_batch_rows: maximum number of people in a removal; None: `batch_rows`.
        concurrency: requests at the same time, and connections kept.
        timeout_s: seconds to connect, and again for each answer.
        max_attempts: maximum number of requests for a batch.
        max_retry_s: seconds after which a batch is not retried; a later `Retry-After` ends the retries at once.
        backoff_s: longest wait before the second try. It doubles with each try, up to a minute; the actual wait is a
            random part of it.
        max_body_bytes: a larger request is sent in halves, each under a key of its own.

    Raises:
        ConfigurationError: values are out of their ranges; the message names all of them.
    """

    batch_rows: int = 1000
    removal_batch_rows: int | None = None
    concurrency: int = 8
    timeout_s: float = 30
    max_attempts: int = 6
    max_retry_s: float = 300
    backoff_s: float = 0.5
    max_body_bytes: int = 4 * 1024 * 1024

    def __post_init__(self) -> None:
        if wrong := self.wrong():
            raise ConfigurationError("; ".join(wrong))

    def wrong(self) -> list[str]:
        """Return the errors in the values."""
        counts = ("batch_rows", "concurrency", "max_attempts", "max_body_bytes")
        wrong = [f"{name} must be at least 1" for name in counts if getattr(self, name) < 1]
        if self.removal_batch_rows is not None and self.removal_batch_rows < 1:
            wrong.append("removal_batch_rows must be at least 1")
        seconds = ("timeout_s", "max_retry_s", "backoff_s")
        return wrong + [f"{name} must be above 0" for name in seconds if not getattr(self, name) > 0]
