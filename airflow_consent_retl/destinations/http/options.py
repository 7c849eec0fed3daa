"""The options that all HTTP destinations share: batches, connections, retries and sizes, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.withdrawal import wrong_companions, wrong_withdrawal
from airflow_consent_retl.errors import ConfigurationError


@parameter_class
class HttpOptions:
    """The limits on requests, and their retries. A subclass declares what its own options may be.

    Attributes:
        counts: options that are at least 1.
        most: options with a largest value.
        request_rows: the vendor's most rows in a request, with the sentence for a DAG that asks for more.
        choices: options with some words as values; None: it may be left out.
        withdrawals: the choices of `on_withdrawal`, each with a sentence for people; empty: there is no such option.
        companions: by choice of `on_withdrawal`, the option that the choice needs, and that only it may have.
        required: by the name and a value of an option, the options that it needs, and that others may have too.
        texts: options that must not be empty.
        needed: the same for other choices: the option by the name and the value of another one.

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

    internal: ClassVar[frozenset[str]] = frozenset({"backoff_s", "max_body_bytes", "removal_batch_rows"})
    counts: ClassVar[tuple[str, ...]] = ()
    most: ClassVar[Mapping[str, int]] = {}
    request_rows: ClassVar[tuple[int, str] | None] = None
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {}
    withdrawals: ClassVar[Mapping[str, str]] = {}
    companions: ClassVar[Mapping[str, str]] = {}
    required: ClassVar[Mapping[tuple[str, str], tuple[str, ...]]] = {}
    texts: ClassVar[tuple[str, ...]] = ()
    needed: ClassVar[Mapping[tuple[str, str], str]] = {}

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
        counts = ("batch_rows", "concurrency", "max_attempts", "max_body_bytes", *self.counts)
        wrong = [f"{name} must be at least 1" for name in counts if getattr(self, name) < 1]
        if self.removal_batch_rows is not None and self.removal_batch_rows < 1:
            wrong.append("removal_batch_rows must be at least 1")
        seconds = ("timeout_s", "max_retry_s", "backoff_s")
        wrong += [f"{name} must be above 0" for name in seconds if not getattr(self, name) > 0]
        wrong += [
            f"{name} must be at most {top:,}" for name, top in self.most.items() if (getattr(self, name) or 0) > top
        ]
        if self.request_rows is not None and max(self.batch_rows, self.removal_batch_rows or 0) > self.request_rows[0]:
            wrong.append(self.request_rows[1])
        for name, words in self.choices.items():
            if getattr(self, name) not in words:
                *others, last = (f"`{word}`" for word in words if word is not None)
                wrong.append(f"{name} must be {', '.join(others)} or {last}")
        wrong += [f"{name} must not be empty" for name in self.texts if not getattr(self, name)]
        for (option, value), names in self.required.items():
            if getattr(self, option) == value and not all(getattr(self, name) for name in names):
                wrong.append(f'{option}="{value}" needs {" and ".join(names)}')
        for (option, value), name in self.needed.items():
            wrong += wrong_companions(getattr(self, option), {value: (name, getattr(self, name))}, option=option)
        return wrong + self._wrong_withdrawal()

    def _wrong_withdrawal(self) -> list[str]:
        if not self.withdrawals:
            return []
        chosen = getattr(self, "on_withdrawal", None)
        companions = {choice: (name, getattr(self, name)) for choice, name in self.companions.items()}
        return wrong_withdrawal(chosen, self.withdrawals) + wrong_companions(chosen, companions)
