"""Each map from answers to outcomes names the rows that the answer names; a case that is not clear is uncertain."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.contract import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http import answer_maps
from airflow_consent_retl.destinations.http.answer_maps import (
    MISSING,
    accepted,
    by_index,
    by_pointer,
    by_value,
    entries,
    errors_beside,
    in_order,
    joined,
    rejected_by,
)
from airflow_consent_retl.destinations.http.csv_tables import AcceptedWith, by_column, csv_entries
from airflow_consent_retl.destinations.http.responses import ACCEPTED, UnreadableAnswerError

SENT: list[dict[str, Any]] = [
    {"id": "u-1", "email": "Ada@x.example", "trace": "row-0", "properties": {"city": "canary_city"}},
    {"id": "u-2", "email": "ben@x.example", "trace": "row-1"},
    {"id": "u-3", "email": "cyd@x.example", "trace": "row-2"},
]
CODE = rejected_by("code")


def rejected(code: str) -> Outcome:
    return Outcome(RowStatus.REJECTED, code)


def is_unclear(outcomes: Outcomes) -> bool:
    return {(one.status, one.code) for one in outcomes} == {(RowStatus.UNCERTAIN, "unreadable_answer")}


def by_email(answered: Any, outcome: Any = CODE, **options: Any) -> Outcomes:
    return by_value(
        answered,
        SENT,
        outcome,
        sent_as=lambda row: str(row["email"]).lower(),
        named_as=lambda entry: str(entry.get("email", "")).lower(),
        **options,
    )


def test_an_error_by_index_is_its_rows_and_the_others_are_what_the_vendor_documents() -> None:
    answered = [{"index": 1, "code": "invalid_email"}]

    assert list(by_index(answered, SENT, CODE, others=ACCEPTED)) == [ACCEPTED, rejected("invalid_email"), ACCEPTED]
    assert list(by_index(answered, SENT, CODE)) == [MISSING, rejected("invalid_email"), MISSING]
    assert by_index([{"at": {"n": "3"}, "code": "x_1"}], SENT, CODE, field="at.n", first=1)[2] == rejected("x_1")


@pytest.mark.parametrize("index", [3, -1, True, 1.0, "1.0", "01", None, [1], "u-1", 10**12])
def test_an_index_of_no_row_makes_every_row_uncertain(index: object) -> None:
    assert is_unclear(by_index([{"index": index, "code": "x"}], SENT, CODE, others=ACCEPTED))


def test_two_entries_about_one_row_agree_or_every_row_is_uncertain() -> None:
    twice = [{"index": 0, "code": "too_old"}, {"index": 0, "code": "too_old"}]

    assert by_index(twice, SENT, CODE)[0] == rejected("too_old")
    assert is_unclear(by_index([*twice, {"index": 0, "code": "too_new"}], SENT, CODE, others=ACCEPTED))


def test_results_in_order_need_one_for_each_row() -> None:
    outcome = lambda entry, row: ACCEPTED if entry["ok"] else rejected("no")  # noqa: E731

    assert list(in_order([{"ok": 1}, {"ok": 0}, {"ok": 1}], SENT, outcome)) == [ACCEPTED, rejected("no"), ACCEPTED]
    assert is_unclear(in_order([{"ok": 1}, {"ok": 1}], SENT, outcome))


def test_a_pointer_names_its_row_and_several_errors_of_a_row_are_one_rejection() -> None:
    errors = [
        {"code": "invalid_phone", "source": {"pointer": "/data/attributes/profiles/data/2/attributes/phone"}},
        {"code": "invalid_email", "source": {"pointer": "/data/attributes/profiles/data/2"}},
    ]
    prefix = "/data/attributes/profiles/data"

    found = by_pointer(errors, SENT, CODE, prefix=prefix, others=ACCEPTED)

    assert list(found) == [ACCEPTED, ACCEPTED, rejected("invalid_phone")]
    for pointer in ("/data/attributes/lists/data/2", f"{prefix}/3", f"{prefix}/02", f"{prefix}/", prefix, None, 2):
        odd = [{"code": "x", "source": {"pointer": pointer}}]
        assert is_unclear(by_pointer(odd, SENT, CODE, prefix=prefix, others=ACCEPTED))
    assert is_unclear(by_pointer([{"code": "x"}], SENT, CODE, prefix=prefix, others=ACCEPTED))


def test_a_trace_id_or_an_identifier_names_its_row_as_the_vendor_folds_it() -> None:
    found = by_email([{"email": "ADA@x.example", "code": "invalid"}], others=ACCEPTED)

    assert list(found) == [rejected("invalid"), ACCEPTED, ACCEPTED]
    assert is_unclear(by_email([{"email": "nobody@x.example", "code": "invalid"}], others=ACCEPTED))
    assert is_unclear(by_email([{"code": "invalid"}], others=ACCEPTED))


def test_rows_that_were_sent_with_the_same_identifier_end_the_same_way() -> None:
    twins: list[dict[str, Any]] = [{"email": "a"}, {"email": "a"}, {"email": None}]

    found = by_value(
        [{"value": "a"}], twins, accepted, sent_as=lambda row: row["email"], named_as=lambda one: one["value"]
    )

    assert list(found) == [ACCEPTED, ACCEPTED, MISSING]


def test_results_and_errors_of_one_answer_are_joined_and_a_row_in_both_is_uncertain() -> None:
    trace: Any = {"sent_as": lambda row: row["trace"], "named_as": lambda one: one.get("trace")}
    results = by_value([{"trace": "row-0"}, {"trace": "row-1"}], SENT, accepted, **trace)
    errors = by_value([{"trace": "row-1", "code": "late"}], SENT, CODE, **trace)

    unclear = Outcome(RowStatus.UNCERTAIN, "unreadable_answer")
    assert list(joined(results, errors)) == [ACCEPTED, unclear, MISSING]
    assert is_unclear(joined(results, by_value([{"trace": "other"}], SENT, CODE, **trace)))


def test_a_code_is_a_short_word_that_repeats_no_value_of_the_row_however_deep() -> None:
    codes = ["not a word at all", "bad_canary_city", "u-1", {"a": 1}, None]

    assert {CODE({"code": code}, SENT[0]).code for code in codes} == {"unnamed"}
    found = rejected_by("detail.reason", "code", codes={"USER UNKNOWN": "not_found"})
    assert found({"detail": {"reason": "USER UNKNOWN"}}, SENT[0]) == rejected("not_found")
    assert found({"code": 42}, SENT[0]) == rejected("42")


def test_entries_are_a_list_at_a_path_and_anything_else_is_unreadable() -> None:
    document: dict[str, Any] = {"a": {"b": [{"x": 1}, "u-1", 7], "none": None, "odd": "text", "bad": [[]]}}

    assert entries(document, "a", "b") == [{"x": 1}, {"value": "u-1"}, {"value": 7}]
    assert entries(document, "a", "none") == entries(document, "a", "missing") == []
    for path in (("a", "odd"), ("a", "bad"), ("z", "b")):
        with pytest.raises(UnreadableAnswerError):
            entries(document, *path)


def test_a_results_file_is_read_by_its_header() -> None:
    text = b'\xef\xbb\xbfsf__Id,Email,Note\n1,a@x.example,"two\nlines, ""quoted"""\n\n'

    assert csv_entries(text, columns=["Email"]) == [
        {"sf__Id": "1", "Email": "a@x.example", "Note": 'two\nlines, "quoted"'}
    ]
    assert csv_entries(b"Email\n") == []
    for odd in (None, b"", b"\n", b"A,A\n1,2\n", b"A\n1,2\n", b"A,B\n1\n", b"\xff", b'A\n"open', b"Other\n1\n"):
        with pytest.raises(UnreadableAnswerError):
            csv_entries(odd, columns=["Email"] if odd == b"Other\n1\n" else [])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 5) | st.sampled_from(["row-1", "0", "/p/1", "/p/9", "Ada@x.example"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["index", "code"]), inner, max_size=2),
    max_leaves=4,
)
ENTRY = st.dictionaries(st.sampled_from(["index", "email", "pointer", "code"]), VALUES, max_size=3)
MAPS: list[Callable[[list[Any]], Outcomes]] = [
    lambda answered: by_index(answered, SENT, CODE),
    lambda answered: by_pointer(answered, SENT, CODE, prefix="/p", field="pointer"),
    by_email,
    lambda answered: in_order(answered, SENT, CODE),
]


