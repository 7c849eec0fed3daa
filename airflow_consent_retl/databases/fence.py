"""The fence around a database's driver: its exceptions become this package's errors, and none of them passes.

A driver's message may quote a row. Each database says with `translate` what an error means, and which messages were
made before any row was read; everything else of the driver's exception ends here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, Protocol, TypeVar

from airflow_consent_retl.errors import ConsentRetlError

T = TypeVar("T")
# Where an error came up. The server only reads a statement in `check`, and may run it in `prepare`. Until `read`, a
# driver's message can hold no value of a row that was fetched.
Stage = Literal["connect", "check", "prepare", "read"]


class Guarded(Protocol):
    """Calls the driver, and turns what it raises into this package's errors."""

    def __call__(self, stage: Stage, action: Callable[[], T]) -> T:
        """Call `action`."""


class Fenced(ABC):
    """An object that speaks to a driver, and calls it through the fence only."""

    @abstractmethod
    def translate(self, error: Exception, stage: Stage) -> Exception:
        """Return the error to raise for a driver's, without a value of a row."""

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
        translated: returns the error to raise for a driver's; may call the driver again, through `refusal_of`.
        errors: what the driver raises. Every class, unless the driver names all of its own.
    """
    try:
        return action()
    except ConsentRetlError:
        raise
    except errors as error:
        failure = error
    # INVARIANT: outside the handler, so that the driver's exception is not even chained.
    problem = translated(failure)
    del failure
    raise problem


def refusal_of(action: Callable[[], object], translated: Callable[[Exception], Exception]) -> Exception | None:
    """Return the error for what a driver raises, or None where it raises nothing.

    Args:
        action: the call.
        translated: returns this package's error for a driver's.
    """
    try:
        action()
    except Exception as error:  # noqa: BLE001 - INVARIANT: no driver's exception passes, of whatever class
        failure = error
    else:
        return None
    problem = translated(failure)
    del failure
    return problem
