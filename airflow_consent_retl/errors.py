"""The error tree: every error that this package raises.

The branch answers one question: is a retry worth it?

    ConsentRetlError
    ├── PermanentError               never: a person has to change something
    │   ├── PolicyError              the policy, the consent mapping or a request for them; all problems at once
    │   ├── ConfigurationError       an operator's parameters, a connection, a field mapping
    │   │   └── OptionsError         the values of options, all problems at once
    │   ├── ModelError               the model's query, its columns or its primary key
    │   ├── RefusedError             the input of a load is not what a filter permitted
    │   ├── OvertakenError           a newer run delivered: the task is skipped
    │   ├── GuardError               a limit on denied, invalid or rejected rows was exceeded
    │   └── DestinationError         the destination refused the whole load
    │       └── PeopleMissingError   the destination has no place or no row where people were delivered
    ├── NoticeError                  no task: a notifier of a callback failed
    └── TransientError               yes, after `retry_after_s` if the other side named a time
        ├── SourceUnavailableError   the source did not answer
        ├── DestinationUnavailableError  the destination did not answer, or did not report the outcome of some rows
        ├── SecretsUnavailableError  a secrets backend, or Airflow itself, did not answer about a Variable or connection
        ├── LedgerUnavailableError   the ledger did not answer: no ledger, no sends
        ├── SyncBusyError            another task is loading the same sync
        └── LeaseLostError           this task's lease expired, and another task may have taken over

A denied row is a result, not an error. Messages name ids of categories and destinations, columns, paths and
counts. They never contain a subject, a value of a row, a payload or a secret. This module does not import Airflow:
operators turn a `PermanentError` into Airflow's own "do not retry".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class ConsentRetlError(Exception):
    """The root of the tree."""


class NoticeError(ConsentRetlError):
    """A notice was not sent by every notifier: Airflow logs it, and the task's state stays."""


class PermanentError(ConsentRetlError):
    """A retry would end the same way."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem and its place: `path` is a JSON path (`$.categories[1].id`) or a parameter's name."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.message} @ {self.path}"


class PolicyError(PermanentError):
    """The policy, or a DAG's request for it, is wrong. `problems` contains every problem, in document order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = "1 problem" if count == 1 else f"{count} problems"
        super().__init__("\n".join([f"the consent policy cannot be applied, {heading}:", *map(str, self.problems)]))


class ConfigurationError(PermanentError):
    """A parameter, a connection or a field mapping is wrong."""


class OptionsError(ConfigurationError):
    """Options have wrong values. `problems` contains every problem; a path is the name of an option, or leads to it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(one.message for one in self.problems))


class ModelError(PermanentError):
    """The model's query, columns or primary key are wrong."""


class RefusedError(PermanentError):
    """A load received something that no filter permitted, or that has changed since."""


class OvertakenError(PermanentError):
    """A newer run delivered while this one ran: there is nothing left to do. Operators skip the task."""


class GuardError(PermanentError):
    """A share of rows exceeded the limit that the DAG set for it."""


class DestinationError(PermanentError):
    """The destination refused the whole load: credentials, address, table, permissions."""


class PeopleMissingError(DestinationError):
    """The destination has no place, or no row, where people were delivered before."""


class TransientError(ConsentRetlError):
    """A retry may succeed, but not before `retry_after_s` seconds if the other side named a time."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SourceUnavailableError(TransientError):
    """The source did not answer."""


class DestinationUnavailableError(TransientError):
    """The destination did not answer, or did not report the outcome of some rows."""


class SecretsUnavailableError(TransientError):
    """A secrets backend, or Airflow itself, did not answer about a Variable or a connection."""


class LedgerUnavailableError(TransientError):
    """The ledger did not answer or is locked. Nothing is sent without it."""


class SyncBusyError(TransientError):
    """Another task holds the lease of the sync."""


class LeaseLostError(TransientError):
    """The lease of the sync expired, and another task may hold it now. Nothing more is sent."""
