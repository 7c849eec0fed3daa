"""Declared requests as a vendor gets them, and their answers: values never change the shape, doubt is never success."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.declared import (
    ById,
    ByIndex,
    ByPointer,
    Counts,
    Errors,
    RefusedLists,
    RefusedValues,
    Results,
    StatedSuccess,
    StatusOnly,
    each_row,
    field,
    other_fields,
    parameter,
)
from airflow_consent_retl.destinations.declared.declared_answers import AnswerMap
from airflow_consent_retl.destinations.declared.path_template import filled
from airflow_consent_retl.destinations.declared.template_rows import template_rows
from airflow_consent_retl.destinations.http.client import Answer
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.json_rows import SentObjects

NASTY = '{{ x }}", "id": "\\u0000'


def encoded(body: object, rows: list[dict[str, Any]], **options: Any) -> tuple[Any, dict[int, str]]:
    batch = pa.Table.from_pylist(rows).combine_chunks().to_batches()[0]
    given = {"parameters": {}, "nulls": "omit", **options}
    encoder = template_rows(body, batch.schema, **given)
    found = encoder.rows(batch)
    return json.loads(encoder.body(found.records)), found.refused


@pytest.mark.parametrize(
    ("body", "rows", "document"),
    [
        (each_row(field("id")), [{"id": "a"}, {"id": "b"}], ["a", "b"]),
        (each_row({"id": field("id", as_text=True)}), [{"id": 7}, {"id": 8}], [{"id": "7"}, {"id": "8"}]),
        ({"v": 2, "in": [{"rows": each_row(field("id"))}]}, [{"id": 1}], {"v": 2, "in": [{"rows": [1]}]}),
        ({"to": field("id"), "more": other_fields()}, [{"id": 1, "b": 2}], {"to": 1, "more": {"b": 2}}),
        (each_row({"e": field("e", optional=True), "x": 1}), [{"e": "a"}, {"e": None}], [{"e": "a", "x": 1}, {"x": 1}]),
        ({"list": parameter("list", as_number=True), "r": each_row(field("id"))}, [{"id": 1}], {"list": 5, "r": [1]}),
        (each_row([field("a.id"), other_fields()]), [{"a.id": 1, "a.b": 2}], [[1, {"a": {"b": 2}}]]),
        (each_row([field("a"), other_fields()]), [{"a": NASTY, "b": NASTY}], [[NASTY, {"b": NASTY}]]),
        (each_row({"active": field("on", as_text=True)}), [{"on": True}], [{"active": "true"}]),
    ],
)  # fmt: skip
def test_values_take_their_places_in_a_body(body: object, rows: list[dict[str, Any]], document: object) -> None:
    assert encoded(body, rows, parameters={"list": "5"}) == (document, {})


def test_a_null_is_left_out_unless_the_declaration_or_a_withdrawn_field_sends_it() -> None:
    body, rows = each_row(other_fields()), [{"id": 1, "city": None, "phone": None}]

    assert encoded(body, rows)[0] == [{"id": 1}]
    assert encoded(body, rows, cleared=["phone"])[0] == [{"id": 1, "phone": None}]
    assert encoded(body, rows, nulls="null")[0] == [{"id": 1, "city": None, "phone": None}]
    assert encoded(body, rows, nulls="null", omitted=["city"])[0] == [{"id": 1, "phone": None}]


def test_a_row_without_a_needed_value_or_with_another_value_for_consent_is_refused() -> None:
    rows = [{"e": "a", "p": None, "c": "in"}, {"e": "", "p": None, "c": "in"}, {"e": "b", "p": None, "c": "perhaps"}]

    document, refused = encoded(each_row(other_fields()), rows, needed=[("e", "p")], consent={"c": ("in", "out")})

    assert document == [{"e": "a", "c": "in"}]
    assert refused == {1: "missing_e", 2: "invalid_consent"}


def test_two_fields_with_one_place_are_refused() -> None:
    with pytest.raises(ConfigurationError):
        encoded(each_row(other_fields()), [{"a": 1, "a.b": 2}])


def test_a_value_in_a_path_stays_one_segment() -> None:
    assert filled("/people/{id}/x?list={list}", {"id": "a/../b?c#d", "list": "ä&b=1"}) == (
        "/people/a%2F..%2Fb%3Fc%23d/x?list=%C3%A4%26b%3D1"
    )
    assert filled("/people/{id}", {"id": ".."}) == "/people/%2E%2E"


def read(answer: AnswerMap, status: int, document: object, emails: tuple[str, ...] = ("a@x", "b@x", "c@x")) -> str:
    """Return the outcomes as text: `+` accepted, `?` uncertain, a code for a rejected row; empty: the status counts."""
    sent = SentObjects([{"form": {}, "row": {"email": email}} for email in emails])
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    outcomes: Outcomes | None = answer.read(Answer(status, body, None), sent)
    if outcomes is None:
        return ""
    signs = {"accepted": "+", "uncertain": "?"}
    return " ".join(signs.get(one.status.value, one.code + (f"@{one.field}" if one.field else "")) for one in outcomes)


INDEX = Errors(row=ByIndex("i"), code="why", codes={"no such mail": "not_found"})
IDS = Errors(entries="out.errors", row=ById("mail", "email", ignores_case=True), may_be_missing=True)
POINTER = Errors(row=ByPointer("/data/people"))
RESULTS = Results(accepted=("ok",), refused=("bad",))
BY_ID = Results(entries="done", row=ById("mail", "email"), status="s", accepted=(1,), refused=(0,))
LISTS = RefusedLists(
    lists=(
        RefusedValues("bad.emails", "email", "invalid_email", True),
        RefusedValues("bad.gone", "email", "not_found"),
    ),
    accepted_count="done",
    refused_count="failed",
)
COUNTS = Counts(accepted_count="n.ok", refused_count="n.bad")
STATED = StatedSuccess(place="status", values=("ok", 0), codes={"unknown": "not_found"})


@pytest.mark.parametrize(
    ("answer", "status", "document", "outcomes"),
    [
        (INDEX, 200, {"errors": []}, "+ + +"),
        (INDEX, 200, {"errors": [{"i": 1, "why": "bad_mail"}]}, "+ bad_mail +"),
        (INDEX, 200, {"errors": [{"i": 2, "why": "no such mail", "field": "email"}]}, "+ + not_found@email"),
        (INDEX, 200, {"errors": [{"i": 0, "why": "a@x is bad"}]}, "unnamed + +"),
        (INDEX, 200, {"errors": [{"i": 3, "why": "bad"}]}, "? ? ?"),
        (INDEX, 200, {"errors": [{"i": True, "why": "bad"}]}, "? ? ?"),
        (INDEX, 200, {"errors": "none"}, ""),
        (INDEX, 200, {}, ""),
        (INDEX, 202, {"errors": []}, ""),
        (INDEX, 200, b"<html>", ""),
        (INDEX, 400, {"errors": [{"i": 1, "why": "bad"}]}, "http_400 bad http_400"),
        (INDEX, 400, {"errors": [{"why": "malformed"}]}, ""),
        (INDEX, 400, {"message": "malformed"}, ""),
        (IDS, 200, {}, "+ + +"),
        (IDS, 200, {"out": {"errors": [{"mail": "B@X", "code": "blocked"}]}}, "+ blocked +"),
        (IDS, 200, {"out": {"errors": [{"mail": "z@x", "code": "blocked"}]}}, "? ? ?"),
        (POINTER, 200, {"errors": [{"source": {"pointer": "/data/people/2/email"}, "code": "bad"}]}, "+ + bad"),
        (POINTER, 200, {"errors": [{"source": {"pointer": "/data/list"}, "code": "bad"}]}, "? ? ?"),
        (RESULTS, 200, {"results": [{"status": "ok"}, {"status": "bad", "code": "late"}, {"status": "?"}]}, "+ late ?"),
        (RESULTS, 200, {"results": [{"status": "ok"}]}, "? ? ?"),
        (BY_ID, 200, {"done": [{"mail": "a@x", "s": 1}, {"mail": "b@x", "s": 0, "code": "late"}]}, "+ late ?"),
        (BY_ID, 200, {"done": [{"mail": "a@x", "s": True}]}, "? ? ?"),
        (LISTS, 200, {"done": 3, "failed": 0}, "+ + +"),
        (LISTS, 200, {"done": 2, "failed": 1, "bad": {"emails": ["B@X"]}}, "+ invalid_email@email +"),
        (LISTS, 200, {"done": 1, "failed": 2, "bad": {"emails": ["b@x"]}}, "? invalid_email@email ?"),
        (LISTS, 200, {"done": 2, "failed": 0}, "? ? ?"),
        (LISTS, 200, {"done": 3, "failed": 0, "bad": {"gone": ["c@x"]}}, "+ + not_found@email"),
        (LISTS, 200, {"done": 2, "failed": 1, "bad": {"emails": ["z@x"]}}, "? ? ?"),
        (LISTS, 200, {"failed": 0}, ""),
        (COUNTS, 200, {"n": {"ok": 3, "bad": 0}}, "+ + +"),
        (COUNTS, 200, {"n": {"ok": 0, "bad": 3}}, "unnamed unnamed unnamed"),
        (COUNTS, 200, {"n": {"ok": 2, "bad": 1}}, "? ? ?"),
        (COUNTS, 200, {"n": {"ok": True, "bad": 0}}, ""),
        (Counts(accepted_count="ok"), 200, {"ok": 3}, "+ + +"),
        (Counts(accepted_count="ok"), 200, {"ok": 0}, "? ? ?"),
        (STATED, 200, {"status": "ok"}, "+ + +"),
        (STATED, 200, {"status": False}, ""),
        (STATED, 200, {"status": "no"}, ""),
        (StatusOnly(), 204, b"", "+ + +"),
        (StatusOnly(), 207, b"", ""),
        (StatusOnly(not_there=(404,)), 404, b"", ""),
    ],
)
def test_each_row_has_the_outcome_that_the_answer_says(
    answer: AnswerMap, status: int, document: object, outcomes: str
) -> None:
    assert read(answer, status, document) == outcomes


@pytest.mark.parametrize(
    ("answer", "status", "document", "outcomes"),
    [
        (StatusOnly(not_there=(404,)), 404, b"", "not_found"),
        (StatusOnly(codes={"NoUser": "not_found"}), 400, {"code": "NoUser"}, "not_found"),
        (StatusOnly(), 400, {"code": "a@x is unknown"}, "unnamed"),
        (StatusOnly(), 400, {"message": "bad"}, ""),
        (STATED, 200, {"status": "no", "code": "unknown"}, "not_found"),
    ],
)
def test_an_answer_about_a_single_row_has_its_code(
    answer: AnswerMap, status: int, document: object, outcomes: str
) -> None:
    assert read(answer, status, document, emails=("a@x",)) == outcomes


def test_two_rows_of_one_value_that_the_vendor_counts_once_end_the_same_way() -> None:
    assert read(LISTS, 200, {"done": 1, "failed": 0}, emails=("a@x", "A@X")) == "+ +"
    assert read(LISTS, 200, {"done": 0, "failed": 1, "bad": {"emails": ["a@x"]}}, emails=("a@x", "A@X")) == (
        "invalid_email@email invalid_email@email"
    )
