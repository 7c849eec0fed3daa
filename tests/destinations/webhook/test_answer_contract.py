"""What an answer's body says of each row, and all the ways in which it says nothing."""

from __future__ import annotations

import json

import pytest

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.responses import removed_or_not_there
from airflow_consent_retl.destinations.webhook.answer_contract import (
    outcomes_of_refusal,
    outcomes_of_success,
)

ROWS = [{"id": 9007199254740993, "name": "Ada"}, {"id": 2, "name": "Grace"}, {"id": 3, "name": "Edsger"}]
OK, NO, UNSAID = "accepted", "rejected:unnamed", "uncertain:not_in_answer"


def said(body: bytes | None, *, key_field: str | None = "id") -> list[str]:
    outcomes = outcomes_of_success(body, ROWS, key_field=key_field)
    return [f"{outcomes[row].status}:{outcomes[row].code}".rstrip(":") for row in range(3)]


@pytest.mark.parametrize("body", [b"", b"  \r\n"])
def test_accepts_all_rows_when_a_success_says_nothing_else(body: bytes) -> None:
    assert said(body) == [OK] * 3


@pytest.mark.parametrize(
    ("answer", "outcomes"),
    [
        ({"accepted": 3}, [OK, OK, OK]),
        ({"accepted": 3, "rejected": 0}, [OK, OK, OK]),
        ({"rejected": 3}, [NO, NO, NO]),
        ({"accepted": 0, "rejected": 3}, [NO, NO, NO]),
        ({"errors": []}, [OK, OK, OK]),
        ({"errors": [{"index": 1}]}, [OK, NO, OK]),
        ({"errors": [{"index": 1, "message": "see the manual"}], "accepted": 2, "rejected": 1}, [OK, NO, OK]),
        ({"errors": [{"id": 2, "code": "bad_name"}]}, [OK, "rejected:bad_name", OK]),
        ({"errors": [{"id": "2", "index": 1, "code": 4221}]}, [OK, "rejected:4221", OK]),
        ({"errors": [{"id": 9007199254740993}]}, [NO, OK, OK]),
        ({"errors": [{"id": "9007199254740993"}]}, [NO, OK, OK]),
        ({"results": []}, [UNSAID, UNSAID, UNSAID]),
        ({"results": [{"index": 2, "status": "accepted"}]}, [UNSAID, UNSAID, OK]),
        ({"results": [{"index": row, "status": "accepted"} for row in range(3)], "accepted": 3}, [OK, OK, OK]),
        ({"results": [{"index": 0, "status": "accepted"}], "errors": [{"index": 1}]}, [OK, NO, UNSAID]),
    ],
)
def test_reads_an_answer_that_follows_the_contract(answer: object, outcomes: list[str]) -> None:
    assert said(json.dumps(answer).encode()) == outcomes


@pytest.mark.parametrize(
    "body",
    [
        b"OK",
        b"<html></html>",
        b"{",
        b'{"accepted": 3',
        b'{"accepted": 3} {"accepted": 3}',
        b'{"accepted": 3, "accepted": 3}',
        b'{"accepted": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"accepted": ' + b"9" * 5000 + b"}",
        b"null",
        b"true",
        b"3",
        b"[]",
        b"{}",
        b'{"ok": true}',
        b'{"accepted": 3, "error": "queue is full"}',
        b'{"accepted": "3"}',
        b'{"accepted": true}',
        b'{"accepted": 3.0}',
        b'{"accepted": 2}',
        b'{"accepted": 4}',
        b'{"accepted": 2, "rejected": 1}',
        b'{"errors": null}',
        b'{"errors": {"index": 0}}',
        b'{"errors": ["u-1"]}',
        b'{"errors": [{}]}',
        b'{"errors": [{"index": 3}]}',
        b'{"errors": [{"index": -1}]}',
        b'{"errors": [{"index": "1"}]}',
        b'{"errors": [{"index": true}]}',
        b'{"errors": [{"index": 1}, {"index": 1}]}',
        b'{"errors": [{"index": 1}, {"id": 2}]}',
        b'{"errors": [{"index": 1, "id": 3}]}',
        b'{"errors": [{"id": 4}]}',
        b'{"errors": [{"id": "02"}]}',
        b'{"errors": [{"id": 9007199254740992}]}',
        b'{"errors": [{"id": 2.0}]}',
        b'{"errors": [{"id": null}]}',
        b'{"errors": [{"index": 1}], "accepted": 3}',
        b'{"errors": [{"index": 1}], "rejected": 2}',
        b'{"results": [{"index": 0}]}',
        b'{"results": [{"index": 0, "status": "ok"}]}',
        b'{"results": [{"index": 0, "status": true}]}',
        b'{"results": [{"index": 0, "status": "accepted", "code": "invalid"}]}',
        b'{"results": [{"index": 0, "status": "rejected", "status": "accepted"}]}',
        b'{"results": [{"index": 0, "status": "accepted"}], "errors": [{"index": 0}]}',
        b'{"results": [{"index": 0, "status": "accepted"}], "accepted": 3}',
        None,
    ],
)
def test_is_uncertain_of_every_row_when_an_answer_does_not_follow_the_contract(body: bytes | None) -> None:
    assert said(body) == ["uncertain:unreadable_answer"] * 3


def test_is_uncertain_when_an_answer_names_rows_by_an_id_that_was_not_sent() -> None:
    assert said(b'{"errors": [{"id": 2}]}', key_field=None) == ["uncertain:unreadable_answer"] * 3


@pytest.mark.parametrize(
    "code", ["Grace", "GRACE", "invalid name Grace", "grace@example.com", None, True, ["x"], "x" * 60]
)
def test_names_no_code_that_may_quote_the_row(code: object) -> None:
    body = json.dumps({"errors": [{"index": 1, "code": code}]}).encode()

    assert said(body) == [OK, NO, OK]


@pytest.mark.parametrize(
    "body", [None, b"", b"Grace is invalid", b'{"message": "Grace"}', b'{"errors": [{"index": 9}]}']
)
def test_a_refusal_that_does_not_follow_the_contract_says_nothing_of_rows(body: bytes | None) -> None:
    assert outcomes_of_refusal(body, ROWS, key_field="id", code="http_422") is None


@pytest.mark.parametrize("code", ["not_found", "gone"])
def test_a_removal_counts_as_done_where_nobody_is_there(code: str) -> None:
    told = Outcomes(3, Outcome(RowStatus.REJECTED, "busy"), {1: Outcome(RowStatus.REJECTED, code)})

    outcomes = removed_or_not_there(told)

    assert [str(outcome.status) for outcome in outcomes] == ["rejected", "accepted", "rejected"]
    assert removed_or_not_there(Outcomes.rejected(3, code)) == Outcomes.accepted(3)
    assert removed_or_not_there(Outcomes.uncertain(3, code)) == Outcomes.uncertain(3, code)


def test_accepts_a_row_of_a_refused_request_only_where_it_says_so() -> None:
    body = json.dumps({"results": [{"index": 0, "status": "accepted"}, {"id": 3, "status": "rejected", "code": "old"}]})

    outcomes = outcomes_of_refusal(body.encode(), ROWS, key_field="id", code="http_422")

    assert outcomes is not None
    assert [outcomes[row].code for row in range(3)] == ["", "http_422", "old"]
    assert [str(outcomes[row].status) for row in range(3)] == ["accepted", "rejected", "rejected"]
