"""The maps from a vendor's answers to one outcome for each row, as data. An unclear answer never counts as success.

Places are dotted: `failedUpdates.invalidEmails` is a field of a nested object.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.outcomes import UNNAMED_CODE, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.declared.row_references import ROW, ById, InOrder, RowReference, at
from airflow_consent_retl.destinations.http.answer_maps import MISSING, Entry, entries, joined, rejected_by
from airflow_consent_retl.destinations.http.responses import (
    ACCEPTED,
    SentRows,
    UnreadableAnswerError,
    is_integer,
    json_object,
    named_field,
)

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import Answer

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerMap(ABC):
    """A way to read answers.

    Args:
        statuses: the statuses of a success that it reads; any other success is uncertain.
        code: the place of the vendor's code: in an entry, or in the answer where there are no entries.
        codes: codes of your own by the vendor's. `not_found`, `gone` and `forgotten` count as removed in the answer
            to a removal.
        incomplete: lists in the answer to a success which say that something was left out, such as unknown fields, each
            with a code: if one is not empty, every row is uncertain with its code.
    """

    statuses: Collection[int] = (200, 201, 204)
    incomplete: Mapping[str, str] = field(default_factory=dict)
    code: str = "code"
    codes: Mapping[str, str] = field(default_factory=dict)

    @property
    def sent_fields(self) -> Collection[str]:
        """The fields by which rows are found in answers."""
        return ()

    def read(self, answer: Answer, sent: SentRows) -> Outcomes | None:
        """Return the outcome of each row, or None where the answer does not say it."""
        try:
            if answer.status >= 400:
                return self.refusal(answer, sent)
            if answer.status not in self.statuses:
                return None
            document = json_object(answer.body) if self.incomplete else {}
            if code := next((code for place, code in self.incomplete.items() if at(document, place)), ""):
                return Outcomes.uncertain(len(sent), code)
            return self.success(answer, sent)
        except UnreadableAnswerError:
            return None

    @abstractmethod
    def success(self, answer: Answer, sent: SentRows) -> Outcomes:
        """Return the outcomes of a success.

        Raises:
            UnreadableAnswerError: the answer does not say them.
        """

    def refusal(self, answer: Answer, sent: SentRows) -> Outcomes | None:
        """Return the outcomes of a refusal; None: it says nothing of rows, and its status counts."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusOnly(AnswerMap):
    """The status alone says what happened to all rows of a request. Only for a vendor that applies all rows or none.

    Args:
        not_there: the statuses that say of a request with one row that there is no such person.
    """

    not_there: Collection[int] = ()

    def success(self, answer: Answer, sent: SentRows) -> Outcomes:
        """Accept every row."""
        return Outcomes.accepted(len(sent))

    def refusal(self, answer: Answer, sent: SentRows) -> Outcomes | None:
        """Reject the row of a request with one row, by its code."""
        if len(sent) != 1:
            return None
        if answer.status in self.not_there:
            return Outcomes.rejected(1, "not_found")
        document = json_object(answer.body)
        if at(document, self.code) is None:
            return None
        return Outcomes(1, rejected_by(self.code, codes=self.codes)(document, sent[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedSuccess(StatusOnly):
    """A value in the answer says that all rows of a request were applied; without it, they are uncertain.

    Args:
        place: of the value.
        values: those that say it.
    """

    place: str
    values: Collection[object]

    def success(self, answer: Answer, sent: SentRows) -> Outcomes:
        """Accept every row, or reject a request's only row by its code."""
        document = json_object(answer.body)
        if _is_one_of(at(document, self.place), self.values):
            return Outcomes.accepted(len(sent))
        if len(sent) == 1 and at(document, self.code) in self.codes:
            return Outcomes(1, rejected_by(self.code, codes=self.codes)(document, sent[0]))
        raise UnreadableAnswerError


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEntries(AnswerMap):
    """A list of entries about rows.

    Args:
        entries: the place of the list, such as `errors`.
        row: how an entry names its row: `ByIndex`, `ById`, `ByPointer` or `InOrder`.
    """

    entries: str
    row: RowReference

    @property
    def sent_fields(self) -> Collection[str]:
        """The field by which rows are found."""
        return [self.row.sent_field] if self.row.sent_field else []

    def rejection(self, entry: Entry, record: Record) -> Outcome:
        """Return the outcome of a row with an entry that refuses it."""
        outcome = rejected_by(self.code, codes=self.codes)(entry, record)
        row = record[ROW]
        name = named_field(entry, row) if isinstance(row, Mapping) else ""
        return Outcome(RowStatus.REJECTED, outcome.code, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors(AnswerEntries):
    """A list of the refused rows; a row that it does not name was accepted.

    Args:
        may_be_missing: whether an answer without the list says that no row was refused.
    """

    entries: str = "errors"
    may_be_missing: bool = False

    def success(self, answer: Answer, sent: SentRows) -> Outcomes:
        """Reject the named rows, and accept the others."""
        document = json_object(answer.body)
        if at(document, self.entries) is None:
            if not self.may_be_missing:
                raise UnreadableAnswerError
            return Outcomes.accepted(len(sent))
        answered = entries(document, *self.entries.split("."))
        return self.row.outcomes(answered, sent, self.rejection, others=ACCEPTED)

    def refusal(self, answer: Answer, sent: SentRows) -> Outcomes | None:
        """Reject every row: the named ones with their code, the others with the status."""
        answered = entries(json_object(answer.body), *self.entries.split("."))
        if not answered:
            return None
        others = Outcome(RowStatus.REJECTED, f"http_{answer.status}")
        outcomes = self.row.outcomes(answered, sent, self.rejection, others=others)
        # Errors that name no row are about the whole request.
        return outcomes if outcomes.common.status is RowStatus.REJECTED else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Results(AnswerEntries):
    """A list with a result for each row; a row without one is uncertain.

    Args:
        status: the place of a row's status in its entry.
        accepted, refused: its values for rows that were applied, and for rows that were refused. A row with any other
            value is uncertain.
    """

    entries: str = "results"
    row: RowReference = field(default_factory=InOrder)
    status: str = "status"
    accepted: Collection[object]
    refused: Collection[object]

    def success(self, answer: Answer, sent: SentRows) -> Outcomes:
        """Return the outcome that each entry states."""
        answered = entries(json_object(answer.body), *self.entries.split("."))
        return self.row.outcomes(answered, sent, self._outcome, others=MISSING)

    def _outcome(self, entry: Entry, record: Record) -> Outcome:
        status = at(entry, self.status)
        if _is_one_of(status, self.accepted):
            return ACCEPTED
        return self.rejection(entry, record) if _is_one_of(status, self.refused) else MISSING


@dataclass(frozen=True, slots=True)
class RefusedValues:
    """A list of values of one field, of rows that were refused for one reason.

    Args:
        at: the place of the list in the answer, such as `failedUpdates.invalidEmails`.
        field: the load's field that was sent with these values.
        code: the outcome's code.
        ignores_case: whether the case of letters does not count; None: of an e-mail address it does not.
    """

    at: str
    field: str
    code: str
    ignores_case: bool | None = None

    @property
    def is_folded(self) -> bool:
        """True if the case of letters does not count."""
        return self.field == "email" if self.ignores_case is None else self.ignores_case

    def outcomes(self, document: Mapping[str, Any], sent: SentRows) -> Outcomes | None:
        """Return the outcomes of the rows in the list; None where it is missing or empty."""
        if at(document, self.at.rpartition(".")[0] or self.at) is None:
            return None
        answered = entries(document, *self.at.split("."))
        if not answered:
            return None
        reference = ById("value", self.field, self.is_folded)
        refused = Outcome(RowStatus.REJECTED, self.code, self.field)
        return reference.outcomes(answered, sent, lambda _, __: refused, others=MISSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedLists(AnswerMap):
    """Lists of the values of refused rows, and counts. A row in no list was accepted if the counts leave no other.

    Args:
        lists: the lists; each may be missing.
        accepted_count, refused_count: the places of the counts.
    """

    lists: Collection[RefusedValues]
    accepted_count: str
    refused_count: str

    @property
    def sent_fields(self) -> Collection[str]:
        """None is needed: each list is about people who have its field."""
        return ()

    def success(self, answer: Answer, sent: SentRows) -> Outcomes:
        """Reject the rows in the lists. The others are uncertain where the counts say that more were refused."""
        document = json_object(answer.body)
        accepted, refused = _count(document, self.accepted_count), _count(document, self.refused_count)
        found = [outcomes for one in self.lists if (outcomes := one.outcomes(document, sent)) is not None]
        named = joined(*found) if found else Outcomes(len(sent), MISSING)
        refused_rows = {row: one for row, one in enumerate(named) if one.status is RowStatus.REJECTED}
        if any(one.status is RowStatus.UNCERTAIN and one != MISSING for one in named.counts()):
            return named
        # A vendor may count two rows of one person once.
        people = len({self._person(sent[row]) for row in range(len(sent))})
        leaves_no_other = refused <= len(refused_rows) and accepted + refused >= people
        return Outcomes(len(sent), ACCEPTED if leaves_no_other else MISSING, refused_rows)

    def _person(self, record: Record) -> tuple[str, ...]:
        folded = {one.field for one in self.lists if one.is_folded}
        texts = {one.field: str(at(record, f"{ROW}.{one.field}")) for one in self.lists}
        return tuple(text.casefold() if name in folded else text for name, text in texts.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts(AnswerMap):
    """Counts alone. They say what happened to a row only where all rows were accepted, or all refused.

    Args:
        accepted_count: the place of the number of accepted rows.
        refused_count: the place of the number of refused rows; empty: the vendor does not count them.
    """

    accepted_count: str
    refused_count: str = ""

    def success(self, answer: Answer, sent: SentRows) -> Outcomes:
        """Accept all rows or reject all; otherwise all are uncertain."""
        document = json_object(answer.body)
        accepted = _count(document, self.accepted_count)
        refused = _count(document, self.refused_count) if self.refused_count else len(sent) - accepted
        if (accepted, refused) == (len(sent), 0):
            return Outcomes.accepted(len(sent))
        if (accepted, refused) == (0, len(sent)) and self.refused_count:
            return Outcomes.rejected(len(sent), UNNAMED_CODE)
        return Outcomes(len(sent), MISSING)


def _count(document: Mapping[str, Any], place: str) -> int:
    count = at(document, place)
    if not is_integer(count) or count < 0:
        raise UnreadableAnswerError
    return int(count)


def _is_one_of(value: object, values: Collection[object]) -> bool:
    # True is no 1.
    return any(type(one) is type(value) and one == value for one in values)
