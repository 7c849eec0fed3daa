"""What Customer Match makes of refusals, quotas and lost answers: nobody is lost, or called accepted by mistake."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pyarrow as pa
import pytest
from google.ads.datamanager_v1 import types
from google.api_core import exceptions
from google.rpc import code_pb2
from support.customer_match import destination_of, people_of, removals_of, states
from support.data_manager_server import DataManager, Fault, data_manager, identifiers_of
from support.loading import batches_of, load_of
from support.log_lines import unwrapped

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.data_manager.members import MemberEncoder
from airflow_consent_retl.destinations.data_manager.request_states import WORDS
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.pace import Pace
from airflow_consent_retl.destinations.http.rpc_failures import failure_of
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError, LeaseLostError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.google_customer_match.destination import GoogleCustomerMatchDestination

UNAVAILABLE = Fault(code_pb2.UNAVAILABLE)
LOST = Fault(code_pb2.UNAVAILABLE, apply=True)


@pytest.fixture
def google() -> Iterator[DataManager]:
    with data_manager() as server:
        yield server


class Lease:
    """Counts the requests it was asked about, and refuses those after the first few."""

    def __init__(self, *, requests: int = 1_000_000) -> None:
        self.asked = 0
        self.requests = requests

    def check(self) -> None:
        self.asked += 1
        if self.asked > self.requests:
            raise LeaseLostError("the lease is another's")


def opened(
    google: DataManager, rows: pa.Table, *, lease: Lease | None = None, **options: Any
) -> GoogleCustomerMatchDestination:
    destination = destination_of(google, **options)
    load = load_of(rows, key_field=None)
    destination.open(dataclasses.replace(load, before_request=lease.check) if lease else load)
    return destination


def send(google: DataManager, rows: pa.Table, *, lease: Lease | None = None, **options: Any) -> Outcomes:
    destination = opened(google, rows, lease=lease, **options)
    (batch,) = batches_of(rows, batch_rows=10_000)
    try:
        return destination.send(batch)
    finally:
        destination.abort()


def malformed(people: pa.Table, *places: int) -> Any:
    encoder = MemberEncoder(people.schema, hashed=False, on_invalid="reject")
    (rows,) = people.combine_chunks().to_batches()
    column = encoder.encode(rows).columns["email"].to_pylist()
    hashes = {column[place] for place in places}
    return lambda member: next(identifiers_of(member))[1] in hashes


def test_members_that_are_named_are_rejected_and_the_others_sent(google: DataManager) -> None:
    people = people_of(50)
    google.malformed = malformed(people, 0, 7, 49)

    outcomes = send(google, people)

    assert [len(received.request.audience_members) for received in google.received] == [50, 47]
    assert {row: outcomes[row].code for row in (0, 7, 49)} == dict.fromkeys((0, 7, 49), "invalid_audience_member")
    assert outcomes.counts()[outcomes[1]] == 47
    assert outcomes[1].code == "req-0001"


def test_members_that_are_named_a_few_at_a_time_are_rejected_one_refusal_after_the_other(google: DataManager) -> None:
    people = people_of(20)
    google.malformed = malformed(people, 3, 9, 15)
    google.max_named = 1

    outcomes = send(google, people)

    assert [row for row in range(20) if outcomes[row].status == "rejected"] == [3, 9, 15]
    assert len(google.received) == 4


@pytest.mark.parametrize("places", [(0,), (999,), (0, 500, 999), (333, 334)])
def test_members_that_are_not_named_are_found_by_halves(google: DataManager, places: tuple[int, ...]) -> None:
    people = people_of(1000)
    google.malformed = malformed(people, *places)
    google.names_members = False

    outcomes = send(google, people)

    sent = [identifier for received in google.taken for m in received.members for identifier in identifiers_of(m)]
    assert tuple(row for row in range(1000) if outcomes[row].status == "rejected") == places
    assert {outcomes[row].code for row in places} == {"invalid_argument"}
    assert len(sent) == len(set(sent)) == 2 * (1000 - len(places))
    assert {outcome.code for outcome in outcomes.counts() if outcome.status == "pending"} == {
        f"req-{n:04d}" for n in range(1, len(google.taken) + 1)
    }


def test_each_piece_is_confirmed_under_its_own_request(google: DataManager) -> None:
    people = people_of(8)
    google.malformed = malformed(people, 5)
    google.names_members = False
    destination = opened(google, people)
    (batch,) = batches_of(people, batch_rows=10)

    outcomes = destination.send(batch)
    rows_by_request = {o.code: n for o, n in outcomes.counts().items() if o.status == "pending"}
    confirmed = {request_id: destination.confirm(request_id, rows) for request_id, rows in rows_by_request.items()}
    destination.commit()

    assert confirmed == {request_id: Outcomes.accepted(rows) for request_id, rows in rows_by_request.items()}
    assert sum(rows_by_request.values()) == 7
    assert len(google.audience) == 14


def test_a_request_that_is_refused_whatever_its_members_ends_the_load(google: DataManager) -> None:
    google.malformed = lambda member: True
    google.names_members = False

    with pytest.raises(DestinationError, match="refused 64 requests in a row with invalid_argument"):
        send(google, people_of(10_000))

    assert len(google.received) == 64


def test_the_search_for_malformed_members_ends_and_what_it_left_is_rejected(google: DataManager) -> None:
    people = people_of(400)
    google.malformed = malformed(people, *range(0, 400, 3))
    google.names_members = False

    outcomes = send(google, people)

    sent = {identifier for received in google.taken for m in received.members for identifier in identifiers_of(m)}
    assert len([r for r in google.received if not r.taken]) >= 64
    assert len(sent) == 2 * sum(outcome.status == "pending" for outcome in outcomes)
    assert {str(outcome.status) for outcome in outcomes} == {"pending", "rejected"}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(code_pb2.PERMISSION_DENIED, "PERMISSION_DENIED"), "refuses every request: permission_denied"),
        (Fault(code_pb2.UNAUTHENTICATED), "refuses every request: unauthenticated"),
        (Fault(code_pb2.NOT_FOUND, "NOT_FOUND"), "not_found"),
        (Fault(code_pb2.FAILED_PRECONDITION, "ADVERTISER_TOS_NOT_ACCEPTED"), "advertiser_tos_not_accepted"),
        (Fault(code_pb2.INVALID_ARGUMENT, "INVALID_USER_LIST_ID"), "invalid_user_list_id"),
        (
            Fault(
                code_pb2.INVALID_ARGUMENT,
                "INVALID_ARGUMENT",
                violations=[("destinations.destinations[0].product_destination_id", "INVALID_USER_LIST_ID")],
            ),
            r"invalid_user_list_id at `destinations.destinations\[0\].product_destination_id`",
        ),
        (
            Fault(code_pb2.INVALID_ARGUMENT, violations=[("terms_of_service", "TERMS_AND_CONDITIONS_NOT_SIGNED")]),
            "terms_and_conditions_not_signed",
        ),
    ],
)
def test_what_refuses_every_request_ends_the_load_at_the_first(google: DataManager, fault: Fault, message: str) -> None:
    google.script = [fault]

    with pytest.raises(DestinationError, match=message):
        send(google, people_of(10))

    assert len(google.received) == 1


def test_a_refusal_never_repeats_what_the_vendor_quotes(google: DataManager) -> None:
    quoted = "canary-0@example.com is no address"
    violations = [("audience_members[0].user_data canary-0@example.com", "canary-0@example.com"), ("canary-0", "")]
    google.script = [Fault(code_pb2.INVALID_ARGUMENT, "canary-0@example.com", quoted, violations=violations)]

    with pytest.raises(DestinationError) as refusal:
        send(google, people_of(1))

    assert "canary" not in str(refusal.value).replace("audience_members", "")
    assert refusal.value.__suppress_context__


def test_a_lost_answer_is_asked_for_again_and_each_try_asks_for_leave(google: DataManager) -> None:
    google.script = [LOST, UNAVAILABLE]
    lease = Lease()

    outcomes = send(google, people_of(3), lease=lease)

    assert states(outcomes) == ["pending:req-0002"] * 3
    assert lease.asked == len(google.received) == 3


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (code_pb2.UNAVAILABLE, "unavailable"),
        (code_pb2.ABORTED, "aborted"),
        (code_pb2.INTERNAL, "internal"),
        (code_pb2.UNKNOWN, "unknown"),
        (code_pb2.DEADLINE_EXCEEDED, "deadline_exceeded"),
    ],
)
def test_rows_whose_answers_stay_lost_are_uncertain(google: DataManager, code: int, name: str) -> None:
    google.script = [Fault(code, apply=True)] * 3

    outcomes = send(google, people_of(3))

    assert states(outcomes) == [f"uncertain:{name}"] * 3
    assert len(google.taken) == 3


def test_an_answer_that_comes_too_late_is_a_lost_one(google: DataManager) -> None:
    google.script = [Fault(code_pb2.UNAVAILABLE, apply=True, delay_s=1.5)]

    outcomes = send(google, people_of(3), timeout_s=0.5, max_attempts=1)

    assert states(outcomes) == ["uncertain:deadline_exceeded"] * 3


def test_a_refusal_after_a_lost_answer_proves_nothing(google: DataManager) -> None:
    people = people_of(3)
    google.script = [LOST, Fault(code_pb2.INVALID_ARGUMENT, "INVALID_ARGUMENT")]
    assert states(send(google, people)) == ["uncertain:unavailable"] * 3

    google.script = [LOST, Fault(code_pb2.PERMISSION_DENIED)]
    assert states(send(google, people)) == ["uncertain:unavailable"] * 3


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(code_pb2.PERMISSION_DENIED), "permission_denied"),
        (Fault(code_pb2.RESOURCE_EXHAUSTED, retry_after_s=3600), "not_sent"),
    ],
)
def test_a_fault_after_a_piece_was_taken_leaves_the_rest_uncertain(
    google: DataManager, fault: Fault, code: str
) -> None:
    refused = Fault(code_pb2.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    # The whole and its first half are refused, a quarter is taken, and then nothing is any more.
    google.script = [refused, refused, None, fault]

    outcomes = send(google, people_of(4))

    assert states(outcomes) == ["pending:req-0001", f"uncertain:{code}", *["uncertain:not_sent"] * 2]
    assert len(google.received) == 4


def test_a_used_up_quota_is_waited_for_by_all_threads(google: DataManager) -> None:
    people = people_of(2)
    google.script = [Fault(code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMIT_EXCEEDED", retry_after_s=0.8)]
    destination = opened(google, people)
    first, second = batches_of(people, batch_rows=1)

    with ThreadPoolExecutor(1) as threads:
        refused = threads.submit(destination.send, first)
        while not google.received:
            time.sleep(0.01)
        time.sleep(0.2)
        other = destination.send(second)
        outcomes = [*states(refused.result()), *states(other)]
    destination.commit()

    begun, *later = [received.at for received in google.received]
    assert min(later) - begun >= 0.75
    assert sorted(outcomes) == ["pending:req-0001", "pending:req-0002"]


def test_a_quota_that_is_used_up_for_long_ends_the_load_with_the_time_to_come_back(google: DataManager) -> None:
    google.script = [Fault(code_pb2.RESOURCE_EXHAUSTED, "DAILY_LIMIT_EXCEEDED", retry_after_s=3600)]

    with pytest.raises(DestinationUnavailableError, match="resource_exhausted") as unavailable:
        send(google, people_of(2))

    assert unavailable.value.retry_after_s == 3600
    assert len(google.received) == 1


def test_many_threads_stay_inside_the_quota() -> None:
    with data_manager(quota=6, quota_s=0.5) as google:
        people = people_of(20)
        destination = opened(google, people, pace=Pace(requests=6, period_s=0.9), concurrency=8)

        with ThreadPoolExecutor(8) as threads:
            sent = list(threads.map(destination.send, batches_of(people, batch_rows=1)))
        destination.commit()

        assert google.violations == []
        assert len({states(outcomes)[0] for outcomes in sent}) == 20


def test_a_server_that_is_not_there_took_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = DataManager(port=taken.getsockname()[1])

        with pytest.raises(DestinationUnavailableError, match="no_connection"):
            send(nobody, people_of(2))


def test_credentials_that_cannot_be_refreshed_sent_nothing() -> None:
    # What the client says when the token service answers nothing; to reach it a test would need Google's.
    message = "metadata from plugin failed with error: canary"
    error = exceptions.from_grpc_status(grpc.StatusCode.UNAVAILABLE, f"Getting {message}")  # type: ignore[no-untyped-call]

    failure = failure_of(error, WORDS)

    assert isinstance(failure, AttemptError)
    assert (failure.code, failure.maybe_applied) == ("credentials_unavailable", False)


def test_a_lost_lease_stops_before_the_next_request(google: DataManager) -> None:
    google.script = [UNAVAILABLE] * 5
    lease = Lease(requests=1)

    with pytest.raises(LeaseLostError):
        send(google, people_of(2), lease=lease)

    assert len(google.received) == 1


def test_removal_goes_through_the_same_refusals_and_lost_answers(google: DataManager) -> None:
    people = people_of(4)
    destination = opened(google, people)
    (batch,) = batches_of(people, batch_rows=10)
    load = load_of(people, key_field=None)
    kept = pa.Table.from_batches([destination.removal_rows(batch.rows, load)])
    google.malformed = malformed(people, 1)
    refused = destination.remove(removals_of(kept))
    google.malformed = lambda member: False
    google.script = [LOST] * 3

    lost = destination.remove(removals_of(kept))
    destination.commit()

    assert states(refused) == [
        "pending:req-0001",
        "rejected:invalid_audience_member",
        "pending:req-0001",
        "pending:req-0001",
    ]
    assert states(lost) == ["uncertain:unavailable"] * 4
    assert {received.action for received in google.received} == {"remove"}


@pytest.mark.parametrize("rest", [[], [Fault(code_pb2.UNAVAILABLE)]])
def test_asking_for_a_state_is_repeated_and_then_given_up(google: DataManager, rest: list[Fault]) -> None:
    people = people_of(2)
    destination = opened(google, people)
    (batch,) = batches_of(people, batch_rows=10)
    request_id = destination.send(batch)[0].code
    google.status_faults = [Fault(code_pb2.UNAVAILABLE), Fault(code_pb2.DEADLINE_EXCEEDED), *rest]

    if rest:
        with pytest.raises(DestinationUnavailableError, match="unavailable"):
            destination.confirm(request_id, 2)
    else:
        assert destination.confirm(request_id, 2) == Outcomes.accepted(2)
    destination.abort()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(code_pb2.INVALID_ARGUMENT, "REQUEST_TOO_OLD"), Outcomes.uncertain(2, "request_too_old")),
        (Fault(code_pb2.NOT_FOUND, "NOT_FOUND"), None),
    ],
)
def test_a_request_that_cannot_be_asked_for_is_never_called_accepted(
    google: DataManager, fault: Fault, expected: Outcomes | None
) -> None:
    google.status_faults = [fault]
    destination = destination_of(google)

    assert destination.confirm("req-0001", 2) == expected
    destination.commit()


def test_being_refused_the_state_is_no_outcome(google: DataManager) -> None:
    google.status_faults = [Fault(code_pb2.PERMISSION_DENIED)]
    destination = destination_of(google)

    with pytest.raises(DestinationError, match="permission_denied"):
        destination.confirm("req-0001", 2)
    destination.abort()


def test_giving_up_ends_waits_and_calls_under_way(google: DataManager) -> None:
    people = people_of(2)
    google.script = [Fault(code_pb2.UNAVAILABLE, apply=True, delay_s=3)] * 10
    destination = opened(google, people, timeout_s=30, backoff_s=30, max_retry_s=100)
    batches = list(batches_of(people, batch_rows=1))
    begun = time.monotonic()

    with ThreadPoolExecutor(2) as threads:
        sent = [threads.submit(destination.send, batch) for batch in batches]
        while len(google.received) < 2:
            time.sleep(0.01)
        threading.Timer(0.2, destination.abort).start()
        outcomes = [future.result() for future in sent]

    assert time.monotonic() - begun < 3
    assert [states(each) for each in outcomes] == [["uncertain:cancelled"]] * 2


def test_warnings_of_an_accepted_request_are_told_in_counts(
    google: DataManager, caplog: pytest.LogCaptureFixture
) -> None:
    google.warnings = [int(types.WarningReason.WARNING_REASON_GENERIC), 4711]

    outcomes = send(google, people_of(2))

    assert states(outcomes) == ["pending:req-0001"] * 2
    assert "the Data Manager API warned of members (generic 1, reason_4711 1)" in unwrapped("\n".join(caplog.messages))
