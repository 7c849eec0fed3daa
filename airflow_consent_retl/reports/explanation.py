"""The explanation of the decisions about one person's row, without a value of it: for a privacy officer with the id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_consent_retl.consent import (
    CLUSTER,
    NOTHING_SAID,
    NULL_TOKEN,
    CategorySignal,
    ConsentStatus,
    Denied,
    LinkedSubject,
    Permitted,
    Regime,
    SubjectStatus,
    plan_consent,
)
from airflow_consent_retl.errors import ModelError
from airflow_consent_retl.fields.field_values import in_words
from airflow_consent_retl.filtering.files import column_kinds
from airflow_consent_retl.hooks.forgotten_list import suppression_list
from airflow_consent_retl.hooks.policies import read_policy
from airflow_consent_retl.reports.counted_snapshot import mapping_of, workspace_of
from airflow_consent_retl.storage import open_snapshot

if TYPE_CHECKING:
    from airflow_consent_retl.consent import (
        ConsentMapping,
        ConsentMappingLike,
        ConsentPlan,
        ConsentPolicy,
        Decision,
        Signal,
        SignatureDecision,
    )
    from airflow_consent_retl.hooks.central_policy import PolicySource

_NEEDS = {
    ConsentStatus.DENIED: "a yes in place of the no",
    ConsentStatus.UNKNOWN: "a yes where nothing is known",
    ConsentStatus.INVALID: "a readable value that means yes",
    ConsentStatus.EXPIRED: "a newer yes, to the present notice",
    ConsentStatus.CONFLICT: "one answer in place of two that contradict each other",
    ConsentStatus.LINKED_NO: "no one who is linked to the person saying no",
    ConsentStatus.LINKED_DOUBT: "no doubt about the answer of anyone who is linked to the person",
}
_OTHER = {
    "missing_id": "an id",
    "duplicate_id": "one row of this id in place of several",
    "forgotten": "consent given anew, and the person taken off the workspace's suppression list",
    "unmapped_destination": "a category in the policy that is mapped to the destination",
    "misspelt_destination": "the destination's name spelled the same in the policy and in the request",
    "gpc:denied": "no Global Privacy Control",
    "gpc:invalid": "a readable Global Privacy Control",
    "gpc:linked_no": "no Global Privacy Control of anyone who is linked to the person",
    "gpc:linked_doubt": "a readable Global Privacy Control of everyone who is linked to the person",
    "suppression:denied": "not being on the suppression list",
    "suppression:linked_no": "no one who is linked to the person being suppressed or forgotten",
    "suppression:linked_doubt": "fewer people who are linked to each other, with no doubt about them",
    "suppression:unknown": "a key that can be looked up in the suppression list",
    "row_switch:denied": "the row's own switch turned on",
    "row_switch:invalid": "readable switches in the row",
    "row_switch:linked_no": "the own switch turned on of everyone who is linked to the person",
    "row_switch:linked_doubt": "readable switches of everyone who is linked to the person",
}


@dataclass(frozen=True, slots=True)
class SignalExplanation:
    """One value that was read: its column, the format, and the class of the value, never the value."""

    column: str
    format: str
    value: str


@dataclass(frozen=True, slots=True)
class DestinationExplanation:
    """The decision for one destination.

    `rule` is the policy's requirement, in words; `reasons` are empty where the row is permitted. `would_change` lists
    the changes that would reverse the decision: all of them together for a denial, any of them for a permission.
    `withheld` lists the fields left out of the row.
    """

    destination: str
    permitted: bool
    ground: str | None
    reasons: tuple[str, ...]
    rule: str
    would_change: tuple[str, ...]
    withheld: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that decided about one person. `rows` is the number of rows with the id; more than one is a doubt."""

    rows: int
    subject: str
    policy_digest: str
    at: datetime
    statuses: Mapping[str, str]
    regimes: Mapping[str, str]
    signals: tuple[SignalExplanation, ...]
    destinations: Mapping[str, DestinationExplanation]

    def to_markdown(self) -> str:
        """Return the explanation as Markdown, for people."""
        lines = [
            f"{self.rows} row(s), {self.subject}, decided at {self.at:%F %T %Z} under {self.policy_digest}",
            "",
            "| category | regime | status |",
            "|---|---|---|",
            *(f"| `{name}` | {self.regimes[name]} | {status} |" for name, status in self.statuses.items()),
            "",
            "| column | format | value |",
            "|---|---|---|",
            *(f"| `{signal.column}` | {signal.format} | {signal.value} |" for signal in self.signals),
            "",
            "| destination | needs | answer | what would change it |",
            "|---|---|---|---|",
        ]
        for name, found in self.destinations.items():
            answer = f"permitted ({found.ground})" if found.permitted else f"denied: {', '.join(found.reasons)}"
            without = f", without {', '.join(map(in_words, found.withheld))}" if found.withheld else ""
            lines.append(f"| `{name}` | {found.rule} | {answer}{without} | {'; '.join(found.would_change)} |")
        return "\n".join(lines)


