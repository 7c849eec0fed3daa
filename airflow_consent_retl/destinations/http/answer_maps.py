"""The maps from a vendor's answers to one outcome for each row. Pure; a case that is not clear is uncertain.

An answer is a list of entries about some rows. Each map takes entries, the rows as they were sent, and functions that
say which row an entry names and how it ended. It never counts rows, and never trusts an order that the vendor does not
promise. An entry that names no row, or one row in two ways, makes every row uncertain: it may be about any of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from airflow_consent_retl.contract.outcomes import (
    NOT_IN_ANSWER,
    UNREADABLE_ANSWER,
    Outcome,
    Outcomes,
    RowStatus,
    vendor_code,
)
from airflow_consent_retl.destinations.http.responses import (
    ACCEPTED,
    NOT_FOUND,
    SentRows,
    UnreadableAnswerError,
    is_integer,
)

Entry = Mapping[str, Any]
EntryOutcome = Callable[[Entry, Mapping[str, object]], Outcome]
"""Makes an entry's outcome, given the row as it was sent. It may raise `UnreadableAnswerError`."""

MISSING: Final = Outcome(RowStatus.UNCERTAIN, NOT_IN_ANSWER)
"""The outcome of a row that no entry names, unless the vendor documents what its absence means."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")


def entries(document: Mapping[str, Any], *path: str) -> list[dict[str, Any]]:
    """Return the list of objects at a path of an answer; empty where the last field is missing or null.

    A text or a number in place of an object becomes `{"value": …}`: some vendors list just the identifiers.

    Raises:
        UnreadableAnswerError: it is something else.
    """
    found: Any = document
    for name in path[:-1]:
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise UnreadableAnswerError
    listed = found.get(path[-1])
    if listed is None:
        return []
    if not isinstance(listed, list):
        raise UnreadableAnswerError
    objects = [{"value": entry} if _text(entry) is not None else entry for entry in listed]
    if not all(isinstance(entry, dict) for entry in objects):
        raise UnreadableAnswerError
    return objects


def accepted(_: Entry, __: Mapping[str, object]) -> Outcome:
    """Return the outcome of an entry about a row that was applied."""
    return ACCEPTED


def rejected_by(
    *fields: str,
    codes: Mapping[str, str] | None = None,
    named: Callable[[Entry], Iterable[object]] = lambda _: (),
    among: Collection[str] = (),
) -> EntryOutcome:
    """Return the maker of rejections, whose code is the first of these fields that an entry has.

    Args:
        fields: names of the entry's fields; a dotted one is of a nested object.
        codes: words of this package in place of the vendor's, such as `{"USER_NOT_FOUND": "not_found"}`. A text that
            is no short word, or repeats a value of the row, becomes `unnamed` otherwise.
        named: returns what an entry may name as the cause.
        among: the fields of the load: the first cause that is one of them is the rejection's field.
    """

    def outcome(entry: Entry, row: Mapping[str, object]) -> Outcome:
        given = next((found for name in fields if (found := value_at(entry, name)) is not None), None)
        if codes and isinstance(given, str) and given in codes:
            return Outcome(RowStatus.REJECTED, codes[given])
        field = next((text for text in named(entry) if isinstance(text, str) and text in among), "")
        return Outcome(RowStatus.REJECTED, vendor_code(given, row_values=_values(row)), field)

    return outcome


def in_order(answered: Sequence[Entry], sent: SentRows, outcome: EntryOutcome) -> Outcomes:
    """Return the outcomes where the vendor promises one entry for each row, in order."""
    if len(answered) != len(sent):
        return _unreadable(sent)
    return _mapped(enumerate(answered), sent, outcome, others=MISSING)


def by_index(
    answered: Iterable[Entry],
    sent: SentRows,
    outcome: EntryOutcome,
    *,
    field: str = "index",
    others: Outcome = MISSING,
    first: int = 0,
) -> Outcomes:
    """Return the outcomes where an entry names its row's position in the request.

    Args:
        answered: the entries.
        sent: the rows of the request.
        outcome: of an entry.
        field: the entry's field with the position; a dotted one is of a nested object.
        others: of a row that no entry names. `ACCEPTED` where the vendor documents that it names each error.
        first: the number of the first row.
    """
    places = ((_index(value_at(entry, field), len(sent), first=first), entry) for entry in answered)
    return _mapped(places, sent, outcome, others=others)


def errors_beside(
    errors: Iterable[Entry],
    sent: SentRows,
    outcome: EntryOutcome,
    *,
    status: int,
    accepted_count: object = None,
    field: str = "index",
) -> Outcomes | None:
    """Return the outcomes where an answer lists errors by position, beside a success or in a refusal of the whole.

    A row may have several errors: the first one counts. An error about nothing that was sent is about any of it. None
    for a refusal that is about no row.

    Args:
        errors: the entries; one without a position is about nothing that was sent.
        sent: the rows of the request.
        outcome: of an entry.
        status: of the answer; of a refusal, it is the code of the rows without an error.
        accepted_count: the number of accepted rows that the answer states; None: none. The rows without an error are
            uncertain where it is another one.
        field: the entry's field with the position.
    """
    is_refused = status >= 400
    first: dict[object, Entry] = {}
    for one in errors:
        first.setdefault(_text(value_at(one, field)), one)
    if is_refused and not first:
        return None
    others = Outcome(RowStatus.REJECTED, f"http_{status}") if is_refused else ACCEPTED
    outcomes = by_index(first.values(), sent, outcome, field=field, others=others)
    if is_refused and outcomes.common.status is RowStatus.UNCERTAIN:
        return None
    named = {row: one for row, one in enumerate(outcomes) if one != ACCEPTED}
    left = len(sent) - len(named)
    if left and accepted_count is not None and accepted_count != left:
        return Outcomes(len(sent), MISSING, named)
    return outcomes


def by_pointer(
    answered: Iterable[Entry],
    sent: SentRows,
    outcome: EntryOutcome,
    *,
    prefix: str,
    field: str = "source.pointer",
    others: Outcome = MISSING,
) -> Outcomes:
    """Return the outcomes where an entry has a JSON pointer into the request, such as `/data/profiles/3/email`.

    Several entries about one row are one rejection, with the code of the first.

    Args:
        answered, sent, outcome, others: as for `by_index`.
        prefix: the pointer to the list of rows, without the number: `/data/profiles`.
        field: the entry's field with the pointer.
    """

    def place(entry: Entry) -> int | None:
        pointer = value_at(entry, field)
        if not isinstance(pointer, str) or not pointer.startswith(f"{prefix}/"):
            return None
        number = pointer[len(prefix) + 1 :].partition("/")[0]
        return int(number) if _NUMBER.fullmatch(number) and int(number) < len(sent) else None

    return _mapped(((place(entry), entry) for entry in answered), sent, outcome, others=others, may_repeat=True)


def by_value(
    answered: Iterable[Entry],
    sent: SentRows,
    outcome: EntryOutcome,
    *,
    sent_as: Callable[[Mapping[str, object]], object],
    named_as: Callable[[Entry], object],
    others: Outcome = MISSING,
) -> Outcomes:
    """Return the outcomes where an entry repeats a value of its row: a trace id, or an identifier such as an e-mail.

    Rows that were sent with the same value end the same way; a value that no row was sent with makes all uncertain.

    Args:
        answered, sent, outcome, others: as for `by_index`.
        sent_as: returns a row's value, as text or an integer; None: the row has none, and no entry can name it.
        named_as: returns an entry's value. Both may fold what the vendor folds, such as the case of an e-mail.
    """
    rows: dict[str, list[int]] = {}
    for row in range(len(sent)):
        value = _text(sent_as(sent[row]))
        if value is not None:
            rows.setdefault(value, []).append(row)

    def places() -> Iterable[tuple[int | None, Entry]]:
        for entry in answered:
            value = _text(named_as(entry))
            for row in rows.get(value, [None]) if value is not None else [None]:
                yield row, entry

    return _mapped(places(), sent, outcome, others=others)


def by_trace(
    results: Iterable[Entry],
    errors: Iterable[Entry],
    sent: SentRows,
    refused: EntryOutcome,
    *,
    trace: str,
    identity: Callable[[Mapping[str, object]], object],
    identities: Callable[[Entry], Iterable[object]],
    traces_of: Callable[[Entry], Iterable[object]] | None = None,
) -> Outcomes:
    """Return the outcomes where results and errors repeat a trace id; a result without one has the row's identifier.

    Args:
        results: about rows that were applied.
        errors: about rows that were refused.
        sent: the rows of the request.
        refused: the outcome of an error.
        trace: the field of a row, an error and a result with the trace id.
        identity: returns a row's identifier.
        identities: returns all identifiers of a result, of which one may be a row's.
        traces_of: returns the trace ids of an error, which may be about several rows; one that has none leaves its rows
            without a name. None: each error is about one row, and has the field of that name.
    """
    if traces_of is not None:
        errors = [{**error, trace: one} for error in errors for one in traces_of(error)]
    traces = {identity(sent[row]): sent[row][trace] for row in range(len(sent))}

    def sent_as(row: Mapping[str, object]) -> object:
        return row[trace]

    def named_as(entry: Entry) -> object:
        if entry.get(trace) is not None:
            return entry[trace]
        found = {traces[one] for one in identities(entry) if one in traces}
        return found.pop() if len(found) == 1 else None

    return joined(
        by_value(errors, sent, refused, sent_as=sent_as, named_as=lambda error: error.get(trace)),
        by_value(results, sent, accepted, sent_as=sent_as, named_as=named_as),
    )


def by_question(
    records: Iterable[Entry],
    missing: Iterable[object] | None,
    sent: SentRows,
    found: dict[str, Entry],
    *,
    names_of: Callable[[Entry], Iterable[object]],
    fold: Callable[[object], str] = str,
) -> Outcomes:
    """Return the outcomes of a question about records: a key with a record is accepted, one without it `not_found`.

    Args:
        records: that the vendor has.
        missing: the keys without a record, as the vendor names them; None: it does not, and a complete answer has every
            record.
        sent: the keys, as texts.
        found: filled in with the records, by the key that was sent.
        names_of: returns the keys by which the vendor finds a record.
        fold: returns a key for comparison.
    """
    keys = {fold(sent[row]): str(sent[row]) for row in range(len(sent))}
    named = [
        (keys.get(name), one)
        for one in records
        for name in keys.keys() & {fold(name) for name in names_of(one)} or {""}
    ]
    found.update({key: one for key, one in named if key is not None})

    def outcomes(some: Iterable[str | None], outcome: Outcome) -> Outcomes:
        entries_of = [{"key": key} for key in some]
        return by_value(entries_of, sent, lambda *_: outcome, sent_as=str, named_as=lambda one: one["key"])

    there = [key for key, _ in named]
    absent = set(keys.values()) - set(there) if missing is None else [keys.get(fold(one)) for one in missing]
    return joined(outcomes(absent, NOT_FOUND), outcomes(there, ACCEPTED))


def joined(*maps: Outcomes, others: Outcome = MISSING) -> Outcomes:
    """Return the outcomes of several lists of one answer, such as results and errors.

    Args:
        maps: one for each list, over the same rows; each has `others` for the rows that its list does not name.
        others: see there. A row that two lists name in two ways is uncertain.
    """
    named: dict[int, Outcome] = {}
    for one in maps:
        for row, outcome in enumerate(one):
            if outcome != others:
                named[row] = outcome if named.get(row, outcome) == outcome else _UNREADABLE
    return Outcomes(len(maps[0]), others, named)


_UNREADABLE = Outcome(RowStatus.UNCERTAIN, UNREADABLE_ANSWER)


def _unreadable(sent: SentRows) -> Outcomes:
    return Outcomes(len(sent), _UNREADABLE)


def _mapped(
    places: Iterable[tuple[int | None, Entry]],
    sent: SentRows,
    outcome: EntryOutcome,
    *,
    others: Outcome,
    may_repeat: bool = False,
) -> Outcomes:
    named: dict[int, Outcome] = {}
    try:
        for row, entry in places:
            if row is None:
                raise UnreadableAnswerError
            found = outcome(entry, sent[row])
            earlier = named.setdefault(row, found)
            if earlier != found and not (may_repeat and {earlier.status, found.status} == {RowStatus.REJECTED}):
                raise UnreadableAnswerError
    except UnreadableAnswerError:
        return _unreadable(sent)
    return Outcomes(len(sent), others, named)


def _index(value: object, rows: int, *, first: int) -> int | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    if not is_integer(value):
        return None
    row = value - first
    return row if 0 <= row < rows else None


def value_at(entry: Mapping[str, Any], path: str) -> Any:
    """Return the value at a place such as `error.code`; None where there is none."""
    found: Any = entry
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _text(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None


def _values(row: object) -> Iterable[object]:
    """Return every value of a row, also of nested objects and lists: a code may repeat any of them."""
    if isinstance(row, Mapping):
        for value in row.values():
            yield from _values(value)
    elif isinstance(row, list | tuple):
        for value in row:
            yield from _values(value)
    else:
        yield row
