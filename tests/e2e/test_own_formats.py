"""A consent format of one's own goes the whole way: filter, load that asks again, next run, fast lane, report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.airflow_run import DAGS, Airflow, DagRunResult
from support.people import CANARY
from support.servers import Receiver

from airflow_consent_retl.reports import explain

POLICY: dict[str, Any] = {
    "categories": [
        {"id": "C0002", "name": "Analytics", "destinations": ["webhook"]},
        {"id": "C0004", "name": "Advertising", "destinations": ["webhook"]},
    ]
}
MEMBERS = {
    "yes": ("E+ P-", "C0002"),
    "yes again": ("P? E+", "C0002"),
    "no": ("E- P+", "C0002"),
    "open": ("E? P+", "C0002"),
    "silent": ("P+", "C0002"),
    "unreadable": ("E+P-", "C0002"),
    "said twice": ("E+ E-", "C0002"),
    "never asked": (None, "C0002"),
    "crossed out": ("E+ P+", "~C0002"),
    "stamped by another": ("E+ P+", "C0009"),
}


def id_of(name: str) -> str:
    return f"{CANARY}-{name}"


@pytest.fixture
def members(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(DAGS))
    monkeypatch.setenv("AIRFLOW_VAR_OWN", json.dumps(POLICY))
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("CREATE TABLE members (user_id VARCHAR, email VARCHAR, contact VARCHAR, stamp VARCHAR)")
        for name, flags in MEMBERS.items():
            row = [id_of(name), f"{CANARY}-{name}@example.com", *flags]
            connection.execute("INSERT INTO members VALUES (?, ?, ?, ?)", row)
    return warehouse


def say(warehouse: Path, name: str, contact: str) -> None:
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("UPDATE members SET contact = ? WHERE user_id = ?", [contact, id_of(name)])


def manifest_of(airflow: Airflow, run: DagRunResult) -> dict[str, Any]:
    """Return the manifest of the permitted sets."""
    reference = airflow.xcom(run, "members.consent")
    manifest: dict[str, Any] = json.loads(Path(str(reference["manifest"]).removeprefix("file://")).read_text())
    return manifest


def sent(vendor: Receiver) -> set[str]:
    return {row["id"] for row in vendor.applied_rows()}


def removed(vendor: Receiver) -> list[str]:
    return [row["id"] for rows in vendor.removed.values() for row in rows]


@pytest.mark.long
def test_own_formats_filter_load_and_take_back(airflow: Airflow, vendor: Receiver, members: Path) -> None:
    first = airflow.run("own_formats", module="own_formats")

    assert first.state == "success", first.output
    assert "asking connection `warehouse` for consent again" in first.output
    assert sent(vendor) == {id_of("yes"), id_of("yes again")}

    say(members, "yes", "E- P-")
    say(members, "open", "E+ P+")
    second = airflow.run("own_formats", module="own_formats")

    assert second.state == "success", second.output
    assert sent(vendor) >= {id_of("yes again"), id_of("open")}
    assert removed(vendor) == [id_of("yes")]

    say(members, "yes again", "E-")
    fast = airflow.run("own_formats_withdrawals", module="own_formats")

    assert fast.state == "success", fast.output
    assert removed(vendor) == [id_of("yes"), id_of("yes again")]
    assert CANARY not in first.output + second.output + fast.output


def test_a_withdrawal_between_filter_and_load_is_heard(airflow: Airflow, vendor: Receiver, members: Path) -> None:
    run = airflow.run("own_asked_again", module="own_formats")

    assert run.state == "success", run.output
    assert airflow.xcom(run, "consent")["permitted"] == {"webhook": 2}
    assert sent(vendor) == {id_of("yes again")}


@pytest.mark.long
def test_one_own_format_may_hold_all_categories(
    airflow: Airflow, vendor: Receiver, members: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_OWN", json.dumps({"categories": POLICY["categories"][:1]}))

    run = airflow.run("own_whole", module="own_formats")

    assert run.state == "success", run.output
    assert sent(vendor) == {id_of(name) for name, (_, stamp) in MEMBERS.items() if stamp == "C0002"}
    assert manifest_of(airflow, run)["consent"] == {"format": "e2e_own_formats:Stamped", "column": "stamp"}


def test_the_manifest_names_module_and_class_and_another_process_reads_it(
    airflow: Airflow, vendor: Receiver, members: Path
) -> None:
    document = manifest_of(airflow, airflow.run("own_formats", module="own_formats"))["consent"]
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from airflow_consent_retl.consent import "
        "parse_mapping_document as parse; print(parse(json.loads(sys.argv[2])).entries)"
    )

    flags = {"C0004": document["C0004"]}
    read = subprocess.run(
        [sys.executable, "-c", script, str(DAGS), json.dumps(flags)], check=True, capture_output=True, text=True
    )
    refused = subprocess.run(
        [sys.executable, "-c", script, str(DAGS.parent), json.dumps(flags)], capture_output=True, text=True, check=False
    )

    assert flags == {"C0004": {"format": "our_formats:ContactFlags", "column": "contact", "channel": "E"}}
    assert "ContactFlags(column='contact', channel='E')" in read.stdout
    assert "consent format `our_formats:ContactFlags`: module `our_formats` cannot be imported here" in refused.stderr


@pytest.mark.long
def test_a_report_explains_own_formats(airflow: Airflow, vendor: Receiver, members: Path) -> None:
    run = airflow.run("own_formats", module="own_formats")
    mapping = sys.modules["e2e_own_formats"].FLAGS

    told = explain(
        id_of("no"),
        snapshot=airflow.xcom(run, "members.extract"),
        policy=POLICY,
        consent=mapping,
        destinations=["webhook"],
    ).to_markdown()

    assert "| `contact` | ContactFlags | a declared no |" in told
    assert CANARY not in told
