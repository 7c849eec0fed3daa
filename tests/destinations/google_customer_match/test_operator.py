"""The operator's, the hook's and the trigger's part: parameters, consent signals, credentials, and waiting."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent
from google.ads.datamanager_v1 import types
from google.rpc import code_pb2
from support.customer_match import CONN_ID, connection_to, people_of, states
from support.data_manager_server import DataManager, Ending, Fault, data_manager
from support.loading import batches_of, load_of

from airflow_consent_retl.destinations.data_manager.data_manager_hook import SCOPE, GoogleDataManagerHook
from airflow_consent_retl.destinations.google_customer_match.operator import LoadToGoogleCustomerMatchOperator
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.manifest import PermittedCounts
from airflow_consent_retl.triggers.pending_requests import PendingRequestsTrigger

State = types.RequestStatusPerDestination.RequestStatus
SIGNALS = {"ad_user_data": "C0004", "ad_personalization": "C0005"}


@pytest.fixture
def google() -> Iterator[DataManager]:
    with data_manager() as server:
        connection_to(server)
        yield server


def operator(**parameters: Any) -> LoadToGoogleCustomerMatchOperator:
    settings: dict[str, Any] = {
        "task_id": "load",
        "permitted": {},
        "destination": "google_ads",
        "fields": {"email": "email"},
        "gcp_conn_id": CONN_ID,
        "audience_id": "42",
        "operating_account": "123-456-7890",
        "consent_signals": SIGNALS,
        "terms_of_service_accepted": True,
    }
    return LoadToGoogleCustomerMatchOperator(**settings | parameters)


def counts(
    *required: str, match: str = "all", ground: str = "consent", without_consent: tuple[str, ...] = ()
) -> PermittedCounts:
    return PermittedCounts.model_validate(
        {
            "required": required,
            "match": match,
            "ground": ground,
            "without_consent": without_consent,
            "read": 1,
            "permitted": 1,
            "denied": 0,
            "denied_by_reason": {},
        }
    )


def trigger(*request_ids: str, wait_s: float = 10, **parameters: Any) -> PendingRequestsTrigger:
    spec = operator(timeout_s=2, max_attempts=1, **parameters).destination_spec()
    return PendingRequestsTrigger.of(spec, request_ids, poll_interval_s=0.02, timeout_s=wait_s)


def fired(waiting: PendingRequestsTrigger) -> Any:
    async def run() -> list[TriggerEvent]:
        return [event async for event in waiting.run()]

    (event,) = asyncio.run(run())
    return event.payload


def sent(google: DataManager, requests: int) -> list[str]:
    """Send one person a request, and return the requests' ids."""
    load = operator(batch_rows=1)
    load.check_permitted(counts("C0004", "C0005"))
    destination = load.build_destination()
    people = people_of(requests)
    destination.open(load_of(people, key_field=None))
    outcomes = [destination.send(batch) for batch in batches_of(people, batch_rows=1)]
    destination.commit()
    return [each[0].code for each in outcomes]


def test_people_are_sent_when_both_signals_stand_for_required_categories(google: DataManager) -> None:
    (request_id,) = sent(google, 1)

    assert request_id == "req-0001"
    assert google.violations == []
    assert google.received[0].members[0].consent == types.Consent(
        ad_user_data="CONSENT_GRANTED", ad_personalization="CONSENT_GRANTED"
    )


@pytest.mark.parametrize(
    ("decided", "signals", "message"),
    [
        (counts("C0004"), SIGNALS, "`ad_personalization` stands for category `C0005`, which the policy does not"),
        (counts("C0005", "C0002"), SIGNALS, "`ad_user_data` stands for category `C0004`"),
        (counts("C0004", "C0005", match="any"), SIGNALS, "`C0004`.*`C0005`"),
        # What permits whoever was silent is no consent to declare.
        (counts("C0004", "C0005", without_consent=("C0005",)), SIGNALS, "^`ad_personalization` .*`C0005`"),
        (counts(ground="unmapped"), SIGNALS, "`C0004`.*`C0005`"),
        (counts("C0004", "C0005", ground="not_required"), SIGNALS, "`C0004`.*`C0005`"),
        (counts("c0004"), dict.fromkeys(SIGNALS, "C0004"), "`C0004`"),
    ],
)
def test_a_signal_whose_category_not_everybody_granted_refuses_the_load(
    google: DataManager, decided: PermittedCounts, signals: dict[str, str], message: str
) -> None:
    load = operator(consent_signals=signals)

    with pytest.raises(ConfigurationError, match=message):
        load.check_permitted(decided)

    destination = load.build_destination()
    people = people_of(1)
    destination.open(load_of(people, key_field=None))
    (batch,) = batches_of(people, batch_rows=1)
    with pytest.raises(ConfigurationError, match="it was not checked"):
        destination.send(batch)
    destination.abort()
    assert google.received == []


