"""Removing loads: the part of a load that removes people, its destination built without an Airflow task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.near import suggestion
from airflow_consent_retl.operators.load import LoadOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.contract.spec import DestinationSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovingLoad:
    """The part of a load that removing people needs.

    Args:
        build_destination: returns the destination, not yet opened.
        accept_no_removal: use a destination that cannot remove people.
        moved_from, shares_target_with: see `LoadOperator`.
    """

    build_destination: Callable[[], Destination]
    accept_no_removal: bool
    moved_from: str | None
    shares_target_with: tuple[str, ...]


def from_parameters(load: object, *, render: Callable[[Any], Any]) -> RemovingLoad | None:
    """Read the parameters of `partial(LoadTo…Operator, …)`; no task is made.

    Args:
        load: a load as DAG authors write it for `consent_sync`.
        render: renders the templates of one parameter.

    Returns:
        None where the parameters alone do not determine the destination: the load is a function, or an operator that
        builds its destination itself.

    Raises:
        ConfigurationError: a parameter is unknown or missing.
    """
    if not isinstance(load, partial) or load.args:
        return None
    operator: object = load.func
    if not isinstance(operator, type) or not issubclass(operator, LoadOperator):
        return None
    # A subclass may build its destination differently from the class whose parameters these are.
    spec_class = vars(operator).get("spec_class")
    if spec_class is None or "default_args" in load.keywords:
        return None
    parameters = load.keywords
    _check(operator, spec_class, parameters)
    own = {
        name: render(value) if name in spec_class.templated else value
        for name, value in parameters.items()
        if name in inspect.signature(spec_class).parameters
    }

    @cache
    def spec() -> DestinationSpec:
        built: DestinationSpec = spec_class(**own)
        return built

    # Made only on demand, and once: destinations of one spec share its quota.
    return RemovingLoad(
        build_destination=lambda: spec().build(),
        accept_no_removal=bool(parameters.get("accept_no_removal", False)),
        moved_from=render(parameters.get("moved_from")),
        shares_target_with=tuple(parameters.get("shares_target_with", ())),
    )


def rendered(value: Any, operator: BaseOperator, context: Context) -> Any:
    """Return a parameter of a load with its templates rendered.

    Args:
        value: text, or lists and objects of texts.
        operator: the running operator; its DAG's macros and filters apply.
        context: of the run; without one, templates stay as they are.
    """
    if not context:
        return value
    if isinstance(value, str) and value.endswith(tuple(operator.template_ext)):
        # A table may be named `crm.sql`; only the operator's own parameters are files.
        return operator.get_template_env().from_string(value).render(context)
    return operator.render_template(value, context)


def _check(operator: type[LoadOperator], spec_class: type[DestinationSpec], parameters: Mapping[str, Any]) -> None:
    known = {
        name for kind in (operator, LoadOperator, BaseOperator) for name in inspect.signature(kind.__init__).parameters
    }
    for name in parameters:
        if name not in known:
            raise ConfigurationError(f"{operator.__name__} has no parameter `{name}`{suggestion(name, known)}")
    # Not every option of a destination is a parameter of its operator.
    required = {
        name for name, one in inspect.signature(spec_class).parameters.items() if one.default is inspect.Parameter.empty
    }
    if missing := sorted(required - parameters.keys()):
        raise ConfigurationError(f"{operator.__name__} needs the parameter `{missing[0]}`")
