"""DAG files that Airflow cannot parse: each has the line of the file, and every line of its error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_consent_retl.compat import dag_bag
from airflow_consent_retl.operators.import_errors import ImportFailure, import_failures

HEAD = """from airflow.sdk import DAG
from airflow_consent_retl.operators import *
with DAG("d"):
"""
EXTRACT = """
    extract = ExtractModelOperator(task_id="extract", model="m", conn_id="w", sql="SELECT 1 AS id", primary_key="id")
"""
FILTER = """
    consent = ConsentFilterOperator(task_id="consent", snapshot=extract.output, destinations=["lake"])
"""
LOAD = """
    LoadToWebhookOperator(
        task_id="load", permitted=consent.output, destination="lake", fields={"id": "id"}, conn_id="w", endpoint="/x"
    )
"""
# Each with the line that fails and its error. The first two of the typical mistakes are known when a file is parsed.
MISTAKES = {
    "9_no_primary_key": (
        EXTRACT.replace(', primary_key="id"', ""),
        5,
        "TypeError: missing keyword argument 'primary_key'",
    ),
    "14_destination_twice": (
        EXTRACT + FILTER.replace('["lake"]', '["lake", "web", "lake", "web"]'),
        7,
        "the consent policy cannot be applied, 2 problems:\n"
        "destination `lake` is asked for twice @ destinations[2]\n"
        "destination `web` is asked for twice @ destinations[3]",
    ),
    "14_two_loads": (
        EXTRACT + FILTER + LOAD + LOAD.replace('"load"', '"again"'),
        13,
        "tasks `load` and `again` of DAG `d` load the same model to `lake`: they would be one sync. Give one of them a "
        "destination instance, such as `lake:second`, in the policy and the DAG",
    ),
    "a_parameter_that_is_none": (
        EXTRACT + FILTER + LOAD.replace("endpoint=", "answr=1, endpoint="),
        9,
        "TypeError: Invalid arguments were passed to LoadToWebhookOperator (task_id: load). Invalid arguments were:\n"
        "**kwargs: {'answr': 1}",
    ),
    "a_module_that_is_not_there": (
        "    import nothing_of_the_kind\n",
        4,
        "ModuleNotFoundError: No module named 'nothing_of_the_kind'",
    ),
    "no_python": ("    with DAG('d')\n", 4, "SyntaxError: expected ':'"),
    "an_error_after_another": (
        "    try:\n        open('/nowhere')\n    except OSError:\n        raise RuntimeError('no\\nfile')\n",
        7,
        "RuntimeError: no\nfile",
    ),
}


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImportFailure]:
    folder = tmp_path_factory.mktemp("dags")
    for name, (lines, _, _) in MISTAKES.items():
        (folder / f"{name}.py").write_text(HEAD + lines)
    return {Path(one.file).stem: one for one in import_failures(dag_bag(str(folder)))}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_has_the_line_of_the_file_and_its_whole_sentence(
    failures: dict[str, ImportFailure], name: str
) -> None:
    _, line, message = MISTAKES[name]

    assert failures[name].message == message
    assert failures[name].line == line


def test_without_tracebacks_the_sentence_is_all_that_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, _, message = MISTAKES["14_destination_twice"]
    monkeypatch.setenv("AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACKS", "False")
    (tmp_path / "dags.py").write_text(HEAD + lines)

    (failed,) = import_failures(dag_bag(str(tmp_path)))

    assert (failed.line, failed.place) == (None, "")
    assert failed.message == message


@pytest.mark.parametrize("depth", [None, "1"])
def test_the_deployments_own_depth_of_tracebacks_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: str | None
) -> None:
    name = "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH"
    monkeypatch.delenv(name, raising=False)
    if depth is not None:
        monkeypatch.setenv(name, depth)

    dag_bag(str(tmp_path))

    assert os.environ.get(name) == depth
