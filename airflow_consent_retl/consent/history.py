"""The history of a person's recorded answers, and the rule for the answer that counts and for doubts about it.

The only implementation of the rule, in plain Python. The SQL of `extraction.consent_expressions` is its fast path, and
is proved equal to it. Never runs a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.freshness import CLOCK_SKEW, epoch_time
from airflow_consent_retl.consent.match_forms import in_form
from airflow_consent_retl.consent.signals import ConsentStatus

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_consent_retl.consent.sources import ConsentSource


class Doubt(IntEnum):
    """The doubt about the answer that counts. Python and SQL write its number into a snapshot's column of doubts."""

    NONE = 0
    # Two answers that no rule puts in an order.
    CONFLICT = 1
    # The latest answer was recorded later than now.
    FUTURE = 2
    # The subject has no answer under its own id or the category's, but there is one under another spelling of either.
    NEAR_KEY = 3


# The status of each token of `doubt_signal`: NULL, the members of `Doubt`, any other value. None: no doubt.
_DOUBT_STATUSES = (None, None, ConsentStatus.CONFLICT, *[ConsentStatus.INVALID] * 3)


def doubt_signal(column: str) -> Literals:
    """Return the signal that reads a column of doubts."""
    return Literals(
        column, granted=(int(Doubt.NONE),), denied=tuple(int(doubt) for doubt in Doubt if doubt is not Doubt.NONE)
    )


def doubt_status(token: int) -> ConsentStatus | None:
    """Return the status that replaces the answer, by the token of `doubt_signal`; None: the answer stays."""
    return _DOUBT_STATUSES[token]


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """One answer as the source recorded it.

    Args:
        values: the values of the source's consent columns.
        time: the time of the recording, with a zone; None: not known.
        profile: the profile under which it was recorded; None: the subject itself.
    """

    values: tuple[object, ...]
    time: datetime | None = None
    profile: object = None


@dataclass(frozen=True, slots=True)
class CountedAnswer:
    """The answer that counts.

    Args:
        values: the values of the source's consent columns; None if the answer is in doubt.
        doubt: the doubt about the answer.
        time: the time of the latest answer; None: no answer has a time.
    """

    values: tuple[object, ...] | None
    doubt: Doubt = Doubt.NONE
    time: datetime | None = None


def counted_answer(answers: Sequence[RecordedAnswer], *, until: datetime | None) -> CountedAnswer | None:
    """Return the recorded answer of one subject that counts, with the doubt about it.

    - The latest answer of a profile counts. It is in conflict if another answer of the same time, or an answer without
      a time, differs from it. Without any time, all answers must agree.
    - The answers of several profiles count if they agree. Otherwise the subject's own answer counts, if it is later
      than all answers of other profiles and no answer without a time differs from it. Everything else is a conflict.
    - An answer that is later than `until` is in the future, unless it is already in conflict.

    Args:
        answers: the answers of one subject, or of one subject and category, in any order.
        until: the latest time at which an answer can have been recorded; None: any.

    Returns:
        None if there is no answer: the source contains nothing about the subject.
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
    """Return a source's answer about each subject, or about each subject and category, which are compared as text.

    Args:
        source: the source whose columns the rows have. A row without a subject, and a row of a category that the source
            does not name, are ignored.
        rows: the source's rows, by column. Another spelling of a category is a category of its own, which brings only
            a doubt.
        at: the time of the read, with a zone. Clocks may differ by `CLOCK_SKEW`.
    """
    columns = [column for column, _ in source.columns] if source.value is None else [source.value]
    categories = dict(source.columns)
    folded = {in_form(category) for category in categories}
    recorded: dict[tuple[str, ...], list[RecordedAnswer]] = {}
    for row in rows:
        about = [row[name] for name in (source.subject, source.category) if name is not None]
        if None in about:
            continue
        key = tuple(map(_text, about))
        if source.category is not None and key[1] not in categories and in_form(key[1]) not in folded:
            continue
        profile = None if source.profile is None else row[source.profile]
        recorded.setdefault(key, []).append(
            RecordedAnswer(
                values=tuple(row[column] for column in columns),
                time=_time_of(source, row),
                profile=None if profile is None or _text(profile) == key[0] else _text(profile),
            )
        )
    found = {key: counted_answer(answers, until=at + CLOCK_SKEW) for key, answers in recorded.items()}
    return {key: answer for key, answer in found.items() if answer is not None}


def _time_of(source: ConsentSource, row: Mapping[str, Any]) -> datetime | None:
    if source.time is None:
        return None
    found = row[source.time]
    return found if source.time_unit is None else epoch_time(found, source.time_unit)


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
    """Return the combined answer of several profiles' latest answers."""
    newest = max((answer.time for answer in latest if answer.time is not None), default=None)
    certain = [answer.values for answer in latest if answer.values is not None]
    if len(certain) < len(latest):
        return CountedAnswer(None, Doubt.CONFLICT, newest)
    return _one_of(certain, newest)


def _one_of(answers: Sequence[tuple[object, ...]], time: datetime | None) -> CountedAnswer:
    """Return the answer if all answers are the same, otherwise a conflict."""
    # The type is compared too, because `True == 1`.
    different = {tuple((type(value), value) for value in values) for values in answers}
    if len(different) > 1:
        return CountedAnswer(None, Doubt.CONFLICT, time)
    return CountedAnswer(answers[0], Doubt.NONE, time)


def _text(value: object) -> str:
    """Return the exact text of a value, which engines compare."""
    return str(value).lower() if isinstance(value, bool) else str(value)
