"""The form of one kind of request, as a record: path, body, size, and the reading of answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from airflow_consent_retl.destinations.declared.declared_answers import AnswerMap
from airflow_consent_retl.destinations.declared.path_template import names_in, wrong_path
from airflow_consent_retl.destinations.declared.placeholders import (
    EachRow,
    FieldValue,
    OtherFields,
    ParameterValue,
    Placeholder,
)
from airflow_consent_retl.errors import ConfigurationError

METHODS = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredRequest:
    """One kind of request.

    Args:
        path: below the host of the connection, with or without a query; `{name}` stands for a parameter, or for a
            field where a request has one row.
        answer: how the vendor's answer is read, such as `ErrorsByIndex`; None: as the declaration says.
        body: nested Python data with placeholders; None: the request has no body.
        method: `POST`, `PUT`, `PATCH` or `DELETE`.
        rows: the most rows in a request; None: as the declaration says where the body has `each_row`, otherwise 1.
        max_body_bytes: the most bytes in a request; a larger one is sent in halves. None: as the declaration says, or
            the option's value.
        max_row_bytes: the most bytes of one row; a larger row is rejected. None: any number.
    """

    path: str
    answer: AnswerMap | None = None
    body: object = None
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    rows: int | None = None
    max_body_bytes: int | None = None
    max_row_bytes: int | None = None

    @property
    def most_rows(self) -> int:
        """The most rows in a request."""
        return 1 if self.rows is None else self.rows

    @property
    def reader(self) -> AnswerMap:
        """The way to read answers.

        Raises:
            ConfigurationError: neither the request nor the declaration has one.
        """
        if self.answer is None:
            raise ConfigurationError("a request needs an answer")
        return self.answer

    def completed(self, answer: AnswerMap | None, rows: int | None, max_body_bytes: int | None) -> DeclaredRequest:
        """Return the request with what the declaration says where it says nothing itself; see there."""
        has_rows = any(isinstance(one, EachRow) for _, one in placeholders(self.body, ""))
        return replace(
            self,
            answer=answer if self.answer is None else self.answer,
            rows=rows if self.rows is None and has_rows else self.rows,
            max_body_bytes=max_body_bytes if self.max_body_bytes is None and has_rows else self.max_body_bytes,
        )

    @property
    def fields(self) -> dict[str, FieldValue]:
        """The fields that have a place of their own, in their order."""
        found = {one.name: one for _, one in placeholders(self.body, "") if isinstance(one, FieldValue)}
        return {**{name: FieldValue(name, True, False) for name in names_in(self.path)}, **found}

    def fields_without(self, parameters: Mapping[str, str]) -> dict[str, FieldValue]:
        """Return the fields; a name in the path that is a parameter is none."""
        in_body = {one.name for _, one in placeholders(self.body, "") if isinstance(one, FieldValue)}
        return {name: one for name, one in self.fields.items() if name in in_body or name not in parameters}

    @property
    def takes_other_fields(self) -> bool:
        """True if every mapped field has a place."""
        return any(isinstance(one, OtherFields) for _, one in placeholders(self.body, ""))

    def parameters_in(self, declared: Mapping[str, str]) -> dict[str, str]:
        """Return the names of parameters that are used, each with where it is used."""
        found = {one.name: path for path, one in placeholders(self.body, ".body") if isinstance(one, ParameterValue)}
        return {**{name: ".path" for name in names_in(self.path) if name in declared}, **found}

    def sends_as_number(self, name: str) -> bool:
        """Return whether the body has a parameter as a number."""
        places = (one for _, one in placeholders(self.body, ""))
        return any(isinstance(one, ParameterValue) and one.name == name and one.as_number for one in places)

    def wrong(self, parameters: Mapping[str, str]) -> list[tuple[str, str]]:
        """Return the errors, each with its path below the request.

        Args:
            parameters: the names that the declaration gives to parameters.
        """
        wrong = [(".path", text) for text in wrong_path(self.path)]
        if self.method not in METHODS:
            wrong.append((".method", f"a method is one of {', '.join(METHODS)}"))
        if not isinstance(self.answer, AnswerMap):
            wrong.append((".answer", "an answer is read by one of `StatusOnly`, `ErrorsByIndex`, `ResultsInOrder` …"))
        for name in ("rows", "max_body_bytes", "max_row_bytes"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                wrong.append((f".{name}", "this is a number of at least 1"))
        wrong += wrong_body(self.body, ".body")
        return wrong + (self._wrong_rows(parameters) if not wrong else [])

    def _wrong_rows(self, parameters: Mapping[str, str]) -> list[tuple[str, str]]:
        lists = [path for path, one in placeholders(self.body, ".body") if isinstance(one, EachRow)]
        in_path = [name for name in names_in(self.path) if name not in parameters]
        outside = [
            path
            for path, one in placeholders(self.body, ".body")
            if isinstance(one, FieldValue | OtherFields) and EACH not in path
        ]
        if len(lists) > 1:
            return [(lists[1], "a body has one list of rows")]
        if self.most_rows > 1 and not lists:
            return [(".body", "a request with several rows needs `each_row` in its body")]
        if in_path and self.most_rows > 1:
            return [(".path", f"`{{{in_path[0]}}}` is no parameter, and a field in a path needs rows=1")]
        if lists and outside:
            return [(outside[0], "a field has its place in the list of rows, inside of `each_row`")]
        others = [path for path, one in placeholders(self.body, ".body") if isinstance(one, OtherFields)]
        return [(path, "`other_fields()` has one place in a body") for path in others[1:]]


EACH = "[*]"


def placeholders(template: object, path: str) -> Iterator[tuple[str, Placeholder]]:
    """Yield each placeholder of a body with its path."""
    if isinstance(template, Placeholder):
        yield path, template
    if isinstance(template, EachRow):
        yield from placeholders(template.template, path + EACH)
    elif isinstance(template, Mapping):
        for name, value in template.items():
            yield from placeholders(value, f"{path}.{name}")
    elif isinstance(template, list | tuple):
        for position, value in enumerate(template):
            yield from placeholders(value, f"{path}[{position}]")


def wrong_body(template: object, path: str) -> list[tuple[str, str]]:
    """Return the errors in the form of a body, each with its path."""
    if isinstance(template, EachRow):
        nested = any(isinstance(one, EachRow) for _, one in placeholders(template.template, ""))
        inner = wrong_body(template.template, path + EACH)
        return [(path, "a list of rows has no list of rows inside")] if nested else inner
    if isinstance(template, Mapping):
        names = [(path, "the names of an object are texts") for name in template if not isinstance(name, str)]
        return names + [one for name, value in template.items() for one in wrong_body(value, f"{path}.{name}")]
    if isinstance(template, list | tuple):
        optional = [
            (f"{path}[{position}]", "an optional field has its place in an object, which leaves it out")
            for position, value in enumerate(template)
            if isinstance(value, FieldValue) and value.optional
        ]
        parts = [wrong_body(value, f"{path}[{position}]") for position, value in enumerate(template)]
        return optional + [one for part in parts for one in part]
    wrong = _wrong_value(template)
    return [(path, wrong)] if wrong else []


def _wrong_value(template: object) -> str:
    if isinstance(template, FieldValue | ParameterValue):
        name = template.name
        return "" if isinstance(name, str) and name else "a placeholder names a field or a parameter"
    if isinstance(template, float):
        return "" if math.isfinite(template) else "JSON has no such number"
    if template is None or isinstance(template, OtherFields | bool | int | str):
        return ""
    if callable(template):
        return f"`{getattr(template, '__name__', 'this')}` is a function: call it, as `other_fields()`"
    return f"JSON has no form for a value of type {type(template).__name__}"
