"""The start of a task: it loads the libraries that its own work needs, and no others."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk import Context
from support.forks import forks

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator
from airflow_consent_retl.operators.garbage import is_frozen_by_others

# One task, in a process of its own. Its output is read by the next one.
TASK = """
import json, sys
import pytest
from pathlib import Path
from support.crm_sync import POLICY, CrmSync

task, place, output = sys.argv[1:]
with pytest.MonkeyPatch.context() as patch:
    patch.setenv("AIRFLOW__CONSENT_RETL__ALLOW_DAG_POLICIES", "True")
    sync = CrmSync(Path(place), patch)
    if task == "extract":
        sync.people(1, 2, no=(3,))
        returned = sync.extracted()
    elif task == "filter":
        returned = sync.decided(json.loads(Path(output).read_text()))
    else:
        permitted = json.loads(Path(output).read_text())
        load = sync.load_of()(
            task_id="load", permitted=permitted, destination="crm", policy=POLICY, workspace=sync.workspace
        )
        returned = load.execute({})
Path(output).write_text(json.dumps(returned))
print(*{name.partition(".")[0] for name in sys.modules})
print(*(name for name in sys.modules if name.startswith("airflow_consent_retl.")))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[set[str], set[str]]]:
    """The projects, and the modules of this package, that each task has loaded at its end."""
    place = tmp_path_factory.mktemp("start")
    found = {}
    with forks("import airflow.sdk, pytest") as run:
        for task in ("extract", "filter", "load"):
            projects, modules = run(TASK, task, str(place), str(place / "output.json")).splitlines()[-2:]
            found[task] = (set(projects.split()), {one.partition(".")[2] for one in modules.split()})
    return found


@pytest.mark.parametrize(
    ("task", "projects"),
    [
        ("extract", {"duckdb", "ibis", "rapidfuzz", "sqlglot"}),
        ("filter", {"duckdb", "ibis", "rapidfuzz", "sqlglot"}),
        ("load", {"ibis", "rapidfuzz", "sqlglot"}),
    ],
)
def test_a_task_loads_no_library_that_it_does_not_need(
    loaded: dict[str, tuple[set[str], set[str]]], task: str, projects: set[str]
) -> None:
    assert loaded[task][0] & projects == set()
    assert "pyarrow" in loaded[task][0]


@pytest.mark.parametrize(
    ("task", "modules"),
    [
        ("extract", {"filtering.files", "filtering.decision_records", "changes.store", "delivery.run"}),
        ("filter", {"changes.store", "consent.formats.gpp", "consent.formats.didomi", "extraction.reading"}),
        ("load", {"filtering.decision_files", "workspace.file_filter_run", "consent.formats.gpp", "extraction.files"}),
    ],
)
def test_a_task_loads_no_stage_that_is_not_its_own(
    loaded: dict[str, tuple[set[str], set[str]]], task: str, modules: set[str]
) -> None:
    assert loaded[task][1] & modules == set()


@pytest.fixture
def not_frozen() -> Iterator[None]:
    """Have nothing left out, as in a new process; the tests leave out what they keep."""
    gc.unfreeze()
    is_frozen_by_others.cache_clear()
    yield
    gc.freeze()
    is_frozen_by_others.cache_clear()


class Looking(ConsentRetlOperator):
    """Returns the number of objects that the garbage collector leaves out while a task works."""

    def run(self, context: Context) -> Any:
        if self.task_id == "fails":
            raise ConfigurationError("no")
        return gc.get_freeze_count()


@pytest.mark.usefixtures("not_frozen")
def test_the_garbage_collector_leaves_out_what_was_there_before_a_task() -> None:
    assert Looking(task_id="looks").execute({}) > 1000
    assert gc.get_freeze_count() == 0


@pytest.mark.usefixtures("not_frozen")
def test_the_garbage_collector_looks_at_everything_again_after_a_failure() -> None:
    with pytest.raises(Exception, match="no"):
        Looking(task_id="fails").execute({})

    assert gc.get_freeze_count() == 0


def test_what_a_process_has_frozen_before_a_task_stays_frozen_and_nothing_else() -> None:
    gc.freeze()
    before = gc.get_freeze_count()

    # Those whose last reference goes are freed all the same.
    assert 0 < Looking(task_id="looks").execute({}) <= before
    assert 0 < gc.get_freeze_count() <= before
