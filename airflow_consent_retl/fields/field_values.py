"""The value of one field of a load: a column of the model, or text such as `constant('web')` that is read here.

The text is what manifests, delivered states and rendered templates contain. Never sees a row.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.fields.dotted_names import tree_of

Scalar: TypeAlias = str | int | float | bool
_TEXT = r"(constant|columns|expression|consent)\(.*\)"
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value for each row; None: NULL for each row."""

    value: Scalar | None

    def __post_init__(self) -> None:
        _check_scalar(self.value, "constant", may_be_null=True)


@dataclass(frozen=True, slots=True)
class ColumnList:
    """The list of a row's values in some columns that are not NULL, in this order; NULL if all of them are."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names or not all(isinstance(name, str) and name for name in self.names):
            raise ConfigurationError("columns(…) takes the names of the columns")
        if len(set(self.names)) < len(self.names):
            raise ConfigurationError("columns(…) names a column twice")


@dataclass(frozen=True, slots=True)
class Expression:
    """A scalar SQL expression over columns of the model."""

    sql: str

    def __post_init__(self) -> None:
        if not isinstance(self.sql, str) or not self.sql.strip():
            raise ConfigurationError("expression(…) takes one SQL expression, such as expression('upper(city)')")


@dataclass(frozen=True, slots=True)
class ConsentAnswer:
    """A person's own answer to a consent category: `granted` after an explicit yes, `otherwise` in any other case."""

    category: str
    granted: Scalar
    otherwise: Scalar | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.category, str) or not self.category:
            raise ConfigurationError("consent(…) takes the id of a category, such as consent('C0004', granted='yes')")
        _check_scalar(self.granted, "consent(granted=…)")
        _check_scalar(self.otherwise, "consent(otherwise=…)", may_be_null=True)
        if self.granted == self.otherwise:
            raise ConfigurationError(
                f"consent({self.category!r}, …): `granted` and `otherwise` are the same, so the field would tell "
                "nothing about consent"
            )
        if self.otherwise is not None and type(self.otherwise) is not type(self.granted):
            raise ConfigurationError(
                f"consent({self.category!r}, …): `granted` and `otherwise` have different types, and a field has one"
            )


FieldValue: TypeAlias = Constant | ColumnList | Expression | ConsentAnswer


def constant(value: Scalar | None) -> str:
    """Return the value of a field that is the same in each row.

    Args:
        value: text, a number, True or False. None: NULL in each row.

    Raises:
        ConfigurationError: the value has another type.
    """
    return f"constant({Constant(value).value!r})"


def columns(*names: str) -> str:
    """Return the value of a field that is a list: the values of some columns of the model that are not NULL.

    A row in which all of them are NULL has NULL, not an empty list. The columns have one type.

    Args:
        names: of the columns, in the order of the list.

    Raises:
        ConfigurationError: there is no name, or a name twice.
    """
    return f"columns({', '.join(map(repr, ColumnList(names).names))})"


def expression(sql: str) -> str:
    """Return the value of a field that SQL computes from columns of the same row.

    The SQL is DuckDB's, in every workspace. It consists of columns of the model, literals, operators, CASE, CAST and
    functions that depend on their arguments alone.

    Args:
        sql: one scalar expression, such as `upper(trim(city))`.

    Raises:
        ConfigurationError: it is no such expression.
    """
    from airflow_consent_retl.fields.sql_expressions import check_expression

    text = f"expression({Expression(sql).sql!r})"
    if "{{" not in sql and "{%" not in sql:
        check_expression(sql)
    return text


def consent(category: str, *, granted: Scalar, otherwise: Scalar | None = None) -> str:
    """Return the value of a field that tells a vendor a person's own answer to a consent category.

    Args:
        category: the id of a category that the policy requires for the destination, or with which it guards this field.
        granted: the value for a person who said yes, so that the answer still counts. That the policy permits sending
            for another reason, such as an opt-out regime or another category, is no yes.
        otherwise: the value for everyone else.

    Raises:
        ConfigurationError: the values are no two different scalars of one type.
    """
    checked = ConsentAnswer(category, granted, otherwise)
    rest = "" if checked.otherwise is None else f", otherwise={checked.otherwise!r}"
    return f"consent({checked.category!r}, granted={checked.granted!r}{rest})"


def other_than_answers(
    fields: object,
    names: Iterable[str],
    *,
    granted: Scalar,
    otherwise: Collection[Scalar | None] | None = None,
    is_needed: bool = False,
) -> list[str]:
    """Return the fields that are no person's own answer to a category, when a DAG file is read.

    Args:
        fields: of a load. The output of a task and a template are known when the task runs, and left out.
        names: of the fields.
        granted: the value that tells a yes.
        otherwise: the values that may tell the rest; None: any.
        is_needed: whether a field that the load does not have is one of them.
    """
    if not isinstance(fields, Mapping):
        return []
    found = []
    for name in names:
        text = fields.get(name)
        if (text is None and not is_needed) or (isinstance(text, str) and ("{{" in text or "{%" in text)):
            continue
        value = value_of(text) if isinstance(text, str) else None
        told = isinstance(value, ConsentAnswer) and value.granted == granted
        if not told or (otherwise is not None and getattr(value, "otherwise", None) not in otherwise):
            found.append(name)
    return found


