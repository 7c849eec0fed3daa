"""The options that all HTTP destinations share: batches, connections, retries and sizes, checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from airflow_consent_retl.contract.checked_options import CheckedOptions, OptionCheck
from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.errors import Problem


def _request_rows(options: HttpOptions) -> Iterator[Problem]:
    if options.request_rows is not None:
        most, sentence = options.request_rows
        for name in ("batch_rows", "removal_batch_rows"):
            if (getattr(options, name) or 0) > most:
                yield Problem(name, sentence)


def _removal_rows(options: HttpOptions) -> Iterator[Problem]:
    most = options.most.get("removal_batch_rows")
    if most is not None and options.removal_batch_rows is None:
        yield Problem("removal_batch_rows", f"removal_batch_rows must be 1 to {most:,.0f}")


@parameter_class
class HttpOptions(CheckedOptions):
    """The limits on requests, and their retries. A subclass declares what its own options may be: see `CheckedOptions`.

    Attributes:
        request_rows: the vendor's most rows in a request, with the sentence for a DAG that asks for more.

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
        OptionsError: values are out of their ranges; the message names all of them.
    """

    internal: ClassVar[frozenset[str]] = frozenset({"backoff_s", "max_body_bytes", "removal_batch_rows"})
    request_rows: ClassVar[tuple[int, str] | None] = None
    counts: ClassVar[tuple[str, ...]] = (
        "batch_rows",
        "removal_batch_rows",
        "concurrency",
        "max_attempts",
        "max_body_bytes",
    )
    positive: ClassVar[tuple[str, ...]] = ("timeout_s", "max_retry_s", "backoff_s")
    checks: ClassVar[tuple[OptionCheck, ...]] = (_request_rows, _removal_rows)

    batch_rows: int = 1000
    removal_batch_rows: int | None = None
    concurrency: int = 8
    timeout_s: float = 30
    max_attempts: int = 6
    max_retry_s: float = 300
    backoff_s: float = 0.5
    max_body_bytes: int = 4 * 1024 * 1024
