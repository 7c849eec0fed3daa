"""A row's switches by destination, which can only exclude: Segment's integrations object, or a list of exclusions.

Reads one destination's switch, strictly. A switch that cannot be read excludes the row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from airflow_consent_retl.consent.json_path import child
from airflow_consent_retl.consent.signals import (
    NULL_TOKEN,
    ColumnKind,
    ConsentStatus,
    Signal,
    column_problems,
    require,
)
from airflow_consent_retl.consent.strict_json import JsonObject, MalformedJsonError, read_json
from airflow_consent_retl.errors import Problem
from airflow_consent_retl.near import differs_in_form_only

_ON, _OFF, _UNREADABLE = 0, 1, 2
_ALL = "All"


@dataclass(frozen=True, slots=True, init=False)
class RowSwitches(ABC):
    """One column that names the destinations to which a row may not go.

    Args:
        column: a column of JSON, or of text that contains JSON.
        names: the column's name of each destination of the policy. A destination without an entry has the same name in
            both. An instance has the name of its base destination, unless it has an entry of its own.

    Raises:
        PolicyError: a parameter is wrong. The error contains every problem.
    """

    column: str
    names: tuple[tuple[str, str], ...]

    def __init__(self, column: str, *, names: Mapping[str, str] | tuple[tuple[str, str], ...] = ()) -> None:
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "names", tuple(sorted(_pairs(names))))
        require(_problems(column, type(self).__name__, names=names))

    @abstractmethod
    def for_destination(self, destination: str) -> Signal:
        """Return the switch of one destination."""


class DestinationSwitch(Signal):
    """One destination's switch. Token 0 excludes nothing, 1 excludes the row, 2 cannot be read."""

    __slots__ = ()

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """Text that contains JSON, or JSON."""
        return frozenset({ColumnKind.TEXT, ColumnKind.JSON})

    @property
    def unlisted_token(self) -> int:
        """The token of a value that cannot be read."""
        return _UNREADABLE

    def token(self, raw: object) -> int:
        """Return the token of a value. A row without switches excludes nothing."""
        if raw is None:
            return NULL_TOKEN
        is_on = self.is_on(raw) if type(raw) is str else None
        if is_on is None:
            return _UNREADABLE
        return _ON if is_on else _OFF

    @abstractmethod
    def is_on(self, text: str) -> bool | None:
        """Return whether the switch lets the row through; None: the switch cannot be read."""


def switch_status(token: int) -> ConsentStatus:
    """Return the status of a switch's token. Only `granted` excludes nothing."""
    return (ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.INVALID)[token]


@dataclass(frozen=True, slots=True)
class IntegrationSwitch(DestinationSwitch):
    """One destination in Segment's integrations object: `{"All": false, "Google Ads": true, "Braze": {"appId": "1"}}`.

    `false` excludes the row; `true` and an object with settings do not. `keys` are all names of the destination, and an
    instance is excluded with its base destination. `All` applies to destinations that are not listed; if it is missing,
    it is `true`. Anything else cannot be read: a key that occurs twice, another value, text that is not JSON, a key
    that differs from `All` or from a name of the destination only in form.
    Source: https://segment.com/docs/connections/spec/common/#integrations (read 2026-11-24).
    """

    column: str
    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        require(_problems(self.column, "IntegrationSwitch", keys=self.keys))

    def is_on(self, text: str) -> bool | None:
        """Return the destination's own switches, otherwise the value of `All`."""
        try:
            found = read_json(text)
        except MalformedJsonError:
            return None
        if found is None:
            return True
        names = (*self.keys, _ALL)
        if not isinstance(found, JsonObject) or {*names}.intersection(found.repeated) or _has_near_name(names, found):
            return None
        switches = [found[key] for key in self.keys if key in found]
        if switches:
            is_readable = all(isinstance(switch, bool | JsonObject) for switch in switches)
            return False not in switches if is_readable else None
        switch = found.get(_ALL, True)
        return switch if isinstance(switch, bool) else None


@dataclass(frozen=True, slots=True)
class ExclusionSwitch(DestinationSwitch):
    """One destination in a JSON array of the destinations to which the row may not go: `["google_ads", "webhook"]`.

    An array that excludes a base destination excludes its instances, and `all`, in any case, every destination. A value
    that is not an array of text cannot be read, and neither can a name that differs from the destination's only by case
    or separators.
    """

    column: str
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        require(_problems(self.column, "ExclusionSwitch", keys=self.names))

    def is_on(self, text: str) -> bool | None:
        """Return whether the array lists none of the destination's names."""
        try:
            found = read_json(text)
        except MalformedJsonError:
            return None
        if found is None:
            return True
        if not isinstance(found, list) or not all(isinstance(name, str) and name for name in found):
            return None
        if _has_near_name(self.names, found):
            return None
        is_all = any(name == _ALL or differs_in_form_only(_ALL, name) for name in found)
        return not is_all and not set(self.names).intersection(found)


class IntegrationsObject(RowSwitches):
    """Segment's integrations object: `IntegrationsObject("integrations", names={"google_ads": "Google Ads"})`."""

    __slots__ = ()

    def for_destination(self, destination: str) -> IntegrationSwitch:
        """Return the switch of one destination."""
        return IntegrationSwitch(self.column, _names_of(destination, dict(self.names)))


class ExcludedDestinations(RowSwitches):
    """A JSON array of excluded destinations, or a column of arrays: `ExcludedDestinations("excluded")`."""

    __slots__ = ()

    def for_destination(self, destination: str) -> ExclusionSwitch:
        """Return the switch of one destination."""
        return ExclusionSwitch(self.column, _names_of(destination, dict(self.names)))


def _names_of(destination: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """Return every name under which a column may exclude a destination or its base destination."""
    base = destination.partition(":")[0]
    declared = [names[name] for name in (destination, base) if name in names]
    # The policy's own names too, unless the column uses them for another destination.
    own = [name for name in (destination, base) if name not in names.values()]
    return tuple(dict.fromkeys([*declared, *own]))


def _has_near_name(names: Sequence[str], listed: Collection[str]) -> bool:
    """Return whether a listed name is none of the names, and differs from one of them only in form."""
    return any(differs_in_form_only(name, other) for other in listed if other not in names for name in names)


def _pairs(names: object) -> list[tuple[str, str]]:
    pairs = list(names.items()) if isinstance(names, Mapping) else list(names) if isinstance(names, tuple) else []
    return [
        (pair[0], pair[1])
        for pair in pairs
        if isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
    ]


def _problems(column: object, path: str, *, keys: object = ("-",), names: object = ()) -> list[Problem]:
    problems = column_problems(column, path)
    if not isinstance(keys, tuple) or not keys or not all(isinstance(key, str) and key for key in keys):
        problems.append(Problem(path, "expected the names of a destination"))
    if not isinstance(names, Mapping | tuple) or len(_pairs(names)) != len(names):
        problems.append(Problem(f"{path}.names", "expected the name of each destination, as text"))
    problems.extend(
        Problem(child(f"{path}.names", destination), "expected a name that is not blank")
        for destination, name in _pairs(names)
        if not name.strip()
    )
    return problems