@given(st.lists(ENTRY, max_size=4), st.integers(0, len(MAPS) - 1))
def test_no_list_of_errors_whatever_is_in_it_makes_a_row_accepted(answered: list[Any], number: int) -> None:
    found = MAPS[number](answered)

    assert len(found) == len(SENT)
    assert {one.status for one in found} <= {RowStatus.UNCERTAIN, RowStatus.REJECTED}
    assert answer_maps.MISSING.code == "not_in_answer"


@pytest.mark.parametrize(
    ("errors", "counted", "expected"),
    [
        ([], None, [ACCEPTED] * 3),
        ([{"index": 1, "code": "locked"}], 2, [ACCEPTED, rejected("locked"), ACCEPTED]),
        # The first error of a row counts.
        ([{"index": 1, "code": "locked"}, {"index": 1, "code": "other"}], 2, [ACCEPTED, rejected("locked"), ACCEPTED]),
        # Another number than the errors leave: some row failed without a name.
        ([{"index": 1, "code": "locked"}], 1, [MISSING, rejected("locked"), MISSING]),
        ([{"index": number, "code": "locked"} for number in range(3)], 7, [rejected("locked")] * 3),
    ],
)
def test_errors_beside_a_success_are_about_their_rows_and_the_count_has_to_fit(
    errors: list[dict[str, Any]], counted: int | None, expected: list[Outcome]
) -> None:
    found = errors_beside(errors, SENT, CODE, status=200, accepted_count=counted)

    assert found is not None
    assert list(found) == expected


