"""The cases of readers that put several columns together (`cases/records/rows`), with the status of each row.

A time is written as days before or after the decision.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from airflow_consent_retl import consent
from airflow_consent_retl.consent import ConsentMappingLike, ConsentPlan, WholeConsent, parse_policy, plan_consent

_FOLDER = Path(__file__).parents[1] / "cases" / "records" / "rows"
VENDORS = tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@dataclass(frozen=True)
class RecordTable:
    """The cases of one reader.

    Args:
        name: of the vendor, with the table's number.
        reader: the reader's name.
        make: calls the reader.
        category: the id of the category that the rows are about.
        kinds: the kind of each column.
        rows: the values of each row, by column, with its status.
    """

    name: str
    reader: str
    make: Callable[[], Any]
    category: str
    kinds: Mapping[str, str]
    rows: tuple[tuple[dict[str, Any], str], ...]

    @property
    def declared(self) -> Any:
        """The format or the mapping that the reader returns."""
        return self.make()

    @property
    def mapping(self) -> ConsentMappingLike:
        """The consent mapping of a DAG."""
        declared = self.declared
        return declared if isinstance(declared, WholeConsent | dict) else {self.category: declared}

    def plan(self, *, at: datetime) -> ConsentPlan:
        """Return the plan of a category that only this table is about."""
        categories = [{"id": self.category, "name": "Advertising", "destinations": ["webhook"]}]
        return plan_consent(
            parse_policy({"categories": categories}),
            destinations=["webhook"],
            mapping=self.mapping,
            columns=None,
            at=at,
        )


def record_tables(vendor: str, *, at: datetime) -> Iterator[RecordTable]:
    """Yield the tables of a vendor, with times around `at`."""
    for number, table in enumerate(json.loads((_FOLDER / f"{vendor}.json").read_text())["tables"]):
        columns = tuple(table["columns"])
        yield RecordTable(
            name=f"{vendor}_{number}",
            reader=table["reader"],
            # The tests call it, not their import: a mutant is looked for where it is called.
            make=partial(getattr(consent, table["reader"]), *table.get("arguments", ()), **table.get("parameters", {})),
            category=table["category"],
            kinds=table["columns"],
            rows=tuple(
                ({name: _value(value, at) for name, value in zip(columns, values, strict=True)}, status)
                for values, status in table["rows"]
            ),
        )


def status_of(plan: ConsentPlan, row: Mapping[str, Any]) -> str:
    """Return the status of a row."""
    tokens = tuple(0 if signal is None else signal.token(row[signal.column]) for signal in plan.signals)
    return str(plan.statuses(tokens)[0])


def _value(written: Any, at: datetime) -> Any:
    return at + timedelta(days=written["days"]) if isinstance(written, dict) else written
