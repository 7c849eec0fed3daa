"""Reads rows' consent signatures: for each category, which token of its signal's alphabet the raw value is.

The engine only compares exactly; what a token means is for `consent` to say. Where an engine reads a format more
leniently than the law does (JSON with trailing commas, say), it answers "ask", and the law reads that value itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import duckdb
import ibis
import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent import ColumnKind, ConsentObjectKey
from airflow_consent_retl.errors import ConfigurationError, RefusedError

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from numpy.typing import NDArray

    from airflow_consent_retl.consent import CategorySignal

# The engine's answer where the law has to read the value itself. Not a token.
ASK = -1

# DuckDB's JSON reader takes trailing commas, NaN and infinities; JSON does not.
_NOT_SURELY_JSON = r",\s*[\]}]|[nN][aA][nN]|[iI][nN][fF]"
# Python's JSON reader ends at some depth of nesting. Text shorter than this cannot reach it.
_SURELY_SHALLOW_BYTES = 900

_ROWS, _ORDINAL = "consent_rows", "consent_ordinal"


def _builtin(declared: Callable[..., None], name: str, parameters: tuple[str, ...], returns: str) -> Callable[..., Any]:
    function: Callable[..., Any] = ibis.udf.scalar.builtin(declared, name=name, signature=(parameters, returns))
    return function


_json_valid = _builtin(lambda text: None, "json_valid", ("string",), "boolean")
_json_type = _builtin(lambda text, path: None, "json_type", ("string", "string"), "string")
# Repeats the keys that the document repeats.
_json_keys = _builtin(lambda text, path: None, "json_keys", ("string", "string"), "array<string>")
_list_unique = _builtin(lambda keys: None, "list_unique", ("array<string>",), "int64")
# Many paths at once, for one reading of the document; keeps `true` apart from `"true"`.
_json_extract = _builtin(lambda text, paths: None, "json_extract", ("string", "array<string>"), "array<string>")


class SignatureReader:
    """Reads signatures from Arrow batches, with DuckDB, in the order of the rows.

    Args:
        signals: one for each category; None where the policy's answer to a missing column is `deny`: token 0.

    Raises:
        ConfigurationError: the alphabets multiply to more than 2**61 signatures.
    """

    def __init__(self, signals: Sequence[CategorySignal | None]) -> None:
        self._signals = tuple(signals)
        self._radices = tuple(1 if signal is None else signal.unlisted_token + 1 for signal in self._signals)
        if math.prod(self._radices) > 2**61:
            raise ConfigurationError(
                f"the {len(self._signals)} consent categories asked for have more than 2**61 signatures"
            )
        self._types = {signal.column: _arrow_type(signal) for signal in self._signals if signal is not None}
        self.columns = tuple(self._types)
        self._connection = duckdb.connect(
            config={"threads": "1", "autoinstall_known_extensions": "false", "preserve_insertion_order": "true"}
        )
        self.sql = _compile(self._signals, self._types)

    def codes(self, rows: pa.RecordBatch) -> NDArray[np.int64]:
        """Return one number a row, which stands for the row's signature: see `tokens`."""
        codes = np.zeros(rows.num_rows, dtype=np.int64)
        if not self.columns or not rows.num_rows:
            return codes
        answers = self._ask_engine(rows)
        for position, (signal, radix) in enumerate(zip(self._signals, self._radices, strict=True)):
            codes *= radix
            if signal is not None:
                codes += self._tokens(rows, position, signal, answers.column(_token_column(position)))
        return codes

    def tokens(self, code: int) -> tuple[int, ...]:
        """Return the signature that a code stands for, a token for each category."""
        tokens = []
        for radix in reversed(self._radices):
            code, token = divmod(code, radix)
            tokens.append(token)
        return tuple(reversed(tokens))

    def close(self) -> None:
        """Let go of the engine."""
        self._connection.close()

    def _ask_engine(self, rows: pa.RecordBatch) -> pa.Table:
        ordinals = pa.array(np.arange(rows.num_rows, dtype=np.int32))
        consent = pa.table(
            {**{name: self._typed(rows.column(name), name) for name in self.columns}, _ORDINAL: ordinals}
        )
        self._connection.register(_ROWS, consent)
        answers: pa.Table = self._connection.sql(self.sql).to_arrow_table()
        self._connection.unregister(_ROWS)
        # INVARIANT: an answer is joined back to its own row, or to none.
        if not np.array_equal(answers.column(_ORDINAL).to_numpy(), np.asarray(ordinals)):
            raise RefusedError("the engine returned the signatures in another order than the rows")
        return answers

    def _typed(self, column: pa.Array, name: str) -> pa.Array:
        return pa.nulls(len(column), self._types[name]) if pa.types.is_null(column.type) else column

    def _tokens(
        self, rows: pa.RecordBatch, position: int, signal: CategorySignal, answer: pa.ChunkedArray
    ) -> NDArray[np.int64]:
        tokens: NDArray[np.int64] = answer.to_numpy().astype(np.int64)
        asked = np.flatnonzero(tokens == ASK)
        if asked.size:
            raws = rows.column(signal.column).take(pa.array(asked)).dictionary_encode()
            read = [signal.token(raw) for raw in raws.dictionary.to_pylist()]
            tokens[asked] = np.array(read, dtype=np.int64)[raws.indices.to_numpy()]
        return tokens


