"""The parameters of `consent_sync` for a dbt model: what its `meta` declares, and the loads that the DAG adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.dbt.meta import dbt_model
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.near import nearest_destination

if TYPE_CHECKING:
    from airflow_consent_retl.dbt.meta import DbtModel
    from airflow_consent_retl.operators.load import LoadOperator

_Load = Callable[..., "LoadOperator"]


def sync_parameters(
    place: str | Path, model: str, *, loads: Mapping[str, _Load], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the parameters that a dbt project declares for a sync.

    Args:
        place: see `dbt_model`; an absolute path.
        model: see `dbt_model`.
        loads: of the DAG.
        given: other parameters of the DAG.

    Raises:
        ConfigurationError: the path is relative, the model or its `meta` is wrong, a destination has no load or two, or
            the DAG declares what `meta` declares.
    """
    if not Path(place).is_absolute():
        raise ConfigurationError(
            f"the path `{place}` is relative, and processes that parse DAGs run in different folders: write "
            "`Path(__file__).parent / ...`"
        )
    found = dbt_model(place, model)
    declared: dict[str, Any] = {
        "model": found.name,
        "sql": found.sql,
        "primary_key": found.primary_key,
        **({} if found.consent is None else {"consent": found.consent}),
        **found.parameters,
    }
    problems = [
        f"`{name}` is declared by the `meta` of the dbt model too: remove it from the DAG"
        for name in sorted(declared.keys() & given.keys())
    ]
    problems += _load_problems(found, loads)
    if problems:
        listed = "\n".join(["", *problems]) if len(problems) > 1 else f" {problems[0]}"
        raise ConfigurationError(f"the sync of dbt model `{found.name}` cannot be built:{listed}")
    return declared | {"loads": _merged(found, loads)}


def _merged(found: DbtModel, loads: Mapping[str, _Load]) -> dict[str, _Load]:
    if not found.destinations:
        return dict(loads)
    return {name: loads[name] if options is None else options.load() for name, options in found.destinations.items()}


def _load_problems(found: DbtModel, loads: Mapping[str, _Load]) -> list[str]:
    if not found.destinations:
        return [] if loads else ["neither its `meta` nor `loads` names a destination"]
    problems = []
    for name, options in found.destinations.items():
        if options is None and name not in loads:
            problems.append(
                f"destination `{name}` has no load: give its options in `meta`, or the load in `loads` of the DAG"
            )
        elif options is not None and name in loads:
            problems.append(f"destination `{name}` has a load in `meta` and in `loads` of the DAG: keep one of them")
    for name in loads:
        if name not in found.destinations:
            near = nearest_destination(name, sorted(found.destinations))
            hint = "" if near is None else f", did you mean `{near}`?"
            problems.append(f"`loads` names `{name}`, which is no destination in its `meta`{hint}")
    return problems
