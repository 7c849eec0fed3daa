"""Meta's audiences: consent for each person, counts instead of rows, and an audience that refuses removals."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pytest
from support.loading import deliver, load_of, rejected, take_back
from support.meta_server import AUDIENCE, MetaApi, connection_to, meta_api, temporary, throttled
from support.vendor_server import Reply

from airflow_consent_retl.contract import (
    Batch,
    ConfigurationError,
    DestinationError,
    DestinationUnavailableError,
    Outcome,
    Outcomes,
    RowStatus,
)
from airflow_consent_retl.destinations.http.halving import MAX_REQUESTS, Halving
from airflow_consent_retl.destinations.meta.meta_hook import MetaHook
from airflow_consent_retl.destinations.meta_audiences.destination import MetaAudienceDestination
from airflow_consent_retl.destinations.meta_audiences.operator import LoadToMetaAudienceOperator
from airflow_consent_retl.destinations.meta_audiences.options import MetaAudienceSpec
from airflow_consent_retl.fields import consent, constant


@pytest.fixture
def meta() -> Iterator[MetaApi]:
    with meta_api() as api:
        yield api


def audience(**options: Any) -> MetaAudienceDestination:
    settings: dict[str, Any] = {"timeout_s": 20, "max_attempts": 3, "max_retry_s": 5, "backoff_s": 0.01, **options}
    return MetaAudienceSpec(
        conn_id="local_meta", audience_id=AUDIENCE, on_withdrawal="leave_audience", **settings
    ).build()


def people(count: int) -> pa.Table:
    return pa.table({"email": [f"Canary-{number}@Example.com" for number in range(count)]})


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def statuses(outcomes: Outcomes) -> list[str]:
    return [f"{one.status}:{one.code}".rstrip(":") for one in outcomes]


def test_limited_data_use_and_its_state_are_those_of_each_person(meta: MetaApi) -> None:
    rows = pa.table(
        {
            "email": ["a@x.com", "b@x.com", "c@x.com", "d@x.com"],
            "data_processing_options": ["LDU", "none", None, "ldu"],
            "data_processing_state": ["CA", "CA", None, "WA"],
        }
    )

    outcomes = deliver(audience(), rows)

    assert rejected(outcomes) == {}
    found = {dict(user)["EMAIL"]: options for user, options in meta.users.items()}
    assert found == {
        digest("a@x.com"): [["LDU"], 1, 1000],
        digest("b@x.com"): [[], 0, 0],
        digest("c@x.com"): [["LDU"], 0, 0],
        digest("d@x.com"): [["LDU"], 0, 0],
    }


def test_without_the_field_meta_is_told_nothing(meta: MetaApi) -> None:
    deliver(audience(), people(1))

    assert list(meta.users.values()) == [[None, None, None]]


def test_an_unknown_data_processing_option_never_counts_as_full_use(meta: MetaApi) -> None:
    rows = pa.table(
        {
            "email": ["a@x.com", "b@x.com", "c@x.com"],
            "data_processing_options": ["no", "LDU", "LDU"],
            "data_processing_state": [None, "California", "CO"],
        }
    )

    outcomes = deliver(audience(), rows)

    assert rejected(outcomes) == {0: "invalid_data_processing_options", 1: "invalid_data_processing_state"}
    assert [dict(user)["EMAIL"] for user in meta.users] == [digest("c@x.com")]


def test_all_keys_of_a_person_are_in_metas_form_and_are_removed_as_they_were_added(meta: MetaApi) -> None:
    rows = pa.table(
        {
            "email": ["Ann@Example.com", None],
            "phone": ["(650)555-1212", "+49 171 1234567"],
            "external_id": ["U-7", "U-8"],
            "first_name": ["Na'than", None],
            "birth_year": ["1997-02-16", None],
            "country": ["US", "de"],
        }
    )
    destination, load = audience(phone_region="US"), load_of(rows, key_field="external_id")
    deliver(destination, rows, load)
    there = list(meta.users)
    (batch,) = rows.combine_chunks().to_batches()
    kept = pa.Table.from_batches([destination.removal_rows(batch, load)])

    outcomes = take_back(audience(), kept, load_of(rows, key_field="external_id", salt="later"))

    assert there[0] == (
        ("EMAIL", digest("ann@example.com")),
        ("PHONE", digest("16505551212")),
        ("EXTERN_ID", "U-7"),
        ("FN", digest("nathan")),
        ("DOBY", digest("1997")),
        ("COUNTRY", digest("us")),
    )
    assert dict(there[1]) == {"PHONE": digest("491711234567"), "EXTERN_ID": "U-8", "COUNTRY": digest("de")}
    assert (statuses(outcomes), meta.users, len(meta.removals)) == (["accepted", "accepted"], {}, 1)


def test_invalid_values_are_rejected_or_left_out_and_a_person_without_any_is_rejected(meta: MetaApi) -> None:
    rows = pa.table({"email": ["nobody", "a@x.com", "nobody", None], "external_id": ["1", "2", None, " "]})

    strict = deliver(audience(), rows)
    lenient = deliver(audience(on_invalid="omit"), rows)

    assert rejected(strict) == {0: "invalid_email", 2: "invalid_email", 3: "no_identifier"}
    assert rejected(lenient) == {2: "no_identifier", 3: "no_identifier"}


def test_entries_that_meta_counts_as_invalid_are_found_and_nobody_else_is_rejected(
    meta: MetaApi, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bad = {digest("canary-7@example.com"), digest("canary-200@example.com")}
    meta.invalid = lambda user: user["EMAIL"] in bad

    outcomes = deliver(audience(), people(300))

    assert rejected(outcomes) == {7: "invalid_entry", 200: "invalid_entry"}
    assert len(meta.users) == 298
    assert not any(value in caplog.text for value in bad)


@pytest.mark.parametrize(
    "answer",
    [
        {"audience_id": AUDIENCE, "num_received": 2, "num_invalid_entries": 0},
        {"audience_id": AUDIENCE, "num_received": 3},
        {"audience_id": AUDIENCE, "num_received": 3, "num_invalid_entries": 4},
        {"audience_id": AUDIENCE, "num_received": 3, "num_invalid_entries": True},
        {"audience_id": "7", "num_received": 3, "num_invalid_entries": 0},
        {},
    ],
)
def test_counts_that_do_not_add_up_are_no_success(meta: MetaApi, answer: dict[str, Any]) -> None:
    meta.script = [Reply(200, answer)]

    outcomes = deliver(audience(), people(3))

    assert statuses(outcomes) == ["uncertain:unreadable_answer"] * 3


def test_a_flagged_audience_fails_a_removal_with_an_alarm_and_is_not_asked_again(meta: MetaApi) -> None:
    rows = people(2)
    destination, load = audience(), load_of(rows, key_field=None)
    deliver(destination, rows, load)
    (batch,) = rows.combine_chunks().to_batches()
    kept = pa.Table.from_batches([destination.removal_rows(batch, load)])
    meta.flagged = True

    with pytest.raises(DestinationError, match="PEOPLE WHO WITHDREW ARE STILL IN THE AUDIENCE"):
        take_back(audience(), kept, load_of(rows, key_field=None, salt="later"))

    assert len(meta.removals) == 1


def test_limits_on_calls_and_short_failures_are_waited_for(meta: MetaApi) -> None:
    meta.script = [throttled(), temporary(), None]

    outcomes = deliver(audience(), people(2))

    assert (statuses(outcomes), len(meta.received)) == (["accepted", "accepted"], 3)


def usage(minutes: object, kind: str = "custom_audience") -> dict[str, list[dict[str, object]]]:
    """Return the used part of the hour's calls, as Meta states it."""
    used = {"call_count": 100, "total_cputime": 25, "total_time": 25}
    return {"66782684": [{"type": kind, **used, "estimated_time_to_regain_access": minutes}]}


