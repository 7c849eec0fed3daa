"""Options that are checked in one place: each by its type and its limits, then those that depend on each other.

A DAG file is parsed before templates are rendered: an option's value may not be known yet. What needs such a value is
not checked then, and everything else is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from types import FunctionType, MethodType
from typing import Any, ClassVar

from airflow_consent_retl.contract.withdrawal import wrong_companions, wrong_withdrawal
from airflow_consent_retl.errors import OptionsError, Problem

OptionCheck = Callable[[Any], Iterable[Problem]]

_BRACKETS = re.compile(r"\[[^\[\]]*\]")


class CheckedOptions:
    """Options whose rules a subclass declares. A dataclass of them refuses wrong values when it is made.

    A boolean, a number, a text, a list or a dictionary is checked by the option's annotation, unless it is templated.

    Attributes:
        templated: the options in which Airflow renders templates.
        counts: options that are at least 1, besides those of the bases.
        positive: options that are above 0, besides those of the bases.
        least, most: options with a smallest or a largest value.
        choices: options with some words as values; None: it may be left out.
        texts: options that must not be empty.
        patterns: options whose text has a form: a regular expression, and what the option has to be, in words.
        withdrawals: the choices of `on_withdrawal`, each with a sentence for people; empty: there is no such option.
        companions: by choice of `on_withdrawal`, the option that the choice needs, and that only it may have.
        needed: the same for other choices: the option by the name and the value of another one.
        required: by the name and a value of an option, the options that it needs, and that others may have too.
        only_for: by name, an option and its value without which this one is not used.
        checks: other rules: functions that take the options and return the errors. An option whose value is not known,
            or is wrong by itself, ends the function that reads it. All those of a class and its bases are asked.
    """

    templated: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[tuple[str, ...]] = ()
    positive: ClassVar[tuple[str, ...]] = ()
    least: ClassVar[Mapping[str, float]] = {}
    most: ClassVar[Mapping[str, float]] = {}
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {}
    texts: ClassVar[tuple[str, ...]] = ()
    patterns: ClassVar[Mapping[str, tuple[str, str]]] = {}
    withdrawals: ClassVar[Mapping[str, str]] = {}
    companions: ClassVar[Mapping[str, str]] = {}
    needed: ClassVar[Mapping[tuple[str, str], str]] = {}
    required: ClassVar[Mapping[tuple[str, str], tuple[str, ...]]] = {}
    only_for: ClassVar[Mapping[str, tuple[str, str]]] = {}
    checks: ClassVar[tuple[OptionCheck, ...]] = ()

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in self.annotations()}
        if wrong := self.wrong_options(given):
            raise OptionsError(wrong)

    @classmethod
    def annotations(cls) -> Mapping[str, object]:
        """Return the annotation of each option."""
        kind: Any = cls
        return _annotations(kind)

    @classmethod
    def wrong_options(cls, known: Mapping[str, object]) -> list[Problem]:
        """Return every error in the values of options; the path of an error is the option's name.

        Args:
            known: the values by name, without those that only a run has.
        """
        annotations = cls.annotations()
        found = {
            name: sentence
            for name, value in known.items()
            if (sentence := cls._wrong_value(name, value, annotations.get(name)))
        }
        sound = _Given(cls, {name: value for name, value in known.items() if name not in found})
        problems = [Problem(name, sentence) for name, sentence in found.items()]
        for check in (*_DECLARED, *cls._of_bases("checks")):
            try:
                for problem in check(sound):
                    problems.append(problem)
            except OptionsError as error:
                problems += error.problems
            except _UnknownValueError:
                continue
        return list(dict.fromkeys(problems))

    @classmethod
    def _of_bases(cls, attribute: str) -> list[Any]:
        """Return what the class and its bases declare."""
        return [one for kind in reversed(cls.__mro__) for one in vars(kind).get(attribute, ())]

    @classmethod
    def _wrong_value(cls, name: str, value: object, annotation: object) -> str:
        """Return the error in one value; empty where there is none."""
        if name in cls.choices:
            return _wrong_choice(name, value, cls.choices[name])
        kind, is_optional = _kind_of(annotation)
        if value is None and is_optional:
            return ""
        wrong = _wrong_type(name, value, kind, annotation) if cls._is_typed(name) else ""
        return wrong or cls._wrong_text(name, value) or cls._wrong_number(name, value)

    @classmethod
    def _is_typed(cls, name: str) -> bool:
        """Return whether a value has to be of the annotation's type: a template renders texts."""
        return name not in cls.templated

    @classmethod
    def _wrong_text(cls, name: str, value: object) -> str:
        if name in cls.patterns:
            pattern, words = cls.patterns[name]
            if not isinstance(value, str):
                return f"{name} must be {words}, as text"
            return "" if re.fullmatch(pattern, value) else f"{name} must be {words}"
        if name in cls.texts and not _is_text(value):
            return f"{name} must not be empty" if value == "" else f"{name} must be text"
        return ""

    @classmethod
    def _wrong_number(cls, name: str, value: object) -> str:
        if not isinstance(value, int | float):
            return ""
        if name in cls._of_bases("counts") and not value >= 1:
            return f"{name} must be at least 1"
        if name in cls._of_bases("positive") and not value > 0:
            return f"{name} must be above 0"
        if name in cls.least and not value >= cls.least[name]:
            return f"{name} must be at least {cls.least[name]:,}"
        if name in cls.most and not value <= cls.most[name]:
            return f"{name} must be at most {cls.most[name]:,}"
        return ""


