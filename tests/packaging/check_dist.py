"""Checks of what a release uploads. `make dist` builds it and runs these; `make test` does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PACKAGE = "airflow_consent_retl"
DESCRIBING = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "SECURITY.md", "pyproject.toml"}
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture
def wheel() -> Path:
    (built,) = (REPO / "dist").glob("*.whl")
    return built


def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files", PACKAGE], cwd=REPO, check=True, capture_output=True, text=True)
    return set(listed.stdout.splitlines())


def test_the_wheel_contains_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert f"{PACKAGE}/py.typed" in names
    assert names == tracked()


def test_the_source_distribution_contains_the_package_and_what_describes_it() -> None:
    (built,) = (REPO / "dist").glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {name.partition("/")[0] for name in names} == {*DESCRIBING, PACKAGE}
    assert {name for name in names if name.startswith(f"{PACKAGE}/")} == tracked()


def test_the_page_on_an_index_has_absolute_links_and_says_whose_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    links = _LINK.findall(str(metadata.get_payload()))

    assert links
    assert [link for link in links if not link.startswith("https://")] == []
    assert metadata["Author"]
    assert len(metadata.get_all("Project-URL", [])) == 5


def test_the_wheel_alone_makes_the_connections_of_the_first_dag(wheel: Path, tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}},
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "UV_NO_CONFIG": "1",
    }
    uv, bin_ = Path(sys.executable).parent / "uv", tmp_path / "venv" / "bin"

    def run(*command: str | Path) -> str:
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    constraints = REPO / "constraints.txt"
    run(uv, "pip", "install", "--quiet", "--python", bin_ / "python", "--constraint", constraints, wheel)
    run(bin_ / "airflow", "db", "migrate")
    for conn_type, host in (("consentwebhook", "https://crm.example.com"), ("duckdb", "/data/warehouse.duckdb")):
        run(bin_ / "airflow", "connections", "add", f"a_{conn_type}", "--conn-type", conn_type, "--conn-host", host)

        assert conn_type in run(bin_ / "airflow", "connections", "get", f"a_{conn_type}", "--output", "plain")
