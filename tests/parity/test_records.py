"""Tests of vendors' records: they mean in every workspace what their tables say, as text and as JSON.

In a column of JSON, a warehouse groups only the part of the document that is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest
from parity.comparing import assert_same
from parity.engines import Engine
from parity.law import Setup, decided
from parity.model import Model
from parity.workspaces import Both
from support.records import FILES, has_repeated_keys, tables

from airflow_consent_retl.consent import CategorySignal, ColumnKind, OptOut
from airflow_consent_retl.consent.format_document import format_document, parse_signal
from airflow_consent_retl.consent.strict_json import MalformedJsonError, read_json

Values = list[tuple[str | None, str]]
# A row has at most 2**61 combinations of values.
_COLUMNS = 16
# Numbers that some databases store as another number.
_ROUNDED = re.compile(r"\d{16}|e\d{3}")


# The others run in `make test-long`.
_SHORT = {"adobe.json", "cookiebot.json"}


@pytest.mark.parametrize(
    "file", [file if file in _SHORT else pytest.param(file, marks=pytest.mark.long) for file in FILES]
)
def test_every_record_means_the_same_in_files_and_in_a_warehouse(warehouse: Engine, root: Path, file: str) -> None:
    columns = list(columns_of(file).items())
    for start in range(0, len(columns), _COLUMNS):
        compare(warehouse, root / str(start), file, dict(columns[start : start + _COLUMNS]))


def compare(
    warehouse: Engine, root: Path, name: str, columns: Mapping[str, tuple[CategorySignal, str, Values]]
) -> None:
    """Compare a run over some columns in files with one in the warehouse, and both with the law."""
    model = Model.of_columns(columns)
    setup = Setup(
        name=name,
        policy={
            "categories": [
                {
                    "id": column.upper(),
                    "name": column,
                    "destinations": [f"{column}_{column}", *(["everything"] if grants(values) else [])],
                    # An objection permits only where silence does.
                    **({"regime": "opt_out"} if isinstance(signal, OptOut) else {}),
                }
                for column, (signal, _, values) in columns.items()
            ]
        },
        consent={column.upper(): signal for column, (signal, _, _) in columns.items()},
        columns={column.upper(): column for column in columns},
        destinations=(*(f"{column}_{column}" for column in columns), "everything"),
    )
    warehouse.create("records", model.kinds, model.rows)
    both = Both.of(warehouse, root)
    both.extract(model, table="records")

    lake, inside = both.filter(setup)

    found = both.inside.decided(inside, setup, asked=())
    assert_same(found, both.lake.decided(lake, setup, asked=()))
    assert_same(found, decided(setup, model.people, asked=()))


def columns_of(file: str) -> dict[str, tuple[CategorySignal, str, Values]]:
    """Return by column: the signal, the kind, and raw values with their status. The first value grants, if any does."""
    by_signal: dict[CategorySignal, Values] = defaultdict(list)
    for table in tables(file):
        for signal, raw, status in table.rows:
            by_signal[signal].append((raw, status))
    found = {}
    for signal, values in by_signal.items():
        kinds = ["text"] if ColumnKind.JSON not in signal.kinds else ["text", "json"]
        for kind in kinds:
            written = json.dumps(format_document(signal))
            # Destinations are named after columns, so these must not resemble each other.
            name = "c" + hashlib.sha256(f"{written} {kind}".encode()).hexdigest()[:8]
            kept = [value for value in values if kind == "text" or is_kept_as_json(value[0])]
            if not kept:
                continue
            renamed = parse_signal(json.loads(written.replace('"column": "x"', f'"column": "{name}"')))
            found[name] = renamed, kind, sorted(kept, key=lambda value: value[1] != "granted")
    return found


def is_kept_as_json(raw: str | None) -> bool:
    """Return whether every database keeps a text's value in a column of JSON."""
    if raw is None:
        return True
    try:
        read_json(raw)
    except MalformedJsonError:
        return False
    return not has_repeated_keys(raw) and not _ROUNDED.search(raw)


def grants(values: Values) -> bool:
    """Return whether a value grants."""
    return values[0][1] == "granted"
