"""Syncs as dbt exposures: for each sync, what it reads from the project, where it goes, and who owns it.

One YAML file belongs to this module as a whole. Other exposures of the project are never touched.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.dbt.manifest_file import NAMESPACE
from airflow_consent_retl.dbt.written import HEADING
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators.parsed_tasks import extraction_of, is_known

if TYPE_CHECKING:
    from airflow_consent_retl.dbt.manifest_file import Manifest, Node

# https://docs.getdbt.com/docs/build/exposures (read 2026-11-29): letters, digits and underscores.
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_]+")
_LINE_CHARACTERS = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposedSync:
    """A sync that reads relations of a dbt project.

    Args:
        model: the sync's model.
        destination: the policy's name of the destination.
        operator: the class of its load.
        dag: the id of its DAG.
        task: the id of its load.
        owner: the owner of that task in Airflow.
        depends_on: the nodes that its queries read.
    """

    model: str
    destination: str
    operator: str
    dag: str
    task: str
    owner: str
    depends_on: tuple[Node, ...]

    @property
    def sync(self) -> str:
        """The sync's name."""
        return f"{self.model}/{self.destination}"


def exposed_syncs(loads: Iterable[Any], manifest: Manifest) -> list[ExposedSync]:
    """Return the syncs of a project among the loads of DAGs, by name. Loads of other data are left out.

    A sync belongs to the project if the SQL of its model, or of one of its consent sources, names a relation of the
    project. So syncs with SQL of their own are found, too.

    Args:
        loads: tasks of DAGs that were parsed.
        manifest: of the project.
    """
    relations = _Relations(manifest)
    found: dict[str, ExposedSync] = {}
    for load in loads:
        extraction = extraction_of(getattr(load.permitted, "operator", None))
        if extraction is None or not is_known(load.destination) or not is_known(extraction.model):
            continue
        queries = [extraction.sql, *(getattr(one, "sql", None) for one in extraction.consent_sources)]
        depends_on = relations.named_in(query for query in queries if isinstance(query, str))
        if depends_on:
            one = ExposedSync(
                model=extraction.model,
                destination=load.destination,
                operator=type(load).__name__,
                dag=load.dag_id,
                task=load.task_id,
                owner=load.owner,
                depends_on=depends_on,
            )
            found.setdefault(one.sync, one)
    return [found[name] for name in sorted(found)]


def exposures_text(
    syncs: Sequence[ExposedSync],
    manifest: Manifest,
    *,
    file: str,
    owner: str | None = None,
    owner_email: str | None = None,
) -> str:
    """Return the YAML file with one exposure for each sync. The same syncs always give the same text.

    Args:
        syncs: by name.
        manifest: of the project.
        file: the path of the file to write; exposures of the manifest that are in it are ours.
        owner: the name of their owner; None: the owner of the task in Airflow.
        owner_email: the owner's address.

    Raises:
        ConfigurationError: another file of the project has an exposure of the same name.
    """
    import yaml  # type: ignore[import-untyped]

    names = _names(syncs)
    for other in manifest.exposures.values():
        if other.name in names.values() and not file.endswith(other.original_file_path):
            raise ConfigurationError(
                f"{other.original_file_path} of the dbt project has an exposure `{other.name}`: names of exposures are "
                "unique, so rename that one, or write into its file"
            )
    listed = []
    for one in syncs:
        meta = {
            "sync": one.sync,
            "model": one.model,
            "destination": one.destination,
            "operator": one.operator,
            "dag": one.dag,
            "task": one.task,
        }
        placed: dict[str, Any] = {"meta": {NAMESPACE: meta}}
        listed.append(
            {
                "name": names[one.sync],
                "label": f"{one.model} to {one.destination}",
                "type": "application",
                "description": (
                    f"Rows of {one.model} whose person consented, kept up to date at {one.destination} by the DAG "
                    f"{one.dag}."
                ),
                "owner": {"name": owner or one.owner} | ({"email": owner_email} if owner_email else {}),
                "depends_on": [_reference(node, manifest) for node in one.depends_on],
                **({"config": placed} if manifest.places_meta_in_config else placed),
            }
        )
    document = {"version": 2, "exposures": listed}
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=_LINE_CHARACTERS)
    return f"# {HEADING} dbt-exposures: it replaces this file as a whole.\n{text}"


def _names(syncs: Sequence[ExposedSync]) -> dict[str, str]:
    plain = {one.sync: _NOT_IN_A_NAME.sub("_", f"{NAMESPACE}__{one.model}__{one.destination}") for one in syncs}
    counts = Counter(name.casefold() for name in plain.values())
    return {
        sync: name if counts[name.casefold()] == 1 else f"{name}_{hashlib.sha256(sync.encode()).hexdigest()[:8]}"
        for sync, name in plain.items()
    }


def _reference(node: Node, manifest: Manifest) -> str:
    parts = [f"'{node.name}'"]
    if node.package_name and node.package_name != manifest.metadata.project_name:
        parts.insert(0, f"'{node.package_name}'")
    if node.version is not None:
        parts.append(f"v={node.version!r}")
    return f"ref({', '.join(parts)})"


class _Relations:
    """The relations of a project, found in SQL by their names."""

    def __init__(self, manifest: Manifest) -> None:
        self._dialect = _DIALECTS.get(manifest.metadata.adapter_type or "", manifest.metadata.adapter_type) or ""
        self._nodes: list[tuple[tuple[str, ...], Node]] = []
        for node in manifest.relations:
            if node.relation_name and (parts := self._tables(f"SELECT 1 FROM {node.relation_name}")):  # noqa: S608 - parsed only
                self._nodes.append((parts[0], node))

    def named_in(self, queries: Iterable[str]) -> tuple[Node, ...]:
        """Return the nodes whose relation queries name, by unique id. A name that fits several stands for none."""
        found: dict[str, Node] = {}
        for query in queries:
            for table in self._tables(query):
                fitting = [node for parts, node in self._nodes if parts[-len(table) :] == table[-len(parts) :]]
                if len(fitting) == 1:
                    found[fitting[0].unique_id] = fitting[0]
        return tuple(found[unique_id] for unique_id in sorted(found))

    def _tables(self, query: str) -> list[tuple[str, ...]]:
        import sqlglot
        from sqlglot import exp

        if not is_known(query):
            return []
        try:
            parsed = sqlglot.parse(query, dialect=self._dialect or None)
        except (sqlglot.errors.SqlglotError, ValueError):
            return []
        common = {one.alias_or_name.casefold() for tree in parsed if tree for one in tree.find_all(exp.CTE)}
        tables = [
            tuple(part.name.casefold() for part in one.parts)
            for tree in parsed
            if tree
            for one in tree.find_all(exp.Table)
        ]
        return [table for table in tables if table not in {(name,) for name in common}]


# The adapters of dbt whose SQL has another name in sqlglot.
_DIALECTS = {"sqlserver": "tsql", "synapse": "tsql", "fabric": "tsql", "athena": "athena"}
