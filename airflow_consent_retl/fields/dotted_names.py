"""Dotted names of fields, where they are fields of nested objects: `address.city` is `{"address": {"city": …}}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_consent_retl.errors import ConfigurationError


def tree_of(names: Iterable[str]) -> dict[str, Any]:
    """Return the object that dotted names make: each value is the whole name of a field, or an object.

    Raises:
        ConfigurationError: a name is a value and an object at once, or a part of it is empty.
    """
    tree: dict[str, Any] = {}
    for name in names:
        *parents, last = name.split(".")
        if not all((*parents, last)):
            raise ConfigurationError(f"fields[{name!r}]: a part of the dotted name is empty")
        place = tree
        for depth, parent in enumerate(parents, start=1):
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise _both(".".join(parents[:depth]), name)
            place = inner
        if last in place:
            raise _both(name, _first_below(place[last]))
        place[last] = name
    return tree


def flat(row: Mapping[str, Any], *, above: str = "") -> dict[str, Any]:
    """Return the values of an object under dotted names; those of nested objects are not objects any more."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        found |= flat(value, above=f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return found


def _first_below(tree: Any) -> str:
    while isinstance(tree, dict):
        tree = next(iter(tree.values()))
    return str(tree)


def _both(value: str, below: str) -> ConfigurationError:
    return ConfigurationError(
        f"fields[{value!r}] would be a value and, by `{below}`, an object at once: give one of them another name"
    )
