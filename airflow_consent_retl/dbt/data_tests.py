"""dbt tests of the columns with consent: generated from a policy and from `meta`, run by dbt's own adapter.

A test checks that each column is there, has a type that its format can read, has no value that the mapping does not
know, and has no larger share of NULL than declared. It returns counts and names of columns, never a value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.formats.opt_out import OptOut
from airflow_consent_retl.consent.mapping import parse_consent_mapping, records_of
from airflow_consent_retl.consent.signals import ColumnKind
from airflow_consent_retl.dbt.manifest_file import NAMESPACE
from airflow_consent_retl.dbt.meta import declared_models
from airflow_consent_retl.dbt.written import HEADING
from airflow_consent_retl.errors import ConfigurationError, PolicyError, Problem
from airflow_consent_retl.near import nearest_destination, suggestion

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPolicy
    from airflow_consent_retl.consent.mapping import ConsentMapping
    from airflow_consent_retl.consent.signals import CategorySignal
    from airflow_consent_retl.dbt.manifest_file import Manifest
    from airflow_consent_retl.dbt.meta import DbtModel

MACRO_FILE = "consent_retl_columns.sql"
# The kinds of column that the macro can tell apart in every adapter.
_TYPES = {ColumnKind.BOOLEAN: "boolean", ColumnKind.INTEGER: "integer", ColumnKind.TEXT: "text"}
_JSON = "json"


@dataclass(frozen=True, slots=True)
class ExpectedColumn:
    """The expectations of a test about one column.

    Args:
        types: the names of the types that fit: `boolean`, `integer`, `text`, `json`.
        values: the only values that the column may have, and NULL; empty: any.
        max_null_share: the largest share of NULL, 0 to 1; None: any.
    """

    types: tuple[str, ...]
    values: tuple[str | int, ...] = ()
    max_null_share: float | None = None


def expected_columns(mapping: ConsentMapping, *, max_null_share: float | None = None) -> dict[str, ExpectedColumn]:
    """Return what the columns of a consent mapping have to be like."""
    signals = [record.signal for _, entry in mapping.entries for record in records_of(entry)]
    expected: dict[str, ExpectedColumn] = {}
    for signal in signals:
        one = _expected(signal, max_null_share)
        known = expected.get(signal.column)
        # Two categories may read one column: what both know is known.
        values = () if known is None or not (known.values and one.values) else (*known.values, *one.values)
        expected[signal.column] = (
            one
            if known is None
            else ExpectedColumn(
                tuple(kind for kind in known.types if kind in one.types), tuple(dict.fromkeys(values)), max_null_share
            )
        )
    if mapping.whole is not None:
        expected[mapping.whole.column] = ExpectedColumn(("text", _JSON), (), max_null_share)
    if mapping.gpc is not None:
        expected.setdefault(mapping.gpc.column, _expected(mapping.gpc, None))
    if (region := mapping.region) is not None:
        expected.setdefault(region, ExpectedColumn(("text",)))
    return dict(sorted(expected.items()))


def policy_problems(policy: ConsentPolicy, model: DbtModel) -> list[Problem]:
    """Return where a model does not have what the policy needs for its destinations.

    These are categories without a column, categories that the policy does not have, and destinations that it does not
    name.
    """
    problems = []
    mapping = None if model.consent is None else parse_consent_mapping(model.consent)
    mapped = set() if mapping is None else set(mapping.category_ids)
    known = {category.id for category in policy.categories}
    at = f"{model.name}.meta.{NAMESPACE}"
    for category in sorted(mapped - known):
        near = suggestion(category, known)
        problems.append(Problem(f"{at}.consent", f"category `{category}` is not in the policy{near}"))
    for name in model.destinations:
        required = policy.required_for(name)
        if mapping is None or mapping.whole is None:
            problems += [
                Problem(f"{at}.consent", f"destination `{name}` needs category `{category}`, which has no column")
                for category in required
                if category not in mapped
            ]
        named = {destination for category in policy.categories for destination in category.destinations}
        if not required and policy.rule_for(name).consent_required:
            other = nearest_destination(name, sorted(map(str, named)))
            hint = "" if other is None else f", did you mean `{other}`?"
            problems.append(Problem(f"{at}.destinations", f"the policy maps no category to `{name}`{hint}"))
    return problems


def data_test_files(
    manifest: Manifest, project: Path, *, policy: ConsentPolicy | None = None, max_null_share: float | None = None
) -> dict[Path, str]:
    """Return the files of a project's tests by path: the macro, and a test for each model that maps consent.

    Args:
        manifest: of the project.
        project: its folder.
        policy: that the models have to suit; None: only the columns are tested.
        max_null_share: the largest share of NULL in a column with consent, 0 to 1.

    Raises:
        ConfigurationError: `meta` is wrong, or the share is out of range.
        PolicyError: models do not suit the policy, with every problem.
    """
    if max_null_share is not None and not 0 <= max_null_share <= 1:
        raise ConfigurationError("the largest share of NULL is a number from 0 to 1")
    models = declared_models(manifest)
    problems = [] if policy is None else [problem for model in models for problem in policy_problems(policy, model)]
    if problems:
        raise PolicyError(problems)
    found = {project / "macros" / MACRO_FILE: macro_text()}
    for model in models:
        if model.consent is None:
            continue
        columns = expected_columns(parse_consent_mapping(model.consent), max_null_share=max_null_share)
        node = manifest.nodes[model.unique_id]
        file = f"consent_retl_{model.unique_id.split('.', 2)[-1].replace('.', '_')}.sql"
        found[project / "tests" / "consent_retl" / file] = _test_text(_reference_of(node.name, node.version), columns)
    return found


def own_test_files(project: Path) -> tuple[Path, ...]:
    """Return the tests that an earlier run wrote into a project."""
    return tuple(sorted((project / "tests" / "consent_retl").glob("consent_retl_*.sql")))


def macro_text() -> str:
    """Return the macro, with its heading."""
    return (files(__package__) / "macros" / MACRO_FILE).read_text()


def _expected(signal: CategorySignal, max_null_share: float | None) -> ExpectedColumn:
    inner: Any = signal.signal if isinstance(signal, OptOut) else signal
    kinds = tuple(sorted(_TYPES[kind] for kind in inner.kinds if kind in _TYPES))
    types = (*kinds, _JSON) if ColumnKind.JSON in inner.kinds else kinds
    is_listed = not inner.is_read and ColumnKind.BOOLEAN not in inner.kinds
    return ExpectedColumn(types, tuple(inner.alphabet) if is_listed else (), max_null_share)


def _test_text(reference: str, columns: Mapping[str, ExpectedColumn]) -> str:
    listed = ",\n    ".join(f"{json.dumps(name)}: {_described(column)}" for name, column in columns.items())
    return (
        f"-- {HEADING} dbt-tests: it replaces this file as a whole.\n"
        f"{{{{ consent_retl_columns({reference}, {{\n    {listed}\n}}) }}}}\n"
    )


def _described(column: ExpectedColumn) -> str:
    parts: list[tuple[str, Sequence[object] | float | None]] = [
        ("types", list(column.types)),
        ("values", list(column.values) or None),
        ("max_null_share", column.max_null_share),
    ]
    return "{" + ", ".join(f'"{name}": {json.dumps(value)}' for name, value in parts if value is not None) + "}"


def _reference_of(name: str, version: object) -> str:
    return f"ref({json.dumps(name)})" if version is None else f"ref({json.dumps(name)}, v={version!r})"
