"""Compilation of every question to a warehouse into the SQL of each database, which can be parsed again."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
import sqlglot
from sqlglot import exp

from airflow_consent_retl.changes.warehouse_comparison import (
    DeliveredEntries,
    WarehouseComparison,
    delivered,
    next_delivered,
    only_people,
    people_of,
)
from airflow_consent_retl.consent import DocumentPart, part_along, parts_together
from airflow_consent_retl.databases.dialect import dialect_of, placeholder
from airflow_consent_retl.fields import consent, constant, expression
from airflow_consent_retl.filtering.expressions import PERSON, RawValue, WarehouseConsent
from airflow_consent_retl.filtering.field_mapping import MARK

if TYPE_CHECKING:
    import ibis.expr.types as ir

# Ibis' names, and sqlglot's.
DIALECTS = {
    "bigquery": "bigquery",
    "postgres": "postgres",
    "snowflake": "snowflake",
}
COLUMNS = ["Id", "email", "ok", "level", "ads", "doc"]
UPPER, YES = expression("upper(email || ads)"), consent("C1", granted="yes")
ENTRIES = ["id", "hash", "unsettled_until", "row_hash", "removal_0"]
# JSON is cut out of a column where the dialect has such columns; elsewhere it is text.
VALUES = [
    RawValue("raw_0", "ok", "boolean"),
    RawValue("raw_1", "level", "int64"),
    RawValue("raw_2", "ads", "string"),
]
NATIVE = RawValue(
    "raw_3",
    "doc",
    "string",
    parts_together(part_along(("a", "b c"), DocumentPart(items=part_along(("id", "text")))), part_along(("c",))),
)


@cache
def questions(name: str) -> dict[str, ir.Table]:
    dialect = dialect_of(name)
    consent = WarehouseConsent(
        dialect,
        columns=COLUMNS,
        primary_key="Id",
        id_type="string",
        values=[*VALUES, NATIVE] if dialect.json_types else VALUES,
        find_duplicates=True,
    )
    comparison = WarehouseComparison(
        dialect,
        columns=COLUMNS,
        native={},
        primary_key="Id",
        fields={"id": "Id", "email": "email", "up": UPPER, "yes": YES, "no": constant("no")},
        groups=[0, 2],
        without={"email": [2], UPPER: [2], YES: [0]},
        entries=ENTRIES,
        marks={UPPER: f"{MARK}2", YES: f"{MARK}3"},
    )
    people = people_of(dialect, "people", "id", ["id"])
    state = delivered(dialect, ENTRIES)
    suspects = placeholder("people", {PERSON: "string"})
    return {
        "repeated ids": consent.repeated_ids(),
        "signatures": consent.signatures(),
        "permitted": consent.permitted(),
        "decisions": consent.decisions("5a17"),
        "suspects": consent.suspects({0: '["phone"]'}),
        "groups": consent.groups(),
        "compared": comparison.compared(all_candidates=False),
        "everybody": comparison.compared(all_candidates=True),
        "counts": comparison.counts(),
        "candidates": comparison.candidates(),
        "touched": comparison.touched(),
        "gone": comparison.gone("5a17"),
        "logged": comparison.logged("5a17"),
        "next delivered": next_delivered(dialect, ENTRIES, before=ENTRIES),
        "next delivered after an earlier release": next_delivered(dialect, [*ENTRIES, "cleared"], before=ENTRIES),
        "asked about": only_people(dialect, ["Id", "ok"], primary_key="Id", people=people),
        "asked suspects": state.semi_join(suspects, state[PERSON] == suspects[PERSON]),
        "people who lost": DeliveredEntries(dialect, [*ENTRIES, "cleared"], primary_key="Id").people(),
        "entries that lost": DeliveredEntries(dialect, ENTRIES, primary_key="Id").lost(with_absent=True),
    }


PLACES = ["snapshot", "signatures", "decided", "permitted", "decisions", "compared", "delivered", "touched", "entries"]


@pytest.mark.parametrize("name", list(DIALECTS))
@pytest.mark.parametrize("question", list(questions("postgres")))
def test_each_question_is_sql_of_its_warehouse_and_reads_the_tables_that_it_is_given(name: str, question: str) -> None:
    tables = {place: f"staging.t_{place}" for place in [*PLACES, "people", "model"]}

    sql = dialect_of(name).compile(questions(name)[question], tables)

    (statement,) = sqlglot.parse(sql, dialect=DIALECTS[name])
    assert isinstance(statement, exp.Query)
    assert not list(statement.find_all(exp.Command))
    read = {table.name for table in statement.find_all(exp.Table) if table.db == "staging"}
    assert read
    assert read <= {f"t_{place}" for place in [*PLACES, "people", "model"]}
    assert "consent-retl:" not in sql


@pytest.mark.parametrize("name", list(DIALECTS))
def test_a_raw_value_is_never_trimmed_folded_or_cast_to_a_boolean(name: str) -> None:
    sql = dialect_of(name).compile(questions(name)["signatures"], {"snapshot": "staging.t"})

    statement = sqlglot.parse_one(sql, dialect=DIALECTS[name])
    assert not list(statement.find_all(exp.Trim))
    assert not [cast for cast in statement.find_all(exp.Cast) if cast.to.this is exp.DataType.Type.BOOLEAN]
    # Snowflake's kinds of JSON values are spelled in lower case; no raw value is.
    assert all(isinstance(lower.this, exp.Typeof) for lower in statement.find_all(exp.Lower))


@pytest.mark.parametrize("key", ['a"b', "a\\b", "a'b"])
def test_a_key_that_bigquery_cannot_be_asked_for_is_refused(key: str) -> None:
    from airflow_consent_retl.errors import ConfigurationError

    document = placeholder("snapshot", {"doc": "string"})["doc"]

    with pytest.raises(ConfigurationError, match="TO_JSON_STRING"):
        dialect_of("bigquery").json_skeleton(document, part_along((key,)))


def test_a_whole_json_column_of_bigquery_is_compared_as_text_and_null_stays_null() -> None:
    values = [RawValue("raw_0", "doc", "string", is_json=True)]
    consent = WarehouseConsent(
        dialect_of("bigquery"),
        columns=COLUMNS,
        primary_key="Id",
        id_type="int64",
        values=values,
        find_duplicates=False,
    )

    sql = dialect_of("bigquery").compile(consent.signatures(), {"snapshot": "staging.t"})

    assert "COLLATE" not in sql
    assert (
        " ".join(sql.split()).count("CASE WHEN `t0`.`doc` IS NULL THEN CAST(NULL AS STRING) ELSE TO_JSON_STRING(") == 1
    )


def test_a_whole_json_column_of_snowflake_is_compared_as_text() -> None:
    values = [RawValue("raw_0", "doc", "string", is_json=True)]
    consent = WarehouseConsent(
        dialect_of("snowflake"),
        columns=COLUMNS,
        primary_key="Id",
        id_type="int64",
        values=values,
        find_duplicates=False,
    )

    sql = dialect_of("snowflake").compile(consent.signatures(), {"snapshot": "staging.t"})

    assert " ".join(sql.split()).count("""COLLATE(TO_JSON("t0"."doc"), 'utf8')""") == 1


@pytest.mark.parametrize("name", ["bigquery", "snowflake"])
def test_a_decimal_id_becomes_text_before_its_zeros_are_cut(name: str) -> None:
    dialect = dialect_of(name, "decimal128(38, 5)")
    permitted = placeholder("permitted", {"Id": "string"})

    sql = dialect.compile(permitted.select(person=dialect.person(permitted["Id"])), {"permitted": "staging.t"})

    statement = sqlglot.parse_one(sql, dialect=DIALECTS[name])
    parents = [type(column.parent) for column in statement.find_all(exp.Column) if column.name.lower() == "id"]
    assert parents
    assert set(parents) == {exp.Cast}
