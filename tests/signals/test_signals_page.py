"""The page on signals: its examples run, and its tables name what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import airflow_consent_retl.signals
from airflow_consent_retl import notifications
from airflow_consent_retl.notifications import Condition
from airflow_consent_retl.signals.metrics import COUNTERS
from airflow_consent_retl.signals.outcome import SyncOutcome
from airflow_consent_retl.signals.outcome_facet import KEY, SCHEMA

FACET = "ConsentRetlOutcomeRunFacet"


@pytest.fixture(scope="module")
def page(repo: Path) -> str:
    return (repo / "docs" / "signals.md").read_text()


def example(page: str, number: int) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": __name__}
    exec(re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[number], names)  # noqa: S102 - our page
    return names


def test_the_example_is_a_dag_whose_tasks_have_the_notifier(page: str) -> None:
    names = example(page, 0)

    assert names["dag"].task_ids == ["extract", "consent", "load"]
    assert all(task.on_failure_callback == [names["tell"]] for task in names["dag"].tasks)


def test_the_example_of_an_own_condition_answers(page: str) -> None:
    condition = example(page, 1)["DeniedOver"](share=0.5)
    outcome = SyncOutcome(stage="filter", model="m", destination="d", numbers={"read": 10, "permitted": 4, "denied": 6})

    assert condition.found(outcome) == "6 of 10 rows were denied"


def test_the_page_names_each_condition_and_each_metric(page: str) -> None:
    offered = {name for name, value in vars(notifications).items() if isinstance(value, type)}
    conditions = {name for name in offered if issubclass(getattr(notifications, name), Condition)} - {"Condition"}
    listed = "\n".join(line for line in page.splitlines() if line.startswith("|"))

    assert {name for name in conditions if f"`{name}(" not in listed} == set()
    assert {name for name in COUNTERS if f"`{name}`" not in listed} == set()


def test_the_facet_names_the_schema_that_the_package_has(page: str) -> None:
    document = json.loads((Path(airflow_consent_retl.signals.__path__[0]) / f"{FACET}.json").read_text())

    assert f"{document['$id']}#/$defs/{FACET}" == SCHEMA
    assert list(document["properties"]) == [KEY]
    assert KEY in page
