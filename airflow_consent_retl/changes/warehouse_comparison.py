"""The expressions with which a warehouse finds people who are certainly unchanged; the worker compares the others.

The warehouse hashes the text of a row's mapped columns. An equal hash only excludes the row from the worker's
comparison; a different hash only means that the worker reads the row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import ibis

from airflow_consent_retl.databases.dialect import Dialect, concat, placeholder
from airflow_consent_retl.fields.field_values import columns_of
from airflow_consent_retl.filtering.expressions import GROUP, PERSON, WITHHELD, is_forgotten
from airflow_consent_retl.filtering.field_mapping import NO_MARKS, FieldMapping

if TYPE_CHECKING:
    import ibis.expr.types as ir

ROW_HASH, IS_CANDIDATE = "consent_retl_row_hash", "consent_retl_is_candidate"
# The column of a delivered state with the fields in which the destination has no value.
CLEARED = "cleared"
# Names the hash function; another function makes everyone a candidate, once.
_HASH_TAG = "w1"
# 64 bits suffice: a hash is compared with one other of the same person, and leaves the warehouse with each candidate.
_HASH_DIGITS = 16


class WarehouseComparison:
    """The expressions of one comparison of permitted rows with a delivered state.

    Args:
        dialect: of the warehouse.
        columns: of the permitted table, the group's aside.
        native: the warehouse's name of each column's type.
        primary_key: the column with the ids.
        fields: the destination's field names, each with the model's column.
        groups: the numbers of the groups that the destination gets.
        without: by column or other value, the groups whose rows go without it.
        marks: by computed value, the name of the column that marks the rows without it.
        entries: the columns of the delivered state; none where no one was delivered.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        columns: Sequence[str],
        native: Mapping[str, str],
        primary_key: str,
        fields: Mapping[str, str],
        groups: Sequence[int],
        without: Mapping[str, Sequence[int]],
        entries: Sequence[str],
        marks: Mapping[str, str] = NO_MARKS,
    ) -> None:
        self._dialect = dialect
        self._native = native
        self._primary_key = primary_key
        self._fields = dict(fields)
        self._marks = marks
        self._wanted = list(dict.fromkeys([*FieldMapping(self._fields, marks).columns, primary_key]))
        permitted = placeholder("permitted", {**dict.fromkeys(columns, "string"), GROUP: "int32"})
        # No group has the number -1: without groups the destination gets no row.
        chosen = permitted.filter(permitted[GROUP].isin(list(groups) or [-1]))
        self._permitted = chosen.mutate(
            **{
                name: ibis.cases((chosen[GROUP].notin(list(some)), chosen[name]))
                for name, some in without.items()
                if name in columns
            },
            **{mark: chosen[GROUP].isin(list(without[source])).cast("int32") for source, mark in marks.items()},
        )
        self._entries = entries
        self._compared = placeholder("compared", {PERSON: "string", ROW_HASH: "string", IS_CANDIDATE: "int32"})

    def compared(self, *, all_candidates: bool) -> ir.Table:
        """Each permitted person, with the hash of the row, and whether the worker has to compare them."""
        rows = self._permitted.select(
            **{PERSON: self._dialect.person(self._permitted[self._primary_key]), ROW_HASH: self._row_hash()}
        )
        if all_candidates or not self._entries:
            return rows.mutate(**{IS_CANDIDATE: ibis.literal(1, "int32")})
        state = self._state()
        is_sure = state["hash"].notnull() & state["unsettled_until"].isnull()
        keyed = state.select(person=state[PERSON], sure=is_sure.cast("int32"), row_hash=state["row_hash"])
        grouped = keyed.group_by("person").aggregate(
            entries=keyed.count(), sure=keyed["sure"].min(), row_hash=keyed["row_hash"].max()
        )
        sure = grouped.filter((grouped["entries"] == 1) & (grouped["sure"] == 1))
        joined = rows.left_join(sure, rows[PERSON] == sure["person"])
        is_same = ibis.coalesce((joined["row_hash"] == joined[ROW_HASH]).cast("int32"), 0)
        return joined.select(PERSON, ROW_HASH, **{IS_CANDIDATE: 1 - is_same})

    def counts(self) -> ir.Table:
        """The numbers of permitted people (`permitted`) and of people for the worker to compare (`candidates`)."""
        compared = self._compared
        return compared.aggregate(permitted=compared.count(), candidates=compared[IS_CANDIDATE].sum())

    def candidates(self) -> ir.Table:
        """The mapped columns and ids of the candidates, with the hash of the row."""
        chosen = self._compared.filter(self._compared[IS_CANDIDATE] == 1).select(PERSON, ROW_HASH)
        rows = self._permitted.select(*self._wanted, person=self._dialect.person(self._permitted[self._primary_key]))
        joined = rows.join(chosen, rows["person"] == chosen[PERSON])
        return joined.select(*self._wanted, ROW_HASH)

    def touched(self) -> ir.Table:
        """The entries of the candidates, and of the people who are no longer permitted."""
        state, compared = self._state(), self._compared.select(PERSON, IS_CANDIDATE)
        joined = state.left_join(compared, state[PERSON] == compared[PERSON])
        kept = joined.filter(joined[IS_CANDIDATE].isnull() | (joined[IS_CANDIDATE] == 1))
        # Not the warehouse's own hash: the next version gets it again.
        return kept.select(*(name for name in self._entries if name != "row_hash"))

    def gone(self, salt: str) -> ir.Table:
        """The ids of people who are no longer permitted and are in the decision log, with the signature."""
        state = self._state()
        gone = state.anti_join(self._compared, state[PERSON] == self._compared[PERSON])
        return self._logged(gone.select("id", PERSON), salt)

    def logged(self, salt: str) -> ir.Table:
        """The ids of all delivered people who are in the decision log, with the signature."""
        return self._logged(self._state(), salt)

    def _logged(self, people: ir.Table, salt: str) -> ir.Table:
        digest = self._dialect.sha256(concat([ibis.literal(f"{salt}:"), people[PERSON]]))
        named = people.select("id", subject=digest)
        decisions = placeholder("decisions", {"subject": "string", "signature": "int32"})
        joined = named.join(decisions, named["subject"] == decisions["subject"])
        return joined.select(named["id"], decisions["signature"])

    def _state(self) -> ir.Table:
        return delivered(self._dialect, self._entries)

    def _row_hash(self) -> ir.StringValue:
        identity = json.dumps([_HASH_TAG, self._dialect.name, list(self._fields.items())])
        mapped = hashlib.sha256(identity.encode()).hexdigest()[:16]
        pieces: list[ir.Value] = [ibis.literal(mapped)]
        for source in self._fields.values():
            for column in columns_of(source):
                text = self._dialect.written(self._permitted[column], self._native.get(column, ""))
                length = text.length().cast("string")
                pieces.append(
                    ibis.cases(
                        (self._permitted[column].isnull(), ibis.literal(":")), else_=concat(["=", length, ":", text])
                    )
                )
            if source in self._marks:
                pieces.append(self._permitted[self._marks[source]].cast("string"))
        digest: ir.StringValue = self._dialect.md5(concat(pieces)).substr(0, _HASH_DIGITS)
        return digest


