"""The table writer of Snowflake: what is its own, with the unmodified connector and the local Snowflake."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.loading import deliver, load_of, rejected, take_back
from support.snowflake_server import Snowflake
from support.table_sync import sync_table

from airflow_consent_retl.destinations.sql_table.destination import SqlTableDestination
from airflow_consent_retl.destinations.sql_table.options import SqlTableOptions
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError
from airflow_consent_retl.hooks.sql import sql_hook

MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)
CANARY = "canary-5f1c@example.org"
PEOPLE = pa.table({"id": [1, 2, 3], "email": ["a@example.org", None, CANARY], "age": [40, 41, None]})
FLAG: dict[str, Any] = {"on_remove": "mark", "mark_column": "gone"}


def destination(table: str = "people", **options: Any) -> SqlTableDestination:
    return SqlTableDestination(sql_hook("snow"), SqlTableOptions(table=table, **options))


def rows_of(snowflake: Snowflake, columns: str = "*", table: str = '"people"') -> list[tuple[Any, ...]]:
    return sorted(snowflake.run(f"SELECT {columns} FROM {table}"), key=str)


def ids(*values: int | None) -> pa.Table:
    return pa.table({"id": pa.array(values, pa.int64())})


def removal_of(rows: pa.Table = PEOPLE) -> Any:
    return load_of(rows, rows_sent=0)


def test_columns_that_are_not_mapped_stay_as_they_are(snowflake: Snowflake) -> None:
    snowflake.run("""CREATE TABLE "people" ("id" NUMBER, "note" VARCHAR DEFAULT 'new', "email" VARCHAR)""")
    snowflake.run("""INSERT INTO "people" VALUES (1, 'mine', 'old')""")

    deliver(destination(), PEOPLE.select(["id", "email"]))

    assert rows_of(snowflake) == [(1, "mine", "a@example.org"), (2, "new", None), (3, "new", CANARY)]


def test_a_batch_is_one_bulk_load_and_one_merge_and_nothing_stays(snowflake: Snowflake) -> None:
    people = pa.table({"id": range(12_000)})

    deliver(destination(), people)

    assert rows_of(snowflake, "COUNT(*)") == [(12_000,)]
    assert [len(snowflake.seen(start)) for start in ("CREATE TEMPORARY TABLE", "COPY INTO", "MERGE")] == [1, 1, 1]
    assert [row[1] for row in snowflake.run("SHOW TERSE TABLES")] == ["people"]


def test_batches_have_as_many_rows_as_configured(snowflake: Snowflake) -> None:
    outcomes = deliver(destination(batch_rows=2), PEOPLE)

    assert rejected(outcomes) == {}
    assert len(rows_of(snowflake)) == 3
    assert len(snowflake.seen("MERGE")) == 2


def test_a_key_that_comes_twice_in_a_batch_makes_one_row_with_the_last_values(snowflake: Snowflake) -> None:
    outcomes = deliver(destination(), pa.table({"id": [1, 1, 2], "email": ["a", "b", "c"]}))

    assert rejected(outcomes) == {}
    assert rows_of(snowflake) == [(1, "b"), (2, "c")]


def test_a_table_that_holds_a_key_twice_has_all_of_its_rows_changed(snowflake: Snowflake) -> None:
    snowflake.run('CREATE TABLE "people" ("id" NUMBER, "email" VARCHAR, "age" NUMBER)')
    snowflake.run("""INSERT INTO "people" VALUES (1, 'x', 0), (1, 'y', 1)""")

    deliver(destination(), PEOPLE.slice(0, 1))
    changed = rows_of(snowflake)
    take_back(destination(), ids(1), removal_of())

    assert changed == [(1, "a@example.org", 40)] * 2
    assert rows_of(snowflake) == []


def test_names_are_quoted_whatever_they_hold(snowflake: Snowflake) -> None:
    rows = pa.table({"group": [1, 2], 'select "x"': ["x", "y"], "P": ["a", "b"], "C0": ["c", "d"], "Zoë's": [1, 2]})
    table = '"a_b""; --"'

    deliver(destination(table), rows, load_of(rows, key_field="group"))
    outcomes = deliver(destination(table, nulls="keep"), rows, load_of(rows, key_field="group"))

    assert rejected(outcomes) == {}
    assert rows_of(snowflake, table=table) == [(1, "x", "a", "c", 1), (2, "y", "b", "d", 2)]


def test_writes_into_the_schema_that_is_named(snowflake: Snowflake) -> None:
    snowflake.run('CREATE SCHEMA "my crm"')

    deliver(destination("my crm.people"), PEOPLE)

    assert len(rows_of(snowflake, table='"my crm"."people"')) == 3


EXACT = pa.table(
    {
        "id": pa.array(["2", "02", "1e5"], pa.string()),
        "big": pa.array([2**63 - 1, -(2**63), None], pa.int64()),
        "unsigned": pa.array([2**64 - 1, 0, None], pa.uint64()),
        "flag": pa.array([True, False, None], pa.bool_()),
        "price": pa.array([Decimal("12345678901234567890.12345678"), Decimal("0.00000001"), None]),
        "ratio": pa.array([0.1, -1e300, None], pa.float64()),
        "small": pa.array([0.5, -2.0, None], pa.float32()),
        "name": pa.array(["Zoë 🦊", "", None], pa.large_string()),
        "at": pa.array([MOMENT, MOMENT, None], pa.timestamp("us", tz="Europe/Amsterdam")),
        "local": pa.array([MOMENT.replace(tzinfo=None), None, None], pa.timestamp("us")),
        "day": pa.array([date(2026, 2, 3), None, None], pa.date32()),
        "hour": pa.array([time(4, 5, 6, 7), None, None], pa.time64("us")),
        "raw": pa.array([b"\x00\xff", b"", None], pa.binary()),
        "tags": pa.array([["a", "b"], [], None], pa.list_(pa.string())),
        "tier": pa.array(["gold", "1", None]).dictionary_encode(),
        "nothing": pa.nulls(3),
    }
)


def test_holds_every_value_exactly(snowflake: Snowflake) -> None:
    deliver(destination(), EXACT)
    outcomes = deliver(destination(), EXACT)

    assert rejected(outcomes) == {}
    expected = EXACT.drop_columns("tags").to_pylist()
    columns = ", ".join(f'"{name}"' for name in EXACT.column_names if name != "tags")
    assert rows_of(snowflake, columns) == sorted((tuple(row.values()) for row in expected), key=str)
    tags = {row[0]: row[1] and json.loads(row[1]) for row in rows_of(snowflake, '"id", "tags"')}
    assert tags == {"2": ["a", "b"], "02": [], "1e5": None}


def test_values_that_a_column_cannot_hold_are_rejected_before_any_statement(snowflake: Snowflake) -> None:
    snowflake.run(
        'CREATE TABLE "people" ("id" NUMBER(2, 0) NOT NULL, "code" VARCHAR(3), "price" NUMBER(5, 2), '
        '"at" TIMESTAMP_NTZ)'
    )
    rows = pa.table(
        {
            "id": pa.array([1, 100, 3, 4, 5, None], pa.int64()),
            "code": pa.array([b"zo\xc3\xab", b"b", b"abcd", b"d", b"\xff", b""]).view(pa.string()),
            "price": pa.array([Decimal("999.99"), None, None, Decimal("-1000.00"), None, None], pa.decimal128(12, 2)),
            "at": pa.array([1, 2, 3, 4, 5, 6], pa.timestamp("ns")),
        }
    )

    outcomes = deliver(destination(), rows)

    codes = {1: "value_out_of_range", 2: "too_long", 3: "value_out_of_range", 4: "not_utf8", 5: "not_null"}
    assert rejected(outcomes) == codes
    assert rows_of(snowflake, '"id", "code"') == [(1, "zoë")]
    assert len(snowflake.seen("MERGE")) == 1


def test_a_batch_that_is_refused_is_cut_without_another_load(snowflake: Snowflake) -> None:
    deliver(destination(), PEOPLE)
    # The whole batch, then the second half of it, then the last row.
    for pattern in ("BETWEEN 0 AND 2", "BETWEEN 1 AND 2", "BETWEEN 2 AND 2"):
        snowflake.fail(f"MERGE.*{pattern}", errno=100069, sqlstate="22P02", message=f"Error parsing JSON: {CANARY}")

    outcomes = deliver(destination(), PEOPLE)

    assert rejected(outcomes) == {2: "json"}
    assert len(snowflake.seen("COPY INTO")) == 2


def test_a_refused_statement_ends_the_load_without_a_value_in_the_message(snowflake: Snowflake) -> None:
    deliver(destination(), PEOPLE)
    snowflake.fail("MERGE INTO", errno=2000, sqlstate="42601", message=f"no one knows why: {CANARY}")

    with pytest.raises(DestinationError, match="002000") as caught:
        deliver(destination(), PEOPLE)

    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_lock_is_waited_for(snowflake: Snowflake) -> None:
    deliver(destination(), PEOPLE)
    snowflake.fail(
        "MERGE INTO", errno=625, sqlstate="57014", message="Statement has locked table in another transaction"
    )

    outcomes = deliver(destination(), PEOPLE)

    assert rejected(outcomes) == {}
    assert len(snowflake.seen("COPY INTO")) == 2


def test_a_warehouse_that_stays_busy_is_tried_again_later(snowflake: Snowflake) -> None:
    deliver(destination(), PEOPLE)
    for _ in range(5):
        snowflake.fail("MERGE INTO", errno=625, sqlstate="57014", message="lock")

    with pytest.raises(DestinationUnavailableError, match="nothing of the batch was applied"):
        deliver(destination(), PEOPLE)


def test_a_session_that_is_gone_is_opened_again_and_the_batch_loaded_again(snowflake: Snowflake) -> None:
    deliver(destination(), PEOPLE)
    snowflake.fail("COPY INTO", errno=390114, sqlstate="08001", message="Authentication token has expired.")

    outcomes = deliver(destination(), PEOPLE.slice(0, 2))

    assert rejected(outcomes) == {}
    assert len(rows_of(snowflake)) == 3


def test_statements_commit_by_themselves_whatever_the_account_says(snowflake: Snowflake) -> None:
    deliver(destination(), PEOPLE)

    merged = snowflake.seen("MERGE")[0]["parameters"]
    assert merged["AUTOCOMMIT"] == "TRUE"
    assert merged["ERROR_ON_NONDETERMINISTIC_MERGE"] == "TRUE"


def test_a_key_that_no_row_can_have_is_not_there(snowflake: Snowflake) -> None:
    people = pa.table({"id": pa.array([b"a", b"\xff", b"too long"]).view(pa.string())})
    snowflake.run('CREATE TABLE "people" ("id" VARCHAR(3))')
    deliver(destination(), people.slice(0, 1))

    outcomes = take_back(destination(), people, removal_of(people))

    assert rejected(outcomes) == {}
    assert rows_of(snowflake) == []


def test_a_column_that_is_gone_since_keeps_no_one_in(snowflake: Snowflake) -> None:
    deliver(destination(), PEOPLE)
    snowflake.run('ALTER TABLE "people" DROP COLUMN "age"')

    outcomes = take_back(destination(), ids(1, 2), removal_of())

    assert rejected(outcomes) == {}
    assert rows_of(snowflake, '"id"') == [(3,)]


def test_marks_with_a_boolean_and_empties_the_mapped_columns_where_asked_to(snowflake: Snowflake) -> None:
    snowflake.run(
        'CREATE TABLE "people" ("id" NUMBER, "email" VARCHAR, "age" NUMBER, "note" VARCHAR, "gone" BOOLEAN NOT NULL)'
    )
    deliver(destination(**FLAG), PEOPLE)
    snowflake.run("""UPDATE "people" SET "note" = 'mine'""")

    take_back(destination(mark_nulls=True, **FLAG), ids(1), removal_of())

    assert rows_of(snowflake) == [
        (1, None, None, "mine", True),
        (2, None, 41, "mine", False),
        (3, CANARY, None, "mine", False),
    ]


def test_refuses_a_view(snowflake: Snowflake) -> None:
    snowflake.run('CREATE VIEW "people" AS SELECT 1 AS "id"')

    with pytest.raises(ConfigurationError, match="`people` is a view: name a table"):
        deliver(destination(), ids(1))


def test_names_the_near_match_of_a_table_or_schema_that_is_not_there(snowflake: Snowflake) -> None:
    snowflake.run("CREATE TABLE people (id NUMBER)")

    with pytest.raises(ConfigurationError, match="`people` does not exist, did you mean `PEOPLE`"):
        deliver(destination(create_table=False), ids(1))
    with pytest.raises(ConfigurationError, match="no schema `public`, did you mean `PUBLIC`"):
        deliver(destination("public.people"), ids(1))


def test_refuses_fields_that_the_table_does_not_hold_exactly_all_at_once(snowflake: Snowflake) -> None:
    snowflake.run(
        'CREATE TABLE "people" ("id" VARCHAR, "mail" VARCHAR, "age" NUMBER(3, 0), "since" TIMESTAMP_NTZ, '
        '"tenant" NUMBER NOT NULL)'
    )
    rows = pa.table(
        {
            "id": [1],
            "email": ["a"],
            "age": pa.array([Decimal("1.5")]),
            "since": pa.array([MOMENT], pa.timestamp("us", tz="UTC")),
        }
    )

    with pytest.raises(ConfigurationError, match="5 problems") as caught:
        deliver(destination(), rows)

    for part in ("`id` (int64) does not fit", "did you mean `mail`", "be rounded", "`since` (timestamp", "`tenant`"):
        assert part in str(caught.value)


def test_a_sync_follows_grants_and_withdrawals(
    snowflake: Snowflake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", tmp_path.as_uri())
    snowflake.run(
        "CREATE TABLE shop AS SELECT column1 AS id, column2 AS email, PARSE_JSON(column3) AS doc FROM VALUES "
        """(1, 'a@x.org', '{"C4": true}'), (2, 'b@x.org', '{"C4": false}'), (3, 'c@x.org', '{"C4": true}')"""
    )

    def run() -> dict[str, Any]:
        return sync_table("snow", sql="SELECT * FROM shop", table="crm_people", id_="ID", email="EMAIL", document="DOC")

    first = run()
    delivered = rows_of(snowflake, table='"crm_people"')
    snowflake.run("""UPDATE shop SET doc = PARSE_JSON('{"C4": false}') WHERE id = 1""")
    snowflake.run("""UPDATE shop SET doc = PARSE_JSON('{"C4": true}') WHERE id = 2""")
    second = run()

    assert (first["added"], second["added"], second["removed"]) == (2, 1, 1)
    assert delivered == [(1, "a@x.org"), (3, "c@x.org")]
    assert rows_of(snowflake, table='"crm_people"') == [(2, "b@x.org"), (3, "c@x.org")]
