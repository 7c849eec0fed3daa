"""The order of two failures: a lost lease is reported rather than the refusal that it causes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from airflow_consent_retl.errors import RefusedError

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.syncing import Sync

P = ParamSpec("P")
T = TypeVar("T")


def lease_before_refusal(method: Callable[Concatenate[Sync, P], T]) -> Callable[Concatenate[Sync, P], T]:
    """Report a lost lease rather than a refusal: files that the next task replaced look like deleted files."""

    @wraps(method)
    def checked(self: Sync, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except RefusedError:
            self.check_lease()
            raise

    return checked
