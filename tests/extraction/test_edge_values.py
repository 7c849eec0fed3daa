"""Values that no snapshot holds are named by column, kind and number, with a way out; SQL may begin with a mark."""

from __future__ import annotations

from typing import Any

import pytest
from support.log_lines import task_fails
from support.postgres import Postgres

DIGITS_39 = "170141183460469231731687303715884105727"


def refusal(workspace: Any, sql: str, conn_id: str, **parameters: Any) -> str:
    with task_fails() as refused:
        workspace.extract(sql, conn_id=conn_id, **parameters)
    return str(refused.value)


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        (f"{DIGITS_39}::HUGEINT", "3 rows"),
        (f"-{DIGITS_39}::HUGEINT", "3 rows"),
        (f"CASE WHEN i = 2 THEN {DIGITS_39}::UHUGEINT ELSE 1 END", "1 row"),
        (f"CASE WHEN i < 2 THEN {DIGITS_39}::HUGEINT END", "2 rows"),
    ],
)
@pytest.mark.parametrize("batch_rows", [1, 100])
def test_a_long_integer_of_duckdb_is_named_with_its_rows(
    expression: str, rows: str, batch_rows: int, workspace: Any, run_duckdb: Any
) -> None:
    sql = f"SELECT i AS id, 5::HUGEINT AS short, {expression} AS total FROM range(3) r(i)"

    message = refusal(workspace, sql, "duck", batch_rows=batch_rows)

    assert f"column `total` holds an integer of more than 38 digits in {rows}" in message
    assert 'CAST("total" AS VARCHAR)' in message
    assert DIGITS_39 not in message


def test_38_digits_are_exact_and_a_failure_of_the_models_own_is_no_long_integer(
    workspace: Any, run_duckdb: Any
) -> None:
    most = "9" * 38

    extracted = workspace.extract(f"SELECT 1 AS id, {most}::HUGEINT AS x, -{most}::HUGEINT AS y", conn_id="duck")
    message = refusal(workspace, "SELECT 1 AS id, sum(i) AS x, max(('c' || i)::INT) AS y FROM range(9) r(i)", "duck")

    assert [str(extracted.column(name)[0]) for name in ("x", "y")] == [most, f"-{most}"]
    assert "38 digits" not in message
    assert "c0" not in message


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("'infinity'::DATE", "an infinite date"),
        ("'-infinity'::TIMESTAMPTZ", "an infinite date"),
        ("['infinity'::DATE]", "an infinite date"),
        ("{'a': {'b': 'infinity'::TIMESTAMP}}", "an infinite date"),
        ("[{'a': '-infinity'::TIMESTAMP}]", "an infinite date"),
        ("'24:00:00'::TIME", "the time 24:00"),
        ("['24:00:00'::TIME]", "the time 24:00"),
    ],
)
def test_an_edge_of_duckdb_is_refused_also_within_lists_and_structs(
    expression: str, kind: str, workspace: Any, run_duckdb: Any
) -> None:
    sql = f"SELECT i AS id, CASE WHEN i < 2 THEN {expression} END AS x FROM range(3) r(i)"

    message = refusal(workspace, sql, "duck")

    assert f"column `x` holds {kind} (2 values in one batch), which a snapshot cannot hold" in message


@pytest.mark.parametrize(("column", "shown"), [("note", '"note"'), ("it's", '"it\'s"'), ('a"b', '"a""b"')])
def test_text_of_sqlite_that_is_not_utf8_is_named_with_its_rows(
    column: str, shown: str, workspace: Any, run_sqlite: Any
) -> None:
    run_sqlite(f"CREATE TABLE people (id, {shown})")
    run_sqlite("INSERT INTO people VALUES (?, CAST(? AS TEXT))", [(i, b"canary\xff") for i in range(3)])
    run_sqlite("INSERT INTO people VALUES (?, ?)", [(3, "good"), (4, b"\xff"), (5, None)])

    message = refusal(workspace, "SELECT * FROM people WHERE id <> 4", "lite")

    assert f"column `{column}` holds text that is not UTF-8 in 3 rows" in message
    assert f"CAST({shown} AS BLOB)" in message
    assert "canary" not in message


@pytest.mark.parametrize("conn_id", ["duck", "pg", "lite"])
def test_sql_may_begin_with_a_byte_order_mark(
    conn_id: str, workspace: Any, run_duckdb: Any, run_sqlite: Any, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())
    run_sqlite("CREATE TABLE people (id)")
    extracted = workspace.extract("\ufeffSELECT 1 AS id, 'x' AS x;", conn_id=conn_id)

    assert extracted.column("x") == ["x"]
