"""What a model tells its connection's hook holds for every reader of the model, and for no other."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.bigquery_server import BigQuery
from support.log_lines import task_fails
from support.postgres import Postgres, postgres
from support.snowflake_server import Snowflake

from airflow_consent_retl.consent import ConsentSource
from airflow_consent_retl.databases.session_settings import checked_hook_params
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    DropStagingTablesOperator,
    ExtractModelOperator,
    LoadToSqlTableOperator,
    PropagateWithdrawalsOperator,
)
from airflow_consent_retl.storage import open_permitted
from airflow_consent_retl.triggers.submitted_query import SubmittedQueryTrigger

__all__ = ["postgres"]

POLICY = {
    "categories": [
        {"id": "C1", "name": "Ads", "destinations": ["crm"]},
        {"id": "C2", "name": "Other", "destinations": ["other"]},
    ]
}
TABLE: dict[str, Any] = {"conn_id": "crm", "table": "people", "fields": {"id": "id", "email": "email"}}


def extract(conn_id: str, folder: Path, *, sql: str = "SELECT 1 AS id", **options: Any) -> Any:
    operator = ExtractModelOperator(
        task_id="extract",
        model="people",
        conn_id=conn_id,
        sql=sql,
        primary_key=options.pop("primary_key", "id"),
        workspace=options.pop("workspace", folder.as_uri()),
        **options,
    )
    return operator.execute({})


@pytest.mark.parametrize("workspace", ["files", "warehouse:staging"])
def test_bigquery_is_told_the_labels_and_what_may_be_billed(
    workspace: str, bigquery: BigQuery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", tmp_path.as_uri())
    bigquery.dataset("staging")
    told = {"labels": {"team": "crm"}, "api_resource_configs": {"query": {"maximumBytesBilled": "20971520"}}}
    where = {} if workspace == "files" else {"workspace": workspace}

    extract("bq", tmp_path, hook_params=told, **where)

    jobs = [job["configuration"] for job in bigquery.jobs() if "SELECT 1 AS id" in str(job["configuration"])]
    assert jobs
    assert {job["labels"]["team"] for job in jobs} == {"crm"}
    assert {job["query"]["maximumBytesBilled"] for job in jobs} == {"20971520"}


def test_snowflake_is_told_the_session_s_parameters(snowflake: Snowflake, tmp_path: Path) -> None:
    told = {"session_parameters": {"QUERY_TAG": "crm"}}

    extract("snow", tmp_path, sql="SELECT 1 AS ID", primary_key="ID", hook_params=told)

    assert snowflake.seen("SELECT * FROM (")[0]["parameters"]["QUERY_TAG"] == "crm"


def test_postgres_is_told_the_options(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())
    sql = "SELECT current_setting('consent.asked')::int AS id"

    reference = extract("pg", tmp_path, sql=sql, hook_params={"options": "-c consent.asked=7"})

    assert reference["rows"] == 1
    with task_fails(match="SQLSTATE 42704"):
        extract("pg", tmp_path, sql=sql)


class Schemas:
    """Two schemas with the same table: the role reads `a`, and the model's hook parameters say `b`."""

    params: ClassVar[dict[str, str]] = {"options": "-c search_path=b"}

    def __init__(self, server: Postgres, crm: Path) -> None:
        self.server = server
        self.crm = crm
        for statement in (
            "DROP SCHEMA IF EXISTS a, b, staging CASCADE",
            "CREATE SCHEMA a; CREATE SCHEMA b; CREATE SCHEMA staging",
            "CREATE TABLE a.people AS SELECT i AS id, 'a' || i AS email, true AS ok, i AS key FROM {numbers}",
            "CREATE TABLE b.people AS SELECT i AS id, 'b' || i AS email, true AS ok, i AS key FROM {numbers}",
            "CREATE TABLE a.consents AS SELECT key, ok FROM a.people",
            "CREATE TABLE b.consents AS SELECT key, ok FROM b.people",
        ):
            self.run(statement.format(numbers="generate_series(0, 4) AS numbers(i)"))

    def run(self, statement: str) -> None:
        with self.server.connect() as connection:
            connection.execute(statement)

    def permit(self, *, workspace: str | None, consent: dict[str, str], **options: Any) -> Any:
        snapshot = ExtractModelOperator(
            task_id="extract",
            model="people",
            conn_id="pg",
            sql="SELECT * FROM people",
            primary_key="id",
            hook_params=self.params,
            workspace=workspace,
            **options,
        ).execute({})
        return ConsentFilterOperator(
            task_id="consent", snapshot=snapshot, policy=POLICY, consent=consent, destinations=["crm"]
        ).execute({})

    def load(self, permitted: Any) -> dict[str, Any]:
        counts: dict[str, Any] = LoadToSqlTableOperator(
            task_id="load", permitted=permitted, destination="crm", policy=POLICY, max_removed_ratio=None, **TABLE
        ).execute({})
        return counts

    def withdraw(self, **options: Any) -> int:
        served = PropagateWithdrawalsOperator(
            task_id="withdraw",
            model="people",
            conn_id="pg",
            sql="SELECT id, ok FROM people",
            primary_key="id",
            policy=POLICY,
            # The other category is of a destination that is not served here: its column is not in this SQL.
            consent={"C1": "ok", "C2": "not_in_this_sql"},
            loads={"crm": partial(LoadToSqlTableOperator, **TABLE)},
            max_removed_ratio=None,
            **options,
        ).execute({})
        removed: int = served["crm"]["removed"]
        return removed

    def emails(self) -> list[str]:
        with closing(sqlite3.connect(self.crm)) as connection:
            return [email for (email,) in connection.execute("SELECT email FROM people ORDER BY id")]


