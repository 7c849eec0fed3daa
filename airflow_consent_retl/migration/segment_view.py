"""The view that Segment would have of a row, made from the tokens that a plan reads. It never decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from airflow_consent_retl.consent import ConsentObject, ConsentStatus
from airflow_consent_retl.consent.signals import ColumnKind, Signal
from airflow_consent_retl.consent.strict_json import JsonObject, MalformedJsonError, read_json
from airflow_consent_retl.consent.switches import IntegrationSwitch
from airflow_consent_retl.errors import PolicyError, Problem

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentMapping, ConsentPlan, Signature

SegmentRules = Literal["reverse_etl", "connections"]

_ABSENT, _THERE, _EMPTY, _UNREADABLE = range(4)
# The token of an `IntegrationSwitch` that forbids the destination.
_OFF = 1


@dataclass(frozen=True, slots=True)
class ObjectPresence(Signal):
    """The presence of an object in a JSON column: 0 absent, 1 present, 2 missing from its parent, 3 unreadable.

    `path` leads to the object. NULL, JSON null and a missing key before the last one mean absent. If only the last key
    is missing or null, the parent is present without the object. An empty object at the path is present if
    `may_be_empty` is set, and absent otherwise.
    """

    column: str
    path: tuple[str, ...]
    may_be_empty: bool = True

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """Text that holds JSON, or JSON."""
        return frozenset({ColumnKind.TEXT, ColumnKind.JSON})

    @property
    def unlisted_token(self) -> int:
        """The token of a value that cannot be read."""
        return _UNREADABLE

    def token(self, raw: object) -> int:
        """Return the token for the value at the path."""
        if raw is None:
            return _ABSENT
        try:
            found = read_json(raw) if type(raw) is str else raw
        except MalformedJsonError:
            return _UNREADABLE
        for depth, key in enumerate(self.path, start=1):
            if found is None:
                break
            if not isinstance(found, JsonObject) or key in found.repeated:
                return _UNREADABLE
            found = found.get(key)
            if found is None and depth == len(self.path):
                return _EMPTY
        return self._presence_of(found)

    def _presence_of(self, found: object) -> int:
        if found is None:
            return _ABSENT
        if not isinstance(found, JsonObject):
            return _UNREADABLE
        return _THERE if found or self.may_be_empty else _ABSENT


@dataclass(frozen=True, slots=True)
class SegmentView:
    """The inputs of Segment's rules: a plan that reads them in addition to the signals that it decides by.

    With `reverse_etl`, Segment knows one column per category and no objects. A missing value counts as a no: Segment
    documents this for categories without a column, and does not document it for missing values in a column.
    With `connections`, Segment knows the consent object of an event and the integrations object.

    `presence` and `switches_presence` are the positions of the objects' signals.
    """

    plan: ConsentPlan
    rules: SegmentRules
    presence: int | None = None
    switches_presence: int | None = None

    @classmethod
    def of(cls, plan: ConsentPlan, mapping: ConsentMapping, *, rules: SegmentRules) -> SegmentView:
        """Return the view of a plan. Raise `PolicyError` if the rules are unknown or do not fit the mapping."""
        if rules == "reverse_etl":
            return cls(plan, rules)
        if rules != "connections":
            raise PolicyError([Problem("rules", "expected `reverse_etl` or `connections`")])
        whole = mapping.whole
        if not isinstance(whole, ConsentObject):
            raise PolicyError([Problem("consent", "Segment's rules for events are about a ConsentObject")])
        signals = [*plan.signals, ObjectPresence(whole.column, whole.path)]
        presence, switches_presence = len(plan.signals), None
        switches = [plan.signals[place] for _, place in plan.circumstances.switches]
        columns = [switch.column for switch in switches if isinstance(switch, IntegrationSwitch)]
        if columns:
            switches_presence = len(signals)
            signals.append(ObjectPresence(columns[0], (), may_be_empty=False))
        # The plan's own signals keep their positions. The added signals are read and decide nothing.
        return cls(replace(plan, signals=tuple(signals)), rules, presence, switches_presence)

    def preferences(self, tokens: Signature) -> Mapping[str, bool] | None:
        """Return the consent that Segment knows by category, or None if it knows nothing and so enforces nothing.

        A category without a value in the row is left out. A value that cannot be read counts as no consent.
        """
        if self.presence is not None:
            there = tokens[self.presence]
            has_switches = self.switches_presence is not None and tokens[self.switches_presence] == _THERE
            # An empty consent object counts as none, unless the row also has an integrations object.
            if there == _ABSENT or (there == _EMPTY and not has_switches):
                return None
        known: dict[str, bool] = {}
        for place, category in enumerate(self.plan.categories):
            signal = self.plan.signals[place]
            status = ConsentStatus.UNKNOWN if signal is None else signal.status(tokens[place])
            if status is not ConsentStatus.UNKNOWN:
                known[category] = status is ConsentStatus.GRANTED
        return known

    def integrations(self, tokens: Signature) -> Mapping[str, bool]:
        """Return the destinations that the integrations object switches off, by the policy's names.

        A switch that cannot be read is ignored: Segment does not document this case.
        """
        if self.rules == "reverse_etl":
            return {}
        return {
            name: False
            for name, place in self.plan.circumstances.switches
            if isinstance(self.plan.signals[place], IntegrationSwitch) and tokens[place] == _OFF
        }
