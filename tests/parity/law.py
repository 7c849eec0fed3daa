"""The law, applied row by row to the case files: the result that every workspace must give.

It is naive on purpose: no engine, no join of signatures, one person after another. `decide` gets the statuses of the
case files, and a plan gets the raw values; both must agree.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from parity.cases import KEY, NESTED_PATH, PATH, listed
from parity.model import Person

from airflow_consent_retl.consent import (
    CategoryId,
    ConsentMappingLike,
    ConsentObject,
    ConsentObjectKey,
    ConsentStatus,
    Denied,
    Literals,
    SubjectStatus,
    decide,
    parse_policy,
    plan_consent,
)

_AT = datetime(2026, 11, 24, 2, 30, tzinfo=UTC)
# Subject, statuses, recipients, reasons by destination, rows.
Line = tuple[str, tuple[tuple[str, str], ...], tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...], int]


@dataclass(frozen=True)
class Setup:
    """A policy and a mapping.

    Args:
        name: a name for messages.
        policy: the document.
        consent: the mapping in the form that a DAG uses.
        columns: by category, the model's column with its consent.
        destinations: the destinations to decide for.
    """

    name: str
    policy: dict[str, Any]
    consent: ConsentMappingLike
    columns: Mapping[str, str]
    destinations: tuple[str, ...]


@dataclass(frozen=True)
class Counted:
    """The counts for one destination."""

    read: int
    permitted: int
    denied: int
    denied_by_reason: dict[str, int]


@dataclass(frozen=True)
class Decided:
    """The result of a filter run, in a form that can be compared.

    Args:
        recipients: the recipients of each id that has any.
        counts: the counts by destination.
        lines: the table of signatures, sorted.
        decisions: the entries of the decision log for the given ids.
        read: the number of rows.
        for_nobody: the number of rows without a recipient.
        logged: the number of entries of the decision log.
        groups: the number of rows by recipients.
    """

    recipients: dict[Any, tuple[str, ...]]
    counts: dict[str, Counted]
    lines: list[Line]
    decisions: dict[Any, list[Line]]
    read: int
    for_nobody: int
    logged: int
    groups: dict[tuple[str, ...], int] = field(default_factory=dict)


def decided(setup: Setup, people: Sequence[Person], *, asked: Iterable[Any]) -> Decided:
    """Decide for all people, one after another."""
    policy = parse_policy(setup.policy)
    plan = plan_consent(policy, destinations=setup.destinations, mapping=setup.consent, columns=None)
    times = Counter(person.id for person in people)
    recipients: dict[Any, tuple[str, ...]] = {}
    reasons: dict[str, Counter[str]] = {name: Counter() for name in setup.destinations}
    denied: Counter[str] = Counter()
    groups: Counter[tuple[str, ...]] = Counter()
    signatures: Counter[Any] = Counter()
    lines_of: dict[Any, set[Any]] = defaultdict(set)
    logged = 0
    for person in people:
        subject = _subject(person.id, times)
        known = {
            CategoryId(category): ConsentStatus(person.status[column]) for category, column in setup.columns.items()
        }
        answers = {name: decide(policy, name, known, subject=subject, at=_AT) for name in sorted(setup.destinations)}
        # The law must read the same statuses from the raw values as the case files state.
        tokens = tuple(0 if signal is None else signal.token(person.stored[signal.column]) for signal in plan.signals)
        from_raw = plan.decide_signature(tokens, subject, at=_AT)
        assert dict(from_raw.decisions) == answers, f"{setup.name}: the case files and the law differ: {person.stored}"
        found = tuple(name for name, answer in answers.items() if not isinstance(answer, Denied))
        codes = {
            name: tuple(reason.code for reason in answer.reasons)
            for name, answer in answers.items()
            if isinstance(answer, Denied)
        }
        for name, some in codes.items():
            denied[name] += 1
            reasons[name].update(some)
        statuses = tuple(sorted((str(c), str(known[c])) for c in plan.categories))
        signature = (tokens, str(subject), statuses, found, tuple(sorted(codes.items())))
        signatures[signature] += 1
        if codes:
            logged += 1
            lines_of[person.id].add(signature)
        if found:
            recipients[person.id] = found
            groups[found] += 1

    def line(signature: Any) -> Line:
        _, subject, statuses, found, codes = signature
        return subject, statuses, found, codes, signatures[signature]

    read = len(people)
    return Decided(
        recipients=recipients,
        counts={
            name: Counted(read, read - denied[name], denied[name], dict(sorted(reasons[name].items())))
            for name in sorted(setup.destinations)
        },
        lines=sorted(map(line, signatures)),
        decisions={id_: sorted(map(line, lines_of[id_])) for id_ in asked},
        read=read,
        for_nobody=read - sum(groups.values()),
        logged=logged,
        groups=dict(groups),
    )


def cause(reasons: Iterable[str]) -> str:
    """Return the cause of removal for a person who is denied for these reasons."""
    codes = list(reasons)
    others = {"gpc:denied", "row_switch:denied", "suppression:denied"} & set(codes)
    if any(code.endswith(":denied") and code not in others for code in codes):
        return "consent_withdrawn"
    if others:
        return "suppressed" if others == {"suppression:denied"} else "objected"
    if {"duplicate_id", "missing_id"} & set(codes):
        return "id_ambiguous"
    if "unmapped_destination" in codes:
        return "destination_unmapped"
    return "expired" if all(code.endswith(":expired") for code in codes) else "consent_missing"


def _subject(id_: Any, times: Mapping[Any, int]) -> SubjectStatus:
    if id_ is None:
        return SubjectStatus.MISSING_ID
    return SubjectStatus.DUPLICATE_ID if times[id_] > 1 else SubjectStatus.IDENTIFIED


# Setups

_NAMES = {
    "C0001": "agreed",
    "C0002": "said",
    "C0003": "coded",
    "C0005": "padded",
    "C0006": "folded",
    "C0007": "document",
    "C0008": "kept",
    "C0009": "native",
}

# Names that do not resemble each other.
_ALONE = {
    "agreed": "booleans",
    "said": "texts",
    "coded": "whole_numbers",
    "padded": "filled_up",
    "folded": "any_case",
    "document": "documents",
    "kept": "verbatim",
    "native": "trees",
}


def every_format() -> Setup:
    """Return a setup with all formats: each for its own destination, and together for other destinations."""
    alone = {category: _ALONE[column] for category, column in _NAMES.items()}
    categories = [
        {"id": category, "name": column, "destinations": [alone[category], "everything"]}
        for category, column in _NAMES.items()
    ]
    categories[0]["destinations"] = [*categories[0]["destinations"], "either"]
    categories[7]["destinations"] = [*categories[7]["destinations"], "either", "everything:emea"]
    literals = {column: listed(kind) for column, kind in (("said", "text"), ("coded", "integer"))}
    literals |= {name: listed(name) for name in ("padded", "folded")}
    mapping: dict[str, Any] = {"C0001": "agreed"}
    for category, column in _NAMES.items():
        if column in literals:
            found = literals[column]
            mapping[category] = Literals(column, granted=found.granted, denied=found.denied)
        elif column in {"document", "kept", "native"}:
            mapping[category] = ConsentObjectKey(column, (*PATH, KEY))
    return Setup(
        name="every format",
        policy={
            "categories": categories,
            "destinations": {
                "either": {"match": "any"},
                "archive": {"consent": "not_required", "reason": "own store"},
            },
        },
        consent=mapping,
        columns=_NAMES,
        destinations=(*alone.values(), "everything", "everything:emea", "either", "archive", "unheard_of"),
    )


def one_object(column: str, **options: Any) -> Setup:
    """Return a setup with one document for all categories."""
    name = "Pub0004" if options.get("key_by") == "name" else "Advertising"
    return Setup(
        name=f"one object in `{column}`",
        policy={
            "unmapped_destinations": "deny",
            "categories": [{"id": KEY, "name": name, "destinations": ["ads"]}],
        },
        consent=ConsentObject(column, **options),
        columns={KEY: column},
        destinations=("ads", "unheard_of"),
    )


def objects() -> list[Setup]:
    """Return setups with a `ConsentObject` by id and by name, in text and in native JSON, at two depths."""
    return [
        one_object("document"),
        one_object("kept", path=PATH),
        one_object("native"),
        one_object("named", key_by="name"),
        one_object("nested", path=".".join(NESTED_PATH)),
    ]


def by_agreement() -> Setup:
    """Return a setup with only the boolean column, for models that test ids."""
    return Setup(
        name="by agreement",
        policy={"categories": [{"id": "C0001", "name": "Agreed", "destinations": ["crm"]}]},
        consent={"C0001": "agreed"},
        columns={"C0001": "agreed"},
        destinations=("crm", "unheard_of"),
    )