@lru_cache(maxsize=256)
def _annotations(kind: Any) -> Mapping[str, object]:
    return {one.name: one.type for one in fields(kind) if one.init} if is_dataclass(kind) else {}


class _UnknownValueError(Exception):
    """A check read an option whose value is not known, or is an error already."""


class _Given:
    """The options as a check reads them: their values, and everything that the class itself has."""

    def __init__(self, kind: type[CheckedOptions], values: Mapping[str, object]) -> None:
        self._kind = kind
        self._values = values

    def __getattr__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        if name in self._kind.annotations():
            raise _UnknownValueError
        found = getattr(self._kind, name)
        return MethodType(found, self) if isinstance(found, FunctionType) else found


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_number(value: object) -> bool:
    # NaN is no number, and equals nothing.
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124


_TYPES: dict[str, tuple[Callable[[object], bool], str]] = {
    "bool": (lambda value: isinstance(value, bool), "True or False"),
    "int": (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    "float": (_is_number, "a number"),
    "str": (lambda value: isinstance(value, str), "text"),
    # A text is a list of its characters.
    "Sequence": (lambda value: isinstance(value, Sequence) and not isinstance(value, str | bytes), "a list"),
    "Mapping": (lambda value: isinstance(value, Mapping), "a dictionary"),
}


def _wrong_type(name: str, value: Any, kind: str, annotation: object) -> str:
    is_one, words = _TYPES.get(kind, (lambda _: True, ""))
    if not is_one(value):
        return f"{name} must be {words}"
    if str(annotation).startswith("Sequence[str]") and value is not None and not all(map(_is_text, value)):
        return f"{name} must be a list of texts that are not empty"
    return ""


@lru_cache(maxsize=256)
def _kind_of(annotation: object) -> tuple[str, bool]:
    """Return the name of the one type of an annotation, and whether None is allowed; an empty name for several."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    while (shorter := _BRACKETS.sub("", text)) != text:
        text = shorter
    names = [name.strip().rpartition(".")[2] for name in text.split("|")]
    others = [name for name in names if name != "None"]
    return (others[0] if len(others) == 1 else "", len(others) < len(names))


def _wrong_choice(name: str, value: object, words: tuple[str | None, ...]) -> str:
    if any(value == word and type(value) is type(word) for word in words):
        return ""
    *others, last = (f"`{word}`" for word in words if word is not None)
    offered = f"{', '.join(others)} or {last}" if others else last
    return f"{name} must be {offered}{_near(value, words)}"


def _near(value: object, words: Iterable[str | None]) -> str:
    if not isinstance(value, str):
        return ""
    # Not at the top: a DAG file without an error loads no engine.
    from airflow_consent_retl.near import suggestion

    return suggestion(value, [word for word in words if word is not None])


def _check_withdrawal(options: Any) -> Iterator[Problem]:
    if options.withdrawals:
        wrong = wrong_withdrawal(options.on_withdrawal, options.withdrawals)
        yield from (Problem("on_withdrawal", one) for one in wrong)


def _check_companions(options: Any) -> Iterator[Problem]:
    # Of a wrong choice, nothing is known.
    if options.companions and options.on_withdrawal in options.withdrawals:
        for choice, name in options.companions.items():
            companions = {choice: (name, getattr(options, name))}
            yield from (Problem(name, one) for one in wrong_companions(options.on_withdrawal, companions))


def _check_needed(options: Any) -> Iterator[Problem]:
    for (option, value), name in options.needed.items():
        companions = {value: (name, getattr(options, name))}
        for one in wrong_companions(getattr(options, option), companions, option=option):
            yield Problem(name, one)


def _check_required(options: Any) -> Iterator[Problem]:
    for (option, value), names in options.required.items():
        if getattr(options, option) == value and not all(getattr(options, name) for name in names):
            yield Problem(option, f'{option}="{value}" needs {" and ".join(names)}')


def _check_only_for(options: Any) -> Iterator[Problem]:
    for name, (option, value) in options.only_for.items():
        if getattr(options, name) and getattr(options, option) != value:
            yield Problem(name, f'{name} is for {option}="{value}"')


_DECLARED: tuple[OptionCheck, ...] = (
    _check_withdrawal,
    _check_companions,
    _check_needed,
    _check_required,
    _check_only_for,
)
