"""The consent plan: a policy, checked against a DAG's request and against the model's columns.

Holding a `ConsentPlan` is the proof that the run can be decided; `plan_consent` is its only maker. Never sees a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.answers import Combining, aged, combined, disagree, strictest_status
from airflow_consent_retl.consent.decision import (
    Circumstances,
    Decision,
    Permitted,
    SubjectStatus,
    answers_withheld,
    decide,
    withheld_fields,
)
from airflow_consent_retl.consent.freshness import (
    notice_status,
    time_status,
    valid_from_status,
    valid_until_status,
)
from airflow_consent_retl.consent.history import doubt_status
from airflow_consent_retl.consent.linked import (
    FORGOTTEN,
    GPC,
    NOTHING_SAID,
    SUPPRESSION,
    Said,
    Subject,
    about_category,
    about_switch,
    circumstances_with_links,
    linked_to,
    said,
    status_of,
    with_links,
)
from airflow_consent_retl.consent.policy import requirement_of
from airflow_consent_retl.consent.signals import ColumnKind, ConsentStatus, Signal
from airflow_consent_retl.consent.switches import switch_status

if TYPE_CHECKING:
    from airflow_consent_retl.consent.policy import CategoryId, ConsentPolicy, DestinationName

Signature = tuple[int, ...]

# A yes in a column of objections (Global Privacy Control, a suppression list) is a no to the sending.
_OBJECTION = {ConsentStatus.GRANTED: ConsentStatus.DENIED, ConsentStatus.DENIED: ConsentStatus.GRANTED}


@dataclass(frozen=True, slots=True)
class RecordReading:
    """The places of one record of a category's consent in a plan's signals. None: nothing is read."""

    answer: int | None
    doubt: int | None = None
    time: int | None = None
    notice: int | None = None
    valid_from: int | None = None
    valid_until: int | None = None


@dataclass(frozen=True, slots=True)
class CategoryReading:
    """The records that a category's status is read from. Without any record, the status is `unknown`."""

    records: tuple[RecordReading, ...] = ()
    combining: Combining = "first"

    @property
    def places(self) -> tuple[int, ...]:
        """The places of everything that is read."""
        return tuple(place for record in self.records for place in astuple(record) if place is not None)


