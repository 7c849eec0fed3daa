"""What a source of consent says of each subject, as one expression that DuckDB and every warehouse can be given.

Puts answers in an order, and tells where none can be; what an answer means is for `consent` to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ibis

from airflow_consent_retl.consent import ConsentSource
from airflow_consent_retl.databases.dialect import Dialect, concat

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from airflow_consent_retl.consent import ExternalConsent, SuppressionList

SUBJECT, CATEGORY, MOMENT, DOUBT = "subject", "category", "moment", "doubt"
# As `consent.sources.ConsentSource.doubts` has them.
CERTAIN, CONFLICT, FUTURE = 0, 1, 2


def value_column(number: int) -> str:
    """Return what the expressions call a consent column."""
    return f"value_{number}"


@dataclass(frozen=True, slots=True)
class AnswerHistory:
    """What a source says of each subject.

    Args:
        source: of consent.
        dialect: of the SQL.
        table: the source's rows, with its own names.
        latest: the last moment at which a row can have been recorded; None where the source has no times.
    """

    source: ConsentSource
    dialect: Dialect
    table: ir.Table
    latest: ir.Value | None

    @staticmethod
    def columns(source: ConsentSource) -> dict[str, str]:
        """Return the columns of `reduced`, by Ibis' type where values are text and moments numbers."""
        values = 1 if source.value is not None else len(source.columns)
        category = {} if source.category is None else {CATEGORY: "string"}
        held = {value_column(number): "string" for number in range(values)}
        return {SUBJECT: "string", **category, **held, MOMENT: "int64", DOUBT: "int32"}

    def reduced(self) -> ir.Table:
        """Return a row for each subject, or for each subject and category: what counts, and whether it is in doubt."""
        source, table = self.source, self.table
        who = [SUBJECT] if source.category is None else [SUBJECT, CATEGORY]
        values = [column for column, _ in source.columns] if source.value is None else [source.value]
        columns = {SUBJECT: self.dialect.exact_key(table[source.subject])}
        if source.category is not None:
            columns[CATEGORY] = self.dialect.exact_key(table[source.category])
        columns |= {value_column(number): table[name] for number, name in enumerate(values)}
        present = table.filter(table[source.subject].notnull())
        if source.category is not None:
            wanted = [self.dialect.exact(ibis.literal(category)) for category, _ in source.columns]
            present = present.filter(self.dialect.exact_key(present[source.category]).isin(wanted))
        said = present.select(
            **columns,
            answer=self._answer([table[name] for name in values]),
            time=ibis.null("int64") if source.time is None else table[source.time],
            profile=self._profile(),
        )
        if source.profile is None:
            found = self._latest(said, who)
        else:
            found = self._across_profiles(self._latest(said, [*who, "profile"]), who)
        dated = self._dated(found)
        # In doubt there is no answer: which of several was met first depends on how an engine orders text.
        certain = {
            name: ibis.cases((dated[DOUBT] == CERTAIN, dated[name])) for name in map(value_column, range(len(values)))
        }
        return dated.select(*who, **certain, **{MOMENT: dated[MOMENT], DOUBT: dated[DOUBT]})

    def _profile(self) -> ir.Value:
        """Return the profile that a row was recorded under, NULL for the subject itself."""
        if self.source.profile is None:
            return ibis.null("string")
        profile = self.dialect.exact_key(self.table[self.source.profile])
        is_own = profile == self.dialect.exact_key(self.table[self.source.subject])
        return ibis.cases((is_own, ibis.null("string")), else_=profile)

    def _answer(self, values: Sequence[ir.Value]) -> ir.StringValue:
        """Return a text that is the same for the same values, and for no others."""
        marked = []
        for value in values:
            text = self.dialect.text(value)
            # With its length before it, a text ends where it does.
            told = concat([ibis.literal("+"), text.length().cast("string"), ibis.literal(":"), text])
            marked.append(ibis.cases((value.isnull(), ibis.literal("-")), else_=told))
        return self.dialect.exact(concat(marked))

    def _latest(self, said: ir.Table, who: Sequence[str]) -> ir.Table:
        """Return the row that counts of each, in doubt where another one says otherwise and is not surely older."""
        window = ibis.window(group_by=who)
        dated = said.mutate(latest=said["time"].max().over(window))
        marked = dated.mutate(
            is_latest=ibis.cases((dated["time"] == dated["latest"], 1), (dated["latest"].isnull(), 1), else_=0)
        )
        among = ibis.cases((marked["is_latest"] == 1, marked["answer"]), else_=ibis.null("string"))
        undated = ibis.cases((marked["time"].isnull(), marked["answer"]), else_=ibis.null("string"))
        placed = marked.mutate(
            low=among.min().over(window),
            high=among.max().over(window),
            undated_low=undated.min().over(window),
            undated_high=undated.max().over(window),
            place=ibis.row_number().over(
                ibis.window(group_by=who, order_by=[marked["is_latest"].desc(), marked["answer"]])
            ),
        )
        first = placed.filter(placed["place"] == 0)
        differs = (
            (first["low"] != first["high"])
            | (first["undated_low"] != first["low"])
            | (first["undated_high"] != first["low"])
        )
        found = first.mutate(doubt_found=ibis.cases((differs, CONFLICT), else_=CERTAIN))
        return found.drop("is_latest", "low", "high", "place", "time")

    def _across_profiles(self, found: ir.Table, who: Sequence[str]) -> ir.Table:
        """Return what counts of each subject's profiles: their common answer, or a later one of the subject itself."""
        window = ibis.window(group_by=who)
        marked = found.mutate(is_own=ibis.cases((found["profile"].isnull(), 1), else_=0))
        other = marked["is_own"] == 0
        ranked = marked.mutate(
            low=marked["answer"].min().over(window),
            high=marked["answer"].max().over(window),
            worst=marked["doubt_found"].max().over(window),
            any_undated_low=marked["undated_low"].min().over(window),
            any_undated_high=marked["undated_high"].max().over(window),
            newest=marked["latest"].max().over(window),
            others=ibis.cases((other, 1), else_=0).sum().over(window),
            others_undated=ibis.cases((other & marked["latest"].isnull(), 1), else_=0).sum().over(window),
            others_newest=ibis.cases((other, marked["latest"])).max().over(window),
        )
        is_later = ranked["latest"].notnull() & (
            (ranked["others"] == 0) | ((ranked["others_undated"] == 0) & (ranked["latest"] > ranked["others_newest"]))
        )
        settled = ranked.mutate(settles=ibis.cases(((ranked["is_own"] == 1) & is_later, 1), else_=0))
        placed = settled.mutate(
            place=ibis.row_number().over(
                ibis.window(group_by=who, order_by=[settled["settles"].desc(), settled["answer"]])
            )
        )
        first = placed.filter(placed["place"] == 0)
        # What has no time may be later than what settles.
        unsettled = (first["any_undated_low"] != first["answer"]) | (first["any_undated_high"] != first["answer"])
        doubt = ibis.cases(
            ((first["settles"] == 1) & unsettled, CONFLICT),
            (first["settles"] == 1, first["doubt_found"]),
            (first["low"] != first["high"], CONFLICT),
            else_=first["worst"],
        )
        return first.select(
            *who,
            *(name for name in first.columns if name.startswith("value_")),
            latest=ibis.cases((first["settles"] == 1, first["latest"]), else_=first["newest"]),
            doubt_found=doubt,
        )

    def _dated(self, found: ir.Table) -> ir.Table:
        doubt = found["doubt_found"]
        if self.latest is not None:
            doubt = ibis.cases((doubt == CONFLICT, CONFLICT), (found["latest"] > self.latest, FUTURE), else_=CERTAIN)
        return found.mutate(**{MOMENT: found["latest"], DOUBT: doubt.cast("int32")})


