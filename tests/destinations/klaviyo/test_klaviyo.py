"""Klaviyo: what each choice of a removal does, its traps, and every way in which an import can end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest
from support.klaviyo_server import Klaviyo
from support.loading import load_of
from support.vendor_server import Asked, Reply

from airflow_consent_retl.contract import Batch, ConfigurationError, DestinationError, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.klaviyo.destination import KlaviyoDestination
from airflow_consent_retl.destinations.klaviyo.options import KlaviyoSpec
from airflow_consent_retl.triggers.pending_requests import PendingRequestsTrigger

ACCEPTED = RowStatus.ACCEPTED
ANN = {"external_id": "ann", "email": "ann@x.org"}
BOB = {"external_id": "bob", "email": "bob@x.org"}
EVE = {"external_id": "eve", "email": "eve@x.org"}


def spec(**given: Any) -> KlaviyoSpec:
    chosen = {"account_id": "Ab12", "on_withdrawal": "leave_list", "list_id": "L1", "backoff_s": 0.01}
    rates = {"requests_per_s": 100_000, "requests_per_minute": 100_000, "max_attempts": 2}
    return KlaviyoSpec(**{**chosen, **rates, **given})


def table(rows: Sequence[Mapping[str, object]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows))


def opened(rows: pa.RecordBatch, **given: Any) -> KlaviyoDestination:
    destination = spec(**given).build()
    destination.open(load_of(pa.Table.from_batches([rows]), key_field=str(given.get("known_by", "external_id"))))
    return destination


def settled(destination: KlaviyoDestination, outcomes: Outcomes, rows: pa.RecordBatch) -> list[Outcome]:
    found = list(outcomes)
    for code in {outcome.code for outcome in outcomes if outcome.status is RowStatus.PENDING}:
        places = [row for row, outcome in enumerate(outcomes) if outcome.code == code]
        answer = None
        while answer is None:
            answer = destination.confirm_rows(code, len(places), lambda places=places: rows.take(places))  # type: ignore[misc]
        for row, outcome in zip(places, answer, strict=True):
            found[row] = outcome
    return found


def sent(rows: pa.RecordBatch, **given: Any) -> list[Outcome]:
    destination = opened(rows, **given)
    outcomes = settled(destination, destination.send(Batch(key="0" * 64, rows=rows)), rows)
    destination.commit()
    return outcomes


def removed(people: Sequence[str], **given: Any) -> list[RowStatus]:
    destination = opened(table([ANN]), **given)
    leaving = table([{"external_id": person} for person in people])
    try:
        outcomes = settled(destination, destination.remove(Batch(key="1" * 64, rows=leaving)), leaving)
    finally:
        destination.abort()
    return [outcome.status for outcome in outcomes]


def test_a_profile_that_leaves_the_list_stays_on_others_and_subscribed(klaviyo: Klaviyo) -> None:
    sent(table([ANN, BOB]))
    klaviyo.lists["L2"] = set(klaviyo.profiles)

    assert removed(["ann", "nobody"]) == [ACCEPTED, ACCEPTED]

    assert (klaviyo.on_list("L1"), klaviyo.on_list("L2")) == ({"bob"}, {"ann", "bob"})
    assert klaviyo.unsubscribed == []
    assert len(klaviyo.profiles) == 2


def test_only_people_on_the_list_are_unsubscribed_and_no_one_from_everything(klaviyo: Klaviyo) -> None:
    sent(table([ANN, BOB, {**EVE, "email": None}]))
    klaviyo.lists["L1"] -= {key for key, one in klaviyo.profiles.items() if one["external_id"] == "bob"}

    statuses = removed(["ann", "bob", "eve", "nobody"], on_withdrawal="unsubscribe")

    assert statuses == [ACCEPTED] * 4
    assert klaviyo.unsubscribed == [("ann@x.org", "L1")]
    assert len(klaviyo.profiles) == 3


def test_no_one_is_unsubscribed_where_it_is_not_clear_who_is_on_the_list(klaviyo: Klaviyo) -> None:
    sent(table([ANN]))

    def lists_are_strange(call: Asked, apply: Callable[[], Reply]) -> Reply:
        return Reply(200, {"data": None}) if call.path == "/api/lists/L1/profiles" else apply()

    klaviyo.fault = lists_are_strange
    with pytest.raises(DestinationError, match="no one was unsubscribed"):
        removed(["ann"], on_withdrawal="unsubscribe")

    assert klaviyo.unsubscribed == []


def test_a_suppression_makes_no_profile_of_an_unknown_person(klaviyo: Klaviyo) -> None:
    klaviyo.polls = 1
    sent(table([ANN, BOB]))

    assert removed(["ann", "nobody"], on_withdrawal="suppress") == [ACCEPTED, ACCEPTED]

    assert klaviyo.suppressed == {"ann@x.org"}
    assert klaviyo.by("external_id").keys() == {"ann", "bob"}


def test_a_cancelled_suppression_is_uncertain(klaviyo: Klaviyo) -> None:
    sent(table([ANN]))
    klaviyo.status = "cancelled"

    assert removed(["ann"], on_withdrawal="suppress") == [RowStatus.UNCERTAIN]


def test_a_privacy_deletion_is_one_request_for_each_profile_and_over_when_it_is_gone(klaviyo: Klaviyo) -> None:
    sent(table([ANN, BOB, EVE]))

    assert removed(["ann", "bob", "nobody"], on_withdrawal="privacy_delete") == [ACCEPTED] * 3

    assert klaviyo.by("external_id").keys() == {"eve"}
    assert len(klaviyo.called("/data-privacy-deletion-jobs")) == 2


def test_a_person_who_is_still_there_keeps_a_deletion_pending(klaviyo: Klaviyo) -> None:
    sent(table([ANN]))
    kept = dict(klaviyo.profiles)
    destination = opened(table([ANN]), on_withdrawal="privacy_delete")
    leaving = table([{"external_id": "ann"}])
    pending = destination.remove(Batch(key="1" * 64, rows=leaving))
    klaviyo.profiles.update(kept)

    still = destination.confirm_rows(pending[0].code, 1, lambda: leaving)
    klaviyo.profiles.clear()
    gone = destination.confirm_rows(pending[0].code, 1, lambda: leaving)
    destination.commit()

    assert (still, gone) == (None, Outcomes.accepted(1))


def test_a_withdrawn_field_is_emptied_and_no_profile_is_made(klaviyo: Klaviyo) -> None:
    rows = table([{**ANN, "properties.plan": "gold"}, {**BOB, "properties.plan": "tin"}])
    sent(rows)
    destination = opened(rows)
    people = table([{"external_id": "ann"}, {"external_id": "stranger"}])

    outcomes = destination.clear(Batch(key="2" * 64, rows=people), ["properties.plan", "email"])
    statuses = [outcome.status for outcome in settled(destination, outcomes, people)]
    destination.commit()

    assert statuses == [ACCEPTED, ACCEPTED]
    assert klaviyo.by("external_id").keys() == {"ann", "bob"}
    assert klaviyo.by("external_id")["ann"] | {} == {**ANN, "email": None, "properties": {"plan": None}}
    assert klaviyo.by("external_id")["bob"]["properties"] == {"plan": "tin"}


def test_each_error_of_an_import_finds_its_row_over_several_pages(klaviyo: Klaviyo) -> None:
    klaviyo.refused = {f"p{number}" for number in range(0, 250, 2)}

    outcomes = sent(table([{"external_id": f"p{number}", "email": f"p{number}@x.org"} for number in range(250)]))

    rejected = [row for row, outcome in enumerate(outcomes) if outcome == Outcome(RowStatus.REJECTED, "invalid")]
    assert rejected == list(range(0, 250, 2))
    assert {outcome.status for outcome in outcomes[1::2]} == {ACCEPTED}


def test_an_import_whose_numbers_do_not_add_up_is_uncertain(klaviyo: Klaviyo) -> None:
    klaviyo.refused = {"ann"}

    def one_more(call: Asked, apply: Callable[[], Reply]) -> Reply:
        answer = apply()
        if "/profile-bulk-import-jobs/job" in call.path and "import-errors" not in call.path:
            answer.content["data"]["attributes"]["failed_count"] += 1
        return answer

    klaviyo.fault = one_more
    outcomes = sent(table([ANN, BOB]))
    klaviyo.fault, klaviyo.status = None, "cancelled"
    cancelled = sent(table([EVE]))

    assert {outcome.status for outcome in [*outcomes, *cancelled]} == {RowStatus.UNCERTAIN}


def test_another_process_reads_the_results_of_an_import(klaviyo: Klaviyo) -> None:
    klaviyo.polls, klaviyo.refused = 1, {"bob"}
    rows = table([ANN, BOB])
    first = opened(rows)
    pending = first.send(Batch(key="0" * 64, rows=rows))
    first.abort()
    trigger = PendingRequestsTrigger.of(spec(), [pending[0].code], poll_interval_s=1, timeout_s=60)
    asked = KlaviyoSpec(**trigger.parameters).build()
    states = [asked.is_processed(pending[0].code) for _ in range(2)]
    asked.abort()

    second = opened(rows)
    outcomes = second.confirm_rows(pending[0].code, 2, lambda: rows)
    second.commit()

    assert states == [False, True]
    assert outcomes is not None
    assert [outcome.status for outcome in outcomes] == [ACCEPTED, RowStatus.REJECTED]


def test_values_of_each_type_arrive_as_they_are(klaviyo: Klaviyo) -> None:
    values = {"n": 2**53, "f": 1.5, "b": True, "t": "Zoë", "l": ["a", "b"], "o": {"x": 1}}
    row = {**ANN, "location.city": "Rome", **{f"properties.{name}": value for name, value in values.items()}}

    assert [outcome.status for outcome in sent(table([row]))] == [ACCEPTED]

    profile = klaviyo.by("external_id")["ann"]
    assert profile == {**ANN, "location": {"city": "Rome"}, "properties": values}


def test_a_null_empties_an_attribute_or_leaves_it(klaviyo: Klaviyo) -> None:
    schema = pa.schema([("external_id", pa.string()), ("email", pa.string())])
    empty = [pa.RecordBatch.from_pylist([{"external_id": person, "email": None}], schema) for person in ("ann", "bob")]
    sent(table([ANN, BOB]))

    sent(empty[0])
    sent(empty[1], nulls="keep")

    assert [klaviyo.by("external_id")[person]["email"] for person in ("ann", "bob")] == [None, "bob@x.org"]


@pytest.mark.parametrize(
    ("key", "code"),
    [(None, "no_key"), ("", "no_key"), ('a"b', "unfit_key"), ("a\nb", "unfit_key"), (" a", "unfit_key")],
)
def test_a_key_that_no_filter_can_name_is_rejected(klaviyo: Klaviyo, key: str | None, code: str) -> None:
    assert sent(table([{**ANN, "external_id": key}, BOB])) == [Outcome(RowStatus.REJECTED, code), Outcome(ACCEPTED)]


@pytest.mark.parametrize("field", ["nickname", "location.planet", "properties.", "subscriptions.email"])
def test_a_field_without_a_place_in_a_profile_is_refused(klaviyo: Klaviyo, field: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"no attribute {field}"):
        opened(table([{**ANN, field: "x"}]))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"on_withdrawal": "delete"}, "on_withdrawal is not one of the destination's choices"),
        ({"on_withdrawal": "unsubscribe", "list_id": None}, "needs a list_id"),
        ({"on_withdrawal": "leave_list", "list_id": None}, "needs a list_id"),
        ({"batch_rows": 10_001}, "batch_rows must be at most 10,000"),
        ({"removal_batch_rows": 101}, "removal_batch_rows must be at most 100"),
        ({"list_id": "a/b"}, "list_id must be the id of a list"),
        ({"known_by": "id"}, "known_by must be"),
    ],
)
def test_wrong_options_are_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        KlaviyoSpec(**{"account_id": "AbC123", "on_withdrawal": "suppress", "list_id": "L1", **given})
