"""Tests of objections, and of keys in other spellings under `opt_out`: they mean the same in every workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from parity.comparing import assert_same
from parity.engines import Engine
from parity.law import Setup, decided
from parity.model import Model
from parity.workspaces import Both

from airflow_consent_retl.consent import CategorySignal, ConsentObjectKey, GrantedId, Literals, OptOut

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
