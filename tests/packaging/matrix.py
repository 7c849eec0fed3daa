"""The light part of the tests on each supported Python and Airflow: `make matrix`.

It uses the Pythons that this machine has, and names the ones that it lacks. Each combination gets an environment of its
own below `build/matrix`. It ends with 1 if a combination failed, or if none could run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
CONSTRAINTS = ("constraints.txt", "constraints-3.1.8.txt")
# No database server, no vendor's client, no Airflow process.
TESTS = ("consent", "values", "storage", "migration", "changes", "test_imports.py", "test_provider_info.py")


def found(version: str) -> str | None:
    """Return an interpreter of this version that runs, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    for candidate in (f"python{version}", *map(str, sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True))):
        try:
            asked = subprocess.run(
                [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError:
            continue
        if asked.stdout.strip() == version:
            return candidate
    return None


def run(uv: str, interpreter: str, constraints: str, place: Path) -> str:
    """Make the environment, run the tests in it, and return what came of it."""
    environment = {**os.environ, "UV_NO_CONFIG": "1"}
    python = str(place / "bin" / "python")
    install = [uv, "pip", "install", "--quiet", "--python", python, "--constraint", constraints]
    steps = {
        "no environment": [uv, "venv", "--quiet", "--allow-existing", "--python", interpreter, str(place)],
        "not installable": [*install, "--editable", ".[all]", "--group", "dev"],
        "failed": [
            python,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-m",
            "not long",
            *(f"tests/{name}" for name in TESTS),
        ],
    }
    for failure, command in steps.items():
        if subprocess.run(command, cwd=REPO, env=environment, check=False).returncode != 0:
            return failure
    return "passed"


def main(uv: str) -> int:
    """Run every combination, print a table, and return the exit code."""
    results: dict[str, str] = {}
    for version in PYTHONS:
        interpreter = found(version)
        for constraints in CONSTRAINTS:
            name = f"Python {version}, {constraints}"
            if interpreter is None:
                results[name] = "not run: this machine has no such Python"
                continue
            place = REPO / "build" / "matrix" / f"{version}-{constraints.removesuffix('.txt')}"
            results[name] = run(uv, interpreter, constraints, place)
            sys.stdout.write(f"{name}: {results[name]}\n")
    sys.stdout.write("\n" + "\n".join(f"{name:40} {result}" for name, result in results.items()) + "\n")
    ran = [result for result in results.values() if not result.startswith("not run")]
    return 0 if ran and all(result == "passed" for result in ran) else 1


if __name__ == "__main__":
    sys.exit(main(str(Path(sys.argv[1]).absolute())))
