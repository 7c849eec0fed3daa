"""The `meta` of a dbt model's columns: which column is the primary key, a category's consent, its time, the region.

    columns:
      - name: ads_ok
        config: {meta: {consent_retl: {consent: C0004}}}

Knows the form of the entries only: the consent formats themselves check their parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.json_path import child, type_name
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    from airflow_consent_retl.consent.document_reader import DocumentReader

# For these, `true` names the column for the whole model.
_OF_THE_MODEL = ("primary_key", "time", "notice_version", "region", "gpc", "as_of")
# For these, a category or a list of them names the column for these categories.
_OF_A_CATEGORY = ("time", "notice_version")
_KEYS = ("consent", "opt_out", *_OF_THE_MODEL)
_LITERALS = frozenset({"granted", "denied"})


@dataclass(slots=True)
class ColumnRoles:
    """The roles that a model's columns declare.

    Attributes:
        columns: by role (`primary_key`, `time`, …), the column that has it for the whole model.
        consent: by category, the document of its format.
        of_category: by category, the columns of the time and the notice of its answers.
        paths: by category, the path of the column's entry.
    """

    columns: dict[str, str] = field(default_factory=dict)
    consent: dict[str, dict[str, Any]] = field(default_factory=dict)
    of_category: dict[str, dict[str, str]] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)

    def mapping(self, reader: DocumentReader) -> dict[str, Any]:
        """Return, by category, the document of its answer with the columns of its time and notice."""
        found: dict[str, Any] = dict(self.consent)
        for category, named in self.of_category.items():
            if category not in self.consent:
                near = suggestion(category, self.consent)
                at = self.paths[f"{category} {next(iter(named))}"]
                reader.note(at, f"no column of the model has `consent: {category}`{near}")
                continue
            roles = {name: named.get(name) for name in _OF_A_CATEGORY}
            found[category] = {"format": "Recorded", "signal": found[category], **roles}
        return found


def read_column(reader: DocumentReader, roles: ColumnRoles, name: str, raw: object, path: str) -> None:
    """Add the roles of one column, and note every problem.

    Args:
        reader: notes the problems.
        roles: gets the roles.
        name: of the column.
        raw: our part of its `meta`.
        path: of that part.
    """
    document = reader.an_object(raw, path)
    if document is None:
        return
    reader.known_keys(document, path, _KEYS, required=())
    for key in ("consent", "opt_out"):
        if key in document:
            _read_consent(reader, roles, name, document[key], child(path, key), objects=key == "opt_out")
    for key in _OF_THE_MODEL:
        if key in document:
            _read_role(reader, roles, name, key, document[key], child(path, key))


def _read_consent(
    reader: DocumentReader, roles: ColumnRoles, name: str, raw: object, path: str, *, objects: bool
) -> None:
    given: Mapping[str, object] = {"category": raw} if isinstance(raw, str) else reader.an_object(raw, path) or {}
    if not given:
        return
    category = given.get("category")
    if not isinstance(category, str) or not category:
        reader.note(child(path, "category"), "expected the id of a consent category, as text")
        return
    if "column" in given:
        reader.note(child(path, "column"), "remove it: the column is the one that has this `meta`")
        return
    if category in roles.consent:
        reader.note(
            path,
            f"category `{category}` has a column already, at {roles.paths[category]}: say which answer counts with "
            "`FirstOf` or `MostRestrictive` under the model's `consent`",
        )
        return
    parameters = {key: value for key, value in given.items() if key not in {"category", "false_is_yes"}}
    default = "Literals" if _LITERALS & parameters.keys() else "BooleanColumn"
    signal = {"format": parameters.pop("format", default), "column": name, **parameters}
    if objects:
        signal = {"format": "OptOut", "signal": signal, "false_is_yes": given.get("false_is_yes", False)}
    elif "false_is_yes" in given:
        reader.note(child(path, "false_is_yes"), "it belongs to `opt_out`")
    roles.consent[category] = signal
    roles.paths[category] = path


def _read_role(reader: DocumentReader, roles: ColumnRoles, name: str, key: str, raw: object, path: str) -> None:
    if raw is True:
        other = roles.columns.setdefault(key, name)
        if other != name:
            reader.note(path, f"column `{other}` is the `{key}` already")
        return
    listed = [raw] if isinstance(raw, str) else raw
    if key not in _OF_A_CATEGORY:
        reader.note(path, f"expected true, found {type_name(raw)}")
        return
    if not isinstance(listed, list) or not listed or not all(isinstance(one, str) and one for one in listed):
        reader.note(path, f"expected true, the id of a consent category, or a list of them, found {type_name(raw)}")
        return
    for category in listed:
        other = roles.of_category.setdefault(category, {}).setdefault(key, name)
        roles.paths.setdefault(f"{category} {key}", path)
        if other != name:
            reader.note(path, f"column `{other}` is the `{key}` of category `{category}` already")
