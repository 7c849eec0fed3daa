"""Temporary files lie in one private folder, and what a killed process leaves there is removed by the next one."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_consent_retl
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.temporary import private_folder, sweep_temporary, temporary_file, temporary_folder

KILLED = """
import os, signal
from pathlib import Path
from airflow_consent_retl.values.temporary import temporary_folder
with temporary_folder() as folder:
    Path(folder, "rows.arrow").write_bytes(b"rows of people")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"consent-retl-{os.getuid()}"


def killed(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED], check=False, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert ended.returncode == -9


def test_everything_lies_in_one_folder_that_only_its_user_can_read(temporary: Path) -> None:
    with temporary_folder() as folder, temporary_file():
        assert Path(folder).parent == temporary
        assert [oct(path.stat().st_mode & 0o777) for path in (temporary, Path(folder))] == ["0o700", "0o700"]
    assert list(temporary.iterdir()) == []


def test_the_next_temporary_folder_removes_what_a_killed_process_left(tmp_path: Path, temporary: Path) -> None:
    killed(tmp_path)
    assert list(temporary.rglob("rows.arrow"))

    with temporary_folder() as folder:
        assert {path.name for path in temporary.iterdir()} == {Path(folder).name, f"{Path(folder).name}.lock"}


def test_a_folder_that_is_in_use_is_never_swept(tmp_path: Path) -> None:
    killed(tmp_path)
    with temporary_folder() as folder:
        killed(tmp_path)

        assert sweep_temporary() == 1
        assert Path(folder).exists()


@pytest.mark.parametrize("mode", [0o777, 0o750])
def test_a_folder_that_others_can_read_is_refused(temporary: Path, mode: int) -> None:
    temporary.mkdir()
    temporary.chmod(mode)

    with pytest.raises(ConfigurationError, match="is not private"):
        private_folder()


def test_no_engine_writes_into_the_working_directory_what_exceeds_its_memory() -> None:
    package = Path(airflow_consent_retl.__file__).parent
    starting, without_a_place = 0, []
    for file in package.rglob("*.py"):
        text = file.read_text()
        if "duckdb.connect(" not in text:
            continue
        for function in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)):
            source = ast.get_source_segment(text, function) or ""
            if "duckdb.connect(" in source:
                starting += 1
                if "temp_directory" not in source:
                    without_a_place.append(f"{file.relative_to(package)}: {function.name}")

    assert without_a_place == []
    assert starting >= 4


def test_a_link_in_its_place_is_refused(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    temporary.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigurationError, match="is not private"):
        private_folder()
