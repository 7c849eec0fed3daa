"""Values at the edges of PostgreSQL's types are read exactly, through COPY and through a cursor, or are named."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from support.log_lines import task_fails
from support.postgres import Postgres

# A result with an array is read through a cursor, any other through COPY.
PATHS = {"COPY": "", "cursor": ", ARRAY[1] AS list"}
OLD_OFFSETS = {
    "Europe/Paris": "1890-01-01 00:00:00+00",
    "Asia/Kolkata": "1850-06-01 12:30:15.000001+00",
    "Europe/Amsterdam": "1930-06-01 00:00:00+00",
    "America/New_York": "1880-02-29 23:59:59+00",
    "Africa/Monrovia": "1971-12-31 00:00:01+00",
}


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    return PATHS[request.param]


@pytest.fixture
def zone(request: pytest.FixtureRequest, postgres_driver: Postgres) -> Any:
    with postgres_driver.connect() as connection:
        connection.execute(f"ALTER ROLE postgres SET timezone = '{request.param}'")
        yield request.param
        connection.execute("ALTER ROLE postgres RESET timezone")


@pytest.mark.parametrize("zone", OLD_OFFSETS, indirect=True)
def test_an_offset_with_seconds_is_the_same_instant(zone: str, path: str, workspace: Any) -> None:
    born = OLD_OFFSETS[zone]
    sql = f"SELECT i AS id, CASE i WHEN 1 THEN '{born}'::timestamptz WHEN 2 THEN now() END AS x{path} FROM"

    extracted = workspace.extract(f"{sql} generate_series(1, 3) i ORDER BY i", conn_id="pg", session_time_zone=zone)

    found = dict(zip(extracted.column("id"), extracted.column("x"), strict=True))
    assert found[1] == datetime.fromisoformat(born)
    assert found[2] is not None
    assert found[3] is None


@pytest.mark.parametrize("zone", ["Europe/Paris"], indirect=True)
def test_an_instant_before_year_1_is_named(zone: str, path: str, workspace: Any) -> None:
    sql = f"SELECT 1 AS id, '0001-01-01 00:00:00'::timestamptz AS x{path}"

    with task_fails(match="column `x` holds a year outside 1 to 9999 in 1 row"):
        workspace.extract(sql, conn_id="pg", session_time_zone=zone)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("'NaN'::numeric", "NaN or infinity as a decimal in 2 rows"),
        ("'-Infinity'::numeric", "NaN or infinity as a decimal in 2 rows"),
        ("'NaN'::numeric(9, 3)", "NaN or infinity as a decimal in 2 rows"),
        ("repeat('9', 77)::numeric", "a number of more than 76 digits in 2 rows"),
        ("ARRAY['NaN'::numeric]", "a nested value that JSON cannot represent, such as NaN, in 2 rows"),
        ("ARRAY['Infinity'::float8]", "a nested value that JSON cannot represent, such as NaN, in 2 rows"),
        ("'infinity'::date", "an infinite date in 2 rows"),
        ("'-infinity'::timestamptz", "an infinite date in 2 rows"),
        ("'10000-01-01'::date", "a year outside 1 to 9999 in 2 rows"),
        ("'0001-01-01 BC'::timestamp", "a year outside 1 to 9999 in 2 rows"),
        ("'24:00:00'::time", "the time 24:00 in 2 rows"),
    ],
)
def test_a_cursor_names_column_kind_and_rows(
    expression: str, said: str, workspace: Any, postgres_driver: Postgres
) -> None:
    sql = f"SELECT i AS id, CASE WHEN i > 1 THEN {expression} END AS x, ARRAY[1] AS list FROM generate_series(1, 3) i"

    with task_fails() as refusal:
        workspace.extract(sql, conn_id="pg")

    assert f"column `x` holds {said}, which a snapshot cannot hold: leave the rows out, or" in str(refusal.value)


def test_the_remedy_that_an_error_names_helps(workspace: Any, postgres_driver: Postgres) -> None:
    for expression in ("'infinity'::date", "'0044-03-15 BC'::date", "'24:00'::time", "'NaN'::numeric"):
        with task_fails() as refusal:
            workspace.extract(f"SELECT 1 AS id, {expression} AS x", conn_id="pg")
        remedy = str(refusal.value).partition("or select ")[2]

        extracted = workspace.extract(
            f"SELECT id, {remedy} AS x FROM (SELECT 1 AS id, {expression} AS x) q", conn_id="pg"
        )

        assert extracted.column("x") == [None]


def test_values_just_inside_the_edges_are_exact(path: str, workspace: Any, postgres_driver: Postgres) -> None:
    sql = f"""SELECT 1 AS id, '0001-01-01'::date AS first, '9999-12-31 23:59:59.999999+00'::timestamptz AS last,
        '23:59:59.999999'::time AS late, repeat('9', 39)::numeric AS digits, 'Infinity'::float8 AS float{path}"""

    extracted = workspace.extract(sql, conn_id="pg")

    row = {name: extracted.column(name)[0] for name in ("first", "last", "late", "digits", "float")}
    assert str(row["first"]) == "0001-01-01"
    assert row["last"] == datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
    assert row["late"] == time(23, 59, 59, 999999)
    assert row["digits"] == Decimal("9" * 39)
    assert row["float"] == float("inf")


def test_dates_in_a_list_are_the_texts_of_the_server(workspace: Any, postgres_driver: Postgres) -> None:
    sql = """SELECT 1 AS id, ARRAY['infinity', '0044-03-15 BC', '2026-02-03']::date[] AS days,
        ARRAY['-infinity', '10000-01-01 00:00:00']::timestamp[] AS times, ARRAY['24:00:00']::time[] AS clocks"""

    extracted = workspace.extract(sql, conn_id="pg")

    assert extracted.column("days") == ['["infinity","0044-03-15 BC","2026-02-03"]']
    assert extracted.column("times") == ['["-infinity","10000-01-01 00:00:00"]']
    assert extracted.column("clocks") == ['["24:00:00"]']
