"""The join of consent from other queries to a model's rows while they are read, in the worker, in bounded memory.

The model's own columns stay unchanged: only keys and positions go through DuckDB, and the answers are added to the rows
afterwards. `consent_expressions` finds the answers; only `consent` knows their meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import ibis
import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent import CLOCK_SKEW, CLUSTER, ConsentSource, IdentityLinks, SuppressionList
from airflow_consent_retl.databases.dialect import Dialect
from airflow_consent_retl.databases.source import ModelRows, read_model
from airflow_consent_retl.errors import ConsentRetlError, ModelError, RefusedError
from airflow_consent_retl.extraction.coded_answers import CodedAnswers, coded_columns, is_coded
from airflow_consent_retl.extraction.consent_expressions import (
    SUBJECT,
    AnswerHistory,
    joined,
    listed,
    matched_column,
    parts_of,
)
from airflow_consent_retl.extraction.consent_kinds import (
    ValueKind,
    check_kinds,
    check_list,
    check_matched,
    check_names,
    has_64_bits,
    kind_to_see,
    received,
    sent,
    source_query,
    wanted_columns,
)
from airflow_consent_retl.extraction.linked_files import LinkTables
from airflow_consent_retl.extraction.row_slices import RowSlices
from airflow_consent_retl.values.bounded_engine import bounded_engine
from airflow_consent_retl.values.temporary import temporary_folder

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.consent import ExternalConsent
    from airflow_consent_retl.extraction.reading import HookOf, Log, OpenModel
    from airflow_consent_retl.storage.source_sizes import SourceSizes

# More only makes the process larger: what does not fit is on disk, and is read once.
_MEMORY_LIMIT = "160MiB"
_BATCH_ROWS = 131_072
_DIALECT = Dialect("duckdb")


@contextmanager
def joined_rows(
    open_model: OpenModel,
    sources: Sequence[ExternalConsent],
    *,
    hook_of: HookOf,
    conn_id: str,
    time_zone: str,
    at: datetime,
    log: Log,
    warn: Log,
    sizes: SourceSizes | None,
) -> Iterator[ModelRows]:
    """Join sources to a model's rows. Arguments, result and errors are those of `reading_with_consent`."""
    with ExitStack() as resources:
        folder = Path(resources.enter_context(temporary_folder()))
        connection = resources.enter_context(bounded_engine(_MEMORY_LIMIT))
        join = _Join(connection, folder, sources, time_zone=time_zone, at=at, log=log, warn=warn)
        for number, source in enumerate(sources):
            found = join.read_source(number, hook_of(source.conn_id), source.conn_id or conn_id)
            if sizes is not None:
                sizes.see(number, source, found)
        # One after the other, because a DuckDB file cannot be open twice with different settings.
        with open_model() as rows:
            check_names(rows.schema.names, sources)
            join.read_model(rows)
        yield join.result(rows.schema)


