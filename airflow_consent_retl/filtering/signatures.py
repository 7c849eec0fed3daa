"""The reader of consent signatures: the signal's token of each raw value, for each row and signal.

Arrow only compares exactly, and the engine extracts the part of a document that contains consent. Only `consent` knows
the meaning of a token. `consent` also reads the JSON itself, once for each distinct document, because engines read it
more leniently (DuckDB accepts trailing commas and NaN). An engine's extract therefore counts only if no two readers
could differ about it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.consent import NULL_TOKEN, ColumnKind
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.filtering.tc_strings import LEFT_TO_THE_LAW, answers
from airflow_consent_retl.values.buffers import bits_of, validity_of, values_of
from airflow_consent_retl.values.list_columns import with_lists_as_json
from airflow_consent_retl.values.shared_engine import shared_engine

if TYPE_CHECKING:
    import duckdb
    import ibis.expr.types as ir
    from numpy.typing import NDArray

    from airflow_consent_retl.consent import Signal
    from airflow_consent_retl.consent.signals import TcQuestion

# What DuckDB's JSON reader accepts and JSON does not (trailing commas, NaN, infinities), and escapes, which hide keys.
_NOT_SURELY_JSON = r"\\|,\s*[\]}]|[nN][aA][nN]|[iI][nN][fF]"
# Python's JSON reader has a limit of nesting. Text shorter than this cannot reach it.
_SURELY_SHALLOW_CHARACTERS = 900

# A thread is worth its start for so many documents.
_ROWS_OF_TWO_HALVES = 16_384

_ROWS, _ORDINAL = "consent_retl_rows", "consent_retl_ordinal"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# The place of a document with consent: the column, and the keys that lead to it in a larger document.
Place = tuple[str, tuple[str, ...]]
# The engine's name of each column.
Inputs = Mapping[str, str]


class SignatureReader:
    """The reader of signatures from Arrow batches, with DuckDB, in the order of the rows.

    Args:
        signals: the plan's signals; None for a missing column that the policy allows: token 0.

    Attributes:
        combinations: the number of possible signatures.

    Raises:
        ConfigurationError: the signals have more than 2**61 possible signatures.
    """

    def __init__(self, signals: Sequence[Signal | None]) -> None:
        self._signals = tuple(signals)
        self._radices = tuple(1 if signal is None else signal.unlisted_token + 1 for signal in self._signals)
        self.combinations = math.prod(self._radices)
        if self.combinations > 2**61:
            raise ConfigurationError(
                f"the {len(self._signals)} consent values of a row have more than 2**61 combinations"
            )
        present = [signal for signal in self._signals if signal is not None]
        self.columns = tuple(dict.fromkeys(signal.column for signal in present))
        self._places = tuple(dict.fromkeys(_place_of(signal) for signal in present if _is_cut_out(signal)))
        # The engine gets other names: it ignores case, and a model's column may have any name.
        columns = dict.fromkeys(column for column, _ in self._places)
        self._inputs: Inputs = {column: f"consent_{number}" for number, column in enumerate(columns)}
        self._engine = _Engine(self._places, self._inputs) if self._places else None

    def codes(self, rows: pa.RecordBatch) -> NDArray[np.int64]:
        """Return one number for each row, which stands for the row's signature: see `tokens`."""
        codes = np.zeros(rows.num_rows, dtype=np.int64)
        if not self.columns or not rows.num_rows:
            return codes
        rows = with_lists_as_json(rows.select(self.columns))
        read = self._read_whole(rows)
        documents = {} if self._engine is None else self._engine.documents(rows)
        for number, (signal, radix) in enumerate(zip(self._signals, self._radices, strict=True)):
            codes *= radix
            if signal is None:
                continue
            if _is_compared(signal):
                codes += _compared(rows.column(signal.column), signal)
            elif _is_cut_out(signal):
                codes += documents[_place_of(signal)].tokens(signal)
            elif _has_bands(signal, rows):
                codes += _bands(rows.column(signal.column), signal)
            else:
                codes += read[number]
        return codes

    def _read_whole(self, rows: pa.RecordBatch) -> dict[int, NDArray[np.int64]]:
        """Return each row's tokens of the signals whose values `consent` reads, by the signal's number.

        Each column's distinct values are found once, even if several signals read them.
        """
        by_column: dict[str, dict[int, Signal]] = {}
        for number, signal in enumerate(self._signals):
            if signal is not None and _is_read_whole(signal, rows):
                by_column.setdefault(signal.column, {})[number] = signal
        found: dict[int, NDArray[np.int64]] = {}
        for column, signals in by_column.items():
            values = _encoded(rows.column(column))
            tokens = _tokens(values.dictionary, [*signals.values()])
            found |= {number: _of_rows(values, some) for number, some in zip(signals, tokens, strict=True)}
        return found

    def tokens(self, code: int) -> tuple[int, ...]:
        """Return the signature that a code stands for: one token for each signal."""
        tokens = []
        for radix in reversed(self._radices):
            code, token = divmod(code, radix)
            tokens.append(token)
        return tuple(reversed(tokens))

    def close(self) -> None:
        """Close the engine."""
        if self._engine is not None:
            self._engine.close()


