"""The checks of a task against the policy in force: its model, its consent, and what it does with a destination."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.operators.face import MODULES

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentMapping, ConsentMappingLike, ExternalConsent
    from airflow_consent_retl.consent.binding import ModelUse
    from airflow_consent_retl.consent.destination_binding import DestinationUse
    from airflow_consent_retl.consent.officer import DestinationTerms
    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.hooks.policies import LoadedPolicy
    from airflow_consent_retl.storage.manifest import ModelSource, PermittedManifest, SnapshotManifest

_LEDGER = "ledger_conn_id"


def use_of_source(model: str, source: ModelSource, *, primary_key: str | None) -> ModelUse:
    """Return what a DAG reads, from the source of a model's rows."""
    from airflow_consent_retl.consent import parse_source_document
    from airflow_consent_retl.consent.binding import ModelUse

    return ModelUse(
        model=model,
        connection=source.conn_id,
        primary_key=primary_key,
        queries=tuple(filter(None, (source.sql, source.current_consent_sql))),
        hook_params=source.hook_params,
        sources=tuple(map(parse_source_document, source.consent_sources)),
    )


def sources_of_extraction(
    *,
    model: str,
    conn_id: str,
    primary_key: str,
    queries: Sequence[str | None],
    hook_params: Mapping[str, Any] | None,
    declared: Sequence[ExternalConsent],
    loaded: LoadedPolicy | None,
) -> tuple[ExternalConsent, ...]:
    """Check a model before it is read, and return the sources that apply to it, those of the policy first.

    Args:
        model, conn_id, primary_key, hook_params: the DAG's.
        queries: the DAG's queries; None and empty ones do not count.
        declared: the DAG's sources.
        loaded: the policy in force; None: each DAG has its own, which the filter will name.

    Raises:
        PolicyError: the model differs from what the policy declares, or a source is wrong.
    """
    from airflow_consent_retl.consent import check_sources
    from airflow_consent_retl.consent.binding import ModelUse

    checked = check_sources(declared)
    if loaded is None:
        return checked
    use = ModelUse(
        model=model,
        connection=conn_id,
        primary_key=primary_key,
        queries=tuple(query for query in queries if query),
        hook_params=hook_params or {},
        sources=checked,
    )
    return _checked_sources(loaded, use)


def check_model(loaded: LoadedPolicy, use: ModelUse, consent: ConsentMappingLike | None) -> None:
    """Check a model and its consent before anything is read. `consent`: the DAG's mapping, if it is known.

    Raises:
        PolicyError: something differs from what the policy declares.
    """
    from airflow_consent_retl.consent import parse_consent_mapping
    from airflow_consent_retl.consent.binding import bound_mapping

    _checked_sources(loaded, use)
    if consent is not None:
        bound_mapping(loaded.policy.officer, use, parse_consent_mapping(consent))


def _checked_sources(loaded: LoadedPolicy, use: ModelUse) -> tuple[ExternalConsent, ...]:
    from airflow_consent_retl.consent.binding import bound_sources, model_problems
    from airflow_consent_retl.errors import PolicyError

    if problems := model_problems(loaded.policy.officer, use):
        raise PolicyError(problems)
    return bound_sources(loaded.policy.officer, use)


def mapping_in_force(
    loaded: LoadedPolicy, use: ModelUse, declared: ConsentMappingLike | ConsentMapping | None
) -> ConsentMapping:
    """Check a model and its consent, and return the mapping that applies, with what its sources bring.

    Args:
        loaded: the policy in force.
        use: the model, with the sources with which it was read.
        declared: the DAG's mapping, if it has one.

    Raises:
        PolicyError: something differs from what the policy declares. The error contains every problem of one kind.
    """
    from airflow_consent_retl.consent import parse_consent_mapping
    from airflow_consent_retl.consent.binding import bound_mapping, bound_sources, missing_sources, model_problems
    from airflow_consent_retl.errors import PolicyError

    officer = loaded.policy.officer
    if problems := [*model_problems(officer, use), *missing_sources(officer, use)]:
        raise PolicyError(problems)
    bound_sources(officer, use)
    mapping = bound_mapping(officer, use, None if declared is None else parse_consent_mapping(declared))
    return mapping.with_sources(use.sources)


def check_decided(loaded: LoadedPolicy, manifest: PermittedManifest) -> None:
    """Check that the rows were decided by what the policy declares now about their model.

    Raises:
        PolicyError: the model differs from it.
        RefusedError: the consent that decided is not the one that the policy declares.
    """
    from airflow_consent_retl.consent import mapping_document, parse_mapping_document
    from airflow_consent_retl.errors import RefusedError

    decided = parse_mapping_document(manifest.consent)
    use = use_of_source(manifest.model, manifest.source, primary_key=manifest.primary_key)
    # What the sources bring is compared as sources.
    both = [
        mapping_document(one.with_elsewhere(doubts={}, suppressions=()))
        for one in (mapping_in_force(loaded, use, decided), decided)
    ]
    if both[0] != both[1]:
        raise RefusedError(
            f"the policy now says more about where consent of model `{manifest.model}` is kept than when consent was "
            "decided: run the filter again"
        )


