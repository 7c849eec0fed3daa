"""Parameters that are objects of several types, in the types that Airflow stores for a triggerer, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from airflow_consent_retl.errors import OptionsError, Problem

Tagged = TypeVar("Tagged")


def as_tagged(objects: Iterable[Any], kinds: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return dataclasses as plain objects; the field `object` has the name of the type, a key of `kinds`."""
    names = {kind: name for name, kind in kinds.items()}
    return [{"object": names[type(one)], **asdict(one)} for one in objects]


def of_tagged(
    given: Iterable[Tagged | Mapping[str, Any]], kinds: Mapping[str, Callable[..., Tagged]], *, option: str, words: str
) -> list[Tagged]:
    """Return the objects, also from what `as_tagged` returned.

    Raises:
        OptionsError: one is none of these types, with these words about the option.
    """
    found: list[Tagged] = []
    for one in given:
        if not isinstance(one, Mapping):
            if type(one) not in kinds.values():
                raise OptionsError([Problem(option, words)])
            found.append(one)
            continue
        try:
            values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in one.items()}
            found.append(kinds[values.pop("object")](**values))
        except (KeyError, TypeError, ValueError):
            raise OptionsError([Problem(option, words)]) from None
    return found
