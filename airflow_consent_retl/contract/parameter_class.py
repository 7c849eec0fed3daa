"""Frozen dataclasses of parameters whose methods are not compiled when they are imported.

The standard decorator compiles six functions for each class. A DAG file loads such a class for each destination that
it names, and makes few objects of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

_Class = TypeVar("_Class")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def parameter_class(cls: type[_Class]) -> type[_Class]:
    """Make a class a dataclass, as `dataclass(frozen=True, kw_only=True)` does.

    No field has a `default_factory`. A frozen standard dataclass can inherit from it, and the other way round.
    """
    dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)(cls)
    shared = {"__init__": _init, "__repr__": _repr, "__eq__": _eq, "__hash__": _hash, "__signature__": _SIGNATURE}
    for name, one in shared.items():
        setattr(cls, name, one)
    return cls


def _init(self: Any, /, *args: object, **given: object) -> None:
    parameters = [one for one in fields(self) if one.init]
    if error := _wrong_call(parameters, args, given):
        raise TypeError(f"{type(self).__qualname__}.__init__() {error}")
    for one in parameters:
        object.__setattr__(self, one.name, given.get(one.name, one.default))
    if hasattr(self, "__post_init__"):
        self.__post_init__()


def _wrong_call(parameters: list[Field[Any]], args: tuple[object, ...], given: Mapping[str, object]) -> str | None:
    """Return the error in the arguments, in Python's own words."""
    names = {one.name for one in parameters}
    for name in given:
        if name not in names:
            return f"got an unexpected keyword argument {name!r}"
    if args:
        positional, keywords = 1 + len(args), len(given)
        others = f" (and {_counted(keywords, 'keyword-only argument')})"
        found = f"{_counted(positional, 'positional argument')}{others}" if keywords else positional
        return f"takes 1 positional argument but {found} were given"
    if missing := [repr(one.name) for one in parameters if one.default is MISSING and one.name not in given]:
        words = " and ".join(missing) if len(missing) < 3 else f"{', '.join(missing[:-1])}, and {missing[-1]}"
        return f"missing {_counted(len(missing), 'required keyword-only argument')}: {words}"
    return None


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _repr(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _eq(self: Any, other: object) -> bool:
    return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _compared(one: Any) -> tuple[object, ...]:
    return tuple(getattr(one, of.name) for of in fields(one) if of.compare)


class _Signature:
    """The signature of the class, made when it is asked for."""

    def __get__(self, _: object, cls: type) -> inspect.Signature:
        return inspect.Signature(
            [
                inspect.Parameter(
                    one.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=inspect.Parameter.empty if one.default is MISSING else one.default,
                    annotation=one.type,
                )
                for one in fields(cls)
                if one.init
            ],
            return_annotation=None,
        )


_SIGNATURE = _Signature()
