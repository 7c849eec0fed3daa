"""The filter operator: guards, ids, warnings, and nothing published when it fails."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.log_lines import task_fails
from support.permitting import CONSENT, DESTINATIONS, POLICY, customers, snapshot_of

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators import ConsentFilterOperator
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.location import manifest_folder
from airflow_consent_retl.storage.manifest import PermittedManifest


def filtering(
    tmp_path: Path, rows: pa.Table | None = None, *, checked: bool = False, **parameters: Any
) -> ConsentFilterOperator:
    _, ref = snapshot_of(Folder.local(tmp_path / "snapshot"), customers() if rows is None else rows, checked=checked)
    return ConsentFilterOperator(
        **{
            "task_id": "consent",
            "snapshot": ref.to_xcom(),
            "policy": POLICY,
            "consent": CONSENT,
            "destinations": DESTINATIONS,
            "workspace": f"file://{tmp_path}/workspace",
            **parameters,
        }
    )


def manifest_of(output: dict[str, Any]) -> PermittedManifest:
    folder = manifest_folder(output["manifest"])
    return PermittedManifest.from_json(folder.read_manifest(sha256=output["sha256"]))


def failure(operator: ConsentFilterOperator) -> str:
    with task_fails() as failed:
        operator.execute({})
    return str(failed.value)


def published(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "workspace").rglob("*") if path.is_file() and path.name != "digest.key"]


def with_ids(*ids: int | None) -> pa.Table:
    return customers().set_column(0, "id", pa.array(ids, pa.int64()))


def test_the_output_refers_to_the_permitted_set_and_counts_it_by_destination(tmp_path: Path) -> None:
    output = filtering(tmp_path).execute({})

    manifest = manifest_of(output)
    assert output["permitted"] == {"ads": 2, "lake": 2, "webhook": 1}
    assert (output["kind"], output["model"], output["rows"]) == ("permitted", "customers", 3)
    assert (manifest.rows_read, manifest.rows_for_nobody) == (5, 2)
    assert manifest.policy_source == "inline"
    assert "example.com" not in json.dumps(output)


def test_the_manifest_says_what_each_destination_needs(tmp_path: Path) -> None:
    policy = {**POLICY, "destinations": {"archive": {"consent": "not_required", "reason": "own store"}}}

    manifest = manifest_of(
        filtering(tmp_path, policy=policy, destinations=["webhook", "archive", "printer"]).execute({})
    )

    described = {name: (c.required, c.match, c.ground, c.permitted) for name, c in manifest.destinations.items()}
    assert described == {
        "archive": ((), "all", "not_required", 5),
        "printer": ((), "all", "unmapped", 5),
        "webhook": (("C0002", "C0004"), "all", "consent", 1),
    }
    assert manifest.destinations["webhook"].denied_by_reason == {
        "C0002:denied": 2,
        "C0002:unknown": 1,
        "C0004:denied": 2,
        "C0004:unknown": 1,
    }


# Limits


@pytest.mark.parametrize("limit", [0.6, 0.8, 1.0, {"webhook": 0.8}, {"ads": 0.6, "lake": 0.6}, None])
def test_shares_denied_up_to_the_limit_pass(tmp_path: Path, limit: Any) -> None:
    operator = filtering(tmp_path, destinations=DESTINATIONS, max_denied_ratio=limit)
    if limit == 0.6:
        operator.destinations = ["ads", "lake"]

    assert operator.execute({})["permitted"]["ads"] == 2


def test_every_destination_denied_beyond_the_limit_is_named(tmp_path: Path) -> None:
    message = failure(filtering(tmp_path, max_denied_ratio=0.5))

    assert message == (
        "nothing was published: `ads`: 3 of 5 rows are denied, max_denied_ratio is 0.5; "
        "`lake`: 3 of 5 rows are denied, max_denied_ratio is 0.5; "
        "`webhook`: 4 of 5 rows are denied, max_denied_ratio is 0.5"
    )
    assert published(tmp_path) == []


def test_a_limit_by_destination_holds_for_that_one_only(tmp_path: Path) -> None:
    message = failure(filtering(tmp_path, max_denied_ratio={"webhook": 0.79, "ads": 0.6}))

    assert message == "nothing was published: `webhook`: 4 of 5 rows are denied, max_denied_ratio is 0.79"


def test_a_limit_for_a_destination_that_is_not_asked_for_is_refused(tmp_path: Path) -> None:
    words = "max_denied_ratio names `webhok`, which is no destination of the filter, did you mean `webhook`?"

    with pytest.raises(ConfigurationError, match=re.escape(words)):
        filtering(tmp_path, max_denied_ratio={"webhok": 0.5})


WORDS = {"C0002": Literals("analytics_ok", granted=("yes",), denied=("no",)), "C0004": "ads_ok"}


def with_words(*words: str | None) -> pa.Table:
    return customers().set_column(2, "analytics_ok", pa.array(words, pa.string()))


def test_a_share_of_values_that_nobody_declared_beyond_the_limit_fails(tmp_path: Path) -> None:
    rows = with_words("yes", "Yes", "no", "nope", None)

    assert filtering(tmp_path / "at", rows, consent=WORDS, max_invalid_ratio=0.4).execute({})["permitted"]["lake"] == 1
    message = failure(filtering(tmp_path / "beyond", rows, consent=WORDS, max_invalid_ratio=0.39))

    assert message == ("nothing was published: 2 of 5 rows have an invalid consent value, max_invalid_ratio is 0.39")
    assert published(tmp_path / "beyond") == []


def test_an_empty_snapshot_passes_every_limit(tmp_path: Path) -> None:
    operator = filtering(tmp_path, customers().slice(0, 0), max_denied_ratio=0.0, max_invalid_ratio=0.0)

    assert operator.execute({})["permitted"] == {"ads": 0, "lake": 0, "webhook": 0}


# Ids


def test_ids_that_occur_twice_fail_the_task_with_their_number(tmp_path: Path) -> None:
    message = failure(filtering(tmp_path, with_ids(1, 1, 2, 2, 3)))

    assert message == (
        "2 ids of `id` occur more than once: make them unique in the model, "
        'or set on_duplicate_id="deny" to withhold them'
    )
    assert published(tmp_path) == []


def test_ids_that_occur_twice_are_withheld_where_the_dag_says_so(tmp_path: Path) -> None:
    output = filtering(tmp_path, with_ids(1, 1, 2, 3, 4), on_duplicate_id="deny").execute({})

    assert output["permitted"] == {"ads": 0, "lake": 1, "webhook": 0}
    assert manifest_of(output).destinations["lake"].denied_by_reason["duplicate_id"] == 2


def test_a_way_to_treat_duplicates_that_is_misspelt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="on_duplicate_id must be `fail` or `deny`, did you mean `deny`"):
        filtering(tmp_path, with_ids(1, 1, 2, 2, 3), on_duplicate_id="Deny")


def test_rows_without_an_id_are_denied_everywhere(tmp_path: Path) -> None:
    output = filtering(tmp_path, with_ids(None, None, 3, 4, 5)).execute({})

    assert output["permitted"] == {"ads": 0, "lake": 1, "webhook": 0}
    assert manifest_of(output).destinations["webhook"].denied_by_reason["missing_id"] == 2


# What is wrong


def test_every_problem_of_the_policy_and_the_mapping_is_told_at_once(tmp_path: Path) -> None:
    message = failure(filtering(tmp_path, consent={"C0002": "analytics_okay"}, destinations=["webhok", "lake", "ads"]))

    assert "3 problems" in message
    assert "destination `webhok` is not in the policy, did you mean `webhook`?" in message
    assert "column `analytics_okay` is not in the model, did you mean `analytics_ok`?" in message
    assert "category `C0004`, required by `ads`, has no entry in the consent mapping" in message


def test_a_snapshot_that_changed_is_refused(tmp_path: Path) -> None:
    operator = filtering(tmp_path)
    path = tmp_path / "snapshot" / "part-00000.parquet"
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)

    message = failure(operator)

    assert message == f"file://{path} was changed since it was written: its SHA-256 differs"


def test_a_snapshot_whose_manifest_changed_is_refused(tmp_path: Path) -> None:
    operator = filtering(tmp_path)
    path = tmp_path / "snapshot" / "manifest.json"
    path.write_text(path.read_text().replace("customers", "Customers"))

    assert "manifest.json was changed since it was written" in failure(operator)


@pytest.mark.parametrize("snapshot", [None, "file:///x", {}, {"kind": "permitted"}])
def test_what_is_no_reference_to_a_snapshot_is_refused(tmp_path: Path, snapshot: Any) -> None:
    assert failure(filtering(tmp_path, snapshot=snapshot)).startswith(("expected the output", "not a ManifestRef"))


def test_the_output_of_a_filter_is_not_taken_for_a_snapshot(tmp_path: Path) -> None:
    output = filtering(tmp_path).execute({})

    message = failure(filtering(tmp_path / "second", snapshot=output))

    assert message == "expected a reference to a snapshot manifest, got one to a permitted manifest"


def test_a_key_that_is_too_short_fails_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = filtering(tmp_path)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "short")

    assert "it needs 32" in failure(operator)
    assert published(tmp_path) == []


def test_a_workspace_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    operator = filtering(tmp_path)
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "permitted").write_text("a file where a folder has to be")

    with task_fails(match="a part of the path is a file"):
        operator.execute({})

    assert published(tmp_path) == [tmp_path / "workspace" / "permitted"]


# The log


def test_the_log_holds_numbers_that_add_up_and_warnings_but_no_value_of_a_row(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    operator = filtering(tmp_path, with_ids(None, 2, 3, 4, 5), destinations=[*DESTINATIONS, "printer"])

    operator.execute({})

    log = capfd.readouterr().out
    warnings = "\n".join(line for line in log.splitlines() if "warning" in line.lower())
    assert "destination `printer` is mapped to no consent category and receives every row" in warnings
    assert "1 rows have no `id` and are denied everywhere (missing_id)" in warnings
    assert "`webhook` is denied all 5 rows: nothing will be sent" in warnings
    assert "read 5 = permitted somewhere 4 + for no one 1; policy " in log
    assert "example.com" not in log
