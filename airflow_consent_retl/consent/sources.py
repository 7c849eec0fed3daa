"""Consent from queries other than the model's: the declarations of consent sources and suppression lists.

Declares second queries, of states or of events, and lists of people who never receive anything. Never runs one. The
link table of identities, in `consent.identities`, is read like them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

from airflow_consent_retl.consent.freshness import EpochTime, EpochUnit
from airflow_consent_retl.consent.identities import IdentityLinks
from airflow_consent_retl.consent.match_forms import MatchForm
from airflow_consent_retl.consent.opposite import says_opposite
from airflow_consent_retl.consent.signals import require
from airflow_consent_retl.consent.source_checks import match_problems, number_problems, shrink_problems, text_problems
from airflow_consent_retl.errors import PolicyError, Problem

_PAIRS = ("columns", "column_types")
Source = TypeVar("Source", bound="ExternalConsent")


@dataclass(frozen=True, slots=True, init=False)
class ConsentSource:
    """A second query whose columns are joined to the model's rows. A consent mapping then names these columns.

    A table of states has one row for each subject:

        ConsentSource("SELECT person_id, ads_ok FROM consents", subject="person_id", key="user_id", columns=["ads_ok"])

    With `time`, the query returns a history of events, of which the latest counts. With `category` and `value`, each
    row is about one category, and `columns` names the column of each category:

        ConsentSource("SELECT * FROM consent_events", subject="user_id", time="changed_at", category="category_id",
                      value="given", columns={"C0002": "analytics_ok", "C0004": "ads_ok"})

    Two answers are in doubt, and deny, if no rule puts them in an order: states that differ; events of the same time
    that differ; an event without a time that differs from the latest one. A subject without a row in the source has
    NULL in every column: unknown. `history` contains the rule. A subject whose only row has its id in another spelling
    is in doubt too, since the row may be a no; likewise one whose only row is about a category with another spelling.

    Args:
        sql: a SELECT. Templated, also from a `.sql` file.
        subject: the query's column with the person's id: text or integers, compared exactly with the model's key.
        columns: the query's columns that contain consent (booleans, integers or text): their names, or their names,
            each with its name in the snapshot.
        key: the model's column that `subject` equals; None: the column of the same name.
        time: the query's column with the time at which a row was recorded: a timestamp with a zone, or `EpochTime` for
            integers. A number that is no time in its unit counts as missing.
        bring_time: whether the snapshot also gets the time of the row that counts, for `Recorded(…, time=…)`. Its
            column is `<column>_at`, named after the first of `columns`, or after each column if every category has
            rows of its own.
        profile: the query's column with the profile (a device, an anonymous id) under which a row was recorded before
            profiles were merged. If the latest answers of two profiles differ, they are in doubt, unless an answer of
            the subject itself (`profile` is NULL or equals the subject) is later than all others.
        category: the query's column with a category's id.
        value: the query's column with a category's consent.
        conn_id: an Airflow connection; None: the model's. Templated.
        column_types: Arrow type by column, for columns whose type the source does not declare, as in
            `ExtractModelOperator`.
        require_match: fail if the model has rows but none of them has a subject in the source, which is the sign of a
            wrong key.
        match: the form in which another spelling of an id is recognized, as for `SuppressionList`; `exact`: never, for
            ids in which case or accents tell people apart.
        max_shrink_ratio: the largest share of its rows that the source may lose since the model's last extraction, 0 to
            1, or the extraction fails; rows without a subject do not count. None: no limit.

    Raises:
        PolicyError: a parameter is wrong. The error contains every problem.
    """

    sql: str
    subject: str
    columns: tuple[tuple[str, str], ...]
    key: str
    time: str | None
    bring_time: bool
    profile: str | None
    category: str | None
    value: str | None
    conn_id: str | None
    column_types: tuple[tuple[str, str], ...]
    require_match: bool
    match: str
    max_shrink_ratio: float | None
    time_unit: EpochUnit | None

    def __init__(
        self,
        sql: str,
        *,
        subject: str,
        columns: Sequence[str] | Mapping[str, str] | tuple[tuple[str, str], ...],
        key: str | None = None,
        time: str | EpochTime | None = None,
        bring_time: bool = False,
        profile: str | None = None,
        category: str | None = None,
        value: str | None = None,
        conn_id: str | None = None,
        column_types: Mapping[str, str] | tuple[tuple[str, str], ...] = (),
        require_match: bool = True,
        match: str = "folded",
        max_shrink_ratio: float | None = None,
        time_unit: EpochUnit | None = None,
    ) -> None:
        if time_unit is not None and isinstance(time, str):
            EpochTime(time, time_unit)
        if isinstance(time, EpochTime):
            time_unit, time = time.unit, time.column
        pairs = _pairs(columns)
        given = {"sql": sql, "subject": subject, "key": key, "time": time, "profile": profile}
        given |= {"category": category, "value": value, "conn_id": conn_id}
        problems = text_problems("ConsentSource", given, required=("sql", "subject"))
        if not pairs:
            problems.append(Problem("ConsentSource.columns", "expected at least one column that contains consent"))
        if len({name for _, name in pairs}) < len(pairs) or len({column for column, _ in pairs}) < len(pairs):
            problems.append(Problem("ConsentSource.columns", "a column is named twice"))
        if (category is None) != (value is None):
            problems.append(Problem("ConsentSource", "`category` and `value` belong together"))
        if category is not None and not isinstance(columns, Mapping | tuple):
            problems.append(Problem("ConsentSource.columns", "expected each category's id with the name of its column"))
        problems += _turned_round(pairs, value)
        if time is None and (bring_time or profile is not None):
            problems.append(
                Problem("ConsentSource", "`bring_time` and `profile` belong to events, which have a `time`")
            )
        for name, text in given.items():
            object.__setattr__(self, name, text)
        object.__setattr__(self, "columns", pairs)
        object.__setattr__(self, "key", subject if key is None else key)
        object.__setattr__(self, "column_types", _pairs(column_types))
        object.__setattr__(self, "bring_time", bring_time)
        object.__setattr__(self, "require_match", require_match)
        object.__setattr__(self, "match", match)
        object.__setattr__(self, "max_shrink_ratio", max_shrink_ratio)
        object.__setattr__(self, "time_unit", time_unit)
        problems += match_problems(match, "ConsentSource") + shrink_problems(max_shrink_ratio, "ConsentSource")
        named = [name for _, name in pairs]
        brought = [*named, *set(self.doubts.values()), *set(self.times.values())]
        if len({name.casefold() for name in brought}) < len(brought) and len(set(named)) == len(named):
            problems.append(Problem("ConsentSource.columns", "two columns would have one name in the snapshot"))
        require(problems)

    @property
    def brought(self) -> tuple[str, ...]:
        """The names of all columns that the snapshot gets."""
        names = [name for _, name in self.columns]
        return tuple(dict.fromkeys([*names, *self.doubts.values(), *self.times.values()]))

    @property
    def doubts(self) -> dict[str, str]:
        """The column with the doubt about each consent column's answer (a number of `history.Doubt`)."""
        return self._named("{}_doubt")

    @property
    def times(self) -> dict[str, str]:
        """The column with the time of each consent column's answer; empty unless `bring_time`."""
        return self._named("{}_at") if self.bring_time else {}

    def _named(self, pattern: str) -> dict[str, str]:
        names = [name for _, name in self.columns]
        return {name: pattern.format(name if self.category is not None else names[0]) for name in names}

    @property
    def form(self) -> MatchForm:
        """The form in which another spelling of an id is recognized."""
        return MatchForm(self.match)

    @property
    def suppressions(self) -> tuple[str, ...]:
        """The columns that suppress: none."""
        return ()

    def rendered(self, render: Callable[[str], str]) -> ConsentSource:
        """Return the source with its templates rendered."""
        return _rendered(self, render)


