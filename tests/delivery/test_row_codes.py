"""Tests of the codes of rows that may be recorded and shown."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.row_codes import MAX_FOREIGN_CODES, RowCodes, says_only_words
from airflow_consent_retl.destinations.data_manager.request_states import is_google_code
from airflow_consent_retl.destinations.http.responses import LATER, TOO_LONG

ROWS = 1000
PEOPLE = pa.record_batch(
    {
        "id": pa.array(range(ROWS), pa.int64()),
        "email": [f"john.smith{n}@example.com" for n in range(ROWS)],
        "phone": [f"+49151123{n:05d}" for n in range(ROWS)],
    }
)


def shown(codes: list[str], *, own: str = "", guard: RowCodes | None = None) -> Counter[str]:
    """Return the codes that are kept of a batch of rows, of which the first were refused with these codes."""
    refused = {row: Outcome(RowStatus.REJECTED, code) for row, code in enumerate(codes)}
    guard = guard or RowCodes(lambda code: code == own)
    outcomes = guard.guarded(Outcomes(ROWS, exceptions=refused), PEOPLE)
    return Counter(outcome.code for outcome in outcomes if outcome.status is RowStatus.REJECTED)


@pytest.mark.parametrize("code", ["invalid_email", "notFound", "too_long", "duplicate-record", "INVALID_PHONE"])
def test_a_code_of_plain_words_is_shown_even_once(code: str) -> None:
    assert shown([code]) == {code: 1}


@pytest.mark.parametrize("code", ["dup_john.smith1", "tel_151123", "john", "E_4711", "12345", "acme_e17"])
def test_a_foreign_code_that_few_rows_share_is_counted_as_other(code: str) -> None:
    assert shown([code] * 4) == {"other": 4}


def test_a_foreign_code_that_many_rows_share_is_shown() -> None:
    assert shown(["acme_e17"] * 5) == {"acme_e17": 5}


@pytest.mark.parametrize("code", ["dup_john.smith1", "john", "tel_15112300007", "e-smith12", "example"])
def test_a_code_that_repeats_a_part_of_a_value_is_hidden_however_many_share_it(code: str) -> None:
    assert shown([code] * 500) == {"other": 500}


def test_codes_that_occur_once_each_are_one_number() -> None:
    assert shown([f"u{n}x" for n in range(ROWS)]) == {"other": ROWS}


def test_a_delivery_keeps_twenty_foreign_codes_over_all_its_batches() -> None:
    guard = RowCodes(lambda code: False)

    kept = [shown([f"zq{n}"] * 5, guard=guard) for n in range(MAX_FOREIGN_CODES + 2)]

    assert sum("other" not in codes for codes in kept) == 20
    assert kept[-2:] == [{"other": 5}] * 2
    assert shown(["zq0"] * 5, guard=guard) == {"zq0": 5}


def test_a_code_that_the_destination_declares_is_shown_even_once() -> None:
    assert shown(["E1001", "E1002"], own="E1001") == {"E1001": 1, "other": 1}


def test_the_id_of_a_pending_request_stays_since_the_result_is_asked_for_with_it() -> None:
    pending = Outcomes.pending(3, "req-john-0001")

    assert RowCodes(lambda code: False).guarded(pending, PEOPLE) == pending


@pytest.mark.parametrize("code", ["+49151123", "john.smith3@example.com", "john smith", "x" * 129, ""])
def test_a_request_id_that_is_no_id_is_not_kept(code: str) -> None:
    named = Outcomes(ROWS, requests=((0, code), (5, "6f1d2c4e-77aa-4b1e-9d2f-000000000001")))

    kept = RowCodes(lambda code: False).guarded(named, PEOPLE).requests

    assert kept == ((5, "6f1d2c4e-77aa-4b1e-9d2f-000000000001"),)


@pytest.mark.parametrize("code", ["Smith-7", "17"])
def test_a_request_id_that_is_a_value_of_a_row_is_not_kept(code: str) -> None:
    rows = pa.record_batch({"id": pa.array([16, 17]), "name": ["smith-7", None]})
    guard = RowCodes(lambda code: False)

    assert guard.guarded(Outcomes(2, requests=((0, code),)), rows).requests == ()
    assert guard.guarded(Outcomes.pending(2, code), rows) == Outcomes.uncertain(2, "other")


def test_only_a_field_of_the_load_is_kept_beside_a_code() -> None:
    def refused(field: str) -> Outcomes:
        return Outcomes(ROWS, exceptions={3: Outcome(RowStatus.REJECTED, "invalid_email", field)})

    guard = RowCodes(lambda code: False, fields=["email"])

    assert guard.guarded(refused("email"), PEOPLE) == refused("email")
    assert guard.guarded(refused("john"), PEOPLE) == refused("")


def test_outcomes_without_values_follow_the_same_rule() -> None:
    guard = RowCodes(lambda code: False)

    assert guard.guarded(Outcomes.rejected(4, "acme_e17"), None) == Outcomes.rejected(4, "other")
    assert guard.guarded(Outcomes.rejected(5, "acme_e17"), None) == Outcomes.rejected(5, "acme_e17")


@pytest.mark.parametrize(
    "code",
    [
        LATER, TOO_LONG, "answer_for_other_rows", "check", "concurrent_update", "connection_lost", "constraint",
        "data_error", "exclusion", "foreign_key", "given_up", "invalid_hash", "invalid_postal_code", "key_changed",
        "load_incomplete", "never_ended", "no_identifier", "not_a_number", "not_applied", "not_handed_over",
        "not_in_answer", "not_null", "not_removed", "not_sent", "not_stored", "not_utf8", "not_visible",
        "permission_ended", "row_too_large", "too_many_statements", "too_precise", "unconfirmed", "unique",
        "unknown_host", "unnamed", "unreadable_answer", "value_out_of_range", "year_out_of_range", "partial_success",
        "unknown_request_state", "processing_failed", "several_destinations", "no_connection",
        "credentials_unavailable", "streaming_buffer", "refused", "untrusted", "reset", "cut_off",
    ],
)  # fmt: skip
def test_the_codes_of_this_package_are_words_of_the_list(code: str) -> None:
    assert says_only_words(code)


@pytest.mark.parametrize("code", ["invalid_audience_member", "internal_error", "deadline_exceeded", "reason_9999"])
def test_googles_own_names_are_its_codes(code: str) -> None:
    assert is_google_code(code)
    assert not is_google_code("john_smith")


def test_names_of_people_are_no_words_of_the_list() -> None:
    names = ["john", "smith", "young", "long", "small", "mark", "will", "rose", "grace", "may", "hunter", "king", "day"]

    assert [name for name in names if says_only_words(name)] == []
