"""What COPY writes is what a cursor sends: every value, or a refusal that does not quote it."""

from __future__ import annotations

import re
from time import monotonic, sleep
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.log_lines import task_fails
from support.postgres import Postgres

from airflow_consent_retl.databases.source import ModelQuery, read_model

TEXTS = [
    "",
    " ",
    ",",
    '"',
    '""',
    "a\nb",
    "\r\n",
    "\r",
    "\\.",
    "\\N",
    "NULL",
    "t",
    "\\x00",
    "'",
    "é😀",
    ";",
    "\t|\b\f\v",
]
UNHOLDABLE = {
    "'NaN'::numeric": "column `x` holds NaN or infinity as numeric in 1 row",
    "'Infinity'::numeric": "column `x` holds NaN or infinity as numeric in 1 row",
    "'NaN'::numeric(10, 2)": "column `x` holds NaN or infinity as numeric in 1 row",
    "'infinity'::date": "column `x` holds an infinite date in 1 row",
    "'0044-03-15 BC'::date": "column `x` holds a year outside 1 to 9999 in 1 row",
    "'infinity'::timestamp": "column `x` holds an infinite date in 1 row",
    "'-infinity'::timestamptz": "column `x` holds an infinite date in 1 row",
    "'10000-01-01'::timestamp": "column `x` holds a year outside 1 to 9999 in 1 row",
    "'0044-03-15 12:00:00 BC'::timestamptz": "column `x` holds a year outside 1 to 9999 in 1 row",
    "'24:00:00'::time": "column `x` holds the time 24:00 in 1 row",
}


def test_every_text_and_null_stays_apart(workspace: Any, postgres_driver: Postgres) -> None:
    with postgres_driver.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS nasty; CREATE TABLE nasty (id text, x text, y text)")
        connection.cursor().executemany(
            "INSERT INTO nasty VALUES (%s, %s, %s)", [(f"{n}{text}", text, None) for n, text in enumerate(TEXTS)]
        )

    extracted = workspace.extract("SELECT * FROM nasty", conn_id="pg", batch_rows=5)

    found = dict(zip(extracted.column("id"), extracted.column("x"), strict=True))
    assert found == {f"{n}{text}": text for n, text in enumerate(TEXTS)}
    assert set(extracted.column("y")) == {None}


def test_rows_of_nothing_but_null_are_counted(workspace: Any, postgres_driver: Postgres) -> None:
    sql = "SELECT nullif(i, 2)::text AS id FROM generate_series(1, 3) AS i"

    extracted = workspace.extract(sql, conn_id="pg", check_primary_key=False)

    assert extracted.column("id") == ["1", None, "3"]


@pytest.mark.parametrize("expression", UNHOLDABLE)
def test_a_value_without_a_counterpart_is_refused_and_not_quoted(
    expression: str, workspace: Any, postgres_driver: Postgres
) -> None:
    sql = f"SELECT 1 AS id, 'canary' AS name, {expression} AS x"

    with task_fails(match=re.escape(UNHOLDABLE[expression])) as refusal:
        workspace.extract(sql, conn_id="pg")

    assert "canary" not in str(refusal.value)
    value = expression.split("'")[1]
    # These two are kinds of values: the message names the kind.
    assert value in {"NaN", "Infinity"} or value not in str(refusal.value)
    assert not workspace.files()


@pytest.mark.parametrize("ending", [";", " ; ", "; -- the end", "; /* the; end */\n", " -- the end"])
def test_what_ends_the_sql_is_no_part_of_the_query(ending: str, workspace: Any, postgres_driver: Postgres) -> None:
    extracted = workspace.extract(f"SELECT 1 AS id, ';' AS x{ending}", conn_id="pg")

    assert extracted.column("x") == [";"]


def test_the_roles_settings_change_no_value(workspace: Any, postgres_driver: Postgres) -> None:
    sql = r"SELECT 1 AS id, '\xaa00'::bytea AS octets, 0.1::float8 + 0.2::float8 AS number, date '2026-02-03' AS day"
    settings_of_role = "bytea_output = 'escape'", "extra_float_digits = -5", "datestyle = 'German'"
    with postgres_driver.connect() as connection:
        for setting in settings_of_role:
            connection.execute(f"ALTER ROLE postgres SET {setting}")
        try:
            extracted = workspace.extract(sql, conn_id="pg")
        finally:
            connection.execute("ALTER ROLE postgres RESET ALL")

    assert extracted.column("octets") == [b"\xaa\x00"]
    assert extracted.column("number") == [0.1 + 0.2]
    assert [str(day) for day in extracted.column("day")] == ["2026-02-03"]


def test_a_type_of_the_users_own_is_its_text(workspace: Any, postgres_driver: Postgres) -> None:
    with postgres_driver.connect() as connection:
        connection.execute("DROP TYPE IF EXISTS mood; CREATE TYPE mood AS ENUM ('so so', 'fine')")

    extracted = workspace.extract("SELECT 1 AS id, 'so so'::mood AS x, ARRAY['fine'::mood] AS y", conn_id="pg")

    assert extracted.column("x") == ["so so"]
    assert extracted.column("y") == ["{fine}"]


@pytest.mark.parametrize("copied", ["", ", ARRAY[1] AS list"])
def test_reading_stops_when_nobody_reads_on(copied: str, postgres_driver: Postgres) -> None:
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    sql = f"SELECT i AS id, repeat('x', 1000) AS filler{copied} FROM generate_series(1, 10000000) AS i"

    with read_model(PostgresHook("pg"), ModelQuery(conn_id="pg", sql=sql, primary_key="id", batch_rows=100)) as rows:
        first = next(rows.batches)

    assert first.column("id").to_pylist() == list(range(1, 101))
    with postgres_driver.connect() as connection:
        running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%repeat(''x''%' AND pid <> pg_backend_pid()"
        deadline = monotonic() + 20
        while connection.execute(running).fetchone() != (0,):
            assert monotonic() < deadline
            sleep(0.05)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8), max_size=20))
def test_any_text_comes_as_it_is(postgres: Postgres, texts: list[str]) -> None:
    query = ModelQuery(conn_id="pg", sql="SELECT * FROM anything ORDER BY id", primary_key="id", batch_rows=3)
    with postgres.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS anything; CREATE TABLE anything (id bigint, x text)")
        connection.cursor().executemany("INSERT INTO anything VALUES (%s, %s)", list(enumerate(texts)))

    with read_model(_BareHook(postgres), query) as rows:  # type: ignore[arg-type]
        found = pa.Table.from_batches(rows.batches, rows.schema)

    assert found["x"].to_pylist() == texts


class _BareHook:
    """What a source asks of a hook."""

    conn_type = "postgres"

    def __init__(self, server: Postgres) -> None:
        self._server = server

    def get_conn(self) -> Any:
        connection = self._server.connect()
        connection.autocommit = False
        return connection
