"""An extraction uses the files of the last one again where the database finds the same rows, and only then."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.log_lines import task_fails
from support.postgres import Postgres, postgres
from support.snapshots import extracted

from airflow_consent_retl.consent import ConsentSource
from airflow_consent_retl.operators import ExtractModelOperator
from airflow_consent_retl.storage.location import last_snapshot
from airflow_consent_retl.storage.manifest import ManifestRef

__all__ = ["postgres"]

SQL = "SELECT id, email, ads_ok, score FROM people ORDER BY id"
TABLE = "CREATE TABLE people (id bigint, email text, ads_ok boolean, score double precision)"
FIVE = "INSERT INTO people SELECT i, 'user' || i || '@example.com', i % 2 = 0, i / 4.0 FROM generate_series(1, 5) g(i)"
USED_AGAIN = "its files are used again"


class Model:
    """A table of people in one database, behind connection `model`."""

    def __init__(self, kind: str, run: Callable[[str], object], workspace: str) -> None:
        self.kind = kind
        self.run = run
        self.workspace = workspace
        run(TABLE)
        run(FIVE)

    def extract(self, **parameters: Any) -> dict[str, Any]:
        operator = ExtractModelOperator(
            **{
                "task_id": "extract",
                "model": "people",
                "conn_id": "model",
                "sql": SQL,
                "primary_key": "id",
                "reuse_unchanged": True,
                "workspace": self.workspace,
                **parameters,
            }
        )
        output: dict[str, Any] = operator.execute({})
        return output


@pytest.fixture
def duck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    file = tmp_path / "warehouse.duckdb"
    monkeypatch.setenv("AIRFLOW_CONN_MODEL", json.dumps({"conn_type": "duckdb", "host": str(file)}))

    def run(statement: str) -> None:
        with duckdb.connect(str(file)) as connection:
            connection.execute(statement)

    return Model("duckdb", run, f"file://{tmp_path}/workspace")


@pytest.fixture(params=["duckdb", "psycopg", "psycopg2"])
def model(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    if request.param == "duckdb":
        duck: Model = request.getfixturevalue("duck")
        return duck
    from airflow.providers.postgres.hooks import postgres as hook

    server: Postgres = request.getfixturevalue("postgres")
    monkeypatch.setenv("AIRFLOW_CONN_MODEL", server.airflow_connection())
    monkeypatch.setattr(hook, "USE_PSYCOPG3", request.param == "psycopg")

    def run_there(statement: str) -> None:
        with server.connect() as connection:
            connection.execute(statement)

    run_there("DROP TABLE IF EXISTS people")
    return Model("postgres", run_there, f"file://{tmp_path}/workspace")


def files(output: dict[str, Any]) -> list[int]:
    folder = Path(output["manifest"].removeprefix("file://")).parent
    return sorted(path.stat().st_ino for path in folder.glob("*.parquet"))


def rows(output: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = extracted(output)[1].to_pylist()
    return found


def test_the_same_rows_are_the_same_files_under_a_manifest_of_their_own(
    model: Model, capfd: pytest.CaptureFixture[str]
) -> None:
    first = model.extract()
    assert USED_AGAIN not in capfd.readouterr().out

    second = model.extract()

    assert USED_AGAIN in capfd.readouterr().out
    assert files(first) == files(second) != []
    assert rows(first) == rows(second)
    assert len(rows(second)) == 5
    before, after = (extracted(output)[0].manifest for output in (first, second))
    assert after.read_at > before.read_at
    assert after.model_copy(update={"read_at": before.read_at}) == before
    assert first["manifest"] != second["manifest"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE people SET ads_ok = NOT ads_ok WHERE id = 3",
        "UPDATE people SET ads_ok = NULL WHERE id = 3",
        "UPDATE people SET email = NULL WHERE id = 3",
        "UPDATE people SET email = '' WHERE id = 3",
        "UPDATE people SET score = score + 0.0000001 WHERE id = 3",
        "DELETE FROM people WHERE id = 3",
        "INSERT INTO people VALUES (6, 'x', true, 1)",
        # Two people exchange their answers, and two their ids.
        "UPDATE people SET ads_ok = NOT ads_ok WHERE id IN (2, 3)",
        "UPDATE people SET id = 5 - id WHERE id IN (2, 3)",
        "UPDATE people SET ads_ok = NOT ads_ok",
        # The same person twice is another model, although each of its rows was there.
        "INSERT INTO people SELECT * FROM people WHERE id = 0 UNION ALL SELECT 6, email, ads_ok, score FROM people",
    ],
)
def test_whatever_changed_is_read(model: Model, statement: str) -> None:
    first = model.extract()
    model.run(statement)

    second = model.extract(check_primary_key=False)

    assert not set(files(first)) & set(files(second))
    assert rows(second) == rows(model.extract(check_primary_key=False, reuse_unchanged=False))
    assert rows(second) != rows(first)


def test_columns_that_exchange_their_names_are_read(model: Model) -> None:
    model.run("ALTER TABLE people ADD COLUMN email_ok boolean")
    model.run("UPDATE people SET email_ok = NOT ads_ok")
    all_columns = "SELECT * FROM people ORDER BY id"
    first = model.extract(sql=all_columns)
    assert files(model.extract(sql=all_columns)) == files(first)
    for old, new in (("ads_ok", "was_ads"), ("email_ok", "ads_ok"), ("was_ads", "email_ok")):
        model.run(f"ALTER TABLE people RENAME COLUMN {old} TO {new}")

    second = model.extract(sql=all_columns)

    assert [row["ads_ok"] for row in rows(second)] == [not row["ads_ok"] for row in rows(first)]


def test_a_column_of_another_type_with_the_same_values_is_read(model: Model) -> None:
    model.run("ALTER TABLE people ADD COLUMN orders integer")
    model.run("UPDATE people SET orders = 7")
    all_columns = "SELECT * FROM people ORDER BY id"
    first = model.extract(sql=all_columns)
    model.run("ALTER TABLE people ALTER COLUMN orders TYPE bigint")

    second = model.extract(sql=all_columns)

    assert not set(files(first)) & set(files(second))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[]::VARCHAR[]", "NULL::VARCHAR[]"),
        ("[]::VARCHAR[]", "[NULL]::VARCHAR[]"),
        ("['a, b']", "['a', 'b']"),
        ("{'ok': NULL::BOOLEAN}", "NULL::STRUCT(ok BOOLEAN)"),
        ("'yes'::ENUM('yes', 'no')", "'no'::ENUM('no', 'yes')"),
        ("['yes'::ENUM('yes', 'no')]", "['no'::ENUM('no', 'yes')]"),
        ("INTERVAL 1 MONTH", "INTERVAL 30 DAYS"),
        ("MAP {'a': true}", "MAP {'b': true}"),
        ("'{\"a\": 1}'::JSON", "'{\"a\": 2}'::JSON"),
        ("12.5::DECIMAL(9, 2)", "12.51::DECIMAL(9, 2)"),
        ("TIMESTAMPTZ '2026-01-01 00:00:00+00'", "TIMESTAMPTZ '2026-01-01 00:00:00.000001+00'"),
        ("NULL::INTEGER", "0"),
        ("NULL::VARCHAR", "''"),
    ],
)
def test_values_that_duckdb_hashes_alike_are_told_apart(duck: Model, before: str, after: str) -> None:
    sql = "SELECT id, answer FROM answers ORDER BY id"
    duck.run(f"CREATE TABLE answers AS SELECT 1 AS id, {before} AS answer")
    first = duck.extract(sql=sql)
    assert files(duck.extract(sql=sql)) == files(first)
    duck.run(f"CREATE OR REPLACE TABLE answers AS SELECT 1 AS id, {after} AS answer")

    second = duck.extract(sql=sql)

    assert rows(second) != rows(first)


def test_rows_that_came_back_are_not_taken_for_those_of_the_last_extraction(model: Model) -> None:
    first = model.extract()
    model.run("UPDATE people SET ads_ok = NOT ads_ok WHERE id = 3")
    second = model.extract()
    model.run("UPDATE people SET ads_ok = NOT ads_ok WHERE id = 3")

    third = model.extract()

    assert rows(third) == rows(first) != rows(second)
    assert not set(files(second)) & set(files(third))


def test_a_query_is_not_taken_for_another_one_with_the_same_rows(model: Model) -> None:
    first = model.extract()

    second = model.extract(sql=SQL.replace("ads_ok,", "ads_ok AS email_ok,"))

    assert not set(files(first)) & set(files(second))
    assert list(rows(second)[0]) == ["id", "email", "email_ok", "score"]


def test_ids_that_nobody_checked_are_checked(model: Model) -> None:
    model.run("INSERT INTO people VALUES (5, 'twice', true, 1)")
    model.extract(check_primary_key=False)

    with task_fails() as failed:
        model.extract()

    assert "occur" in str(failed.value)


@pytest.mark.parametrize("harm", ["remove", "flip"])
def test_files_that_are_gone_or_changed_are_read_again(model: Model, harm: str) -> None:
    first = model.extract()
    expected = rows(first)
    (part,) = Path(first["manifest"].removeprefix("file://")).parent.glob("*.parquet")
    content = bytearray(part.read_bytes())
    part.unlink()
    if harm == "flip":
        content[len(content) // 2] ^= 1
        part.write_bytes(bytes(content))

    second = model.extract()

    assert rows(second) == expected
    assert files(model.extract()) == files(second)


def test_a_reference_that_someone_else_wrote_is_not_believed(model: Model) -> None:
    first = model.extract()
    last = last_snapshot(model.workspace, "people").read()
    assert last == ManifestRef.from_xcom(first, kind="snapshot")
    (file,) = (Path(model.workspace.removeprefix("file://")) / "last_snapshots").rglob("last.json")
    file.write_bytes(file.read_bytes().replace(b'"rows": 5', b'"rows": 6'))

    second = model.extract()

    assert not set(files(first)) & set(files(second))
    assert len(rows(second)) == 5


def test_the_files_outlive_the_run_that_wrote_them(model: Model) -> None:
    first = model.extract()
    second = model.extract()
    expected = rows(first)
    extracted(first)[0].folder.remove()

    assert rows(second) == expected
    assert files(model.extract()) == files(second)


def test_without_the_option_everything_is_read(model: Model) -> None:
    first = model.extract(reuse_unchanged=False)
    second = model.extract()
    third = model.extract(reuse_unchanged=False)

    assert len({*files(first), *files(second), *files(third)}) == 3
    assert extracted(first)[0].manifest.fingerprint == ""


def test_rows_with_another_source_of_consent_are_read(model: Model) -> None:
    model.run("CREATE TABLE IF NOT EXISTS answers (person bigint, email_ok boolean)")
    model.run("DELETE FROM answers")
    model.run("INSERT INTO answers SELECT id, true FROM people")
    source = ConsentSource(sql="SELECT * FROM answers", subject="person", key="id", columns=["email_ok"])
    first = model.extract(consent_sources=[source])
    model.run("UPDATE answers SET email_ok = false WHERE person = 3")

    second = model.extract(consent_sources=[source])

    assert not set(files(first)) & set(files(second))
    assert [row["email_ok"] for row in rows(second)] == [True, True, False, True, True]


def test_the_time_of_the_rows_is_that_of_the_run(model: Model) -> None:
    first = model.extract(as_of="2026-11-01")
    second = model.extract(as_of="2026-11-02")
    third = model.extract()

    assert files(first) == files(second) == files(third)
    times = [extracted(output)[0].manifest.as_of for output in (first, second, third)]
    assert [None if time is None else time.day for time in times] == [1, 2, None]


def test_a_database_without_a_fingerprint_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.db"
    monkeypatch.setenv("AIRFLOW_CONN_MODEL", json.dumps({"conn_type": "sqlite", "host": str(file)}))

    def run(statement: str) -> None:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(
                # SQLite has no function for a series.
                statement.replace("generate_series(1, 5) g(i)", "(SELECT value AS i FROM json_each('[1,2,3,4,5]'))")
            )

    model = Model("sqlite", run, f"file://{tmp_path}/workspace")

    first, second = model.extract(), model.extract()

    assert rows(first) == rows(second)
    assert not set(files(first)) & set(files(second))
    assert extracted(second)[0].manifest.fingerprint == ""
