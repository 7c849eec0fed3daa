"""A load sends what a filter permitted under the policy as it is now, and fails in a way that tells no secret."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa
import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.execution_time.context import OutletEventAccessors
from support.log_lines import task_fails
from support.permitting import (
    CONSENT,
    DESTINATIONS,
    POLICY,
    customers,
    snapshot_of,
    warehouse_with,
)

from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError, PermanentError, SyncBusyError
from airflow_consent_retl.operators import ConsentFilterOperator, LoadOperator, destination_asset
from airflow_consent_retl.storage.folder import Folder

FIELDS = {"id": "id", "mail": "email"}
Answer = Callable[[Batch], Outcomes]


def accept(batch: Batch) -> Outcomes:
    return Outcomes.accepted(batch.rows.num_rows)


class MemoryDestination(Destination):
    """Keeps what it is sent."""

    can_remove = True

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.sent: list[dict[str, Any]] = []
        self.removed: list[dict[str, Any]] = []

    @property
    def limits(self) -> Limits:
        return Limits(batch_rows=10)

    def open(self, load: Load) -> None:
        self.opened = load

    def send(self, batch: Batch) -> Outcomes:
        self.sent.extend(batch.rows.to_pylist())
        return self.answer(batch)

    def remove(self, batch: Batch) -> Outcomes:
        self.removed.extend(batch.rows.to_pylist())
        return accept(batch)


@pytest.fixture(autouse=True)
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model's source, which every load asks for consent again."""
    return warehouse_with(tmp_path, monkeypatch)


