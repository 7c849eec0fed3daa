"""Parts that several vendors share: trace ids, questions about records, JSON:API, files of CSV, and options as data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pytest

from airflow_consent_retl.contract import ConfigurationError, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.answer_maps import Entry, by_question, by_trace, rejected_by
from airflow_consent_retl.destinations.http.bodies import ShapedRows, json_body
from airflow_consent_retl.destinations.http.client import Answer
from airflow_consent_retl.destinations.http.csv_tables import csv_files
from airflow_consent_retl.destinations.http.json_api import attributes_of, document_of, next_page, resources
from airflow_consent_retl.destinations.http.keyed_lines import LineForm, RecordEncoder
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.destinations.http.responses import ACCEPTED, NOT_FOUND, UnreadableAnswerError, number_in
from airflow_consent_retl.destinations.http.subscriptions import NO_STATE, SubscriptionRules
from airflow_consent_retl.destinations.http.text_values import texts_of, without_text

ROWS: list[dict[str, object]] = [{"id": "ann", "trace": "row-0"}, {"id": "bob", "trace": "row-1"}]
UNCLEAR = Outcome(RowStatus.UNCERTAIN, "unreadable_answer")
MISSING = Outcome(RowStatus.UNCERTAIN, "not_in_answer")
LOCKED = Outcome(RowStatus.REJECTED, "locked")


def answer(document: object, **headers: str) -> Answer:
    return Answer(200, json.dumps(document).encode(), None, headers=headers)


def traced(results: list[Entry], errors: list[Entry]) -> list[Outcome]:
    return list(
        by_trace(
            results,
            errors,
            ROWS,
            rejected_by("code"),
            trace="trace",
            identity=lambda row: row["id"],
            identities=lambda entry: entry.get("names", []),
        )
    )


def test_a_result_names_its_row_by_trace_id_or_by_one_identifier_and_an_error_by_trace_id_only() -> None:
    error = {"trace": "row-1", "code": "locked"}

    assert traced([{"trace": "row-0"}], [error]) == [ACCEPTED, LOCKED]
    assert traced([{"names": ["zoe", "ann"]}], [error]) == [ACCEPTED, LOCKED]
    assert traced([{"names": ["ann", "bob"]}], []) == [UNCLEAR, UNCLEAR]
    assert traced([{"trace": "row-0"}], [{"code": "locked"}]) == [UNCLEAR, UNCLEAR]
    assert traced([{"trace": "row-0"}], []) == [ACCEPTED, MISSING]


def asked(records: list[Entry], missing: list[str]) -> tuple[list[Outcome], dict[str, Entry]]:
    found: dict[str, Entry] = {}
    keys: Any = ["Ann@x.example", "bob@x.example"]
    outcomes = by_question(
        records,
        missing,
        keys,
        found,
        names_of=lambda one: one.get("emails", []),
        fold=lambda text: str(text).casefold(),
    )
    return list(outcomes), found


def test_a_key_has_a_record_or_none_or_the_answer_is_not_clear() -> None:
    ann = {"emails": ["ann@X.example", "a@y.example"]}

    assert asked([ann], ["BOB@x.example"]) == ([ACCEPTED, NOT_FOUND], {"Ann@x.example": ann})
    assert asked([ann], [])[0] == [ACCEPTED, MISSING]
    # A record of someone who was not asked about may be anyone's.
    assert asked([ann, {"emails": ["eve@x.example"]}], [])[0] == [UNCLEAR, UNCLEAR]
    assert asked([ann], ["ann@x.example", "bob@x.example"])[0][0] == UNCLEAR


@pytest.mark.parametrize(
    ("read", "document"),
    [
        (resources, {"data": None}),
        (resources, {"data": [{"id": "1"}]}),
        (resources, {"data": [{"id": 1, "attributes": {}}]}),
        (attributes_of, {"data": []}),
        (next_page, {"links": {"next": 2}}),
    ],
)
def test_a_document_of_json_api_with_another_shape_is_not_read(
    read: Callable[[Answer], object], document: object
) -> None:
    with pytest.raises(UnreadableAnswerError):
        read(answer(document))


def test_resources_have_their_attributes_and_ids_and_documents_only_the_relationships_that_there_are() -> None:
    page = {"data": [{"id": "1", "attributes": {"email": "ann"}}], "links": {"next": "/page/2"}}

    assert (resources(answer(page)), next_page(answer(page))) == ([{"email": "ann", "id": "1"}], "/page/2")
    assert document_of("job", {"a": 1}, list=None) == {"data": {"type": "job", "attributes": {"a": 1}}}
    assert document_of("job", {}, list=7)["data"]["relationships"] == {"list": {"data": 7}}


def test_a_file_of_csv_is_cut_before_it_is_too_large_and_each_one_has_the_header() -> None:
    files = list(csv_files(pa.record_batch({"a": ['x"y', "\n", "zz"]}), most_bytes=12))

    assert files == [(b'"a"\n"x""y"\n', 1), (b'"a"\n"\n"\n', 1), (b'"a"\n"zz"\n', 1)]
    assert list(csv_files(pa.record_batch({"a": pa.array([], pa.string())}), most_bytes=12)) == []


def test_texts_are_the_same_whether_a_column_is_encoded_as_a_whole_or_value_by_value() -> None:
    texts = ["ann", "", None, "#N/A", "long" * 9, 'Ä\n"', "ann", "bob"]
    columns = {"key": texts, "ok": [True, False, None, True] * 2, "n": [-1, 0, None, 2**62] * 2}
    whole = pa.record_batch(columns)
    # A dictionary has no short way.
    apart = pa.record_batch({name: column.dictionary_encode() for name, column in zip(columns, whole, strict=True)})
    form = LineForm(vendor="Acme", empty="#N/A", max_field_characters=30, max_row_characters=60)

    for keep_nulls in (False, True):
        found, other = (
            RecordEncoder(form, rows.schema, "key", keep_nulls=keep_nulls).encode(rows) for rows in (whole, apart)
        )
        assert (found.keys, found.refused) == (other.keys, other.refused)
        assert found.lines.owners == other.lines.owners == ["ann", 'Ä\n"', "bob"]
        assert found.lines.table.to_pylist() == other.lines.table.to_pylist()
    assert found.refused == {1: "no_key", 2: "no_key", 3: "reserved_text", 4: "row_too_large"}
    # Of two rows with one key, the last one counts.
    assert found.lines.table.to_pylist()[0] == {"key": "ann", "ok": "", "n": ""}


def test_text_that_is_not_utf_8_has_no_line() -> None:
    raw = pa.array([b"ann", b"\xff"]).view(pa.string())
    form = LineForm(vendor="Acme", empty="", max_field_characters=30, max_row_characters=60)

    found = RecordEncoder(form, pa.schema({"key": pa.string()}), "key").encode(pa.record_batch({"key": raw}))

    assert (found.keys, found.refused) == (["ann", None], {1: "not_utf8"})


def test_a_number_in_a_header_is_whole_or_none() -> None:
    texts = {"a": "1500", "b": "1.5", "c": "-1", "d": ""}

    assert [number_in(answer({}, **texts), name) for name in "abcde"] == [1500, None, None, None, None]


def test_only_the_first_of_two_objects_with_one_identifier_is_sent_and_each_has_a_trace() -> None:
    rows = pa.record_batch({"id": ["a", "A", "b"]})
    shaped = ShapedRows(rows.schema, body=json_body(list), trace="trace", unique=lambda one: str(one["id"]).lower())

    found = shaped.rows(rows)

    assert found.records == [{"id": "a", "trace": "row-0"}, {"id": "b", "trace": "row-2"}]
    assert (found.positions, found.refused) == ([0, 2], {1: "repeated_identifier"})


def test_a_value_is_text_as_in_json_and_a_type_without_such_a_text_is_named() -> None:
    rows = pa.record_batch({"n": pa.array([1, None]), "b": [True, False], "l": [["a", "b"], []]})
    unfit = pa.schema({"at": pa.timestamp("s"), "of_day": pa.time32("s"), "tags": pa.list_(pa.string())})

    assert [texts_of(rows, name) for name in ("n", "b", "l")] == [["1", None], ["true", "false"], ["a;b", ""]]
    assert without_text(unfit, lists=True, times=False) == ["`at` (timestamp[s])", "`of_day` (time32[s])"]
    assert without_text(unfit) == ["`at` (timestamp[s])", "`tags` (list<item: string>)"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskOptions(HttpOptions):
    counts: ClassVar[tuple[str, ...]] = ("drawers",)
    most: ClassVar[Mapping[str, int]] = {"drawers": 4_000}
    request_rows: ClassVar[tuple[int, str]] = (10, "a desk takes at most 10 rows")
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"wood": ("oak", "ash", "elm")}
    withdrawals: ClassVar[Mapping[str, str]] = {"empty": "it is emptied", "burn": "it is burnt"}
    companions: ClassVar[Mapping[str, str]] = {"burn": "oven"}

    on_withdrawal: str
    oven: str = ""
    drawers: int = 3
    wood: Literal["oak", "ash", "elm"] = "oak"
    batch_rows: int = 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"drawers": 0}, "^drawers must be at least 1$"),
        ({"drawers": 5_000}, "^drawers must be at most 4,000$"),
        ({"removal_batch_rows": 11}, "^a desk takes at most 10 rows$"),
        ({"wood": "fir"}, "^wood must be `oak`, `ash` or `elm`$"),
        ({"on_withdrawal": "sell"}, "on_withdrawal is not one of the destination's choices"),
        ({"on_withdrawal": "burn"}, '^oven is for on_withdrawal="burn", which needs it$'),
        ({"oven": "a"}, '^oven is for on_withdrawal="burn", which needs it$'),
    ],
)
def test_options_out_of_what_a_class_declares_are_refused(given: dict[str, Any], message: str) -> None:
    assert DeskOptions(on_withdrawal="empty").drawers == 3

    with pytest.raises(ConfigurationError, match=message):
        DeskOptions(**{"on_withdrawal": "empty", **given})


def test_a_state_is_asked_for_before_a_grant_is_written_and_an_unknown_one_is_left() -> None:
    rules = SubscriptionRules("Acme", granting=["yes"], denied="no")
    calls: list[object] = []

    def known(some: list[str]) -> dict[str, Outcome | str]:
        calls.append(some)
        return {"ann": "", "bob": "no", "dan": LOCKED}

    def write(some: list[tuple[str, str]]) -> Outcomes:
        calls.append(some)
        return Outcomes.accepted(len(some))

    wanted = [
        [(name, state)] for name, state in {"ann": "yes", "bob": "yes", "cid": "no", "dan": "yes", "eve": "yes"}.items()
    ]
    outcomes = rules.settled([ACCEPTED] * 5, wanted, known=known, write=write)

    assert calls == [["ann", "bob", "dan", "eve"], [("ann", "yes"), ("cid", "no")]]
    assert list(outcomes) == [ACCEPTED, ACCEPTED, ACCEPTED, LOCKED, NO_STATE]
