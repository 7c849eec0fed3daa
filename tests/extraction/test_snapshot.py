"""Tests of snapshots: a snapshot is complete or does not exist."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.snapshots import rows_of

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.extraction.files import ROW_GROUP_ROWS
from airflow_consent_retl.storage import open_snapshot
from airflow_consent_retl.storage.manifest import ManifestRef, sha256_hex

EXTRACT = """
import sys
from airflow_consent_retl.operators.extract import ExtractModelOperator
sql, workspace = sys.argv[1:]
operator = ExtractModelOperator(
    task_id="x", model="m", conn_id="duck", sql=sql, primary_key="id", workspace=workspace, part_bytes=1
)
operator.execute({})
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print("peak", int(peak[0]) // 1024)
"""
WIDE_ROWS = "SELECT hash(i) AS id, i::VARCHAR || repeat('x', 100) AS email, i AS n FROM range({rows}) AS r(i)"


def extraction(sql: str, workspace: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", EXTRACT, sql, workspace.as_uri()],
        env={**os.environ, "TMPDIR": str(workspace.parent)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("conn_id", "columns"),
    [
        ("duck", [("id", "int64"), ("email", "string")]),
        ("lite", [("id", "null"), ("email", "null")]),
        ("pg", [("id", "int64"), ("email", "string")]),
    ],
)
def test_an_empty_result_is_a_valid_snapshot(
    conn_id: str,
    columns: list[tuple[str, str]],
    workspace: Any,
    run_duckdb: Any,
    run_sqlite: Any,
    postgres: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())

    extracted = workspace.extract(
        "SELECT CAST(1 AS BIGINT) AS id, CAST('x' AS TEXT) AS email WHERE 1 = 0", conn_id=conn_id
    )

    assert extracted.manifest.rows == 0
    assert extracted.manifest.parts == ()
    assert [(column.name, column.type) for column in extracted.manifest.columns] == columns


def test_the_manifest_accounts_for_every_byte_and_row(workspace: Any, run_duckdb: Any) -> None:
    before = datetime.now(UTC)

    extracted = workspace.extract(
        "SELECT hash(i) AS id FROM range(500000) AS r(i)", conn_id="duck", part_bytes=1_000_000
    )

    manifest = extracted.manifest
    parts = {path.name: path for path in workspace.files() if path.suffix == ".parquet"}
    assert {part.name: (part.size_bytes, part.sha256) for part in manifest.parts} == {
        name: (path.stat().st_size, sha256_hex(path.read_bytes())) for name, path in parts.items()
    }
    assert len(parts) > 1
    assert manifest.rows == sum(part.rows for part in manifest.parts) == 500_000
    assert before <= manifest.read_at <= datetime.now(UTC)
    assert manifest.sql_sha256 == sha256_hex(b"SELECT hash(i) AS id FROM range(500000) AS r(i)")
    for path in parts.values():
        file = pq.ParquetFile(path)
        assert all(file.metadata.row_group(i).num_rows <= ROW_GROUP_ROWS for i in range(file.num_row_groups))


def test_only_the_owner_can_read_a_snapshot(workspace: Any, run_duckdb: Any) -> None:
    workspace.extract("SELECT 1 AS id", conn_id="duck")

    files = workspace.files()
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {path.parent.stat().st_mode & 0o777 for path in files} == {0o700}


def test_a_changed_byte_is_refused(workspace: Any, run_duckdb: Any) -> None:
    workspace.extract("SELECT 1 AS id", conn_id="duck")
    manifest, part = sorted(workspace.files(), key=lambda path: path.suffix)
    content = bytearray(part.read_bytes())
    content[10] ^= 1
    part.write_bytes(content)
    ref = ManifestRef(
        kind="snapshot",
        manifest=manifest.as_uri(),
        sha256=sha256_hex(manifest.read_bytes()),
        model="people",
        rows=1,
        at=datetime.now(UTC),
    )
    snapshot = open_snapshot(ref.to_xcom())

    with pytest.raises(RefusedError, match="was changed since it was written"):
        rows_of(snapshot)


def test_sql_comes_from_a_template_file() -> None:
    from airflow_consent_retl.operators.extract import ExtractModelOperator

    assert ExtractModelOperator.template_ext == (".sql",)
    assert {"sql", "conn_id", "model", "primary_key", "workspace"} <= set(ExtractModelOperator.template_fields)


def test_a_killed_extraction_leaves_nothing_visible_and_another_try_works(
    tmp_path: Path, workspace: Any, run_duckdb: Any
) -> None:
    process = extraction(WIDE_ROWS.format(rows=20_000_000), workspace.path)
    deadline = time.monotonic() + 60
    while len(workspace.files()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)

    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert process.returncode == -signal.SIGKILL
    left = workspace.files()
    assert left
    assert not any(path.name == "manifest.json" for path in left)
    assert workspace.extract("SELECT 1 AS id", conn_id="duck").column("id") == [1]


def test_memory_does_not_grow_with_the_rows(workspace: Any, run_duckdb: Any) -> None:
    peaks = []
    for rows in (500_000, 2_500_000):
        output, _ = extraction(WIDE_ROWS.format(rows=rows), workspace.path).communicate()
        peaks.append(int(output.split("peak ")[1]))

    # 2 M rows are 240 MB.
    assert peaks[1] - peaks[0] < 80


@pytest.mark.long
def test_rows_too_wide_for_the_memory_of_a_scan_are_read_again_with_more(
    workspace: Any, run_duckdb: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = ", ".join(f"hash(i + {n}) AS c{n}" for n in range(400))
    run_duckdb(f"CREATE TABLE people AS SELECT i AS id, {columns} FROM range(25000) AS r(i)")

    extracted = workspace.extract("SELECT * FROM people", conn_id="duck")

    assert extracted.manifest.rows == 25_000
    assert "reading again with more memory" in capsys.readouterr().out
    assert len(workspace.files()) == len(extracted.manifest.parts) + 1


def test_settings_may_come_before_the_query(workspace: Any, run_duckdb: Any) -> None:
    extracted = workspace.extract(
        "SET memory_limit = '123MiB'; SELECT 1 AS id, current_setting('memory_limit') AS x;", conn_id="duck"
    )

    assert extracted.column("x") == ["123.0 MiB"]


def test_two_readers_share_a_duckdb_file(workspace: Any, run_duckdb: Any, tmp_path: Path) -> None:
    script = (
        f"import duckdb\nc = duckdb.connect({str(tmp_path / 'source.duckdb')!r}, read_only=True)\nprint(1)\ninput()"
    )
    reader = subprocess.Popen([sys.executable, "-uc", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    reader.stdout.readline()

    extracted = workspace.extract("SELECT 1 AS id", conn_id="duck")

    reader.communicate("\n")
    assert extracted.column("id") == [1]


def test_a_duckdb_file_that_another_process_writes_is_retried(workspace: Any, run_duckdb: Any, tmp_path: Path) -> None:
    from airflow_consent_retl.errors import SourceUnavailableError

    script = f"import duckdb\nc = duckdb.connect({str(tmp_path / 'source.duckdb')!r})\nprint(1)\ninput()"
    writer = subprocess.Popen([sys.executable, "-uc", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    writer.stdout.readline()

    with pytest.raises(SourceUnavailableError, match="connection `duck` cannot be opened"):
        workspace.extract("SELECT 1 AS id", conn_id="duck")

    writer.communicate("\n")


def test_the_reference_contains_no_row(workspace: Any, run_duckdb: Any) -> None:
    from airflow_consent_retl.operators.extract import ExtractModelOperator

    operator = ExtractModelOperator(
        task_id="extract",
        model="people",
        conn_id="duck",
        sql="SELECT 1 AS id, 'canary@example.com' AS email",
        primary_key="id",
        workspace=workspace.path.as_uri(),
    )

    reference = operator.execute({})

    assert reference["rows"] == 1
    assert "canary" not in json.dumps(reference)
