"""The clusters of linked people in a warehouse: tables of the staging schema, made in rounds and dropped at the end.

It uses the same expressions as the worker: `linked_people`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Self

from airflow_consent_retl.consent import CLUSTER
from airflow_consent_retl.databases.dialect import dialect_of, placeholder
from airflow_consent_retl.extraction.consent_kinds import check_links, check_matched
from airflow_consent_retl.extraction.linked_people import (
    find_clusters,
    found_message,
    known_rows,
    outsiders,
    too_large_message,
    with_answers,
)

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from airflow_consent_retl.consent import ExternalConsent, IdentityLinks
    from airflow_consent_retl.databases.staging import StagingTable, Warehouse
    from airflow_consent_retl.storage.source_sizes import SourceSizes

Log = Callable[[str], object]


class WarehouseLinks:
    """The search for clusters of one link table. A context manager: it drops its tables.

    Args:
        warehouse: already entered.
        source: the declaration.
        number: of the source, for messages.
        links: the link table in SQL: a table's name, or a query in brackets.
        at: the time for the names of tables.
    """

    def __init__(self, warehouse: Warehouse, source: IdentityLinks, number: int, links: str, *, at: datetime) -> None:
        self._warehouse = warehouse
        self._dialect = dialect_of(warehouse.dialect)
        self._source = source
        self._number = number
        self._at = at
        self._names = {"links": links}
        self._made: dict[str, StagingTable] = {}
        self.clusters = 0

    @property
    def people(self) -> str:
        """The name of the table of all people with their clusters."""
        return self._names["people"]

    def find(self, *, sizes: SourceSizes | None, log: Log, warn: Log) -> None:
        """Find the clusters.

        Raises:
            ModelError: there are too few links, fewer than there may be, or they make too long chains.
        """
        checked = partial(check_links, self._number, self._source)
        found = find_clusters(self._source, self._dialect, self, number=self._number, check_links=checked)
        self.clusters = found.clusters
        if sizes is not None:
            sizes.see(self._number, self._source, found.links)
        log(found_message(self._number, found))
        if warning := too_large_message(self._number, self._source, found):
            warn(warning)

    def check_matched(self, model: str, *, rows: int, log: Log, warn: Log) -> None:
        """Check that the link table has at least one row of the model, given in SQL.

        Raises:
            ModelError: it has none.
        """
        self._names["model"] = model
        key = str(self._source.key)
        keys = placeholder("model", {key: "string"})
        (matched,) = self.numbers(known_rows(self._source, self._dialect, keys, keys[key]))
        check_matched(self._number, self._source, CLUSTER, rows=rows, matched=matched, log=log, warn=warn)

    def make_outsiders(
        self,
        table: StagingTable,
        model: str,
        answers: Sequence[tuple[ExternalConsent, ir.Table]],
        places: Mapping[str, str],
    ) -> int:
        """Make the table of people who are linked to the model and not in it, and return their number.

        Args:
            table: new.
            model: the model in SQL.
            answers: all sources, each with its answers.
            places: the tables that the answers read, by placeholder.
        """
        self._names["model"] = model
        key = str(self._source.key)
        keys = placeholder("model", {key: "string"})
        self.make("outsiders", outsiders(self._source, self._dialect, keys, keys[key]))
        asked = with_answers(self._source, answers, self._dialect, "outsiders")
        return self._warehouse.create_as(table, self._dialect.compile(asked, {**self._names, **places}))

    def make(self, name: str, expression: ir.Table) -> None:
        """Make a table."""
        table = self._warehouse.table("linked", at=self._at)
        self._warehouse.create_as(table, self._dialect.compile(expression, self._names))
        self._made[name] = table
        self._names[name] = self._warehouse.name_of(table)

    def numbers(self, expression: ir.Table) -> tuple[int, ...]:
        """Return the only row of an expression; a sum over nothing is 0."""
        with self._warehouse.read(self._dialect.compile(expression, self._names)) as rows:
            (row,) = [row for batch in rows.batches for row in batch.to_pylist()]
        return tuple(int(row[name] or 0) for name in expression.columns)

    def drop(self, name: str) -> None:
        """Drop a table."""
        self._warehouse.drop(self._made.pop(name))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for table in self._made.values():
            self._warehouse.drop(table)