class _Engine:
    """DuckDB, which extracts the parts of documents, of two halves of many rows at the same time.

    Args:
        places: of the documents.
        inputs: the engine's name of each column.
    """

    def __init__(self, places: Sequence[Place], inputs: Inputs) -> None:
        self._places, self._inputs = places, inputs
        self._connections = (shared_engine(), shared_engine())
        self._helping = ThreadPoolExecutor(max_workers=1, thread_name_prefix="documents")
        self._sql = _compile(places, inputs)

    def documents(self, rows: pa.RecordBatch) -> dict[Place, _Documents]:
        """Return the documents of each place, in the order of the rows."""
        own, others = self._connections
        if rows.num_rows < _ROWS_OF_TWO_HALVES:
            answers = self._answers(own, rows)
        else:
            half = rows.num_rows // 2
            second = self._helping.submit(self._answers, others, rows.slice(half))
            try:
                first = self._answers(own, rows.slice(0, half))
            finally:
                wait([second])
            answers = pa.concat_tables([first, second.result()])
        return {
            place: _Documents(rows.column(place[0]), answers.column(_document_column(number)))
            for number, place in enumerate(self._places)
        }

    def _answers(self, connection: duckdb.DuckDBPyConnection, rows: pa.RecordBatch) -> pa.Table:
        ordinals = pa.array(np.arange(rows.num_rows, dtype=np.int32))
        columns = {name: _as_text(rows.column(column)) for column, name in self._inputs.items()}
        connection.register(_ROWS, pa.table({**columns, _ORDINAL: ordinals}))
        answers: pa.Table = connection.sql(self._sql).to_arrow_table()
        connection.unregister(_ROWS)
        # INVARIANT: an answer is joined back to its own row, or to no row.
        if not np.array_equal(_numpy(answers.column(_ORDINAL)), np.from_dlpack(ordinals)):
            raise RefusedError("the engine returned the signatures in another order than the rows")
        return answers

    def close(self) -> None:
        """Close the connections."""
        self._helping.shutdown()
        for connection in self._connections:
            connection.close()


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
    return _of_rows(documents, _tokens(documents.dictionary, [signal])[0])


