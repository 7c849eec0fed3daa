"""Runs of DAGs through real Airflow, and everything that Airflow keeps of them."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import sqlite3
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.log_lines import lines_too_long, unwrapped

DAGS = Path(__file__).parents[1] / "e2e" / "dags"


@dataclass(frozen=True)
class DagRunResult:
    """One finished run: its state, each task's state, and all printed and logged text in its own lines."""

    dag_id: str
    run_id: str
    state: str
    tasks: dict[str, str]
    as_shown: str

    @property
    def output(self) -> str:
        """The text, in which no line ends only because it would be too long."""
        return unwrapped(self.as_shown)


@dataclass(frozen=True)
class Airflow:
    """The Airflow of the tests."""

    home: Path
    database: Path
    capture: pytest.CaptureFixture[str]

    def dag(self, dag_id: str, *, module: str = "pipelines") -> Any:
        """Load a DAG file of `e2e/dags` again, as a worker does for each task, and return one of its DAGs."""
        return getattr(_load(module), f"{dag_id}_dag")

    def run(self, dag_id: str, *, module: str = "pipelines") -> DagRunResult:
        """Run a DAG in its form under the present environment."""
        dag = self.dag(dag_id, module=module)
        log = io.StringIO()
        handler = logging.StreamHandler(log)
        logging.getLogger("airflow.task").addHandler(handler)
        try:
            with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
                warnings.simplefilter("ignore")
                patch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", self._bundle_of(dag_id, module))
                run = dag.test()
        finally:
            logging.getLogger("airflow.task").removeHandler(handler)
        printed = self.capture.readouterr()
        states = self.query("SELECT task_id, state FROM task_instance WHERE run_id = ?", run.run_id)
        shown = log.getvalue() + printed.out + printed.err
        # Airflow's pages do not wrap lines, whatever a test is about.
        assert lines_too_long(shown) == []
        return DagRunResult(dag_id, run.run_id, str(run.state), dict(states), shown)

    def _bundle_of(self, dag_id: str, module: str) -> str:
        """Return the configuration of a bundle of this DAG alone.

        Airflow parses and stores every DAG of the bundle at each run, which takes longer than a small run.
        """
        folder = self.home / "one_dag" / module
        folder.mkdir(parents=True, exist_ok=True)
        # Airflow keeps the name of the file.
        text = f"import sys  # for Airflow\n\ndag = sys.modules['e2e_{module}'].{dag_id}_dag\n"
        (folder / f"{module}.py").write_text(text)
        classpath = "airflow.dag_processing.bundles.local.LocalDagBundle"
        return json.dumps([{"name": "dags-folder", "classpath": classpath, "kwargs": {"path": str(folder)}}])

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def xcom(self, run: DagRunResult, task_id: str) -> Any:
        sql = "SELECT value FROM xcom WHERE run_id = ? AND task_id = ? AND key = 'return_value'"
        value = json.loads(self.query(sql, run.run_id, task_id)[0][0])
        return json.loads(value) if isinstance(value, str) else value

    def asset_events(self, run: DagRunResult) -> dict[str, Any]:
        """Return the extra of each asset event of a run, by the asset's name."""
        sql = "SELECT a.name, e.extra FROM asset_event e JOIN asset a ON a.id = e.asset_id WHERE e.source_run_id = ?"
        return {name: json.loads(extra) for name, extra in self.query(sql, run.run_id)}

    def everything_kept(self) -> Iterator[tuple[str, bytes]]:
        """Yield everything that Airflow keeps: its metadata database as SQL, and every file under its home."""
        with closing(sqlite3.connect(self.database)) as connection:
            yield "metadata database", "\n".join(connection.iterdump()).encode()
        for path in self.home.rglob("*"):
            if path.is_file():
                yield str(path.relative_to(self.home)), path.read_bytes()


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"e2e_{name}", DAGS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"e2e_{name}"] = module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module
