"""A model's snapshot as an immutable table of the staging schema: rows are read once and never leave the warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import CLUSTER, PERSON, Doubt
from airflow_consent_retl.databases.dialect import dialect_of, placeholder
from airflow_consent_retl.errors import ConfigurationError, ModelError, RefusedError
from airflow_consent_retl.extraction.consent_kinds import check_kinds, check_matched
from airflow_consent_retl.extraction.consent_kinds import check_names as check_brought
from airflow_consent_retl.extraction.consent_warehouse import (
    answers_of,
    check_types,
    clusters_of,
    joined_sql,
    reachable,
    sources_of,
)
from airflow_consent_retl.extraction.data_time import DataTime, DeclaredTime
from airflow_consent_retl.extraction.repeated_ids import RepeatedIds, check_present, check_unique
from airflow_consent_retl.storage.manifest import Column, LinkedPeople, SnapshotManifest, WarehouseTable, sql_sha256
from airflow_consent_retl.values.columns import check_key_type, check_names

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.consent import ExternalConsent
    from airflow_consent_retl.databases.staging import StagingTable, Warehouse
    from airflow_consent_retl.extraction.linked_warehouse import WarehouseLinks
    from airflow_consent_retl.extraction.reading import HookOf
    from airflow_consent_retl.storage.manifest import ModelSource
    from airflow_consent_retl.storage.source_sizes import SourceSizes

# Enough rows to find the type of a column for which the warehouse declares no type.
_SAMPLE_ROWS = 100


@contextmanager
def warehouse_snapshot(
    warehouse: Warehouse,
    *,
    model: str,
    source: ModelSource,
    primary_key: str,
    check_primary_key: bool,
    read_at: datetime,
    hook_of: HookOf,
    declared_time: DeclaredTime | None = None,
    made: StagingTable | None = None,
    sizes: SourceSizes | None = None,
    log: Callable[[str], object] = lambda message: None,
    warn: Callable[[str], object] = lambda message: None,
) -> Iterator[tuple[SnapshotManifest, StagingTable]]:
    """Make the table, check it, and yield its manifest and the table. If the block fails, the table is dropped.

    Args:
        warehouse: the warehouse, already entered.
        model: the model's name.
        source: the source of the rows.
        primary_key: the column with the ids.
        check_primary_key: whether ids that are NULL or occur twice are an error.
        read_at: a time before the query started.
        hook_of: returns the hook of another connection, for consent sources.
        declared_time: what the model says about the time of its rows.
        made: the table, if its query has already run; otherwise the table is made now.
        sizes: how many rows the consent sources had before; None: they are not compared.
        log: gets messages about consent sources.
        warn: gets those that a person should read.

    Raises:
        ModelError: the query fails, or its columns or ids are not valid for a model.
        ConfigurationError: types are declared, which is only supported for files.
        SourceUnavailableError: the warehouse does not answer.
    """
    if source.column_types:
        raise ConfigurationError(
            "column_types: rows that stay in the warehouse have the warehouse's types; cast them in the model's SQL"
        )
    with ExitStack() as undo:
        table = made or warehouse.table("snapshot", at=read_at)
        undo.callback(warehouse.drop, table)
        if made is None:
            with warehouse.in_time_zone(source.time_zone):
                rows = warehouse.create_as(table, source.sql)
        else:
            rows = warehouse.count(table)
        linked: LinkedPeople | None = None
        if source.consent_sources:
            alone, table = table, warehouse.table("snapshot", at=read_at)
            undo.callback(warehouse.drop, table)
            linked = _join(
                warehouse,
                alone,
                table,
                source,
                undo,
                rows=rows,
                at=read_at,
                hook_of=hook_of,
                sizes=sizes,
                log=log,
                warn=warn,
            )
            warehouse.drop(alone)
        columns = _columns(warehouse, table)
        if linked is not None:
            # Only the filter needs it: no destination gets it.
            columns = {name: type_ for name, type_ in columns.items() if name != CLUSTER}
        check_names(columns, primary_key=primary_key, declared=())
        check_key_type(columns[primary_key], primary_key=primary_key)
        warehouse.check_values(table)
        if check_primary_key:
            _check_ids(warehouse, table, columns, primary_key=primary_key, rows=rows)
        manifest = SnapshotManifest(
            model=model,
            primary_key=primary_key,
            primary_key_checked=check_primary_key,
            source=source,
            sql_sha256=sql_sha256(source),
            read_at=read_at,
            as_of=_data_time(warehouse, table, columns, declared_time or DeclaredTime()).of(read_at),
            columns=tuple(Column(name=name, type=str(type_)) for name, type_ in columns.items()),
            parts=(),
            rows=rows,
            size_bytes=0,
            table=WarehouseTable(namespace=table.schema, name=table.name),
            linked=linked,
            source_sizes=() if sizes is None else sizes.found(read_at),
        )
        yield manifest, table
        undo.pop_all()


def _join(
    warehouse: Warehouse,
    alone: StagingTable,
    table: StagingTable,
    source: ModelSource,
    undo: ExitStack,
    *,
    rows: int,
    at: datetime,
    hook_of: HookOf,
    sizes: SourceSizes | None,
    log: Callable[[str], object],
    warn: Callable[[str], object],
) -> LinkedPeople | None:
    """Make the table of the model's rows, joined with consent sources, and return those who are linked to them."""
    sources = sources_of(source)
    columns = _columns(warehouse, alone)
    check_names(columns, primary_key=next(iter(columns)), declared=())
    check_brought(columns, sources)
    with (
        reachable(
            warehouse, sources, at=at, staged=True, time_zone=source.time_zone, hook_of=hook_of, sizes=sizes
        ) as places,
        ExitStack() as resources,
    ):
        for number, (one, place) in enumerate(zip(sources, places, strict=True)):
            key, subject = check_types(number, one, key=columns[str(one.key)], types=_columns_at(warehouse, place))
            check_kinds(number, one, key=key, subject=subject)
        model = warehouse.name_of(alone)
        links = clusters_of(warehouse, sources, places, resources, at=at, sizes=sizes, log=log, warn=warn)
        sql = joined_sql(warehouse, sources, model=model, columns=list(columns), places=places)
        found = warehouse.create_as(table, sql)
        linked = None
        if links is not None:
            links.check_matched(model, rows=rows, log=log, warn=warn)
            linked = _linked(warehouse, links, sources, model, places, undo, at=at)
    if found != rows:
        raise RefusedError(
            f"the join with consent sources changed the number of the model's rows from {rows:,} to {found:,}"
        )
    for number, one in enumerate(sources):
        for name, condition in _answers(warehouse, one):
            matched = _count(warehouse, table, condition)
            check_matched(number, one, name, rows=rows, matched=matched, log=log, warn=warn)
    return linked


