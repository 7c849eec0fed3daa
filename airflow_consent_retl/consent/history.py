"""The history of a person's recorded answers: which of them counts, and when it is in doubt.

The one implementation of the rule, in plain Python. The SQL of `extraction.consent_expressions` is its fast path, and
is proved equal to it. Never runs a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.freshness import CLOCK_SKEW
from airflow_consent_retl.consent.signals import ConsentStatus

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_consent_retl.consent.sources import ConsentSource


class Doubt(IntEnum):
    """The doubt about the answer that counts, as Python and SQL write it into a snapshot's column of doubts."""

    NONE = 0
    # Two answers that no rule puts in an order.
    CONFLICT = 1
    # The latest answer was recorded later than now.
    FUTURE = 2


# Of the tokens of `doubt_signal`: NULL, the members of `Doubt`, and any other value. None: no doubt.
_DOUBT_STATUSES = (None, None, ConsentStatus.CONFLICT, ConsentStatus.INVALID, ConsentStatus.INVALID)


def doubt_signal(column: str) -> Literals:
    """Return the signal that reads a column of doubts."""
    return Literals(column, granted=(int(Doubt.NONE),), denied=(int(Doubt.CONFLICT), int(Doubt.FUTURE)))


def doubt_status(token: int) -> ConsentStatus | None:
    """Return the status that a token of `doubt_signal` puts in place of the answer; None: the answer stands."""
    return _DOUBT_STATUSES[token]


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """One answer as a source recorded it.

    Args:
        values: of the source's consent columns.
        time: when it was recorded, with a zone; None: not known.
        profile: the profile under which it was recorded; None: the subject itself.
    """

    values: tuple[object, ...]
    time: datetime | None = None
    profile: object = None


@dataclass(frozen=True, slots=True)
class CountedAnswer:
    """The answer that counts.

    Args:
        values: of the source's consent columns; None where a doubt stands in their place.
        doubt: about the answer.
        time: of the latest answer; None: no answer has one.
    """

    values: tuple[object, ...] | None
    doubt: Doubt = Doubt.NONE
    time: datetime | None = None


def counted_answer(answers: Sequence[RecordedAnswer], *, until: datetime | None) -> CountedAnswer | None:
    """Return which of one subject's recorded answers counts, and whether it is in doubt.

    - The latest answer of a profile counts. It is in conflict where another answer of the same time, or one without a
      time, says otherwise. Without any time, all answers have to agree.
    - The answers of several profiles count if they agree. Otherwise the subject's own answer counts, if it is later
      than all answers of other profiles and no answer without a time says otherwise. Everything else is a conflict.
    - An answer that is later than `until` is in the future, unless it is in conflict already.

    Args:
        answers: of one subject, or of one subject and category, in any order.
        until: the latest time at which an answer can have been recorded; None: any.

    Returns:
        None where there is no answer: the source says nothing about the subject.
    """
    profiles: dict[object, list[RecordedAnswer]] = {}
    for answer in answers:
        profiles.setdefault(answer.profile, []).append(answer)
    if not profiles:
        return None
    latest = {profile: _latest(recorded) for profile, recorded in profiles.items()}
    own = latest.pop(None, None)
    if own is not None and _is_later(own, latest.values()):
        found = _unless_contradicted(own, [answer for answer in answers if answer.time is None])
    else:
        found = _agreed([*latest.values(), *([] if own is None else [own])])
    if until is not None and found.doubt is Doubt.NONE and found.time is not None and found.time > until:
        return CountedAnswer(None, Doubt.FUTURE, found.time)
    return found


def counted_answers(
    source: ConsentSource, rows: Iterable[Mapping[str, Any]], *, at: datetime
) -> dict[tuple[str, ...], CountedAnswer]:
    """Return what a source says about each subject, or about each subject and category, which are compared as text.

    Args:
        source: whose columns the rows have. A row without a subject, and a row of a category that the source does not
            name, say nothing.
        rows: by column.
        at: when they are read, with a zone; clocks may be apart by `CLOCK_SKEW`.
    """
    columns = [column for column, _ in source.columns] if source.value is None else [source.value]
    categories = dict(source.columns)
    recorded: dict[tuple[str, ...], list[RecordedAnswer]] = {}
    for row in rows:
        about = [row[name] for name in (source.subject, source.category) if name is not None]
        if None in about:
            continue
        key = tuple(map(_text, about))
        if source.category is not None and key[1] not in categories:
            continue
        profile = None if source.profile is None else row[source.profile]
        recorded.setdefault(key, []).append(
            RecordedAnswer(
                values=tuple(row[column] for column in columns),
                time=None if source.time is None else row[source.time],
                profile=None if profile is None or _text(profile) == key[0] else _text(profile),
            )
        )
    until = None if source.time is None else at + CLOCK_SKEW
    found = {key: counted_answer(answers, until=until) for key, answers in recorded.items()}
    return {key: answer for key, answer in found.items() if answer is not None}


def _latest(answers: Sequence[RecordedAnswer]) -> CountedAnswer:
    """Return the latest answer of one profile."""
    newest = max((answer.time for answer in answers if answer.time is not None), default=None)
    # An answer without a time may be the latest.
    possible = [answer for answer in answers if answer.time in (newest, None)]
    return _one_of([answer.values for answer in possible], newest)


def _is_later(own: CountedAnswer, others: Iterable[CountedAnswer]) -> bool:
    return own.time is not None and all(other.time is not None and own.time > other.time for other in others)


def _unless_contradicted(own: CountedAnswer, undated: Sequence[RecordedAnswer]) -> CountedAnswer:
    if own.values is None:
        return own
    return _one_of([own.values, *(answer.values for answer in undated)], own.time)


def _agreed(latest: Sequence[CountedAnswer]) -> CountedAnswer:
    """Return what the latest answers of several profiles say together."""
    newest = max((answer.time for answer in latest if answer.time is not None), default=None)
    certain = [answer.values for answer in latest if answer.values is not None]
    if len(certain) < len(latest):
        return CountedAnswer(None, Doubt.CONFLICT, newest)
    return _one_of(certain, newest)


def _one_of(answers: Sequence[tuple[object, ...]], time: datetime | None) -> CountedAnswer:
    """Return the answer if it is the same everywhere."""
    # The type is compared too: `True == 1`.
    different = {tuple((type(value), value) for value in values) for values in answers}
    if len(different) > 1:
        return CountedAnswer(None, Doubt.CONFLICT, time)
    return CountedAnswer(answers[0], Doubt.NONE, time)


def _text(value: object) -> str:
    """Return a value as engines compare it: as its exact text."""
    return str(value).lower() if isinstance(value, bool) else str(value)
