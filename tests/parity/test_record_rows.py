"""Tests of vendors' records in columns, and of times as numbers: they mean the same in every workspace."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import pytest
from parity.comparing import assert_same
from parity.engines import Engine
from parity.law import Setup
from parity.model import Model, Person
from parity.workspaces import Both
from support.record_rows import VENDORS, RecordTable, record_tables, status_of

from airflow_consent_retl.consent import EpochTime, Recorded, WholeConsent

NOW = datetime.now(UTC).replace(microsecond=0)
# A filter can tell so many combinations apart.
MOST_SIGNATURES = 2**55


def times_as_numbers() -> Iterator[RecordTable]:
    """Yield a table for each unit, and one of numbers in text."""
    tomorrow, yesterday = ((NOW + timedelta(days=days)).timestamp() for days in (1, -1))
    for unit, factor in (("s", 1), ("ms", 1_000), ("us", 1_000_000)):
        later, earlier = int(tomorrow) * factor, int(yesterday) * factor
        wrong = (0, -1, 2**62, int(tomorrow) * (1_000 if unit == "s" else 1))
        rows = [(later, "granted"), (earlier, "expired"), (None, "granted"), *((number, "invalid") for number in wrong)]
        for kind, values in (
            ("integer", rows),
            ("text", [(None if number is None else str(number), status) for number, status in rows]),
        ):
            flag, column = f"agreed_{kind}_{unit}", f"until_{kind}_{unit}"
            yield RecordTable(
                name=column,
                reader="Recorded",
                make=partial(Recorded, flag, valid_until=EpochTime(column, unit)),  # type: ignore[arg-type]  # one of the units
                category="C0004",
                kinds={flag: "boolean", column: kind},
                rows=(
                    *(({flag: True, column: number}, status) for number, status in values),
                    ({flag: False, column: values[0][0]}, "denied"),
                ),
            )


def groups() -> list[list[RecordTable]]:
    """Return the tables in groups, each with few enough combinations for one filter."""
    found: list[list[RecordTable]] = [[]]
    for table in [*(one for vendor in VENDORS for one in record_tables(vendor, at=NOW)), *times_as_numbers()]:
        if _signatures([*found[-1], table]) > MOST_SIGNATURES:
            found.append([])
        found[-1].append(table)
    return found


def _signatures(tables: Sequence[RecordTable]) -> int:
    signals = {signal for table in tables for signal in table.plan(at=NOW).signals if signal is not None}
    return prod(signal.unlisted_token + 1 for signal in signals)


def _destination(table: RecordTable) -> str:
    # Names that do not resemble each other.
    return f"x{hashlib.sha256(table.name.encode()).hexdigest()[:12]}"


def _entry(table: RecordTable) -> Any:
    if isinstance(table.declared, WholeConsent):
        return table.declared.for_category(table.category, table.category)
    return table.declared[table.category] if isinstance(table.declared, dict) else table.declared


GROUPS = groups()


@pytest.mark.parametrize("number", range(len(GROUPS)))
def test_records_in_columns_mean_the_same_everywhere(warehouse: Engine, root: Path, number: int) -> None:
    tables = GROUPS[number]
    kinds: dict[str, str] = {"id": "text"}
    for table in tables:
        assert all(kinds.setdefault(column, kind) == kind for column, kind in table.kinds.items())
    people, expected = [], {}
    plans = {_destination(table): table.plan(at=NOW) for table in tables}
    for table in tables:
        for place, (values, _) in enumerate(table.rows):
            row: dict[str, Any] = {**dict.fromkeys(kinds), **values, "id": f"{table.name}-{place}"}
            people.append(Person(row["id"], row, {}, {}))
            recipients = [name for name, plan in plans.items() if status_of(plan, row) == "granted"]
            if recipients:
                expected[row["id"]] = tuple(sorted(recipients))
    setup = Setup(
        name="records in columns",
        policy={
            "categories": [
                {"id": table.name, "name": table.name[-20:], "destinations": [_destination(table)]} for table in tables
            ]
        },
        consent={table.name: _entry(table) for table in tables},
        columns={},
        destinations=tuple(_destination(table) for table in tables),
    )
    model = Model(kinds, tuple(people))
    warehouse.create(f"record_rows_{number}", model.kinds, model.rows)
    both = Both.of(warehouse, root)
    both.extract(model, table=f"record_rows_{number}")

    lake, inside = both.filter(setup)

    found = both.inside.decided(inside, setup, asked=())
    assert found.recipients == expected
    assert_same(found, both.lake.decided(lake, setup, asked=()))
