"""Consent formats of one's own mean the same in files and in a warehouse, whatever they tell the engines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from parity.comparing import assert_same
from parity.engines import Engine
from parity.law import Setup
from parity.model import Model, Person
from parity.workspaces import Both

from airflow_consent_retl.consent import CategorySignal, ColumnKind, ConsentStatus, DocumentSignal, Signal
from airflow_consent_retl.consent.strict_json import MalformedJsonError, read_json

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = {"id": "text", "flag": "text", "native": "json", "document": "text", "seen": "instant", "number": "integer"}


@dataclass(frozen=True, slots=True)
class Folded(CategorySignal):
    """`yes` and `no` in upper or lower case: an engine must not compare it."""

    column: str

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        return frozenset({ColumnKind.TEXT})

    @property
    def granting(self) -> tuple[str, ...]:
        return ("yes",)

    @property
    def denying(self) -> tuple[str, ...]:
        return ("no",)

    def token(self, raw: object) -> int:
        folded = raw.lower() if isinstance(raw, str) else raw
        return 0 if raw is None else {"yes": 1, "no": 2}.get(str(folded), 3)


@dataclass(frozen=True, slots=True)
class Objection(DocumentSignal):
    """A no in a JSON document: engines may cut out the path, and begin no document further down."""

    column: str

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        return frozenset({ColumnKind.TEXT, ColumnKind.JSON})

    @property
    def document_path(self) -> tuple[str, ...]:
        return ("consent", "objects")

    def read(self, text: str) -> ConsentStatus:
        try:
            found = read_json(text)
        except MalformedJsonError:
            return ConsentStatus.INVALID
        for key in self.document_path:
            if found is None:
                return ConsentStatus.UNKNOWN
            if not isinstance(found, dict):
                return ConsentStatus.INVALID
            found = found.get(key)
        if found is None:
            return ConsentStatus.UNKNOWN
        if not isinstance(found, bool):
            return ConsentStatus.INVALID
        return ConsentStatus.DENIED if found else ConsentStatus.GRANTED


@dataclass(frozen=True, slots=True)
class Cut(Objection):
    """The same, where a document may begin further down."""

    keys: tuple[str, ...] = ("consent", "objects")

    @property
    def document_path(self) -> tuple[str, ...]:
        return self.keys

    def below(self, keys: int) -> Signal:
        return Cut(self.column, self.keys[keys:])


@dataclass(frozen=True, slots=True)
class Since(CategorySignal):
    """A timestamp: given since a new year, or before it; with bounds, engines compare it as numbers."""

    column: str
    year: int
    has_bounds: bool

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        return frozenset({ColumnKind.MOMENT})

    @property
    def granting(self) -> tuple[int, ...]:
        return (2,)

    @property
    def denying(self) -> tuple[int, ...]:
        return (1,)

    @property
    def time_bounds(self) -> tuple[datetime, ...]:
        return (datetime(self.year, 1, 1, tzinfo=UTC),) if self.has_bounds else ()

    def token(self, raw: object) -> int:
        if raw is None:
            return 0
        return 3 if not isinstance(raw, datetime) else 2 if raw >= datetime(self.year, 1, 1, tzinfo=UTC) else 1

    def status(self, token: int) -> ConsentStatus:
        return (ConsentStatus.UNKNOWN, ConsentStatus.DENIED, ConsentStatus.GRANTED, ConsentStatus.INVALID)[token]


@dataclass(frozen=True, slots=True)
class Even(CategorySignal):
    """An even number, which an engine may compare as far as it is declared."""

    column: str
    is_read = False

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        return frozenset({ColumnKind.INTEGER})

    @property
    def granting(self) -> tuple[int, ...]:
        return (0, 2, 4)

    @property
    def denying(self) -> tuple[int, ...]:
        return (1, 3)

    def token(self, raw: object) -> int:
        return 0 if raw is None else self.alphabet.index(raw) + 1 if raw in self.alphabet else 6


FORMATS: dict[str, CategorySignal] = {
    "C0001": Folded("flag"),
    "C0002": Objection("native"),
    "C0003": Cut("native"),
    "C0004": Objection("document"),
    "C0005": Cut("document"),
    "C0006": Since("seen", 2026, has_bounds=True),
    "C0007": Since("seen", 2026, has_bounds=False),
    "C0008": Even("number"),
}
NAMES = ("mailing", "storefront", "questionnaire", "affiliate", "telephone", "catalogue", "broadcast", "workshop")
DOCUMENTS = [
    '{"consent": {"objects": false}, "other": {"objects": true}}',
    '{"consent": {"objects": true}, "other": {"objects": false}}',
    '{"consent": {"objects": 0}}',
    '{"consent": {"objects": "false"}}',
    '{"consent": {"objects": null}}',
    '{"consent": {}}',
    '{"consent": null}',
    '{"consent": [false]}',
    '{"objects": false}',
    "[]",
]
ROWS: list[dict[str, Any]] = [
    *({"flag": flag} for flag in ("yes", "YES", "Yes", "no", "NO", "maybe", "", None)),
    *({"native": document} for document in DOCUMENTS),
    *({"document": document} for document in (*DOCUMENTS, '{"consent": {"objects": false},}', "no JSON", "")),
    *({"seen": NEW_YEAR + timedelta(seconds=seconds)} for seconds in (-1, 0, 1)),
    *({"number": number} for number in (0, 1, 4, 5, -1)),
    {},
]


def test_own_formats_mean_the_same_in_files_and_in_a_warehouse(warehouse: Engine, root: Path) -> None:
    rows = [{**dict.fromkeys(KINDS), **row, "id": f"person-{number:02d}"} for number, row in enumerate(ROWS)]
    model = Model(KINDS, tuple(Person(row["id"], row, {}, {}) for row in rows))
    destinations = dict(zip(FORMATS, NAMES, strict=True))
    setup = Setup(
        name="formats of one's own",
        policy={
            "categories": [
                {"id": category, "name": category, "destinations": [name]} for category, name in destinations.items()
            ]
        },
        consent=FORMATS,
        columns={},
        destinations=tuple(destinations.values()),
    )
    warehouse.create("own_formats", model.kinds, model.rows)
    both = Both.of(warehouse, root)
    both.extract(model, table="own_formats")

    lake, inside = both.filter(setup)

    found = both.inside.decided(inside, setup, asked=())
    assert_same(found, both.lake.decided(lake, setup, asked=()))
    expected = {
        row["id"]: tuple(
            sorted(
                destinations[category]
                for category, signal in FORMATS.items()
                if signal.status(signal.token(row[signal.column])) is ConsentStatus.GRANTED
            )
        )
        for row in rows
    }
    assert found.recipients == {who: names for who, names in expected.items() if names}