@pytest.fixture
def schemas(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Schemas:
    connection = json.loads(postgres.airflow_connection())
    connection["extra"] = {"options": "-c search_path=a"}
    monkeypatch.setenv("AIRFLOW_CONN_PG", json.dumps(connection))
    crm = tmp_path / "crm.db"
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(crm)}))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    return Schemas(postgres, crm)


@pytest.mark.parametrize("workspace", [None, "warehouse:staging"])
def test_every_reader_reads_where_the_extraction_read(schemas: Schemas, workspace: str | None) -> None:
    permitted = schemas.permit(workspace=workspace, consent={"C1": "ok"})
    schemas.run("UPDATE b.people SET ok = false WHERE id = 4")

    counts = schemas.load(permitted)

    # They win over the `options` of the connection's extra.
    assert schemas.emails() == ["b0", "b1", "b2", "b3"]
    assert counts["withheld"] == 1
    schemas.run("UPDATE a.people SET ok = false WHERE id IN (1, 2); UPDATE b.people SET ok = false WHERE id = 3")
    # Without parameters of its own, the fast lane uses those of the newest delivered run.
    assert schemas.withdraw() == 1
    assert schemas.emails() == ["b0", "b1", "b2"]
    assert schemas.withdraw(hook_params={"options": "-c search_path=a"}) == 2


@pytest.mark.parametrize("workspace", [None, "warehouse:staging"])
def test_consent_sources_on_the_model_s_connection_read_there_too(schemas: Schemas, workspace: str | None) -> None:
    source = ConsentSource("SELECT key, ok AS given FROM consents", subject="key", columns=["given"])
    permitted = schemas.permit(workspace=workspace, consent={"C1": "given"}, consent_sources=[source])
    schemas.run("UPDATE b.consents SET ok = false WHERE key = 0")

    counts = schemas.load(permitted)

    assert (counts["withheld"], schemas.emails()) == (1, ["b1", "b2", "b3", "b4"])


def test_the_manifest_says_how_the_model_was_read(schemas: Schemas) -> None:
    permitted = schemas.permit(workspace=None, consent={"C1": "ok"})

    source = open_permitted(permitted).manifest.source

    assert (source.conn_id, source.hook_params, source.session_time_zone) == ("pg", schemas.params, "UTC")


def test_staging_tables_are_dropped_through_the_same_hook(schemas: Schemas, monkeypatch: pytest.MonkeyPatch) -> None:
    schemas.run("DROP ROLE IF EXISTS stager")
    schemas.run("CREATE ROLE stager; GRANT stager TO postgres; GRANT ALL ON SCHEMA staging, b TO stager")
    schemas.run("GRANT SELECT ON ALL TABLES IN SCHEMA b TO stager")
    monkeypatch.setattr(schemas, "params", {"options": "-c search_path=b -c role=stager"}, raising=False)
    permitted = schemas.permit(workspace="warehouse:staging", consent={"C1": "ok"})
    # From now on only the model's own role may see the schema.
    schemas.run("REVOKE ALL ON SCHEMA staging FROM PUBLIC")
    connection = json.loads(os.environ["AIRFLOW_CONN_PG"])
    schemas.run("DROP ROLE IF EXISTS nobody")
    schemas.run("CREATE ROLE nobody; GRANT nobody TO postgres")
    connection["extra"] = {"options": "-c role=nobody"}
    monkeypatch.setenv("AIRFLOW_CONN_PG", json.dumps(connection))
    drop = DropStagingTablesOperator(task_id="drop", conn_id="pg", schema="staging", permitted=permitted)

    dropped = drop.execute({})["dropped"]
    schemas.run("DROP OWNED BY stager, nobody")
    schemas.run("DROP ROLE stager, nobody")

    assert dropped > 0


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"password": "hunter2"}, "hook_params.password"),
        ({"session_parameters": {"oauth_token": "abc"}}, "hook_params.session_parameters.oauth_token"),
        ({"options": ["-c x=1", "postgresql://me:hunter2@host/db"]}, r"hook_params.options\[1\]"),
        ({"dsn": "host=x password=hunter2"}, "hook_params.dsn"),
        ({"private_key_content": "-----BEGIN PRIVATE KEY-----"}, "hook_params.private_key_content"),
    ],
)
def test_what_looks_like_a_secret_is_refused_and_not_repeated(params: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{place}: this looks like a secret") as refused:
        checked_hook_params(params)

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "params",
    [
        {"warehouse": "LARGE", "role": "READER", "private_key_file": "/run/keys/key.p8"},
        {"labels": {"team": "crm"}, "token_lifetime": 60, "key_secret_name": "crm"},
        {"client_session_keep_alive": True},
    ],
)
def test_what_is_no_secret_is_accepted(params: dict[str, Any]) -> None:
    assert checked_hook_params(params) == params


@pytest.mark.parametrize("params", [{"cursor": object()}, {"ratio": float("nan")}, ["options"]])
def test_what_a_manifest_cannot_hold_is_refused(params: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected an object of plain JSON values"):
        checked_hook_params(params)


def test_the_trigger_of_a_waiting_query_uses_them_too() -> None:
    given = {"role": "READER"}
    trigger = SubmittedQueryTrigger(
        conn_id="snow", query_id="1", deadline="2026-01-01T00:00:00+00:00", hook_params=given
    )

    _, arguments = trigger.serialize()

    assert SubmittedQueryTrigger(**arguments).hook_params == given
