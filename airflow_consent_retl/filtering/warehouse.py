"""The filter of a snapshot in a warehouse's table: the worker decides combinations of values, not rows.

The warehouse groups the raw values of all rows, `consent` decides each combination that occurs, and only numbers are
sent back. If the warehouse's results then differ from the decisions, nothing is published.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent import NOTHING_SAID, SubjectCode
from airflow_consent_retl.databases.dialect import dialect_of
from airflow_consent_retl.errors import ModelError, RefusedError
from airflow_consent_retl.filtering.decided import DecidedSignatures
from airflow_consent_retl.filtering.decision_warehouse import AnsweredSnapshot
from airflow_consent_retl.filtering.expressions import (
    COMBINATION,
    DIGEST,
    GROUP,
    IS_DENIED,
    ROWS,
    SIGNATURE,
    SUBJECT,
    WarehouseConsent,
    group_fingerprints,
    raw_values,
)
from airflow_consent_retl.filtering.files import column_kinds
from airflow_consent_retl.filtering.signatures import SignatureReader
from airflow_consent_retl.filtering.warehouse_clusters import LINKED_VALUE, WarehouseClusters, integers
from airflow_consent_retl.storage.decision_log import DecisionLogWriter, SubjectKey
from airflow_consent_retl.storage.manifest import Column, RecipientsGroup, WarehouseDecision, WarehouseTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.consent import Said, Signature, Subject
    from airflow_consent_retl.consent.plan import PlanFor
    from airflow_consent_retl.databases.staging import Kind, StagingTable, Warehouse
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.forgotten import ForgottenPeople
    from airflow_consent_retl.storage.manifest import DecisionLog, SnapshotManifest

MAX_COMBINATIONS = 1_000_000
_LOAD_ROWS = 131_072


@dataclass(frozen=True, slots=True)
class WarehousePermitted:
    """The results of a filter run: descriptions for the manifest, and what its records are made from."""

    groups: tuple[RecipientsGroup, ...]
    decision_log: DecisionLog
    tables: WarehouseDecision
    answered: AnsweredSnapshot


class WarehouseFilter:
    """One filter run over a snapshot in a warehouse. A context manager: it drops its tables unless `keep` was called.

    Args:
        warehouse: the warehouse, already entered.
        snapshot: the snapshot's manifest.
        plan_for: checks the policy against the kinds of the consent columns. Called again when the kinds are known from
            the values themselves.
        at: the time of the run.
        forgotten: the people of the model who were forgotten.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        snapshot: SnapshotManifest,
        plan_for: PlanFor,
        *,
        at: datetime,
        forgotten: ForgottenPeople,
    ) -> None:
        if snapshot.table is None:
            raise RefusedError("the snapshot is not in a warehouse")
        self._warehouse = warehouse
        self._snapshot = snapshot
        self._source = snapshot.table.staging_table
        self._plan_for = plan_for
        self._at = at
        id_type = next(column.type for column in snapshot.columns if column.name == snapshot.primary_key)
        self._dialect = dialect_of(warehouse.dialect, id_type)
        self._made: dict[Kind, StagingTable] = {}
        self._is_kept = False
        self.plan = plan_for(column_kinds(snapshot.columns))
        self._values, self._signals = raw_values(
            self.plan.signals,
            arrow={column.name: column.type for column in snapshot.columns},
            native=warehouse.native_types(self._source),
            dialect=self._dialect,
        )
        # Not kept: the decisions say who was recognised.
        self._forgotten = warehouse.table("forgotten", at=at) if forgotten else None
        self._digests = forgotten.digests
        self._clusters = self._linked_clusters(forgotten)
        self._consent = WarehouseConsent(
            self._dialect,
            columns=[column.name for column in snapshot.columns],
            primary_key=snapshot.primary_key,
            id_type=id_type,
            values=self._values if self._clusters is None else [*self._values, LINKED_VALUE],
            find_duplicates=not snapshot.primary_key_checked,
            salts=forgotten.salts if forgotten else (),
        )
        self._combinations: NDArray[np.int64] = np.empty(0, np.int64)
        self._codes: NDArray[np.int64] = np.empty(0, np.int64)
        # The combinations of a signature and of what the row's cluster says.
        self._linked_keys: dict[tuple[int, str | None], int] = {}

    def find_repeated_ids(self) -> tuple[int, int]:
        """Return the number of rows without an id, and the number of ids that occur more than once."""
        if self._snapshot.primary_key_checked:
            return 0, 0
        sql = self._dialect.compile(self._consent.repeated_ids(), {"snapshot": self._name(self._source)})
        rows = self._read_all(sql)
        return int(rows["missing"][0].as_py() or 0), int(rows["repeated"][0].as_py())

    def decide(self) -> DecidedSignatures:
        """Let the warehouse count the combinations, and decide each of them.

        Raises:
            RefusedError: the snapshot has another number of rows than its manifest.
            ModelError: there are too many combinations.
            PolicyError: the policy does not fit the values.
        """
        if self._forgotten is not None:
            _load_digests(self._warehouse, self._forgotten, self._digests)
        self._find_clusters()
        sql = self._dialect.compile(self._consent.signatures(), self._read_tables())
        table = self._make("signatures")
        found = self._warehouse.create_as(table, sql)
        if found > MAX_COMBINATIONS:
            raise ModelError(
                f"the rows have {found:,} combinations of consent values, the limit is {MAX_COMBINATIONS:,}: if a "
                "JSON text contains consent and much else, select the part that contains consent in the model"
            )
        histogram: dict[int, int] = {}
        combinations: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        codes: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        reader: SignatureReader | None = None
        with self._warehouse.read(f"SELECT * FROM {self._name(table)}") as rows:  # noqa: S608 - quoted by the warehouse
            for batch in rows.batches:
                if reader is None:
                    reader = self._reader(batch.schema)
                code = self._linked_codes(batch, reader.codes(batch) * len(SubjectCode) + integers(batch, SUBJECT))
                for one, count in zip(code.tolist(), integers(batch, ROWS).tolist(), strict=True):
                    histogram[one] = histogram.get(one, 0) + count
                combinations.append(integers(batch, COMBINATION))
                codes.append(code)
        reader = reader or SignatureReader(self._signals)
        self._combinations, self._codes = np.concatenate(combinations), np.concatenate(codes)
        clashes = {} if self._clusters is None else self._clusters.clashes
        read = partial(self._read_code, reader, list(self._linked_keys))
        decided = DecidedSignatures(self.plan, histogram, read, self._at, clashes=clashes)
        reader.close()
        if decided.counts.read != self._snapshot.rows:
            raise RefusedError(
                f"the snapshot's table contains {decided.counts.read:,} rows, its manifest says {self._snapshot.rows:,}"
            )
        return decided

    def write(self, decided: DecidedSignatures, folder: Folder, key: SubjectKey, *, run: str) -> WarehousePermitted:
        """Let the warehouse write the permitted rows and the decisions, and check its results.

        Args:
            decided: the result of `decide`.
            folder: the folder for the table of signatures; the caller publishes or removes it.
            key: the key of the decision log.
            run: the name of the run, for the salt of its digests.

        Raises:
            RefusedError: the warehouse's numbers differ from the decisions.
        """
        places = self._answer(decided)
        permitted = self._make("permitted")
        self._warehouse.create_as(permitted, self._dialect.compile(self._consent.permitted(), places))
        groups = self._groups(decided, permitted)
        decisions = self._make("decisions")
        logged = self._warehouse.create_as(
            decisions, self._dialect.compile(self._consent.decisions(key.salt(run)), places)
        )
        if logged != int(decided.rows[decided.denied_somewhere].sum()):
            raise RefusedError("the snapshot changed while it was filtered: the counts of its denials differ")
        log = DecisionLogWriter(folder, key).close(decided.table).model_copy(update={"rows": logged})
        return WarehousePermitted(
            groups=groups,
            decision_log=log,
            answered=AnsweredSnapshot(self._dialect, self._consent, places),
            tables=WarehouseDecision(
                snapshot=_described(self._source), **{name: _described(made) for name, made in self._made.items()}
            ),
        )

    def suspects(self, decided: DecidedSignatures, fields: Callable[[Iterable[str]], str | None]) -> StagingTable:
        """Let the warehouse write the ids of people who are denied or permitted without a field, and return the table.

        Args:
            decided: for one destination.
            fields: returns, for guarded names, the text of the fields that the destination may have; None for none.
        """
        places = self._answer(decided)
        withheld = {
            number: text
            for number, (_, of_destinations) in enumerate(decided.recipients)
            if (text := fields(name for _, names in of_destinations for name in names)) is not None
        }
        table = self._make("asked")
        self._warehouse.create_as(table, self._dialect.compile(self._consent.suspects(withheld), places))
        return table

    def _answer(self, decided: DecidedSignatures) -> dict[str, str]:
        """Send the decision about each combination to the warehouse, and return the names of the tables to join."""
        numbers = decided.find(self._codes) if len(self._codes) else np.empty(0, np.int64)
        answers = pa.table(
            {
                COMBINATION: self._combinations,
                SIGNATURE: numbers.astype(np.int32),
                GROUP: decided.groups[numbers].astype(np.int32),
                IS_DENIED: decided.denied_somewhere[numbers].astype(np.int32),
            }
        )
        table = self._make("decided")
        self._warehouse.load(table, answers.schema, answers.to_batches(max_chunksize=_LOAD_ROWS))
        return {
            **self._read_tables(),
            "signatures": self._name(self._made["signatures"]),
            "decided": self._name(table),
        }

    def said_in(self, cluster: int | None) -> Said:
        """Return what a cluster says, after `decide`."""
        return NOTHING_SAID if self._clusters is None else self._clusters.said_in(cluster)

    def _read_tables(self) -> dict[str, str]:
        forgotten = {} if self._forgotten is None else {"forgotten": self._name(self._forgotten)}
        snapshot = self._name(self._source)
        if self._clusters is not None:
            snapshot = self._clusters.snapshot(snapshot, [column.name for column in self._snapshot.columns])
        return {"snapshot": snapshot, **forgotten}

    def _linked_clusters(self, forgotten: ForgottenPeople) -> WarehouseClusters | None:
        if self._snapshot.linked is None:
            return None
        return WarehouseClusters(
            self._warehouse,
            self.plan,
            self._values,
            self._signals,
            forgotten=None if self._forgotten is None else self._name(self._forgotten),
            salts=forgotten.salts if forgotten else (),
            at=self._at,
        )

    def _find_clusters(self) -> None:
        if self._clusters is not None and self._snapshot.linked is not None:
            types = {column.name: column.type for column in self._snapshot.columns}
            key = self._snapshot.primary_key
            self._clusters.find(
                self._name(self._source),
                self._snapshot.linked,
                primary_key=key,
                id_type=types[key],
                columns=list(types),
            )

    def _linked_codes(self, batch: pa.RecordBatch, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return a number for each combination, which stands for what its cluster says too."""
        if self._clusters is None:
            return codes
        keys = zip(codes.tolist(), batch.column(LINKED_VALUE.name).to_pylist(), strict=True)
        return np.array([self._linked_keys.setdefault(key, len(self._linked_keys)) for key in keys], dtype=np.int64)

    def _read_code(
        self, reader: SignatureReader, linked_keys: Sequence[tuple[int, str | None]], code: int
    ) -> tuple[Subject, Signature]:
        if self._clusters is None:
            signature, who = divmod(code, len(SubjectCode))
            return SubjectCode(who).status, reader.tokens(signature)
        own, linked = linked_keys[code]
        signature, who = divmod(own, len(SubjectCode))
        return self._clusters.subject(who, linked), reader.tokens(signature)

    def keep(self) -> None:
        """Keep the tables, because a manifest names them."""
        self._is_kept = True

    def _groups(self, decided: DecidedSignatures, permitted: StagingTable) -> tuple[RecipientsGroup, ...]:
        sql = self._dialect.compile(self._consent.groups(), {"permitted": self._name(permitted)})
        found = group_fingerprints(self._read_all(sql))
        groups = []
        for number, (recipients, withheld) in enumerate(decided.recipients):
            rows, fingerprint = found.pop(number, (0, 0))
            if rows != int(decided.rows[decided.groups == number].sum()):
                raise RefusedError("the snapshot changed while it was filtered: the counts of its signatures differ")
            groups.append(
                RecipientsGroup(
                    recipients=recipients, withheld=dict(withheld), parts=(), rows=rows, fingerprint=fingerprint
                )
            )
        if found:
            raise RefusedError("the snapshot changed while it was filtered: rows are in a group without a decision")
        return tuple(groups)

    def _reader(self, schema: pa.Schema) -> SignatureReader:
        """Check the plan against the types of the values, and return their reader."""
        kinds = dict(column_kinds(self._snapshot.columns))
        read = column_kinds(Column(name=field.name, type=str(field.type)) for field in schema)
        whole = [value for value in self._values if value.part is None and not value.bounds]
        kinds.update({value.column: read[value.name] for value in whole})
        self.plan = self._plan_for(kinds)
        return SignatureReader(self._signals)

    def _make(self, kind: Kind) -> StagingTable:
        self._made[kind] = self._warehouse.table(kind, at=self._at)
        return self._made[kind]

    def _name(self, table: StagingTable) -> str:
        return self._warehouse.name_of(table)

    def _read_all(self, sql: str) -> pa.Table:
        with self._warehouse.read(sql) as rows:
            batches = list(rows.batches)
            return pa.Table.from_batches(batches, batches[0].schema if batches else rows.schema)

    def __enter__(self) -> WarehouseFilter:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._clusters is not None:
            self._clusters.close()
        if self._forgotten is not None:
            self._warehouse.drop(self._forgotten)
        if not self._is_kept:
            for table in self._made.values():
                self._warehouse.drop(table)


@contextmanager
def digest_table(warehouse: Warehouse, people: ForgottenPeople) -> Iterator[StagingTable]:
    """Yield a table of the digests of forgotten people: the placeholder `forgotten` of expressions."""
    table = warehouse.table("forgotten", at=datetime.now(UTC))
    try:
        _load_digests(warehouse, table, people.digests)
        yield table
    finally:
        warehouse.drop(table)


def _load_digests(warehouse: Warehouse, table: StagingTable, digests: Collection[str]) -> None:
    rows = pa.table({DIGEST: pa.array(sorted(digests), pa.string())})
    warehouse.load(table, rows.schema, rows.to_batches(max_chunksize=_LOAD_ROWS))


def _described(table: StagingTable) -> WarehouseTable:
    return WarehouseTable(namespace=table.schema, name=table.name)
