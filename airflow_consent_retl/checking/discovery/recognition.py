"""The recognition of consent: one entry for each format and reader, with a function that finds it in a model.

A new reader needs one entry in `RECOGNISERS`. A recogniser proposes candidates; the law itself then reads the sample
with them (`readings_of`), so what the report counts is what a run would decide on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_consent_retl.checking.discovery.consent_words import says_consent
from airflow_consent_retl.consent import ConsentStatus, WholeConsent
from airflow_consent_retl.consent.answers import Answers, combined
from airflow_consent_retl.errors import PolicyError

if TYPE_CHECKING:
    from airflow_consent_retl.checking.discovery.column_shapes import LookedAt
    from airflow_consent_retl.consent.signals import CategorySignal
    from airflow_consent_retl.consent.switches import RowSwitches

# Id and name of each category that a format may contain.
Known = Sequence[tuple[str, str]]
Readings = Counter[ConsentStatus]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to read a column.

    Args:
        column: its name.
        format: the name of the format, or of the role: `time`, `region`, `gpc`, `switches`, `primary_key`.
        signal: the format; None: something is missing that only a person knows, or the column has another role.
        about: names that say which category it is about, the best one first.
        code: Python for a person, where `signal` cannot give it.
        is_certain: the values have a form that nothing else has.
        doubts: what a person has to find out.
    """

    column: str
    format: str
    signal: CategorySignal | WholeConsent | RowSwitches | None = None
    about: tuple[str, ...] = ()
    code: str = ""
    is_certain: bool = False
    doubts: tuple[str, ...] = ()

    def doubting(self, *doubts: str) -> Candidate:
        """Return the candidate with more doubts."""
        return replace(self, doubts=(*self.doubts, *doubts))


@dataclass(frozen=True, slots=True)
class LookedModel:
    """The columns of a model that were looked at, and the categories that they may be about.

    Args:
        columns: by name; columns that identify people are not there.
        known: the policy's categories; without a policy, the ids that consent platforms use by default.
    """

    columns: Mapping[str, LookedAt]
    known: Known

    def __iter__(self) -> Iterator[LookedAt]:
        return iter(self.columns.values())


Recognise = Callable[[LookedModel], Iterator[Candidate]]


@dataclass(frozen=True, slots=True)
class Recogniser:
    """The recogniser of one format, or of several that are found in the same way.

    Args:
        formats: the names of the formats, as their classes have them.
        recognise: finds candidates in a model.
        takes_column: its candidates are beyond doubt, so the columns are not offered to later recognisers.
    """

    formats: tuple[str, ...]
    recognise: Recognise
    takes_column: bool = False


def candidates_in(model: LookedModel, recognisers: Sequence[Recogniser]) -> list[Candidate]:
    """Return every candidate, in the order of the recognisers."""
    found: list[Candidate] = []
    taken: set[str] = set()
    for one in recognisers:
        left = {name: column for name, column in model.columns.items() if name not in taken}
        candidates = list(one.recognise(LookedModel(left, model.known)))
        found += candidates
        if one.takes_column:
            taken.update(name for candidate in candidates if candidate.is_certain for name in columns_of(candidate))
    read = {name for candidate in found for name in columns_of(candidate)}
    return [*found, *(_unread(column) for column in model if column.name not in read and _sounds(column))]


def columns_of(candidate: Candidate) -> tuple[str, ...]:
    """Return every column that a candidate reads."""
    signal = candidate.signal
    return signal.columns if isinstance(signal, WholeConsent) else (candidate.column,)


def _sounds(column: LookedAt) -> bool:
    return bool(column.filled) and not column.is_personal and says_consent(column.name)


def _unread(column: LookedAt) -> Candidate:
    return Candidate(column.name, "", doubts=("its name says consent, and no format reads its values",))


def readings_of(signal: CategorySignal, column: LookedAt) -> Readings:
    """Return how many sampled rows have each status, as a run would read them."""
    counted: Readings = Counter()
    for value, rows in Counter(column.column.values or ()).items():
        counted[signal.status(signal.token(value))] += rows
    return counted


def readings_by_category(signal: WholeConsent, model: LookedModel) -> dict[str, Readings]:
    """Return the statuses by category, for each category that one of the rows says something about."""
    found: dict[str, Readings] = {}
    for id_, name in model.known:
        try:
            one = signal.for_category(id_, name)
        except PolicyError:
            # The format has a list of its own, which lacks this category.
            continue
        read = _answers_read(one, model) if isinstance(one, Answers) else readings_of(one, model.columns[one.column])
        if read[ConsentStatus.GRANTED] or read[ConsentStatus.DENIED]:
            found[id_] = read
    return found


def _answers_read(answers: Answers, model: LookedModel) -> Readings:
    """Return how many rows have each status by several columns together."""
    signals = [part.signal for part in answers.parts]
    rows = zip(*(model.columns[one.column].column.values or () for one in signals), strict=True)
    return Counter(
        combined(
            [one.status(one.token(value)) for one, value in zip(signals, row, strict=True)],
            answers.combining,
            any_no_denies=False,
        )
        for row in rows
    )
