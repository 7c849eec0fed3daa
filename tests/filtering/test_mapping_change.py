"""A changed consent mapping is compared with that of the last run, as a changed policy is, and can stop the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from support.log_lines import task_fails, unwrapped
from support.permitting import snapshot_of

from airflow_consent_retl.consent import (
    BooleanColumn,
    ConsentObject,
    FirstOf,
    IntegrationsObject,
    Literals,
    MostRestrictive,
    OptOut,
    Recorded,
    RowConsent,
    parse_policy,
)
from airflow_consent_retl.operators import ConsentFilterOperator
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.location import policy_archive

ADS: dict[str, Any] = {"id": "C0004", "name": "Advertising", "destinations": ["ads"]}
POLICY: dict[str, Any] = {"unmapped_destinations": "deny", "categories": [ADS]}
OPT_OUT: dict[str, Any] = {**POLICY, "categories": [{**ADS, "regime": "opt_out"}]}
BY_REGION: dict[str, Any] = {
    **POLICY,
    "categories": [{**ADS, "regions": {"US": "opt_out"}}],
}
PEOPLE = 60
OWN = {"C0004": "ads_ok"}
OTHER = {"C0004": "other"}


def people(*, without: tuple[str, ...] = ()) -> pa.Table:
    """Half of the people say yes, in whichever column."""
    yes = [number % 2 == 0 for number in range(PEOPLE)]
    columns: dict[str, Any] = {
        "id": pa.array(range(PEOPLE), pa.int64()),
        "ads_ok": yes,
        "other": [True] * PEOPLE,
        "objected": [not one for one in yes],
        "word": ["yes" if one else "maybe" for one in yes],
        "signal": [not one for one in yes],
        "integrations": [json.dumps({"ads": one}) for one in yes],
        "country": ["US"] * PEOPLE,
        "state": ["US" if one else "DE" for one in yes],
        "silent": pa.array([None] * (PEOPLE - 1) + [True], pa.bool_()),
        "since": ["2020-01-01T00:00:00Z" if one else "2999-01-01T00:00:00Z" for one in yes],
        "doc": [json.dumps({"a": {"C0004": one}, "b": {"C0004": True}}) for one in yes],
        "partly": [json.dumps({"p": {"C0004": True} if one else {}}) for one in yes],
    }
    return pa.table({name: values for name, values in columns.items() if name not in without})


class Sync:
    """The filter of one model for one destination."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.workspace = path / "workspace"

    def run(self, consent: Any, policy: Any = POLICY, *, rows: pa.Table | None = None, **parameters: Any) -> int:
        """Return the number of people who are permitted."""
        number = len(list(self.path.glob("snapshot-*")))
        _, ref = snapshot_of(Folder.local(self.path / f"snapshot-{number}"), people() if rows is None else rows)
        output: dict[str, Any] = ConsentFilterOperator(
            task_id="consent",
            snapshot=ref.to_xcom(),
            policy=policy,
            consent=consent,
            destinations=["ads"],
            workspace=self.workspace.as_uri(),
            **parameters,
        ).execute({"ti": SimpleNamespace(dag_id="d", run_id="manual", task_id="consent", map_index=-1)})  # type: ignore[typeddict-item]
        return int(output["permitted"]["ads"])

    @property
    def entries(self) -> list[Path]:
        return sorted((self.workspace / "policies" / "customers" / "ads").iterdir())

    def lose_records(self) -> None:
        shutil.rmtree(self.workspace / "records")

    def as_an_earlier_release_left_it(self) -> None:
        self.lose_records()
        for entry in self.entries:
            document = json.loads(entry.read_bytes())
            entry.write_text(json.dumps({name: document[name] for name in ("digest", "since", "policy")}, indent=2))


@pytest.fixture
def sync(tmp_path: Path) -> Sync:
    return Sync(tmp_path)


RELEASES: dict[str, tuple[Any, Any, Any]] = {
    "another column": (OWN, OTHER, POLICY),
    "more granted words": (
        {"C0004": Literals("word", granted=["yes"], denied=["maybe"])},
        {"C0004": Literals("word", granted=["yes", "maybe"])},
        POLICY,
    ),
    "OptOut dropped": ({"C0004": OptOut("signal")}, {"C0004": "signal"}, POLICY),
    "FirstOf in place of MostRestrictive": (
        {"C0004": MostRestrictive(BooleanColumn("other"), BooleanColumn("ads_ok"))},
        {"C0004": FirstOf(BooleanColumn("other"), BooleanColumn("ads_ok"))},
        POLICY,
    ),
    "a stricter record dropped": (
        {"C0004": MostRestrictive(BooleanColumn("other"), BooleanColumn("ads_ok"))},
        {"C0004": MostRestrictive(BooleanColumn("other"), BooleanColumn("other"))},
        POLICY,
    ),
    "a validity dropped": ({"C0004": Recorded("other", valid_from="since")}, OTHER, POLICY),
    "no gpc": (RowConsent(OTHER, gpc="signal"), RowConsent(OTHER), POLICY),
    "no switches": (RowConsent(OTHER, switches=IntegrationsObject("integrations")), OTHER, POLICY),
    "another region": (
        RowConsent({"C0004": "silent"}, region="state"),
        RowConsent({"C0004": "silent"}, region="country"),
        BY_REGION,
    ),
    "another path": (ConsentObject("doc", path=("a",)), ConsentObject("doc", path=("b",)), POLICY),
    "a missing key is no more a no": (
        ConsentObject("partly", path=("p",), missing="denied"),
        ConsentObject("partly", path=("p",)),
        OPT_OUT,
    ),
}


