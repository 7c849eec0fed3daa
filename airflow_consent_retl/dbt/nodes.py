"""The node of a dbt project that a DAG names, and the column that looks like its primary key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_consent_retl.dbt.manifest_file import RESOURCES
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    from airflow_consent_retl.dbt.manifest_file import Constraint, Manifest, Node


def node_named(manifest: Manifest, name: str, *, place: str) -> Node:
    """Return the model, seed or snapshot of a name.

    Args:
        manifest: of the project.
        name: `customers`; `customers.v2` for a version, otherwise the latest one; `package.customers`; or dbt's
            unique id.
        place: of the manifest, for messages.

    Raises:
        ConfigurationError: there is none, there are several, it is disabled, or it has no relation.
    """
    found = [node for node in manifest.relations if name in node.short_names]
    if len(found) > 1:
        listed = ", ".join(sorted(f"`{node.package_name}.{node.name}`" for node in found))
        raise ConfigurationError(f"dbt model `{name}` of {place} is one of several: name one of {listed}")
    if not found:
        raise _missing(manifest, name, place)
    node = found[0]
    if node.config.enabled is False:
        raise _disabled(name, place)
    if node.config.materialized == "ephemeral":
        raise ConfigurationError(
            f"dbt model `{name}` of {place} is ephemeral: dbt builds no relation of it that could be read. Materialize "
            "it as a view or a table"
        )
    if not node.relation_name:
        raise ConfigurationError(
            f"dbt model `{name}` of {place} has no relation in the manifest: run `dbt parse` or `dbt compile`"
        )
    return node


def primary_key_hint(manifest: Manifest, node: Node) -> str | None:
    """Return the column that constraints, or tests for unique and not NULL values, make look like a primary key.

    It is a hint for a person: a primary key decides who is one person, so it has to be written down.
    """
    keys = _constrained(node, "primary_key")
    if keys:
        return keys[0] if len(keys) == 1 else None
    tested: dict[str, set[str]] = {
        name: {*_constrained(node, name)} | {*_tested(manifest.nodes.values(), node, name)}
        for name in ("unique", "not_null")
    }
    both = sorted(tested["unique"] & tested["not_null"])
    return both[0] if len(both) == 1 else None


def _constrained(node: Node, kind: str) -> list[str]:
    of_columns = [name for name, column in node.columns.items() if _has(column.constraints, kind)]
    of_model = [name for one in node.constraints or () if one.type == kind for name in one.columns or ()]
    return list(dict.fromkeys([*of_columns, *of_model]))


def _has(constraints: list[Constraint] | None, kind: str) -> bool:
    return any(one.type == kind for one in constraints or ())


def _tested(nodes: Iterable[Node], node: Node, kind: str) -> list[str]:
    return [
        test.column_name
        for test in nodes
        if test.resource_type == "test"
        and test.test_metadata is not None
        and (test.test_metadata.name, test.test_metadata.namespace) in {(kind, None), (kind, "dbt")}
        and test.column_name is not None
        and test.depends_on is not None
        and test.depends_on.nodes == [node.unique_id]
    ]


def _missing(manifest: Manifest, name: str, place: str) -> ConfigurationError:
    disabled = [one for nodes in (manifest.disabled or {}).values() for one in nodes if one.resource_type in RESOURCES]
    if any(name in node.short_names for node in disabled):
        return _disabled(name, place)
    known = [node.name for node in manifest.relations] + [node.name for node in disabled]
    return ConfigurationError(f"{place} has no dbt model `{name}`{suggestion(name, known)}")


def _disabled(name: str, place: str) -> ConfigurationError:
    return ConfigurationError(
        f"dbt model `{name}` of {place} is disabled: dbt does not build it, so its relation may be missing or old. "
        "Enable it, or take the sync out of the DAG"
    )
