"""People on the suppression list of a workspace, put there without a look at any destination."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow_consent_retl.hooks.forgotten_list import suppression_list


def suppress(ids: Iterable[str], *, workspace: str | None = None, models: Sequence[str] | None = None) -> int:
    """Put people on the list, and return the number of new ones."""
    people = suppression_list(workspace)
    return people.forget(people.people(ids), models=models, by="test")
