"""The page about fields says what really arrives."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.guarding import receiving, webhook

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator

PAGE = (Path(__file__).parents[2] / "docs" / "fields.md").read_text()
POLICY: dict[str, Any] = {
    "categories": [
        {"id": "C0002", "name": "Analytics", "destinations": ["crm"]},
        {"id": "C0004", "name": "Advertising", "destinations": ["crm"]},
    ],
    "destinations": {"crm": {"match": "any"}},
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_fields_of_the_page_send_the_rows_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)  # noqa: S102 - this repository's own page
    rows = [json.loads(line) for line in blocks("json")[0].splitlines()]
    with closing(sqlite3.connect(tmp_path / "source.db")) as connection:
        connection.execute("CREATE TABLE c (customer_id INTEGER, email, billing_email, city, ads, stats)")
        ann = (1, "ann@example.com", "pay@example.com", " Rome ", "yes", "yes")
        connection.executemany("INSERT INTO c VALUES (?, ?, ?, ?, ?, ?)", [ann, (2, None, None, None, "no", "yes")])
        connection.commit()
    source = {"conn_type": "sqlite", "host": str(tmp_path / "source.db")}
    monkeypatch.setenv("AIRFLOW_CONN_SOURCE", json.dumps(source))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", f"file://{tmp_path}/workspace")
    snapshot = ExtractModelOperator(
        task_id="extract", model="c", conn_id="source", sql="SELECT * FROM c", primary_key="customer_id"
    ).execute({})
    permitted = ConsentFilterOperator(
        task_id="consent",
        snapshot=snapshot,
        policy=POLICY,
        consent={
            name: Literals(column, granted=("yes",), denied=("no",))
            for name, column in (("C0002", "stats"), ("C0004", "ads"))
        },
        destinations=["crm"],
        answers={"crm": ["C0004"]},
    ).execute({})

    with receiving(monkeypatch) as vendor:
        webhook(fields=names["fields"])(task_id="load", permitted=permitted, destination="crm", policy=POLICY).execute(
            {}
        )

    assert [vendor.people[one] for one in sorted(vendor.people)] == rows