def _of_rows(values: pa.DictionaryArray, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    # One entry more than the dictionary has: the index of NULL.
    read = np.append(tokens, NULL_TOKEN)
    of_rows: NDArray[np.int64] = read[np.from_dlpack(values.indices.fill_null(len(values.dictionary)))]
    return of_rows


def _tokens(values: pa.Array, signals: Sequence[Signal]) -> list[NDArray[np.int64]]:
    """Return each signal's tokens of these distinct values, none of which is NULL."""
    are_texts = values.type == pa.string()
    questions = [signal.tc_question if are_texts else None for signal in signals]
    plain = [signal for signal, question in zip(signals, questions, strict=True) if question is None]
    # Value by value: several formats of one document then parse it once.
    read = [signal.token(value) for value in (values.to_pylist() if plain else ()) for signal in plain]
    columns = iter(np.array(read, dtype=np.int64).reshape(len(values), len(plain)).T if plain else ())
    return [
        next(columns) if question is None else _tc_tokens(values, signal, question)
        for signal, question in zip(signals, questions, strict=True)
    ]


def _tc_tokens(values: pa.Array, signal: Signal, question: TcQuestion) -> NDArray[np.int64]:
    tokens = answers(values, question)
    others = np.flatnonzero(tokens == LEFT_TO_THE_LAW)
    tokens[others] = [*map(signal.token, values.take(pa.array(others)).to_pylist())]
    return tokens


def _encoded(column: pa.Array) -> pa.DictionaryArray:
    # NULL has no entry in the dictionary.
    return (column.cast(pa.string()) if pa.types.is_null(column.type) else column).dictionary_encode()


def _is_compared(signal: Signal) -> bool:
    """Return whether the signal's values are compared with its alphabet."""
    # Only for columns of one kind: with several kinds, a value would be converted before it is compared.
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


def _as_text(column: pa.Array) -> pa.Array:
    return pa.nulls(len(column), pa.string()) if pa.types.is_null(column.type) else column


def _compared(column: pa.Array, signal: Signal) -> NDArray[np.int64]:
    """Return each row's token: the number of its value in the signal's alphabet."""
    if pa.types.is_null(column.type):
        return np.full(len(column), NULL_TOKEN, dtype=np.int64)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    values, tokens = _alphabet(signal, column.type)
    if pa.types.is_boolean(column.type):
        return _compared_booleans(column, dict(zip(values.to_pylist(), tokens, strict=True)), signal.unlisted_token)
    found = pc.index_in(column, value_set=values)
    by_index = np.array([*tokens, signal.unlisted_token], dtype=np.int64)
    read: NDArray[np.int64] = by_index[np.from_dlpack(found.fill_null(len(tokens)))]
    if column.null_count:
        read[np.asarray(column.is_null())] = NULL_TOKEN
    return read


def _compared_booleans(column: pa.Array, tokens: Mapping[bool, int], unlisted: int) -> NDArray[np.int64]:
    by_value = np.array([tokens.get(value, unlisted) for value in (False, True)], dtype=np.int64)
    read: NDArray[np.int64] = by_value[bits_of(column)]
    if column.null_count:
        read[~validity_of(column)] = NULL_TOKEN
    return read


def _alphabet(signal: Signal, type_: pa.DataType) -> tuple[pa.Array, list[int]]:
    """Return the values of an alphabet that a column of this type can have, and their tokens."""
    values, tokens = [], []
    for token, value in enumerate(signal.alphabet, start=1):
        try:
            values.append(pa.array([value], type_))
        except (pa.ArrowInvalid, OverflowError):
            # Larger than any number of this type: no row has it.
            continue
        tokens.append(token)
    return pa.concat_arrays(values) if values else pa.array([], type_), tokens


def _place_of(signal: Signal) -> Place:
    return signal.column, signal.document_path[:-1]


def _document_column(number: int) -> str:
    return f"document_{number}"


_COMPARED_KINDS = {ColumnKind.BOOLEAN, ColumnKind.INTEGER, ColumnKind.TEXT}


def _compile(places: Sequence[Place], inputs: Inputs) -> str:
    import ibis  # most plans read no documents

    table = ibis.table({**dict.fromkeys(inputs.values(), "string"), _ORDINAL: "int32"}, name=_ROWS)
    documents = {
        _document_column(number): _document(table[inputs[column]], keys) for number, (column, keys) in enumerate(places)
    }
    return str(ibis.to_sql(table.select(table[_ORDINAL], **documents), dialect="duckdb"))


def _document(column: ir.Column, keys: tuple[str, ...]) -> Any:
    if not keys:
        return column
    import ibis

    valid = ibis.udf.scalar.builtin(lambda text: None, name="json_valid", signature=(("string",), "boolean"))
    extract = ibis.udf.scalar.builtin(
        lambda text, path: None, name="json_extract", signature=(("string", "string"), "string")
    )
    # A key that occurs twice anywhere in the text may occur twice in its object.
    repeated = "".join(f'|(?s:"{re.escape(key)}".*"{re.escape(key)}")' for key in keys)
    surely_json = (
        (column.length() < _SURELY_SHALLOW_CHARACTERS) & ~column.re_search(_NOT_SURELY_JSON + repeated) & valid(column)
    )
    pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
    return ibis.cases((surely_json, extract(column, pointer)), else_=ibis.null("string"))
