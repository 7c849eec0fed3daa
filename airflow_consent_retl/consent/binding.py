"""A DAG's model and its consent, held against the officer's part of a policy: what the policy declares is not replaced.

Pure. Each refusal says both sides; SQL is shown as a digest, since it may contain a value.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.json_path import child
from airflow_consent_retl.consent.mapping import ConsentMapping
from airflow_consent_retl.consent.mapping_documents import mapping_document
from airflow_consent_retl.consent.plain_json import canonical
from airflow_consent_retl.consent.sources import ExternalConsent, check_sources, source_document
from airflow_consent_retl.errors import PolicyError, Problem
from airflow_consent_retl.near import nearest

if TYPE_CHECKING:
    from airflow_consent_retl.consent.officer import ModelTerms, OfficerPart

_ONLY_DENY = ("gpc", "switches")
_CHOOSE_A_RULE = ("time", "notice_version", "region")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """The model that a DAG reads, and its source. Empty or None: not known here, and not checked.

    Args:
        model: its name.
        connection: the connection that it is read from.
        primary_key: the column that identifies a row.
        queries: the queries that are asked, without empty ones.
        hook_params: the arguments of the connection's hook.
        sources: the consent sources.
    """

    model: str
    connection: str
    primary_key: str | None = None
    queries: Collection[str] = ()
    hook_params: Mapping[str, object] = field(default_factory=dict)
    sources: tuple[ExternalConsent, ...] = ()


def model_problems(officer: OfficerPart, use: ModelUse) -> list[Problem]:
    """Return everything about a model that differs from what the policy declares about it."""
    terms = officer.model(use.model, use.connection)
    if terms is None:
        return _undeclared(officer, use)
    what = f"model `{use.model}`"
    problems = [
        Problem(path, f"the policy declares {named} `{declared}` for {what}, and this DAG has `{found}`")
        for path, named, declared, found in (
            ("conn_id", "connection", terms.connection, use.connection),
            ("primary_key", "primary key", terms.primary_key, use.primary_key),
        )
        if declared is not None and found is not None and declared != found
    ]
    allowed = [_plain_sql(sql) for sql in (terms.sql, terms.current_consent_sql) if sql is not None]
    for query in use.queries:
        if allowed and _plain_sql(query) not in allowed:
            known = " or ".join(map(_digest, allowed))
            problems.append(
                Problem("sql", f"the policy declares query {known} for {what}, and this DAG has {_digest(query)}")
            )
    return problems + _hook_params(terms, use)


def bound_sources(officer: OfficerPart, use: ModelUse) -> tuple[ExternalConsent, ...]:
    """Return the sources that apply to a model: the policy's, then those that the DAG adds.

    Raises:
        PolicyError: a source of the DAG brings a column of one of the policy's, or a column in which the policy keeps
            consent. The error contains every problem.
    """
    declared = _declared_sources(officer, use)
    by_column = {name.casefold(): source for source in declared for name in source.brought}
    terms = officer.model(use.model, use.connection)
    kept = set() if terms is None or terms.consent is None else {name.casefold() for name in terms.consent.columns}
    problems, added = [], []
    for index, source in enumerate(check_sources(use.sources)):
        if source in declared:
            continue
        path = f"consent_sources[{index}]"
        replaced = [name for name in source.brought if name.casefold() in by_column]
        taken = [name for name in source.brought if name.casefold() in kept and name not in replaced]
        if replaced:
            other = by_column[replaced[0].casefold()]
            problems.append(
                Problem(
                    path,
                    f"the policy brings column `{replaced[0]}` to model `{use.model}` with {_shown_source(other)}, and "
                    f"this DAG with {_shown_source(source)}: leave it out",
                )
            )
        elif taken:
            problems.append(
                Problem(
                    path,
                    f"the policy keeps consent of model `{use.model}` in column `{taken[0]}`, and this DAG brings this "
                    f"column with {_shown_source(source)}: leave it out",
                )
            )
        added.append(source)
    if problems:
        raise PolicyError(problems)
    return (*declared, *added)


def missing_sources(officer: OfficerPart, use: ModelUse) -> list[Problem]:
    """Return a problem for each source of the policy without which rows were extracted."""
    return [
        Problem(
            "consent_sources",
            f"the policy applies {_shown_source(source)} to model `{use.model}`, and the rows were extracted without "
            "it: extract them again under this policy, or give the extraction the same source",
        )
        for source in _declared_sources(officer, use)
        if source not in use.sources
    ]


def bound_mapping(officer: OfficerPart, use: ModelUse, declared: ConsentMapping | None) -> ConsentMapping:
    """Return the consent mapping that applies to a model: the policy's, and what the DAG adds to it.

    Args:
        officer: the officer's part.
        use: the model.
        declared: the DAG's mapping; None: it has none.

    Raises:
        PolicyError: there is none at all, or the DAG's differs from the policy's. The error contains every problem.
    """
    terms = officer.model(use.model, use.connection)
    policy = None if terms is None else terms.consent
    if policy is None:
        if declared is None:
            raise PolicyError(
                [Problem("consent", f"the policy does not say where consent of model `{use.model}` is kept: name it")]
            )
        return declared
    if declared is None:
        return policy
    problems = [*_entry_problems(policy, declared, use.model), *_row_problems(policy, declared, use.model)]
    if problems:
        raise PolicyError(problems)
    own = {category: entry for category, entry in declared.entries if category not in policy.category_ids}
    return replace(
        policy,
        entries=(*policy.entries, *own.items()),
        **{name: getattr(policy, name) or getattr(declared, name) for name in _ONLY_DENY},
    )


def _undeclared(officer: OfficerPart, use: ModelUse) -> list[Problem]:
    near = nearest(use.model, [name for name, _ in officer.models])
    if near is not None:
        return [
            Problem(
                "model",
                f"model `{use.model}` resembles `{near}`, which the policy declares, did you mean `{near}`? If it is "
                "another one, declare it in the policy too",
            )
        ]
    if officer.undeclared_models == "permit":
        return []
    known = ", ".join(f"`{name}`" for name, _ in (*officer.models, *officer.connections))
    return [
        Problem(
            "model",
            f"the policy declares neither model `{use.model}` nor connection `{use.connection}`, and others may not be "
            f"used; it declares {known}",
        )
    ]


def _hook_params(terms: ModelTerms, use: ModelUse) -> list[Problem]:
    found = canonical(use.hook_params)
    # INVARIANT: parameters of the hook decide which database and schema a name is in.
    binds = terms.consent is not None or terms.sql is not None or bool(terms.sources)
    declared = terms.hook_params or ("{}" if binds else None)
    if declared is None or found == declared:
        return []
    return [
        Problem(
            "hook_params",
            f"the policy declares hook_params {declared} for model `{use.model}`, and this DAG has {found}",
        )
    ]


def _declared_sources(officer: OfficerPart, use: ModelUse) -> tuple[ExternalConsent, ...]:
    terms = officer.model(use.model, use.connection)
    own = () if terms is None else terms.sources
    return (*own, *(one for one in officer.suppression_lists if one not in own))


def _entry_problems(policy: ConsentMapping, declared: ConsentMapping, model: str) -> list[Problem]:
    if policy.whole is not None or declared.whole is not None:
        both = [mapping_document(ConsentMapping(one.entries, one.whole)) for one in (policy, declared)]
        return [] if both[0] == both[1] else [_differs("consent", f"consent of model `{model}`", *both)]
    found = dict(declared.entries)
    problems = []
    for category, entry in policy.entries:
        if category in found:
            ours, theirs = (mapping_document(ConsentMapping(((category, one),))) for one in (entry, found[category]))
            if ours != theirs:
                what = f"`{category}` of model `{model}`"
                problems.append(_differs(child("consent", category), what, ours[category], theirs[category]))
    return problems


def _row_problems(policy: ConsentMapping, declared: ConsentMapping, model: str) -> list[Problem]:
    problems = []
    for name in (*_CHOOSE_A_RULE, *_ONLY_DENY):
        ours, theirs = getattr(policy, name), getattr(declared, name)
        # What only denies may be added. What chooses the rule of a row is the policy's alone.
        may_add = ours is None and name in _ONLY_DENY
        if theirs is not None and theirs != ours and not may_add:
            documents = [
                None if one is None else mapping_document(replace(ConsentMapping(), **{name: one}))[name]
                for one in (ours, theirs)
            ]
            problems.append(_differs(f"consent.{name}", f"`{name}` of model `{model}`", *documents))
    return problems


def _differs(path: str, what: str, policy: object, dag: object) -> Problem:
    return Problem(path, f"the policy keeps {what} in {_shown(policy)}, and this DAG in {_shown(dag)}: leave it out")


def _shown(document: Any) -> str:
    if document is None:
        return "no column"
    if isinstance(document, str):
        return f"column `{document}`"
    present = {name: value for name, value in document.items() if value not in (None, [], ())}
    if present.keys() == {"format", "column"}:
        return f"{present['format']} column `{present['column']}`"
    return json.dumps(present)


def _shown_source(source: ExternalConsent) -> str:
    document = source_document(source)
    where = document["conn_id"]
    place = "the model's connection" if where is None else f"connection `{where}`"
    return f"{document['format']} {_digest(document['sql'])} of {place} by `{source.key}`"


def _plain_sql(sql: str) -> str:
    return sql.strip().rstrip(";").rstrip()


def _digest(sql: str) -> str:
    return f"sha256:{hashlib.sha256(_plain_sql(sql).encode()).hexdigest()[:12]}"