def test_one_category_may_stand_for_both_signals_and_for_any_of_one() -> None:
    load = operator(consent_signals=dict.fromkeys(SIGNALS, "C0004"))

    load.check_permitted(counts("C0004", match="any"))

    assert list(load.build_destination().former_targets) == ["audience 42 of GOOGLE_ADS account 1234567890"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"terms_of_service_accepted": False}, "terms_of_service_accepted has to be True"),
        ({"audience_id": "my list"}, "audience_id must be the audience's number"),
        ({"consent_signals": {"ad_user_data": "C0004"}}, "names no category for `ad_personalization`"),
        (
            {"consent_signals": {**dict.fromkeys(SIGNALS, "C0004"), "ad_storage": "C0004"}},
            "`ad_storage` is not a Google consent signal",
        ),
        ({"operating_account": "ads"}, "account_id of operating_account"),
        ({"operating_account": {"account_id": "1", "account_type": "ADS"}}, "account_type of operating_account"),
        ({"login_account": {"account_id": "1", "type": "GOOGLE_ADS"}}, "login_account has .* not `type`"),
        ({"batch_rows": 10_001}, "batch_rows must be at most 10,000"),
        ({"batch_rows": 0, "backoff_s": 0}, "batch_rows must be at least 1; backoff_s must be above 0"),
        ({"requests_per_minute": 0}, "requests_per_minute must be at least 1"),
        ({"on_invalid": "guess"}, "on_invalid must be"),
    ],
)
def test_wrong_parameters_are_refused_before_anybody_is_contacted(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        operator(**parameters)


@pytest.mark.parametrize(
    ("endpoint", "place"), [(None, ""), ("datamanager.example:443", " at datamanager.example:443")]
)
def test_the_account_may_be_of_another_product_and_the_api_elsewhere(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, place: str
) -> None:
    account = {"account_id": "77", "account_type": "DISPLAY_VIDEO_ADVERTISER"}
    connection = {"conn_type": "google_cloud_platform", "extra": {"data_manager_endpoint": endpoint}}
    monkeypatch.setenv("AIRFLOW_CONN_SOME_GOOGLE", json.dumps(connection))

    destination = operator(
        operating_account=account, linked_account="88", gcp_conn_id="some_google"
    ).build_destination()

    audience = "audience 42 of DISPLAY_VIDEO_ADVERTISER account 77"
    assert destination.target == f"{audience} linked to GOOGLE_ADS account 88{place}"


def test_ids_are_templated() -> None:
    templated = {"audience_id", "operating_account", "consent_signals", "gcp_conn_id", "permitted"}

    assert templated <= set(LoadToGoogleCustomerMatchOperator.template_fields)


def test_the_trigger_keeps_ids_and_settings_and_is_made_again_from_them() -> None:
    waiting = operator(impersonation_chain=("a@p.iam", "b@p.iam")).confirmation_trigger(["req-1"])
    assert waiting is not None

    path, arguments = waiting.serialize()

    assert path == "airflow_consent_retl.triggers.pending_requests.PendingRequestsTrigger"
    assert arguments["parameters"]["impersonation_chain"] == ["a@p.iam", "b@p.iam"]
    assert json.loads(json.dumps(arguments)) == arguments
    assert PendingRequestsTrigger(**arguments).serialize() == (path, arguments)
    assert operator().confirmation_trigger([]) is None


def test_the_trigger_fires_when_every_request_is_processed(google: DataManager) -> None:
    google.polls = 3
    google.endings = [Ending(), Ending(int(State.FAILED)), Ending(int(State.PARTIAL_SUCCESS)), Ending(99)]
    ids = sent(google, 4)

    payload = fired(trigger(*ids))

    assert payload == {"processed": True, "refused": False, "open": 0}
    assert google.polled.count(ids[0]) == 4


def test_the_trigger_fires_at_its_deadline_with_what_it_knows(google: DataManager) -> None:
    google.polls = 1000
    ids = sent(google, 1)

    assert fired(trigger(*ids, wait_s=0.3)) == {"processed": False, "refused": False, "open": 1}


def test_the_trigger_asks_again_when_it_gets_no_answer(google: DataManager) -> None:
    ids = sent(google, 2)
    google.status_faults = [Fault(code_pb2.UNAVAILABLE), Fault(code_pb2.RESOURCE_EXHAUSTED, retry_after_s=0.1)]

    assert fired(trigger(*ids))["processed"]


def test_the_trigger_leaves_it_to_the_task_when_it_may_not_ask(google: DataManager) -> None:
    ids = sent(google, 1)
    google.status_faults = [Fault(code_pb2.PERMISSION_DENIED)] * 10

    assert fired(trigger(*ids)) == {"processed": False, "refused": True, "open": 1}
    assert len(google.polled) == 1


def test_the_trigger_leaves_it_to_the_task_when_the_connection_is_broken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True}}
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN_GOOGLE", json.dumps(broken))

    payload = fired(trigger("req-1", gcp_conn_id="broken_google"))

    assert payload == {"processed": False, "refused": True, "open": 1}
    assert "cannot wait for the requests" in caplog.text


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"is_anonymous": True}, "is anonymous"),
        ({"is_anonymous": True, "data_manager_endpoint": "proxy.example.com:443"}, "is anonymous"),
        ({"is_anonymous": True, "data_manager_endpoint": "127.0.0.1.example.com:443"}, "is anonymous"),
        ({"is_anonymous": True, "data_manager_endpoint": "10.0.0.1:443"}, "is anonymous"),
        ({"data_manager_endpoint": 443}, "has to be text"),
        ({"keyfile_dict": '{"type": "service_account", "private_key": "canary"'}, "no usable"),
        ({"keyfile_dict": '{"type": "service_account", "private_key": "canary"}'}, "no usable"),
        ({"key_path": "/nowhere/canary.json"}, "no usable"),
    ],
)
def test_a_connection_that_leads_nowhere_safe_is_refused_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], message: str
) -> None:
    connection = {"conn_type": "google_cloud_platform", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SOME_GOOGLE", json.dumps(connection))

    with pytest.raises(ConfigurationError, match=message) as refusal:
        GoogleDataManagerHook(gcp_conn_id="some_google").get_conn()

    assert "canary" not in str(refusal.value)


def test_credentials_of_a_service_account_are_for_the_data_manager_api_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "project_id": "some-project",
        "private_key": key.decode(),
        "client_email": "loads@some-project.iam.gserviceaccount.com",
        "token_uri": "https://127.0.0.1:1/token",
    }
    extra = {"keyfile_dict": json.dumps(account), "data_manager_endpoint": "127.0.0.1:1"}
    connection = {"conn_type": "google_cloud_platform", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ACCOUNT_GOOGLE", json.dumps(connection))

    client = GoogleDataManagerHook(gcp_conn_id="account_google").get_conn()
    credentials: Any = client.transport._credentials
    client.transport.close()  # type: ignore[no-untyped-call]

    assert list(credentials.scopes) == [SCOPE]
    assert client.api_endpoint == "127.0.0.1:1"


def test_a_log_level_never_makes_the_client_write_requests_down(google: DataManager) -> None:
    GoogleDataManagerHook(gcp_conn_id=CONN_ID).get_conn()

    logger = logging.getLogger("google.ads.datamanager_v1.services.ingestion_service.transports.grpc")

    assert not logger.isEnabledFor(logging.DEBUG)


def test_destinations_that_a_task_builds_share_one_pace(google: DataManager) -> None:
    load = operator(requests_per_minute=2)
    first, second = load.build_destination(), load.build_destination()

    assert first.pace is second.pace


def test_states_of_a_removal_are_confirmed_like_those_of_an_addition(google: DataManager) -> None:
    people = people_of(2)
    destination = operator().build_destination()
    load = load_of(people, key_field=None)
    destination.open(load)
    (batch,) = batches_of(people, batch_rows=2)
    kept = destination.removal_rows(batch.rows, load)

    removed = destination.remove(type(batch)(key="a" * 64, rows=kept))
    confirmed = destination.confirm(removed[0].code, 2)
    destination.commit()

    assert confirmed is not None
    assert states(confirmed) == ["accepted"] * 2