def test_a_limit_that_lasts_longer_than_a_load_retries_ends_it_with_the_time_of_its_end(meta: MetaApi) -> None:
    meta.script, meta.usage = [throttled()] * 3, usage(30)

    with pytest.raises(
        DestinationUnavailableError, match=r"limit on calls is reached until .*[0-9]{2}:[0-9]{2} UTC"
    ) as error:
        deliver(audience(), people(2))

    assert error.value.retry_after_s == 1800
    assert len(meta.received) == 1


def test_calls_that_are_used_up_after_a_success_pause_the_next_request(meta: MetaApi) -> None:
    meta.usage = usage(30)
    opened, load = audience(), load_of(people(2), key_field=None)
    opened.open(load)
    (rows,) = people(2).combine_chunks().to_batches()

    first = opened.send(Batch(key="0" * 64, rows=rows))
    with pytest.raises(DestinationUnavailableError, match=r"asked for a pause that ends at .*[0-9]{2}:[0-9]{2} UTC"):
        opened.send(Batch(key="1" * 64, rows=rows))
    opened.abort()

    assert statuses(first) == ["accepted", "accepted"]
    assert len(meta.received) == 1


@pytest.mark.parametrize(
    "stated", [usage(0), usage(30, "ads_insights"), usage("30"), {"66782684": "full"}, {"66782684": [7]}, [], "full"]
)
def test_a_usage_that_says_nothing_of_these_calls_pauses_nothing(meta: MetaApi, stated: object) -> None:
    meta.usage = stated

    outcomes = deliver(audience(batch_rows=1), people(2))

    assert (statuses(outcomes), len(meta.received)) == (["accepted", "accepted"], 2)


