"""An engine serves one question after the other, and nothing of a question is left for the next one."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from airflow_consent_retl.values.bounded_engine import bounded_engine

LARGE = "CREATE TABLE rows AS SELECT i, md5(i::VARCHAR) AS key FROM range(2_000_000) AS t(i)"
LIMIT = "32MiB"
KILLED = f"""
import os, signal
from airflow_consent_retl.values.bounded_engine import bounded_engine
with bounded_engine("{LIMIT}") as connection:
    connection.execute("{LARGE}")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"consent-retl-{os.getuid()}"


def test_a_question_finds_nothing_of_the_one_before() -> None:
    for _ in range(3):
        with bounded_engine(LIMIT) as connection:
            connection.execute("CREATE TABLE model AS SELECT 1 AS id")
            connection.execute("CREATE TEMP TABLE people AS SELECT 1 AS id")
            connection.execute("CREATE VIEW seen AS SELECT * FROM model")

            assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(2,)]


def test_two_questions_at_a_time_do_not_see_each_other() -> None:
    with bounded_engine(LIMIT) as first, bounded_engine(LIMIT) as second:
        first.execute("CREATE TABLE model AS SELECT 1 AS id")
        second.execute("CREATE TABLE model AS SELECT 2 AS id")

        assert first.execute("SELECT id FROM model").fetchall() == [(1,)]
        assert second.execute("SELECT id FROM model").fetchall() == [(2,)]


def test_what_exceeds_the_limit_is_in_a_private_folder_and_gone_afterwards(temporary: Path) -> None:
    with bounded_engine(LIMIT) as connection:
        connection.execute(LARGE)

        assert list(temporary.rglob("duckdb_temp*"))
        assert temporary.stat().st_mode & 0o077 == 0
    assert list(temporary.iterdir()) == []
    with bounded_engine(LIMIT) as connection:
        connection.execute(LARGE)
        assert connection.execute("SELECT count(*) FROM rows").fetchall() == [(2_000_000,)]
    assert list(temporary.iterdir()) == []


def test_an_engine_that_waits_has_no_file(temporary: Path) -> None:
    with bounded_engine(LIMIT) as connection:
        connection.execute("SELECT 1")

    assert list(temporary.iterdir()) == []


def test_the_next_question_removes_what_a_killed_process_left(tmp_path: Path, temporary: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED], check=False, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert ended.returncode == -9
    assert list(temporary.rglob("duckdb_temp*"))

    with bounded_engine(LIMIT):
        assert list(temporary.rglob("duckdb_temp*")) == []


def test_a_question_that_fails_leaves_nothing_for_the_next_one(temporary: Path) -> None:
    with pytest.raises(duckdb.CatalogException):
        _fails()

    assert list(temporary.iterdir()) == []
    with bounded_engine(LIMIT) as connection:
        assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]


def test_an_answer_that_was_not_read_to_its_end_is_no_obstacle() -> None:
    with bounded_engine(LIMIT) as connection:
        reader = connection.sql("SELECT i FROM range(1_000_000) AS t(i)").to_arrow_reader(1_000)
        reader.read_next_batch()

    with bounded_engine(LIMIT) as connection:
        assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]


def test_a_forked_process_starts_its_own() -> None:
    with bounded_engine(LIMIT) as connection:
        connection.execute("SELECT 1")
    child = multiprocessing.get_context("fork").Process(target=_asks)

    child.start()
    child.join(60)

    assert child.exitcode == 0
    _asks()


def _fails() -> None:
    with bounded_engine(LIMIT) as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE model AS SELECT 1 AS id")
        connection.execute("SELECT * FROM missing")


def _asks() -> None:
    with bounded_engine(LIMIT) as connection:
        assert connection.execute("SELECT count(*) FROM range(1000)").fetchall() == [(1_000,)]
