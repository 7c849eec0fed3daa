"""The fence around a database's driver: no exception of the driver passes; each becomes an error of this package.

A driver's message may quote a row. Each database's `translate` maps an error, and keeps a message only if the driver
made it before a row was read. All other parts of the driver's exception are dropped here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, Protocol, TypeVar

from airflow_consent_retl.errors import ConsentRetlError

T = TypeVar("T")
# The step in which an error was raised. The server only parses a statement in `check`, and may run it in `prepare`.
# Before `read`, a driver's message cannot contain a value of a fetched row.
Stage = Literal["connect", "check", "prepare", "read"]


class Guarded(Protocol):
    """A function that calls the driver, and raises this package's errors for the driver's."""

    def __call__(self, stage: Stage, action: Callable[[], T]) -> T:
        """Call `action`."""


class Fenced(ABC):
    """An object that uses a driver, and calls it only through the fence."""

    @abstractmethod
    def translate(self, error: Exception, stage: Stage) -> Exception:
        """Return the error to raise for a driver's error, without a value of a row."""

    def _guarded(self, stage: Stage, action: Callable[[], T]) -> T:
        """Call the driver."""
        return fenced(action, lambda error: self.translate(error, stage))


def fenced(
    action: Callable[[], T],
    translated: Callable[[Exception], Exception],
    *,
    errors: tuple[type[Exception], ...] = (Exception,),
) -> T:
    """Call a driver. This package's own errors pass as they are.

    Args:
        action: the call.
        translated: returns the error to raise for a driver's error; may call the driver again, through `refusal_of`.
        errors: the driver's exceptions. All exceptions, unless the driver has base classes for its own.
    """
    try:
        return action()
    except ConsentRetlError:
        raise
    except errors as error:
        failure = error
    # INVARIANT: raised outside the handler, so that the driver's exception is not chained either.
    problem = translated(failure)
    del failure
    raise problem


def refusal_of(action: Callable[[], object], translated: Callable[[Exception], Exception]) -> Exception | None:
    """Return the error for an exception of the driver; None if it raises none.

    Args:
        action: the call.
        translated: returns this package's error for a driver's error.
    """
    try:
        action()
    except Exception as error:  # noqa: BLE001 - INVARIANT: no driver's exception passes, whatever its class
        failure = error
    else:
        return None
    problem = translated(failure)
    del failure
    return problem
