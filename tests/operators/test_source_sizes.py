"""A suppression list or a consent source that shrank fails the extraction, before anybody could be sent for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.log_lines import task_fails
from support.postgres import Postgres, postgres

from airflow_consent_retl.consent import (
    ConsentSource,
    ExternalConsent,
    IdentityLinks,
    SuppressionList,
    parse_source_document,
    source_document,
)
from airflow_consent_retl.errors import PolicyError
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToSqlTableOperator,
    PropagateWithdrawalsOperator,
)

# Each case in files or in a warehouse; `make test-long` has the other.
pytestmark = pytest.mark.diagonal("model")
__all__ = ["postgres"]

LIST = "SELECT person FROM never"


class Model:
    """A model of three people, and the table `never` with any number of people."""

    def __init__(self, run: Callable[[str], None], workspace: str | None) -> None:
        self.run = run
        self.workspace = workspace

    def fill(self, people: int, *, without: int = 0) -> None:
        self.run("DROP TABLE IF EXISTS never")
        self.run(
            f"CREATE TABLE never AS SELECT CASE WHEN i <= {people} THEN i END AS person, true AS ads_ok "
            f"FROM generate_series(1, {people + without}) AS t(i)"
        )

    def extract(
        self, *sources: ExternalConsent, sql: str = "SELECT id FROM people", identities: IdentityLinks | None = None
    ) -> Any:
        return ExtractModelOperator(
            task_id="extract",
            model="people",
            conn_id="source",
            sql=sql,
            primary_key="id",
            workspace=self.workspace,
            consent_sources=sources,
            identities=identities,
        ).execute({})


@pytest.fixture(params=["files", "warehouse"])
def model(request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The model in DuckDB, through files; and in PostgreSQL, through its staging schema."""
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "crm.db")}))
    if request.param == "files":
        file = tmp_path / "source.duckdb"
        monkeypatch.setenv("AIRFLOW_CONN_SOURCE", json.dumps({"conn_type": "duckdb", "host": str(file)}))

        def run(statement: str) -> None:
            with duckdb.connect(str(file)) as connection:
                connection.execute(statement)
    else:
        monkeypatch.setenv("AIRFLOW_CONN_SOURCE", postgres.airflow_connection())

        def run(statement: str) -> None:
            with postgres.connect() as connection:
                connection.execute(statement)

        run("DROP SCHEMA IF EXISTS staging CASCADE")
        run("CREATE SCHEMA staging")
        run("DROP TABLE IF EXISTS people, never")
    run("CREATE TABLE people AS SELECT 1 AS id UNION ALL SELECT 2 UNION ALL SELECT 3")
    return Model(run, "warehouse:staging" if request.param == "warehouse" else None)


def never(sql: str = LIST, *, column: str = "suppressed", ratio: float | None = 0.2) -> SuppressionList:
    return SuppressionList(sql, subject="person", key="id", column=column, min_rows=0, max_shrink_ratio=ratio)


def consents(ratio: float | None = 0.2) -> ConsentSource:
    sql = "SELECT person, ads_ok FROM never"
    return ConsentSource(
        sql, subject="person", key="id", columns=["ads_ok"], require_match=False, max_shrink_ratio=ratio
    )


@pytest.mark.parametrize("source", [never(), consents()])
@pytest.mark.parametrize("left", [0, 7])
def test_a_source_that_lost_more_than_its_share_fails_with_both_numbers(
    model: Model, source: ExternalConsent, left: int
) -> None:
    model.fill(10)
    model.extract(source)
    model.fill(left, without=20)

    with task_fails(match=rf"it has {left} rows with a key, and had 10 .*max_shrink_ratio=1$"):
        model.extract(source)


def test_a_source_may_lose_its_share_and_may_grow(model: Model) -> None:
    for people in (10, 8, 30):
        model.fill(people)
        model.extract(never(), consents())
    model.fill(20)

    with task_fails(match=r"consent_sources\[0\]: it has 20 rows with a key, and had 30"):
        model.extract(never(), consents())


@pytest.mark.parametrize(
    ("renamed", "shrinks"),
    [
        (never("SELECT person FROM never WHERE TRUE"), True),
        (never(column="on_the_list"), True),
        (never("SELECT person FROM never WHERE TRUE", column="on_the_list"), False),
    ],
)
def test_a_source_is_known_by_its_query_or_by_its_column(model: Model, renamed: SuppressionList, shrinks: bool) -> None:
    model.fill(10)
    model.extract(never())
    model.fill(1)

    if shrinks:
        with task_fails(match="it has 1 rows with a key, and had 10"):
            model.extract(renamed)
    else:
        model.extract(renamed)


def test_an_extraction_that_fails_records_no_size(model: Model) -> None:
    model.fill(10)
    model.extract(never())
    model.fill(9)
    with task_fails(match="not unique"):
        model.extract(never(), sql="SELECT id FROM people UNION ALL SELECT 1")
    model.fill(5)
    for _ in range(2):
        with task_fails(match="it has 5 rows with a key, and had 10"):
            model.extract(never())


def test_a_shorter_source_is_accepted_by_one_run_with_the_share_of_one(model: Model) -> None:
    model.fill(10)
    model.extract(never())
    model.fill(2)
    model.extract(never(ratio=1))
    model.extract(never())
    model.fill(1)

    with task_fails(match="it has 1 rows with a key, and had 2"):
        model.extract(never())