@lru_cache(maxsize=4096)
def value_of(text: str) -> FieldValue | None:
    """Return the value that a text stands for; None: the text is the name of a column.

    Raises:
        ConfigurationError: it looks like one of the functions of this module, and is none.
    """
    if not isinstance(text, str) or re.fullmatch(_TEXT, text, re.DOTALL) is None:
        return None
    name, arguments, named = _call(text)
    try:
        match name:
            case "constant":
                return Constant(*arguments, **named)
            case "columns":
                return ColumnList(tuple(arguments), **named)
            case "expression":
                return Expression(*arguments, **named)
            case _:
                return ConsentAnswer(*arguments, **named)
    except TypeError:
        raise ConfigurationError(_unreadable(text)) from None


def columns_of(text: str) -> tuple[str, ...]:
    """Return the columns of the model that a field's value is computed from, each once.

    Raises:
        ConfigurationError: the text cannot be read.
    """
    value = value_of(text)
    match value:
        case None:
            return (text,)
        case ColumnList():
            return value.names
        case Expression():
            from airflow_consent_retl.fields.sql_expressions import check_expression

            return check_expression(value.sql)
        case _:
            return ()


def answer_name(category: str) -> str:
    """Return the name under which a filter withholds a person's yes to a category, where there is none."""
    return f"consent({category!r})"


def category_of(name: str) -> str | None:
    """Return the category of a name by `answer_name`; None: it is the name of a field."""
    if not name.startswith("consent("):
        return None
    try:
        _, arguments, named = _call(name)
    except ConfigurationError:
        return None
    return str(arguments[0]) if len(arguments) == 1 and not named else None


def in_words(withheld: str) -> str:
    """Return what is withheld from a row, for people: the name of a field, or `a yes to C0004`."""
    category = category_of(withheld)
    return withheld if category is None else f"a yes to {category}"


def answers_in(fields: Mapping[str, str] | None) -> Iterator[tuple[str, ConsentAnswer]]:
    """Yield each field with a person's answer to a category, with the answer."""
    for name, text in (fields or {}).items():
        value = value_of(text)
        if isinstance(value, ConsentAnswer):
            yield name, value


def check_values(fields: Mapping[str, str], *, nested: bool = False) -> None:
    """Check the values of a load's fields, as far as they are known when the DAG is parsed.

    Args:
        fields: the destination's field names, each with the model's column or another value.
        nested: whether dotted names are fields of nested objects.

    Raises:
        ConfigurationError: with every problem.
    """
    problems = []
    if nested and any("." in name for name in fields):
        try:
            tree_of(fields)
        except ConfigurationError as error:
            problems.append(str(error))
    for name, text in fields.items():
        if isinstance(text, str) and ("{{" in text or "{%" in text):
            continue
        try:
            columns_of(text)
        except ConfigurationError as error:
            problems.append(f"fields[{name!r}]: {error}")
    if problems:
        raise ConfigurationError("; ".join(problems))


def check_answers_written(fields: Mapping[str, str], write: str) -> None:
    """Check that a changed answer to a category is not kept from a destination by the way in which rows are written.

    Raises:
        ConfigurationError: the destination would never get it.
    """
    if write not in {"create_only", "fill_empty"}:
        return
    for name, text in fields.items():
        if isinstance(value_of(text), ConsentAnswer):
            raise ConfigurationError(
                f'fields[{name!r}]: with write="{write}", a yes that ends would never arrive: leave the answer '
                'out, or use write="upsert"'
            )


def unknown_columns(text: str, known: Collection[str]) -> list[str]:
    """Return the columns of a field's value that the model does not have.

    Raises:
        ConfigurationError: the text cannot be read, or the model has a column of this very name.
    """
    if value_of(text) is not None and text in known:
        raise ConfigurationError(
            f"the model has a column with the name `{text}`, which is a value of its own: give the column another "
            "name in the model's SQL"
        )
    return [column for column in columns_of(text) if column not in known]


def _call(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError
        named = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords if one.arg is not None}
        if len(named) < len(call.keywords):
            raise ValueError
        return call.func.id, [ast.literal_eval(one) for one in call.args], named
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise ConfigurationError(_unreadable(text)) from None


def _unreadable(text: str) -> str:
    function = text.partition("(")[0]
    return (
        f"`{text}` cannot be read as {function}(…): write it with the function `{function}` of "
        "airflow_consent_retl.fields, or give a column of this name another one in the model's SQL"
    )


def _check_scalar(value: object, where: str, *, may_be_null: bool = False) -> None:
    if value is None and may_be_null:
        return
    if not isinstance(value, str | int | float | bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigurationError(f"{where}: expected text, a finite number, True or False")
    if type(value) is int and not -_INT64 <= value < _INT64:
        raise ConfigurationError(f"{where}: a whole number has at most 64 bits")