def use_of_snapshot(manifest: SnapshotManifest) -> ModelUse:
    """Return what a DAG read, from the manifest of its snapshot."""
    return use_of_source(manifest.model, manifest.source, primary_key=manifest.primary_key)


def check_destinations(loaded: LoadedPolicy, uses: Sequence[DestinationUse], *, sends: bool = True) -> None:
    """Check what a task does with destinations. `sends`: rows are sent, otherwise people are only removed.

    Raises:
        PolicyError: it differs from what the policy declares. The error contains every problem.
    """
    from airflow_consent_retl.consent.destination_binding import destination_problems
    from airflow_consent_retl.errors import PolicyError

    problems = [
        problem
        for use in uses
        for problem in destination_problems(loaded.policy, use, is_central=loaded.is_central, sends=sends)
    ]
    if problems:
        raise PolicyError(problems)


def use_of_load(load: Any, *, fields: Mapping[str, str] | None) -> DestinationUse:
    """Return what a load does with its destination, from its attributes.

    Args:
        load: the operator, with its templates rendered.
        fields: the fields that are sent; None: none.
    """
    return _use(
        load.destination,
        type(load),
        {name: getattr(load, name, None) for name in placing_parameters(type(load))},
        destination=load.build_destination,
        leads_to=partial(_leads_to, load),
        fields=fields,
    )


def _leads_to(load: Any, terms: DestinationTerms) -> bool:
    """Return whether a load's rows end up where the policy says that another destination is."""
    from airflow_consent_retl.errors import ConsentRetlError

    if terms.target is not None:
        return bool(load.build_destination().is_same_target(terms.target))
    connections = [name for name in placing_parameters(type(load)) if is_connection(name) and getattr(load, name, None)]
    changed = dict(terms.parameters or ())
    # A declared table without its connection could be in any database.
    is_complete = len(connections) == (1 if terms.connection is not None else 0)
    if not is_complete or not all(hasattr(load, name) for name in changed):
        return False
    declared = copy(load)
    for name, value in {**dict.fromkeys(connections, terms.connection), **changed}.items():
        setattr(declared, name, value)
    try:
        target = declared.build_destination().target
    except ConsentRetlError:
        # The declared connection is of another kind.
        return False
    return bool(load.build_destination().is_same_target(target))


def use_of_parameters(
    name: str,
    operator: type[Any],
    parameters: Mapping[str, object],
    *,
    build: Callable[[], Destination] | None = None,
    fields: Mapping[str, str] | None = None,
    unknown: Collection[str] = (),
) -> DestinationUse:
    """Return what a load without a task does with its destination.

    Args:
        name: the policy's name of the destination.
        operator: the operator's class.
        parameters: its parameters, rendered; the others have their defaults.
        build: returns the destination, not yet opened; None: its target is not checked.
        fields: the fields that are sent; None: none.
        unknown: the parameters whose values are not known yet.
    """
    defaults = {key: one.default for key, one in inspect.signature(operator).parameters.items()}
    names = placing_parameters(operator)
    given = {key: parameters.get(key, defaults.get(key)) for key in names if key not in unknown}
    return _use(name, operator, given, destination=build, fields=fields, unknown=frozenset(unknown).intersection(names))


def operator_name(operator: type[Any]) -> str:
    """Return the name of an operator as a policy names it: a name of this package, or `module:Class`."""
    module = MODULES.get(operator.__name__)
    # INVARIANT: classes are compared, never only their names: another class may have the same name.
    if module is not None and getattr(sys.modules.get(module), operator.__name__, None) is operator:
        return str(operator.__name__)
    return f"{operator.__module__}:{operator.__qualname__}"


def placing_parameters(operator: type[Any]) -> list[str]:
    """Return the names of the parameters that decide where rows go: those that only this kind of load templates."""
    from airflow_consent_retl.operators.load import LoadOperator

    own = [name for name in getattr(operator, "template_fields", ()) if name not in LoadOperator.template_fields]
    known = [name for name in inspect.signature(operator).parameters if is_connection(name)]
    return list(dict.fromkeys([*own, *known]))


def is_connection(parameter: str) -> bool:
    """Return whether a parameter of a load names the connection of its destination."""
    return parameter != _LEDGER and (parameter == "conn_id" or parameter.endswith("_conn_id"))


def _use(
    name: str,
    operator: type[Any],
    parameters: Mapping[str, Any],
    *,
    destination: Callable[[], Destination] | None,
    fields: Mapping[str, str] | None,
    leads_to: Callable[[DestinationTerms], bool] | None = None,
    unknown: frozenset[str] = frozenset(),
) -> DestinationUse:
    from airflow_consent_retl.consent.destination_binding import DestinationUse

    named = operator_name(operator)
    return DestinationUse(
        name=name,
        operator=named,
        is_own_code=":" in named,
        connections={key: value for key, value in parameters.items() if is_connection(key) and value},
        parameters={key: value for key, value in parameters.items() if not is_connection(key)},
        target=None if destination is None else lambda: destination().target,
        leads_to=leads_to,
        fields=fields,
        unknown=unknown,
    )