class LoadToMemory(LoadOperator):
    """Loads into memory."""

    def __init__(self, *, answer: Answer = accept, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kept = MemoryDestination(answer)

    def build_destination(self) -> Destination:
        return self.kept


def permitted(tmp_path: Path, *, policy: Any = POLICY, rows: pa.Table | None = None) -> dict[str, Any]:
    folder = Folder.local(tmp_path / f"snapshot-{uuid.uuid4().hex}")
    _, ref = snapshot_of(folder, customers() if rows is None else rows)
    output: dict[str, Any] = ConsentFilterOperator(
        task_id="consent",
        snapshot=ref.to_xcom(),
        policy=policy,
        consent=CONSENT,
        destinations=[*DESTINATIONS, "printer"],
        workspace=f"file://{tmp_path}/workspace",
    ).execute({})
    return output


def loading(output: Any, *, destination: str = "lake", policy: Any = POLICY, **parameters: Any) -> LoadToMemory:
    return LoadToMemory(
        **{
            "task_id": "load",
            "permitted": output,
            "destination": destination,
            "fields": FIELDS,
            "policy": policy,
            **parameters,
        }
    )


def failure(operator: LoadOperator) -> str:
    with task_fails() as failed:
        operator.execute({})
    return str(failed.value)


def test_exactly_the_permitted_rows_are_sent_with_the_destinations_field_names(tmp_path: Path) -> None:
    load = loading(permitted(tmp_path))

    counts = load.execute({})

    assert load.kept.sent == [{"id": 1, "mail": "a@example.com"}, {"id": 3, "mail": "c@example.com"}]
    numbers = {
        name: counts[name] for name in ("read", "permitted", "denied", "accepted", "rejected", "uncertain", "unsent")
    }
    assert numbers == {
        "read": 5,
        "permitted": 2,
        "denied": 3,
        "accepted": 2,
        "rejected": 0,
        "uncertain": 0,
        "unsent": 0,
    }
    assert counts["denied_by_reason"] == {"C0002:denied": 2, "C0002:unknown": 1}
    assert "example.com" not in json.dumps(counts)


def test_the_event_of_the_destinations_asset_carries_the_counts(tmp_path: Path) -> None:
    load = loading(permitted(tmp_path))
    events = OutletEventAccessors()

    counts = load.execute(cast("Any", {"outlet_events": events}))

    (asset,) = cast("list[Asset]", load.outlets)
    assert asset == destination_asset("lake") == Asset("consent_retl/lake")
    assert events[asset].extra == counts


@pytest.mark.parametrize("destination", ["google_ads", "google_ads:emea"])
def test_each_instance_of_a_destination_is_an_asset_whose_name_alone_finds_it(destination: str) -> None:
    (asset,) = cast("list[Asset]", loading({}, destination=destination).outlets)

    # Airflow takes an asset of the same name with another URI for another one.
    assert (asset.name, asset.uri) == (f"consent_retl/{destination}",) * 2


# The policy


def test_a_policy_written_in_the_dag_is_taken_over_from_the_filter() -> None:
    with DAG("d"):
        upstream = ConsentFilterOperator(
            task_id="consent", snapshot={}, policy=POLICY, consent=CONSENT, destinations=["lake"]
        )
        load = LoadToMemory(task_id="load", permitted=upstream.output, destination="lake", fields=FIELDS)

    assert load.policy == POLICY
    assert load.upstream_task_ids == {"consent"}


def test_a_policy_that_is_read_from_elsewhere_is_left_to_the_filters_own_word() -> None:
    with DAG("d"):
        upstream = ConsentFilterOperator(
            task_id="consent", snapshot={}, policy="variable:x", consent=CONSENT, destinations=["lake"]
        )
        load = LoadToMemory(task_id="load", permitted=upstream.output, destination="lake", fields=FIELDS)

    assert load.policy is None


def test_a_policy_written_in_a_dag_that_the_load_does_not_know_is_asked_for(tmp_path: Path) -> None:
    message = failure(loading(permitted(tmp_path), policy=None))

    assert message == "the filter's policy is written in its DAG: pass the same document as policy=…"


def test_a_policy_is_read_again_from_where_the_filter_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT", json.dumps(POLICY))
    output = permitted(tmp_path, policy="variable:consent")

    assert loading(output, policy=None).execute({})["accepted"] == 2

    monkeypatch.setenv("AIRFLOW_VAR_CONSENT", json.dumps({**POLICY, "unmapped_destinations": "deny"}))
    unasked = loading(output, policy=None, recheck_interval_s=None)
    assert "the policy changed since consent was decided for `lake`" in failure(unasked)


STRICTER: dict[str, Any] = {
    "categories": [
        {"id": "C0002", "name": "Analytics", "destinations": ["lake", "webhook"]},
        {"id": "C0004", "name": "Advertising", "destinations": ["ads", "webhook", "lake"]},
    ]
}
LOOSER: dict[str, Any] = {
    "categories": [
        {"id": "C0002", "name": "Analytics", "destinations": ["webhook"]},
        {"id": "C0004", "name": "Advertising", "destinations": ["ads", "webhook"]},
    ],
    "destinations": {"lake": {"consent": "not_required", "reason": "own store"}},
}


def loading_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], **parameters: Any
) -> LoadToMemory:
    """Filter under the policy in a Variable, change the Variable, and return the load."""
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT", json.dumps(POLICY))
    output = permitted(tmp_path, policy="variable:consent")
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT", json.dumps(changed))
    return loading(output, policy="variable:consent", **parameters)


def test_a_policy_that_got_stricter_since_the_filter_applies_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = loading_after(tmp_path, monkeypatch, STRICTER)

    counts = load.execute({})

    assert [row["id"] for row in load.kept.sent] == [1]
    assert (counts["permitted"], counts["accepted"], counts["withheld"]) == (2, 1, 1)


def test_a_policy_that_got_looser_needs_another_filter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    load = loading_after(tmp_path, monkeypatch, LOOSER)

    load.execute({})

    assert [row["id"] for row in load.kept.sent] == [1, 3]
    assert "that it newly permits are sent after the next filter" in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize("recheck_interval_s", [300, None])
