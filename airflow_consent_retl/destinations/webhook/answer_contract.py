"""The contract of a webhook's answers: one outcome for each row. An answer that is not fully clear has no meaning.

The contract, a JSON object with at least one of these fields and no others:

    {"results": [{"index": 0, "status": "accepted"}, {"id": "u-7", "status": "rejected", "code": "invalid_email"}]}
    {"errors": [{"index": 0, "code": "invalid_email"}]}
    {"accepted": 998, "rejected": 2}

`index` is the row's position in the request, `id` its primary key as it was sent; an entry may give both. A row is
named at most once. Of a rejected row, `field` or `pointer` (a JSON pointer, such as `/email`) may name the wrong field.
With `results`, a row that is not named is `uncertain`; with `errors` alone, it is accepted. Counts must agree with the
lists, or with the number of rows where there is no list. In an answer to a removal, a row rejected with the code
`not_found` or `gone` counts as removed: there is no such person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_consent_retl.contract.outcomes import (
    NOT_IN_ANSWER,
    UNNAMED_CODE,
    UNREADABLE_ANSWER,
    Outcome,
    Outcomes,
    RowStatus,
    vendor_code,
)
from airflow_consent_retl.destinations.http.responses import (
    ACCEPTED,
    SentRows,
    UnreadableAnswerError,
    is_integer,
    json_object,
    named_field,
)
from airflow_consent_retl.fields.dotted_names import flat

_FIELDS = {"results", "errors", "accepted", "rejected"}


def outcomes_of_success(body: bytes | None, records: SentRows, *, key_field: str | None) -> Outcomes:
    """Return the outcome of each row from a 2xx answer.

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
            unnamed = ACCEPTED
        elif _count(answer, "rejected") == len(records):
            unnamed = Outcome(RowStatus.REJECTED, UNNAMED_CODE)
        else:
            raise UnreadableAnswerError
        outcomes = Outcomes(len(records), unnamed, named)
        _check_counts(answer, outcomes)
    except UnreadableAnswerError:
        return Outcomes.uncertain(len(records), UNREADABLE_ANSWER)
    return outcomes


def outcomes_of_refusal(body: bytes | None, records: SentRows, *, key_field: str | None, code: str) -> Outcomes | None:
    """Return the outcome of each row from a 4xx answer, or None where the answer does not mention rows.

    Rows that it does not name are rejected with `code`, the status.
    """
    try:
        named = _named(_object(body), records, key_field=key_field)
    except UnreadableAnswerError:
        return None
    return Outcomes(len(records), Outcome(RowStatus.REJECTED, code), named)


def _object(body: bytes | None) -> dict[str, Any]:
    answer = json_object(body)
    if not answer or not answer.keys() <= _FIELDS:
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
        named[row] = _outcome(entry, {**records[row], **flat(records[row])})
    return named


def _entries(answer: dict[str, Any], field: str) -> list[dict[str, Any]]:
    entries = answer.get(field, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnreadableAnswerError
    return entries


def _rows_by_id(records: SentRows, key_field: str | None) -> dict[str, int]:
    if key_field is None:
        raise UnreadableAnswerError
    rows = {str(flat(records[row]).get(key_field)): row for row in range(len(records))}
    if len(rows) != len(records):
        raise UnreadableAnswerError
    return rows


def _row(entry: dict[str, Any], rows: Mapping[str, int], *, count: int) -> int:
    candidates: set[int | None] = set()
    if "index" in entry:
        index = entry["index"]
        candidates.add(index if is_integer(index) and 0 <= index < count else None)
    if "id" in entry:
        identifier = entry["id"]
        candidates.add(rows.get(str(identifier)) if isinstance(identifier, str) or is_integer(identifier) else None)
    row = candidates.pop() if len(candidates) == 1 else None
    if row is None:
        raise UnreadableAnswerError
    return row


def _outcome(entry: dict[str, Any], record: Mapping[str, object]) -> Outcome:
    match entry.get("status"):
        case "accepted" if entry.keys() <= {"index", "id", "status"}:
            return ACCEPTED
        case "rejected":
            code = vendor_code(entry.get("code"), row_values=record.values())
            return Outcome(RowStatus.REJECTED, code, named_field(entry, record))
        case _:
            raise UnreadableAnswerError


def _check_counts(answer: dict[str, Any], outcomes: Outcomes) -> None:
    counts = outcomes.counts()
    for field in ("accepted", "rejected"):
        named = _count(answer, field)
        found = sum(count for outcome, count in counts.items() if outcome.status == field)
        if named is not None and named != found:
            raise UnreadableAnswerError


def _count(answer: dict[str, Any], field: str) -> int | None:
    if field not in answer:
        return None
    count = answer[field]
    if not is_integer(count):
        raise UnreadableAnswerError
    return int(count)