class _Join:
    """One join. Values go through DuckDB as their exact text, and are converted back to their own type."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        folder: Path,
        sources: Sequence[ExternalConsent],
        *,
        time_zone: str,
        at: datetime,
        log: Log,
        warn: Log,
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._sources = sources
        self._time_zone = time_zone
        self._at = at
        self._log = log
        self._warn = warn
        self._subject_kinds: list[str] = []
        # The sources whose subjects are compared as integers, not as their text.
        self._integers: set[int] = set()
        self._brought: list[list[pa.Field]] = []
        # Of the model's identities, if there are any.
        self._links: LinkTables | None = None
        # Files of the model's rows, each with one schema.
        self._spilled: list[Path] = []

    def read_source(self, number: int, hook: DbApiHook, conn_id: str) -> int:
        """Read a source, reduce it to one row for each subject, and return how many rows or keys it has."""
        source = self._sources[number]
        wanted = wanted_columns(source)
        time = source.time if isinstance(source, ConsentSource) else None
        kinds = {name: kind_to_see(number, source, name) for name in wanted}
        table, read_rows, without = f"source_{number}", 0, 0
        coded = CodedAnswers(source) if isinstance(source, ConsentSource) and is_coded(source) else None
        as_text = {name: "BIGINT" if name == time else "VARCHAR" for name in wanted}
        with read_model(hook, source_query(source, conn_id, time_zone=self._time_zone)) as read:
            are_integers = coded is not None and self._has_integers(source, read.schema)
            self._create(table, as_text if coded is None else coded_columns(are_integers=are_integers))
            for batch in read.batches:
                if coded is not None and (
                    coded.are_too_many or (are_integers and not has_64_bits(batch.column(source.subject).type))
                ):
                    self._go_on_as_text(table, as_text, coded)
                    coded, are_integers = None, False
                columns = {
                    name: sent(batch.column(name), kinds[name], as_integer=are_integers and name == source.subject)
                    for name in wanted
                }
                self._insert(table, [*columns.values()] if coded is None else coded.of(columns))
                read_rows += batch.num_rows
                without += batch.column(source.subject).null_count
        if are_integers:
            self._integers.add(number)
        self._subject_kinds.append(kinds[source.subject].kind)
        self._brought.append(_fields(source, kinds))
        rows = read_rows - without
        if isinstance(source, IdentityLinks):
            self._links = LinkTables(source, number, self._run, self._fetch)
            rows = self._links.find(log=self._log, warn=self._warn)
        else:
            if coded is None:
                self._run(f"CREATE TABLE reduced_{number} AS {self._reduction(number, source)}")
            else:
                reduced = coded.reduced(table, latest=None if time is None else self._latest)
                self._with_answers(coded, f"CREATE TABLE reduced_{number} AS {reduced}")
            self._run(f"DROP TABLE {table}")
            if not isinstance(source, ConsentSource):
                rows = self._count(f"SELECT count(*) FROM reduced_{number}")  # noqa: S608
                check_list(number, source, rows)
        ignored = f", {without:,} without a subject are ignored" if without else ""
        self._log(f"consent_sources[{number}]: read {read_rows:,} rows from connection `{conn_id}`{ignored}")
        return rows

    def read_model(self, rows: ModelRows) -> None:
        """Read the model's rows into files, and their keys into a table."""
        kinds = [ValueKind(f"key `{source.key}` of consent_sources[{n}]") for n, source in enumerate(self._sources)]
        integers = {n for n in self._integers if has_64_bits(rows.schema.field(self._sources[n].key).type)}
        types = {_key(number): "BIGINT" if number in integers else "VARCHAR" for number in range(len(kinds))}
        self._create("model", {"ordinal": "BIGINT", **types})
        start = 0
        with ExitStack() as files:
            spill: pa.RecordBatchStreamWriter | None = None
            schema: pa.Schema | None = None
            for batch in rows.batches:
                if not batch.num_rows:
                    continue
                if spill is None or batch.schema != schema:
                    files.close()
                    schema = batch.schema
                    spill = files.enter_context(self._spill(batch.schema))
                spill.write_batch(batch)
                for number in [n for n in integers if not has_64_bits(batch.column(self._sources[n].key).type)]:
                    self._as_text("model", _key(number))
                    integers.remove(number)
                keys = [
                    sent(batch.column(str(source.key)), kind, as_integer=number in integers)
                    for number, (source, kind) in enumerate(zip(self._sources, kinds, strict=True))
                ]
                self._insert("model", [_ordinals(start, batch.num_rows), *keys])
                start += batch.num_rows
        for number, source in enumerate(self._sources):
            check_kinds(number, source, key=kinds[number].kind, subject=self._subject_kinds[number])
        for number in self._integers - integers:
            self._as_text(f"reduced_{number}", SUBJECT)
        self._integers = integers
        self._rows = start

    def result(self, schema: pa.Schema) -> ModelRows:
        """Return the model's rows with the answers.

        Raises:
            ModelError: a source that requires a match has none.
        """
        keys = {_key(number): self._subject_type(number) for number in range(len(self._sources))}
        model = ibis.table({"ordinal": "int64", **keys}, name="model")
        parts = [
            part
            for number, source in enumerate(self._sources)
            for part in parts_of(
                source,
                model[_key(number)],
                self._reduced(number, source),
                _DIALECT,
                are_integers=self._subject_kinds[number] == "integer",
            )
        ]
        found = joined(model, columns=["ordinal"], parts=parts, with_matched=True)
        # First joined, then sorted: each of the two takes as much memory as the engine has, and more fails.
        self._run(f"CREATE TABLE found AS {_DIALECT.compile(found)}")
        matched = [matched_column(number) for number in range(len(parts))]
        self._check_matched(matched)
        if self._links is None:
            self._run("DROP TABLE model")
        brought = pa.schema([field for fields in self._brought for field in fields])
        answers_sql = f"SELECT * EXCLUDE ({', '.join(matched)}) FROM found ORDER BY ordinal"  # noqa: S608
        rows = ModelRows(pa.schema([*schema, *brought]), self._glued(answers_sql, brought))
        if self._links is None:
            return rows
        answers = [self._reduced(number, source) for number, source in enumerate(self._sources)]
        of_sources = list(zip(self._sources, answers, self._brought, strict=True))
        return self._links.with_outsiders(rows, _key(self._links.number), of_sources, self._answers)

    def _check_matched(self, columns: Sequence[str]) -> None:
        """Check that each source has subjects of the model for each part that it brings."""
        counts = self._fetch(f"SELECT {', '.join(f'count_if({column})' for column in columns)} FROM found")  # noqa: S608
        answers = [(number, source, name) for number, source in enumerate(self._sources) for name in _answers(source)]
        for (number, source, name), matched in zip(answers, counts, strict=True):
            check_matched(number, source, name, rows=self._rows, matched=matched, log=self._log, warn=self._warn)

    def _glued(self, sql: str, brought: pa.Schema) -> Iterator[pa.RecordBatch]:
        answers = RowSlices(self._answers(sql))
        start = 0
        for path in self._spilled:
            with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
                for batch in stream:
                    found = answers.take(batch.num_rows)
                    # INVARIANT: an answer is added to its own row, or the read fails.
                    if not found.column("ordinal").combine_chunks().equals(_ordinals(start, batch.num_rows)):
                        raise RefusedError(
                            "the join with consent sources returned answers for other rows than the model's"
                        )
                    columns = [received(found.column(field.name).combine_chunks(), field) for field in brought]
                    yield pa.RecordBatch.from_arrays(
                        [*batch.columns, *columns], schema=pa.schema([*batch.schema, *brought])
                    )
                    start += batch.num_rows
            path.unlink()

    def _answers(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Yield the answers. DuckDB's error in the middle of a stream is an OSError."""
        try:
            reader = self._connection.sql(sql).to_arrow_reader(_BATCH_ROWS)
            try:
                yield from reader
                return
            finally:
                reader.close()
        except (duckdb.Error, OSError, pa.ArrowException) as error:
            problem = _failed(error)
        # Raised outside the handler, because the engine's message may quote a row.
        raise problem

    def _has_integers(self, source: ExternalConsent, schema: pa.Schema) -> bool:
        """Return whether subjects can be compared as integers; identities are text, and so are columns of consent."""
        of_answers = {column for column, _ in source.columns} if isinstance(source, ConsentSource) else set()
        has_identities = any(isinstance(one, IdentityLinks) for one in self._sources)
        subject = source.subject
        return not has_identities and subject not in of_answers and has_64_bits(schema.field(subject).type)

    def _subject_type(self, number: int) -> str:
        return "int64" if number in self._integers else "string"

    def _as_text(self, table: str, column: str) -> None:
        self._run(f"ALTER TABLE {table} ALTER {column} TYPE VARCHAR")

    def _go_on_as_text(self, table: str, columns: Mapping[str, str], coded: CodedAnswers) -> None:
        """Replace the numbers of a source's answers by their text."""
        self._create(f"{table}_as_text", columns)
        self._with_answers(coded, f"INSERT INTO {table}_as_text BY NAME {coded.as_text(table)}")
        self._run(f"DROP TABLE {table}")
        self._run(f"ALTER TABLE {table}_as_text RENAME TO {table}")

    def _with_answers(self, coded: CodedAnswers, sql: str) -> None:
        self._connection.register("answers", coded.table())
        self._run(sql)
        self._connection.unregister("answers")

    @property
    def _latest(self) -> int:
        """The latest time at which a row can have been recorded, in microseconds since 1970."""
        return int((self._at + CLOCK_SKEW).timestamp() * 1_000_000)

    def _reduction(self, number: int, source: ConsentSource | SuppressionList) -> str:
        if isinstance(source, SuppressionList):
            table = ibis.table(dict.fromkeys(wanted_columns(source), "string"), name=f"source_{number}")
            return _DIALECT.compile(listed(source, table, _DIALECT))
        types = {name: "int64" if name == source.time else "string" for name in wanted_columns(source)}
        table = ibis.table(types, name=f"source_{number}")
        latest = ibis.literal(self._latest, "int64")
        history = AnswerHistory(source, _DIALECT, table, latest=None if source.time is None else latest)
        return _DIALECT.compile(history.reduced())

    def _reduced(self, number: int, source: ExternalConsent) -> ibis.Table:
        if isinstance(source, IdentityLinks):
            return ibis.table({SUBJECT: "string", CLUSTER: "int64"}, name=f"reduced_{number}")
        if not isinstance(source, ConsentSource):
            return ibis.table({"subject": "string"}, name=f"reduced_{number}")
        columns = AnswerHistory.columns(source, subject=self._subject_type(number))
        return ibis.table(columns, name=f"reduced_{number}")

    def _spill(self, schema: pa.Schema) -> pa.RecordBatchStreamWriter:
        self._spilled.append(self._folder / f"rows-{len(self._spilled):05d}.arrows")
        return pa.ipc.new_stream(str(self._spilled[-1]), schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))

    def _create(self, table: str, columns: Mapping[str, str]) -> None:
        described = ", ".join(f'"{name.replace(chr(34), chr(34) * 2)}" {type_}' for name, type_ in columns.items())
        self._run(f"CREATE TABLE {table} ({described})")

    def _insert(self, table: str, columns: Sequence[pa.Array]) -> None:
        named = {f"column_{number}": column for number, column in enumerate(columns)}
        self._connection.register("incoming", pa.table(named))
        self._run(f"INSERT INTO {table} SELECT * FROM incoming")  # noqa: S608 - names of this module
        self._connection.unregister("incoming")

    def _count(self, sql: str) -> int:
        (count,) = self._fetch(sql)
        return count

    def _fetch(self, sql: str) -> tuple[int, ...]:
        """Return the only row of a query for numbers; a sum over nothing is 0."""
        self._run(sql)
        (row,) = self._connection.fetchall()
        return tuple(int(number or 0) for number in row)

    def _run(self, sql: str) -> None:
        try:
            self._connection.execute(sql)
            return
        except duckdb.Error as error:
            problem = _failed(error)
        # Raised outside the handler, because the engine's message may quote a row.
        raise problem


def _failed(error: Exception) -> ConsentRetlError:
    return ModelError(f"consent sources cannot be joined: {type(error).__name__}")


def _fields(source: ExternalConsent, kinds: Mapping[str, ValueKind]) -> list[pa.Field]:
    if isinstance(source, IdentityLinks):
        return [pa.field(CLUSTER, pa.int64())]
    if not isinstance(source, ConsentSource):
        return [pa.field(source.column, pa.bool_())]
    values = [pa.field(name, kinds[source.value or column].type) for column, name in source.columns]
    doubts = [pa.field(name, pa.int32()) for name in dict.fromkeys(source.doubts.values())]
    times = [pa.field(name, pa.timestamp("us", tz="UTC")) for name in dict.fromkeys(source.times.values())]
    return [*values, *doubts, *times]


def _answers(source: ExternalConsent) -> list[str]:
    """Return the columns for which a source may have no subject, one for each of its parts."""
    if isinstance(source, ConsentSource) and source.category is not None:
        return [name for _, name in source.columns]
    return [source.brought[0]]


def _ordinals(start: int, rows: int) -> pa.Array:
    return pa.array(np.arange(start, start + rows, dtype=np.int64))


def _key(number: int) -> str:
    return f"key_{number}"
