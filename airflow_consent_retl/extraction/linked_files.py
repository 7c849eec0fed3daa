"""The clusters of linked people in the worker, found by DuckDB, and the model's rows together with those people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import ibis
import pyarrow as pa

from airflow_consent_retl.consent import CLUSTER, PERSON
from airflow_consent_retl.databases.dialect import Dialect
from airflow_consent_retl.extraction.consent_kinds import check_links, received
from airflow_consent_retl.extraction.linked_people import (
    asked_about,
    find_clusters,
    found_message,
    outsiders,
    too_large_message,
    with_answers,
)
from airflow_consent_retl.extraction.linked_rows import LinkedRows

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from airflow_consent_retl.consent import ExternalConsent, IdentityLinks
    from airflow_consent_retl.databases.source import ModelRows

Log = Callable[[str], object]

_DIALECT = Dialect("duckdb")


class LinkTables:
    """The tables of a link table in DuckDB, which holds its rows and the model's keys.

    Args:
        source: the declaration.
        number: of the source, for the names of tables.
        run: runs a statement.
        fetch: runs a query for numbers, and returns its only row.
    """

    def __init__(
        self,
        source: IdentityLinks,
        number: int,
        run: Callable[[str], object],
        fetch: Callable[[str], tuple[int, ...]],
    ) -> None:
        self._source = source
        self.number = number
        self._run = run
        self._fetch = fetch
        self._clusters = 0
        self._names = {"links": f"source_{number}", "people": f"reduced_{number}", "outsiders": f"outsiders_{number}"}

    def find(self, *, log: Log, warn: Log) -> int:
        """Find the clusters, and return the number of links.

        Raises:
            ModelError: there are too few links, or they make too long chains.
        """
        checked = partial(check_links, self.number, self._source)
        found = find_clusters(self._source, _DIALECT, self, number=self.number, check_links=checked)
        self._clusters = found.clusters
        log(found_message(self.number, found))
        if warning := too_large_message(self.number, self._source, found):
            warn(warning)
        return found.links

    def with_outsiders(
        self,
        rows: ModelRows,
        key: str,
        sources: Sequence[tuple[ExternalConsent, ir.Table, Sequence[pa.Field]]],
        read: Callable[[str], Iterator[pa.RecordBatch]],
    ) -> LinkedRows:
        """Return a model's rows with the people who are linked to them and have none.

        Args:
            rows: with the column of their cluster.
            key: the column of table `model` with the keys of the rows.
            sources: each with its answers, and the columns that it brings.
            read: runs a query and yields its rows.
        """
        known = asked_about(self._source, [source for source, _, _ in sources])
        fields = [field for source, _, brought in sources if source in known for field in brought]
        schema = pa.schema([(CLUSTER, pa.int64()), (PERSON, pa.string()), *fields])

        def linked() -> Iterator[pa.RecordBatch]:
            keys = ibis.table({key: "string"}, name="model")
            self.make("outsiders", outsiders(self._source, _DIALECT, keys, keys[key]))
            answers = [(source, found) for source, found, _ in sources]
            asked = with_answers(self._source, answers, _DIALECT, "outsiders")
            for batch in read(_DIALECT.compile(asked, self._names)):
                columns = [received(batch.column(field.name), field) for field in schema]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

        return LinkedRows(rows.schema, rows.batches, self._clusters, schema, linked)

    def make(self, name: str, expression: ir.Table) -> None:
        """Make a table."""
        table = self._names.setdefault(name, f"{name}_of_{self.number}")
        self._run(f"CREATE TABLE {table} AS {_DIALECT.compile(expression, self._names)}")

    def numbers(self, expression: ir.Table) -> tuple[int, ...]:
        """Return the only row of an expression."""
        return self._fetch(_DIALECT.compile(expression, self._names))

    def drop(self, name: str) -> None:
        """Drop a table."""
        self._run(f"DROP TABLE {self._names.pop(name)}")
