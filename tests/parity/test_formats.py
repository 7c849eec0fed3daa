"""Tests of parsed consent formats: they mean in every workspace what the law says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from parity.comparing import assert_same
from parity.engines import Engine
from parity.law import Setup, decided
from parity.model import Model
from parity.workspaces import Both
from support.iab_strings import (
    CORE_ALONE,
    VENDOR,
    canadian_core,
    characters,
    core,
    disclosed,
    gpp,
    section_header,
    tcf,
)

from airflow_consent_retl import consent
from airflow_consent_retl.consent import CategorySignal, GppTcf, GppTcfCanada, GppUs, TcfString, WholeConsent

TABLES = json.loads((Path(__file__).parents[1] / "cases" / "consent_formats.json").read_text())
GROUP = "C0004"
# One column for each table. Destinations are named after them, so they must not resemble each other.
COLUMNS = ("cookie", "unheeded", "script", "listed", "google", "mask")
_GRANTING = tcf(core(consented=(1, 3)), disclosed())
_DENYING = tcf(core(consented=(1,)), disclosed())


def formats() -> dict[str, tuple[CategorySignal, str, list[tuple[Any, str]]]]:
    """Return by column: the signal, the kind, and raw values with their meaning. The first value grants."""
    found: dict[str, tuple[CategorySignal, str, list[tuple[Any, str]]]] = {}
    for column, table in zip(COLUMNS, TABLES, strict=True):
        declared = getattr(consent, table["format"])(**{**table["parameters"], "column": column})
        is_whole = isinstance(declared, WholeConsent)
        kind = "integer" if table["format"] == "BitMask" else "text"
        values = [
            (raw, status[GROUP] if is_whole else status)
            for raw, status in table["values"]
            if (not is_whole or GROUP in status) and (raw is None or type(raw) is (int if kind == "integer" else str))
        ]
        signal = declared.for_category(GROUP, GROUP) if is_whole else declared
        found[column] = signal, kind, sorted(values, key=lambda value: value[1] != "granted")
    strings = [
        (_GRANTING, "granted"),
        (_DENYING, "denied"),
        (_GRANTING[:-1], "invalid"),
        ("", "invalid"),
        (None, "unknown"),
    ]
    found["european"] = TcfString("european", purposes=(1, 3), vendor=VENDOR), "text", strings
    wrapped = [(gpp({2: _GRANTING}), "granted"), (gpp({2: _DENYING}), "denied"), (gpp({6: "1YNN"}), "unknown")]
    found["global"] = GppTcf("global", purposes=(1, 3), vendor=VENDOR), "text", [*wrapped, (_GRANTING, "invalid")]
    american = [
        (gpp({6: "1YNN"}), "granted"),
        (gpp({6: "1YYN"}), "denied"),
        (gpp({6: "1YY"}), "invalid"),
        (None, "unknown"),
    ]
    found["american"] = GppUs("american", section="uspv1", opt_outs=("SaleOptOut",)), "text", american
    maryland = characters(section_header(24, listed=CORE_ALONE))
    found["maryland"] = (
        GppUs("maryland", section="usmd", opt_outs=("SaleOptOut",)),
        "text",
        [
            (gpp({24: f"{maryland}.BVWo"}), "granted"),
            (gpp({24: f"{maryland}.BVVU"}), "denied"),
            (gpp({24: "BVWo"}), "invalid"),
            (gpp({6: "1YNN"}), "unknown"),
        ],
    )
    found["canadian"] = (
        GppTcfCanada("canadian", purposes=(2,), vendor=VENDOR),
        "text",
        [
            (gpp({5: tcf(canadian_core(express=(2,)))}), "granted"),
            (gpp({5: tcf(canadian_core(express=(3,)))}), "denied"),
            (gpp({5: _GRANTING}), "invalid"),
            (gpp({2: _GRANTING}), "unknown"),
        ],
    )
    return found


def test_every_format_means_the_same_in_files_and_in_a_warehouse(warehouse: Engine, root: Path) -> None:
    known = formats()
    model = Model.of_columns(known)
    setup = Setup(
        name="formats that are read",
        policy={
            "categories": [
                {"id": column.upper(), "name": column, "destinations": [f"{column}_{column}", "everything"]}
                for column in known
            ]
        },
        consent={column.upper(): signal for column, (signal, _, _) in known.items()},
        columns={column.upper(): column for column in known},
        destinations=(*(f"{column}_{column}" for column in known), "everything"),
    )
    warehouse.create("formats", model.kinds, model.rows)
    both = Both.of(warehouse, root)
    both.extract(model, table="formats")

    lake, inside = both.filter(setup)

    found = both.inside.decided(inside, setup, asked=())
    assert_same(found, both.lake.decided(lake, setup, asked=()))
    assert_same(found, decided(setup, model.people, asked=()))