@pytest.mark.parametrize(
    ("decided", "loaded", "message"),
    [
        ("variable:consent", "variable:loose", "decided under `variable:consent`, and this task has `variable:loose`"),
        ("variable:consent", LOOSER, "decided under `variable:consent`, and this task has a document of its own"),
        (POLICY, "variable:loose", "decided under a document of its own, and this task has `variable:loose`"),
        (POLICY, LOOSER, "the policy changed since consent was decided: run the filter again"),
    ],
)
def test_the_policy_of_the_load_is_never_another_one_than_the_filters(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    warehouse: Path,
    decided: Any,
    loaded: Any,
    message: str,
    recheck_interval_s: float | None,
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT", json.dumps(POLICY))
    monkeypatch.setenv("AIRFLOW_VAR_LOOSE", json.dumps(LOOSER))
    load = loading(permitted(tmp_path, policy=decided), policy=loaded, recheck_interval_s=recheck_interval_s)
    withdraw(warehouse, 1, 3)

    assert message in failure(load)
    assert load.kept.sent == []


# Consent asked again


def withdraw(warehouse: Path, *ids: int) -> None:
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("UPDATE customers SET analytics_ok = FALSE WHERE id IN ?", [list(ids)])


def test_who_withdrew_after_the_filter_is_not_sent(tmp_path: Path, warehouse: Path) -> None:
    load = loading(permitted(tmp_path))
    withdraw(warehouse, 3)

    counts = load.execute({})

    assert [row["id"] for row in load.kept.sent] == [1]
    assert (counts["accepted"], counts["withheld"], counts["unsent"]) == (1, 1, 0)


def test_who_withdrew_is_removed_by_the_next_run(tmp_path: Path, warehouse: Path) -> None:
    loading(permitted(tmp_path)).execute({})
    withdraw(warehouse, 3)
    second = loading(permitted(tmp_path, rows=customers().slice(0, 2)), max_removed_ratio=None)

    counts = second.execute({})

    assert (second.kept.sent, second.kept.removed) == ([], [{"id": 3}])
    assert (counts["unchanged"], counts["removed"], counts["not_removed"]) == (1, 1, 0)


def test_a_source_that_cannot_be_asked_again_stops_the_load(tmp_path: Path, warehouse: Path) -> None:
    load = loading(permitted(tmp_path))
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("ALTER TABLE customers RENAME COLUMN analytics_ok TO consent_to_analytics")

    assert "analytics_ok" in failure(load)
    assert load.kept.sent == []


def test_without_asking_again_an_old_decision_is_refused(tmp_path: Path) -> None:
    output = permitted(tmp_path)

    assert "max_age_s is 0: run the filter again" in failure(loading(output, max_age_s=0, recheck_interval_s=None))
    assert loading(output, max_age_s=0).execute({})["accepted"] == 2


def test_a_second_try_finds_nothing_left_to_send(tmp_path: Path) -> None:
    output = permitted(tmp_path)
    loading(output).execute({})

    again = loading(output)
    counts = again.execute({})

    assert again.kept.sent == []
    assert (counts["permitted"], counts["unchanged"], counts["accepted"]) == (2, 2, 0)


def test_two_destinations_of_one_model_are_two_syncs(tmp_path: Path) -> None:
    output = permitted(tmp_path)

    counts = [loading(output, destination=name).execute({})["accepted"] for name in ("lake", "ads", "webhook")]

    assert counts == [2, 2, 1]


def test_a_sync_under_way_is_waited_for_and_then_left_to_airflow_to_retry(tmp_path: Path) -> None:
    output = permitted(tmp_path)
    with (
        Ledger.sqlite(tmp_path / "workspace" / "ledger.db") as ledger,
        ledger.acquire(sync_name("customers", "lake"), holder="another task", ttl_s=60),
        pytest.raises(SyncBusyError, match="is being loaded by `another task`"),
    ):
        loading(output, lease_wait_s=0.1).execute({})


def test_a_ledger_that_is_no_database_of_that_kind_is_refused(tmp_path: Path) -> None:
    message = failure(loading(permitted(tmp_path), ledger_conn_id="warehouse"))

    assert message == "connection `warehouse` is of type `duckdb`: a ledger needs PostgreSQL"


def test_a_policy_that_is_broken_by_now_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT", json.dumps(POLICY))
    output = permitted(tmp_path, policy="variable:consent")
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT", "{}")

    load = loading(output, policy=None)

    assert "the consent policy cannot be applied" in failure(load)
    assert load.kept.sent == []


# Refusals


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"destination": "Lake"}, "was not made for destination `Lake`, did you mean `lake`?"),
        ({"fields": {"id": "ID"}}, "column `ID` is not in the model, did you mean `id`?"),
        ({"fields": {}}, "expected at least one mapped field"),
        ({"policy": "variable:"}, "policy: the filter decided under a document of its own, and this task has"),
    ],
)
def test_what_is_not_permitted_is_refused_before_anything_is_sent(
    tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    load = loading(permitted(tmp_path), **parameters)

    assert message in failure(load)
    assert load.kept.sent == []


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    output = permitted(tmp_path)
    for path in (tmp_path / "workspace" / "permitted").rglob("group-*.parquet"):
        path.write_bytes(path.read_bytes() + b"\0")

    assert "its manifest says" in failure(loading(output))


def test_the_output_of_an_extraction_is_refused(tmp_path: Path) -> None:
    _, ref = snapshot_of(Folder.local(tmp_path), customers())

    message = failure(loading(ref.to_xcom()))

    assert message == "expected a reference to a permitted manifest, got one to a snapshot manifest"


# Failures


class DriverError(Exception):
    """What a driver raises, with the row in its message."""


def raising(error: PermanentError | DestinationUnavailableError) -> Answer:
    def answer(batch: Batch) -> Outcomes:
        try:
            raise DriverError(f"duplicate key: {batch.rows.to_pylist()}")
        except DriverError:
            raise error from None

    return answer


def chained(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *chained(error.__cause__), *chained(error.__context__)]


def test_a_permanent_error_is_not_retried_and_brings_no_drivers_message(tmp_path: Path) -> None:
    load = loading(permitted(tmp_path), answer=raising(DestinationError("the table refuses the rows")))

    with task_fails() as failed:
        load.execute({})

    assert str(failed.value) == "the table refuses the rows"
    assert chained(failed.value) == [failed.value]


def test_a_transient_error_is_left_to_airflow_to_retry(tmp_path: Path) -> None:
    error = DestinationUnavailableError("503", retry_after_s=30)
    load = loading(permitted(tmp_path), answer=raising(error))

    with pytest.raises(DestinationUnavailableError) as failed:
        load.execute({})

    assert failed.value is error
    assert failed.value.__suppress_context__


def test_rejected_rows_beyond_the_ratio_fail_the_task_and_up_to_it_are_counted(tmp_path: Path) -> None:
    output = permitted(tmp_path)

    def reject(batch: Batch) -> Outcomes:
        return Outcomes.rejected(batch.rows.num_rows, "invalid_email")

    assert "`lake` rejected 2 of 2 rows so far" in failure(loading(output, answer=reject))
    counts = loading(output, answer=reject, max_rejected_ratio=1.0).execute({})
    assert (counts["rejected"], counts["not_accepted_by_code"]) == (2, {"rejected:invalid_email": 2})


def test_the_log_tells_the_counts_also_of_a_load_that_failed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = permitted(tmp_path)

    failure(loading(output, answer=lambda batch: Outcomes.rejected(2, "invalid_email")))

    log = capfd.readouterr().out

    assert "load of model `customers`" in log
    assert "rejected:invalid_email 2" in log
    assert "example.com" not in log


def test_a_destination_that_is_mapped_to_nothing_is_loaded_with_a_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    counts = loading(permitted(tmp_path), destination="printer").execute({})

    warnings = "\n".join(line for line in capfd.readouterr().out.splitlines() if "warning" in line.lower())
    assert "`printer` is mapped to no consent category and receives every row" in warnings
    assert counts["accepted"] == 5