def delivered(dialect: Dialect, entries: Sequence[str]) -> ir.Table:
    """Return the delivered state with the text of each id."""
    state = placeholder("delivered", _types(entries))
    return state.mutate(**{PERSON: dialect.person(state["id"])})


def every_entry(dialect: Dialect, entries: Sequence[str]) -> ir.Table:
    """Return all entries of the placeholder `delivered`."""
    return delivered(dialect, entries).select(*_kept_columns(entries))


def forgotten_entries(dialect: Dialect, entries: Sequence[str], salts: Sequence[str]) -> ir.Table:
    """Return the entries of the people whose digests are in the placeholder `forgotten`."""
    state = delivered(dialect, entries)
    return state.filter(is_forgotten(dialect, state["id"], salts)).select(*_kept_columns(entries))


def _kept_columns(entries: Sequence[str]) -> list[str]:
    # Not the warehouse's own hash: the next version gets it again.
    return [name for name in entries if name != "row_hash"]


class DeliveredEntries:
    """The entries of people who lost permission of themselves or of a field, or are absent from the model.

    The expressions read the placeholders `delivered`, `people` (ids as text, with the fields that are `WITHHELD`; of
    people who are denied, NULL) and `model` (rows of the model).
    """

    def __init__(self, dialect: Dialect, entries: Sequence[str], *, primary_key: str) -> None:
        state = delivered(dialect, entries)
        people = placeholder("people", {PERSON: "string", WITHHELD: "string"})
        model = people_of(dialect, "model", primary_key, [primary_key])
        self._columns = _kept_columns(entries)
        joined = state.join(people, state[PERSON] == people[PERSON])
        # Texts that differ only mean that the worker reads the entry: it compares the fields themselves.
        cleared = ibis.coalesce(joined[CLEARED], "") if CLEARED in entries else ibis.literal("")
        is_lost = joined[WITHHELD].isnull() | (joined[WITHHELD] != cleared)
        self._lost = joined.filter(is_lost)
        self._denied = state.semi_join(self._lost, state[PERSON] == self._lost[PERSON])
        self._absent = state.anti_join(model, state[PERSON] == model[PERSON])

    def absent_count(self) -> ir.Table:
        """The number of entries whose people the model does not contain."""
        return self._absent.aggregate(absent=self._absent.count())

    def people(self) -> ir.Table:
        """The people of these entries, without those who are absent."""
        return self._lost.select(PERSON).distinct()

    def lost(self, *, with_absent: bool) -> ir.Table:
        """All entries of people with a lost one, and of absent people where they count as withdrawn."""
        denied = self._denied.select(*self._columns)
        return denied.union(self._absent.select(*self._columns), distinct=False) if with_absent else denied