@dataclass(frozen=True, slots=True)
class SuppressionList:
    """A query for people who never receive anything, whatever they consented to. It returns one row for each person.

        SuppressionList("SELECT email_sha256 FROM do_not_contact", subject="email_sha256", conn_id="crm")

    A row of the model without a key cannot be looked up, and is denied too. Who is not found may be sent, so keys are
    compared generously: white space at the ends, case and accents do not count, unless `match` says otherwise.

    Args:
        sql: a SELECT. Templated, also from a `.sql` file.
        subject: the query's column with the id of a person on the list.
        key: the model's column that `subject` equals; None: the column of the same name.
        conn_id: an Airflow connection; None: the model's. Templated.
        column: the snapshot's boolean column: whether the person of a row is on the list.
        match: the form in which keys are compared: `folded`; `email`, in which no white space counts; `phone`, the last
            nine digits without leading zeros; `sha256`, hex digits without a leading `0x`; `exact`, every byte. A text
            that is no key of the form counts as missing.
        min_rows: the fewest keys that the list must have, or reading it fails; 0 accepts an empty list.
        require_match: fail if no row of the model is on the list, which may be the sign of a wrong key.
        max_shrink_ratio: the largest share of its keys that the list may lose since the model's last extraction, 0 to
            1, or the extraction fails. None: no limit.

    Raises:
        PolicyError: a parameter is wrong. The error contains every problem.
    """

    sql: str
    subject: str
    key: str | None = None
    conn_id: str | None = None
    column: str = "suppressed"
    match: str = "folded"
    min_rows: int = 1
    require_match: bool = False
    max_shrink_ratio: float | None = None

    column_types: ClassVar[tuple[tuple[str, str], ...]] = ()
    doubts: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        texts = {name: getattr(self, name) for name in ("sql", "subject", "column", "key", "conn_id")}
        problems = text_problems("SuppressionList", texts, required=("sql", "subject", "column"))
        problems += match_problems(self.match, "SuppressionList")
        problems += shrink_problems(self.max_shrink_ratio, "SuppressionList")
        problems += number_problems(self.min_rows, "SuppressionList.min_rows", least=0)
        require(problems)
        object.__setattr__(self, "key", self.subject if self.key is None else self.key)

    @property
    def brought(self) -> tuple[str, ...]:
        """The name of the column that the snapshot gets."""
        return (self.column,)

    @property
    def form(self) -> MatchForm:
        """The form in which keys are compared."""
        return MatchForm(self.match)

    @property
    def suppressions(self) -> tuple[str, ...]:
        """The column that suppresses."""
        return (self.column,)

    def rendered(self, render: Callable[[str], str]) -> SuppressionList:
        """Return the list with its templates rendered."""
        return _rendered(self, render)


