"""Lineage of tasks, as OpenLineage's datasets and facets: names, columns, counts and digests, and no value of a row.

Airflow's provider of OpenLineage asks operators for it, when a task starts and when it has ended. Only then is this
module imported: it needs that provider.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import Dataset, InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    DatasetFacet,
    OutputDatasetFacet,
    column_lineage_dataset,
    dataset_version_dataset,
    input_statistics_input_dataset,
    output_statistics_output_dataset,
    schema_dataset,
    sql_job,
)

from airflow_consent_retl.consent import parse_mapping_document
from airflow_consent_retl.contract.dataset_name import DatasetName, at_uri
from airflow_consent_retl.errors import ConsentRetlError
from airflow_consent_retl.fields.field_values import columns_of, value_of
from airflow_consent_retl.signals.outcome_facet import KEY, outcome_facet
from airflow_consent_retl.signals.source_tables import SourceTables, tables_of

if TYPE_CHECKING:
    from airflow_consent_retl.extraction.reading import HookOf
    from airflow_consent_retl.signals.outcome import SyncOutcome
    from airflow_consent_retl.storage.manifest import (
        Column,
        ManifestRef,
        ModelSource,
        PermittedManifest,
        SnapshotManifest,
    )

_RUN = re.compile(
    r"(?P<root>.+)/(?:snapshots|permitted)/(?:adhoc|[^/]+/[^/]+/[^/]+(?:/map-\d+)?)/[0-9a-f]{12}/manifest\.json"
)
_IDENTITY = column_lineage_dataset.Transformation(type="DIRECT", subtype="IDENTITY")
_COMPUTED = column_lineage_dataset.Transformation(type="DIRECT", subtype="TRANSFORMATION")
_FILTERED = column_lineage_dataset.Transformation(type="INDIRECT", subtype="FILTER")
_Inputs = Sequence[tuple[DatasetName, str]]


class TaskLineage(ABC):
    """The lineage of one task."""

    @abstractmethod
    def at_start(self) -> OperatorLineage[Any, Any]:
        """Return what is known before the task has run."""

    @abstractmethod
    def at_end(self) -> OperatorLineage[Any, Any]:
        """Return what is known after it, also if it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractLineage(TaskLineage):
    """From tables to a snapshot.

    Args:
        model: the model's name.
        source: returns where the rows are read, before there is a manifest.
        hooks_of: finds the hooks of a source.
        published: the manifest of the snapshot and its reference; None: there is none yet.
    """

    model: str
    source: Callable[[], ModelSource]
    hooks_of: Callable[[ModelSource], HookOf]
    published: tuple[SnapshotManifest, ManifestRef] | None

    def at_start(self) -> OperatorLineage[Any, Any]:
        """Return the tables, and the query."""
        source = self.source()
        return _reading(tables_of(self.model, source, self.hooks_of(source)), outcome_facet("extract", self.model))

    def at_end(self) -> OperatorLineage[Any, Any]:
        """Return also the snapshot: its columns and where they come from, its rows, its digest."""
        if self.published is None:
            return self.at_start()
        manifest, reference = self.published
        read = tables_of(self.model, manifest.source, self.hooks_of(manifest.source))
        columns: dict[str, _Inputs] = {
            column.name: read.columns[column.name] for column in manifest.columns if column.name in read.columns
        }
        # A consent source adds columns that the one table does not have.
        is_whole = read.whole is not None and not manifest.source.consent_sources
        if read.whole is not None and is_whole:
            columns = {column.name: [(read.whole, column.name)] for column in manifest.columns}
        lineage = _reading(read, outcome_facet("extract", self.model, data_time=manifest.data_time))
        lineage.outputs = [
            OutputDataset(
                *snapshot_name(reference.manifest, self.model),
                facets={
                    "schema": _schema(manifest.columns),
                    "version": dataset_version_dataset.DatasetVersionDatasetFacet(reference.sha256),
                    **_column_lineage(columns, lambda name: _IDENTITY if is_whole else None),
                },
                outputFacets={
                    "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                        rowCount=manifest.rows,
                        # Rows in a table of the warehouse have neither files nor a known size.
                        size=manifest.size_bytes or None,
                        fileCount=len(manifest.parts) or None,
                    )
                },
            )
        ]
        return lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterLineage(TaskLineage):
    """From a snapshot to the permitted rows of each destination.

    Args:
        snapshot: the reference to the snapshot.
        outcomes: the decisions, one for each destination.
        published: the manifest of the permitted set and its reference; None: there is none.
    """

    snapshot: ManifestRef
    outcomes: Sequence[SyncOutcome]
    published: tuple[PermittedManifest, ManifestRef] | None

    def at_start(self) -> OperatorLineage[Any, Any]:
        """Return the snapshot."""
        snapshot, model = self.snapshot, self.snapshot.model
        return OperatorLineage(
            inputs=[_input(snapshot_name(snapshot.manifest, model), rows=snapshot.rows, version=snapshot.sha256)],
            run_facets={KEY: outcome_facet("filter", model, self.outcomes)},
        )

    def at_end(self) -> OperatorLineage[Any, Any]:
        """Return also the permitted rows: they have the snapshot's columns, and depend on the columns of consent."""
        lineage = self.at_start()
        if self.published is None:
            return lineage
        manifest, reference = self.published
        snapshot = snapshot_name(self.snapshot.manifest, self.snapshot.model)
        consent = parse_mapping_document(manifest.consent).columns
        columns = _column_lineage(
            {column.name: [(snapshot, column.name)] for column in manifest.columns},
            lambda name: _IDENTITY,
            filtered_by=[(snapshot, column) for column in consent],
        )
        lineage.outputs = [
            OutputDataset(
                *permitted_name(reference.manifest, manifest.model, destination),
                facets={
                    "schema": _schema(manifest.columns),
                    "version": dataset_version_dataset.DatasetVersionDatasetFacet(reference.sha256),
                    **columns,
                },
                outputFacets=_rows_written(counts.permitted),
            )
            for destination, counts in manifest.destinations.items()
        ]
        return lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLineage(TaskLineage):
    """From the permitted rows of a destination to the destination.

    Args:
        permitted: the reference to the permitted set.
        destination: the policy's name of it.
        fields: the destination's fields, each with the model's column or another value.
        place: returns the destination's name in lineage; None: nothing is sent.
        outcomes: what the load did; empty before.
        columns: of the model; empty where they are not known.
    """

    permitted: ManifestRef
    destination: str
    fields: Mapping[str, str]
    place: Callable[[], DatasetName] | None
    outcomes: Sequence[SyncOutcome]
    columns: Sequence[Column]

    def at_start(self) -> OperatorLineage[Any, Any]:
        """Return the permitted rows, and the destination with its fields."""
        permitted = self.permitted
        name = permitted_name(permitted.manifest, permitted.model, self.destination)
        rows = permitted.permitted.get(self.destination)
        return OperatorLineage(
            inputs=[_input(name, rows=rows, version=permitted.sha256)],
            outputs=[self._output(place, name) for place in _known(self.place)],
            run_facets={KEY: outcome_facet("load", permitted.model, self.outcomes)},
        )

    def at_end(self) -> OperatorLineage[Any, Any]:
        """Return the same, with the counts."""
        return self.at_start()

    def _output(self, place: DatasetName, permitted: DatasetName) -> OutputDataset:
        types = {column.name: column.type for column in self.columns}
        made_of = {name: [(permitted, column) for column in columns_of(value)] for name, value in self.fields.items()}
        plain = {name for name, value in self.fields.items() if value_of(value) is None}
        accepted = [outcome.numbers.get("accepted", 0) for outcome in self.outcomes]
        return OutputDataset(
            *place,
            facets={
                "schema": schema_dataset.SchemaDatasetFacet(
                    fields=[
                        schema_dataset.SchemaDatasetFacetFields(
                            name=name, type=types.get(value) if name in plain else None
                        )
                        for name, value in self.fields.items()
                    ]
                ),
                **_column_lineage(made_of, lambda name: _IDENTITY if name in plain else _COMPUTED),
            },
            outputFacets=_rows_written(sum(accepted)) if accepted else {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalsLineage(TaskLineage):
    """From a model's ids and consent to the destinations from which people are removed.

    Args:
        model: the model's name.
        source: returns where the consent is read.
        hooks_of: finds the hooks of a source.
        places: by destination that was served, a function that returns its name in lineage.
        outcomes: what the task did at each destination.
    """

    model: str
    source: Callable[[], ModelSource]
    hooks_of: Callable[[ModelSource], HookOf]
    places: Mapping[str, Callable[[], DatasetName]] = field(default_factory=dict)
    outcomes: Sequence[SyncOutcome] = ()

    def at_start(self) -> OperatorLineage[Any, Any]:
        """Return the tables, and the query."""
        source = self.source()
        facet = outcome_facet("withdrawals", self.model, self.outcomes)
        return _reading(tables_of(self.model, source, self.hooks_of(source)), facet)

    def at_end(self) -> OperatorLineage[Any, Any]:
        """Return also the destinations that were served, with the counts."""
        lineage = self.at_start()
        lineage.outputs = [OutputDataset(*name) for place in self.places.values() for name in _known(place)]
        return lineage


def snapshot_name(manifest_uri: str, model: str) -> DatasetName:
    """Return the name of a model's snapshots, which is the same in each run; the manifest's digest is its version."""
    return _in_workspace(manifest_uri, "snapshots", model)


def permitted_name(manifest_uri: str, model: str, destination: str) -> DatasetName:
    """Return the name of the rows of a model that a destination may receive, likewise."""
    return _in_workspace(manifest_uri, "permitted", model, destination)


def _in_workspace(manifest_uri: str, *names: str) -> DatasetName:
    found = _RUN.fullmatch(manifest_uri)
    root = manifest_uri.rpartition("/")[0] if found is None else found["root"]
    return at_uri("/".join([root, *names]))


def _known(place: Callable[[], DatasetName] | None) -> Iterable[DatasetName]:
    """Yield the name of a place, if there is one: what is wrong with a destination, its task says itself."""
    try:
        if place is not None:
            yield place()
    except ConsentRetlError:
        return


def _reading(read: SourceTables, facet: object) -> OperatorLineage[Any, Any]:
    return OperatorLineage(
        inputs=[InputDataset(*name) for name in read.tables],
        run_facets={KEY: facet},
        job_facets={"sql": sql_job.SQLJobFacet(query=read.sql)} if read.sql else {},
    )


def _input(name: DatasetName, *, rows: int | None, version: str) -> Dataset:
    statistics = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=rows)
    return InputDataset(
        *name,
        facets={"version": dataset_version_dataset.DatasetVersionDatasetFacet(version)},
        inputFacets={} if rows is None else {"inputStatistics": statistics},
    )


def _rows_written(rows: int) -> dict[str, OutputDatasetFacet]:
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=rows)
    return {"outputStatistics": statistics}


