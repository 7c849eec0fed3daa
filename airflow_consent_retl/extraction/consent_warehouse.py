"""The join of consent from other queries to a model's rows, inside the warehouse.

It uses the same expressions as the worker (`consent_expressions`), over tables of the staging schema or over the
queries themselves. Rows from another connection are first copied into the staging schema, and dropped at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import ibis
import pyarrow as pa

from airflow_consent_retl.consent import (
    CLOCK_SKEW,
    ConsentSource,
    IdentityLinks,
    SuppressionList,
    parse_source_document,
)
from airflow_consent_retl.consent.freshness import epoch_limits
from airflow_consent_retl.databases.dialect import dialect_of, placeholder
from airflow_consent_retl.databases.plain_query import plain_query
from airflow_consent_retl.databases.source import read_model
from airflow_consent_retl.errors import ModelError
from airflow_consent_retl.extraction.consent_expressions import AnswerHistory, joined, listed, parts_of
from airflow_consent_retl.extraction.consent_kinds import (
    ValueKind,
    check_list,
    kind_of,
    kind_to_see,
    source_query,
    wanted_columns,
)
from airflow_consent_retl.extraction.linked_people import identities_of, people_table
from airflow_consent_retl.extraction.linked_warehouse import WarehouseLinks

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ExternalConsent
    from airflow_consent_retl.databases.source import ModelQuery
    from airflow_consent_retl.databases.staging import StagingTable, Warehouse
    from airflow_consent_retl.extraction.reading import HookOf
    from airflow_consent_retl.storage.manifest import ModelSource
    from airflow_consent_retl.storage.source_sizes import SourceSizes

_BATCH_ROWS = 65_536
Place = Callable[[int], str]


def sources_of(source: ModelSource) -> list[ExternalConsent]:
    """Return the consent sources of a model."""
    return [parse_source_document(document) for document in source.consent_sources]


def joined_sql(
    warehouse: Warehouse,
    sources: Sequence[ExternalConsent],
    *,
    model: str,
    columns: Sequence[str],
    places: Sequence[str],
) -> str:
    """Return the query that joins consent sources to a model's rows.

    Args:
        warehouse: the warehouse whose dialect the SQL has.
        sources: the sources to join.
        model: the model in SQL: a table's name, or a query in brackets.
        columns: the model's columns to keep.
        places: each source in SQL, in the same form.
    """
    dialect = dialect_of(warehouse.dialect)
    rows = placeholder("model", dict.fromkeys([*columns, *(str(source.key) for source in sources)], "string"))
    parts = []
    tables = {"model": model}
    for number, source in enumerate(sources):
        tables[f"source-{number}"] = places[number]
        parts += parts_of(source, rows[str(source.key)], answers_of(warehouse, number, source), dialect)
    return dialect.compile(joined(rows, columns=columns, parts=parts), tables)


@contextmanager
def reachable(
    warehouse: Warehouse,
    sources: Sequence[ExternalConsent],
    *,
    at: datetime,
    staged: bool,
    time_zone: str,
    hook_of: HookOf,
    sizes: SourceSizes | None = None,
) -> Iterator[list[str]]:
    """Yield each source in SQL: a table's name, or a query in brackets. Tables made for this are dropped at the end.

    Args:
        warehouse: the warehouse, already entered.
        sources: the sources; their queries run on the warehouse's connection or on another one.
        at: the time for the names of tables.
        staged: whether the warehouse's own sources become tables too, so that their types can be checked.
        time_zone: of the model's sessions; the queries of sources run under it too.
        hook_of: returns the hook of another connection.
        sizes: how many rows the sources had before; None: they are not compared.

    Raises:
        ModelError: a suppression list has too few keys, or a source lost more rows than it may.
    """
    with ExitStack() as resources:
        places = []
        for number, source in enumerate(sources):
            is_own = source.conn_id is None or source.conn_id == warehouse.conn_id
            # On separate lines, so that a comment at the query's end does not hide what follows.
            query = f"(\n{plain_query(source.sql, dialect=warehouse.dialect)}\n)"
            if is_own and not staged:
                _check_size(warehouse, number, source, query, sizes)
                places.append(query)
                continue
            table = warehouse.table("consent", at=at)
            resources.callback(warehouse.drop, table)
            if is_own:
                with warehouse.in_time_zone(time_zone):
                    warehouse.create_as(table, source.sql)
            else:
                query_of_source = source_query(source, str(source.conn_id), time_zone=time_zone)
                _bring(warehouse, table, source, query_of_source, hook_of)
            _check_size(warehouse, number, source, warehouse.name_of(table), sizes)
            places.append(warehouse.name_of(table))
        yield places


def clusters_of(
    warehouse: Warehouse,
    sources: Sequence[ExternalConsent],
    places: list[str],
    resources: ExitStack,
    *,
    at: datetime,
    sizes: SourceSizes | None,
    log: Callable[[str], object],
    warn: Callable[[str], object],
) -> WarehouseLinks | None:
    """Find the clusters of a model's identities, and put them in place of the link table; None without identities.

    Args:
        warehouse: already entered.
        sources: all sources.
        places: each source in SQL; changed.
        resources: drop the tables at their end.
        at: the time for the names of tables.
        sizes: as for `reachable`.
        log: gets messages.
        warn: gets those that a person should read.
    """
    source = identities_of(sources)
    if source is None:
        return None
    number = list(sources).index(source)
    links = resources.enter_context(WarehouseLinks(warehouse, source, number, places[number], at=at))
    links.find(sizes=sizes, log=log, warn=warn)
    places[number] = links.people
    return links


def check_types(
    number: int, source: ExternalConsent, *, key: pa.DataType, types: Mapping[str, pa.DataType]
) -> tuple[str, str]:
    """Check the types of a source's columns, and return the kinds of the model's key and of its subject.

    Raises:
        ModelError: a column cannot be joined or read.
    """
    kinds = {}
    for name in wanted_columns(source):
        if name not in types:
            raise ModelError(f"consent_sources[{number}]: column `{name}` is not in its query")
        kind = kind_to_see(number, source, name)
        kind.see(types[name])
        kinds[name] = kind.kind
    return kind_of(key) or str(key), kinds[source.subject]


def answers_of(warehouse: Warehouse, number: int, source: ExternalConsent) -> ibis.Table:
    """Return a source's answers, from the placeholder `source-<number>`; of identities, everyone's cluster."""
    if isinstance(source, IdentityLinks):
        return people_table(f"source-{number}")
    dialect = dialect_of(warehouse.dialect)
    time = source.time if isinstance(source, ConsentSource) else None
    unit = source.time_unit if isinstance(source, ConsentSource) else None
    time_type = "timestamp('UTC')" if unit is None else "int64"
    types = {name: time_type if name == time else "string" for name in wanted_columns(source)}
    table = placeholder(f"source-{number}", types)
    if isinstance(source, SuppressionList):
        return listed(source, table, dialect)
    if time is not None and unit is not None:
        first, end, factor = epoch_limits(unit)
        number_of = table[time]
        is_time = (number_of >= first) & (number_of < end)
        table = table.mutate(**{time: ibis.cases((is_time, dialect.moment_of(number_of * factor)))})
    latest = (
        None
        if time is None
        else ibis.now().cast("timestamp('UTC')") + ibis.interval(seconds=int(CLOCK_SKEW.total_seconds()))
    )
    return AnswerHistory(source, dialect, table, latest=latest).reduced()


def _check_size(
    warehouse: Warehouse, number: int, source: ExternalConsent, place: str, sizes: SourceSizes | None
) -> None:
    """Have the warehouse count the keys of a list, or the rows of a source with a limit, and check their number."""
    if isinstance(source, IdentityLinks):
        # Its links are counted when its clusters are found.
        return
    is_list = isinstance(source, SuppressionList)
    if not is_list and (sizes is None or source.max_shrink_ratio is None):
        return
    name = f"source-{number}"
    rows = answers_of(warehouse, number, source) if is_list else placeholder(name, {source.subject: "string"})
    counted = rows.aggregate(rows=rows.count() if is_list else rows[source.subject].count())
    sql = dialect_of(warehouse.dialect).compile(counted, {name: place})
    with warehouse.read(sql) as found:
        size = sum(int(batch.column(0)[0].as_py()) for batch in found.batches)
    if isinstance(source, SuppressionList):
        check_list(number, source, size)
    if sizes is not None:
        sizes.see(number, source, size)


def _bring(
    warehouse: Warehouse, table: StagingTable, source: ExternalConsent, query: ModelQuery, hook_of: HookOf
) -> None:
    """Load the rows of a source behind another connection into a table."""
    wanted = wanted_columns(source)
    with read_model(hook_of(query.conn_id), query) as rows:
        batches = rows.batches
        first = next(batches, None)
        schema = pa.schema([(name, _loaded(first, name)) for name in wanted])

        def typed() -> Iterator[pa.RecordBatch]:
            for batch in [] if first is None else [first]:
                yield _typed(batch, schema)
            for batch in batches:
                yield _typed(batch, schema)

        warehouse.load(table, schema, typed())


def _loaded(batch: pa.RecordBatch | None, name: str) -> pa.DataType:
    type_ = pa.null() if batch is None else batch.schema.field(name).type
    kind = ValueKind(f"column `{name}` of a consent source", is_time=pa.types.is_timestamp(type_))
    kind.see(type_)
    # A text column accepts NULL; any other value is refused.
    return pa.string() if pa.types.is_null(kind.type) else kind.type


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    try:
        columns = [batch.column(field.name).cast(field.type) for field in schema]
        return pa.RecordBatch.from_arrays(columns, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        problem = ModelError("a consent source has values of several types in one column: declare its column_types")
    # Raised outside the handler, because Arrow's message quotes the value.
    raise problem
