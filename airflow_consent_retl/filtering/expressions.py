"""The expressions that filter a snapshot inside a warehouse, for the SQL of any dialect.

They group raw values and join the decisions back. Only `consent` knows the meaning of a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import ibis

from airflow_consent_retl.consent import NULL_TOKEN, ColumnKind, Signal, SubjectCode
from airflow_consent_retl.databases.dialect import Dialect, concat, placeholder
from airflow_consent_retl.extraction.repeated_ids import RepeatedIds
from airflow_consent_retl.filtering.decided import NO_GROUP
from airflow_consent_retl.storage.forgotten import FORM

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

    from airflow_consent_retl.consent import DocumentPart

SUBJECT, COMBINATION, ROWS, SIGNATURE, GROUP, IS_DENIED = (
    f"consent_retl_{name}" for name in ("subject", "combination", "rows", "signature", "group", "is_denied")
)
PERSON, DIGEST, WITHHELD = "consent_retl_person", "consent_retl_digest", "consent_retl_withheld"
# Digits of each row's digest: 24 bits, whose sum over 10**10 rows fits into 64 bits.
_FINGERPRINT_DIGITS = 6


Bounds = tuple[datetime, ...] | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RawValue:
    """One raw value of a row that consent is read from.

    Args:
        name: the name of its column in the table of signatures.
        column: the model's column.
        type_: Ibis' name of the type as which it is read.
        part: the part of a JSON column that the warehouse cuts out; None: the whole column.
        is_json: whether the column contains JSON, and not text.
        is_array: whether the column contains arrays.
        bounds: the bounds for a timestamp or a number: the table contains the number of bounds that are not after it.
    """

    name: str
    column: str
    type_: str
    part: DocumentPart | None = None
    is_json: bool = False
    bounds: Bounds = ()
    is_array: bool = False

    @property
    def read_type(self) -> str:
        """Ibis' name of the type in the table of signatures."""
        return "int64" if self.bounds else "string" if self.part else self.type_


@dataclass(frozen=True, slots=True)
class _Band(Signal):
    """A time's band as the warehouse found it: the number of bounds that are not after the time.

    Args:
        column: the column of the band.
        bounds: how many bounds there are.
        first: the token of the band before the first bound.
    """

    column: str
    bounds: int
    first: int

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """Integers."""
        return frozenset({ColumnKind.INTEGER})

    @property
    def unlisted_token(self) -> int:
        """The token of a value that is not a band."""
        return self.bounds + (2 if self.first else 0)

    def token(self, raw: object) -> int:
        """Return the band's token in a signal with `time_bounds` or `number_bounds`."""
        if raw is None:
            return NULL_TOKEN
        if type(raw) is not int or not 0 <= raw <= self.bounds:
            return self.unlisted_token
        return raw + self.first or self.unlisted_token


def raw_values(
    signals: Sequence[Signal | None], *, arrow: Mapping[str, str], native: Mapping[str, str], dialect: Dialect
) -> tuple[list[RawValue], list[Signal | None]]:
    """Return the raw values that signals need, and the signals for reading the table of signatures.

    Args:
        signals: the plan's signals.
        arrow: Arrow's name of each column's type.
        native: the warehouse's name of each column's type.
        dialect: the warehouse's dialect.
    """
    values: dict[tuple[str, DocumentPart | None, Bounds], RawValue] = {}
    read: list[Signal | None] = []
    for signal in signals:
        if signal is None:
            read.append(None)
            continue
        is_json = _is_native_json(native.get(signal.column, ""), dialect)
        part = signal.document_part if is_json else None
        is_time = arrow[signal.column].startswith("timestamp")
        is_number = _ibis_type(arrow[signal.column]) == "int64"
        bounds: Bounds = signal.time_bounds if is_time else signal.number_bounds if is_number else ()
        value = values.setdefault(
            (signal.column, part, bounds),
            RawValue(
                f"consent_retl_raw_{len(values)}",
                signal.column,
                _ibis_type(arrow[signal.column]),
                part,
                is_json=is_json,
                bounds=bounds,
                is_array=dialect.is_array(native.get(signal.column, "")),
            ),
        )
        read.append(_Band(value.name, len(bounds), int(is_time)) if bounds else _reading(signal, value.name))
    return list(values.values()), read


def _reading(signal: Signal, column: str) -> Signal:
    """Return the same signal for another column."""
    renamed = copy(signal)
    object.__setattr__(renamed, "column", column)
    return renamed


def _is_native_json(native: str, dialect: Dialect) -> bool:
    return native.lower().partition("(")[0] in dialect.json_types


def _ibis_type(arrow: str) -> str:
    if arrow == "bool":
        return "boolean"
    if arrow.startswith("timestamp"):
        return "timestamp('UTC')"
    return "int64" if "int" in arrow else "string"