def test_two_lists_of_one_query_are_kept_apart(model: Model) -> None:
    model.run("CREATE OR REPLACE VIEW both_ids AS SELECT id AS person, NULLIF(id, 1) AS other FROM people")
    query = "SELECT person, other FROM both_ids"
    lists = [
        SuppressionList(query, subject=subject, key="id", column=subject, min_rows=0, max_shrink_ratio=0.0)
        for subject in ("person", "other")
    ]

    for _ in range(2):
        model.extract(*lists)
    model.run("DROP VIEW both_ids")


def filled_again(
    model: Model, people: int, *sources: ExternalConsent, identities: IdentityLinks | None = None, waits: bool = False
) -> tuple[Any, Any]:
    """Extract and filter, load if it does not wait, and have the source hold this many people."""
    model.fill(10)
    policy = {"categories": [{"id": "C1", "name": "Ads", "destinations": ["crm"]}]}
    consent: dict[str, Any] = {"policy": policy, "consent": {"C1": "ads_ok"}}
    permitted = ConsentFilterOperator(
        task_id="consent", snapshot=model.extract(*sources, identities=identities), destinations=["crm"], **consent
    ).execute({})
    load = partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields={"id": "id"})

    def run() -> Any:
        return load(task_id="load", permitted=permitted, destination="crm", policy=policy).execute({})

    if not waits:
        assert run()["accepted"] == 3
    model.fill(people)

    def withdraw() -> Any:
        return PropagateWithdrawalsOperator(
            task_id="withdraw",
            model="people",
            conn_id="source",
            sql="SELECT id FROM people",
            primary_key="id",
            consent_sources=sources,
            identities=identities,
            loads={"crm": load},
            **consent,
        ).execute({})

    return run, withdraw


def test_a_source_that_shrank_before_a_load_asks_it_again_fails_the_load(model: Model) -> None:
    run, _ = filled_again(model, 5, consents(), waits=True)

    with task_fails(match=r"it has 5 rows with a key, and had 10 .*max_shrink_ratio=0\.2"):
        run()

    model.fill(8)
    assert run()["accepted"] == 3


def test_the_fast_lane_removes_no_one_on_the_word_of_a_source_that_shrank(model: Model) -> None:
    _, withdraw = filled_again(model, 2, consents())

    with task_fails(match="it has 2 rows with a key, and had 10"):
        withdraw()

    model.fill(9)
    assert withdraw()["crm"]["removed"] == 0


SHORT = "SELECT person, person AS known FROM never WHERE person > 3"
LINKS = IdentityLinks(SHORT, subject="person", identifier="known", key="id", min_rows=5, require_match=False)


@pytest.mark.parametrize(
    ("sources", "identities", "message"),
    [
        (
            (consents(None), SuppressionList(SHORT, subject="person", key="id", min_rows=5)),
            None,
            "list has {} keys .*, min_rows is 5:",
        ),
        ((consents(None),), LINKS, "identities have {} links, min_rows is 5:"),
    ],
    ids=["list", "identities"],
)
def test_a_table_with_too_few_rows_is_no_answer_when_consent_is_asked_again(
    model: Model, sources: tuple[ExternalConsent, ...], identities: IdentityLinks | None, message: str
) -> None:
    run, withdraw = filled_again(model, 7, *sources, identities=identities, waits=True)

    with task_fails(match=message.format(4)):
        run()

    model.fill(8)
    assert run()["accepted"] == 3
    model.fill(3)
    with task_fails(match=message.format(0)):
        withdraw()
    model.fill(8)
    assert withdraw()["crm"]["removed"] == 0


def test_a_lost_file_of_sizes_is_replaced_by_the_records_of_the_last_filter(model: Model, tmp_path: Path) -> None:
    filled_again(model, 7, consents(), waits=True)
    (tmp_path / "workspace" / "source_sizes" / "people" / "sizes.json").unlink()

    with task_fails(match="it has 7 rows with a key, and had 10"):
        model.extract(consents())


def test_a_source_without_a_limit_is_not_counted(model: Model, tmp_path: Path) -> None:
    for people in (10, 0):
        model.fill(people)
        model.extract(never(ratio=None), consents(None))

    assert not (tmp_path / "workspace" / "source_sizes").exists()


def test_a_file_of_sizes_that_cannot_be_read_refuses(model: Model, tmp_path: Path) -> None:
    model.fill(10)
    model.extract(never())
    (tmp_path / "workspace" / "source_sizes" / "people" / "sizes.json").write_text('[{"rows": "many"}]')

    with task_fails(match=r"sizes\.json: not the sizes of consent sources"):
        model.extract(never())


def test_a_source_without_a_limit_has_the_document_of_before() -> None:
    assert "max_shrink_ratio" not in source_document(never(ratio=None)) | source_document(consents(None))
    for source in (never(), consents(0.5)):
        assert parse_source_document(source_document(source)) == source


@pytest.mark.parametrize("ratio", [-0.1, 1.1, True, "0.2", float("nan")])
def test_a_share_that_is_none_is_refused(ratio: Any) -> None:
    for declare in (never, consents):
        with pytest.raises(PolicyError, match="expected a share"):
            declare(ratio=ratio)
