"""The check of a filter and of the destinations it decides for, and of each load's place."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent import plan_consent
from airflow_consent_retl.consent.destination_binding import DestinationUse
from airflow_consent_retl.hooks.lookups import connection_named
from airflow_consent_retl.operators.bindings import check_destinations, mapping_in_force, use_of_load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from airflow_consent_retl.checking.findings import TaskFindings
    from airflow_consent_retl.checking.models import CheckedModel
    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.hooks.policies import LoadedPolicy


def check_consent(
    task: Any, loaded: LoadedPolicy, model: CheckedModel, destinations: Sequence[str], findings: TaskFindings
) -> None:
    """Check the destinations and the consent mapping of a filter or of a fast lane against policy and columns.

    Args:
        task: with its templates rendered.
        loaded: its policy.
        model: what it reads.
        destinations: for which it decides.
        findings: about the task.
    """
    if model.use is None:
        return
    with findings.at("consent"):
        mapping = mapping_in_force(loaded, model.use, task.consent)
        at = datetime.now(UTC)
        plan = plan_consent(loaded.policy, destinations=destinations, mapping=mapping, columns=model.kinds, at=at)
        for warning in plan.warnings:
            findings.note("warning", "consent", warning)


def check_load(
    load: Any,
    loaded: LoadedPolicy | None,
    model: CheckedModel | None,
    destinations: Sequence[str] | None,
    findings: TaskFindings,
    *,
    connects: bool,
) -> None:
    """Check a load: its destination's name, its fields, its guards, its settings and its target.

    Args:
        load: with its templates rendered.
        loaded: the filter's policy; None: it cannot be read.
        model: what the extraction reads; None: the DAG does not show it.
        destinations: for which the filter decides; None: the DAG does not show it.
        findings: about the task.
        connects: whether connections are read, and the target asked.
    """
    from airflow_consent_retl.filtering.permitted import check_made_for

    if destinations is not None:
        with findings.at(f"destination={load.destination}"):
            check_made_for(load.destination, destinations)
    fields = _checked_fields(load, loaded, model, findings)
    if not connects:
        findings.note("unchecked", "target", "connection and target are not checked without a connection")
        return
    destination: Destination | None = None
    name, conn_id = _connection_of(load)
    with findings.at(f"{name}={conn_id}"):
        if not load.wrong_options():
            destination = load.build_destination()
        elif conn_id:
            # No destination is made of wrong options; its connection may be wrong too.
            connection_named(conn_id)
    if destination is None:
        return
    with findings.at("target"):
        destination.try_writing()
    with findings.at("settings"):
        load.sync_settings().check_supported(load.build_destination, load.fields)
    if loaded is not None:
        with findings.at("destination"):
            check_destinations(loaded, [use_of_load(load, fields=fields)])
    if fields is not None and model is not None and model.schema is not None:
        with findings.at("target"):
            _check_target(load, destination, model, model.schema, fields)


def _connection_of(load: Any) -> tuple[str, str]:
    """Return the parameter of the destination's connection, and the connection; empty where it has none."""
    names = [name for name in getattr(load.spec_class, "templated", ()) if name.endswith("conn_id")]
    name = names[0] if names else "conn_id"
    return name, str(getattr(load, name, ""))


def _checked_fields(
    load: Any, loaded: LoadedPolicy | None, model: CheckedModel | None, findings: TaskFindings
) -> Mapping[str, str] | None:
    """Return the fields, if the model has their columns; otherwise note why it has not."""
    from airflow_consent_retl.fields.field_values import columns_of
    from airflow_consent_retl.filtering.guarded_fields import check_guarded
    from airflow_consent_retl.filtering.permitted import checked_fields

    fields: Mapping[str, str] | None = None
    with findings.at("fields"):
        named = [column for source in load.fields.values() for column in columns_of(source)]
        columns = named if model is None or model.schema is None else model.schema.names
        fields = checked_fields(load.fields, columns)
    if fields is not None and loaded is not None and model is not None:
        with findings.at("fields_not_sent"):
            check_guarded(
                loaded.policy.guards(load.destination),
                fields,
                destination=load.destination,
                primary_key=model.primary_key,
                not_sent=load.fields_not_sent,
            )
    return fields


def _check_target(
    load: Any, destination: Destination, model: CheckedModel, schema: pa.Schema, fields: Mapping[str, str]
) -> None:
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.filtering.field_mapping import FieldMapping

    key = next((name for name, column in fields.items() if column == model.primary_key), None)
    described = Load(
        key="0" * 64,
        destination=load.destination,
        model=model.name,
        schema=FieldMapping(fields).schema(schema),
        key_field=key,
        rows=1,
        decided_at=datetime.now(UTC),
    )
    destination.check(load.sync_settings().applied_to(described))


def uses_of_names(destinations: Sequence[str]) -> list[DestinationUse]:
    """Return the uses of destinations of which only the names are known."""
    return [DestinationUse(name=name) for name in destinations]
