"""What a webhook's answer says of each row; an answer that is not fully understood says nothing.

The contract, a JSON object with at least one of these fields and no others:

    {"results": [{"index": 0, "status": "accepted"}, {"id": "u-7", "status": "rejected", "code": "invalid_email"}]}
    {"errors": [{"index": 0, "code": "invalid_email"}]}
    {"accepted": 998, "rejected": 2}

`index` is the row's position in the request, `id` its primary key as it was sent; an entry may give both. A row is
named at most once. With `results`, a row that is not named is `uncertain`; with `errors` alone, it is accepted. Counts
must agree with the lists, or with the number of rows where there is no list. In an answer to a removal, a row that is
rejected with the code `not_found` or `gone` is removed: nobody is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

from airflow_consent_retl.contract.outcomes import UNNAMED_CODE, Outcome, Outcomes, RowStatus, vendor_code

UNREADABLE = "unreadable_answer"
NOT_IN_ANSWER = "not_in_answer"
MAX_ANSWER_BYTES = 4 * 1024 * 1024

_FIELDS = {"results", "errors", "accepted", "rejected"}
_ACCEPTED = Outcome(RowStatus.ACCEPTED)
_NOT_THERE = {Outcome(RowStatus.REJECTED, "not_found"), Outcome(RowStatus.REJECTED, "gone")}


class SentRows(Protocol):
    """The rows of a request, as they were sent."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Mapping[str, object]: ...


class UnreadableAnswerError(ValueError):
    """The body does not follow the contract."""


def outcomes_of_success(body: bytes | None, records: SentRows, *, key_field: str | None) -> Outcomes:
    """Return what a 2xx answer says of each row.

    Args:
        body: the answer, or None where it was longer than `MAX_ANSWER_BYTES`. An empty one accepts all rows.
        records: the rows of the request, as they were sent.
        key_field: the field that `id` refers to.

    Returns:
        One outcome a row; all are `uncertain` where the body cannot be read or does not add up.
    """
    if body is not None and not body.strip():
        return Outcomes.accepted(len(records))
    try:
        answer = _object(body)
        named = _named(answer, records, key_field=key_field)
        if "results" in answer:
            unnamed = Outcome(RowStatus.UNCERTAIN, NOT_IN_ANSWER)
        elif "errors" in answer or _count(answer, "accepted") == len(records):
            unnamed = _ACCEPTED
        elif _count(answer, "rejected") == len(records):
            unnamed = Outcome(RowStatus.REJECTED, UNNAMED_CODE)
        else:
            raise UnreadableAnswerError
        outcomes = Outcomes(len(records), unnamed, named)
        _check_counts(answer, outcomes)
    except UnreadableAnswerError:
        return Outcomes.uncertain(len(records), UNREADABLE)
    return outcomes


def outcomes_of_refusal(body: bytes | None, records: SentRows, *, key_field: str | None, code: str) -> Outcomes | None:
    """Return what a 4xx answer says of each row, or None where it says nothing of rows.

    Rows that it does not name are rejected with `code`, the status.
    """
    try:
        named = _named(_object(body), records, key_field=key_field)
    except UnreadableAnswerError:
        return None
    return Outcomes(len(records), Outcome(RowStatus.REJECTED, code), named)


def removed_or_not_there(outcomes: Outcomes) -> Outcomes:
    """Return the outcomes of a removal: a row is gone, too, where the receiver knows nobody of that name."""
    common = _ACCEPTED if outcomes.common in _NOT_THERE else outcomes.common
    exceptions = {row: _ACCEPTED if o in _NOT_THERE else o for row, o in outcomes.exceptions.items()}
    return Outcomes(outcomes.rows, common, {row: o for row, o in exceptions.items() if o != common})


def _object(body: bytes | None) -> dict[str, Any]:
    if body is None:
        raise UnreadableAnswerError
    try:
        answer = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        # Whatever the parser says may quote the answer, and the answer may quote a row.
        raise UnreadableAnswerError from None
    if not isinstance(answer, dict) or not answer or not answer.keys() <= _FIELDS:
        raise UnreadableAnswerError
    return answer


def _named(answer: dict[str, Any], records: SentRows, *, key_field: str | None) -> dict[int, Outcome]:
    entries = _entries(answer, "results") + [{**entry, "status": "rejected"} for entry in _entries(answer, "errors")]
    rows = _rows_by_id(records, key_field) if any("id" in entry for entry in entries) else {}
    named: dict[int, Outcome] = {}
    for entry in entries:
        row = _row(entry, rows, count=len(records))
        if row in named:
            raise UnreadableAnswerError
        named[row] = _outcome(entry, records[row])
    return named


def _entries(answer: dict[str, Any], field: str) -> list[dict[str, Any]]:
    entries = answer.get(field, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnreadableAnswerError
    return entries


def _rows_by_id(records: SentRows, key_field: str | None) -> dict[str, int]:
    if key_field is None:
        raise UnreadableAnswerError
    rows = {str(records[row].get(key_field)): row for row in range(len(records))}
    if len(rows) != len(records):
        raise UnreadableAnswerError
    return rows


def _row(entry: dict[str, Any], rows: Mapping[str, int], *, count: int) -> int:
    candidates: set[int | None] = set()
    if "index" in entry:
        index = entry["index"]
        candidates.add(index if _is_integer(index) and 0 <= index < count else None)
    if "id" in entry:
        identifier = entry["id"]
        candidates.add(rows.get(str(identifier)) if isinstance(identifier, str) or _is_integer(identifier) else None)
    row = candidates.pop() if len(candidates) == 1 else None
    if row is None:
        raise UnreadableAnswerError
    return row


def _outcome(entry: dict[str, Any], record: Mapping[str, object]) -> Outcome:
    match entry.get("status"):
        case "accepted" if entry.keys() <= {"index", "id", "status"}:
            return _ACCEPTED
        case "rejected":
            return Outcome(RowStatus.REJECTED, vendor_code(entry.get("code"), row_values=record.values()))
        case _:
            raise UnreadableAnswerError


def _check_counts(answer: dict[str, Any], outcomes: Outcomes) -> None:
    counts = outcomes.counts()
    for field in ("accepted", "rejected"):
        told = _count(answer, field)
        found = sum(count for outcome, count in counts.items() if outcome.status == field)
        if told is not None and told != found:
            raise UnreadableAnswerError


def _count(answer: dict[str, Any], field: str) -> int | None:
    if field not in answer:
        return None
    count = answer[field]
    if not _is_integer(count):
        raise UnreadableAnswerError
    return int(count)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field occurs twice")
    return fields


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")
