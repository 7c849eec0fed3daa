"""The reading of HTTP answers: strict JSON, and one outcome for each row. An unclear answer never counts as success."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeGuard, TypeVar

from airflow_consent_retl.contract.outcomes import FORGOTTEN, UNREADABLE_ANSWER, Outcome, Outcomes, RowStatus

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import Answer

TOO_LONG = "answer_too_long"
LATER = "accepted_for_later"
MAX_ANSWER_BYTES = 4 * 1024 * 1024

Kind = TypeVar("Kind")

ACCEPTED = Outcome(RowStatus.ACCEPTED)
NOT_FOUND = Outcome(RowStatus.REJECTED, "not_found")
# A person who was forgotten there, and is refused for ever, is not there either.
_NOT_THERE = {NOT_FOUND, Outcome(RowStatus.REJECTED, "gone"), Outcome(RowStatus.REJECTED, FORGOTTEN)}


class SentRows(Protocol):
    """The rows of a request, as they were sent."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Mapping[str, object]: ...


class UnreadableAnswerError(ValueError):
    """The body does not follow the contract of the destination's answers."""


def json_object(body: bytes | None) -> dict[str, Any]:
    """Return an answer that is a JSON object.

    Args:
        body: None where the answer was longer than `MAX_ANSWER_BYTES`.

    Raises:
        UnreadableAnswerError: the body is no JSON object, a field occurs twice, or a number is NaN or infinite.
    """
    if body is None:
        raise UnreadableAnswerError
    try:
        answer = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        # The parser's message may quote the answer, and the answer may quote a row.
        raise UnreadableAnswerError from None
    if not isinstance(answer, dict):
        raise UnreadableAnswerError
    return answer


def of_document(
    answer: Answer, sent: SentRows, read: Callable[[dict[str, Any]], Outcomes | None], **says: str
) -> Outcomes | None:
    """Return the outcomes that `read` makes of a success, which are uncertain where it raises; None for a refusal.

    Args:
        answer: of a request with these rows.
        sent: see there.
        read: gets the document; it may raise `UnreadableAnswerError`.
        **says: fields of each success with their values: without one, the rows are uncertain.
    """
    if answer.status >= 400:
        return None
    try:
        document = json_object(answer.body)
        if any(document.get(name) != text for name, text in says.items()):
            raise UnreadableAnswerError
        return read(document)
    except UnreadableAnswerError:
        return Outcomes.uncertain(len(sent), UNREADABLE_ANSWER)


def of_any_status(answer: Answer, read: Callable[[dict[str, Any]], Outcomes | None]) -> Outcomes | None:
    """Return the outcomes that `read` makes of a document, also of a refusal; None where it raises."""
    try:
        return read(json_object(answer.body))
    except UnreadableAnswerError:
        return None


def answered_with(status: int) -> Callable[[Answer, SentRows], Outcomes | None]:
    """Return the reader of answers that say with one status that everything is done, and nothing else."""

    def read(answer: Answer, sent: SentRows) -> Outcomes | None:
        return Outcomes.accepted(len(sent)) if answer.status == status else None

    return read


def pending_after(status: int, request_id: str) -> Callable[[Answer, SentRows], Outcomes | None]:
    """Return the reader of answers that say with one status that everything is done later, without a job to ask about.

    Args:
        status: of a success.
        request_id: with which the destination asks what became of it.
    """

    def read(answer: Answer, sent: SentRows) -> Outcomes | None:
        return Outcomes.pending(len(sent), request_id) if answer.status == status else None

    return read


def answered_with_number(field: str) -> Callable[[Answer, SentRows], Outcomes | None]:
    """Return the reader of answers that say that everything is done by a number, of at most the rows of the request.

    It suits vendors that do not count rows about which there was nothing to do.
    """

    def read(answer: Answer, sent: SentRows) -> Outcomes | None:
        def of_number(document: dict[str, Any]) -> Outcomes:
            number = document.get(field)
            if not is_integer(number) or number not in range(len(sent) + 1):
                raise UnreadableAnswerError
            return Outcomes.accepted(len(sent))

        return of_document(answer, sent, of_number)

    return read


def of_kind(value: object, kind: type[Kind]) -> Kind:
    """Return a value of an answer that is of this type, such as an object or a list.

    Raises:
        UnreadableAnswerError: it is something else, or missing.
    """
    if not isinstance(value, kind):
        raise UnreadableAnswerError
    return value


def stated(answer: Answer, name: str) -> object:
    """Return the value of a field of an answer; None where there is none, or where the answer is no JSON object."""
    try:
        return json_object(answer.body).get(name)
    except UnreadableAnswerError:
        return None


def number_in(answer: Answer, header: str) -> int | None:
    """Return the whole number in a header of an answer; None: there is none."""
    text = answer.headers.get(header, "")
    return int(text[:18]) if text.isascii() and text.isdigit() else None


def objects_in(answer: Answer, header: str) -> list[dict[str, Any]]:
    """Return the objects in the lists of a JSON object in a header of an answer; none where there is no such header."""
    try:
        lists = json_object(answer.headers.get(header, "").encode()).values()
    except UnreadableAnswerError:
        return []
    return [one for some in lists if isinstance(some, list) for one in some if isinstance(one, dict)]


def is_integer(value: object) -> TypeGuard[int]:
    """Return whether a JSON value is an integer; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def named_field(entry: Mapping[str, object], record: Mapping[str, object]) -> str:
    """Return the field of a row that an entry of an answer names, by `field` or a JSON `pointer`; empty: none."""
    for given in (entry.get("field"), entry.get("pointer")):
        if isinstance(given, str):
            name = given.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
            if found := next((one for one in (given, name) if one in record), ""):
                return found
    return ""


def removed_or_not_there(outcomes: Outcomes) -> Outcomes:
    """Return the outcomes of a removal: a person that the receiver does not know is removed as well."""
    common = ACCEPTED if replace(outcomes.common, field="") in _NOT_THERE else outcomes.common
    exceptions = {row: ACCEPTED if replace(o, field="") in _NOT_THERE else o for row, o in outcomes.exceptions.items()}
    return Outcomes(outcomes.rows, common, {row: o for row, o in exceptions.items() if o != common})


def may_come_late(outcomes: Outcomes, code: str) -> Outcomes:
    """Return the outcomes with this code for every row that is uncertain, because a request may still take effect."""

    def open_(outcome: Outcome) -> Outcome:
        return replace(outcome, code=code) if outcome.status is RowStatus.UNCERTAIN else outcome

    return Outcomes(
        outcomes.rows, open_(outcomes.common), {row: open_(outcome) for row, outcome in outcomes.exceptions.items()}
    )


def accepted_else_uncertain(outcomes: Outcomes, code: str) -> Outcomes:
    """Return the outcomes with `uncertain` for every row that is not accepted."""
    accepted = {row: o for row, o in enumerate(outcomes) if o.status is RowStatus.ACCEPTED}
    return Outcomes(outcomes.rows, Outcome(RowStatus.UNCERTAIN, code), accepted)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field occurs twice")
    return fields


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")
