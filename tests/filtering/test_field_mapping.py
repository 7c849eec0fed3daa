"""Each value of a field is computed from its own row, and a text that is no value is refused."""

from __future__ import annotations

import pickle
import random

import pyarrow as pa
import pytest

from airflow_consent_retl.consent.destination_binding import DestinationUse, destination_problems
from airflow_consent_retl.consent.document import parse_policy
from airflow_consent_retl.errors import ConfigurationError, ModelError
from airflow_consent_retl.fields import columns, consent, constant, expression
from airflow_consent_retl.fields.field_values import check_values, columns_of, value_of
from airflow_consent_retl.filtering.field_mapping import FieldMapping
from airflow_consent_retl.filtering.guarded_fields import guarded_columns
from airflow_consent_retl.filtering.permitted import checked_fields

ROWS = pa.record_batch(
    {
        "id": [1, 2, 3],
        "city": [" Köln", None, "Rome"],
        "a": ["x@a", None, None],
        "b": ["x@b", "y@b", None],
        "spent": [10, 25, None],
        "Odd Name": ["q", "r", "s"],
    }
)


def found(**fields: str) -> list[dict[str, object]]:
    mapping = FieldMapping(fields)
    schema = mapping.schema(ROWS.schema)
    rows = mapping.of(ROWS.select(mapping.columns), schema)
    assert rows.schema == schema
    return [dict(row) for row in rows.to_pylist()]


def test_a_list_has_the_values_that_are_not_null_in_order_and_none_is_null() -> None:
    assert [row["all"] for row in found(all=columns("a", "b"))] == [["x@a", "x@b"], ["y@b"], None]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("upper(trim(city))", ["KÖLN", None, "ROME"]),
        ("coalesce(a, b, 'none') -- the first", ["x@a", "y@b", "none"]),
        ("CASE WHEN spent >= 20 THEN 'gold' WHEN spent IS NOT NULL THEN 'iron' END", ["iron", "gold", None]),
        ("spent / 4", [2.5, 6.25, None]),
        ("'crm-' || id", ["crm-1", "crm-2", "crm-3"]),
        ("split_part(b, '@', 1) || \"Odd Name\"", ["xq", "yr", None]),
        ("CAST(spent * 2 AS VARCHAR)", ["20", "50", None]),
        ("sha256(lower(b)) = sha256('x@b')", [True, False, None]),
        ("date_trunc('month', DATE '2026-11-29' + id::int - id::int)", ["2026-11-01"] * 3),
    ],
)
def test_an_expression_is_computed_for_each_row(sql: str, expected: list[object]) -> None:
    values = [row["value"] for row in found(value=expression(sql), id="id")]

    assert [value if expected[0] != "2026-11-01" else str(value)[:10] for value in values] == expected


@pytest.mark.parametrize(
    "sql",
    [
        "random()",
        "now()",
        "current_date",
        "uuid()",
        "getenv('HOME')",
        "current_setting('threads')",
        "read_text('/etc/passwd')",
        "(SELECT max(city) FROM people)",
        "city IN (SELECT city FROM people)",
        "count(city)",
        "row_number() OVER (ORDER BY city)",
        "unnest(city)",
        "COLUMNS(*)",
        "*",
        "people.city",
        "city) FROM people WHERE (city",
        "city), (id",
        "city); DROP TABLE people; SELECT (city",
        "city, id",
        "city::json",
        "city COLLATE nocase",
        "$1",
        "list_transform(city, x -> x)",
        "'no column'",
        "city +",
        "",
    ],
)
def test_an_expression_that_depends_on_more_than_the_row_is_refused_when_it_is_written(sql: str) -> None:
    with pytest.raises(ConfigurationError, match="expression"):
        expression(sql)


def test_a_value_that_does_not_suit_an_expression_fails_without_a_word_of_it() -> None:
    rows = pa.record_batch({"city": ["canary-7"]})

    with pytest.raises(ModelError, match="TRY_CAST") as failed:
        FieldMapping({"n": expression("CAST(city AS INT)")}).of(rows)

    assert "canary" not in str(failed.value)
    assert failed.value.__cause__ is failed.value.__context__ is None


def test_an_expression_reads_no_file_and_no_setting_even_if_a_check_had_missed_it() -> None:
    from airflow_consent_retl.filtering.computed_expressions import _engine

    with _engine() as engine:
        for statement in ("SELECT * FROM read_text('/etc/hostname')", "SET threads = 2", "INSTALL httpfs"):
            with pytest.raises(Exception, match=r"(?i)disabled|locked"):
                engine.sql(statement).fetchall() if statement.startswith("SELECT") else engine.execute(statement)


def test_columns_of_a_model_that_differ_in_case_are_different_columns() -> None:
    rows = pa.record_batch({"City": ["upper"], "city": ["lower"]})
    fields = {"x": expression("City || '-' || city"), "y": expression("city || City")}

    mapped = FieldMapping(fields).of(rows)

    assert mapped.to_pylist() == [{"x": "upper-lower", "y": "lowerupper"}]


