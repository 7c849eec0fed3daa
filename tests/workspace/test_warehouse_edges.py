"""Both kinds of workspace take the same rows: edges of types, reserved names, and consent in the key's own column."""

from __future__ import annotations

from typing import Any

import pytest
from support.log_lines import task_fails
from support.postgres import Postgres

from airflow_consent_retl.consent import BitMask, Literals
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator
from airflow_consent_retl.storage.location import manifest_folder
from airflow_consent_retl.storage.manifest import ManifestRef, PermittedManifest

POLICY = {"categories": [{"id": "C1", "name": "Ads", "destinations": ["ads"]}]}
WORKSPACES = [None, "warehouse:staging"]


def extract(sql: str, workspace: str | None, primary_key: str = "id") -> Any:
    return ExtractModelOperator(
        task_id="extract", model="m", conn_id="pg", sql=sql, primary_key=primary_key, workspace=workspace
    ).execute({})


def permitted(sql: str, workspace: str | None, consent: Any) -> int:
    output = ConsentFilterOperator(
        task_id="consent",
        snapshot=extract(sql, workspace),
        policy=POLICY,
        consent={"C1": consent},
        destinations=["ads"],
    ).execute({})
    ref = ManifestRef.from_xcom(output, kind="permitted")
    manifest = PermittedManifest.from_json(manifest_folder(ref.manifest).read_manifest(sha256=ref.sha256))
    return manifest.destinations["ads"].permitted


@pytest.mark.parametrize(
    "expression",
    [
        "'infinity'::date",
        "'-infinity'::timestamptz",
        "'0044-03-15 BC'::date",
        "'10000-01-01'::timestamp",
        "'24:00:00'::time",
        "'NaN'::numeric",
        "'NaN'::numeric(10, 2)",
        "'Infinity'::numeric",
    ],
)
def test_an_edge_is_refused_in_both_with_the_same_words(expression: str, customers: Postgres) -> None:
    sql = f'SELECT i AS id, CASE WHEN i > 1 THEN {expression} END AS "what\'s up" FROM generate_series(1, 3) i'

    messages = []
    for workspace in WORKSPACES:
        with task_fails() as refusal:
            extract(sql, workspace)
        messages.append(str(refusal.value))

    assert "in 2 rows, which a snapshot cannot hold" in messages[0]
    assert messages[1] == messages[0]


def test_values_just_inside_the_edges_are_taken_by_both(customers: Postgres) -> None:
    sql = """SELECT 1 AS id, '0001-01-01'::date AS a, '9999-12-31 23:59:59.999999+00'::timestamptz AS b,
        '23:59:59.999999'::time AS c, repeat('9', 39)::numeric AS d, ARRAY['infinity'::date] AS e, 'NaN'::float8 AS f"""

    assert [extract(sql, workspace)["rows"] for workspace in WORKSPACES] == [1, 1]


@pytest.mark.parametrize(
    "name", ["consent_retl_group", "consent_retl_signature", "CONSENT_RETL_subject", "consent_retl_x"]
)
@pytest.mark.parametrize("workspace", WORKSPACES)
def test_a_column_with_a_reserved_name_is_refused(name: str, workspace: str | None, customers: Postgres) -> None:
    with task_fails(match=f"column `{name}` begins with `consent_retl_`"):
        extract(f'SELECT 1 AS id, true AS "{name}"', workspace)


@pytest.mark.parametrize(
    "name", ["consent_ordinal", "consent_rows", "ordinal", "raw_0", "rows", "subject", "signature"]
)
def test_a_column_named_like_an_internal_one_is_an_ordinary_column(name: str, customers: Postgres) -> None:
    sql = f'SELECT i AS id, i % 2 = 0 AS "{name}", i AS "model" FROM generate_series(1, 4) i'

    rows = [permitted(sql, workspace, name) for workspace in WORKSPACES]

    assert rows == [2, 2]


@pytest.mark.parametrize("consent", [BitMask("id", 0), Literals("id", granted=(1, 3), denied=(2, 4))])
def test_consent_may_be_read_from_the_keys_own_column(consent: Any, customers: Postgres) -> None:
    sql = "SELECT i AS id, 'x' AS email FROM generate_series(1, 4) i"

    rows = [permitted(sql, workspace, consent) for workspace in WORKSPACES]

    assert rows == [2, 2]
