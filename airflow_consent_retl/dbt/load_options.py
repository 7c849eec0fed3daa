"""The load of one destination as `meta` declares it: a kind of destination, and options of its operator.

Options that weaken a limit, name a policy, a ledger or a workspace belong to the DAG, and are refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.json_path import child, type_name
from airflow_consent_retl.near import suggestion
from airflow_consent_retl.operators.face import MODULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_consent_retl.consent.document_reader import DocumentReader
    from airflow_consent_retl.operators.load import LoadOperator

# Of the parameters that all loads share, these describe what is sent. All others belong to the DAG.
_SHARED = frozenset({"fields", "field_nulls", "fields_not_sent", "write", "mode"})
_KIND = "load"


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """A load that `meta` declares.

    Args:
        kind: the folder of its destination, such as `sql_table`.
        options: parameters of its operator.
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Callable[..., LoadOperator]:
        """Return the load as a DAG writes it for `consent_sync`."""
        return partial(operator_of(self.kind), **self.options)


@cache
def kinds() -> dict[str, str]:
    """Return the name of the operator of each kind of destination."""
    # A declared destination needs an object of the DAG repository, which YAML cannot write.
    return {
        folder: name
        for name, module in sorted(MODULES.items())
        if module.startswith("airflow_consent_retl.destinations.") and (folder := module.split(".")[2]) != "declared"
    }


def operator_of(kind: str) -> type[LoadOperator]:
    """Return the operator of a kind of destination."""
    name = kinds()[kind]
    operator: type[LoadOperator] = getattr(import_module(MODULES[name]), name)
    return operator


def read_load(reader: DocumentReader, name: str, raw: object, path: str) -> LoadOptions | None:
    """Return the load of a destination; None where `meta` only names the destination. Note every problem."""
    if raw is None:
        return None
    document = reader.an_object(raw, path)
    if document is None:
        return None
    kind = document.get(_KIND, name.partition(":")[0])
    if not isinstance(kind, str) or kind not in kinds():
        at = child(path, _KIND) if _KIND in document else path
        near = suggestion(kind, kinds()) if isinstance(kind, str) else ""
        named = f"there is no kind of destination `{kind}`{near}" if isinstance(kind, str) else type_name(kind)
        reader.note(at, f"{named}: write `{_KIND}: ` and one of {', '.join(sorted(kinds()))}")
        return None
    options = {str(key): value for key, value in document.items() if key != _KIND}
    own, shared = _parameters(kind)
    for key in options:
        if key in shared - _SHARED:
            reader.note(child(path, key), f"`{key}` belongs to the DAG: give the load of `{name}` there")
        elif key not in own | _SHARED:
            reader.note(child(path, key), f"unknown option `{key}`{suggestion(key, own | _SHARED)}")
    for key in sorted(_required(kind) - options.keys()):
        reader.note(path, f"option `{key}` is missing")
    fields = options.get("fields")
    if "fields" in options and not (fields and isinstance(fields, Mapping)):
        reader.note(child(path, "fields"), f"expected the columns by the names of fields, found {type_name(fields)}")
    elif isinstance(fields, Mapping) and not all(isinstance(column, str) for column in fields.values()):
        reader.note(child(path, "fields"), "expected the name of a column for each field: other values need a DAG")
    return LoadOptions(kind, options)


@cache
def _parameters(kind: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the parameters of an operator's own, and those that it shares with all loads or all operators."""
    from airflow.sdk import BaseOperator

    from airflow_consent_retl.operators.load import LoadOperator

    operator = operator_of(kind)
    shared = _keywords(LoadOperator) | _keywords(BaseOperator)
    own = frozenset().union(*(_keywords(one) for one in operator.__mro__ if issubclass(one, LoadOperator)))
    return own - shared, shared


def _required(kind: str) -> frozenset[str]:
    """Return the options that have no default."""
    own, _ = _parameters(kind)
    needed = {
        name
        for one in operator_of(kind).__mro__
        if "__init__" in vars(one)
        for name, parameter in inspect.signature(vars(one)["__init__"]).parameters.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return frozenset((needed & own) | {"fields"})


def _keywords(operator: type) -> frozenset[str]:
    parameters = inspect.signature(operator.__init__).parameters  # type: ignore[misc]
    variable = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    return frozenset(name for name, one in parameters.items() if name != "self" and one.kind not in variable)