def explain(
    subject: str | int,
    *,
    snapshot: object,
    policy: PolicySource,
    consent: ConsentMappingLike | ConsentMapping,
    destinations: Sequence[str],
    at: datetime | None = None,
) -> Explanation:
    """Explain the decisions about one id of a snapshot, under the present policy.

    Args:
        subject: an id, as the snapshot has it.
        snapshot: the output of an `ExtractModelOperator`.
        policy: as for the filter.
        consent: as for the filter.
        destinations: to explain for.
        at: the time of the decision, with a zone; None: now.

    Raises:
        ModelError: the snapshot has no row of this id.
        PolicyError: the policy does not fit the mapping or the columns.
        ConfigurationError: the id is of another kind than the snapshot's.
    """
    decided_at = at or datetime.now(UTC)
    opened = open_snapshot(snapshot)
    loaded = read_policy(policy).policy
    plan = plan_consent(
        loaded,
        destinations=destinations,
        mapping=mapping_of(opened, consent),
        columns=column_kinds(opened.manifest.columns),
        at=decided_at,
    )
    workspace = workspace_of(opened)
    cluster = [] if opened.manifest.linked is None else [CLUSTER]
    rows = workspace.rows_of(opened, subject, [*plan.consent_columns, *cluster])
    if not rows:
        raise ModelError("the snapshot has no row of this id")
    status = SubjectStatus.IDENTIFIED if len(rows) == 1 else SubjectStatus.DUPLICATE_ID
    people = suppression_list(workspace.documents).of_model(opened.manifest.model)
    if people and people.among(pa.array([str(subject)])).any():
        status = SubjectStatus.FORGOTTEN
    tokens = tuple(NULL_TOKEN if signal is None else signal.token(rows[0][signal.column]) for signal in plan.signals)
    linked = NOTHING_SAID
    if cluster:
        # A person's own row does not tell what those say who are linked to them.
        with workspace.filter(opened, lambda kinds: plan, at=decided_at, forgotten=people) as run:
            run.decide()
            linked = run.said_in(rows[0][CLUSTER])
    decided = plan.decide_signature(tokens, LinkedSubject(status, linked), at=decided_at)
    return Explanation(
        rows=len(rows),
        subject=str(status),
        policy_digest=loaded.digest,
        at=decided_at,
        statuses={str(name): str(status) for name, status in zip(plan.categories, decided.statuses, strict=True)},
        regimes={str(name): _regimes(loaded, name) for name in plan.categories},
        signals=tuple(
            SignalExplanation(signal.column, type(signal).__name__, _class_of(signal, token, rows[0][signal.column]))
            for signal, token in zip(plan.signals, tokens, strict=True)
            if signal is not None
        ),
        destinations={name: _explained(plan, decided, name) for name in plan.destinations},
    )


def _explained(plan: ConsentPlan, decided: SignatureDecision, name: Any) -> DestinationExplanation:
    answer: Decision = decided.decisions[name]
    return DestinationExplanation(
        destination=str(name),
        permitted=isinstance(answer, Permitted),
        ground=str(answer.ground) if isinstance(answer, Permitted) else None,
        reasons=tuple(str(reason) for reason in answer.reasons) if isinstance(answer, Denied) else (),
        rule=_rule(plan.policy, name),
        would_change=_would_permit(answer) if isinstance(answer, Denied) else _would_deny(plan.policy, name),
        withheld=tuple(decided.withheld.get(name, ())),
    )


def _rule(policy: ConsentPolicy, name: str) -> str:
    needs, rule = policy.needs_of(name), policy.rule_for(name)
    if needs:
        return needs
    return "nothing: " + ("it is mapped to no category" if rule.consent_required else f"not required, {rule.reason}")


def _would_permit(denied: Denied) -> tuple[str, ...]:
    needed = []
    for reason in denied.reasons:
        code = str(reason)
        category, _, status = code.rpartition(":")
        known = _OTHER.get(code)
        needed.append(known if known is not None else f"`{category}`: {_NEEDS[ConsentStatus(status)]}")
    return tuple(needed)


def _would_deny(policy: ConsentPolicy, name: str) -> tuple[str, ...]:
    changes = []
    for category_id in policy.required_for(name):
        category = policy.category(category_id)
        regimes = frozenset() if category is None else category.regimes
        if Regime.OPT_IN in regimes:
            changes.append(f"`{category_id}`: anything but a yes")
        elif Regime.OPT_OUT in regimes:
            changes.append(f"`{category_id}`: a no")
    return tuple(changes) or ("a suppression list or a switch in the row",)


def _regimes(policy: ConsentPolicy, category_id: str) -> str:
    category = policy.category(category_id)
    if category is None:
        return ""
    by_region = ", ".join(f"{region}: {regime}" for region, regime in category.regions)
    regional = category.region_preset or by_region
    return f"{category.regime}" + (f" ({regional})" if regional else "")


_CLASSES = {
    ConsentStatus.GRANTED: "a declared yes",
    ConsentStatus.DENIED: "a declared no",
    ConsentStatus.UNKNOWN: "no objection, which is no answer",
}


def _class_of(signal: Signal, token: int, raw: object) -> str:
    """Return the class of a value, in words that contain nothing of it."""
    if token == NULL_TOKEN:
        return "NULL, or no answer"
    if isinstance(signal, CategorySignal):
        reason = signal.why_invalid(raw)
        return _CLASSES.get(signal.status(token), f"an undeclared value{f': {reason}' if reason else ''}")
    return "a value that cannot be read" if token == signal.unlisted_token else f"class {token}"
