"""The search for people at a destination who lost permission, or a field, with the delivered state in a warehouse."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.changes.cleared_fields import sent_fields, without_answers
from airflow_consent_retl.changes.store import lost_entries
from airflow_consent_retl.changes.warehouse_comparison import DeliveredEntries, every_entry, people_of
from airflow_consent_retl.changes.warehouse_delivered import as_files
from airflow_consent_retl.changes.warehouse_question import links_people, query_of_people, snapshot_of_answers
from airflow_consent_retl.changes.warehouse_silence import silent_in_model
from airflow_consent_retl.consent import RemovalCause, silent_categories
from airflow_consent_retl.databases.dialect import dialect_of, placeholder
from airflow_consent_retl.filtering.expressions import PERSON
from airflow_consent_retl.filtering.warehouse import WarehouseFilter
from airflow_consent_retl.storage.delivered import fields_text
from airflow_consent_retl.values.columns import declared_types
from airflow_consent_retl.values.ids import meeting_type

if TYPE_CHECKING:
    from airflow_consent_retl.changes.store import LostEntries, OnField
    from airflow_consent_retl.changes.warehouse_delivered import WarehouseState
    from airflow_consent_retl.databases.staging import StagingTable, Warehouse
    from airflow_consent_retl.filtering.model_question import Question
    from airflow_consent_retl.filtering.subject_index import Ask
    from airflow_consent_retl.storage.delivered import DeliveredState
    from airflow_consent_retl.storage.folder import Folder

_READ_ROWS = 65_536


class LostInWarehouse:
    """The search in one version of a delivered state.

    Args:
        reach: returns the warehouse, not yet entered.
        state: the version.
        question: asks the model's source.
        note_moved: called with the warehouse, the entries that were read from it, and all entries.
    """

    def __init__(
        self,
        reach: Callable[[], Warehouse],
        state: WarehouseState,
        question: Question,
        note_moved: Callable[[Warehouse, int, int], None],
    ) -> None:
        self._reach = reach
        self._state = state
        self._question = question
        self._note_moved = note_moved

    def run(
        self,
        ask: Ask,
        folder: Folder,
        *,
        absent: RemovalCause,
        on_field: OnField,
        accept_silence: Collection[str] | None = None,
    ) -> tuple[DeliveredState, LostEntries]:
        """Return the entries that were looked at, as files, and those of them that lost something.

        Args:
            ask: asks the source about everyone.
            folder: of the files.
            absent: the cause for people who are not in the answer.
            on_field: what happens to people who lost a field.
            accept_silence: see `SyncStore.lost`.
        """
        if links_people(self._question):
            return self._of_all(ask, folder, absent=absent, on_field=on_field)
        return self._of_suspects(ask, folder, absent=absent, on_field=on_field, accept_silence=accept_silence)

    def _of_suspects(
        self,
        ask: Ask,
        folder: Folder,
        *,
        absent: RemovalCause,
        on_field: OnField,
        accept_silence: Collection[str] | None,
    ) -> tuple[DeliveredState, LostEntries]:
        """Have the warehouse find the people who may have lost something, and ask the source about those only."""
        state = self._state
        with (
            self._reach() as warehouse,
            self._suspects(warehouse, on_field) as (suspects, model, about, unanswered),
        ):
            dialect = dialect_of(warehouse.dialect, state.id_type)
            entries = DeliveredEntries(dialect, state.columns, primary_key=about.primary_key)
            tables = {
                "delivered": warehouse.name_of(state.table),
                "people": warehouse.name_of(suspects),
                "model": warehouse.name_of(model),
            }
            with warehouse.read(dialect.compile(entries.absent_count(), tables)) as counted:
                missing = sum(int(batch.column(0)[0].as_py()) for batch in counted.batches)
            chosen = entries.lost(with_absent=absent is not RemovalCause.LEFT_MODEL)
            with warehouse.read(dialect.compile(chosen, tables), batch_rows=_READ_ROWS) as rows:
                touched = as_files(state, rows.batches, folder)
            lost = lost_entries(touched, about.ask, absent=absent, on_field=on_field)
            accepts_all = accept_silence is None or not set(unanswered).difference(accept_silence)
            # The delivered alone show too little: those who answered with a no were never delivered.
            silent = unanswered if accepts_all else silent_in_model(warehouse, self._question, state.id_type)
            self._note_moved(warehouse, touched.rows, state.rows)
        return touched, replace(lost, absent=missing, silent=silent)

    def _of_all(
        self, ask: Ask, folder: Folder, *, absent: RemovalCause, on_field: OnField
    ) -> tuple[DeliveredState, LostEntries]:
        """Read all entries, and ask the source about everyone: a linked person's own row does not say enough."""
        state = self._state
        with self._reach() as warehouse:
            dialect = dialect_of(warehouse.dialect, state.id_type)
            entries = every_entry(dialect, state.columns)
            sql = dialect.compile(entries, {"delivered": warehouse.name_of(state.table)})
            with warehouse.read(sql, batch_rows=_READ_ROWS) as rows:
                touched = as_files(state, rows.batches, folder)
            self._note_moved(warehouse, touched.rows, state.rows)
        return touched, lost_entries(touched, ask, absent=absent, on_field=on_field)

    @contextmanager
    def _suspects(
        self, warehouse: Warehouse, on_field: OnField
    ) -> Iterator[tuple[StagingTable, StagingTable, Question, tuple[str, ...]]]:
        """Yield a table of people who lost permission, a table of the model's rows, and the question about the people.

        Both tables contain delivered people only; the first has their ids as text, and the fields withheld from them.
        The question is about those of them who have something to lose. With them, yield the opt-out categories to which
        none of the delivered people has an answer.

        Raises:
            RefusedError: the model's ids are of another kind than the delivered ids.
        """
        at, state, question = datetime.now(UTC), self._state, self._question
        delivered_people = people_of(dialect_of(warehouse.dialect, state.id_type), "people", "id", state.columns)
        with (
            query_of_people(warehouse, question, delivered_people, state.table, state.id_type) as sql,
            snapshot_of_answers(warehouse, question, sql, model=state.manifest.model, at=at) as (snapshot, table),
        ):
            try:
                key_type = {column.name: column.type for column in snapshot.columns}[question.primary_key]
                if key_type != "null":
                    now = declared_types({question.primary_key: key_type})[question.primary_key]
                    meeting_type(state.id_type, now, primary_key=question.primary_key)
                with WarehouseFilter(warehouse, snapshot, question.plan, at=at, forgotten=question.forgotten) as run:
                    decided = run.decide()
                    suspects = run.suspects(decided, _fields_at(state, on_field))
                    lost = self._people_with_lost(warehouse, suspects)
                    try:
                        people = placeholder("people", {PERSON: "string"})
                        silent = silent_categories(run.plan, decided.signatures())
                        with query_of_people(warehouse, question, people, lost, state.id_type) as about:
                            yield suspects, table, question.among(about), silent
                    finally:
                        warehouse.drop(lost)
            finally:
                warehouse.drop(table)

    def _people_with_lost(self, warehouse: Warehouse, suspects: StagingTable) -> StagingTable:
        """Make a table of the suspects whose entries may have to be removed, or to lose a field."""
        state = self._state
        dialect = dialect_of(warehouse.dialect, state.id_type)
        people = DeliveredEntries(dialect, state.columns, primary_key=self._question.primary_key).people()
        names = {"delivered": warehouse.name_of(state.table), "people": warehouse.name_of(suspects)}
        lost = warehouse.table("asked", at=datetime.now(UTC))
        warehouse.create_as(lost, dialect.compile(people, names))
        return lost


def _fields_at(state: WarehouseState, on_field: OnField) -> Callable[[Iterable[str]], str | None]:
    """Return what gives, for guarded names, the text of the fields that the destination may have."""
    if on_field == "leave":
        return lambda guards: None
    fields, primary_key = state.shape.fields, state.manifest.primary_key

    def text(guards: Iterable[str]) -> str | None:
        found = sent_fields(guards, fields, primary_key=primary_key)
        # The people of an answer that ended are not removed for it.
        return fields_text(found if on_field == "clear" else without_answers(found, fields))

    return text