def test_an_unclear_first_try_stays_unclear_when_the_second_is_refused(meta: MetaApi) -> None:
    meta.script = [Reply(0), Reply(400, {"error": {"code": 100, "message": "canary"}})]

    outcomes = deliver(audience(), people(2))

    assert statuses(outcomes) == ["uncertain:http_400"] * 2


def test_a_request_is_cut_at_60_kb(meta: MetaApi) -> None:
    outcomes = deliver(audience(), people(2000))

    assert rejected(outcomes) == {}
    assert max(len(asked.body) for asked in meta.received) <= 60_000
    assert len({asked.document["session"]["session_id"] for asked in meta.received}) == len(meta.received) > 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"e_mail": ["x"], "email": ["x"]}, "knows no field `e_mail`, did you mean `email`"),
        ({"phone": [49]}, "field `phone` is int64, but has to be text"),
        ({"data_processing_options": ["LDU"]}, "no field identifies a person"),
        ({"email": ["x"], "data_processing_state": ["CA"]}, "says nothing without `data_processing_options`"),
    ],
)
def test_fields_that_make_no_person_are_refused_before_anything_is_sent(
    meta: MetaApi, rows: dict[str, list[Any]], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        audience().check(load_of(pa.table(rows), key_field=None))

    assert meta.received == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_rows": 10_001}, "at most 10,000"),
        ({"on_invalid": "skip"}, "on_invalid must be"),
        ({"phone_region": "Germany"}, "such as `DE`"),
    ],
)
def test_options_out_of_their_ranges_are_refused(meta: MetaApi, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        audience(**options).check(load_of(pa.table({"phone": ["+49 171 1234567"]}), key_field=None))


def test_the_target_is_the_audience_and_has_neither_version_nor_secret(meta: MetaApi) -> None:
    destination = audience()

    assert destination.target == f"custom audience {AUDIENCE} at Meta at {meta.url}"
    assert destination.target_details == {}


def test_the_test_of_a_connection_asks_with_the_proof_of_the_secret(
    meta: MetaApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = MetaHook(connection_to(meta)).test_connection()
    monkeypatch.setenv("AIRFLOW_CONN_LOCAL_META", f'{{"conn_type": "consentmeta", "host": "{meta.url}", "password": "x", "extra": {{"allow_private": true}}}}')  # fmt: skip  # noqa: E501

    fails = MetaHook("local_meta").test_connection()

    assert (passes[0], "accepts the access token" in passes[1]) == (True, True)
    assert (fails[0], "does not accept these credentials" in fails[1]) == (False, True)


def test_pieces_that_are_all_refused_are_the_fault_of_the_request() -> None:
    sent: list[int] = []

    def refuse(batch: Batch) -> Outcomes:
        sent.append(batch.rows.num_rows)
        return Outcomes.rejected(batch.rows.num_rows, "error_100")

    halving = Halving(refuse, is_shared=lambda one: one.code == "error_100", name="vendor")

    with pytest.raises(DestinationError, match="another part of the request is wrong"):
        halving.send(Batch(key="0" * 64, rows=pa.record_batch({"id": list(range(1000))})))
    assert len(sent) == MAX_REQUESTS


def test_a_piece_that_cannot_be_sent_after_another_was_applied_is_uncertain() -> None:
    def applied_once(batch: Batch) -> Outcomes:
        ids = batch.rows.column("id").to_pylist()
        if ids == [2]:
            raise DestinationError("gone")
        return Outcomes.rejected(len(ids), "bad") if len(ids) > 1 else Outcomes.accepted(1)

    halving = Halving(applied_once, is_shared=lambda one: one.status is RowStatus.REJECTED, name="vendor")

    outcomes = halving.send(Batch(key="0" * 64, rows=pa.record_batch({"id": [1, 2]})))

    assert list(outcomes) == [Outcome(RowStatus.ACCEPTED), Outcome(RowStatus.UNCERTAIN, "not_sent")]


def test_full_use_is_never_told_of_everyone() -> None:
    def load(told: str) -> LoadToMetaAudienceOperator:
        fields = {"email": "email", "data_processing_options": told}
        return LoadToMetaAudienceOperator(
            task_id="load",
            permitted={},
            destination="meta",
            fields=fields,
            audience_id=AUDIENCE,
            on_withdrawal="leave_audience",
        )

    with pytest.raises(ConfigurationError, match="full use of everyone, whatever they answered"):
        load(constant("none"))
    for told in (constant("LDU"), constant(None), "their_column", consent("C8", granted="none", otherwise="LDU")):
        assert load(told).fields["data_processing_options"] == told
