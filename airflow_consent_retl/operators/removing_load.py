"""Removing loads: the part of a load that removes people, its destination built without an Airflow task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_consent_retl.errors import ConfigurationError, OptionsError, Problem
from airflow_consent_retl.fields.field_values import answers_in
from airflow_consent_retl.near import suggestion
from airflow_consent_retl.operators.bindings import use_of_load, use_of_parameters
from airflow_consent_retl.operators.load import LoadOperator
from airflow_consent_retl.operators.spec_load import known_options

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.consent.destination_binding import DestinationUse
    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.contract.spec import DestinationSpec
    from airflow_consent_retl.hooks.central_policy import PolicySource


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovingLoad:
    """The part of a load that removing people needs.

    Args:
        build_destination: returns the destination, not yet opened.
        use: what the load does with the destination.
        accept_no_removal: use a destination that cannot remove people.
        moved_from, shares_target_with: see `LoadOperator`.
        answers: the categories whose answers the load tells the destination.
    """

    build_destination: Callable[[], Destination]
    use: DestinationUse
    accept_no_removal: bool
    moved_from: str | None
    shares_target_with: tuple[str, ...]
    answers: tuple[str, ...] = ()


def removing_load(
    load: Callable[..., LoadOperator],
    *,
    destination: str,
    policy: PolicySource | None,
    task: BaseOperator,
    context: Context,
) -> RemovingLoad:
    """Return what a task needs of a load to remove people.

    Args:
        load: the load with its own parameters, as for `consent_sync`.
        destination: the policy's name for the destination.
        policy: where the policy is read; None: the task needs none.
        task: the running task.
        context: of its run.

    Raises:
        ConfigurationError: a parameter is unknown or missing.
    """
    removing = from_parameters(load, destination, render=lambda value: rendered(value, task, context))
    if removing is not None:
        return removing
    # A function, or an operator of another kind: only the operator itself can build its destination.
    operator = load(
        task_id=f"{task.task_id}_{destination.replace(':', '__')}",
        permitted=None,
        destination=destination,
        policy=policy,
    )
    if context:
        operator.render_template_fields(context)
    return RemovingLoad(
        build_destination=operator.build_destination,
        use=use_of_load(operator, fields=None),
        accept_no_removal=operator.accept_no_removal,
        moved_from=operator.moved_from,
        shares_target_with=tuple(operator.shares_target_with),
        answers=_told(operator.fields),
    )


def from_parameters(load: object, destination: str, *, render: Callable[[Any], Any]) -> RemovingLoad | None:
    """Read the parameters of `partial(LoadTo…Operator, …)`; no task is made.

    Args:
        load: a load as DAG authors write it for `consent_sync`.
        destination: the policy's name for its destination.
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
    if wrong := spec_class.wrong_options(known_options(spec_class, own)):
        raise OptionsError(wrong)

    @cache
    def spec() -> DestinationSpec:
        built: DestinationSpec = spec_class(**own)
        return built

    def build() -> Destination:
        # Made only on demand, and once: destinations of one spec share its quota.
        return spec().build()

    return RemovingLoad(
        build_destination=build,
        use=use_of_parameters(destination, operator, own, build=build),
        accept_no_removal=bool(parameters.get("accept_no_removal", False)),
        moved_from=render(parameters.get("moved_from")),
        shares_target_with=tuple(parameters.get("shares_target_with", ())),
        answers=_told(render(parameters.get("fields"))),
    )


def wrong_loads(loads: Mapping[str, object]) -> list[Problem]:
    """Return every error in the parameters of loads, as far as they alone determine the destinations.

    Args:
        loads: by the parameter that they belong to, such as `loads['crm']`.
    """
    wrong: list[Problem] = []
    for path, load in loads.items():
        try:
            from_parameters(load, "", render=lambda value: value)
        except OptionsError as error:
            wrong += [Problem(f"{path}.{one.path}", f"{path}: {one.message}") for one in error.problems]
        except ConfigurationError as error:
            wrong.append(Problem(path, f"{path}: {error}"))
    return wrong


def _told(fields: object) -> tuple[str, ...]:
    given = fields if isinstance(fields, Mapping) else {}
    return tuple(sorted({answer.category for _, answer in answers_in(given)}))


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
