"""People are forgotten everywhere: suppressed, removed at each destination, erased at rest, and reported by digest."""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.crm_sync import FIELDS, CrmSync
from support.log_lines import task_fails
from support.processes import run_program
from support.servers import Receiver, receiver, reset, says
from support.syncing import Recorder

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.errors import ConfigurationError, DestinationUnavailableError
from airflow_consent_retl.hooks.forgotten_list import suppression_list
from airflow_consent_retl.hooks.upkeep import syncs
from airflow_consent_retl.operators import ForgetOperator, LoadOperator, LoadToFilesOperator, LoadToWebhookOperator
from airflow_consent_retl.operators.forget import forget, lift
from airflow_consent_retl.reports import verify

LOADS: dict[str, Callable[..., LoadOperator]] = {}


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, 3, 4)
    return made


@pytest.fixture
def server(crm: CrmSync) -> Iterator[Receiver]:
    with receiver() as served:
        crm.connect("http", conn_type="http", host=served.url, extra={"allow_private": True})
        yield served


def to_webhook(**options: Any) -> Callable[..., LoadOperator]:
    return partial(LoadToWebhookOperator, conn_id="http", endpoint="/people", fields=FIELDS, max_attempts=1, **options)


def forgotten(crm: CrmSync, *ids: Any, **options: Any) -> dict[str, Any]:
    """Run the operator for some ids, and return the report of its request."""
    (report,) = ForgetOperator(
        task_id="forget",
        **{
            "ids": ids,
            "loads": {"crm": crm.load_of(), "webhook": to_webhook()},
            "workspace": crm.workspace,
            "settle_s": 0,
            **options,
        },
    ).execute({})
    return dict(report)


def at_rest(crm: CrmSync) -> list[Path]:
    return sorted(
        file for kind in ("snapshots", "permitted") for file in (crm.folder / kind).rglob("*") if is_rows(file)
    )


def is_rows(file: Path) -> bool:
    return file.suffix == ".parquet" and not file.name.startswith(("decisions", "signatures"))


def holding(crm: CrmSync, text: str) -> list[Path]:
    """Return the documents of the workspace in which a text can be read."""
    return [file for file in crm.folder.rglob("*.json") if text.encode() in file.read_bytes()]


def files_with(crm: CrmSync, person: int) -> list[str]:
    """Return the kind of each file of rows in the workspace that has a person's id."""
    found = []
    for file in crm.folder.rglob("*.parquet"):
        table = pq.ParquetFile(file).read()
        if "id" in table.schema.names and person in table["id"].to_pylist():
            found.append(file.name.partition("-")[0])
    return sorted(found)


