"""The `meta` of a dbt model as the parameters of a sync: key, consent mapping and destinations, checked at once.

    models:
      - name: customers
        config:
          meta:
            consent_retl:
              primary_key: user_id
              consent: {C0004: ads_ok}
              destinations: {webhook: {conn_id: crm_http, endpoint: /v1/people, fields: {id: user_id, email: email}}}

INVARIANT: whoever writes `meta` describes rows and where they may go. Limits that protect people, the policy, the
ledger and templates stay with the DAG: they are refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.document_reader import DocumentReader
from airflow_consent_retl.consent.json_path import child, type_name
from airflow_consent_retl.consent.mapping import RowConsent
from airflow_consent_retl.consent.officer_sources import read_mapping
from airflow_consent_retl.dbt.column_meta import ColumnRoles, read_column
from airflow_consent_retl.dbt.load_options import LoadOptions, read_load
from airflow_consent_retl.dbt.manifest_file import NAMESPACE, has_own_meta, own_meta, read_manifest
from airflow_consent_retl.dbt.nodes import node_named, primary_key_hint
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_consent_retl.consent import ConsentMappingLike
    from airflow_consent_retl.consent.mapping import ConsentMapping
    from airflow_consent_retl.dbt.manifest_file import Manifest, Node

_KEYS = ("name", "primary_key", "consent", "destinations", "as_of", "absent", "on_duplicate_id", "column_types")
_OF_A_ROW = ("time", "notice_version", "region", "gpc")
_TEMPLATE = ("{{", "{%", "{#")


@dataclass(frozen=True, slots=True, kw_only=True)
class DbtModel:
    """A dbt model that declares a sync.

    Args:
        unique_id: dbt's id of it, such as `model.shop.customers`.
        name: the model's name in syncs.
        relation: its table or view, quoted as dbt's adapter quotes it.
        adapter: the name of dbt's adapter, such as `snowflake`; empty if the manifest has none.
        primary_key: the column that identifies a row.
        consent: the consent mapping; None: the policy declares it.
        destinations: by name, the load that `meta` declares; None: the DAG has it.
        parameters: further parameters of `consent_sync`.
    """

    unique_id: str
    name: str
    relation: str
    adapter: str
    primary_key: str
    consent: ConsentMappingLike | None = None
    destinations: Mapping[str, LoadOptions | None] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        """A query for all of its rows."""
        # The new line at the end: a relation named `sql` is no file of SQL.
        return f"SELECT * FROM {self.relation}\n"  # noqa: S608 - dbt quoted the relation


def dbt_model(place: str | Path, model: str) -> DbtModel:
    """Return what a dbt project says about one of its models.

    Args:
        place: a `manifest.json`, an extract of it, or the folder of a dbt project.
        model: the model's name; see `node_named`.

    Raises:
        ConfigurationError: there is no such model, it has no relation, or its `meta` is wrong. The error contains every
            problem, with its path and a near match.
    """
    manifest = read_manifest(place)
    return parse_node(manifest, node_named(manifest, model, place=str(place)))


def declared_models(manifest: Manifest) -> list[DbtModel]:
    """Return all models whose `meta` declares a sync, by unique id.

    Raises:
        ConfigurationError: some are wrong. The error contains every problem of all of them.
    """
    found, problems = [], []
    for node in sorted(manifest.relations, key=lambda one: one.unique_id):
        if not has_own_meta(node):
            continue
        try:
            found.append(parse_node(manifest, node_named(manifest, node.unique_id, place="the manifest")))
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return found


def parse_node(manifest: Manifest, node: Node) -> DbtModel:
    """Return what the `meta` of a node declares.

    Raises:
        ConfigurationError: it declares nothing, or is wrong. The error contains every problem.
    """
    if not has_own_meta(node):
        keys = {key for place in (node.meta, node.config.meta) for key in place or ()}
        near = suggestion(NAMESPACE, keys)
        raise ConfigurationError(
            f"dbt model `{node.name}` declares no sync: its `meta` has no key `{NAMESPACE}`"
            f"{f', but a similar one{near}' if near else ''}"
        )
    return _NodeReader(manifest, node).read()


class _NodeReader:
    """The reader of one node. Notes every problem, with a path from the node's name."""

    def __init__(self, manifest: Manifest, node: Node) -> None:
        self._manifest = manifest
        self._node = node
        self._reader = DocumentReader()
        self._path = f"{node.name}.meta.{NAMESPACE}"

    def read(self) -> DbtModel:
        document = self._document()
        self._reader.known_keys(document, self._path, _KEYS, required=())
        _note_templates(self._reader, document, self._path)
        roles = self._roles()
        primary_key = self._primary_key(document, roles)
        consent = self._consent(document, roles)
        destinations = self._destinations(document)
        parameters = self._parameters(document, roles)
        name = self._text(document, "name") or self._node.name
        self._check_columns([primary_key or "", *(consent.columns if consent is not None else ())])
        self._require()
        return DbtModel(
            unique_id=self._node.unique_id,
            name=name,
            relation=self._node.relation_name or "",
            adapter=self._manifest.metadata.adapter_type or "",
            primary_key=primary_key or "",
            consent=None if consent is None else _as_parameter(consent),
            destinations=destinations,
            parameters=parameters,
        )

    def _document(self) -> Mapping[str, object]:
        found = own_meta(self._node.meta, self._node.config)
        if len(found) > 1:
            self._reader.note(self._path, "`meta` and `config.meta` differ: keep one of them")
        return (self._reader.an_object(found[0], self._path) or {}) if found else {}

    def _roles(self) -> ColumnRoles:
        roles = ColumnRoles()
        for name, column in self._node.columns.items():
            path = f"{child(f'{self._node.name}.columns', name)}.meta.{NAMESPACE}"
            found = own_meta(column.meta, column.config)
            if len(found) > 1:
                self._reader.note(path, "`meta` and `config.meta` differ: keep one of them")
            for one in found[:1]:
                _note_templates(self._reader, one, path)
                read_column(self._reader, roles, name, one, path)
        return roles

    def _primary_key(self, document: Mapping[str, object], roles: ColumnRoles) -> str | None:
        declared, of_column = self._text(document, "primary_key"), roles.columns.get("primary_key")
        if declared is not None and of_column not in {None, declared}:
            self._reader.note(
                f"{self._path}.primary_key", f"it is `{declared}`, and the `meta` of column `{of_column}` says so too"
            )
        if declared is None and of_column is None and "primary_key" not in document:
            hint = primary_key_hint(self._manifest, self._node)
            text = "" if hint is None else f": by its constraints or tests it may be `{hint}`"
            self._reader.note(f"{self._path}.primary_key", f"key `primary_key` is missing{text}")
        return declared or of_column

    def _consent(self, document: Mapping[str, object], roles: ColumnRoles) -> ConsentMapping | None:
        of_columns = roles.mapping(self._reader)
        of_row = {name: roles.columns[name] for name in _OF_A_ROW if name in roles.columns}
        if not of_columns and not of_row:
            return read_mapping(self._reader, document, self._path)
        declared = document.get("consent", {})
        if not isinstance(declared, Mapping) or isinstance(declared.get("format"), str):
            self._reader.note(
                f"{self._path}.consent",
                "with one format for all categories, no column may declare consent, a time or a region",
            )
            return None
        for category in sorted(declared.keys() & of_columns.keys()):
            self._reader.note(
                child(f"{self._path}.consent", category),
                f"a column declares category `{category}` too, at {roles.paths[category]}",
            )
        merged: dict[str, object] = {**of_columns, **declared}
        if of_row:
            if "gpc" in of_row:
                of_row = {**of_row, "gpc": {"format": "BooleanColumn", "column": of_row["gpc"]}}  # type: ignore[dict-item]
            merged = {"format": "RowConsent", "categories": merged, **of_row}
        return read_mapping(self._reader, {"consent": merged}, self._path)

    def _destinations(self, document: Mapping[str, object]) -> dict[str, LoadOptions | None]:
        if "destinations" not in document:
            return {}
        at, raw = f"{self._path}.destinations", document["destinations"]
        if isinstance(raw, list):
            raw = dict.fromkeys(one if isinstance(one, str) else "" for one in raw)
        named = self._reader.an_object(raw, at)
        if named is None:
            return {}
        if not named or not all(isinstance(name, str) and name.strip() for name in named):
            self._reader.note(at, "expected names of destinations, each as text that is not empty")
            return {}
        return {name: read_load(self._reader, name, one, child(at, name)) for name, one in named.items()}

    def _parameters(self, document: Mapping[str, object], roles: ColumnRoles) -> dict[str, Any]:
        found: dict[str, Any] = {}
        as_of = self._text(document, "as_of") or roles.columns.get("as_of")
        if as_of is not None:
            found["as_of"] = as_of
        for key, choices in (("absent", ("left_model", "withdrawn")), ("on_duplicate_id", ("fail", "deny"))):
            if key in document:
                found[key] = self._reader.choice(document, self._path, key, choices, choices[0])
        if "column_types" in document:
            at = f"{self._path}.column_types"
            types = self._reader.an_object(document["column_types"], at) or {}
            if not all(isinstance(value, str) for value in types.values()):
                self._reader.note(at, "expected Arrow's name of a type for each column")
            found["column_types"] = dict(types)
        return found

    def _check_columns(self, read: list[str]) -> None:
        """Note columns that an enforced contract does not have: without one, not every column is documented."""
        if self._node.contract is None or not self._node.contract.enforced:
            return
        for column in dict.fromkeys(filter(None, read)):
            if column not in self._node.columns:
                near = suggestion(column, self._node.columns)
                self._reader.note(self._path, f"the model's contract has no column `{column}`{near}")

    def _text(self, document: Mapping[str, object], key: str) -> str | None:
        if key not in document:
            return None
        raw = document[key]
        if isinstance(raw, str) and raw.strip():
            return raw
        self._reader.note(child(self._path, key), f"expected text that is not empty, found {type_name(raw)}")
        return None

    def _require(self) -> None:
        problems = list(dict.fromkeys(map(str, self._reader.problems)))
        if problems:
            counted = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            where = f" ({self._node.file})" if self._node.file else ""
            raise ConfigurationError(
                "\n".join([f"dbt model `{self._node.name}`{where} cannot become a sync, {counted}:", *problems])
            )


def _as_parameter(mapping: ConsentMapping) -> ConsentMappingLike:
    """Return a checked mapping as a DAG writes it."""
    categories: Any = mapping.whole if mapping.whole is not None else dict(mapping.entries)
    row: dict[str, Any] = {name: getattr(mapping, name) for name in (*_OF_A_ROW, "switches")}
    return RowConsent(categories, **row) if any(row.values()) else categories


def _note_templates(reader: DocumentReader, value: object, path: str) -> None:
    """Note texts that Airflow would render: the project's authors would read what only DAGs may read."""
    if isinstance(value, str) and any(mark in value for mark in _TEMPLATE):
        reader.note(path, "`meta` has no Airflow templates: give this value in the DAG")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            _note_templates(reader, key, path)
            _note_templates(reader, one, child(path, str(key)))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            _note_templates(reader, one, f"{path}[{index}]")
