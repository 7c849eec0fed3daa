"""The reader of consent signatures: the signal's token of each raw value, for each row and signal.

The engine only compares exactly, and extracts the part of a document that contains consent. Only `consent` knows the
meaning of a token. `consent` also reads the JSON itself, once for each distinct document, because engines read it more
leniently (DuckDB accepts trailing commas and NaN). An engine's extract therefore counts only if no two readers could
differ about it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import ibis
import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent import NULL_TOKEN, ColumnKind
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.filtering.tc_strings import LEFT_TO_THE_LAW, answers
from airflow_consent_retl.values.buffers import values_of
from airflow_consent_retl.values.list_columns import with_lists_as_json
from airflow_consent_retl.values.shared_engine import shared_engine

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from numpy.typing import NDArray

    from airflow_consent_retl.consent import Signal

# What DuckDB's JSON reader accepts and JSON does not (trailing commas, NaN, infinities), and escapes, which hide keys.
_NOT_SURELY_JSON = r"\\|,\s*[\]}]|[nN][aA][nN]|[iI][nN][fF]"
# Python's JSON reader has a limit of nesting. Text shorter than this cannot reach it.
_SURELY_SHALLOW_CHARACTERS = 900

_ROWS, _ORDINAL = "consent_retl_rows", "consent_retl_ordinal"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# The place of a document with consent: the column, and the keys that lead to it in a larger document.
Place = tuple[str, tuple[str, ...]]
# The engine's name of each column, by the column and the type as which it is read.
Inputs = Mapping[tuple[str, pa.DataType], str]


def _builtin(declared: Callable[..., None], name: str, parameters: tuple[str, ...], returns: str) -> Callable[..., Any]:
    function: Callable[..., Any] = ibis.udf.scalar.builtin(declared, name=name, signature=(parameters, returns))
    return function


_json_valid = _builtin(lambda text: None, "json_valid", ("string",), "boolean")
_json_extract = _builtin(lambda text, path: None, "json_extract", ("string", "string"), "string")


class SignatureReader:
    """The reader of signatures from Arrow batches, with DuckDB, in the order of the rows.

    Args:
        signals: the plan's signals; None for a missing column that the policy allows: token 0.

    Raises:
        ConfigurationError: the signals have more than 2**61 possible signatures.
    """

    def __init__(self, signals: Sequence[Signal | None]) -> None:
        self._signals = tuple(signals)
        self._radices = tuple(1 if signal is None else signal.unlisted_token + 1 for signal in self._signals)
        if math.prod(self._radices) > 2**61:
            raise ConfigurationError(
                f"the {len(self._signals)} consent values of a row have more than 2**61 combinations"
            )
        present = [signal for signal in self._signals if signal is not None]
        self.columns = tuple(dict.fromkeys(signal.column for signal in present))
        # The engine gets other names: it ignores case, and a model's column may have any name.
        inputs = dict.fromkeys(
            (signal.column, _arrow_type(signal)) for signal in present if _is_compared(signal) or _is_cut_out(signal)
        )
        self._inputs: Inputs = {wanted: f"consent_{number}" for number, wanted in enumerate(inputs)}
        self._places = tuple(dict.fromkeys(_place_of(signal) for signal in present if _is_cut_out(signal)))
        self._connection = shared_engine()
        self.sql = _compile(self._signals, self._places, self._inputs)

    def codes(self, rows: pa.RecordBatch) -> NDArray[np.int64]:
        """Return one number for each row, which stands for the row's signature: see `tokens`."""
        codes = np.zeros(rows.num_rows, dtype=np.int64)
        if not self.columns or not rows.num_rows:
            return codes
        rows = with_lists_as_json(rows.select(self.columns))
        answers = self._ask_engine(rows)
        # Each column's distinct values are found once, even if several signals read them.
        values = {
            signal.column: _encoded(rows.column(signal.column))
            for signal in self._signals
            if signal is not None and _is_read_whole(signal, rows)
        }
        documents = {
            place: _Documents(rows.column(place[0]), answers.column(_document_column(number)))
            for number, place in enumerate(self._places)
        }
        for position, (signal, radix) in enumerate(zip(self._signals, self._radices, strict=True)):
            codes *= radix
            if signal is None:
                continue
            if _is_compared(signal):
                codes += _numpy(answers.column(_token_column(position)))
            elif _is_cut_out(signal):
                codes += documents[_place_of(signal)].tokens(signal)
            elif _has_bands(signal, rows):
                codes += _bands(rows.column(signal.column), signal)
            else:
                codes += _read(values[signal.column], signal)
        return codes

    def tokens(self, code: int) -> tuple[int, ...]:
        """Return the signature that a code stands for: one token for each signal."""
        tokens = []
        for radix in reversed(self._radices):
            code, token = divmod(code, radix)
            tokens.append(token)
        return tuple(reversed(tokens))

    def close(self) -> None:
        """Close the engine."""
        self._connection.close()

    def _ask_engine(self, rows: pa.RecordBatch) -> pa.Table:
        ordinals = pa.array(np.arange(rows.num_rows, dtype=np.int32))
        columns = {name: _typed(rows.column(column), type_) for (column, type_), name in self._inputs.items()}
        consent = pa.table({**columns, _ORDINAL: ordinals})
        self._connection.register(_ROWS, consent)
        answers: pa.Table = self._connection.sql(self.sql).to_arrow_table()
        self._connection.unregister(_ROWS)
        # INVARIANT: an answer is joined back to its own row, or to no row.
        if not np.array_equal(_numpy(answers.column(_ORDINAL)), np.from_dlpack(ordinals)):
            raise RefusedError("the engine returned the signatures in another order than the rows")
        return answers