def test_a_person_is_removed_at_every_destination_and_nothing_of_them_is_left_at_rest(
    crm: CrmSync, server: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    crm.sync()
    crm.sync(to_webhook(), destination="webhook")
    assert len(files_with(crm, 2)) == 6

    with caplog.at_level(logging.INFO):
        # Long, so that the random name of the request does not have it by chance.
        report = forgotten(crm, "2", "77007700")

    assert report["destinations"] == {
        "people/crm": {"deleted": 1, "not_found": 1},
        "people/webhook": {"deleted": 1, "not_found": 1},
    }
    assert report["statuses"] == {"deleted": 1, "not_found": 1}
    assert (report["people"], report["suppressed"], report["complete"]) == (2, 2, True)
    assert report["erased"] == {"snapshots": 2, "permitted": 2}
    assert crm.there() == [1, 3, 4]
    assert sorted(server.people) == [1, 3, 4]
    assert files_with(crm, 2) == []
    assert at_rest(crm) == []
    assert "u2@" not in caplog.text
    assert "77007700" not in json.dumps(report, default=str) + caplog.text


def test_the_next_run_goes_on_without_the_person(crm: CrmSync) -> None:
    crm.sync()
    forgotten(crm, 2)

    again = crm.sync()

    assert (again["denied_by_reason"], again["unchanged"], again["removed"]) == ({"forgotten": 1}, 3, 0)
    assert crm.there() == [1, 3, 4]


def test_a_second_run_finds_nothing_left_and_says_so(crm: CrmSync) -> None:
    crm.sync()
    first = forgotten(crm, 2)

    second = forgotten(crm, " 2")

    assert second["request"] == first["request"]
    assert (second["suppressed"], second["complete"]) == (0, True)
    assert second["destinations"] == {"people/crm": {"deleted": 1}}
    assert second["erased"] == first["erased"]
    assert ForgetOperator(task_id="again", workspace=crm.workspace).execute({}) == []


def test_rows_of_runs_without_the_person_stay(crm: CrmSync) -> None:
    crm.people(1, 3)
    crm.sync()
    kept = at_rest(crm)
    crm.people(1, 2, 3)
    crm.sync()

    forgotten(crm, 2)

    assert at_rest(crm) == kept


def test_an_objection_leaves_rows_at_rest(crm: CrmSync) -> None:
    crm.sync()
    kept = at_rest(crm)

    report = forgotten(crm, 2, erase=False)

    assert report["destinations"] == {"people/crm": {"opted_out": 1}}
    assert (report["erased"], report["complete"]) == ({"snapshots": 0, "permitted": 0}, True)
    assert at_rest(crm) == kept
    assert crm.there() == [1, 3, 4]


def test_a_destination_that_does_not_remove_is_reported_and_the_others_are_served(
    crm: CrmSync, server: Receiver
) -> None:
    crm.sync()
    crm.sync(to_webhook(), destination="webhook")
    server.answers = [says({"errors": [{"index": 0, "code": "locked"}]})]

    with task_fails(match="did not remove 1 of 1 people"):
        forgotten(crm, 2)

    assert crm.there() == [1, 3, 4]
    places = documents(crm)
    assert {sync: list(people) for sync, people in places.items()} == {
        "people/crm": ["deleted"],
        "people/webhook": ["not_confirmed"],
    }
    assert forgotten(crm, 2)["destinations"]["people/webhook"] == {"deleted": 1}
    assert sorted(server.people) == [1, 3, 4]


def documents(crm: CrmSync) -> dict[str, dict[str, list[str]]]:
    found = [json.loads(file.read_bytes()) for file in (crm.folder / "suppression" / "requests").glob("*/at-*.json")]
    return {one["sync"]: one["people"] for one in found if "sync" in one}


def test_an_unclear_answer_is_uncertain_and_the_next_try_resumes_without_ids(crm: CrmSync, server: Receiver) -> None:
    crm.sync(to_webhook(), destination="webhook")
    server.answers = [reset]

    with pytest.raises(DestinationUnavailableError):
        forgotten(crm, 2)
    assert list(documents(crm)["people/webhook"]) == ["uncertain"]

    (report,) = ForgetOperator(
        task_id="resume", loads={"webhook": to_webhook()}, workspace=crm.workspace, settle_s=0
    ).execute({})

    assert report["destinations"] == {"people/webhook": {"deleted": 1}}
    assert report["complete"]
    assert sorted(server.people) == [1, 3, 4]


def test_a_destination_without_a_load_is_named(crm: CrmSync) -> None:
    crm.sync()

    with task_fails(match="`people/crm`: 1 of these people are there, and `loads` has no"):
        forgotten(crm, 2, loads={})

    assert list(documents(crm)["people/crm"]) == ["not_served"]
    assert crm.sync()["removals_by_cause"] == {"forgotten": 1}
    assert forgotten(crm, 2, loads={})["destinations"] == {"people/crm": {"deleted": 1}}


class Memory(Recorder):
    """A destination that cannot remove people."""

    can_remove = False


class LoadToMemory(LoadOperator):
    """A load whose author accepts that no one can be removed."""

    def build_destination(self) -> Recorder:
        return Memory()


def test_a_destination_that_cannot_remove_is_a_result_of_its_own(crm: CrmSync) -> None:
    memory = partial(LoadToMemory, fields=FIELDS, accept_no_removal=True)
    crm.sync(memory)

    report = forgotten(crm, 2, loads={"crm": memory})

    assert report["destinations"] == {"people/crm": {"cannot_remove": 1}}
    assert report["complete"]
    (one,) = syncs(workspace=crm.workspace)
    assert one.current is not None
    assert one.current.rows == 4


def test_an_exempted_destination_keeps_the_person_with_its_reason(crm: CrmSync) -> None:
    crm.sync()

    report = forgotten(crm, 2, 9, exempt={"crm": "commercial law: ten years"})

    assert report["destinations"] == {"people/crm": {"exempted": 1, "not_found": 1}}
    assert crm.there() == [1, 2, 3, 4]
    assert holding(crm, "commercial law: ten years")


def test_an_export_is_written_anew_without_the_person(crm: CrmSync) -> None:
    export = partial(LoadToFilesOperator, path=(crm.path / "lake").as_uri(), fields=FIELDS, format="jsonl")
    crm.sync(export, destination="lake")

    report = forgotten(crm, 2, loads={"lake": export})

    assert report["destinations"] == {"people/lake": {"deleted": 1}}
    assert not [file for file in (crm.path / "lake").rglob("*.jsonl*") if b"u2@" in file.read_bytes()]


def test_only_some_models_may_forget(crm: CrmSync) -> None:
    crm.sync()
    crm.sync(model="leads", table="leads_of", destination="lake")

    report = forgotten(crm, 2, models=["people"])

    assert report["destinations"] == {"people/crm": {"deleted": 1}}
    assert crm.there("leads_of") == [1, 2, 3, 4]
    assert crm.sync(model="leads", table="leads_of", destination="lake")["unchanged"] == 4


def test_ids_come_from_a_file_or_a_query_too(crm: CrmSync, tmp_path: Path) -> None:
    crm.sync()
    (tmp_path / "ids.txt").write_text("\ufeff2\n\n  3 \r\n", "utf-8")

    assert forgotten(crm, ids=None, file=str(tmp_path / "ids.txt"))["people"] == 2
    by_query = forgotten(crm, ids=None, sql="SELECT id FROM people WHERE id IN (3, 4)", conn_id="source")

    assert (by_query["people"], by_query["suppressed"]) == (2, 1)
    assert crm.there() == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": ["1"], "file": "x"}, "ids and file: give the ids in one way"),
        ({"ids": [" "]}, "ids: there is no id"),
        ({"ids": None, "file": "/nowhere/ids.txt"}, "there is no such file"),
        ({"ids": None, "sql": "SELECT 1 AS id"}, "name its connection with conn_id"),
        ({"ids": ["1"], "loads": {"cmr": None}}, "no destination and no sync `cmr`, did you mean `crm`"),
        ({"ids": ["1"], "exempt": {"crm": " "}}, "needs a reason"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_done(
    crm: CrmSync, options: dict[str, Any], message: str
) -> None:
    crm.sync()

    with task_fails(match=message):
        forgotten(crm, **options)

    assert crm.sync()["unchanged"] == 4


def test_an_act_that_was_deleted_is_named_by_verify_and_stops_the_next_filter(crm: CrmSync) -> None:
    people = suppression_list(crm.workspace)
    people.forget(people.people(["1"]), models=None, by="test")
    assert {one.kind: one.changed_files for one in verify(workspace=crm.workspace)}["suppression_acts"] == ()
    (act,) = (crm.folder / "suppression" / "acts").glob("*.json")
    act.unlink()

    checked = {one.kind: one.changed_files for one in verify(workspace=crm.workspace)}
    assert checked["suppression_acts"] == (act.name,)
    with task_fails(match="someone deleted this proof"):
        crm.permitted()


def test_a_person_who_consents_anew_is_taken_off_the_list_and_that_is_kept(crm: CrmSync) -> None:
    crm.sync()
    forgotten(crm, 2)

    assert lift(ids=["2"], workspace=crm.workspace, by="privacy officer") == 1

    assert crm.sync()["added"] == 1
    assert crm.there() == [1, 2, 3, 4]
    assert len(holding(crm, "privacy officer")) == 1
    assert forgotten(crm, 2)["suppressed"] == 1
    assert crm.there() == [1, 3, 4]


def test_the_command_forgets_and_lifts(crm: CrmSync, capsys: pytest.CaptureFixture[str]) -> None:
    crm.sync()
    LOADS["crm"] = crm.load_of()
    sys.modules["loads_of_the_test"] = sys.modules[__name__]
    places = ["--workspace", crm.workspace]
    capsys.readouterr()

    assert main(["forget", "2", "--loads", "loads_of_the_test:LOADS", *places, "--json"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)[0]["destinations"] == {"people/crm": {"deleted": 1}}
    assert main(["forget", "--lift", "2", *places, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"lifted": 1}
    assert main(["forget", "2", "--loads", "nowhere:LOADS", *places]) == 2
    assert "is no `module:name` of a mapping" in capsys.readouterr().err


def test_the_function_tells_its_caller_what_is_wrong(crm: CrmSync) -> None:
    crm.sync()

    with pytest.raises(ConfigurationError, match="`loads` has no load for it"):
        forget(ids=[2], workspace=crm.workspace, by="privacy officer")

    assert holding(crm, "privacy officer")


# Ends its process at the nth time that the system is about to rename, or remove, a file of this kind.
_KILLED = """
import os, signal, sys
from functools import partial
from airflow_consent_retl.operators import LoadToSqlTableOperator
from airflow_consent_retl.operators.forget import forget

event, kind, times, workspace = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
seen = 0

def watch(name, arguments):
    global seen
    if name == event and kind in str(arguments[-2 if name == "os.remove" else 1]):
        seen += 1
        if seen == times:
            os.kill(os.getpid(), signal.SIGKILL)

load = partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields={"id": "id", "email": "email"}, settle_s=0)
sys.addaudithook(watch)
forget(ids=["2"], loads={"crm": load}, workspace=workspace, settle_s=0, lease_ttl_s=2)
"""
_STEPS = {
    "before the list": ("os.rename", "/acts/", 1),
    "before the removal is noted": ("os.rename", "/at-", 3),
    "between two files at rest": ("os.remove", ".parquet", 2),
}


@pytest.mark.parametrize("step", _STEPS)
def test_a_run_that_is_killed_is_resumed(crm: CrmSync, step: str) -> None:
    crm.sync()
    killed = run_program(_KILLED, *map(str, _STEPS[step]), crm.workspace, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    (report,) = ForgetOperator(
        task_id="resume", loads={"crm": crm.load_of()}, workspace=crm.workspace, settle_s=0
    ).execute({})

    assert report["destinations"] == {"people/crm": {"deleted": 1}}
    assert report["complete"]
    assert crm.there() == [1, 3, 4]
    assert at_rest(crm) == []
    assert files_with(crm, 2) == []
    assert crm.sync()["denied_by_reason"] == {"forgotten": 1}


def test_an_unfinished_delivery_to_a_forgotten_person_is_found(crm: CrmSync, server: Receiver) -> None:
    server.answers = [reset]
    with pytest.raises(DestinationUnavailableError):
        crm.sync(to_webhook(), destination="webhook")

    report = forgotten(crm, 2, loads={"webhook": to_webhook()})

    assert report["destinations"] == {"people/webhook": {"deleted": 1}}
    assert 2 not in server.people


def test_the_example_of_the_page_runs(crm: CrmSync, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", crm.workspace)
    crm.sync()
    crm.run_sql("CREATE TABLE erasure_requests (id)", "INSERT INTO erasure_requests VALUES (2), (4)", file="source.db")
    (example,) = re.findall(r"```python\n(.*?)```", (repo / "docs" / "forgetting.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}

    exec(example, names)  # noqa: S102 - the page's own code
    (report,) = names["forget"].execute({})

    assert report["destinations"] == {"people/crm": {"deleted": 2}}
    assert crm.there() == [1, 3]