def _token_column(position: int) -> str:
    return f"token_{position}"


def _arrow_type(signal: CategorySignal) -> pa.DataType:
    kinds = signal.kinds
    if ColumnKind.BOOLEAN in kinds:
        return pa.bool_()
    return pa.int64() if ColumnKind.INTEGER in kinds else pa.string()


def _compile(signals: Sequence[CategorySignal | None], types: Mapping[str, pa.DataType]) -> str:
    columns = {name: _IBIS_TYPES[arrow_type] for name, arrow_type in types.items()}
    table = ibis.table({**columns, _ORDINAL: "int32"}, name=_ROWS)
    tokens = {
        _token_column(position): _token(table, signal, signals).cast("int16")
        for position, signal in enumerate(signals)
        if signal is not None
    }
    return str(ibis.to_sql(table.select(table[_ORDINAL], **tokens), dialect="duckdb"))


_IBIS_TYPES = {pa.bool_(): "boolean", pa.int64(): "int64", pa.string(): "string"}


def _token(table: ir.Table, signal: CategorySignal, signals: Sequence[CategorySignal | None]) -> Any:
    if isinstance(signal, ConsentObjectKey):
        same_column = [s for s in signals if isinstance(s, ConsentObjectKey) and s.column == signal.column]
        return _json_token(table[signal.column], signal, same_column)
    column = table[signal.column]
    listed = [(column == value, token) for token, value in enumerate(signal.alphabet, start=1)]
    return ibis.cases((column.isnull(), 0), *listed, else_=signal.unlisted_token)


def _json_token(column: Any, signal: ConsentObjectKey, same_column: Sequence[ConsentObjectKey]) -> Any:
    surely_json = (column.length() < _SURELY_SHALLOW_BYTES) & _json_valid(column) & ~column.re_search(_NOT_SURELY_JSON)
    # One call for all categories of the column: the engine computes it once a row.
    paths = [_pointer(s.path) for s in same_column]
    value = _json_extract(column, ibis.array(paths))[same_column.index(signal)]
    branches: list[tuple[Any, Any]] = [(column.isnull(), 0), (~surely_json, ASK)]
    for depth in range(len(signal.path)):
        prefix = _pointer(signal.path[:depth])
        kind, keys = _json_type(column, prefix), _json_keys(column, prefix)
        branches += [
            (kind.isnull() | (kind == "NULL"), 0),
            (kind != "OBJECT", signal.unlisted_token),
            (_list_unique(keys) != keys.length(), signal.unlisted_token),
        ]
    branches += [(value.isnull() | (value == "null"), 0), (value == "true", 1), (value == "false", 2)]
    return ibis.cases(*branches, else_=signal.unlisted_token)


def _pointer(path: Sequence[str]) -> str:
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)