class _Documents:
    """The distinct documents of one place in a batch."""

    def __init__(self, raws: pa.Array, cut_out: pa.ChunkedArray) -> None:
        documents = cut_out.combine_chunks()
        present = documents.is_valid()
        # The engine returns NULL for a missing value and for text that it cannot read reliably. `consent` reads the
        # whole text of these rows.
        others = documents.is_null()
        self._rows = len(raws)
        self._present, self._others = np.flatnonzero(present), np.flatnonzero(others)
        self._cut_out = documents.filter(present).dictionary_encode()
        self._whole = raws.filter(others).cast(pa.string()).dictionary_encode()

    def tokens(self, signal: Signal) -> NDArray[np.int64]:
        """Return each row's token, read by `consent`."""
        tokens = np.zeros(self._rows, dtype=np.int64)
        below = signal.below(len(signal.document_path) - 1)
        if below is not None:
            tokens[self._present] = _read(self._cut_out, below)
        tokens[self._others] = _read(self._whole, signal)
        return tokens


def _read(documents: pa.DictionaryArray, signal: Signal) -> NDArray[np.int64]:
    # One entry more than the dictionary has: the index of NULL.
    read = np.append(_tokens(documents.dictionary, signal), NULL_TOKEN)
    tokens: NDArray[np.int64] = read[np.from_dlpack(documents.indices.fill_null(len(documents.dictionary)))]
    return tokens


def _tokens(values: pa.Array, signal: Signal) -> NDArray[np.int64]:
    """Return the token of each of these distinct values, none of which is NULL."""
    question = signal.tc_question
    if question is None or values.type != pa.string():
        return np.array([*map(signal.token, values.to_pylist())], dtype=np.int64)
    tokens = answers(values, question)
    others = np.flatnonzero(tokens == LEFT_TO_THE_LAW)
    tokens[others] = [*map(signal.token, values.take(pa.array(others)).to_pylist())]
    return tokens


def _encoded(column: pa.Array) -> pa.DictionaryArray:
    # NULL has no entry in the dictionary.
    return (column.cast(pa.string()) if pa.types.is_null(column.type) else column).dictionary_encode()


def _is_compared(signal: Signal) -> bool:
    """Return whether the engine compares the signal's values with its alphabet."""
    # Only for columns of one kind: with several kinds, the engine would convert a value before it compares.
    return not signal.is_read and len(signal.kinds) == 1 and signal.kinds <= _COMPARED_KINDS


def _is_cut_out(signal: Signal) -> bool:
    """Return whether the engine extracts the signal's part from a larger document."""
    depth = len(signal.document_path) - 1
    return depth >= 0 and signal.below(depth) is not None