def _schema(columns: Sequence[Column]) -> schema_dataset.SchemaDatasetFacet:
    fields = [schema_dataset.SchemaDatasetFacetFields(name=column.name, type=column.type) for column in columns]
    return schema_dataset.SchemaDatasetFacet(fields=fields)


def _column_lineage(
    columns: Mapping[str, _Inputs],
    made_by: Callable[[str], column_lineage_dataset.Transformation | None],
    *,
    filtered_by: _Inputs = (),
) -> dict[str, DatasetFacet]:
    """Return the facet of where columns come from; none if that is not known of any.

    Args:
        columns: by column, the columns that it is made of.
        made_by: returns what makes a column; None: not known.
        filtered_by: the columns that decide which rows there are.
    """

    def inputs(names: _Inputs, how: column_lineage_dataset.Transformation | None) -> list[Any]:
        made = [] if how is None else [how]
        return [column_lineage_dataset.InputField(*name, field=column, transformations=made) for name, column in names]

    fields = {
        name: column_lineage_dataset.Fields(inputFields=inputs(made_of, made_by(name)))
        for name, made_of in columns.items()
        if made_of
    }
    if not fields:
        return {}
    facet = column_lineage_dataset.ColumnLineageDatasetFacet(fields=fields, dataset=inputs(filtered_by, _FILTERED))
    return {"columnLineage": facet}