class WarehouseConsent:
    """The expressions over one snapshot.

    Args:
        dialect: the warehouse's dialect.
        columns: the snapshot's columns.
        primary_key: the column with the ids.
        id_type: Arrow's name of the ids' type.
        values: the raw values that consent is read from.
        find_duplicates: whether ids may be missing or occur twice.
        salts: of the digests in the placeholder `forgotten`, by which forgotten people are recognised; empty: there is
            no one, and no such table.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        columns: Sequence[str],
        primary_key: str,
        id_type: str,
        values: Sequence[RawValue],
        find_duplicates: bool,
        salts: Sequence[str] = (),
    ) -> None:
        self.dialect = dialect
        self._salts = tuple(salts)
        self.columns = tuple(columns)
        self.values = tuple(values)
        # The key is read as text wherever people are matched, also if consent is read from it.
        read = {value.column: value.type_ for value in values if value.part is None and value.column != primary_key}
        types = dict.fromkeys(columns, "string") | read
        self._snapshot = placeholder("snapshot", types)
        self._primary_key = primary_key
        self._ids = RepeatedIds(dialect=dialect, primary_key=primary_key, id_type=id_type)
        self._find_duplicates = find_duplicates

    def repeated_ids(self) -> ir.Table:
        """Return the number of rows without an id (`missing`) and of ids that occur more than once (`repeated`)."""
        return self._ids.counts(self._snapshot)

    def signatures(self) -> ir.Table:
        """Return each combination of raw values and subject, with the number of its rows and its own number."""
        rows = self._keyed(with_columns=False)
        grouped = rows.group_by([*rows.columns]).aggregate(**{ROWS: lambda table: table.count()})
        return grouped.mutate(**{COMBINATION: ibis.row_number()})

    def permitted(self) -> ir.Table:
        """Return the rows that at least one destination may receive, each once, with the number of their group."""
        joined = self._decided()
        kept = joined.filter(joined[GROUP] != NO_GROUP)
        return kept.select(*self.columns, GROUP)

    def decisions(self, salt: str) -> ir.Table:
        """Return a digest of the id, and the signature, of each row that is denied for at least one destination."""
        joined = self._decided()
        kept = joined.filter(joined[IS_DENIED] == 1)
        return kept.select(subject=self.digest(kept[self._primary_key], salt), signature=kept[SIGNATURE])

    def suspects(self, withheld: Mapping[int, str]) -> ir.Table:
        """Return the text of each id with a row that is denied, or that is permitted without some fields.

        Args:
            withheld: by the number of a group, the text of the fields that are withheld from its rows, for `WITHHELD`;
                rows that are denied have NULL.
        """
        joined = self._decided()
        is_denied = joined[IS_DENIED] == 1
        fields = ibis.cases(
            (is_denied, ibis.null("string")),
            *((joined[GROUP] == number, ibis.literal(text)) for number, text in withheld.items()),
            else_=ibis.null("string"),
        )
        kept = joined.mutate(**{WITHHELD: fields})
        kept = kept.filter((is_denied | kept[WITHHELD].notnull()) & kept[self._primary_key].notnull())
        person = self.dialect.person(kept[self._primary_key])
        return kept.select(**{PERSON: person, WITHHELD: kept[WITHHELD]}).distinct()

    def decided_people(self, salt: str, subject: str, decision: str, digits: int) -> ir.Table:
        """Return the beginning of a digest of each id, and the class of its decisions, each pair once.

        Args:
            salt: of the digests.
            subject: the name of the column with the digests.
            decision: the name of the column with the classes, as in the table `classes`.
            digits: of a digest.
        """
        joined = self._decided()
        known = joined.filter(joined[self._primary_key].notnull())
        classes = placeholder("classes", {SIGNATURE: "int32", decision: "string"})
        rows = known.join(classes, known[SIGNATURE] == classes[SIGNATURE])
        digest = self.digest(known[self._primary_key], salt).substr(0, digits)
        return rows.select(**{subject: digest, decision: classes[decision]}).distinct()

    def digest(self, subject: ir.Value, salt: str) -> ir.StringValue:
        """Return the keyed digest of an id."""
        return self.dialect.sha256(concat([ibis.literal(f"{salt}:"), self.dialect.person(subject)]))

    def groups(self) -> ir.Table:
        """Return the number of permitted rows of each group, and a fingerprint of their ids."""
        columns = {**dict.fromkeys(self.columns, "string"), GROUP: "int32"}
        return group_counts(self.dialect, placeholder("permitted", columns), primary_key=self._primary_key)

    def _raw(self, value: RawValue) -> ir.Value:
        column = self._snapshot[value.column]
        if value.column == self._primary_key and value.type_ != "string":
            column = column.cast(value.type_)
        if value.part is not None:
            return self.dialect.json_skeleton(column, value.part)
        if value.is_array:
            return self.dialect.array_text(column)
        if value.is_json:
            return self.dialect.json_column(column)
        if value.bounds:
            return self.dialect.band(column, value.bounds)
        return self.dialect.exact(column) if value.type_ == "string" else column

    def _keyed(self, *, with_columns: bool) -> ir.Table:
        """Return the snapshot's raw values and subjects, with or without all its columns."""
        raw = {value.name: self._raw(value) for value in self.values}
        subject = _subject(SubjectCode.IDENTIFIED)
        if self._find_duplicates:
            identifier = self._snapshot[self._primary_key]
            repeated = self._ids.exact(identifier).isin(self._ids.repeated(self._snapshot)["id"])
            subject = ibis.cases(
                (identifier.isnull(), _subject(SubjectCode.MISSING_ID)),
                (repeated, _subject(SubjectCode.DUPLICATE_ID)),
                else_=subject,
            )
        if self._salts:
            forgotten = is_forgotten(self.dialect, self._snapshot[self._primary_key], self._salts)
            subject = ibis.cases((forgotten, _subject(SubjectCode.FORGOTTEN)), else_=subject)
        columns = [self._snapshot[name] for name in self.columns] if with_columns else []
        return self._snapshot.select(*columns, **raw, **{SUBJECT: subject})

    def _decided(self) -> ir.Table:
        """Return the snapshot's rows, each with the decision about its combination."""
        return self.answered({SIGNATURE: "int32", GROUP: "int32", IS_DENIED: "int32"})

    def answered(self, columns: Mapping[str, str]) -> ir.Table:
        """Return the snapshot's rows, each with what `decided` says about its combination in `signatures`.

        Args:
            columns: of `decided`, with their types.
        """
        types = {value.name: value.read_type for value in self.values}
        signatures = placeholder("signatures", {**types, SUBJECT: "int64", ROWS: "int64", COMBINATION: "int64"})
        decided = placeholder("decided", {COMBINATION: "int64", **columns})
        answers = signatures.join(decided, signatures[COMBINATION] == decided[COMBINATION]).select(
            *(signatures[name] for name in types), signatures[SUBJECT], *(decided[name] for name in columns)
        )
        rows = self._keyed(with_columns=True)
        # An equality that databases can hash: `IS NOT DISTINCT FROM` would compare each row with each combination.
        on = [rows[SUBJECT] == answers[SUBJECT]]
        for name in types:
            on += [
                self._present(rows[name]) == self._present(answers[name]),
                self._key(rows[name]) == self._key(answers[name]),
            ]
        return rows.join(answers, on).select(
            *(rows[name] for name in self.columns), *(answers[name] for name in columns)
        )

    def _present(self, value: ir.Value) -> ir.Value:
        return value.isnull().cast("int32")

    def _key(self, value: ir.Value) -> ir.Value:
        text = value if value.type().is_string() else value.cast("string")
        return ibis.coalesce(text, ibis.literal(""))


