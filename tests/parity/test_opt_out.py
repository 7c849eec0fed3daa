"""Tests of objections, and of keys in other spellings under `opt_out`: they mean the same in every workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseHook
from parity.comparing import assert_same
from parity.engines import Engine
from parity.law import Setup, decided
from parity.model import Model
from parity.workspaces import Both

from airflow_consent_retl.consent import CategorySignal, ConsentObjectKey, GrantedId, Literals, OptOut
from airflow_consent_retl.consent.formats.key_lookup import StrictLookup
from airflow_consent_retl.databases.dialect import dialect_of, placeholder

OBJECTS = '{"ccpa": {"data_sale_opt_out": {"consented": true}}}'
NO = '{"preferences": {"C0004": false}}'
RECORD = ConsentObjectKey("-", ("ccpa", "data_sale_opt_out", "consented"))
PREFERENCES = ("preferences", "C0004")
DOCUMENTS = [
    (NO.replace("false", "true"), "granted"),
    (NO, "denied"),
    (NO.replace("C0004", "c0004"), "invalid"),
    (NO.replace("C0004", "C0004 "), "invalid"),
    (NO.replace("C0004", "\u04210004"), "invalid"),
    (NO.replace("preferences", "Preferences"), "invalid"),
    (NO.replace("C0004", "C0003"), "unknown"),
    ("{}", "unknown"),
    (None, "unknown"),
]
OBJECTIONS = [
    (OBJECTS.replace("true", "false"), "unknown"),
    (OBJECTS, "denied"),
    (OBJECTS.replace("ccpa", "CCPA"), "invalid"),
    (OBJECTS.replace("consented", "Consented"), "invalid"),
    ('{"gdpr": {}}', "unknown"),
    (None, "unknown"),
]
# By column: the signal, the kind, and raw values with their meaning. The first value permits.
KNOWN: dict[str, tuple[CategorySignal, str, list[tuple[Any, str]]]] = {
    "flag": (OptOut("flag"), "boolean", [(False, "unknown"), (True, "denied"), (None, "unknown")]),
    "declared": (OptOut("declared", false_is_yes=True), "boolean", [(False, "granted"), (True, "denied")]),
    "said": (
        OptOut(Literals("said", granted=("unsubscribed",), denied=("active",))),
        "text",
        [("active", "unknown"), ("unsubscribed", "denied"), ("Unsubscribed", "invalid"), (None, "unknown")],
    ),
    "lists": (
        Literals("lists", granted=("Yes",), denied=("No",), unknown=("Unset", ""), expired=("Lapsed",)),
        "text",
        [
            ("Yes", "granted"),
            ("No", "denied"),
            ("Unset", "unknown"),
            ("", "unknown"),
            ("Lapsed", "expired"),
            ("lapsed", "invalid"),
            (None, "unknown"),
        ],
    ),
    "codes": (
        Literals("codes", granted=(1,), denied=(2,), unknown=(0,), expired=(-1,)),
        "integer",
        [(1, "granted"), (2, "denied"), (0, "unknown"), (-1, "expired"), (3, "invalid"), (None, "unknown")],
    ),
    "asked": (
        Literals("asked", granted=(True,), unknown=(False,)),
        "boolean",
        [(True, "granted"), (False, "unknown"), (None, "unknown")],
    ),
    "number": (OptOut(Literals("number", granted=(1,), denied=(0,))), "integer", [(0, "unknown"), (1, "denied")]),
    "written": (OptOut(ConsentObjectKey("written", RECORD.path)), "text", OBJECTIONS),
    "native": (OptOut(ConsentObjectKey("native", RECORD.path)), "json", OBJECTIONS),
    "names": (
        OptOut(GrantedId("names", "C0004", ",")),
        "text",
        [("C0002", "unknown"), ("C0002,C0004", "denied"), ("C0002,c0004", "invalid"), (None, "unknown")],
    ),
    "document": (ConsentObjectKey("document", PREFERENCES), "text", DOCUMENTS),
    "stored": (ConsentObjectKey("stored", PREFERENCES), "json", DOCUMENTS),
}


def test_objections_and_other_spellings_mean_the_same_in_files_and_in_a_warehouse(
    warehouse: Engine, root: Path
) -> None:
    model = Model.of_columns(KNOWN)
    setup = Setup(
        name="opt-out",
        policy={
            "categories": [
                {"id": column.upper(), "name": column, "destinations": [f"{column}_{column}"], "regime": "opt_out"}
                for column in KNOWN
            ]
        },
        consent={column.upper(): signal for column, (signal, _, _) in KNOWN.items()},
        columns={column.upper(): column for column in KNOWN},
        destinations=tuple(f"{column}_{column}" for column in KNOWN),
    )
    warehouse.create("opt_out", model.kinds, model.rows)
    both = Both.of(warehouse, root)
    both.extract(model, table="opt_out")

    lake, inside = both.filter(setup)

    found = both.inside.decided(inside, setup, asked=())
    assert_same(found, both.lake.decided(lake, setup, asked=()))
    assert_same(found, decided(setup, model.people, asked=()))


@pytest.mark.parametrize("name", ["postgres", "snowflake"])
@pytest.mark.parametrize(
    ("signal", "parts"),
    [
        (
            StrictLookup(ConsentObjectKey("doc", PREFERENCES)),
            {
                '{"preferences":{"C0004":true}}',
                '{"preferences":{"a \\"b\\\\c\\"é":0,"c0004":0}}',
                '{"preferences":{}}',
                '{"at":0,"Preferences":0}',
            },
        ),
        (
            ConsentObjectKey("doc", PREFERENCES),
            {'{"preferences":{"C0004":true}}', '{"preferences":{}}', "{}"},
        ),
    ],
)
def test_a_document_is_grouped_by_what_is_read_of_it_and_a_strict_lookup_reads_names_beside_it(
    request: pytest.FixtureRequest, name: str, signal: CategorySignal, parts: set[str]
) -> None:
    engine: Engine = request.getfixturevalue(f"parity_{name}")
    preferences = [{"C0004": True, "other": 1}, {"c0004": False, 'a "b\\c"é': 7}, {}]
    documents = [json.dumps({"preferences": one, "at": f"{day}"}) for one in preferences for day in range(3)] + [
        '{"Preferences": {"C0004": false}, "at": 1}'
    ]
    engine.create("documents", {"id": "integer", "doc": "json"}, [{"id": i, "doc": d} for i, d in enumerate(documents)])
    dialect, part = dialect_of(name), signal.document_part
    assert part is not None
    table = placeholder("documents", {"doc": "string"})

    with engine.environment():
        sql = dialect.compile(table.select(part=dialect.json_skeleton(table["doc"], part)), {"documents": "documents"})
        connection: Any = BaseHook.get_connection(engine.conn_id)
        found = {row[0] for row in connection.get_hook().get_records(sql)}

    assert {json.dumps(json.loads(one), sort_keys=True) for one in found} == {
        json.dumps(json.loads(one), sort_keys=True) for one in parts
    }
