"""The checks that all declarations of consent from other queries share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_consent_retl.consent.match_forms import MatchForm
from airflow_consent_retl.errors import Problem


def text_problems(path: str, given: Mapping[str, object], *, required: Sequence[str]) -> list[Problem]:
    """Return a problem for each parameter that is no text, or empty. Others than the required ones may be None."""
    return [
        Problem(f"{path}.{name}", "expected text that is not empty")
        for name, text in given.items()
        if (name in required or text is not None) and not (isinstance(text, str) and text.strip())
    ]


def match_problems(match: object, path: str, name: str = "match") -> list[Problem]:
    """Return a problem for a name that is no `MatchForm`."""
    return [] if match in list(MatchForm) else [Problem(f"{path}.{name}", f"expected one of {', '.join(MatchForm)}")]


def shrink_problems(ratio: object, path: str) -> list[Problem]:
    """Return a problem for a `max_shrink_ratio` that is no share."""
    if ratio is None or (type(ratio) in (int, float) and isinstance(ratio, int | float) and 0 <= ratio <= 1):
        return []
    return [Problem(f"{path}.max_shrink_ratio", "expected a share, 0 to 1, or None")]


def number_problems(number: object, path: str, *, least: int) -> list[Problem]:
    """Return a problem for a number of rows or people that is no integer, or too small."""
    if type(number) is int and number >= least:
        return []
    return [Problem(path, f"expected a whole number, at least {least}")]


def same_column_problems(path: str, columns: Mapping[str, str | None]) -> list[Problem]:
    """Return a problem for each parameter that names the column of a parameter before it; None names none."""
    first: dict[str, str] = {}
    problems = []
    for name, column in columns.items():
        other = name if column is None else first.setdefault(column, name)
        if other != name:
            message = f"the column `{column}` is `{other}` already: select it a second time under a name of its own"
            problems.append(Problem(f"{path}.{name}", f"{message} (`{column} AS {name}`)"))
    return problems
