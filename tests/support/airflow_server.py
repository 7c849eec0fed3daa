"""A real API server of Airflow in a process of its own, with users, a home of its own and DAGs that it knows.

    with airflow_server(tmp_path / "home", database=airflow_db, dags=["customers"]) as server:
        server.get("/consent-retl/", user="admin")

Users: `admin`; `approver`, who may edit Variables; `officer`, who may only read; `analyst`, who may read one DAG
(`ONE_DAG`); `nobody`, who has no right.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from sqlalchemy.orm import Session

ONE_DAG = "customers"
USERS = {"admin": "admin", "approver": "op", "officer": "viewer", "analyst": "viewer", "nobody": ""}
API_KEY = "a key of the API server of the tests, 64 bytes or more, as Airflow wants it"
_REPO = Path(__file__).resolve().parents[2]
_STARTS_S = 240.0


class _Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


@dataclass(frozen=True)
class Answer:
    """The answer of the server."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass
class AirflowServer:
    """A running API server."""

    url: str
    home: Path
    process: int
    tokens: dict[str, str] = field(default_factory=dict)

    def token(self, user: str) -> str:
        """Log a user in, as Airflow's login does, and return the token for the cookie `_token`."""
        if user not in self.tokens:
            body = json.dumps({"username": user, "password": user}).encode()
            request = urllib.request.Request(
                f"{self.url}/auth/token", data=body, headers={"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                self.tokens[user] = json.load(answer)["access_token"]
        return self.tokens[user]

    def get(self, path: str, *, user: str | None, form: Mapping[str, str] | None = None, **headers: str) -> Answer:
        """Ask for a page, as a browser does; with a form, post it. Redirects are not followed."""
        data = None if form is None else urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data)
        if user is not None:
            request.add_header("Cookie", f"_token={self.token(user)}")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        opener = urllib.request.build_opener(_Stays)
        try:
            with closing(opener.open(request, timeout=60)) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read().decode())

    def set_variable(self, key: str, value: str) -> None:
        """Write a Variable by Airflow's API, as its page about Variables does."""
        with self.database.connect() as connection:
            exists = connection.scalar(sa.text("SELECT count(*) FROM variable WHERE key = :key"), {"key": key})
        request = urllib.request.Request(
            f"{self.url}/api/v2/variables{f'/{key}' if exists else ''}",
            data=json.dumps({"key": key, "value": value}).encode(),
            headers={"Authorization": f"Bearer {self.token('admin')}", "Content-Type": "application/json"},
            method="PATCH" if exists else "POST",
        )
        urllib.request.urlopen(request, timeout=30).close()

    @property
    def log(self) -> str:
        """Everything that the server printed, its access log included."""
        return (self.home / "server.log").read_text()

    @property
    def processor_s(self) -> float:
        """The processor time that the server and its workers used so far, in seconds."""
        used = 0
        for folder in Path("/proc").glob("[0-9]*"):
            # A process of someone else, or one that has just ended, cannot be read.
            with suppress(OSError):
                # After the name, which may contain spaces: state, parent, group, …, and the ticks of user and system.
                parts = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(parts[2]) == self.process:
                    used += int(parts[11]) + int(parts[12])
        return used / os.sysconf("SC_CLK_TCK")

    @cached_property
    def database(self) -> sa.Engine:
        """Airflow's own database."""
        return sa.create_engine(f"sqlite:///{self.home}/airflow.db")


@contextmanager
def airflow_server(
    home: Path, *, database: Path, dags: Sequence[str] = (), paused: Sequence[str] = (), **environment: str
) -> Iterator[AirflowServer]:
    """Start a server, and stop it at the end.

    Args:
        home: a new folder for it.
        database: a metadata database with all tables, which is copied.
        dags: ids of DAGs that it knows.
        paused: those of them that are paused.
        environment: more of its environment.
    """
    home.mkdir(parents=True)
    copy_database(database, home / "airflow.db")
    _know_dags(home / "airflow.db", dags, paused=paused)
    (home / "passwords.json").write_text(json.dumps({user: user for user in USERS}))
    port = _free_port()
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "airflow",
                "api-server",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--workers",
                "1",
            ],
            env={**os.environ, **_settings(home), **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = AirflowServer(f"http://127.0.0.1:{port}", home, process.pid)
    try:
        _await(server, process)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        server.database.dispose()


def _settings(home: Path) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__API__SECRET_KEY": API_KEY,
        "AIRFLOW__API_AUTH__JWT_SECRET": API_KEY,
        "AIRFLOW__CORE__AUTH_MANAGER": "support.one_dag_rights.OneDagRights",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "PYTHONPATH": os.pathsep.join([str(_REPO), str(_REPO / "tests"), os.environ.get("PYTHONPATH", "")]),
    }


def copy_database(database: Path, copy: Path) -> None:
    """Copy a metadata database; the file alone would lack what is in its log of writes."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as copied:
        source.backup(copied)


def _know_dags(database: Path, dags: Sequence[str], *, paused: Sequence[str]) -> None:
    engine = sa.create_engine(f"sqlite:///{database}")
    with Session(engine) as session:
        if session.get(DagBundleModel, "dags-folder") is None:
            session.add(DagBundleModel(name="dags-folder"))
            session.flush()
        for dag in dags:
            # A run of another test may have left a DAG of this name.
            session.merge(
                DagModel(  # type: ignore[no-untyped-call]
                    dag_id=dag,
                    bundle_name="dags-folder",
                    fileloc=f"{dag}.py",
                    relative_fileloc=f"{dag}.py",
                    is_paused=dag in paused,
                    is_stale=False,
                )
            )
        session.commit()
    engine.dispose()


def _free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _await(server: AirflowServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STARTS_S
    while time.monotonic() < deadline:
        assert process.poll() is None, server.log[-4000:]
        try:
            with closing(urllib.request.urlopen(f"{server.url}/api/v2/version", timeout=5)):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(server.log[-4000:])
