"""Tests of lists of granted ids: an engine's own arrays mean the same in files and in every warehouse."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity.comparing import assert_same
from parity.engines import Engine
from parity.law import Setup
from parity.model import Model, Person
from parity.workspaces import Both

from airflow_consent_retl.consent import GrantedId, GrantedIds
from airflow_consent_retl.databases.dialect import dialect_of, placeholder
from airflow_consent_retl.filtering.files import column_kinds
from airflow_consent_retl.filtering.signatures import SignatureReader
from airflow_consent_retl.storage.manifest import Column
from airflow_consent_retl.values.list_columns import with_lists_as_json

SPLIT = {
    "postgres": "SELECT id, string_to_array(listed, ',') AS ids FROM ({0}) AS x",
    "bigquery": "SELECT id, SPLIT(listed, ',') AS ids FROM ({0}) AS x",
}
LISTED = {"both": "C0002,C0004", "one": "C0004", "other": "C0002", "else": "C00041", "spaced": " C0004", "none": None}
SETUP = Setup(
    name="lists",
    policy={"categories": [{"id": "C0004", "name": "Advertising", "destinations": ["crm"]}]},
    consent=GrantedIds("ids"),
    columns={},
    destinations=("crm",),
)


# Snowflake's stand-in has no casts to ARRAY: the last test checks its SQL.
@pytest.mark.parametrize("warehouse", ["postgres", "bigquery"], indirect=True)
def test_arrays_of_ids_are_read_as_lists(warehouse: Engine, root: Path) -> None:
    # BigQuery stores NULL arrays as empty arrays; its stand-in does not.
    listed = {who: ids for who, ids in LISTED.items() if ids is not None or warehouse.name != "bigquery"}
    people = tuple(Person(who, {"id": who, "listed": ids}, {}, {}) for who, ids in listed.items())
    model = Model({"id": "text", "listed": "text"}, people)
    warehouse.create("lists", model.kinds, model.rows)
    both = Both.of(warehouse, root)
    both.extract(model, sql=SPLIT[warehouse.name].format(warehouse.query("lists", model.kinds)))

    lake, inside = both.filter(SETUP)

    found = both.inside.decided(inside, SETUP, asked=())
    assert found.recipients == {"both": ("crm",), "one": ("crm",)}
    assert_same(found, both.lake.decided(lake, SETUP, asked=()))


@given(
    st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.text(max_size=4), st.just("C0004")), max_size=3)))
)
def test_a_column_of_lists_is_read_as_the_json_that_it_is(lists: list[list[str | None] | None]) -> None:
    for type_ in (pa.list_(pa.string()), pa.large_list(pa.large_string())):
        rows = pa.record_batch({"ids": pa.array(lists, type_), "n": pa.array(range(len(lists)))})
        signal = GrantedId("ids", "C0004")

        texts = with_lists_as_json(rows).column("ids").to_pylist()
        reader = SignatureReader([signal])
        tokens = [reader.tokens(code)[0] for code in reader.codes(rows).tolist()]
        reader.close()

        assert [None if text is None else json.loads(text) for text in texts] == lists
        assert tokens == [signal.token(None if value is None else json.dumps(value)) for value in lists]


@pytest.mark.parametrize("type_", ["VARCHAR[]", "VARCHAR[2]", "INTEGER[]"])
def test_lists_of_a_duckdb_file_have_a_kind_of_their_own(type_: str) -> None:
    with duckdb.connect() as connection:
        schema = connection.sql(f"SELECT NULL::{type_} AS ids").to_arrow_reader(1).schema

    kinds = column_kinds([Column(name="ids", type=str(schema.field("ids").type))])

    assert str(kinds["ids"]) == ("json" if type_ == "VARCHAR[]" else "other")


def test_snowflake_reads_an_array_as_json() -> None:
    dialect = dialect_of("snowflake")
    rows = placeholder("snapshot", {"ids": "string"})

    sql = dialect.compile(rows.select(ids=dialect.array_text(rows["ids"])), {"snapshot": "s"})

    assert [dialect.is_array(native) for native in ("ARRAY", "array(VARCHAR)", "VARIANT", "VARCHAR")] == [
        True,
        True,
        False,
        False,
    ]
    assert 'TO_JSON("t0"."ids")' in sql
