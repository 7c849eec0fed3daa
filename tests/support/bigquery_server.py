"""A local BigQuery for the tests, behind the real hook and clients: one server for each test process, on loopback.

The root conftest loads this module as a plugin. `make test` makes the server's environment; `CONSENT_RETL_BIGQUERY` may
name another Python that has bqemulator.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

_REPO = Path(__file__).resolve().parents[2]
_SCRIPT = _REPO / "tests" / "databases" / "bigquery" / "stand_in.py"
_PYTHON = _REPO / ".venv-bigquery" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class BigQueryServer:
    """A running server: the ports of REST and of the Storage API."""

    port: int
    storage_port: int

    @property
    def url(self) -> str:
        """The value for `BIGQUERY_EMULATOR_HOST`."""
        return f"http://127.0.0.1:{self.port}"

    def control(self, **asked: object) -> dict[str, Any]:
        """Send the server instructions, and return its record of requests."""
        request = Request(
            f"{self.url}/stand-in/control",
            data=json.dumps(asked).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urlopen(request) as answer:
            seen: dict[str, Any] = json.load(answer)
        return seen


@dataclass(frozen=True, slots=True)
class BigQuery:
    """A project of the test's own, as connection `bq`."""

    server: BigQueryServer
    project: str

    def airflow_connection(self, *, conn_type: str = "gcpbigquery", **extra: object) -> str:
        """Return the value of an `AIRFLOW_CONN_…` variable; an extra of None is left out."""
        settings = {
            "is_anonymous": True,
            "project": self.project,
            "storage_endpoint": f"127.0.0.1:{self.server.storage_port}",
            "retry_timeout_s": 1,
            **extra,
        }
        present = {name: value for name, value in settings.items() if value is not None}
        return json.dumps({"conn_type": conn_type, "extra": present})

    def run(self, *statements: str) -> list[dict[str, Any]]:
        """Run statements without the code under test, and return the rows of the last one."""
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

        client: Any = BigQueryHook(gcp_conn_id="bq").get_client(project_id=self.project)
        rows: list[dict[str, Any]] = []
        for statement in statements:
            rows = [dict(row) for row in client.query(statement).result()]
        client.close()
        return rows

    def dataset(self, name: str, *, project: str | None = None, **settings: object) -> None:
        """Make a dataset, with settings as REST names them."""
        project = project or self.project
        reference = {"projectId": project, "datasetId": name}
        request = Request(
            f"{self.server.url}/bigquery/v2/projects/{project}/datasets",
            data=json.dumps({"datasetReference": reference, **settings}).encode(),
            headers={"Content-Type": "application/json"},
        )
        urlopen(request).close()

    def fail(self, pattern: str, *, reason: str, message: str, status: int | None = None, times: int = 1) -> None:
        """Have the next job or request that contains the pattern fail as BigQuery would.

        Args:
            pattern: a regular expression of the method, the path and the statement.
            reason: BigQuery's.
            message: BigQuery's.
            status: of HTTP; None: the request succeeds and the job fails.
            times: the number of failures.
        """
        failure = {"job_reason": reason} if status is None else {"status": status, "reason": reason}
        self.server.control(pattern=pattern, answer={**failure, "message": message}, times=times)

    def jobs(self) -> list[dict[str, Any]]:
        """Return the received jobs, each with its id, text and configuration."""
        return list(self.server.control()["jobs"])

    def seen(self, part: str) -> list[dict[str, Any]]:
        """Return the jobs whose text contains a part."""
        return [job for job in self.jobs() if part in job["text"]]


@contextmanager
def running_bigquery() -> Iterator[BigQueryServer]:
    """Start a server, and stop it at the end."""
    python = Path(os.environ.get("CONSENT_RETL_BIGQUERY", _PYTHON))
    if not python.exists():
        raise FileNotFoundError(f"no stand-in for BigQuery at {python}: run `make test`, which makes it")
    folder = Path(tempfile.mkdtemp(prefix="consent-retl-bigquery-"))
    # No variable of this process's Python may reach the other one. DuckDB keeps its extensions in the home folder.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AIRFLOW"))}
    process = subprocess.Popen(
        [python, "-W", "ignore", _SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment | {"HOME": str(folder), "PYTHONPATH": str(_REPO / "tests")},
        cwd=folder,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        # The emulator prints text of its own before that.
        _, port, storage_port = next(line for line in process.stdout if line.startswith("ports ")).split()
        yield BigQueryServer(int(port), int(storage_port))
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def bigquery_server() -> Iterator[BigQueryServer]:
    """The session's server."""
    with running_bigquery() as server:
        yield server


@pytest.fixture
def bigquery(bigquery_server: BigQueryServer, monkeypatch: pytest.MonkeyPatch) -> BigQuery:
    """A new project, behind the Airflow connection `bq`."""
    found = BigQuery(bigquery_server, f"test-{uuid.uuid4().hex[:12]}")
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_server.url)
    monkeypatch.setenv("AIRFLOW_CONN_BQ", found.airflow_connection())
    bigquery_server.control(forget=True)
    return found