@dataclass(frozen=True, slots=True)
class CircumstancesReading:
    """The places, in a plan's signals, of everything in a row that is not consent to a category.

    `regions` are the alphabet of the region's signal.
    """

    region: int | None = None
    regions: tuple[str, ...] = ()
    gpc: int | None = None
    suppressions: tuple[int, ...] = ()
    switches: tuple[tuple[DestinationName, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SignatureDecision:
    """The decisions about one signature. `recipients` and the keys of `decisions` are sorted.

    `statuses` are the statuses of the plan's categories. `withheld` names, by recipient, the fields that are not sent
    with the row, and by `answer_name` the answers that are no yes; a recipient that is not in it receives all fields.
    `conflicts` are the categories whose records disagree, and `unreadable` those with a record that cannot be read,
    also if another record decides.
    """

    recipients: tuple[DestinationName, ...]
    decisions: Mapping[DestinationName, Decision] = field(hash=False)
    statuses: tuple[ConsentStatus, ...]
    withheld: Mapping[DestinationName, tuple[str, ...]] = field(hash=False, default_factory=dict)
    conflicts: tuple[CategoryId, ...] = ()
    unreadable: tuple[CategoryId, ...] = ()


@dataclass(frozen=True, slots=True)
class DecidedBefore:
    """What one plan decided before. Equal inputs have equal answers, so signatures that share them share the answers.

    Thousands of signatures have a handful of statuses for each destination. Without it, each one is decided anew.
    """

    # By the category's place, the region and the tokens of its records.
    statuses: dict[tuple[object, ...], tuple[ConsentStatus, tuple[ConsentStatus, ...]]] = field(default_factory=dict)
    # By the destination and everything that `decide` was told: the decision, and what is withheld.
    decisions: dict[tuple[object, ...], tuple[Decision, tuple[str, ...]]] = field(default_factory=dict)
    # The places that each category is read from, and the categories that each destination asks for.
    places: list[tuple[int, ...]] = field(default_factory=list)
    asked: dict[DestinationName, tuple[CategoryId, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConsentPlan:
    """Everything that is needed to decide the rows of one run.

    `categories` are the categories that a requested destination requires, or that guard its fields, sorted; `readings`
    are aligned with them. `signals` are what is read from a row, one token each. They start with the signal of each
    category's first record, or None for a category without a column, which counts as unknown for every row. `warnings`
    are sentences for the run's log.
    """

    policy: ConsentPolicy
    destinations: tuple[DestinationName, ...]
    categories: tuple[CategoryId, ...]
    signals: tuple[Signal | None, ...]
    readings: tuple[CategoryReading, ...]
    circumstances: CircumstancesReading = CircumstancesReading()
    warnings: tuple[str, ...] = ()
    # By destination, the categories whose answers it gets: see `ConsentAnswer`.
    answers: tuple[tuple[DestinationName, tuple[str, ...]], ...] = ()
    # Plans that read the same rows under another policy, each with the places of its signals among this one's.
    others: tuple[tuple[ConsentPlan, tuple[int, ...]], ...] = ()

    @property
    def consent_columns(self) -> tuple[str, ...]:
        """The columns of the model that the signals read, sorted, each once."""
        return tuple(sorted({signal.column for signal in self.signals if signal is not None}))

    @property
    def needs_rows(self) -> bool:
        """Whether the decision reads rows; otherwise the policy alone decides, in the same way for every person."""
        return bool(self.consent_columns)

    def statuses(self, tokens: Signature) -> tuple[ConsentStatus, ...]:
        """Return the status of each category for a signature. Raises `ValueError` if it does not fit this plan."""
        return tuple(status for status, _ in self._read(tokens, DecidedBefore()))

    def said(self, tokens: Signature, subject: SubjectStatus = SubjectStatus.IDENTIFIED) -> Said:
        """Return what a row says to those who are linked to it. Raises `ValueError` if it does not fit this plan."""
        statuses = {
            about_category(category): status
            for category, status in zip(self.categories, self.statuses(tokens), strict=True)
        }
        own = self._circumstances(tokens)
        # What overrules consent is no consent: its absence says nothing.
        overruling = {GPC: own.gpc, SUPPRESSION: own.suppression}
        overruling |= {about_switch(name): status for name, status in own.switches.items()}
        found = said(statuses) | said(overruling).denying
        for plan, places in self.others:
            found |= plan.said(tuple(tokens[place] for place in places))
        return found | FORGOTTEN if subject is SubjectStatus.FORGOTTEN else found

    def decide_signature(
        self,
        tokens: Signature,
        subject: Subject = SubjectStatus.IDENTIFIED,
        *,
        at: datetime,
        before: DecidedBefore | None = None,
    ) -> SignatureDecision:
        """Decide a signature for every destination of the plan.

        Args:
            tokens: the signature.
            subject: the status of the subject, with what those say who are linked to it.
            at: the time of the decision.
            before: answers of the same plan, to which those about this signature are added.
        """
        before = DecidedBefore() if before is None else before
        linked, status = linked_to(subject), status_of(subject)
        read = self._read(tokens, before)
        statuses = tuple(own for own, _ in read)
        if linked is not NOTHING_SAID:
            statuses = tuple(
                with_links(own, about_category(category), linked)
                for category, own in zip(self.categories, statuses, strict=True)
            )
        consent = dict(zip(self.categories, statuses, strict=True))
        circumstances = circumstances_with_links(self._circumstances(tokens), linked)
        found = {
            destination: self._decide(destination, consent, status, circumstances, at, before)
            for destination in self.destinations
        }
        decisions = {name: decision for name, (decision, _) in found.items()}
        recipients = tuple(name for name, decision in decisions.items() if isinstance(decision, Permitted))
        withheld = {name: found[name][1] for name in recipients if found[name][1]}
        records = {category: found for category, (_, found) in zip(self.categories, read, strict=True)}
        conflicts = tuple(category for category, found in records.items() if disagree(found))
        unreadable = tuple(category for category, found in records.items() if ConsentStatus.INVALID in found)
        return SignatureDecision(recipients, decisions, statuses, withheld, conflicts, unreadable)

    def _decide(
        self,
        destination: DestinationName,
        consent: Mapping[CategoryId, ConsentStatus],
        subject: SubjectStatus,
        circumstances: Circumstances,
        at: datetime,
        before: DecidedBefore,
    ) -> tuple[Decision, tuple[str, ...]]:
        """Return the decision for a destination, and the fields and answers that are withheld from it."""
        if destination not in before.asked:
            before.asked[destination] = self._asked(destination)
        # INVARIANT: the law is told exactly what its answer is kept under. A category that is left out is unknown.
        told = tuple((category, consent[category]) for category in before.asked[destination] if category in consent)
        key = (destination, told, subject, circumstances, at)
        found = before.decisions.get(key)
        if found is None:
            statuses = dict(told)
            decision = decide(self.policy, destination, statuses, subject=subject, circumstances=circumstances, at=at)
            shared = dict(self.answers).get(destination, ())
            withheld = (
                *withheld_fields(self.policy, destination, statuses, circumstances=circumstances),
                *answers_withheld(self.policy, shared, statuses, circumstances=circumstances),
            )
            found = before.decisions[key] = (decision, withheld)
        return found

    def _asked(self, destination: DestinationName) -> tuple[CategoryId, ...]:
        """Return the categories that a destination requires, that guard its fields, or whose answers it gets."""
        requirement = requirement_of(self.policy, destination)
        guards = {category.id for category, _ in requirement.guarded_fields}
        of_groups = {category.id for _, group in requirement.groups for category in group}
        shared = dict(self.answers).get(destination, ())
        asked = {*requirement.categories, *of_groups, *guards, *shared}
        return tuple(category for category in self.categories if category in asked)

    def _read(self, tokens: Signature, before: DecidedBefore) -> list[tuple[ConsentStatus, tuple[ConsentStatus, ...]]]:
        """Return, for each category, its status and those of its records."""
        self._check(tokens)
        region = self._region(tokens)
        read = []
        if not before.places:
            before.places.extend(reading.places for reading in self.readings)
        for number, (category, reading) in enumerate(zip(self.categories, self.readings, strict=True)):
            key = (number, region, *(tokens[place] for place in before.places[number]))
            found = before.statuses.get(key)
            if found is None:
                records = tuple(self._record_status(record, tokens) for record in reading.records)
                status = self._status(category, reading, records, region)
                found = before.statuses[key] = (status, records)
            read.append(found)
        return read

    def _check(self, tokens: Signature) -> None:
        if len(tokens) != len(self.signals):
            raise ValueError(f"a signature of this plan has {len(self.signals)} tokens, found {len(tokens)}")
        for signal, token in zip(self.signals, tokens, strict=True):
            highest = 0 if signal is None else signal.unlisted_token
            if type(token) is not int or not 0 <= token <= highest:
                where = "a category without a column" if signal is None else f"column `{signal.column}`"
                raise ValueError(f"not a token of {where}, which has 0 to {highest}")

    def _status(
        self,
        category_id: CategoryId,
        reading: CategoryReading,
        records: tuple[ConsentStatus, ...],
        region: str | None,
    ) -> ConsentStatus:
        category = self.policy.category(category_id)
        status = combined(
            records,
            reading.combining,
            any_no_denies=category is not None and category.any_no_denies(region),
        )
        # INVARIANT: a record without a column may contain a no, so no other record can grant. If the others already
        # deny, their status stays the reason.
        missing = [ConsentStatus.UNKNOWN for record in reading.records if record.answer is None]
        return aged(status, *missing)

    def _record_status(self, record: RecordReading, tokens: Signature) -> ConsentStatus:
        if record.answer is None:
            return ConsentStatus.UNKNOWN
        doubt = None if record.doubt is None else doubt_status(tokens[record.doubt])
        if doubt is not None:
            return doubt
        status = self._signal_status(record.answer, tokens)
        conditions = []
        if record.time is not None:
            conditions.append(time_status(tokens[record.time]))
        if record.notice is not None:
            conditions.append(notice_status(tokens[record.notice]))
        if record.valid_from is not None:
            conditions.append(valid_from_status(tokens[record.valid_from]))
        if record.valid_until is not None:
            conditions.append(valid_until_status(tokens[record.valid_until]))
        return aged(status, *conditions)

    def _circumstances(self, tokens: Signature) -> Circumstances:
        reading = self.circumstances
        suppressions = {self._objection(place, tokens) for place in reading.suppressions}
        return Circumstances(
            region=self._region(tokens),
            gpc=ConsentStatus.UNKNOWN if reading.gpc is None else self._objection(reading.gpc, tokens),
            suppression=strictest_status([*suppressions, ConsentStatus.GRANTED]),
            switches={name: switch_status(tokens[place]) for name, place in reading.switches},
        )

    def _region(self, tokens: Signature) -> str | None:
        reading = self.circumstances
        region = None if reading.region is None else tokens[reading.region] - 1
        return None if region is None or not 0 <= region < len(reading.regions) else reading.regions[region]

    def _signal_status(self, place: int, tokens: Signature) -> ConsentStatus:
        signal = self.signals[place]
        return ConsentStatus.UNKNOWN if signal is None else signal.status(tokens[place])

    def _objection(self, place: int, tokens: Signature) -> ConsentStatus:
        status = self._signal_status(place, tokens)
        return _OBJECTION.get(status, status)


# Makes the plan of a model from the kinds of its columns.
PlanFor = Callable[[Mapping[str, ColumnKind]], ConsentPlan]