def _has_bands(signal: Signal, rows: pa.RecordBatch) -> bool:
    """Return whether the values are times, which are compared as numbers because nearly all of them differ."""
    type_ = rows.column(signal.column).type
    if pa.types.is_timestamp(type_):
        return bool(signal.time_bounds)
    return bool(signal.number_bounds) and pa.types.is_integer(type_)


def _is_read_whole(signal: Signal, rows: pa.RecordBatch) -> bool:
    """Return whether `consent` reads each distinct value of the column."""
    return not (_is_compared(signal) or _is_cut_out(signal) or _has_bands(signal, rows))


def _bands(times: pa.Array, signal: Signal) -> NDArray[np.int64]:
    if pa.types.is_integer(times.type):
        numbers = times.cast(pa.int64())
        limits = np.array(signal.number_bounds, dtype=np.int64)
        bands = np.searchsorted(limits, values_of(numbers, np.int64), side="right")
        # Before the first limit, as after the last one.
        bands[bands == 0] = signal.unlisted_token
        bands[np.asarray(times.is_null())] = NULL_TOKEN
        return bands
    # Nanoseconds are cut off, because the bounds have none. The zone's name does not change the time.
    numbers = times.cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64())
    bounds = np.array([(bound - _EPOCH) // _MICROSECOND for bound in signal.time_bounds], dtype=np.int64)
    bands = np.searchsorted(bounds, values_of(numbers, np.int64), side="right") + 1
    bands[np.asarray(times.is_null())] = NULL_TOKEN
    return bands


def _numpy(column: pa.ChunkedArray) -> NDArray[np.int32]:
    # Not `to_numpy`: it loads pandas, which takes 40 MiB.
    numbers: NDArray[np.int32] = np.concatenate([np.from_dlpack(chunk) for chunk in column.chunks if len(chunk)])
    return numbers


def _typed(column: pa.Array, type_: pa.DataType) -> pa.Array:
    return pa.nulls(len(column), type_) if pa.types.is_null(column.type) else column


def _place_of(signal: Signal) -> Place:
    return signal.column, signal.document_path[:-1]


def _token_column(position: int) -> str:
    return f"token_{position}"


def _document_column(number: int) -> str:
    return f"document_{number}"


def _arrow_type(signal: Signal) -> pa.DataType:
    kinds = signal.kinds
    if ColumnKind.BOOLEAN in kinds:
        return pa.bool_()
    return pa.int64() if ColumnKind.INTEGER in kinds else pa.string()


_COMPARED_KINDS = {ColumnKind.BOOLEAN, ColumnKind.INTEGER, ColumnKind.TEXT}
_IBIS_TYPES = {pa.bool_(): "boolean", pa.int64(): "int64", pa.string(): "string"}


def _compile(signals: Sequence[Signal | None], places: Sequence[Place], inputs: Inputs) -> str:
    columns = {name: _IBIS_TYPES[type_] for (_, type_), name in inputs.items()}
    table = ibis.table({**columns, _ORDINAL: "int32"}, name=_ROWS)
    tokens = {
        _token_column(position): _token(table[inputs[signal.column, _arrow_type(signal)]], signal).cast("int32")
        for position, signal in enumerate(signals)
        if signal is not None and _is_compared(signal)
    }
    documents = {
        _document_column(number): _document(table[inputs[column, pa.string()]], keys)
        for number, (column, keys) in enumerate(places)
    }
    return str(ibis.to_sql(table.select(table[_ORDINAL], **tokens, **documents), dialect="duckdb"))


def _token(column: ir.Column, signal: Signal) -> Any:
    listed = [(column == value, token) for token, value in enumerate(signal.alphabet, start=1)]
    return ibis.cases((column.isnull(), NULL_TOKEN), *listed, else_=signal.unlisted_token)


def _document(column: ir.Column, keys: tuple[str, ...]) -> Any:
    if not keys:
        return column
    # A key that occurs twice anywhere in the text may occur twice in its object.
    repeated = "".join(f'|(?s:"{re.escape(key)}".*"{re.escape(key)}")' for key in keys)
    surely_json = (
        (column.length() < _SURELY_SHALLOW_CHARACTERS)
        & ~column.re_search(_NOT_SURELY_JSON + repeated)
        & _json_valid(column)
    )
    pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
    return ibis.cases((surely_json, _json_extract(column, pointer)), else_=ibis.null("string"))
