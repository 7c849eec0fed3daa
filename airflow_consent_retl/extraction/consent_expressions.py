"""The history of recorded answers as one expression, for DuckDB and for every warehouse.

This is the fast path of `consent.history`, which contains the rule: both return the same answers, doubts and times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ibis

from airflow_consent_retl.consent import CLUSTER, ConsentSource, Doubt, IdentityLinks
from airflow_consent_retl.consent.match_forms import MatchForm, in_form
from airflow_consent_retl.databases.dialect import Dialect, concat

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from airflow_consent_retl.consent import ExternalConsent, SuppressionList

SUBJECT, CATEGORY, TIME, DOUBT = "subject", "category", "moment", "doubt"


def value_column(number: int) -> str:
    """Return the name of a consent column in the expressions."""
    return f"value_{number}"


@dataclass(frozen=True, slots=True)
class AnswerHistory:
    """A source's answer about each subject.

    Args:
        source: the consent source.
        dialect: the dialect of the SQL.
        table: the source's rows, with the source's column names.
        latest: the latest time at which a row can have been recorded; None if the source has no times.
    """

    source: ConsentSource
    dialect: Dialect
    table: ir.Table
    latest: ir.Value | None

    @staticmethod
    def columns(source: ConsentSource, *, subject: str = "string") -> dict[str, str]:
        """Return the columns of `reduced` with Ibis' types: values are text, and times are numbers."""
        values = 1 if source.value is not None else len(source.columns)
        category = {} if source.category is None else {CATEGORY: "string"}
        consent = {value_column(number): "string" for number in range(values)}
        return {SUBJECT: subject, **category, **consent, TIME: "int64", DOUBT: "int32"}

    def reduced(self) -> ir.Table:
        """Return the answer that counts and its doubt, for each subject, or for each subject and category."""
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
            is_wanted = self.dialect.exact_key(present[source.category]).isin(wanted)
            # Another spelling may be a no: it is kept as a category of its own.
            folded = self.dialect.key_in_form(present[source.category], MatchForm.FOLDED)
            is_near = folded.isin([str(in_form(category, MatchForm.FOLDED)) for category, _ in source.columns])
            present = present.filter(ibis.cases((is_wanted, True), else_=is_near))
        recorded = present.select(
            **columns,
            answer=self._answer([table[name] for name in values]),
            time=ibis.null("int64") if source.time is None else table[source.time],
            profile=self._profile(),
        )
        if source.profile is None:
            found = self._latest(recorded, who)
        else:
            found = self._across_profiles(self._latest(recorded, [*who, "profile"]), who)
        dated = self._dated(found)
        # An answer in doubt is NULL: the order of several answers would depend on how an engine sorts text.
        certain = {
            name: ibis.cases((dated[DOUBT] == int(Doubt.NONE), dated[name]))
            for name in map(value_column, range(len(values)))
        }
        return dated.select(*who, **certain, **{TIME: dated[TIME], DOUBT: dated[DOUBT]})

    def _profile(self) -> ir.Value:
        """Return the profile under which a row was recorded, NULL for the subject itself."""
        if self.source.profile is None:
            return ibis.null("string")
        profile = self.dialect.exact_key(self.table[self.source.profile])
        is_own = profile == self.dialect.exact_key(self.table[self.source.subject])
        return ibis.cases((is_own, ibis.null("string")), else_=profile)

    def _answer(self, values: Sequence[ir.Value]) -> ir.StringValue:
        """Return a text that is equal for equal values only."""
        marked = []
        for value in values:
            text = self.dialect.text(value)
            # The length comes first, so that no text looks like the end of one value and the start of the next.
            written = concat([ibis.literal("+"), text.length().cast("string"), ibis.literal(":"), text])
            marked.append(ibis.cases((value.isnull(), ibis.literal("-")), else_=written))
        return self.dialect.exact(concat(marked))

    def _latest(self, recorded: ir.Table, who: Sequence[str]) -> ir.Table:
        """Return the latest row of each group, in doubt if a different row is not certainly older."""
        window = ibis.window(group_by=who)
        dated = recorded.mutate(latest=recorded["time"].max().over(window))
        marked = dated.mutate(
            is_latest=ibis.cases((dated["time"] == dated["latest"], 1), (dated["latest"].isnull(), 1), else_=0)
        )
        newest = ibis.cases((marked["is_latest"] == 1, marked["answer"]), else_=ibis.null("string"))
        undated = ibis.cases((marked["time"].isnull(), marked["answer"]), else_=ibis.null("string"))
        placed = marked.mutate(
            low=newest.min().over(window),
            high=newest.max().over(window),
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
        found = first.mutate(doubt_found=ibis.cases((differs, int(Doubt.CONFLICT)), else_=int(Doubt.NONE)))
        return found.drop("is_latest", "low", "high", "place", "time")

    def _across_profiles(self, found: ir.Table, who: Sequence[str]) -> ir.Table:
        """Return the common answer of each subject's profiles, or a later answer of the subject itself."""
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
        # An answer without a time may be later than the subject's own answer.
        unsettled = (first["any_undated_low"] != first["answer"]) | (first["any_undated_high"] != first["answer"])
        doubt = ibis.cases(
            ((first["settles"] == 1) & unsettled, int(Doubt.CONFLICT)),
            (first["settles"] == 1, first["doubt_found"]),
            (first["low"] != first["high"], int(Doubt.CONFLICT)),
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
            doubt = ibis.cases(
                (doubt == int(Doubt.CONFLICT), int(Doubt.CONFLICT)),
                (found["latest"] > self.latest, int(Doubt.FUTURE)),
                else_=int(Doubt.NONE),
            )
        return found.mutate(**{TIME: found["latest"], DOUBT: doubt.cast("int32")})


@dataclass(frozen=True, slots=True)
class JoinedPart:
    """A table that is joined to a model's rows.

    Args:
        key: the key of the rows.
        table: a table whose column `subject` contains each value once, and never NULL.
        brought: the columns that the rows get, by name.
        is_list: whether the rows get a boolean instead: whether their key is in the table, or NULL without a key.
        near: what is looked up where the key is not in the table; None: nothing.
    """

    key: ir.Value
    table: ir.Table
    brought: Mapping[str, ir.Value]
    is_list: bool = False
    near: NearKeys | None = None


@dataclass(frozen=True, slots=True)
class NearKeys:
    """The keys of a table in a form in which spellings of one key are alike.

    Args:
        key: the key of the rows in this form.
        table: a table whose column `subject` contains each key of the other table once, in this form.
        doubt: the name of the column that gets `Doubt.NEAR_KEY`.
    """

    key: ir.Value
    table: ir.Table
    doubt: str


def listed(source: SuppressionList, table: ir.Table, dialect: Dialect) -> ir.Table:
    """Return each subject of a list once, in the form in which it is compared."""
    found = table.select(**{SUBJECT: dialect.key_in_form(table[source.subject], source.form)})
    return found.filter(found[SUBJECT].notnull()).distinct()


def key_of(source: ExternalConsent, key: ir.Value, dialect: Dialect) -> ir.Value:
    """Return the model's key in the form in which it is compared with a source's subjects.

    INVARIANT: a join whose match permits compares every byte; a list permits where it does not match. A source does
    either, depending on the policy: `near_keys` finds whom another spelling may be about.
    """
    return dialect.exact_key(key) if isinstance(source, ConsentSource) else dialect.key_in_form(key, source.form)


def near_keys(
    source: ConsentSource,
    raw_key: ir.Value,
    found: ir.Table,
    dialect: Dialect,
    *,
    doubt: str,
    others: ir.Table | None = None,
    are_integers: bool = False,
) -> NearKeys | None:
    """Return the other spellings of a source's subjects; None if there can be none.

    Args:
        source: the consent source; if it says that every byte of its subjects counts, they have no other spelling.
        raw_key: the key of the model's rows, as they have it.
        found: the source's answers about one category, or about all.
        dialect: the dialect of the SQL.
        doubt: the name of the column that gets the doubt.
        others: the answers about another spelling of the category.
        are_integers: whether the subjects are integers, of which each has one spelling.
    """
    is_exact = source.form is MatchForm.EXACT or are_integers

    def written(key: ir.Value) -> ir.Value:
        return key if is_exact else dialect.key_in_form(key, source.form)

    tables = ([] if is_exact else [found]) + ([] if others is None else [others])
    if not tables:
        return None
    folded = [table.select(**{SUBJECT: written(table[SUBJECT])}) for table in tables]
    subjects = folded[0] if len(folded) == 1 else folded[0].union(folded[1], distinct=False)
    known = subjects.filter(subjects[SUBJECT].notnull()).distinct()
    return NearKeys(written(dialect.exact_key(raw_key) if is_exact else raw_key), known, doubt)


def parts_of(
    source: ExternalConsent, raw_key: ir.Value, found: ir.Table, dialect: Dialect, *, are_integers: bool = False
) -> list[JoinedPart]:
    """Return the tables that are joined for a source.

    Args:
        source: the consent source.
        raw_key: the key of the model's rows, as they have it.
        found: the result of `AnswerHistory.reduced` or `listed`, or the clusters of people. If its subjects are
            integers and not their text, so are the keys.
        dialect: the dialect of the SQL.
        are_integers: whether the subjects are integers.
    """
    key = raw_key if found[SUBJECT].type().is_integer() else key_of(source, raw_key, dialect)
    if isinstance(source, IdentityLinks):
        return [JoinedPart(key, found, {CLUSTER: found[CLUSTER]})]
    if not isinstance(source, ConsentSource):
        return [JoinedPart(key, found, {source.column: ibis.literal(1)}, is_list=True)]
    doubts, times = source.doubts, source.times
    if source.category is None:
        brought = {name: found[value_column(number)] for number, (_, name) in enumerate(source.columns)}
        names = {name: name for _, name in source.columns[:1]}
        doubt = doubts[source.columns[0][1]]
        near = near_keys(source, raw_key, found, dialect, doubt=doubt, are_integers=are_integers)
        return [JoinedPart(key, found, brought | _doubts_and_times(found, names, doubts, times), near=near)]
    parts = []
    wanted = [dialect.exact(ibis.literal(category)) for category, _ in source.columns]
    spelled = dialect.key_in_form(found[CATEGORY], MatchForm.FOLDED)
    for category, name in source.columns:
        own = found.filter(found[CATEGORY] == dialect.exact(ibis.literal(category)))
        is_near = found[CATEGORY].notin(wanted) & (spelled == str(in_form(category, MatchForm.FOLDED)))
        near = near_keys(
            source,
            raw_key,
            own,
            dialect,
            doubt=doubts[name],
            others=found.filter(is_near),
            are_integers=are_integers,
        )
        brought = {name: own[value_column(0)]} | _doubts_and_times(own, {name: name}, doubts, times)
        parts.append(JoinedPart(key, own, brought, near=near))
    return parts


def _doubts_and_times(
    found: ir.Table, names: Mapping[str, str], doubts: Mapping[str, str], times: Mapping[str, str]
) -> dict[str, ir.Value]:
    brought: dict[str, ir.Value] = {doubts[name]: found[DOUBT] for name in names}
    return brought | {times[name]: found[TIME] for name in names if name in times}


def matched_column(number: int) -> str:
    """Return the name of the column that tells whether a row has a subject in a joined table."""
    return f"consent_retl_matched_{number}"


def joined(
    rows: ir.Table, *, columns: Sequence[str], parts: Sequence[JoinedPart], with_matched: bool = False
) -> ir.Table:
    """Return each row once, with the sources' answers about it; NULL if a source has no answer.

    Args:
        rows: the model's rows.
        columns: the model's columns to keep.
        parts: the tables to join.
        with_matched: whether each part also brings its `matched_column`.
    """
    keys = {_key(number): part.key for number, part in enumerate(parts)}
    near = {number: part.near for number, part in enumerate(parts) if part.near is not None}
    result = rows.select(*columns, **keys, **{_near(number): keys_.key for number, keys_ in near.items()})
    for number, part in enumerate(parts):
        subject = _subject(number)
        found = part.table.select(**{subject: part.table[SUBJECT]}, **part.brought)
        result = result.left_join(found, result[_key(number)] == found[subject])
        if number in near:
            spelled = near[number].table.select(**{_spelled(number): near[number].table[SUBJECT]})
            result = result.left_join(spelled, result[_near(number)] == spelled[_spelled(number)])
    brought: dict[str, ir.Value] = {}
    for number, part in enumerate(parts):
        for name in part.brought:
            value = result[name]
            if part.is_list:
                value = ibis.cases((result[_key(number)].isnull(), ibis.null("boolean")), else_=value.notnull())
            elif number in near and name == near[number].doubt:
                is_near = result[_subject(number)].isnull() & result[_spelled(number)].notnull()
                value = ibis.cases((is_near, ibis.literal(int(Doubt.NEAR_KEY), "int32")), else_=value)
            brought[name] = value
        if with_matched:
            brought[matched_column(number)] = result[_subject(number)].notnull()
    return result.select(*columns, **brought)


def _key(number: int) -> str:
    return f"consent_retl_key_{number}"


def _subject(number: int) -> str:
    return f"consent_retl_subject_{number}"


def _near(number: int) -> str:
    return f"consent_retl_near_{number}"


def _spelled(number: int) -> str:
    return f"consent_retl_spelled_{number}"
