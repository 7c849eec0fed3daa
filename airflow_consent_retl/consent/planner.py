"""The maker of a consent plan: every check of a DAG's request against the policy and the model's columns.

Contains `plan_consent`. Never sees a row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.destination_name import parse_destination
from airflow_consent_retl.consent.formats.boolean_column import BooleanColumn
from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.formats.opt_out import OptOut
from airflow_consent_retl.consent.freshness import NoticeVersion, column_of, consent_time, validity_time
from airflow_consent_retl.consent.history import doubt_signal
from airflow_consent_retl.consent.mapping import (
    ConsentMapping,
    ConsentMappingLike,
    parse_consent_mapping,
    records_of,
)
from airflow_consent_retl.consent.opposite import says_opposite
from airflow_consent_retl.consent.plan import CategoryReading, CircumstancesReading, ConsentPlan, RecordReading
from airflow_consent_retl.consent.policy_clauses import category_warnings, destination_warnings
from airflow_consent_retl.consent.regime import Regime
from airflow_consent_retl.consent.signals import ColumnKind, Signal
from airflow_consent_retl.errors import PolicyError, Problem
from airflow_consent_retl.near import differs_in_form_only, nearest

if TYPE_CHECKING:
    from airflow_consent_retl.consent.answers import Recorded
    from airflow_consent_retl.consent.policy import Category, ConsentPolicy, DestinationName


def plan_consent(
    policy: ConsentPolicy,
    *,
    destinations: Sequence[str],
    mapping: ConsentMappingLike | ConsentMapping,
    columns: Mapping[str, ColumnKind] | None,
    known_columns: Collection[str] = (),
    at: datetime | None = None,
    answers: Mapping[str, Collection[str]] | None = None,
) -> ConsentPlan:
    """Check a DAG's request (`destinations`, `mapping`) against the policy and the model's columns.

    With `columns=None`, only the checks that need no model run, so that a broken configuration fails before anything
    is read. If `columns` contains only some of the model's columns, `known_columns` names the others: a mapped column
    counts as misspelt only if it is in neither. `at` is the time of the run, with a zone; the age of consent is
    measured from it. `answers` are the categories whose answers a destination gets, by destination; one that the
    destination does not require, and that guards none of its fields, is granted by no one. Raises `PolicyError` with
    every problem, and `ValueError` if a category has a `max_age` or a record a validity, and `at` is None.
    """
    planner = _Planner(policy, columns, known_columns, at)
    asked = planner.asked_destinations(destinations)
    consent = planner.consent_mapping(mapping)
    if consent is None:
        raise PolicyError(planner.problems)
    needed = {category_id for name in asked for category_id in policy.required_for(name)}
    needed |= {category.id for name in asked for category, _ in policy.guarded_fields(name)}
    categories = [category for category in policy.categories if category.id in needed]
    planner.warnings += category_warnings(categories)
    shared = tuple((name, tuple(sorted(answers[name]))) for name in asked if answers and answers.get(name))
    readings = planner.readings(consent, categories, asked)
    circumstances = planner.circumstances(consent, categories, asked)
    if planner.problems:
        raise PolicyError(planner.problems)
    return ConsentPlan(
        policy,
        asked,
        tuple(category.id for category in categories),
        tuple(planner.signals),
        readings,
        circumstances,
        tuple(planner.warnings),
        shared,
    )


class _Planner:
    def __init__(
        self,
        policy: ConsentPolicy,
        columns: Mapping[str, ColumnKind] | None,
        known_columns: Collection[str],
        at: datetime | None,
    ) -> None:
        self.policy = policy
        self.columns = columns
        # INVARIANT: spelling is checked against every column of the model, never only against the columns that this
        # plan reads: `c0002`, which another destination needs, is not a misspelling of `c0004`.
        self.names = frozenset({*(columns or ()), *known_columns})
        self.at = at
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.signals: list[Signal | None] = []  # pragma: no mutate: `readings` begins it anew

    def asked_destinations(self, destinations: Sequence[str]) -> tuple[DestinationName, ...]:
        # A string is a sequence too.
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
        """Return why the policy refuses the destination, or None. Warn if consent does not restrict an accepted one."""
        misspelt = self.policy.misspelt(destination)
        if misspelt is not None:
            return (
                f"destination `{destination}` is not in the policy, did you mean `{misspelt}`? "
                "If it is another one, name it in the policy's `destinations` section"
            )
        guarded = self.policy.guarded_sibling(destination)
        if guarded is not None and self.policy.unmapped_destinations == "permit":
            return (
                f"destination `{destination}` is mapped to no consent category and would receive every row, but its "
                f"sibling `{guarded}` is guarded: map it to a category, or name it in the policy's `destinations` "
                'section with `"consent": "not_required"` and a reason'
            )
        self.warnings += destination_warnings(self.policy, destination)
        if self.policy.required_for(destination) or not self.policy.rule_for(destination).consent_required:
            return None
        mapped = "no enabled consent category" if self.policy.mapped_to(destination) else "no consent category"
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
        for category_id, entry in consent.entries:
            path = consent.path_of(category_id)
            if category_id in known:
                for record in records_of(entry):
                    for column in record.columns:
                        self.check_spelling(column, path)
                continue
            # Ids of one platform often differ by one character (`C0003`, `C0004`). One counts as a misspelling of
            # another only if the mapping omits the other one.
            suspects = [k for k in known if k not in consent.category_ids or differs_in_form_only(category_id, k)]
            near = nearest(category_id, suspects)
            if near is not None:
                self.note(path, f"category `{category_id}` is not in the policy, did you mean `{near}`?")
            else:
                self.warnings.append(f"category `{category_id}` is not in the policy and is ignored")
        row = {
            "time": None if consent.time is None else column_of(consent.time),
            "notice_version": consent.notice_version,
            "region": consent.region,
        }
        row |= {name: None if (one := getattr(consent, name)) is None else one.column for name in ("gpc", "switches")}
        for name, named in row.items():
            self.check_spelling(named, f"consent.{name}")
        for column in () if consent.whole is None else consent.whole.columns:
            self.check_spelling(column, "consent")
        return consent

    def check_spelling(self, column: str | None, path: str) -> None:
        near = None if column is None else self.near_column(column)
        if near is not None:
            self.note(path, f"column `{column}` is not in the model, did you mean `{near}`?")

    def near_column(self, column: str) -> str | None:
        return None if self.columns is None or column in self.names else nearest(column, self.names)

    def readings(
        self, consent: ConsentMapping, categories: Sequence[Category], asked: tuple[DestinationName, ...]
    ) -> tuple[CategoryReading, ...]:
        """Return how each category is read. Fill `signals`, starting with the categories' first records."""
        records = {category.id: self.records(consent, category, asked) for category in categories}
        self.signals = [
            found[0].signal if (found := [record for record in records[category.id] if record is not None]) else None
            for category in categories
        ]
        readings = []
        for place, category in enumerate(categories):
            read: list[RecordReading] = []
            for record in records[category.id]:
                if record is None:
                    read.append(RecordReading(None))
                    continue
                # A signal of several categories has the same token at each of its places.
                is_first = all(earlier.answer is None for earlier in read)  # pragma: no mutate
                answer = place if is_first else self.place(record.signal)  # pragma: no mutate
                read.append(self.record(consent, category, record, answer))
            readings.append(CategoryReading(tuple(read), consent.combining(category)))
        return tuple(readings)

    def records(
        self, consent: ConsentMapping, category: Category, asked: tuple[DestinationName, ...]
    ) -> list[Recorded | None]:
        """Return the category's records, with None in place of a record that has no column in the model."""
        if category.regimes == {Regime.EXEMPT}:
            return []
        declared = consent.records_for(category)
        if not declared:
            self.missing(consent, category, asked, "has no entry in the consent mapping")
            return [None]
        self.check_direction(category, declared, consent.path_of(category.id))
        if Regime.OPT_OUT in category.regimes:
            # INVARIANT: where silence permits, an answer under another spelling of its key never counts as silence.
            declared = tuple(record.where_silence_permits() for record in declared)
        return [self.present_record(consent, category, record, asked) for record in declared]

    def check_direction(self, category: Category, records: Sequence[Recorded], path: str) -> None:
        """Note a column, a key or a category whose name says the opposite of what its values would mean."""
        names = [name for record in records for name in record.signal.named_after]
        for name in (name for name in names if says_opposite(name)):
            self.note(
                path,
                f"`{name}` sounds like an objection, and its yes would count as consent: turn it round with "
                "OptOut(...), around the column or its format, whose granted values then mean an objection, or with "
                "OptOuts(...) around a format for all categories. If a yes there is consent, give it a name in the "
                "model's SQL that says so",
            )
        negating = next((name for name in (category.name, category.id) if says_opposite(name)), None)
        if negating is not None and names and not any(map(says_opposite, names)):
            self.note(
                path,
                f"category `{category.id}` is called `{negating}`, so a yes to it is an objection: turn its column "
                "round with OptOut(...), or with OptOuts(...) around a format for all categories. If a yes to it is "
                "consent, give the category a name that says so",
            )

    def present_record(
        self, consent: ConsentMapping, category: Category, record: Recorded, asked: tuple[DestinationName, ...]
    ) -> Recorded | None:
        signal = record.signal
        if self.columns is None or self.near_column(signal.column) is not None:
            return record
        kind = self.columns.get(signal.column)
        if kind is None:
            self.missing(consent, category, asked, f"has no column `{signal.column}` in the model")
            return None
        if not signal.accepts(kind):
            self.note(consent.path_of(category.id), _kind_message(signal, kind))
        elif kind is ColumnKind.EMPTY and Regime.OPT_OUT in category.regimes:
            self.note(
                consent.path_of(category.id),
                f"column `{signal.column}` contains only NULL and has no type, and category `{category.id}` is "
                "opt_out: every person would be permitted. If no one has objected yet, declare its type in "
                "`column_types`",
            )
        return record

    def missing(
        self, consent: ConsentMapping, category: Category, asked: tuple[DestinationName, ...], how: str
    ) -> None:
        requiring = ", ".join(f"`{name}`" for name in asked if category.id in self.policy.required_for(name))
        guarding = ", ".join(
            f"`{name}`" for name in asked if category in (some for some, _ in self.policy.guarded_fields(name))
        )
        use = f"required by {requiring}" if requiring else f"which guards fields of {guarding}"
        message = f"category `{category.id}`, {use}, {how}"
        if Regime.OPT_OUT in category.regimes:
            self.note(consent.path_of(category.id), f"{message}, and is opt_out: every person would be permitted")
        elif self.policy.missing_consent_column == "error":
            self.note(consent.path_of(category.id), message)
        else:
            several = len(consent.records_for(category)) > 1
            effect = (
                "no row is granted, whatever its other records contain"
                if several
                else "it counts as unknown for every row"
            )
            self.warnings.append(f"{message}: {effect}")

    def record(self, consent: ConsentMapping, category: Category, record: Recorded, answer: int) -> RecordReading:
        path = consent.path_of(category.id)
        doubt = dict(consent.doubts).get(record.signal.column)
        time = notice = None
        if category.max_age is not None:
            at = self.present_time("a `max_age`")
            if record.time is None:
                self.note(path, f"category `{category.id}` has a max_age: name the `time` column of its consent")
            else:
                time = self.extra_place(consent_time(record.time, category.max_age, at=at), path)
        if category.min_notice_version is not None:
            if record.notice_version is None:
                self.note(path, f"category `{category.id}` has a min_notice_version: name the `notice_version` column")
            else:
                notice = self.extra_place(NoticeVersion(record.notice_version, category.min_notice_version), path)
        valid_from, valid_until = (
            None if end is None else self.extra_place(validity_time(end, at=self.present_time("a validity")), path)
            for end in (record.valid_from, record.valid_until)
        )
        return RecordReading(
            answer,
            doubt=None if doubt is None else self.extra_place(doubt_signal(doubt), path),
            time=time,
            notice=notice,
            valid_from=valid_from,
            valid_until=valid_until,
        )

    def present_time(self, what: str) -> datetime:
        if self.at is None:
            raise ValueError(f"a category has {what}: `at`, the time of the decision, is missing")
        return self.at

    def circumstances(
        self, consent: ConsentMapping, categories: Sequence[Category], asked: tuple[DestinationName, ...]
    ) -> CircumstancesReading:
        regional = [category for category in categories if category.regions]
        regions = tuple(sorted({region for category in regional for region, _ in category.regions}))
        region = None
        if regional and consent.region is None:
            named = ", ".join(f"`{category.id}`" for category in regional)
            self.note("consent.region", f"the regime of {named} depends on the region: name the `region` column")
        elif regional and consent.region is not None:
            region = self.extra_place(Literals(consent.region, granted=regions), "consent.region")
        return CircumstancesReading(
            region=region,
            regions=regions,
            gpc=None if consent.gpc is None or not categories else self.extra_place(consent.gpc, "consent.gpc"),
            suppressions=tuple(
                self.extra_place(BooleanColumn(name), "consent.suppressions") for name in consent.suppressions
            ),
            switches=()
            if consent.switches is None
            else tuple(
                (name, self.extra_place(consent.switches.for_destination(name), "consent.switches")) for name in asked
            ),
        )

    def extra_place(self, signal: Signal, path: str) -> int:
        """Return the place of a signal that is not a category's answer. Note a column that does not fit it."""
        if self.columns is not None and self.near_column(signal.column) is None:
            kind = self.columns.get(signal.column)
            if kind is None:
                self.note(path, f"column `{signal.column}` is not in the model")
            elif not signal.accepts(kind):
                self.note(path, _kind_message(signal, kind))
        return self.place(signal)

    def place(self, signal: Signal) -> int:
        # A signal that several categories need is read once.
        if signal not in self.signals:
            self.signals.append(signal)
        return self.signals.index(signal)

    def note(self, path: str, message: str) -> None:
        problem = Problem(path, message)
        # One object contains several categories: a problem with its column is noted once.
        if problem not in self.problems:
            self.problems.append(problem)


def _kind_message(signal: Signal, kind: ColumnKind) -> str:
    expected = " or ".join(sorted(signal.kinds))
    message = f"column `{signal.column}` is {kind}, expected {expected}"
    # Within `OptOut`, the same formats are declared.
    signal = signal.signal if isinstance(signal, OptOut) else signal
    if isinstance(signal, BooleanColumn) and kind in (ColumnKind.TEXT, ColumnKind.INTEGER):
        message += f": declare the values that grant, Literals({signal.column!r}, granted=(...), denied=(...))"
    if isinstance(signal, BooleanColumn) and kind is ColumnKind.JSON:
        message += f": declare the path to consent in it, ConsentObject({signal.column!r}, path=...)"
    if ColumnKind.MOMENT in signal.kinds:
        message += ": a moment is a timestamp with a zone, or text in ISO 8601 with an offset"
    if kind is ColumnKind.INTEGER and ColumnKind.MOMENT in signal.kinds:
        message += f"; declare the unit of numbers, EpochTime({signal.column!r}, unit)"
    return message
