"""Customer Match through the official client, against a server that refuses what Google would."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pytest
from google.ads.datamanager_v1 import types
from support.customer_match import destination_of, people_of, removals_of, states
from support.data_manager_server import DataManager, Ending, data_manager, identifiers_of
from support.loading import batches_of, load_of
from support.log_lines import unwrapped

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.http.pace import Pace
from airflow_consent_retl.errors import ConfigurationError, DestinationError

State = types.RequestStatusPerDestination.RequestStatus
CANARIES = ("canary-0", "+4917100000", "Canaryson")


@pytest.fixture
def google() -> Iterator[DataManager]:
    with data_manager() as server:
        yield server


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def send(google: DataManager, rows: pa.Table, **settings: Any) -> Outcomes:
    destination = destination_of(google, **settings)
    destination.open(load_of(rows, key_field=None))
    sent = [destination.send(batch) for batch in batches_of(rows, batch_rows=destination.limits.batch_rows)]
    destination.commit()
    return Outcomes.concatenated(sent)


def test_members_are_sent_hashed_with_both_signals_granted_and_nothing_else(google: DataManager) -> None:
    outcomes = send(google, people_of(3, address=True))

    (received,) = google.taken
    member = received.members[0]
    assert google.violations == []
    assert received.request.encoding == types.Encoding.HEX
    assert received.request.terms_of_service.customer_match_terms_of_service_status == 1
    assert received.request.validate_only is False
    assert [str(d.product_destination_id) for d in received.request.destinations] == ["42"]
    assert received.request.destinations[0].operating_account == types.ProductAccount(
        account_id="1234567890", account_type="GOOGLE_ADS"
    )
    assert received.request.destinations[0].login_account.account_id == "987"
    assert list(identifiers_of(member)) == [
        ("email", digest("canary-0@example.com")),
        ("phone", digest("+49171000000")),
        ("address", digest("ann"), digest("canaryson"), "DE", "10115"),
    ]
    assert member.consent == types.Consent(ad_user_data="CONSENT_GRANTED", ad_personalization="CONSENT_GRANTED")
    assert states(outcomes) == ["pending:req-0001"] * 3


def test_taken_is_not_processed(google: DataManager) -> None:
    google.polls = 2
    outcomes = send(google, people_of(3))
    destination = destination_of(google)

    answers = [destination.confirm(outcomes[0].code, 3) for _ in range(3)]

    assert answers == [None, None, Outcomes.accepted(3)]
    assert len(google.audience) == 6
    destination.commit()


def test_rows_that_make_no_member_are_rejected_and_the_others_sent(google: DataManager) -> None:
    rows = pa.table({"email": ["a@b.com", "nobody", None, "c@d.com"], "phone": [None, None, None, "0171"]})

    outcomes = send(google, rows)

    assert google.violations == []
    assert states(outcomes) == [
        "pending:req-0001",
        "rejected:invalid_email",
        "rejected:no_identifier",
        "rejected:invalid_phone",
    ]


def test_a_batch_without_a_single_member_asks_for_nothing(google: DataManager) -> None:
    outcomes = send(google, pa.table({"email": pa.array([None, ""], pa.string())}))

    assert states(outcomes) == ["rejected:no_identifier"] * 2
    assert google.received == []


@pytest.mark.parametrize(("rows", "requests"), [(9_999, 1), (10_000, 1), (10_001, 2)])
def test_a_request_has_at_most_ten_thousand_members(google: DataManager, rows: int, requests: int) -> None:
    outcomes = send(google, people_of(rows))

    assert google.violations == []
    assert len(google.taken) == requests
    assert sum(len(received.request.audience_members) for received in google.taken) == rows
    assert len(outcomes) == rows


def test_people_are_removed_by_what_they_were_added_with(google: DataManager) -> None:
    rows = people_of(4, address=True)
    destination = destination_of(google)
    load = load_of(rows, key_field=None)
    destination.open(load)
    (batch,) = batches_of(rows, batch_rows=10)
    destination.send(batch)
    google.finish()
    kept = pa.Table.from_batches([destination.removal_rows(batch.rows, load)])
    before = set(google.audience)

    removed = destination.remove(removals_of(kept.slice(0, 3)))
    again = destination.remove(removals_of(kept.slice(0, 3)))
    google.finish()
    destination.commit()

    assert kept.schema == destination.removal_schema(load)
    assert states(removed) == ["pending:req-0002"] * 3
    assert states(again) == ["pending:req-0003"] * 3
    assert google.violations == []
    assert len(before) == 12
    assert google.audience == set(identifiers_of(google.taken[0].members[3]))


def test_somebody_who_was_never_sent_counts_as_removed_without_a_request(google: DataManager) -> None:
    rows = pa.table({"email": ["nobody", "a@b.com"]})
    destination = destination_of(google)
    load = load_of(rows, key_field=None)
    destination.open(load)
    (batch,) = batches_of(rows, batch_rows=10)
    kept = pa.Table.from_batches([destination.removal_rows(batch.rows, load)])

    removed = destination.remove(removals_of(kept))
    none = destination.remove(removals_of(kept.slice(0, 1)))
    destination.commit()

    assert states(removed) == ["accepted", "pending:req-0001"]
    assert states(none) == ["accepted"]


def test_sending_the_same_people_again_leaves_the_audience_as_it_is(google: DataManager) -> None:
    send(google, people_of(5))
    google.finish()
    before = set(google.audience)

    send(google, people_of(5))
    google.finish()

    assert google.audience == before


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending(int(State.SUCCESS)), "accepted"),
        (Ending(int(State.FAILED), {13: 3}, apply=False), "rejected:internal_error"),
        (Ending(int(State.FAILED), apply=False), "rejected:processing_failed"),
        (Ending(int(State.FAILED), {9999: 3}, apply=False), "rejected:reason_9999"),
        (Ending(int(State.PARTIAL_SUCCESS), {5: 1}), "uncertain:partial_success"),
        (Ending(int(State.REQUEST_STATUS_UNKNOWN)), "uncertain:unknown_request_state"),
        (Ending(77), "uncertain:unknown_request_state"),
    ],
)
def test_a_processed_request_ends_as_google_says_and_never_better(
    google: DataManager, ending: Ending, expected: str
) -> None:
    google.endings = [ending]
    outcomes = send(google, people_of(3))
    destination = destination_of(google)

    confirmed = destination.confirm(outcomes[0].code, 3)
    destination.commit()

    assert confirmed is not None
    assert states(confirmed) == [expected] * 3


def test_a_partial_success_is_a_warning_with_its_counts(google: DataManager, caplog: pytest.LogCaptureFixture) -> None:
    google.endings = [Ending(int(State.PARTIAL_SUCCESS), {4: 1, 5: 2})]
    outcomes = send(google, people_of(9))
    destination = destination_of(google)

    destination.confirm(outcomes[0].code, 9)
    destination.commit()

    warnings = [unwrapped(record.message) for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "request req-0001: 3 of 9 members failed (no_consent 2, denied_consent 1), and the API does not name them: all "
        "are uncertain"
    ]


def test_a_request_that_google_does_not_know_is_uncertain(google: DataManager) -> None:
    destination = destination_of(google)

    confirmed = destination.confirm("req-of-somebody-else", 2)
    destination.commit()

    assert confirmed == Outcomes.uncertain(2, "invalid_request_id")


def test_no_more_calls_are_made_than_the_quota_allows_over_all_threads() -> None:
    with data_manager(quota=5, quota_s=0.5) as google:
        begun = time.monotonic()

        outcomes = send(google, people_of(12), batch_rows=1, pace=Pace(requests=5, period_s=0.6))

        assert google.violations == []
        assert len(google.taken) == 12
        assert states(outcomes)[11] == "pending:req-0012"
        assert time.monotonic() - begun > 1.1


def test_nobody_is_sent_whose_consent_signals_were_not_checked(google: DataManager) -> None:
    rows = people_of(2)
    destination = destination_of(google, consent_granted=False)
    load = load_of(rows, key_field=None)
    destination.open(load)
    (batch,) = batches_of(rows, batch_rows=10)

    with pytest.raises(ConfigurationError, match="ad_user_data and ad_personalization"):
        destination.send(batch)

    assert google.received == []
    kept = pa.Table.from_batches([destination.removal_rows(batch.rows, load)])
    assert states(destination.remove(removals_of(kept))) == ["pending:req-0001"] * 2
    destination.commit()


def test_nothing_can_be_sent_before_the_audience_is_opened(google: DataManager) -> None:
    rows = people_of(1)
    (batch,) = batches_of(rows, batch_rows=10)

    with pytest.raises(DestinationError, match="not opened"):
        destination_of(google).send(batch)


def test_invalid_values_that_are_left_out_are_told_once_in_counts(
    google: DataManager, caplog: pytest.LogCaptureFixture
) -> None:
    rows = pa.table({"email": ["a@b.com", "c@d.com"], "phone": ["0171", "0172"]})

    send(google, rows, on_invalid="omit")

    assert [unwrapped(record.message) for record in caplog.records if record.levelno == logging.WARNING] == [
        "people were sent without their invalid values (invalid_phone 2)"
    ]


def test_no_value_of_a_row_leaves_in_the_clear_or_reaches_a_log(
    google: DataManager, caplog: pytest.LogCaptureFixture
) -> None:
    # As verbose as a deployment can be: the client would then log whole requests.
    for name in ("", "google", "google.ads.datamanager_v1"):
        caplog.set_level(logging.DEBUG, logger=name)
    logging.getLogger("google").propagate = True
    google.malformed = lambda member: True

    outcomes = send(google, people_of(3, address=True))

    requests = b"".join(type(r.request).serialize(r.request) for r in google.received)
    told = caplog.text + repr(states(outcomes)) + "".join(str(vars(record)) for record in caplog.records)
    assert google.received
    assert [canary for canary in CANARIES if canary.encode() in requests or canary in told] == []
    assert digest("canary-0@example.com").encode() in requests
    assert digest("canary-0@example.com") not in told
