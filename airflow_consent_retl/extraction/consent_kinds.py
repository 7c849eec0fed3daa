"""The kinds of values of two queries: the checks that they can be compared, and that a consent source can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from airflow_consent_retl.consent import ConsentSource, IdentityLinks
from airflow_consent_retl.consent.freshness import EpochUnit, epoch_limits
from airflow_consent_retl.databases.source import ModelQuery
from airflow_consent_retl.errors import ConfigurationError, ModelError
from airflow_consent_retl.values.columns import declared_types

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ExternalConsent, SuppressionList

_BATCH_ROWS = 131_072
_TIME = pa.timestamp("us", tz="UTC")
_TYPES = {"boolean": pa.bool_(), "integer": pa.int64(), "text": pa.string(), "moment": _TIME, "empty": pa.null()}


def kind_of(type_: pa.DataType) -> str | None:
    """Return `boolean`, `integer`, `text`, `moment`, or `empty` for a column of only NULL; None for any other type."""
    if pt.is_boolean(type_):
        return "boolean"
    if pt.is_integer(type_) or (pt.is_decimal(type_) and type_.scale == 0):
        return "integer"
    if pt.is_string(type_) or pt.is_large_string(type_):
        return "text"
    if pt.is_timestamp(type_) and type_.tz is not None:
        return "moment"
    return "empty" if pt.is_null(type_) else None


@dataclass(slots=True)
class ValueKind:
    """The kind of a column's values that were read so far. With a `unit`, times are numbers as in `EpochTime`."""

    what: str
    is_time: bool = False
    unit: EpochUnit | None = None
    kind: str = "empty"

    @property
    def type(self) -> pa.DataType:
        """The Arrow type of the column in the snapshot."""
        return _TYPES[self.kind]

    def see(self, type_: pa.DataType) -> None:
        """Note the type of a batch.

        Raises:
            ModelError: the type cannot be joined or read, or differs from the type of earlier batches.
        """
        seen = kind_of(type_)
        wanted, expected = {"boolean", "integer", "text"}, "a boolean, an integer or text"
        if self.is_time:
            wanted, expected = {"moment"}, "a timestamp with a zone"
        if self.unit is not None:
            wanted, expected = {"integer"}, "an integer"
        if seen is None or seen not in {"empty", *wanted}:
            raise ModelError(f"{self.what} is {type_}: expected {expected}")
        if "empty" not in (seen, self.kind) and seen != self.kind:
            raise ModelError(f"{self.what} is {self.kind} in some rows and {seen} in others")
        self.kind = seen if self.kind == "empty" else self.kind


def kind_to_see(number: int, source: ExternalConsent, name: str) -> ValueKind:
    """Return the kind of a source's column, of which no value was read so far."""
    what = f"consent_sources[{number}]: column `{name}`"
    if isinstance(source, ConsentSource) and name == source.time:
        return ValueKind(what, is_time=True, unit=source.time_unit)
    return ValueKind(what)


def has_64_bits(type_: pa.DataType) -> bool:
    """Return whether all values of a type are integers of 64 bits with a sign, or NULL."""
    return bool(pt.is_null(type_) or (pt.is_integer(type_) and not pt.is_uint64(type_)))


def sent(column: pa.Array, kind: ValueKind, *, as_integer: bool = False) -> pa.Array:
    """Return values as their exact text, times as microseconds since 1970 in UTC; with `as_integer`, as integers."""
    kind.see(column.type)
    if as_integer:
        return column.cast(pa.int64())
    if kind.unit is not None:
        return _microseconds(column.cast(pa.int64()), kind.unit)
    if kind.is_time:
        return column.cast(_TIME, safe=False).cast(pa.int64())
    return column.cast(pa.string())


def _microseconds(numbers: pa.Array, unit: EpochUnit) -> pa.Array:
    first, end, factor = epoch_limits(unit)
    is_time = pc.and_(pc.greater_equal(numbers, first), pc.less(numbers, end))
    return pc.multiply(pc.if_else(is_time, numbers, None), pa.scalar(factor, pa.int64()))


def received(column: pa.Array, field: pa.Field) -> pa.Array:
    """Return values converted back to their own type."""
    if pt.is_timestamp(field.type):
        return column.cast(pa.int64()).cast(pa.timestamp("us")).cast(field.type)
    if pt.is_null(field.type):
        return pa.nulls(len(column))
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid:
        problem = ModelError(f"column `{field.name}` of a consent source has numbers of more than 64 bits")
    # Raised outside the handler, because Arrow's message quotes the value.
    raise problem


