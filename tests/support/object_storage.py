"""Local object storage as Google and Amazon serve it, in memory, behind the real file systems of Airflow's providers.

`make test` makes the servers' environment; `CONSENT_RETL_STORAGE` may name another Python that has moto and
gcp-storage-emulator.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

_PYTHON = Path(__file__).resolve().parents[2] / ".venv-storage" / "bin" / "python"
_BUCKET = "workspace"
_PATIENCE_S = 60
# Both packages install a command only.
_GOOGLE = """
from gcp_storage_emulator.server import create_server
create_server("127.0.0.1", {port}, in_memory=True).run()
"""
_AMAZON = "from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"


@dataclass(frozen=True, slots=True)
class ObjectStorage:
    """A running storage with one empty bucket.

    Args:
        uri: of the bucket, as `[consent_retl] workspace` takes it.
        environment: the variables that Airflow and its file systems need.
    """

    uri: str
    environment: dict[str, str]


@contextmanager
def running_storage(kind: str) -> Iterator[ObjectStorage]:
    """Start a storage, `gs` or `s3`, and stop it at the end."""
    program = {"gs": _GOOGLE, "s3": _AMAZON}[kind]
    python = Path(os.environ.get("CONSENT_RETL_STORAGE", _PYTHON))
    if not python.exists():
        raise FileNotFoundError(f"no object storage at {python}: run `make test`, which makes it")
    port = _free_port()
    # No variable of this process's Python may reach the other one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AIRFLOW"))}
    with subprocess.Popen(
        [python, "-W", "ignore", "-c", program.format(port=port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _make_bucket(kind, url, process)
            yield _google(url) if kind == "gs" else _amazon(url)
        finally:
            process.kill()


def _google(url: str) -> ObjectStorage:
    # The variant for buckets with real folders asks another API, which is not here.
    settings = {"STORAGE_EMULATOR_HOST": url, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    return ObjectStorage(f"gs://{_BUCKET}", settings)


def _amazon(url: str) -> ObjectStorage:
    connection = {
        "conn_type": "aws",
        "login": "nobody",
        "password": "nothing",
        "extra": {"endpoint_url": url, "region_name": "us-east-1"},
    }
    return ObjectStorage(f"s3://storage@{_BUCKET}", {"AIRFLOW_CONN_STORAGE": json.dumps(connection)})


def _make_bucket(kind: str, url: str, process: subprocess.Popen[bytes]) -> None:
    if kind == "gs":
        asked = Request(
            f"{url}/storage/v1/b?project=tests",
            data=json.dumps({"name": _BUCKET}).encode(),
            headers={"Content-Type": "application/json"},
        )
    else:
        # Any signature will do; it names service and region.
        scope = "nobody/20260101/us-east-1/s3/aws4_request"
        asked = Request(
            f"{url}/{_BUCKET}",
            method="PUT",
            headers={"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"},
        )
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            urlopen(asked, timeout=10).close()
        except URLError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the storage `{kind}` does not answer: {error}") from error
            time.sleep(0.1)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