def forgotten_digest(dialect: Dialect, subject: ir.Value, salt: str) -> ir.StringValue:
    """Return the digest by which `ForgottenPeople` recognises the person with an id; NULL for no id."""
    folded = dialect.key_in_form(dialect.person(subject), FORM)
    return dialect.sha256(concat([ibis.literal(f"{salt}:"), folded]))


def is_forgotten(dialect: Dialect, subject: ir.Value, salts: Sequence[str]) -> ir.BooleanValue:
    """Return whether the digest of an id is in the placeholder `forgotten`; NULL for no id."""
    listed = placeholder("forgotten", {DIGEST: "string"})[DIGEST]
    found: ir.BooleanValue = reduce(or_, (forgotten_digest(dialect, subject, salt).isin(listed) for salt in salts))
    return found


def digests_among(dialect: Dialect, table: str, column: str, salt: str) -> ir.Table:
    """Return the digests of the placeholder `forgotten` that people in another placeholder have, each once."""
    ids = placeholder(table, {column: "string"})
    people = ids.select(**{DIGEST: forgotten_digest(dialect, ids[column], salt)})
    listed = placeholder("forgotten", {DIGEST: "string"})
    return listed.semi_join(people, listed[DIGEST] == people[DIGEST]).select(DIGEST)


def _subject(code: SubjectCode) -> ir.Value:
    return ibis.literal(int(code), "int64")


def group_counts(dialect: Dialect, permitted: ir.Table, *, primary_key: str) -> ir.Table:
    """Return the number of rows of each group in a table of permitted rows, and a fingerprint of their ids."""
    digest = dialect.md5(concat([dialect.person(permitted[primary_key]), ":", permitted[GROUP].cast("string")]))
    keyed = permitted.select(GROUP, number=dialect.number_of_hex(digest, _FINGERPRINT_DIGITS))
    return keyed.group_by(GROUP).aggregate(rows=keyed.count(), fingerprint=keyed["number"].sum().cast("int64"))


def group_fingerprints(rows: pa.Table) -> dict[int, tuple[int, int]]:
    """Return the number of rows and the fingerprint of each group, from the result of `group_counts`."""
    columns = (rows[name].to_pylist() for name in (GROUP, "rows", "fingerprint"))
    return {int(group): (int(count), int(fingerprint)) for group, count, fingerprint in zip(*columns, strict=True)}
