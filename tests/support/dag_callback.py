"""The callback of a DAG as Airflow calls it in production: by a real DAG processor, in a process of its own."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from airflow.callbacks.database_callback_sink import DatabaseCallbackSink
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy.orm import Session
from support.airflow_run import DAGS, Airflow, DagRunResult


def call_back(airflow: Airflow, run: DagRunResult, *, module: str, folder: Path) -> str:
    """Have the DAG processor call what a DAG has for the end of a run, and return what it prints.

    Args:
        airflow: with the run in its database, which is copied.
        run: that ended.
        module: the DAG's file in `e2e/dags`.
        folder: an empty folder.
    """
    dags, database = folder / "dags", folder / "airflow.db"
    dags.mkdir(parents=True)
    shutil.copy(DAGS / f"{module}.py", dags)
    with create_session() as session:
        found = session.scalars(sa.select(DagRun).where(DagRun.run_id == run.run_id)).one()
        failed = next((one for one in found.get_task_instances(session=session) if one.state == "failed"), None)
        is_success = run.state == "success"
        request = found.produce_dag_callback(
            dag=airflow.dag(run.dag_id, module=module),
            success=is_success,
            relevant_ti=failed or found.get_task_instances(session=session)[-1],
            reason="success" if is_success else "task_failure",
            execute=False,
        )
    assert request is not None
    with closing(sqlite3.connect(airflow.database)) as source, closing(sqlite3.connect(database)) as copy:
        source.backup(copy)
    engine = sa.create_engine(f"sqlite:///{database}")
    with Session(engine) as session:
        DatabaseCallbackSink().send(request, session=session)
        session.commit()
    engine.dispose()
    environment = {
        **os.environ,
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
        "AIRFLOW__LOGGING__DAG_PROCESSOR_LOG_TARGET": "stdout",
        # The callback is fetched after the first parse of the file, and called in the second one.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "0",
    }
    command = [sys.executable, "-W", "ignore", "-m", "airflow", "dag-processor", "--num-runs", "2"]
    ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120)
    return ended.stdout + ended.stderr