ExternalConsent = ConsentSource | SuppressionList | IdentityLinks
_KINDS = (ConsentSource, SuppressionList, IdentityLinks)
SourceDocument = dict[str, Any]


def source_document(source: ExternalConsent) -> SourceDocument:
    """Return the document of a source for a manifest. It contains names and SQL, and no value of a row."""
    document = {field.name: getattr(source, field.name) for field in fields(source)}
    for name in ("max_shrink_ratio", "time_unit"):
        # The digests of policies that declare none stay what they were.
        if document.get(name, ...) is None:
            del document[name]
    return {"format": type(source).__name__, **document} | (
        {name: [list(pair) for pair in getattr(source, name)] for name in _PAIRS}
        if isinstance(source, ConsentSource)
        else {}
    )


def parse_source_document(document: Mapping[str, Any]) -> ExternalConsent:
    """Return the source of a document that `source_document` wrote.

    Raises:
        PolicyError: this version does not know the kind of source, or one of its parameters.
    """
    formats: dict[object, type[ExternalConsent]] = {kind.__name__: kind for kind in _KINDS}
    kind = formats.get(document.get("format"))
    if kind is None:
        raise PolicyError([Problem("consent_sources", "this version does not know the kind of source")])
    parts = {name: part for name, part in document.items() if name != "format"}
    parts |= {name: _pairs(parts[name]) for name in _PAIRS if name in parts}
    try:
        return kind(**parts)
    except TypeError:
        raise PolicyError([Problem("consent_sources", f"{kind.__name__} does not accept its parameters")]) from None


def check_sources(sources: Sequence[object]) -> tuple[ExternalConsent, ...]:
    """Return the sources after checking that no two bring the same column. Raises `PolicyError` with every problem."""
    problems: list[Problem] = []
    brought: dict[str, int] = {}
    checked: list[ExternalConsent] = []
    for index, source in enumerate(sources):
        path = f"consent_sources[{index}]"
        if not isinstance(source, _KINDS):
            problems.append(Problem(path, "expected a ConsentSource or a SuppressionList"))
            continue
        problems += [
            Problem(path, f"column `{name}` is already brought by consent_sources[{brought[name.casefold()]}]")
            for name in source.brought
            if name.casefold() in brought
        ]
        brought |= {name.casefold(): index for name in source.brought}
        checked.append(source)
    require(problems)
    return tuple(checked)


def _turned_round(pairs: tuple[tuple[str, str], ...], value: str | None) -> list[Problem]:
    """Return a problem for each column of objections whose name in the snapshot no longer says so."""
    return [
        Problem(
            "ConsentSource.columns",
            f"the answers of `{name}` are in `{source}`, which sounds like an objection: give the column a name that "
            "says so, such as `ads_opt_out`, and map it with OptOut(...)",
        )
        for column, name in pairs
        if says_opposite(source := str(column if value is None else value)) and not says_opposite(name)
    ]


def _rendered(source: Source, render: Callable[[str], str]) -> Source:
    conn_id = None if source.conn_id is None else render(source.conn_id)
    return replace(source, sql=render(source.sql), conn_id=conn_id)


def _pairs(columns: object) -> tuple[tuple[str, str], ...]:
    listed = list(columns.items()) if isinstance(columns, Mapping) else columns
    if isinstance(listed, str) or not isinstance(listed, Sequence):
        return ()
    pairs = [
        tuple(entry) if isinstance(entry, Sequence) and not isinstance(entry, str) else (entry, entry)
        for entry in listed
    ]
    is_sound = all(len(pair) == 2 and all(isinstance(text, str) and text for text in pair) for pair in pairs)
    return tuple((str(column), str(name)) for column, name in pairs) if is_sound else ()