@pytest.mark.parametrize("index", [7, None, [1], {"a": 1}, True])
def test_an_error_beside_a_success_about_nothing_that_was_sent_is_about_any_row(index: object) -> None:
    found = errors_beside([{"index": index}], SENT, CODE, status=200)

    assert found is not None
    assert is_unclear(found)
    assert errors_beside([{"index": index}], SENT, CODE, status=400) is None


def test_a_refusal_with_errors_rejects_the_rows_without_one_by_its_status() -> None:
    found = errors_beside([{"index": 0, "code": "locked"}], SENT, CODE, status=422)

    assert found is not None
    assert list(found) == [rejected("locked"), rejected("http_422"), rejected("http_422")]
    assert errors_beside([], SENT, CODE, status=422) is None


CELL = st.text(st.sampled_from('ab",\n\r#Ä'), max_size=3)


@given(st.lists(st.tuples(CELL, CELL), max_size=4), st.sampled_from(["all", "few"]), st.binary(max_size=3), st.data())
def test_results_mean_the_same_whether_they_are_read_as_a_whole_or_line_by_line(
    lines: list[tuple[str, str]], quoted: str, noise: bytes, data: st.DataObject
) -> None:
    text = io.StringIO()
    quoting: Any = csv.QUOTE_ALL if quoted == "all" else csv.QUOTE_MINIMAL
    csv.writer(text, lineterminator="\n", quoting=quoting).writerows([("Id", "Key"), *lines])
    body = text.getvalue().encode()
    place = data.draw(st.integers(0, len(body)))
    whole = AcceptedWith("Id", otherwise=rejected("x"))

    for some in (body, body[:place] + noise + body[place:]):
        assert read_or_not(some, whole) == read_or_not(some, whole.__call__)


def read_or_not(body: bytes, outcome_of: Callable[[Mapping[str, str]], Outcome]) -> dict[str, Outcome] | None:
    try:
        return by_column([(body, outcome_of)], "Key")
    except UnreadableAnswerError:
        return None


def test_lines_in_several_tables_are_found_by_a_column_and_a_contradiction_is_uncertain() -> None:
    done, failed = b"Id,Key\n1,a\n2,b\n", b"Key,Error\nb,locked\nc,locked\n"

    found = by_column(
        [(done, lambda _: ACCEPTED), (b" ", lambda _: ACCEPTED), (failed, lambda _: rejected("x"))], "Key"
    )

    assert found == {"a": ACCEPTED, "b": Outcome(RowStatus.UNCERTAIN, "several_results"), "c": rejected("x")}
    with pytest.raises(UnreadableAnswerError):
        by_column([(done, lambda _: ACCEPTED)], "Other")
