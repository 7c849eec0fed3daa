"""Every error this package raises.

The tree answers one question: is another try worth it?

    ConsentRetlError
    ├── PermanentError               never: a person has to change something
    │   ├── PolicyError              the policy, the consent mapping or what was asked of them; all problems at once
    │   ├── ConfigurationError       an operator's parameters, a connection, a field mapping
    │   ├── ModelError               the model's query, its columns or its primary key
    │   ├── RefusedError             what a load was handed is not what a filter permitted
    │   ├── GuardError               a limit on denied, invalid or rejected rows was passed
    │   └── DestinationError         the destination refused the load as a whole
    └── TransientError               yes, after `retry_after_s` where the other side named a time
        ├── SourceUnavailableError   the source did not answer
        ├── DestinationUnavailableError  the destination did not answer, or did not say what became of some rows
        ├── LedgerUnavailableError   the ledger did not answer: no ledger, no sends
        ├── SyncBusyError            another task is loading the same sync
        └── LeaseLostError           this task was taken for dead, and another one goes on in its place

A denied row is a result, not an error. Messages name ids of categories and destinations, columns, paths and
counts. They never hold a subject, a value of a row, a payload or a secret. Airflow is not imported here: operators
turn a `PermanentError` into Airflow's own "do not retry".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class ConsentRetlError(Exception):
    """The root of the tree."""


class PermanentError(ConsentRetlError):
    """Another try would end the same way."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong, and where: `path` is a JSON path (`$.categories[1].id`) or a parameter's name."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.message} @ {self.path}"


class PolicyError(PermanentError):
    """The policy or what a DAG asks of it is wrong. `problems` holds every finding, in document order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = "1 problem" if count == 1 else f"{count} problems"
        super().__init__("\n".join([f"the consent policy cannot be applied, {heading}:", *map(str, self.problems)]))


class ConfigurationError(PermanentError):
    """A parameter, a connection or a field mapping is wrong."""


class ModelError(PermanentError):
    """The model's query, columns or primary key are wrong."""


class RefusedError(PermanentError):
    """A load was handed something that no filter permitted, or that changed since."""


class GuardError(PermanentError):
    """A share of rows passed the limit that the DAG set for it."""


class DestinationError(PermanentError):
    """The destination refused the load as a whole: credentials, address, table, permissions."""


class TransientError(ConsentRetlError):
    """Another try may succeed; not before `retry_after_s` seconds, where the other side named a time."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SourceUnavailableError(TransientError):
    """The source did not answer."""


class DestinationUnavailableError(TransientError):
    """The destination did not answer, or did not say what became of some rows."""


class LedgerUnavailableError(TransientError):
    """The ledger did not answer, or is locked: nothing is sent without it."""


class SyncBusyError(TransientError):
    """Another task holds the lease of the sync."""


class LeaseLostError(TransientError):
    """The lease of the sync ran out and may be another task's by now: nothing more is sent."""