@pytest.mark.parametrize(("before", "after", "policy"), RELEASES.values(), ids=RELEASES.keys())
def test_a_mapping_that_releases_too_many_stops_the_run_until_it_is_accepted(
    sync: Sync, before: Any, after: Any, policy: Any
) -> None:
    strict = sync.run(before, policy)
    for _ in range(2):
        with task_fails(match=r"the consent mapping changed, and max_released_ratio.*`ads`: \d\d of 60 rows are rel"):
            sync.run(after, policy)
    assert len(sync.entries) == 1

    loose = sync.run(after, policy, max_released_ratio=1)

    assert strict <= 31
    assert loose == sync.run(after, policy) >= 30
    assert sync.run(before, policy, max_released_ratio=1) == strict


HARMLESS: dict[str, tuple[Any, Any]] = {
    "another category": (OWN, {**OWN, "C0002": "other"}),
    "a category less": ({**OWN, "C0002": "other"}, OWN),
    "the same, written otherwise": (OWN, {"C0004": BooleanColumn("ads_ok")}),
    "a region that no regime needs": (OWN, RowConsent(OWN, region="state")),
    "a switch more": (OTHER, RowConsent(OTHER, switches=IntegrationsObject("integrations"))),
}


@pytest.mark.parametrize(("before", "after"), HARMLESS.values(), ids=HARMLESS.keys())
def test_a_mapping_that_releases_no_one_passes(sync: Sync, before: Any, after: Any) -> None:
    sync.run(before)

    assert sync.run(after, max_released_ratio=0.0) == PEOPLE / 2


def test_a_category_that_no_destination_requires_is_no_change(sync: Sync, capfd: pytest.CaptureFixture[str]) -> None:
    sync.run(OWN)
    sync.run({**OWN, "C0002": "other"}, max_released_ratio=0.0)
    sync.run({**OWN, "C0002": "other"}, max_released_ratio=0.0)

    assert "changed since the last run" not in capfd.readouterr().out
    assert len(sync.entries) == 2


def test_the_counts_of_a_changed_mapping_are_logged(sync: Sync, capfd: pytest.CaptureFixture[str]) -> None:
    sync.run(OWN)
    sync.run(OTHER, max_released_ratio=None)

    logged = unwrapped(capfd.readouterr().out)
    assert "the consent mapping changed since the last run" in logged
    assert "the policy changed" not in logged
    assert "ads 30 30 0 60" in " ".join(logged.split())


def test_a_mapping_whose_column_is_gone_cannot_be_compared(sync: Sync) -> None:
    sync.run(OWN)
    rows = people(without=("ads_ok",))

    for limit in ("default", 1.0):
        with task_fails(match=r"the consent mapping releases cannot be computed; set max_released_ratio to None"):
            sync.run(OTHER, rows=rows, max_released_ratio=limit)

    assert sync.run(OTHER, rows=rows, max_released_ratio=None) == PEOPLE
    assert sync.run(OTHER, rows=rows) == PEOPLE


def test_a_policy_and_a_mapping_that_change_together_are_compared_as_one(
    sync: Sync, capfd: pytest.CaptureFixture[str]
) -> None:
    def declaring(column: str) -> dict[str, Any]:
        models = {"customers": {"connection": "warehouse", "consent": {"C0004": column}}}
        return {**POLICY, "officer": {"models": models}}

    sync.run(None, declaring("ads_ok"))

    with task_fails(match=r"the policy with its consent mapping changed.*`ads`: 30 of 60 rows are released\. If"):
        sync.run(None, declaring("other"), max_released_ratio=0.49)

    assert sync.run(None, declaring("other"), max_released_ratio=0.5) == PEOPLE
    assert unwrapped(capfd.readouterr().out).count("changed since the last run") == 2


def test_a_mapping_moves_into_the_policy_and_releases_no_one(sync: Sync) -> None:
    sync.run(OWN)
    models = {"customers": {"connection": "warehouse", "consent": OWN}}

    assert sync.run(None, {**POLICY, "officer": {"models": models}}, max_released_ratio=0.0) == PEOPLE / 2


def test_a_history_of_an_earlier_release_is_read_and_the_next_run_records_its_mapping(sync: Sync) -> None:
    sync.run(OWN)
    sync.as_an_earlier_release_left_it()

    assert sync.run(OWN) == PEOPLE / 2

    sync.lose_records()
    with task_fails(match="the consent mapping changed"):
        sync.run(OTHER)


@pytest.mark.parametrize("lost", ["history", "restored history", "records"])
def test_a_mapping_is_compared_with_that_of_the_last_run_whichever_record_of_it_is_lost(sync: Sync, lost: str) -> None:
    sync.run(OTHER)
    sync.run(OWN)
    if lost == "records":
        sync.lose_records()
    else:
        for entry in sync.entries[-1:] if lost == "restored history" else sync.entries:
            entry.unlink()

    for _ in range(2):
        with task_fails(match=r"the consent mapping changed.*`ads`: 30 of 60 rows are released"):
            sync.run(OTHER)


def test_what_a_mapping_released_is_no_effect_of_the_policy(sync: Sync) -> None:
    named = {**POLICY, "categories": [{**ADS, "name": "Ads"}]}
    sync.run(OWN)
    sync.run(OTHER, max_released_ratio=1)
    sync.run(OTHER, named)

    archive = policy_archive()
    assert archive.effects(parse_policy(POLICY).digest) == []
    (effect,) = archive.effects(parse_policy(named).digest)
    assert effect.people == {"ads": (0, 0)}
