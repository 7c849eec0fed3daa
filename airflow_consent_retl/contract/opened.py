"""The check that a destination was opened before it is used."""

from __future__ import annotations

from typing import TypeVar

from airflow_consent_retl.errors import DestinationError

Kept = TypeVar("Kept")


def opened(kept: Kept | None, name: str) -> Kept:
    """Return what a destination keeps from `open` to its end.

    Args:
        kept: None before `open` and after `commit` or `abort`.
        name: the destination's name in messages, such as `the webhook`.

    Raises:
        DestinationError: the destination was not opened.
    """
    if kept is None:
        raise DestinationError(f"{name} was not opened")
    return kept