def wanted_columns(source: ExternalConsent) -> tuple[str, ...]:
    """Return the columns of a source that are read."""
    if isinstance(source, IdentityLinks):
        return tuple(name for name in (source.subject, source.identifier, source.kind) if name is not None)
    if not isinstance(source, ConsentSource):
        return (source.subject,)
    values = [source.value] if source.value is not None else [column for column, _ in source.columns]
    return tuple(
        dict.fromkeys(
            name for name in (source.subject, *values, source.time, source.profile, source.category) if name is not None
        )
    )


def check_names(columns: Iterable[str], sources: Sequence[ExternalConsent]) -> None:
    """Check that the model has the sources' keys, and none of the columns that they bring.

    Raises:
        ConfigurationError: a check failed. The error contains every problem.
    """
    names = list(columns)
    folded = {name.casefold() for name in names}
    wrong = [
        f"consent_sources[{number}]: the model already has a column `{name}`"
        for number, source in enumerate(sources)
        for name in source.brought
        if name.casefold() in folded
    ]
    wrong += [
        f"consent_sources[{number}]: key `{source.key}` is not in the model"
        for number, source in enumerate(sources)
        if source.key not in names
    ]
    if wrong:
        raise ConfigurationError("; ".join(wrong))


def check_kinds(number: int, source: ExternalConsent, *, key: str, subject: str) -> None:
    """Check that a model's keys can equal a source's subjects.

    Raises:
        ModelError: one is text and the other a number, or their kind cannot be a key.
    """
    if "empty" in (key, subject):
        return
    if key != subject or key not in ("text", "integer"):
        raise ModelError(
            f"consent_sources[{number}]: the model's `{source.key}` is {key} and the source's `{source.subject}` is "
            f"{subject}: both must be text, or both integers; cast one of them in its SQL"
        )


def check_matched(
    number: int,
    source: ExternalConsent,
    column: str,
    *,
    rows: int,
    matched: int,
    log: Callable[[str], object],
    warn: Callable[[str], object],
) -> None:
    """Check that a source has at least one subject of the model for a column that it brings.

    `log` gets how many it has, `warn` that a list which may be without a match has none.

    Raises:
        ModelError: it has none, and the source requires a match.
    """
    log(f"consent_sources[{number}]: {matched:,} of {rows:,} rows of the model have a subject there for `{column}`")
    if not rows or matched:
        return
    is_list = not isinstance(source, ConsentSource)
    found = (
        f"consent_sources[{number}]: none of {rows:,} rows has a subject there for `{column}`: check that "
        f"`{source.key}` is the key that equals `{source.subject}`"
        + (f" in the form `{source.match}`" if not isinstance(source, ConsentSource) else "")
        + ("" if is_list else ", and that the category's id is right")
    )
    if source.require_match:
        raise ModelError(f"{found}; set require_match=False if this is expected")
    if is_list:
        warn(found)


def check_list(number: int, source: SuppressionList, keys: int) -> None:
    """Check that a list has as many keys as it must have.

    Raises:
        ModelError: it has fewer.
    """
    if keys < source.min_rows:
        raise ModelError(
            f"consent_sources[{number}]: the suppression list has {keys:,} keys in the form `{source.match}`, min_rows "
            f"is {source.min_rows:,}: whoever is missing there could be sent. Check what fills the list and its "
            f"`{source.subject}`; if it may be this short, lower min_rows (0 accepts an empty list)"
        )


def check_links(number: int, source: IdentityLinks, links: int) -> None:
    """Check that a link table has as many links as it must have.

    Raises:
        ModelError: it has fewer.
    """
    if links < source.min_rows:
        raise ModelError(
            f"consent_sources[{number}]: the identities have {links:,} links, min_rows is {source.min_rows:,}: a no "
            f"would not reach whoever is missing there. Check what fills the table, its `{source.subject}` and its "
            f"`{source.identifier}`; if it may be this short, lower min_rows (0 accepts an empty table)"
        )


def source_query(source: ExternalConsent, conn_id: str, *, time_zone: str) -> ModelQuery:
    """Return the query of a source, under the model's time zone."""
    return ModelQuery(
        conn_id=conn_id,
        sql=source.sql,
        primary_key=source.subject,
        column_types=declared_types(dict(source.column_types)),
        batch_rows=_BATCH_ROWS,
        more_memory=True,
        columns=wanted_columns(source),
        time_zone=time_zone,
    )
