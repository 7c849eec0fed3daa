"""A local Snowflake for the tests, behind TLS and the real connector: one server for each test process, on loopback.

The root conftest loads this module as a plugin. `make test` makes the server's environment; `CONSENT_RETL_FAKESNOW` may
name another Python that has fakesnow.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pyarrow as pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_REPO = Path(__file__).resolve().parents[2]
_SCRIPT = _REPO / "tests" / "databases" / "snowflake" / "stand_in.py"
_PYTHON = _REPO / ".venv-fakesnow" / "bin" / "python"
WAREHOUSE, SCHEMA = "COMPUTE_WH", "PUBLIC"


@dataclass(frozen=True, slots=True)
class SnowflakeServer:
    """A running server, and the path of the certificate that clients have to trust."""

    port: int
    certificate: Path

    def control(self, **asked: object) -> dict[str, Any]:
        """Send the server instructions, and return its record of statements."""
        request = Request(
            f"https://localhost:{self.port}/stand-in/control",
            data=json.dumps(asked).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urlopen(request, context=ssl.create_default_context(cafile=str(self.certificate))) as answer:
            seen: dict[str, Any] = json.load(answer)
        return seen


@dataclass(frozen=True, slots=True)
class Snowflake:
    """A database of the test's own, as connection `snow`."""

    server: SnowflakeServer
    database: str

    def airflow_connection(self, **extra: object) -> str:
        """Return the value of an `AIRFLOW_CONN_…` variable."""
        return json.dumps(
            {
                "conn_type": "snowflake",
                "login": "loader",
                "password": "not a secret",
                "schema": SCHEMA,
                "extra": {
                    "account": "stand_in",
                    "host": "localhost",
                    "port": self.server.port,
                    "database": self.database,
                    "warehouse": WAREHOUSE,
                    "ocsp_fail_open": True,
                    **extra,
                },
            }
        )

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements without the code under test, and return the rows of the last one."""
        from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

        rows: list[Any] = []
        with closing(SnowflakeHook("snow").get_conn()) as connection, closing(connection.cursor()) as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = cursor.fetchall()
        return rows

    def fail(self, pattern: str, *, errno: int, sqlstate: str, message: str) -> None:
        """Have the next statement that contains the pattern fail as Snowflake would."""
        self.server.control(pattern=pattern, answer={"errno": errno, "sqlstate": sqlstate, "message": message})

    def answer(
        self,
        pattern: str,
        columns: Sequence[tuple[Mapping[str, object], pa.Array, Mapping[str, str]]],
        *,
        timezone: str = "UTC",
        total: int | None = None,
    ) -> None:
        """Answer the next statement that contains the pattern with these columns, as Snowflake would encode them.

        Args:
            pattern: a regular expression.
            columns: for each its description, its array as it is sent, and the array's metadata.
            timezone: of the session.
            total: the announced number of rows; None: the number that is sent.
        """
        fields = [
            pa.field(str(described["name"]), array.type, metadata={"logicalType": str(described["type"]), **metadata})
            for described, array, metadata in columns
        ]
        sink = pa.BufferOutputStream()
        batch = pa.RecordBatch.from_arrays([array for _, array, _ in columns], schema=pa.schema(fields))
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        answer = {
            "rowtype": [{"nullable": True, **described} for described, _, _ in columns],
            "rowset": base64.b64encode(sink.getvalue()).decode() if batch.num_rows else "",
            "total": batch.num_rows if total is None else total,
            "timezone": timezone,
        }
        self.server.control(pattern=pattern, answer=answer)

    def statements(self) -> list[dict[str, Any]]:
        """Return the received statements, each with its session's number and parameters."""
        return list(self.server.control()["statements"])

    def seen(self, beginning: str) -> list[dict[str, Any]]:
        """Return the statements that begin with a text."""
        return [found for found in self.statements() if found["text"].lstrip().startswith(beginning)]


@contextmanager
def running_snowflake() -> Iterator[SnowflakeServer]:
    """Start a server, and stop it at the end."""
    python = Path(os.environ.get("CONSENT_RETL_FAKESNOW", _PYTHON))
    if not python.exists():
        raise FileNotFoundError(f"no stand-in for Snowflake at {python}: run `make test`, which makes it")
    folder = Path(tempfile.mkdtemp(prefix="consent-retl-snowflake-"))
    certificate, key = _certificate(folder)
    # No variable of this process's Python may reach the other one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AIRFLOW"))}
    process = subprocess.Popen(
        [python, "-W", "ignore", _SCRIPT, certificate, key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment | {"PYTHONPATH": str(_REPO / "tests")},
        cwd=folder,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield SnowflakeServer(port=int(process.stdout.readline()), certificate=certificate)
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate for this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, key_file


@pytest.fixture(scope="session")
def snowflake_server() -> Iterator[SnowflakeServer]:
    """The session's server."""
    with running_snowflake() as server:
        yield server


@pytest.fixture
def snowflake(snowflake_server: SnowflakeServer, monkeypatch: pytest.MonkeyPatch) -> Snowflake:
    """A new database, behind the Airflow connection `snow`."""
    found = Snowflake(snowflake_server, f"T_{uuid.uuid4().hex[:12].upper()}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(snowflake_server.certificate))
    monkeypatch.setenv("AIRFLOW_CONN_SNOW", found.airflow_connection())
    snowflake_server.control(forget=True)
    return found
