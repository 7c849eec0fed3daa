"""What Segment would know of a row, from the tokens that are read for a plan. Never decides, here or there."""

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
# What a token of an `IntegrationSwitch` says where the row may not go.
_OFF = 1


@dataclass(frozen=True, slots=True)
class ObjectPresence(Signal):
    """Whether an object is in a JSON column at all: 0 absent, 1 there, 2 empty around it, 3 cannot be read.

    `path` leads to the object. NULL, JSON null and a key that is missing on the way are absent; where only the last key
    is missing or null, what is around the object is there, and empty of it. An empty object at the path is there if it
    `may_be_empty`, and absent otherwise.
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
        """The token of what cannot be read."""
        return _UNREADABLE

    def token(self, raw: object) -> int:
        """Return what the value has at the path."""
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
    """What Segment's rules look at, among the signals of `plan`: a plan that reads it beside what it decides by.

    With `reverse_etl`, Segment knows a column of each category, and nothing of objects: what a row does not say counts
    as a no, which Segment documents for categories without a column, and leaves open for values that are missing.
    With `connections`, it knows the consent object of an event, and the integrations object.

    `presence` and `switches_presence` are the places of the objects' signals.
    """

    plan: ConsentPlan
    rules: SegmentRules
    presence: int | None = None
    switches_presence: int | None = None

    @classmethod
    def of(cls, plan: ConsentPlan, mapping: ConsentMapping, *, rules: SegmentRules) -> SegmentView:
        """Return the view of a plan. Raises `PolicyError` if the rules are not known, or do not fit the mapping."""
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
        # The plan's own signals keep their places: what is added is read, and decides nothing.
        return cls(replace(plan, signals=tuple(signals)), rules, presence, switches_presence)

    def preferences(self, tokens: Signature) -> Mapping[str, bool] | None:
        """Return what Segment knows of each category; None: nothing, so that it enforces nothing.

        A category that the row does not speak of is left out; what cannot be read is no consent.
        """
        if self.presence is not None:
            there = tokens[self.presence]
            has_switches = self.switches_presence is not None and tokens[self.switches_presence] == _THERE
            # An empty consent object is as none, unless an integrations object is beside it.
            if there == _ABSENT or (there == _EMPTY and not has_switches):
                return None
        said: dict[str, bool] = {}
        for place, category in enumerate(self.plan.categories):
            signal = self.plan.signals[place]
            status = ConsentStatus.UNKNOWN if signal is None else signal.status(tokens[place])
            if status is not ConsentStatus.UNKNOWN:
                said[category] = status is ConsentStatus.GRANTED
        return said

    def integrations(self, tokens: Signature) -> Mapping[str, bool]:
        """Return the destinations that the integrations object switches off, by the policy's names.

        A switch that cannot be read is none: Segment documents nothing of it.
        """
        if self.rules == "reverse_etl":
            return {}
        return {
            name: False
            for name, place in self.plan.circumstances.switches
            if isinstance(self.plan.signals[place], IntegrationSwitch) and tokens[place] == _OFF
        }
