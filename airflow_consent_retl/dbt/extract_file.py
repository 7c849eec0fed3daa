"""The extract of a manifest: the models that declare a sync, in a file of some kilobytes that DAGs read when parsed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from airflow_consent_retl.dbt.manifest_file import (
    EXTRACT_VERSION,
    NAMESPACE,
    Config,
    DbtColumn,
    Manifest,
    Node,
    has_own_meta,
    own_meta,
)
from airflow_consent_retl.dbt.meta import declared_models
from airflow_consent_retl.dbt.written import HEADING
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.dbt.manifest_file import Meta


def extract_text(manifest: Manifest) -> str:
    """Return the extract of a manifest. The same models always give the same text.

    Raises:
        ConfigurationError: the `meta` of some models is wrong, with every problem of all of them; or no model declares
            a sync.
    """
    declared = {model.unique_id for model in declared_models(manifest)}
    if not declared:
        raise ConfigurationError(f"no model of the dbt project declares a sync: their `meta` has no key `{NAMESPACE}`")
    extract = Manifest(
        metadata=manifest.metadata,
        nodes={unique_id: _reduced(manifest.nodes[unique_id]) for unique_id in sorted(declared)},
        disabled=_disabled(manifest),
        consent_retl_extract=EXTRACT_VERSION,
    )
    # The heading comes first, so that the command knows its own file.
    document = {"about": f"{HEADING} dbt-extract", **msgspec.to_builtins(extract)}
    return json.dumps(document, indent=1, sort_keys=False, ensure_ascii=False).replace("{\n ", "{ ", 1) + "\n"


def _reduced(node: Node) -> Node:
    """Return a node with what a sync needs."""
    all_columns = node.contract is not None and node.contract.enforced
    columns = {name: _reduced_column(column) for name, column in node.columns.items()}
    return msgspec.structs.replace(
        node,
        config=msgspec.structs.replace(node.config, meta=None),
        meta=_own(own_meta(node.meta, node.config)),
        columns={name: column for name, column in columns.items() if all_columns or column.meta is not None},
        constraints=None,
        depends_on=None,
    )


def _reduced_column(column: DbtColumn) -> DbtColumn:
    return DbtColumn(meta=_own(own_meta(column.meta, column.config)))


def _own(found: list[object]) -> Meta | None:
    return {NAMESPACE: found[0]} if found else None


def _disabled(manifest: Manifest) -> dict[str, list[Node]]:
    """Return the disabled models that would declare a sync, by name only: a DAG gets the right message."""
    return {
        unique_id: [
            Node(
                unique_id=one.unique_id,
                name=one.name,
                resource_type=one.resource_type,
                package_name=one.package_name,
                config=Config(enabled=False),
            )
            for one in nodes[:1]
        ]
        for unique_id, nodes in sorted((manifest.disabled or {}).items())
        if any(has_own_meta(one) for one in nodes)
    }
