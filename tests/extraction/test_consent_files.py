"""Tests of consent from other queries: it is joined only to its own rows, with the answers of `consent.history`."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.postgres import Postgres, postgres
from support.recorded_answers import RecordedAnswers

from airflow_consent_retl.consent import (
    ConsentSource,
    Doubt,
    EpochTime,
    ExternalConsent,
    SuppressionList,
    counted_answers,
    segment_preference_events,
)
from airflow_consent_retl.databases.source import ModelRows
from airflow_consent_retl.errors import ConfigurationError, ModelError
from airflow_consent_retl.extraction.reading import reading_with_consent
from airflow_consent_retl.hooks.sql import sql_hook

__all__ = ["postgres"]

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
IDS = [f"person-{number}" for number in range(6)]
MODEL = pa.table({"id": [*IDS, None], "score": range(7)})

days_or_none = st.one_of(st.none(), st.integers(0, 4).map(lambda days: AT + timedelta(days=days - 3)))
rows_of_history = st.lists(
    st.fixed_dictionaries(
        {
            "subject": st.sampled_from([*IDS[:4], None, "unknown person"]),
            "time": days_or_none,
            "profile": st.sampled_from([None, *IDS[:2], "phone", "tablet"]),
            "ads": st.sampled_from([True, False, None]),
            "reply": st.sampled_from(["yes", "no", "", None]),
        }
    ),
    min_size=1,
    max_size=14,
)


@pytest.fixture
def duck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "consents.duckdb"
    monkeypatch.setenv("AIRFLOW_CONN_CONSENTS", json.dumps({"conn_type": "duckdb", "host": str(file)}))
    return file


HISTORY = "subject VARCHAR, time TIMESTAMPTZ, profile VARCHAR, ads BOOLEAN, reply VARCHAR"


def fill(file: Path, rows: Sequence[Mapping[str, Any]], types: str = HISTORY) -> None:
    names = [described.split()[0] for described in types.split(", ") if " " in described]
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"CREATE OR REPLACE TABLE consents ({types})")
        for row in rows:
            values = [row[name] for name in names]
            connection.execute(f"INSERT INTO consents VALUES ({', '.join('?' * len(values))})", values)


def read(
    model: pa.Table,
    sources: Sequence[ExternalConsent],
    log: list[str] | None = None,
    *,
    batch_rows: int = 3,
    warned: list[str] | None = None,
) -> pa.Table:
    batches: Iterator[pa.RecordBatch] = iter(model.to_batches(max_chunksize=batch_rows))
    with reading_with_consent(
        lambda: nullcontext(ModelRows(model.schema, batches)),
        sources,
        hook_of=lambda conn_id: sql_hook(conn_id or "consents"),
        conn_id="consents",
        time_zone="UTC",
        at=AT,
        log=(log if log is not None else []).append,
        warn=(warned if warned is not None else []).append,
    ) as rows:
        read_batches = list(rows.batches)
    return pa.Table.from_batches(read_batches, rows.schema)


def expected(source: ConsentSource, rows: Sequence[Mapping[str, Any]], *about: str) -> list[tuple[Any, ...]]:
    """Return the answer, doubt and time of `consent.history` for each row of the model; NULL without an answer."""
    values = 1 if source.value is not None else len(source.columns)
    found = counted_answers(source, rows, at=AT)
    answers = [found.get((str(id_), *about)) for id_ in (*IDS, None)]
    return [
        ((None,) * values, None, None) if answer is None else (answer.values, answer.doubt, answer.time)
        for answer in answers
    ]


def brought(table: pa.Table, values: Sequence[str]) -> list[tuple[Any, ...]]:
    doubts, times = table.column(f"{values[0]}_doubt").to_pylist(), [None] * len(table)
    if f"{values[0]}_at" in table.schema.names:
        times = table.column(f"{values[0]}_at").to_pylist()
    answers = zip(*(table.column(name).to_pylist() for name in values), strict=True)
    return [
        (None if doubt else answer, doubt, time) for answer, doubt, time in zip(answers, doubts, times, strict=True)
    ]


@settings(max_examples=12, deadline=None)
@given(rows_of_history)
@pytest.mark.long
def test_states_events_and_merged_profiles_have_the_answers_of_the_history(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        file = Path(folder) / "consents.duckdb"
        patch.setenv("AIRFLOW_CONN_CONSENTS", json.dumps({"conn_type": "duckdb", "host": str(file)}))
        fill(file, rows)
        shared: dict[str, Any] = {"subject": "subject", "key": "id", "require_match": False}
        shared["columns"] = ["ads", "reply"]
        dated = shared | {"time": "time", "bring_time": True}

        states = ConsentSource("FROM consents", **shared)
        events = ConsentSource("FROM consents", **dated)
        merged = ConsentSource("FROM consents", profile="profile", **dated)

        found = [read(MODEL, [source]) for source in (states, events, merged)]

    assert found[0].select(["id", "score"]).equals(MODEL)
    for source, table in zip((states, events, merged), found, strict=True):
        assert brought(table, ("ads", "reply")) == expected(source, rows)


@pytest.mark.parametrize("values", [("yes", "no"), (True, False), (1, 0)], ids=["text", "boolean", "integer"])
def test_duckdb_finds_the_answers_of_the_case_file(duck: Path, values: tuple[Any, Any]) -> None:
    history = RecordedAnswers(AT, dict(zip(("yes", "no"), values, strict=True)))
    type_ = {str: "VARCHAR", bool: "BOOLEAN", int: "INTEGER"}[type(values[0])]
    fill(duck, history.rows, f"subject VARCHAR, time TIMESTAMPTZ, profile VARCHAR, ads {type_}")
    source = ConsentSource(
        "FROM consents",
        subject="subject",
        key="id",
        columns=["ads"],
        time="time",
        bring_time=True,
        profile="profile",
    )

    found = brought(read(pa.table({"id": list(history.expected)}), [source]), ["ads"])

    assert dict(zip(history.expected, found, strict=True)) == history.expected


@pytest.mark.long
@settings(max_examples=10, deadline=None)
@given(rows_of_history)
def test_each_category_of_a_long_history_has_its_own_answer(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        file = Path(folder) / "consents.duckdb"
        patch.setenv("AIRFLOW_CONN_CONSENTS", json.dumps({"conn_type": "duckdb", "host": str(file)}))
        fill(file, rows)
        source = ConsentSource(
            "FROM consents",
            subject="subject",
            key="id",
            time="time",
            bring_time=True,
            category="reply",
            value="ads",
            columns={"yes": "first", "no": "second"},
            require_match=False,
        )

        found = read(MODEL, [source])

    for category, name in (("yes", "first"), ("no", "second")):
        assert brought(found, [name]) == expected(source, rows, category)


def test_segments_preference_events_are_read_in_the_form_of_its_warehouses(duck: Path) -> None:
    given = "context_consent_category_preferences_"
    names = ["user_id", "anonymous_id", "timestamp", f"{given}c0004", f"{given}sale"]
    types = ", ".join(
        map(" ".join, zip(names, ["VARCHAR", "VARCHAR", "TIMESTAMPTZ", "BOOLEAN", "BOOLEAN"], strict=True))
    )
    recorded = [
        (IDS[0], "a", AT - timedelta(days=7), True, False),
        (IDS[0], "b", AT - timedelta(days=8), False, False),
        (IDS[1], "a", AT - timedelta(days=8), None, True),
    ]
    rows = [dict(zip(names, row, strict=True)) for row in recorded]
    fill(duck, rows, types)
    events: dict[str, Any] = {"categories": {"C0004": "ads", "Sale": "sale"}, "key": "id"}

    latest = read(MODEL, [segment_preference_events("FROM consents", **events)])
    by_device = read(MODEL, [segment_preference_events("FROM consents", profile="anonymous_id", **events)])

    assert latest.column("ads").to_pylist()[:3] == [True, None, None]
    assert latest.column("sale").to_pylist()[:3] == [False, True, None]
    assert by_device.column("ads_doubt").to_pylist()[:3] == [1, 0, None]


def test_a_suppression_list_marks_the_rows_of_its_people(duck: Path) -> None:
    fill(duck, [{"subject": who} for who in (IDS[1], IDS[1], None, "stranger")], "subject VARCHAR")
    log: list[str] = []

    found = read(MODEL, [SuppressionList("FROM consents", subject="subject", key="id")], log)

    assert found.column("suppressed").to_pylist() == [False, True, False, False, False, False, None]
    assert log == [
        "consent_sources[0]: read 4 rows from connection `consents`, 1 without a subject are ignored",
        "consent_sources[0]: 1 of 7 rows of the model have a subject there for `suppressed`",
    ]


def test_a_suppression_list_of_which_nothing_matches_is_a_warning_or_an_error(duck: Path) -> None:
    fill(duck, [{"subject": "stranger"}], "subject VARCHAR")
    warned: list[str] = []
    found = "none of 7 rows has a subject there for `suppressed`: check that `id` is the key that equals `subject`"

    read(MODEL, [SuppressionList("FROM consents", subject="subject", key="id")], warned=warned)

    assert [found in message for message in warned] == [True]
    with pytest.raises(ModelError, match="none of 7 rows has a subject there"):
        read(MODEL, [SuppressionList("FROM consents", subject="subject", key="id", require_match=True)])


def test_several_sources_from_several_connections_bring_their_columns(
    duck: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: Postgres
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CRM", postgres.airflow_connection())
    with postgres.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS do_not_contact")
        connection.execute("CREATE TABLE do_not_contact AS SELECT 2::smallint AS score")
    fill(duck, [{"subject": IDS[0], "ads": True}], "subject VARCHAR, ads BOOLEAN")

    found = read(
        MODEL,
        [
            SuppressionList("SELECT * FROM do_not_contact", subject="score", conn_id="crm"),
            ConsentSource("FROM consents", subject="subject", key="id", columns={"ads": "ads_ok"}),
        ],
    )

    assert found.column("suppressed").to_pylist() == [False, False, True, False, False, False, False]
    assert found.column("ads_ok").to_pylist() == [True, None, None, None, None, None, None]
    assert found.schema.names == ["id", "score", "suppressed", "ads_ok", "ads_ok_doubt"]


@pytest.mark.parametrize("type_", ["BIGINT", "SMALLINT", "DECIMAL(30,0)", "UBIGINT"])
def test_keys_of_any_integer_type_are_compared_exactly(duck: Path, type_: str) -> None:
    large = 2**63 - 1 if type_ != "SMALLINT" else 2**15 - 1
    fill(duck, [{"subject": large, "ads": 7}], f"subject {type_}, ads INTEGER")
    model = pa.table({"subject": pa.array([large, large - 1], pa.int64())})

    found = read(model, [ConsentSource("FROM consents", subject="subject", columns=["ads"])])

    assert found.column("ads").to_pylist() == [7, None]
    assert found.schema.field("ads").type == pa.int64()


@pytest.mark.parametrize(
    ("types", "row", "options", "message"),
    [
        (
            "subject BIGINT, ads BOOLEAN",
            {"subject": 1, "ads": True},
            {},
            "`id` is text and the source's `subject` is integer",
        ),
        ("subject BOOLEAN, ads BOOLEAN", {"subject": True, "ads": True}, {}, "`subject` is boolean"),
        ("subject VARCHAR, ads DOUBLE", {"subject": "a", "ads": 0.5}, {}, "is double: expected a boolean, an integer"),
        (
            "subject VARCHAR, ads BOOLEAN, changed TIMESTAMP",
            {"subject": "a", "ads": True, "changed": datetime(2026, 1, 1)},  # noqa: DTZ001
            {"time": "changed"},
            "expected a timestamp with a zone",
        ),
        (
            "subject VARCHAR, ads BOOLEAN, changed VARCHAR",
            {"subject": "a", "ads": True, "changed": "2026-01-01"},
            {"time": "changed"},
            "is string: expected a timestamp with a zone",
        ),
        (
            "subject VARCHAR, ads BOOLEAN, changed BIGINT",
            {"subject": "a", "ads": True, "changed": 1790000000},
            {"time": "changed"},
            "is int64: expected a timestamp with a zone",
        ),
        (
            "subject VARCHAR, ads BOOLEAN, changed VARCHAR",
            {"subject": "a", "ads": True, "changed": "1790000000"},
            {"time": EpochTime("changed", "s")},
            "is string: expected an integer",
        ),
        ("subject VARCHAR, ads BOOLEAN", {"subject": "a", "ads": True}, {}, "none of 7 rows has a subject there"),
    ],
)
def test_refuses_columns_that_cannot_be_compared_or_read(
    duck: Path, types: str, row: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    fill(duck, [row], types)

    with pytest.raises(ModelError, match=message):
        read(MODEL, [ConsentSource("FROM consents", subject="subject", key="id", columns=["ads"], **options)])


def test_a_category_with_another_id_in_the_source_is_refused(duck: Path) -> None:
    fill(duck, [{"subject": IDS[0], "reply": "yes", "ads": True}], "subject VARCHAR, reply VARCHAR, ads BOOLEAN")
    source = ConsentSource(
        "FROM consents",
        subject="subject",
        key="id",
        category="reply",
        value="ads",
        columns={"yes": "ok", "Yes": "wrong"},
    )

    with pytest.raises(ModelError, match="none of 7 rows has a subject there for `wrong`"):
        read(MODEL, [source])


def test_a_read_that_was_refused_leaves_the_file_to_others(duck: Path) -> None:
    fill(duck, [{"subject": IDS[0], "ads": 0.5}], "subject VARCHAR, ads DOUBLE")
    with pytest.raises(ModelError, match="is double"):
        read(MODEL, [ConsentSource("FROM consents", subject="subject", key="id", columns=["ads"])])

    fill(duck, [{"subject": IDS[0], "ads": True}], "subject VARCHAR, ads BOOLEAN")

    found = read(MODEL, [ConsentSource("FROM consents", subject="subject", key="id", columns=["ads"])])
    assert found.column("ads").to_pylist()[0] is True


def test_refuses_columns_that_the_model_has_and_keys_that_it_lacks(duck: Path) -> None:
    fill(duck, [], "subject VARCHAR, id VARCHAR, ads BOOLEAN")
    sources: list[ExternalConsent] = [
        ConsentSource("FROM consents", subject="subject", key="gone", columns={"ads": "SCORE"}),
        SuppressionList("FROM consents", subject="id", column="id", min_rows=0),
    ]

    with pytest.raises(ConfigurationError) as caught:
        read(MODEL, sources)

    assert str(caught.value) == (
        "consent_sources[0]: the model already has a column `SCORE`; consent_sources[1]: the model already has a "
        "column `id`; consent_sources[0]: key `gone` is not in the model"
    )


@pytest.mark.parametrize("spelled", ["PERSON-0", " person-0", "person-0\u00a0", "p\u00e9rson-0", "pe\u0301rson-0"])
@pytest.mark.parametrize("by_category", [False, True])
def test_an_answer_under_another_spelling_of_the_id_is_a_doubt_and_no_answer(
    duck: Path, spelled: str, by_category: bool
) -> None:
    rows = [{"subject": spelled, "reply": "C4", "ads": True}, {"subject": IDS[1], "reply": "C4", "ads": True}]
    fill(duck, rows, "subject VARCHAR, reply VARCHAR, ads BOOLEAN")
    own: dict[str, Any] = {"columns": {"C4": "ads_ok"}, "category": "reply", "value": "ads"}
    options = own if by_category else {"columns": {"ads": "ads_ok"}}

    found = read(MODEL, [ConsentSource("FROM consents", subject="subject", key="id", **options)])

    assert found.column("ads_ok").to_pylist() == [None, True, *[None] * 5]
    assert found.column("ads_ok_doubt").to_pylist() == [int(Doubt.NEAR_KEY), 0, *[None] * 5]


@pytest.mark.parametrize("spelled", ["c4", " C4", "C4\u00a0", "\u0107\u0034"])
@pytest.mark.parametrize("match", ["folded", "exact"])
def test_an_answer_about_another_spelling_of_the_category_is_a_doubt_where_there_is_no_other(
    duck: Path, spelled: str, match: str
) -> None:
    rows = [
        {"subject": IDS[0], "reply": spelled, "ads": False},
        {"subject": IDS[1], "reply": "C4", "ads": True},
        {"subject": IDS[1], "reply": spelled, "ads": False},
        {"subject": IDS[2], "reply": "C5", "ads": False},
    ]
    fill(duck, rows, "subject VARCHAR, reply VARCHAR, ads BOOLEAN")
    source = ConsentSource(
        "FROM consents",
        subject="subject",
        key="id",
        columns={"C4": "ads_ok", "C5": "mail_ok"},
        category="reply",
        value="ads",
        match=match,
    )

    found = read(MODEL, [source])

    assert found.column("ads_ok").to_pylist() == [None, True, *[None] * 5]
    assert found.column("ads_ok_doubt").to_pylist() == [int(Doubt.NEAR_KEY), 0, *[None] * 5]
    assert found.column("mail_ok_doubt").to_pylist() == [None, None, 0, *[None] * 4]


def test_a_category_that_is_there_under_another_spelling_only_fails(duck: Path) -> None:
    fill(duck, [{"subject": IDS[0], "reply": "c4", "ads": False}], "subject VARCHAR, reply VARCHAR, ads BOOLEAN")
    source = ConsentSource(
        "FROM consents", subject="subject", key="id", columns={"C4": "ads_ok"}, category="reply", value="ads"
    )

    with pytest.raises(ModelError, match="and that the category's id is right"):
        read(MODEL, [source])


def test_where_every_byte_of_an_id_counts_another_spelling_is_another_person(duck: Path) -> None:
    fill(duck, [{"subject": who, "ads": True} for who in ("PERSON-0", IDS[1])], "subject VARCHAR, ads BOOLEAN")

    found = read(MODEL, [ConsentSource("FROM consents", subject="subject", key="id", columns=["ads"], match="exact")])

    assert found.column("ads_doubt").to_pylist() == [None, 0, *[None] * 5]


def test_the_own_answer_counts_beside_another_spelling(duck: Path) -> None:
    rows = [{"subject": "PERSON-0", "ads": False}, {"subject": IDS[0], "ads": True}]
    fill(duck, rows, "subject VARCHAR, ads BOOLEAN")

    found = read(MODEL, [ConsentSource("FROM consents", subject="subject", key="id", columns=["ads"])])

    assert found.column("ads").to_pylist() == [True, *[None] * 6]
    assert found.column("ads_doubt").to_pylist() == [0, *[None] * 6]


def test_rows_whose_schema_widens_keep_it(duck: Path) -> None:
    fill(duck, [{"subject": "a", "ads": True}], "subject VARCHAR, ads BOOLEAN")
    first = pa.table({"id": ["a"], "note": pa.nulls(1)})
    then = pa.table({"id": ["b"], "note": ["x"]})
    batches = iter([*first.to_batches(), *then.to_batches()])
    source = ConsentSource("FROM consents", subject="subject", key="id", columns=["ads"])

    with reading_with_consent(
        lambda: nullcontext(ModelRows(first.schema, batches)),
        [source],
        hook_of=lambda _: sql_hook("consents"),
        conn_id="c",
        time_zone="UTC",
        at=AT,
        log=print,
        warn=print,
    ) as rows:
        found = list(rows.batches)

    assert [batch.schema.field("note").type for batch in found] == [pa.null(), pa.string()]
    assert [batch.column("ads").to_pylist() for batch in found] == [[True], [None]]


@pytest.mark.parametrize("subject", ["BIGINT", "INTEGER", "UBIGINT", "DECIMAL(20,0)"])
@pytest.mark.parametrize(
    "types",
    [
        [pa.int64()],
        [pa.int32()],
        [pa.uint64()],
        [pa.decimal128(20)],
        [pa.null(), pa.int64()],
        [pa.int16(), pa.uint64()],
    ],
    ids=lambda types: " then ".join(map(str, types)),
)
def test_integers_of_any_types_meet(duck: Path, subject: str, types: list[pa.DataType]) -> None:
    rows = [{"subject": id_, "ads": id_ % 2 == 0} for id_ in (1, 2, 3, 30_000)]
    fill(duck, [*rows, {"subject": None, "ads": False}], f"subject {subject}, ads BOOLEAN")
    ids = [[None] if type_ == pa.null() else [1, 2, 5, 30_000, None] for type_ in types]
    tables = [pa.table({"id": pa.array(some, type_)}) for some, type_ in zip(ids, types, strict=True)]
    batches = iter([batch for table in tables for batch in table.to_batches()])
    log: list[str] = []

    with reading_with_consent(
        lambda: nullcontext(ModelRows(tables[0].schema, batches)),
        [ConsentSource("FROM consents", subject="subject", key="id", columns=["ads"])],
        hook_of=lambda _: sql_hook("consents"),
        conn_id="c",
        time_zone="UTC",
        at=AT,
        log=log.append,
        warn=print,
    ) as read_rows:
        found = [answer for batch in read_rows.batches for answer in batch.column("ads").to_pylist()]

    answers = {1: False, 2: True, 30_000: True}
    assert found == [answers.get(id_ or 0) for some in ids for id_ in some]
    matched, many = sum(answer is not None for answer in found), len(found)
    assert f"consent_sources[0]: {matched:,} of {many:,} rows of the model have a subject there for `ads`" in log


def test_subjects_that_are_first_missing_and_then_text_are_compared_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "consents.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_CONSENTS", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE consents (subject, ads)")
        connection.executemany("INSERT INTO consents VALUES (?, ?)", [(None, 0)] * 140_000 + [(IDS[0], 1), (IDS[1], 0)])

    found = read(MODEL, [ConsentSource("SELECT * FROM consents", subject="subject", key="id", columns=["ads"])])

    assert found.column("ads").to_pylist() == [1, 0, *[None] * 5]


def test_a_model_without_rows_needs_no_match(duck: Path) -> None:
    fill(duck, [{"subject": "a", "ads": True}], "subject VARCHAR, ads BOOLEAN")

    found = read(MODEL.slice(0, 0), [ConsentSource("FROM consents", subject="subject", key="id", columns=["ads"])])

    assert found.num_rows == 0
    assert found.schema.names == ["id", "score", "ads", "ads_doubt"]


_MANY = 6_000_000
# As many events as people: one person in five has two, one in five has none.
_EVENTS = f"""
    CREATE TABLE consents AS SELECT
        (hash(CASE WHEN i % 5 = 0 THEN i + 1 ELSE i END) >> 1)::BIGINT AS subject, i % 3 = 0 AS ads,
        TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL (i) SECOND AS time
    FROM range({_MANY}) r(i)"""


@pytest.mark.long
def test_millions_of_events_are_joined_to_millions_of_rows(duck: Path) -> None:
    with duckdb.connect(str(duck)) as connection:
        connection.execute(_EVENTS)
        ids = connection.sql(f"SELECT (hash(i) >> 1)::BIGINT AS id, i FROM range({_MANY}) r(i)").to_arrow_table()
    source = ConsentSource("SELECT * FROM consents", subject="subject", time="time", columns=["ads"], key="id")

    found = read(ids, [source], batch_rows=100_000)

    numbers, answers = np.asarray(found["i"]), found["ads"]
    assert np.array_equal(numbers, np.arange(_MANY))
    own = numbers % 5 != 0
    assert np.array_equal(np.asarray(answers.is_valid()), own)
    # The later one of two events counts: that of the person's own number.
    assert np.array_equal(np.asarray(answers.fill_null(False))[own], (numbers % 3 == 0)[own])
