"""The page about fields says what really arrives."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from support.guarding import receiving, webhook

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.fields import expression
from airflow_consent_retl.filtering.field_mapping import FieldMapping
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator

PAGE = (Path(__file__).parents[2] / "docs" / "fields.md").read_text()
POLICY: dict[str, Any] = {
    "categories": [
        {"id": "C0002", "name": "Analytics", "destinations": ["crm"]},
        {"id": "C0004", "name": "Advertising", "destinations": ["crm"]},
    ],
    "destinations": {"crm": {"match": "any"}},
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_fields_of_the_page_send_the_rows_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)  # noqa: S102 - this repository's own page
    rows = [json.loads(line) for line in blocks("json")[0].splitlines()]
    with closing(sqlite3.connect(tmp_path / "source.db")) as connection:
        connection.execute("CREATE TABLE c (customer_id INTEGER, email, billing_email, city, ads, stats)")
        ann = (1, "ann@example.com", "pay@example.com", " Rome ", "yes", "yes")
        connection.executemany("INSERT INTO c VALUES (?, ?, ?, ?, ?, ?)", [ann, (2, None, None, None, "no", "yes")])
        connection.commit()
    source = {"conn_type": "sqlite", "host": str(tmp_path / "source.db")}
    monkeypatch.setenv("AIRFLOW_CONN_SOURCE", json.dumps(source))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", f"file://{tmp_path}/workspace")
    snapshot = ExtractModelOperator(
        task_id="extract", model="c", conn_id="source", sql="SELECT * FROM c", primary_key="customer_id"
    ).execute({})
    permitted = ConsentFilterOperator(
        task_id="consent",
        snapshot=snapshot,
        policy=POLICY,
        consent={
            name: Literals(column, granted=("yes",), denied=("no",))
            for name, column in (("C0002", "stats"), ("C0004", "ads"))
        },
        destinations=["crm"],
        answers={"crm": ["C0004"]},
    ).execute({})

    with receiving(monkeypatch) as vendor:
        webhook(fields=names["fields"])(task_id="load", permitted=permitted, destination="crm", policy=POLICY).execute(
            {}
        )

    assert [vendor.people[one] for one in sorted(vendor.people)] == rows


CALLS = {
    "abs": "abs(n)",
    "ceil": "ceil(n)",
    "coalesce": "coalesce(s, 'x')",
    "concat": "concat(s, 'x')",
    "concat_ws": "concat_ws('-', s, s)",
    "contains": "contains(s, 'a')",
    "date_part": "date_part('year', t)",
    "date_trunc": "date_trunc('day', t)",
    "extract": "extract(year FROM t)",
    "floor": "floor(n)",
    "greatest": "greatest(n, 1)",
    "least": "least(n, 1)",
    "left": "left(s, 1)",
    "length": "length(s)",
    "lower": "lower(s)",
    "lpad": "lpad(s, 9, '0')",
    "ltrim": "ltrim(s)",
    "md5": "md5(s)",
    "nullif": "nullif(s, 'x')",
    "regexp_matches": "regexp_matches(s, '^a')",
    "regexp_replace": "regexp_replace(s, '[^a-z]', '', 'g')",
    "replace": "replace(s, 'a', 'b')",
    "reverse": "reverse(s)",
    "right": "right(s, 1)",
    "round": "round(n / 3, 2)",
    "rpad": "rpad(s, 9, '0')",
    "rtrim": "rtrim(s)",
    "sha256": "sha256(s)",
    "split_part": "split_part(s, ' ', 1)",
    "starts_with": "starts_with(s, 'a')",
    "strftime": "strftime(t, '%Y')",
    "strip_accents": "strip_accents(s)",
    "strpos": "strpos(s, 'n')",
    "substring": "substring(s, 2, 3)",
    "trim": "trim(s)",
    "upper": "upper(s)",
    "year": "year(t)",
    "month": "month(t)",
    "day": "day(t)",
}


def test_each_function_that_the_page_names_gives_what_duckdb_gives() -> None:
    section = PAGE.partition("## Expressions")[2].partition("Everything else")[0]
    named = re.findall(r"`([a-z_0-9]+)`", section)
    time = datetime(2026, 11, 29, 23, 30, tzinfo=UTC)
    rows = pa.record_batch({"n": [-7], "s": pa.array(["añ b "]), "t": pa.array([time], pa.timestamp("us", tz="UTC"))})
    assert sorted(named) == sorted(CALLS)

    mapped = FieldMapping({name: expression(sql) for name, sql in CALLS.items()}).of(rows)

    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.register("given", rows)
        for name, sql in CALLS.items():
            (expected,) = engine.sql(f"SELECT {sql} FROM given").to_arrow_table().column(0).to_pylist()
            assert mapped.column(name)[0].as_py() == expected, name
