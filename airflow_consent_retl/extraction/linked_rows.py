"""A model's rows together with the people who are linked to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import CLUSTER, PERSON
from airflow_consent_retl.databases.source import ModelRows
from airflow_consent_retl.storage.manifest import Column, LinkedPeople
from airflow_consent_retl.storage.parts import PartsWriter

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.storage.folder import Folder

_ROW_GROUP_ROWS = 131_072


@dataclass(frozen=True, slots=True)
class LinkedRows(ModelRows):
    """A model's rows with the column of their cluster, and the people who are linked to them and not in the model.

    Args:
        clusters: the number of clusters; rows have the number of theirs.
        linked_schema: of the people: their cluster, their id as text, and the columns that sources brought.
        linked: yields the people; called once, after all rows were read.
    """

    clusters: int
    linked_schema: pa.Schema
    linked: Callable[[], Iterator[pa.RecordBatch]]


def write_linked(folder: Folder, rows: ModelRows) -> LinkedPeople | None:
    """Write the people who are linked to a model's rows, after the rows; None if the model has no identities."""
    if not isinstance(rows, LinkedRows):
        return None
    writer = PartsWriter(folder, "linked", rows.linked_schema, row_group_rows=_ROW_GROUP_ROWS)
    with ExitStack() as undo:
        # The caller removes the folder.
        undo.callback(writer.abort)
        for batch in rows.linked():
            writer.write(batch)
        parts = writer.close()
        undo.pop_all()
    columns = tuple(
        Column(name=field.name, type=str(field.type))
        for field in rows.linked_schema
        if field.name not in (CLUSTER, PERSON)
    )
    return LinkedPeople(clusters=rows.clusters, people=writer.rows, parts=parts, columns=columns)