def test_a_withheld_value_is_null_or_no_yes_in_exactly_these_rows() -> None:
    fields = {"up": expression("upper(a)"), "all": columns("a", "b"), "ok": consent("C1", granted=1, otherwise=0)}
    chance = random.Random(7)  # noqa: S311
    rows = pa.record_batch(
        {"a": [str(n) for n in range(50)], "b": ["b"] * 50, "mark": [chance.randint(0, 1) for _ in range(50)]}
    )
    marked = FieldMapping(fields, dict.fromkeys(fields.values(), "mark")).of(rows)
    whole = FieldMapping(fields).of(rows, without=set(fields.values()))

    for row, mark in zip(marked.to_pylist(), rows["mark"].to_pylist(), strict=True):
        assert (row["up"] is None, row["all"] is None, row["ok"]) == (bool(mark), bool(mark), 0 if mark else 1)
    assert set(whole["up"].to_pylist()) == set(whole["all"].to_pylist()) == {None}
    assert set(whole["ok"].to_pylist()) == {0}


@pytest.mark.parametrize(
    ("guard", "withheld"),
    [
        # By the column that a value is computed from.
        ("a", {"up", "all", "plain"}),
        # By the field: its inputs are guarded, under every name.
        ("up", {"up", "all", "plain"}),
        ("b", {"all"}),
        ("all", {"up", "all", "plain"}),
        ("source", {"source"}),
        (consent("C1", granted="x").replace(", granted='x'", ""), {"ok"}),
    ],
)
def test_a_guard_withholds_each_field_that_is_computed_from_a_guarded_column(guard: str, withheld: set[str]) -> None:
    fields = {
        "id": "id",
        "plain": "a",
        "up": expression("upper(a)"),
        "all": columns("a", "b"),
        "source": constant("web"),
        "ok": consent("C1", granted="yes"),
        "other": consent("C2", granted="yes"),
    }

    columns_withheld = guarded_columns([guard], fields)

    assert {name for name, source in fields.items() if source in columns_withheld} == withheld


def test_values_are_plain_text_that_says_the_same_when_it_is_read_again() -> None:
    values = [
        constant("it's {{ ds }}"),
        constant(None),
        constant(-1.5),
        columns("a", "b b"),
        expression("upper(\"a\") || 'x'"),
        consent("C'5", granted="yes", otherwise="no"),
        consent("C5", granted=True),
    ]

    assert all(type(value) is str and value_of(pickle.loads(pickle.dumps(value))) is not None for value in values)  # noqa: S301
    assert len({value_of(value) for value in values}) == len(values)


@pytest.mark.parametrize(
    "text",
    [
        "constant(x)",
        "constant(1, 2)",
        "constant(__import__('os'))",
        "consent()",
        "columns(*a)",
        "consent('C5')",
        "expression(1)",
    ],
)
def test_a_text_that_looks_like_a_value_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"fields\['x'\]"):
        check_values({"x": text})


def test_a_wrong_value_is_refused_where_it_is_written() -> None:
    for wrong in (float("nan"), [1], 2**63, b"x"):
        with pytest.raises(ConfigurationError):
            constant(wrong)  # type: ignore[arg-type]
    for names in ((), ("a", "a"), ("",)):
        with pytest.raises(ConfigurationError):
            columns(*names)
    with pytest.raises(ConfigurationError, match="tell nothing"):
        consent("C1", granted="yes", otherwise="yes")
    with pytest.raises(ConfigurationError, match="different types"):
        consent("C1", granted="yes", otherwise=0)


def test_a_column_that_a_value_needs_is_missed_with_the_near_name_and_a_twin_of_the_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="column `citi` is not in the model, did you mean `city`"):
        checked_fields({"x": expression("upper(citi)")}, ["city"])
    with pytest.raises(ConfigurationError, match="give the column another name"):
        checked_fields({"x": constant("city")}, ["city", constant("city")])
    with pytest.raises(ConfigurationError, match="give the column another name"):
        checked_fields(None, ["city", constant("city")])


def test_a_policy_that_lists_the_columns_of_a_destination_covers_those_that_a_value_is_computed_from() -> None:
    policy = parse_policy(
        {
            "categories": [{"id": "C1", "name": "Ads", "destinations": ["ads"]}],
            "officer": {"destinations": {"ads": {"fields": ["city", "a"]}}},
        }
    )

    def problems(**fields: str) -> list[str]:
        use = DestinationUse(name="ads", fields=fields)
        return [problem.message for problem in destination_problems(policy, use, is_central=True)]

    assert problems(x=expression("upper(city)"), y=constant(1), z=columns("a"), ok=consent("C1", granted=1)) == []
    (refused,) = problems(x=expression("city || spent"))
    assert "this DAG sends `spent` as `x`" in refused
    assert columns_of("plain name") == ("plain name",)
