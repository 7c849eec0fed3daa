"""The workspaces of the parity tests: one model through the package's operators, in the lake or in a warehouse.

Everything goes through `execute`, as in a task, and everything is read back with the functions that users have.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from parity.engines import Engine
from parity.law import Counted, Decided, Line, Setup
from parity.model import KINDS, Model

from airflow_consent_retl.databases.staging import Warehouse
from airflow_consent_retl.hooks.workspaces import staging_warehouse
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadOperator,
    PropagateWithdrawalsOperator,
    permitted_batches,
)
from airflow_consent_retl.storage.decision_log import find_decisions
from airflow_consent_retl.storage.location import manifest_folder, subject_key
from airflow_consent_retl.storage.manifest import PermittedManifest, SnapshotManifest

Place = Literal["lake", "warehouse"]
MODEL = "people"
# The entries of an output that name the run and not its result.
_OF_THE_RUN = frozenset({"manifest", "sha256", "at", "decided_at", "data_time"})
_OF_A_SNAPSHOT = ("model", "primary_key", "primary_key_checked", "source", "sql_sha256", "rows")
_OF_A_PERMITTED_SET = (
    "model",
    "primary_key",
    "source",
    "consent",
    "policy_digest",
    "policy_source",
    "destinations",
    "rows_read",
    "rows_for_nobody",
)


@dataclass
class Workspace:
    """A separate workspace for one engine.

    Args:
        engine: the engine with the model.
        place: the place where its rows are processed.
        root: the folder of the control documents and of the lake's rows.
    """

    engine: Engine
    place: Place
    root: Path

    def extract(self, model: Model, *, table: str = MODEL, **parameters: Any) -> dict[str, Any]:
        """Extract a model from a table of the engine. The filter checks the ids."""
        options: dict[str, Any] = {
            "sql": self.engine.query(table, model.kinds),
            "primary_key": "id",
            "column_types": self.engine.types_of(model.kinds) or None,
            "check_primary_key": False,
            **parameters,
        }
        workspace = f"warehouse:{self.engine.staging}" if self.place == "warehouse" else None
        operator = ExtractModelOperator(
            task_id="extract", model=MODEL, conn_id=self.engine.conn_id, workspace=workspace, **options
        )
        return self._run(operator)

    def filter(
        self, snapshot: dict[str, Any], setup: Setup, *, as_first: bool = True, **parameters: Any
    ) -> dict[str, Any]:
        """Filter a snapshot. After other runs, the policy of before is read as well, and is part of the signatures."""
        for name in ("policies", "records/decisions") if as_first else ():
            shutil.rmtree(self.root / name, ignore_errors=True)
        options: dict[str, Any] = {"on_duplicate_id": "deny", "max_released_ratio": None, **parameters}
        operator = ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot,
            policy=setup.policy,
            consent=setup.consent,
            destinations=list(setup.destinations),
            **options,
        )
        return self._run(operator)

    def carry_out(self, operator: LoadOperator | PropagateWithdrawalsOperator) -> dict[str, Any]:
        """Run a load or a removal."""
        return self._run(operator)

    def snapshot(self, output: Mapping[str, Any]) -> SnapshotManifest:
        """Return the manifest of an extraction."""
        folder = manifest_folder(output["manifest"])
        return SnapshotManifest.from_json(folder.read_manifest(sha256=output["sha256"]))

    def permitted(self, output: Mapping[str, Any]) -> PermittedManifest:
        """Return the manifest of a filter run."""
        folder = manifest_folder(output["manifest"])
        return PermittedManifest.from_json(folder.read_manifest(sha256=output["sha256"]))

    def decided(self, output: Mapping[str, Any], setup: Setup, *, asked: Iterable[Any]) -> Decided:
        """Read a filter run back: its permitted rows, its counts and its decision log."""
        manifest = self.permitted(output)
        recipients: dict[Any, tuple[str, ...]] = {}
        for destination in sorted(setup.destinations):
            for id_ in self.rows(output, setup, destination).column("id").to_pylist():
                recipients[id_] = (*recipients.get(id_, ()), destination)
        folder = manifest_folder(output["manifest"])
        signatures = folder.read_rows([manifest.decision_log.signatures], batch_rows=10_000)
        lines = [_line(row) for rows in signatures for row in rows.to_pylist()]
        return Decided(
            recipients=recipients,
            counts={
                name: Counted(c.read, c.permitted, c.denied, dict(sorted(c.denied_by_reason.items())))
                for name, c in manifest.destinations.items()
            },
            lines=sorted(lines),
            decisions=self.decisions(output, asked),
            read=manifest.rows_read,
            for_nobody=manifest.rows_for_nobody,
            logged=manifest.decision_log.rows,
            groups={tuple(group.recipients): group.rows for group in manifest.groups if group.rows},
        )

    def decisions(self, output: Mapping[str, Any], asked: Iterable[Any]) -> dict[Any, list[Line]]:
        """Return the entries of the decision log for each id."""
        manifest = self.permitted(output)
        folder = manifest_folder(output["manifest"])
        with self._environment(), self._staging() as warehouse:
            key = subject_key(None)
            return {
                id_: sorted(
                    (found.subject, *_sorted(found.statuses, found.recipients, found.denied), found.rows)
                    for found in find_decisions(folder, manifest, key, id_, warehouse=warehouse)
                )
                for id_ in asked
            }

    def rows(self, output: Mapping[str, Any], setup: Setup, destination: str) -> pa.Table:
        """Return the permitted rows of a destination, sorted by id."""
        with self._environment():
            batches = list(permitted_batches(output, destination=destination, policy=setup.policy))
        if not batches:
            return pa.table({"id": pa.array([], pa.string())})
        return pa.Table.from_batches(batches).sort_by("id")

    def _run(self, operator: Any) -> dict[str, Any]:
        with self._environment():
            output: dict[str, Any] = operator.execute({})
        return output

    def _staging(self) -> AbstractContextManager[Warehouse | None]:
        if self.place == "lake" or self.engine.staging is None:
            return nullcontext()
        return staging_warehouse(self.engine.conn_id, self.engine.staging)

    def _environment(self) -> AbstractContextManager[None]:
        return self.engine.environment(AIRFLOW__CONSENT_RETL__WORKSPACE=self.root.as_uri())


@dataclass
class Both:
    """The lake and the warehouse of one engine, with the same work.

    Args:
        lake: the workspace of files.
        inside: the workspace inside the warehouse.
        snapshots: the outputs of the latest extraction in each.
    """

    lake: Workspace
    inside: Workspace
    snapshots: tuple[dict[str, Any], dict[str, Any]] = ({}, {})

    @classmethod
    def of(cls, engine: Engine, root: Path) -> Both:
        """Return two workspaces in separate folders."""
        return cls(Workspace(engine, "lake", root / "lake"), Workspace(engine, "warehouse", root / "inside"))

    @property
    def each(self) -> list[tuple[Workspace, dict[str, Any]]]:
        """The workspaces, with the outputs of their extractions."""
        return list(zip((self.lake, self.inside), self.snapshots, strict=True))

    def extract(self, model: Model, **parameters: Any) -> None:
        """Extract a model in each."""
        self.snapshots = self.lake.extract(model, **parameters), self.inside.extract(model, **parameters)

    def described(self, manifest: PermittedManifest | SnapshotManifest) -> dict[str, Any]:
        """Return the part of a manifest that does not depend on the place of the rows."""
        wanted = _OF_A_SNAPSHOT if isinstance(manifest, SnapshotManifest) else _OF_A_PERMITTED_SET
        found = manifest.model_dump(mode="json")
        engine = self.lake.engine
        columns = [column for column in found["columns"] if KINDS.get(column["name"]) not in engine.widens]
        return {**{name: found[name] for name in wanted}, "columns": columns}

    def filter(self, setup: Setup, **parameters: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Filter the latest snapshots."""
        lake, inside = self.snapshots
        return self.lake.filter(lake, setup, **parameters), self.inside.filter(inside, setup, **parameters)


def without_run_names(output: Mapping[str, Any]) -> dict[str, Any]:
    """Return an operator's output without the entries that name the run."""
    return {name: value for name, value in output.items() if name not in _OF_THE_RUN}


def plain_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """Return rows as values that can be compared: NaN equals itself, and 0.0 is not -0.0."""
    return [{name: repr(v) if isinstance(v, float) else v for name, v in row.items()} for row in rows.to_pylist()]


def _line(row: Mapping[str, Any]) -> Line:
    statuses, recipients, denied = _sorted(dict(row["statuses"]), row["recipients"], dict(row["denied"]))
    return row["subject"], statuses, recipients, denied, row["rows"]


def _sorted(statuses: Mapping[str, str], recipients: Sequence[str], denied: Mapping[str, Sequence[str]]) -> Any:
    return (
        tuple(sorted(statuses.items())),
        tuple(sorted(recipients)),
        tuple(sorted((name, tuple(reasons)) for name, reasons in denied.items())),
    )
