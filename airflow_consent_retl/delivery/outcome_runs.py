"""The outcomes of a batch as a short text: how many rows in a row ended in the same way. Never a value of a row."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import Annotated

import msgspec

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus

_Run = tuple[Annotated[int, msgspec.Meta(ge=0)], Annotated[int, msgspec.Meta(ge=1)]]


class _Runs(msgspec.Struct, forbid_unknown_fields=True):
    """Each distinct outcome once, and runs of (which one, how many rows)."""

    outcomes: list[tuple[RowStatus, str]]
    runs: list[_Run]


def encoded(outcomes: Outcomes) -> str:
    """Return the outcomes as JSON, as long as there are changes from one row to the next."""
    numbers: dict[Outcome, int] = {}
    runs: list[_Run] = []
    for outcome, pieces in groupby(_pieces(outcomes), key=lambda piece: piece[0]):
        runs.append((numbers.setdefault(outcome, len(numbers)), sum(rows for _, rows in pieces)))
    return msgspec.json.encode(_Runs([(outcome.status, outcome.code) for outcome in numbers], runs)).decode()


def decoded(text: str) -> Outcomes:
    """Return what `encoded` was given.

    Raises:
        ValueError: the text is something else.
    """
    try:
        document = msgspec.json.decode(text, type=_Runs)
        kinds = [Outcome(status, code) for status, code in document.outcomes]
        runs = [(kinds[number], rows) for number, rows in document.runs]
    except (msgspec.DecodeError, IndexError):
        raise ValueError("not the outcomes of a batch") from None
    if not runs:
        return Outcomes(0)
    totals: Counter[Outcome] = Counter()
    for outcome, rows in runs:
        totals[outcome] += rows
    common = totals.most_common(1)[0][0]
    exceptions: dict[int, Outcome] = {}
    start = 0
    for outcome, rows in runs:
        if outcome != common:
            exceptions.update(dict.fromkeys(range(start, start + rows), outcome))
        start += rows
    return Outcomes(start, common, exceptions)


def _pieces(outcomes: Outcomes) -> list[tuple[Outcome, int]]:
    """Cut the batch at its exceptions, without asking for every row."""
    pieces: list[tuple[Outcome, int]] = []
    start = 0
    for row in sorted(outcomes.exceptions):
        if row > start:
            pieces.append((outcomes.common, row - start))
        pieces.append((outcomes.exceptions[row], 1))
        start = row + 1
    if outcomes.rows > start:
        pieces.append((outcomes.common, outcomes.rows - start))
    return pieces
