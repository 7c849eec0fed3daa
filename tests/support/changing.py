"""Permitted sets, changes and delivered states for the tests, made by the package itself on real files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
from support.permitting import AT, KEY, filter_rows, plan_for, snapshot_of, verify

from airflow_consent_retl.changes.computing import compute_changes
from airflow_consent_retl.changes.fold import Folding
from airflow_consent_retl.changes.results import BatchResult
from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.filtering.permitted_files import FilePermittedRows
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.decision_log import SubjectKey
from airflow_consent_retl.storage.delivered import DeliveredState
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.sync_mode import SyncMode
from airflow_consent_retl.values.keys import find_duplicate_ids

SYNC = "customers/crm"
POLICY: dict[str, Any] = {
    "unmapped_destinations": "deny",
    "categories": [{"id": "C0004", "name": "Advertising", "destinations": ["crm"]}],
}
UNMAPPED: dict[str, Any] = {
    "unmapped_destinations": "deny",
    "categories": [{"id": "C0004", "name": "Advertising", "destinations": ["elsewhere"]}],
}
FIELDS = {"mail": "email", "phone": "phone", "name": "name"}


class KnowsBy(Destination):
    """A destination that removes people by some of its fields."""

    can_remove = True

    def __init__(self, *names: str) -> None:
        self._names = names

    @property
    def limits(self) -> Limits:
        return Limits(batch_rows=1)

    def open(self, load: Load) -> None:
        """Nothing is behind it."""

    def send(self, batch: Batch) -> Outcomes:
        return Outcomes.accepted(batch.rows.num_rows)

    def removal_schema(self, load: Load) -> pa.Schema:
        return (
            pa.schema([load.schema.field(name) for name in self._names])
            if self._names
            else super().removal_schema(load)
        )


class CannotRemove(KnowsBy):
    """A destination that cannot remove people."""

    can_remove = False


BY_MAIL = KnowsBy("mail", "phone")
BY_ID = KnowsBy()


@dataclass(frozen=True)
class Sync:
    """One sync in its own folder; every step makes a new object."""

    path: Path
    fields: Mapping[str, str]
    destination: Destination
    state: DeliveredState | None = None
    mode: SyncMode = SyncMode.MIRROR
    policy: Mapping[str, Any] | None = None
    key: SubjectKey = KEY
    at: datetime = AT
    # As a sync in files; in a warehouse, the permitted rows that were compared are gone afterwards.
    leaves_rows: bool = True

    def with_(self, **changed: Any) -> Sync:
        return replace(self, **changed)

    def permitted(self, rows: pa.Table, *, destinations: Sequence[str] = ("crm",)) -> FilePermittedRows:
        """Filter rows with columns `id`, `ads_ok` and more."""
        base = new_folder(self.path)
        snapshot, _ = snapshot_of(base / "snapshot", rows)
        plan = plan_for(snapshot, self.policy or POLICY, consent={"C0004": "ads_ok"}, destinations=destinations)
        found, _ = find_duplicate_ids(lambda: rows.select(["id"]).to_batches())
        duplicates = found if len(found) else None
        run = filter_rows(base / "snapshot", snapshot, plan, base / "permitted", duplicates=duplicates, at=self.at)
        return verify(
            run.folder,
            run.manifest,
            manifest_sha256=run.sha256,
            destination="crm",
            fields=self.fields,
            policy_digest=plan.policy.digest,
            max_age_s=60,
            now=self.at,
        )

    def changes(self, rows: pa.Table | FilePermittedRows) -> Changes:
        permitted = rows if isinstance(rows, FilePermittedRows) else self.permitted(rows)
        return compute_changes(
            permitted,
            self.state,
            new_folder(self.path),
            sync=SYNC,
            mode=self.mode,
            load=load_of(permitted),
            destination=self.destination,
            subject_key=self.key,
            may_leave_rows=self.leaves_rows,
        ).with_permitted(permitted)

    def folded(self, changes: Changes, sends: Iterable[BatchResult], removes: Iterable[BatchResult]) -> Sync:
        with Folding(self.state, changes) as folding:
            return self.with_(state=folding.finish(sends, removes, new_folder(self.path)))

    def delivered(self, rows: pa.Table) -> Sync:
        """Deliver the changes with the result that all are accepted."""
        changes = self.changes(rows)
        return self.folded(changes, [accepted(changes.manifest.upsert_rows)], [accepted(changes.manifest.removal_rows)])


def load_of(permitted: FilePermittedRows) -> Load:
    return Load(
        key=permitted.key,
        destination=permitted.destination,
        model=permitted.manifest.model,
        schema=permitted.schema(),
        key_field=permitted.key_field,
        rows=permitted.rows,
        decided_at=permitted.manifest.decided_at,
    )


_numbers = count()


def new_folder(path: Path) -> Folder:
    return Folder.local(path / f"folder-{next(_numbers)}")


def people(*rows: Mapping[str, Any], id_type: pa.DataType | None = None) -> pa.Table:
    """Return rows of the model; a row without `ads_ok` has consented."""
    plain = {"email": None, "phone": None, "name": None, "ads_ok": True}
    table = {name: [({**plain, **row})[name] for row in rows] for name in ("id", *plain)}
    types = {"id": id_type or pa.int64(), "ads_ok": pa.bool_()}
    return pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in table.items()})


def accepted(rows: int, *, start: int = 0, hours: float = 0) -> BatchResult:
    return batch_result(Outcomes.accepted(rows), start=start, hours=hours)


def batch_result(
    outcomes: Outcomes | Sequence[RowStatus],
    *,
    start: int = 0,
    hours: float = 0,
    unsettled_hours: float | None = None,
) -> BatchResult:
    """Return the result of a batch; hours count from `AT`."""
    if not isinstance(outcomes, Outcomes):
        outcomes = Outcomes.concatenated(
            [Outcomes(1, Outcome(status, "" if status is RowStatus.ACCEPTED else "code")) for status in outcomes]
        )
    unsettled = None if unsettled_hours is None else AT + timedelta(hours=unsettled_hours)
    return BatchResult(start, outcomes, unsettled, AT + timedelta(hours=hours))


def people_of(changes: Changes) -> pa.Table:
    """Return the people to send, with the columns `id` and `was_delivered`, in the order of their positions."""
    read = [some.select(["id", "was_delivered"]) for _, some in changes.people_to_send(9)]
    return pa.Table.from_batches(read) if read else pa.table({"id": [], "was_delivered": []})


def sent(changes: Changes, batch_rows: int = 1_000) -> dict[Any, dict[str, Any]]:
    """Return the rows to send by id."""
    rows = [row for _, some in changes.rows_to_send(batch_rows) for row in some.to_pylist()]
    return dict(zip(people_of(changes)["id"].to_pylist(), rows, strict=True))


def removed(changes: Changes, batch_rows: int = 1_000) -> list[tuple[Any, str, dict[str, Any]]]:
    """Return id, cause and values of the entries to remove, in their order."""
    return [
        entry
        for some in changes.removals(batch_rows)
        for entry in zip(some.ids.to_pylist(), some.causes.to_pylist(), some.rows.to_pylist(), strict=True)
    ]


def entries(state: DeliveredState | None) -> list[dict[str, Any]]:
    """Return the entries of a state, ordered by id, with `confirmed` instead of the hash."""
    if state is None:
        return []
    rows = [row for some in state.folder.read_rows(state.manifest.parts, batch_rows=1_000) for row in some.to_pylist()]
    found = [
        {
            "id": row["id"],
            "confirmed": row["hash"] is not None,
            "unsettled_until": row["unsettled_until"],
            "removal": row.get("removal"),
        }
        for row in rows
    ]
    return sorted(found, key=lambda entry: (str(entry["id"]), str(entry["removal"]), not entry["confirmed"]))
