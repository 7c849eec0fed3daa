"""Tests of the filter where no row says anything: it fails under `opt_out`, and names regions that no row has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.log_lines import task_fails, unwrapped
from support.permitting import snapshot_of

from airflow_consent_retl.consent import ConsentObject, OptOut, RowConsent
from airflow_consent_retl.operators import ConsentFilterOperator
from airflow_consent_retl.storage.folder import Folder

POLICY: dict[str, Any] = {
    "categories": [
        {"id": "C0004", "name": "Advertising", "destinations": ["webhook"], "regime": "opt_out"},
        {"id": "C0002", "name": "Analytics", "destinations": ["lake"]},
    ]
}
PEOPLE = pa.table(
    {
        "id": pa.array(range(1000), pa.int64()),
        "nothing": pa.nulls(1000, pa.bool_()),
        "flag": pa.array([False] * 1000),
        "consent": pa.array(['{"preferences": {"C0004": false}}'] * 1000),
        "country": pa.array(["DE"] * 1000),
    }
)


def filtering(tmp_path: Path, rows: pa.Table = PEOPLE, **parameters: Any) -> ConsentFilterOperator:
    _, ref = snapshot_of(Folder.local(tmp_path / "snapshot"), rows, checked=True)
    return ConsentFilterOperator(
        **{
            "task_id": "consent",
            "snapshot": ref.to_xcom(),
            "policy": POLICY,
            "consent": {"C0004": "nothing", "C0002": "flag"},
            "destinations": ["webhook"],
            "workspace": f"file://{tmp_path}/workspace",
            **parameters,
        }
    )


def failure(operator: ConsentFilterOperator) -> str:
    with task_fails() as failed:
        operator.execute({})
    return str(failed.value)


@pytest.mark.parametrize(
    "consent",
    [
        {"C0004": "nothing"},
        {"C0004": OptOut("nothing")},
        ConsentObject("consent", path="elsewhere"),
        ConsentObject("consent", path=("context", "preferences")),
    ],
)
def test_an_opt_out_category_to_which_no_row_has_an_answer_stops_the_run(tmp_path: Path, consent: Any) -> None:
    operator = filtering(tmp_path, consent=consent)

    assert failure(operator) == (
        "nothing was published: no row has any answer to `C0004`, which is opt_out, so that every person would be "
        "permitted: check the column, the path and the key in `consent`. If no one has answered yet, name the category "
        "in `accept_silence`"
    )
    assert not list((tmp_path / "workspace").rglob("manifest.json"))


def test_the_silence_can_be_accepted(tmp_path: Path) -> None:
    output = filtering(tmp_path, accept_silence=["C0004"]).execute({})

    assert output["permitted"] == {"webhook": 1000}


def test_an_opt_out_column_that_is_in_use_is_no_silence(tmp_path: Path) -> None:
    assert filtering(tmp_path, consent={"C0004": OptOut("flag")}).execute({})["permitted"] == {"webhook": 1000}


def test_silence_under_opt_in_denies_and_stops_nothing(tmp_path: Path) -> None:
    output = filtering(tmp_path, consent={"C0002": "nothing"}, destinations=["lake"]).execute({})

    assert output["permitted"] == {"lake": 0}


def test_an_empty_model_stops_nothing(tmp_path: Path) -> None:
    assert filtering(tmp_path, PEOPLE.slice(0, 0)).execute({})["rows"] == 0


@pytest.mark.parametrize(
    ("accepted", "message"),
    [
        (["C0002"], "category `C0002` is not opt_out, so silence permits no one: remove it"),
        (["c0004"], "category `c0004` is not in the policy, did you mean `C0004`?"),
        (["Marketing"], "category `Marketing` is not in the policy"),
        ("C0004", "expected a list of category ids, found text"),
    ],
)
def test_only_the_silence_of_an_opt_out_category_can_be_accepted(tmp_path: Path, accepted: Any, message: str) -> None:
    assert failure(filtering(tmp_path, accept_silence=accepted)) == f"accept_silence: {message}"


def test_regions_of_the_policy_that_no_row_has_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    regions = {"US-CA": "opt_out", "EU": "opt_in", "DE": "opt_in"}
    category = {"id": "C0004", "name": "Advertising", "destinations": ["webhook"], "regions": regions}

    filtering(
        tmp_path, policy={"categories": [category]}, consent=RowConsent({"C0004": "flag"}, region="country")
    ).execute({})

    out, err = capfd.readouterr()
    assert (
        "no row has region `EU`, `US-CA`, which the policy names: compare its spelling with column `country`; a row of "
        "any other region gets the strictest regime of each category"
    ) in unwrapped(out + err)
