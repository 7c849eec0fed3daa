"""The consent plan: a policy checked against what a DAG asks and against the model's columns.

Holding a `ConsentPlan` is the proof that the run can be decided. Never sees a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.decision import Decision, Permitted, SubjectStatus, decide
from airflow_consent_retl.consent.document import parse_destination
from airflow_consent_retl.consent.mapping import ConsentMapping, ConsentMappingLike, parse_consent_mapping
from airflow_consent_retl.consent.near import differs_in_form_only, nearest
from airflow_consent_retl.consent.signals import (
    NULL_TOKEN,
    BooleanColumn,
    CategorySignal,
    ColumnKind,
    ConsentStatus,
)
from airflow_consent_retl.errors import PolicyError, Problem

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_consent_retl.consent.policy import Category, CategoryId, ConsentPolicy, DestinationName

Signature = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SignatureDecision:
    """What one signature may receive. `recipients` and the keys of `decisions` are sorted."""

    recipients: tuple[DestinationName, ...]
    decisions: Mapping[DestinationName, Decision] = field(hash=False)
    statuses: tuple[ConsentStatus, ...]


@dataclass(frozen=True, slots=True)
class ConsentPlan:
    """All that is needed to decide the rows of one run.

    `categories` are those that some asked destination requires, sorted; `signals` is aligned with them, with None
    for a category that no column holds and that counts as unknown for every row. `warnings` are sentences for the
    run's log.
    """

    policy: ConsentPolicy
    destinations: tuple[DestinationName, ...]
    categories: tuple[CategoryId, ...]
    signals: tuple[CategorySignal | None, ...]
    warnings: tuple[str, ...] = ()

    @property
    def consent_columns(self) -> tuple[str, ...]:
        """The columns of the model that the signals read, sorted, each once."""
        return tuple(sorted({signal.column for signal in self.signals if signal is not None}))

    def statuses(self, tokens: Signature) -> tuple[ConsentStatus, ...]:
        """Return the status of each category for a signature. Raises `ValueError` if it is none of this plan."""
        if len(tokens) != len(self.categories):
            raise ValueError(f"a signature of this plan has {len(self.categories)} tokens, found {len(tokens)}")
        return tuple(map(_status, self.signals, tokens))

    def decide_signature(
        self, tokens: Signature, subject: SubjectStatus = SubjectStatus.IDENTIFIED, *, at: datetime
    ) -> SignatureDecision:
        """Decide a signature for every destination of the plan."""
        statuses = self.statuses(tokens)
        consent = dict(zip(self.categories, statuses, strict=True))
        decisions = {
            destination: decide(self.policy, destination, consent, subject=subject, at=at)
            for destination in self.destinations
        }
        recipients = tuple(name for name, decision in decisions.items() if isinstance(decision, Permitted))
        return SignatureDecision(recipients, decisions, statuses)


def plan_consent(
    policy: ConsentPolicy,
    *,
    destinations: Sequence[str],
    mapping: ConsentMappingLike | ConsentMapping,
    columns: Mapping[str, ColumnKind] | None,
) -> ConsentPlan:
    """Check what a DAG asks (`destinations`, `mapping`) against the policy and the model's columns.

    With `columns=None` only what needs no model is checked, so that a broken configuration fails before anything is
    read. Raises `PolicyError` with every problem.
    """
    planner = _Planner(policy, columns)
    asked = planner.asked_destinations(destinations)
    consent = planner.consent_mapping(mapping)
    required = {category_id for name in asked for category_id in policy.required_for(name)}
    categories = [category for category in policy.categories if category.id in required]
    signals = () if consent is None else tuple(planner.signal(consent, category, asked) for category in categories)
    if planner.problems:
        raise PolicyError(planner.problems)
    return ConsentPlan(policy, asked, tuple(category.id for category in categories), signals, tuple(planner.warnings))


def _status(signal: CategorySignal | None, token: int) -> ConsentStatus:
    if signal is not None:
        return signal.status(token)
    if token != NULL_TOKEN:
        raise ValueError(f"a category without a column has token {NULL_TOKEN}")
    return ConsentStatus.UNKNOWN


class _Planner:
    def __init__(self, policy: ConsentPolicy, columns: Mapping[str, ColumnKind] | None) -> None:
        self.policy = policy
        self.columns = columns
        self.problems: list[Problem] = []
        self.warnings: list[str] = []

    def asked_destinations(self, destinations: Sequence[str]) -> tuple[DestinationName, ...]:
        # Text is a sequence too, of letters.
        if isinstance(destinations, str) or not isinstance(destinations, Sequence) or not destinations:
            self.note("destinations", "expected a list with at least one destination")
            return ()
        asked: list[DestinationName] = []
        for index, listed in enumerate(destinations):
            try:
                destination = parse_destination(listed)
            except ValueError as error:
                self.note(f"destinations[{index}]", str(error))
                continue
            refusal = (
                f"destination `{destination}` is asked for twice"
                if destination in asked
                else self.destination_refusal(destination)
            )
            if refusal is not None:
                self.note(f"destinations[{index}]", refusal)
            asked.append(destination)
        return tuple(sorted(asked))

    def destination_refusal(self, destination: DestinationName) -> str | None:
        """Return why the policy does not let the destination be asked for, or None; warn where it is let through."""
        misspelt = self.policy.misspelt(destination)
        if misspelt is not None:
            return (
                f"destination `{destination}` is not in the policy, did you mean `{misspelt}`? "
                "If it is another one, name it in the policy's `destinations` section"
            )
        disabled = [f"`{category.id}`" for category in self.policy.mapped_to(destination) if not category.enabled]
        if disabled:
            self.warnings.append(
                f"destination `{destination}` is mapped to {', '.join(disabled)}, disabled: not enforced"
            )
        if self.policy.required_for(destination) or not self.policy.rule_for(destination).consent_required:
            return None
        mapped = "no enabled consent category" if disabled else "no consent category"
        if self.policy.unmapped_destinations == "error":
            return f"destination `{destination}` is mapped to {mapped}"
        received = "every row" if self.policy.unmapped_destinations == "permit" else "nothing"
        self.warnings.append(f"destination `{destination}` is mapped to {mapped} and receives {received}")
        return None

    def consent_mapping(self, mapping: ConsentMappingLike | ConsentMapping) -> ConsentMapping | None:
        try:
            consent = parse_consent_mapping(mapping)
        except PolicyError as error:
            self.problems.extend(error.problems)
            return None
        known = [category.id for category in self.policy.categories]
        for category_id, signal in consent.entries:
            path = consent.path_of(category_id)
            if category_id in known:
                self.check_spelling(signal.column, path)
                continue
            # Ids of one platform are often an edit apart (`C0003`, `C0004`): one is a slip for another only where that
            # other one is left out of the mapping.
            suspects = [k for k in known if k not in consent.category_ids or differs_in_form_only(category_id, k)]
            near = nearest(category_id, suspects)
            if near is not None:
                self.note(path, f"category `{category_id}` is not in the policy, did you mean `{near}`?")
            else:
                self.warnings.append(f"category `{category_id}` is not in the policy and is ignored")
        if consent.whole is not None:
            self.check_spelling(consent.whole.column, "consent")
        return consent

    def check_spelling(self, column: str, path: str) -> None:
        near = self.near_column(column)
        if near is not None:
            self.note(path, f"column `{column}` is not in the model, did you mean `{near}`?")

    def near_column(self, column: str) -> str | None:
        return None if self.columns is None or column in self.columns else nearest(column, self.columns)

    def signal(
        self, consent: ConsentMapping, category: Category, asked: tuple[DestinationName, ...]
    ) -> CategorySignal | None:
        signal = consent.signal_for(category)
        if signal is not None:
            if self.columns is None or self.near_column(signal.column) is not None:
                return signal
            kind = self.columns.get(signal.column)
            if kind is not None:
                if not signal.accepts(kind):
                    self.note(consent.path_of(category.id), _kind_message(signal, kind))
                return signal
        how = (
            "has no entry in the consent mapping" if signal is None else f"has no column `{signal.column}` in the model"
        )
        requiring = ", ".join(f"`{name}`" for name in asked if category.id in self.policy.required_for(name))
        message = f"category `{category.id}`, required by {requiring}, {how}"
        if self.policy.missing_consent_column == "error":
            self.note(consent.path_of(category.id), message)
        else:
            self.warnings.append(f"{message}: it counts as unknown for every row")
        return None

    def note(self, path: str, message: str) -> None:
        problem = Problem(path, message)
        # One object holds several categories: what is wrong with its column is said once.
        if problem not in self.problems:
            self.problems.append(problem)


def _kind_message(signal: CategorySignal, kind: ColumnKind) -> str:
    expected = " or ".join(sorted(signal.kinds))
    message = f"column `{signal.column}` is {kind}, expected {expected}"
    if isinstance(signal, BooleanColumn) and kind in (ColumnKind.TEXT, ColumnKind.INTEGER):
        message += f": declare which values grant, Literals({signal.column!r}, granted=(...), denied=(...))"
    if isinstance(signal, BooleanColumn) and kind is ColumnKind.JSON:
        message += f": declare where consent is in it, ConsentObject({signal.column!r}, path=...)"
    return message
