"""Tests of answers as numbers: each subject has the answer, the doubt and the time of `consent.history`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_consent_retl.consent import ConsentSource, counted_answers
from airflow_consent_retl.consent.freshness import CLOCK_SKEW
from airflow_consent_retl.databases.source import ModelRows
from airflow_consent_retl.extraction.coded_answers import CodedAnswers, coded_columns, is_coded
from airflow_consent_retl.extraction.reading import reading_with_consent
from airflow_consent_retl.hooks.sql import sql_hook

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
EVENTS = ConsentSource("SELECT 1", subject="who", columns=["ads", "mail"], time="at")
STATES = ConsentSource("SELECT 1", subject="who", columns=["ads", "mail"])

days = st.one_of(st.none(), st.integers(-3, 1).map(lambda days: AT + timedelta(days=days)), st.just(AT + CLOCK_SKEW))
# Long before 1970, and far away: times are numbers with a sign.
far = st.sampled_from(
    [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)]
)
answers = st.sampled_from(["yes", "no", "", "-", None])
histories = st.lists(
    st.fixed_dictionaries(
        {"who": st.sampled_from(["a", "b", "c", None]), "at": days | far, "ads": answers, "mail": answers}
    ),
    max_size=14,
)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
    texts = {name: pa.array([row[name] for row in rows], pa.string()) for name in ("who", "ads", "mail")}
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    moments = [None if row["at"] is None else (row["at"] - epoch) // _MICROSECOND for row in rows]
    return {**texts, "at": pa.array(moments, pa.int64())}


def stored(
    connection: duckdb.DuckDBPyConnection, source: ConsentSource, rows: Sequence[Mapping[str, Any]]
) -> CodedAnswers:
    """Store rows in two batches."""
    coded = CodedAnswers(source)
    types = coded_columns(are_integers=False)
    described = ", ".join(f"{name} {type_}" for name, type_ in types.items())
    connection.execute(f"CREATE OR REPLACE TABLE source ({described})")
    for some in (rows[:5], rows[5:]):
        incoming = pa.table(dict(zip(types, coded.of(columns_of(some)), strict=True)))  # noqa: F841 - read below
        connection.execute("INSERT INTO source SELECT * FROM incoming")
    connection.register("answers", coded.table())
    return coded


@pytest.mark.parametrize("source", [EVENTS, STATES], ids=["events", "states"])
@settings(max_examples=80, deadline=None)
@given(rows=histories)
def test_each_subject_has_the_answer_of_the_history(
    engine: duckdb.DuckDBPyConnection, source: ConsentSource, rows: list[dict[str, Any]]
) -> None:
    coded = stored(engine, source, rows)
    latest = None if source.time is None else int((AT + CLOCK_SKEW).timestamp() * 1_000_000)

    found = engine.execute(coded.reduced("source", latest=latest)).fetchall()

    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    law = counted_answers(source, rows, at=AT)
    assert {who: (values, doubt, moment) for who, *values, moment, doubt in found} == {
        who: (
            [None, None] if answer.values is None else [*answer.values],
            int(answer.doubt),
            None if answer.time is None else (answer.time - epoch) // _MICROSECOND,
        )
        for (who,), answer in law.items()
    }
    assert len(found) == len(law)


@settings(max_examples=30, deadline=None)
@given(rows=histories)
def test_numbers_stand_for_the_same_rows(engine: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]) -> None:
    coded = stored(engine, EVENTS, rows)

    found = engine.execute(f'SELECT who, ads, mail, "at" FROM ({coded.as_text("source")})').fetchall()

    columns = columns_of(rows)
    assert Counter(found) == Counter(
        zip(*(columns[name].to_pylist() for name in ("who", "ads", "mail", "at")), strict=True)
    )


def test_profiles_and_categories_are_no_numbers() -> None:
    of_profiles = ConsentSource("SELECT 1", subject="who", columns=["ads"], time="at", profile="device")
    of_categories = ConsentSource("SELECT 1", subject="who", columns={"C1": "ads"}, category="about", value="given")

    assert (is_coded(EVENTS), is_coded(of_profiles), is_coded(of_categories)) == (True, False, False)


def test_a_source_of_very_many_different_answers_goes_on_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "consents.duckdb"
    monkeypatch.setenv("AIRFLOW_CONN_CONSENTS", json.dumps({"conn_type": "duckdb", "host": str(file)}))
    with duckdb.connect(str(file)) as connection:
        # Two answers of each person, of which the second is the later one.
        connection.execute(
            "CREATE TABLE consents AS SELECT i % 10000 AS who, 'answer ' || i AS ads, "
            "TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL (i) SECOND AS at FROM range(20000) r(i)"
        )
    model = pa.table({"who": pa.array([0, 7, 9_999, 10_000], pa.int64())})
    source = ConsentSource("FROM consents", subject="who", columns=["ads"], time="at")

    with reading_with_consent(
        lambda: nullcontext(ModelRows(model.schema, iter(model.to_batches()))),
        [source],
        hook_of=lambda conn_id: sql_hook(conn_id or "consents"),
        conn_id="consents",
        time_zone="UTC",
        at=AT,
        log=lambda message: None,
        warn=lambda message: None,
    ) as rows:
        found = pa.Table.from_batches(rows.batches, rows.schema)

    assert found.column("ads").to_pylist() == ["answer 10000", "answer 10007", "answer 19999", None]
    assert found.column("ads_doubt").to_pylist() == [0, 0, 0, None]
