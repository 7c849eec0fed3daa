"""A DAG's use of a destination, held against the officer's part of a policy. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.json_path import child
from airflow_consent_retl.consent.policy import base_of
from airflow_consent_retl.consent.shared_answers import answer_problems
from airflow_consent_retl.errors import Problem
from airflow_consent_retl.fields.field_values import columns_of
from airflow_consent_retl.near import nearest_destination

if TYPE_CHECKING:
    from airflow_consent_retl.consent.officer import DestinationTerms
    from airflow_consent_retl.consent.policy import ConsentPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationUse:
    """The use of a destination name by a task. None: not known yet, and not checked.

    Args:
        name: the policy's name of the destination.
        operator: the operator's name, as a policy names it.
        is_own_code: whether the operator, or the code that gets the rows, is not of this package.
        connections: by parameter, the connections of the load.
        parameters: its other parameters that decide where rows go.
        target: returns the place where rows end up.
        leads_to: returns whether rows end up where a declared connection with these parameters leads, or at a declared
            target, maybe in another spelling.
        fields: the fields that are sent, each with the model's column or another value.
        unknown: the names of connections and parameters whose values are not known yet.
    """

    name: str
    operator: str | None = None
    is_own_code: bool = False
    connections: Mapping[str, str] | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    target: Callable[[], str] | None = None
    leads_to: Callable[[DestinationTerms], bool] | None = None
    fields: Mapping[str, str] | None = None
    unknown: Collection[str] = ()


def destination_problems(
    policy: ConsentPolicy, use: DestinationUse, *, is_central: bool, sends: bool = True
) -> list[Problem]:
    """Return everything about the use of a destination that differs from what the policy declares.

    Args:
        policy: the policy in force.
        use: the use.
        is_central: whether the policy is the deployment's.
        sends: whether rows are sent; otherwise people are only removed.
    """
    terms = policy.officer.destination(use.name)
    problems = [*_name_problems(policy, use, is_central=is_central), *_place_problems(policy, terms, use)]
    if sends:
        problems += [
            *_field_problems(terms, use),
            *answer_problems(policy, use.name, use.fields or {}),
            *_assessment_problems(policy, terms, use.name),
        ]
    return problems


def _name_problems(policy: ConsentPolicy, use: DestinationUse, *, is_central: bool) -> list[Problem]:
    allowed = policy.officer.unmapped_names
    if not {use.name, base_of(use.name)}.isdisjoint(policy.destinations) or allowed == "permit":
        return []
    # Where unmapped names get nothing, or fail the filter, they do no harm.
    if allowed is None and not (is_central and policy.unmapped_destinations == "permit"):
        return []
    near = nearest_destination(use.name, policy.destinations)
    hint = "" if near is None else f", did you mean `{near}`?"
    return [Problem("destination", f"the policy does not name `{use.name}`, and other names may not be used{hint}")]


def _place_problems(policy: ConsentPolicy, terms: DestinationTerms, use: DestinationUse) -> list[Problem]:
    problems = []
    if None not in (terms.operator, use.operator) and terms.operator != use.operator:
        problems.append(
            Problem(
                "destination",
                f"the policy declares that `{use.name}` is loaded by {terms.operator}, and here it is {use.operator}",
            )
        )
    if terms.operator is None and terms.is_placed and use.is_own_code:
        problems.append(
            Problem(
                "destination",
                f"the policy declares where `{use.name}` is, and {use.operator} could send elsewhere: declare it as "
                "the `operator` of the destination",
            )
        )
    connections = use.connections
    found_connections = {*(connections or {}).values()}
    is_known = connections is not None and (found_connections or not use.unknown)
    if is_known and terms.connection is not None and found_connections != {terms.connection}:
        path = next((name for name, value in (connections or {}).items() if value != terms.connection), "conn_id")
        found = ", ".join(f"`{one}`" for one in sorted(found_connections)) or "none"
        problems.append(
            Problem(
                path, f"the policy declares connection `{terms.connection}` for `{use.name}`, and this DAG has {found}"
            )
        )
    if connections is not None:
        for name, declared in terms.parameters or ():
            if name in use.unknown:
                continue
            if name not in use.parameters:
                found = "which the load does not have"
            elif use.parameters[name] == declared:
                continue
            else:
                found = f"and this DAG has `{use.parameters[name]}`"
            problems.append(Problem(name, f"the policy declares {name} `{declared}` for `{use.name}`, {found}"))
    if terms.target is not None and use.target is not None and (target := use.target()) != terms.target:
        problems.append(
            Problem("destination", f"the policy declares target {terms.target} for `{use.name}`, and this is {target}")
        )
    return problems or _taken(policy, terms, use)


def _taken(policy: ConsentPolicy, terms: DestinationTerms, use: DestinationUse) -> list[Problem]:
    """Return a problem if a name without a place of its own leads to the place of another name."""
    if terms.is_placed or use.connections is None:
        return []
    for name, other in policy.officer.destinations:
        if base_of(name) == base_of(use.name):
            continue
        same = dict(other.parameters or ()).items() <= dict(use.parameters).items()
        by_connection = other.connection is not None and other.connection in use.connections.values() and same
        by_target = other.target is not None and use.target is not None and use.target() == other.target
        by_place = other.is_placed and use.leads_to is not None and use.leads_to(other)
        if by_connection or by_target or by_place:
            place = "this place" if other.connection is None else f"connection `{other.connection}`"
            place = place if other.target is None else f"target {other.target}"
            return [
                Problem(
                    "destination",
                    f"{place} is what the policy declares for `{name}`, and this DAG calls it `{use.name}`",
                )
            ]
    return []


def _field_problems(terms: DestinationTerms, use: DestinationUse) -> list[Problem]:
    if terms.fields is None or use.fields is None:
        return []
    allowed = ", ".join(
        f"`{column}`" if field is None else f"`{column}` as `{field}`" for field, column in terms.fields
    )
    return [
        Problem(
            child("fields", field),
            f"the policy lets column {allowed} go to `{use.name}`, and this DAG sends `{column}` as `{field}`",
        )
        for field, source in use.fields.items()
        for column in columns_of(source)
        if (None, column) not in terms.fields and (field, column) not in terms.fields
    ]


def _assessment_problems(policy: ConsentPolicy, terms: DestinationTerms, name: str) -> list[Problem]:
    exempt = policy.officer.no_assessment_in
    if exempt is None or terms.assessment is not None or terms.country in exempt:
        return []
    where = "in a country that the policy does not name" if terms.country is None else f"in {terms.country}"
    outside = f" outside {', '.join(exempt)}" if exempt else ""
    return [
        Problem(
            "destination",
            f"`{name}` is {where} and has no assessment, which the policy requires{outside}: add `assessment` to it",
        )
    ]
