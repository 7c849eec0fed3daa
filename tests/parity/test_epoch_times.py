"""Tests of times of a consent source that are numbers: every workspace takes the latest answer and brings its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from parity.comparing import assert_same
from parity.engines import Engine
from parity.law import Setup
from parity.model import Model, Person
from parity.workspaces import Both

from airflow_consent_retl.consent import ConsentSource, EpochTime, Recorded, counted_answers

NOW = datetime.now(UTC).replace(microsecond=0)
EVENTS = {"person": "text", "ads": "boolean", "at_s": "integer", "at_ms": "integer", "at_us": "integer"}
UNITS: dict[str, Any] = {"s": 1, "ms": 1_000, "us": 1_000_000}
# By person: each answer with its age in days; None: without a time, `0`: a number that is no time.
SAID: dict[str, list[tuple[bool, int | str | None]]] = {
    "yes": [(True, 1)],
    "no then yes": [(False, 3), (True, 2)],
    "yes then no": [(True, 3), (False, 2)],
    "old yes": [(True, 40)],
    "both at once": [(True, 2), (False, 2)],
    "tomorrow": [(True, -1)],
    "an untimed no": [(True, 2), (False, None)],
    "a no of another unit": [(True, 2), (False, "zero")],
    "an untimed yes": [(True, None)],
    "nothing": [],
}
EXPECTED = {"yes", "no then yes"}


def rows() -> list[dict[str, Any]]:
    found = []
    for person, answers in SAID.items():
        for ads, age in answers:
            seconds = None if age is None else 0
            if isinstance(age, int):
                seconds = int((NOW - timedelta(days=age)).timestamp())
            times = {f"at_{unit}": None if seconds is None else seconds * factor for unit, factor in UNITS.items()}
            found.append({"person": person, "ads": ads, **times})
    return found


def source(query: str, unit: Any) -> ConsentSource:
    return ConsentSource(
        query,
        subject="person",
        key="id",
        columns={"ads": f"ads_{unit}"},
        time=EpochTime(f"at_{unit}", unit),
        bring_time=True,
    )


def test_a_source_whose_times_are_numbers_means_the_same_everywhere(warehouse: Engine, root: Path) -> None:
    people = tuple(Person(id_, {"id": id_}, {}, {}) for id_ in SAID)
    model = Model({"id": "text"}, people)
    warehouse.create("numbered", model.kinds, model.rows)
    warehouse.create("numbered_events", EVENTS, rows())
    query = warehouse.query("numbered_events", EVENTS)
    declared = [source(query, unit) for unit in UNITS]
    # Names that do not resemble each other.
    names = {"s": "mailing", "ms": "storefront", "us": "warehouse_copy"}
    setup = Setup(
        name="times as numbers",
        policy={
            "categories": [
                {"id": f"C-{unit}", "name": f"In {unit}", "destinations": [names[unit]], "max_age": "30 days"}
                for unit in UNITS
            ]
        },
        consent={f"C-{unit}": Recorded(f"ads_{unit}", time=f"ads_{unit}_at") for unit in UNITS},
        columns={},
        destinations=tuple(names.values()),
    )
    both = Both.of(warehouse, root)
    both.extract(model, table="numbered", consent_sources=declared)

    lake, inside = both.filter(setup)

    found = both.inside.decided(inside, setup, asked=())
    assert found.recipients == {who: tuple(sorted(names.values())) for who in EXPECTED}
    assert_same(found, both.lake.decided(lake, setup, asked=()))
    for one in declared:
        counted = counted_answers(one, rows(), at=NOW)
        fresh = {
            who
            for (who,), answer in counted.items()
            if answer.values == (True,) and answer.time is not None and answer.time > NOW - timedelta(days=30)
        }
        assert fresh == EXPECTED