@dataclass(frozen=True, slots=True)
class JoinedPart:
    """A table that is joined to a model's rows.

    Args:
        key: of the rows.
        table: whose column `subject` holds each value once, and never NULL.
        brought: the columns that the rows get, by name.
        is_list: the rows get whether they are in the table, NULL where they have no key.
    """

    key: ir.Value
    table: ir.Table
    brought: Mapping[str, ir.Value]
    is_list: bool = False


def listed(source: SuppressionList, table: ir.Table, dialect: Dialect) -> ir.Table:
    """Return each subject of a list once."""
    subject = dialect.exact_key(table[source.subject])
    return table.filter(table[source.subject].notnull()).select(**{SUBJECT: subject}).distinct()


def parts_of(source: ExternalConsent, key: ir.Value, found: ir.Table, dialect: Dialect) -> list[JoinedPart]:
    """Return what is joined for a source.

    Args:
        source: whose.
        key: of the model's rows.
        found: what `AnswerHistory.reduced` or `listed` returns.
        dialect: of the SQL.
    """
    if not isinstance(source, ConsentSource):
        return [JoinedPart(key, found, {source.column: ibis.literal(1)}, is_list=True)]
    doubts, times = source.doubts, source.times
    if source.category is None:
        brought = {name: found[value_column(number)] for number, (_, name) in enumerate(source.columns)}
        names = {name: name for _, name in source.columns[:1]}
        return [JoinedPart(key, found, brought | _beside(found, names, doubts, times))]
    parts = []
    for category, name in source.columns:
        own = found.filter(found[CATEGORY] == dialect.exact(ibis.literal(category)))
        parts.append(JoinedPart(key, own, {name: own[value_column(0)]} | _beside(own, {name: name}, doubts, times)))
    return parts


def _beside(
    found: ir.Table, names: Mapping[str, str], doubts: Mapping[str, str], times: Mapping[str, str]
) -> dict[str, ir.Value]:
    brought: dict[str, ir.Value] = {doubts[name]: found[DOUBT] for name in names}
    return brought | {times[name]: found[MOMENT] for name in names if name in times}


def joined(rows: ir.Table, *, columns: Sequence[str], parts: Sequence[JoinedPart]) -> ir.Table:
    """Return each of the rows, once, with what sources say of it; NULL where they say nothing.

    Args:
        rows: of a model.
        columns: of it, that are kept.
        parts: to join.
    """
    result = rows.select(*columns, **{_key(number): part.key for number, part in enumerate(parts)})
    for number, part in enumerate(parts):
        subject = f"consent_retl_subject_{number}"
        said = part.table.select(**{subject: part.table[SUBJECT]}, **part.brought)
        result = result.left_join(said, result[_key(number)] == said[subject])
    brought: dict[str, ir.Value] = {}
    for number, part in enumerate(parts):
        for name in part.brought:
            held = result[name]
            if part.is_list:
                held = ibis.cases((result[_key(number)].isnull(), ibis.null("boolean")), else_=held.notnull())
            brought[name] = held
    return result.select(*columns, **brought)


def _key(number: int) -> str:
    return f"consent_retl_key_{number}"