def _linked(
    warehouse: Warehouse,
    links: WarehouseLinks,
    sources: Sequence[ExternalConsent],
    model: str,
    places: Sequence[str],
    undo: ExitStack,
    *,
    at: datetime,
) -> LinkedPeople:
    """Make the table of the people who are linked to the model's and have no row, and describe it."""
    table = warehouse.table("linked", at=at)
    undo.callback(warehouse.drop, table)
    answers = [(source, answers_of(warehouse, number, source)) for number, source in enumerate(sources)]
    people = links.make_outsiders(table, model, answers, {f"source-{n}": place for n, place in enumerate(places)})
    columns = _columns(warehouse, table)
    return LinkedPeople(
        clusters=links.clusters,
        people=people,
        table=WarehouseTable(namespace=table.schema, name=table.name),
        columns=tuple(
            Column(name=name, type=str(type_)) for name, type_ in columns.items() if name not in (CLUSTER, PERSON)
        ),
    )


def _data_time(
    warehouse: Warehouse, table: StagingTable, columns: Mapping[str, pa.DataType], declared: DeclaredTime
) -> DataTime:
    """Return the time of the table's rows."""
    found = DataTime(declared)
    if declared.column is None:
        return found
    if declared.column not in columns:
        raise ModelError(f"as_of: there is no column `{declared.column}`")
    column = warehouse.quote(declared.column)
    # A third one would tell nothing more.
    sql = f"SELECT DISTINCT {column} FROM {warehouse.name_of(table)} LIMIT 2"  # noqa: S608 - names are quoted
    with warehouse.read(sql) as rows:
        for batch in rows.batches:
            found.see(batch)
    return found


def _answers(warehouse: Warehouse, source: ExternalConsent) -> list[tuple[str, str]]:
    """Return the columns for which a source may have no subject, each with the condition of rows with a subject.

    The column of doubts contains a number in rows whose subject is in the consent source, and NULL in other rows. A
    subject that is there under another spelling only is not there.
    """
    doubts: dict[str, str] = {}
    for name, doubt in source.doubts.items():
        doubts.setdefault(doubt, name)
    found = [(name, f"{warehouse.quote(doubt)} <> {int(Doubt.NEAR_KEY)}") for doubt, name in doubts.items()]
    return found + [(name, warehouse.quote(name)) for name in source.suppressions]


def _count(warehouse: Warehouse, table: StagingTable, condition: str) -> int:
    query = f"SELECT COUNT(*) FROM {warehouse.name_of(table)} WHERE {condition}"  # noqa: S608 - quoted names
    with warehouse.read(query) as counted:
        return sum(int(batch.column(0)[0].as_py()) for batch in counted.batches)


def _columns(warehouse: Warehouse, table: StagingTable) -> Mapping[str, pa.DataType]:
    """Return the types that an extraction of the table would have, as far as a sample contains them."""
    return _columns_at(warehouse, warehouse.name_of(table))


def _columns_at(warehouse: Warehouse, place: str) -> Mapping[str, pa.DataType]:
    query = f"SELECT {{}} FROM {place} LIMIT {{}}"  # noqa: S608 - quoted by the warehouse
    with warehouse.read(query.format("*", 0)) as rows:
        types = {field.name: field.type for field in rows.schema}
    unknown = [name for name, type_ in types.items() if str(type_) == "null"]
    if unknown:
        wanted = ", ".join(map(warehouse.quote, unknown))
        with warehouse.read(query.format(wanted, _SAMPLE_ROWS)) as rows:
            for batch in rows.batches:
                types |= {field.name: field.type for field in batch.schema}
    return types


def _check_ids(
    warehouse: Warehouse, table: StagingTable, columns: Mapping[str, pa.DataType], *, primary_key: str, rows: int
) -> None:
    dialect = dialect_of(warehouse.dialect, columns[primary_key])
    ids = RepeatedIds(dialect=dialect, primary_key=primary_key, id_type=str(columns[primary_key]))
    snapshot = placeholder("snapshot", dict.fromkeys(columns, "string"))
    sql = dialect.compile(ids.counts(snapshot), {"snapshot": warehouse.name_of(table)})
    with warehouse.read(sql) as found:
        (counts,) = [row for batch in found.batches for row in batch.to_pylist()]
    check_present(int(counts["missing"] or 0), primary_key=primary_key, rows=rows)
    check_unique(int(counts["repeated"]), primary_key=primary_key, rows=rows)