def people_of(dialect: Dialect, table: str, column: str, columns: Sequence[str]) -> ir.Table:
    """Return the text of each id of a table."""
    ids = placeholder(table, dict.fromkeys(columns, "string"))
    return ids.select(**{PERSON: dialect.person(ids[column])}).distinct()


def only_people(dialect: Dialect, columns: Sequence[str], *, primary_key: str, people: ir.Table) -> ir.Table:
    """Return the model's rows of some people.

    Args:
        columns: the columns to return of the model, which is the placeholder `model`.
        primary_key: one of these columns.
        people: with the text of their ids.
    """
    model = placeholder("model", dict.fromkeys(columns, "string"))
    keyed = model.mutate(**{PERSON: dialect.person(model[primary_key])})
    return keyed.semi_join(people, keyed[PERSON] == people[PERSON]).select(*columns)


def next_delivered(dialect: Dialect, entries: Sequence[str], *, before: Sequence[str]) -> ir.Table:
    """Return the next version: the present one without the touched entries, plus the new entries of those people.

    Args:
        dialect: of the warehouse.
        entries: the columns of the next version.
        before: the columns of the present one.
    """
    state = delivered(dialect, before)
    state = state.mutate(**{name: ibis.null(kind) for name, kind in _types(entries).items() if name not in before})
    touched = people_of(dialect, "touched", "id", ["id"])
    kept = state.anti_join(touched, state[PERSON] == touched[PERSON]).select(*entries)
    return kept.union(placeholder("entries", _types(entries)).select(*entries), distinct=False)


def _types(entries: Sequence[str]) -> dict[str, str]:
    known = {"unsettled_until": "timestamp", "hash": "binary"}
    return {name: known.get(name, "string") for name in entries}
