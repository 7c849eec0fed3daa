"""Salesforce: what each choice of a removal does, what people consented to, and every way in which a job can end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.loading import DECIDED_AT, load_of
from support.salesforce_server import Job, SalesforceOrg, connection_of, salesforce_org

from airflow_consent_retl.contract import (
    Batch,
    ConfigurationError,
    DestinationError,
    DestinationUnavailableError,
    Outcome,
    Outcomes,
    RowStatus,
)
from airflow_consent_retl.destinations.salesforce.consent_objects import (
    GRANTED,
    WITHDRAWN,
    ContactPointTypeConsent,
    IndividualFlags,
    PartyConsent,
    as_parameters,
)
from airflow_consent_retl.destinations.salesforce.destination import SalesforceDestination
from airflow_consent_retl.destinations.salesforce.options import SalesforceOptions, SalesforceSpec
from airflow_consent_retl.fields import consent, constant
from airflow_consent_retl.operators import LoadToSalesforceOperator
from airflow_consent_retl.triggers.pending_requests import PendingRequestsTrigger

KEY = "Customer_Key__c"
EMAIL_CONSENT = ContactPointTypeConsent(
    contact_point="Email", field="news", external_id="Consent_Key__c", party=f"Individual:Party.{KEY}"
)
USE = PartyConsent(action="Segment", field="profiling", external_id="Consent_Key__c", party=f"Individual:Party.{KEY}")
FLAGS = IndividualFlags(flags=("HasOptedOutSolicit",), external_id=KEY)
ANN, BOB = {KEY: "ann", "LastName": "Ann", "Email": "a@x.org"}, {KEY: "bob", "LastName": "Bob", "Email": "b@x.org"}
TABLES = ["successfulResults", "failedResults", "unprocessedrecords"]
ACCEPTED = RowStatus.ACCEPTED


@pytest.fixture
def org(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SalesforceOrg]:
    with salesforce_org(tmp_path) as server:
        monkeypatch.setenv("AIRFLOW_CONN_SALESFORCE_DEFAULT", connection_of(server).as_json())
        yield server


def spec(**given: Any) -> SalesforceSpec:
    chosen = {"sobject": "Contact", "external_id": KEY, "on_withdrawal": "delete", "max_attempts": 2, "backoff_s": 0.01}
    return SalesforceSpec(**{**chosen, **given})


def table(rows: Sequence[Mapping[str, object]], schema: pa.Schema | None = None) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=schema or pa.schema([(n, pa.string()) for n in rows[0]]))


def opened(rows: pa.RecordBatch, **given: Any) -> SalesforceDestination:
    destination = spec(**given).build()
    destination.open(load_of(pa.Table.from_batches([rows]), key_field=KEY))
    return destination


def settled(destination: SalesforceDestination, outcomes: Outcomes, rows: pa.RecordBatch) -> list[Outcome]:
    """Confirm each row alone, as a load does in another try."""
    found = []
    for row, outcome in enumerate(outcomes):
        one = rows.slice(row, 1)
        answer = None if outcome.status is RowStatus.PENDING else Outcomes(1, outcome)
        while answer is None:
            answer = destination.confirm_rows(outcome.code, 1, lambda one=one: one)  # type: ignore[misc]
        found.append(answer[0])
    return found


def sent(rows: pa.RecordBatch, **given: Any) -> list[Outcome]:
    destination = opened(rows, **given)
    outcomes = settled(destination, destination.send(Batch(key="0" * 64, rows=rows)), rows)
    destination.commit()
    return outcomes


def removed(people: Sequence[str], rows: pa.RecordBatch, **given: Any) -> list[Outcome]:
    destination = opened(rows, **given)
    leaving = table([{KEY: person} for person in people])
    outcomes = settled(destination, destination.remove(Batch(key="1" * 64, rows=leaving)), leaving)
    destination.commit()
    return outcomes


def statuses(outcomes: Sequence[Outcome]) -> list[RowStatus]:
    return [outcome.status for outcome in outcomes]


def started(org: SalesforceOrg) -> list[Job]:
    return [job for job in org.jobs.values() if job.state not in {"Open", "Aborted"}]


def individuals(org: SalesforceOrg, *people: str) -> None:
    for person in people:
        org.add("Individual", Customer_Key__c=person, LastName=person)


def consent_of(org: SalesforceOrg, person: str) -> dict[str, str | None]:
    return org.of("ContactPointTypeConsent", "Consent_Key__c")[f"{person}:Email"]


def test_a_withdrawal_that_empties_fields_leaves_the_others_and_makes_no_record(org: SalesforceOrg) -> None:
    rows = table([ANN, BOB])
    sent(rows)

    outcomes = removed(["ann", "nobody"], rows, on_withdrawal="clear_fields", clear_fields=["Email"])

    assert statuses(outcomes) == [ACCEPTED, ACCEPTED]
    assert org.of("Contact", KEY) == {"ann": {**ANN, "Email": None}, "bob": BOB}


def test_a_deletion_is_final_only_where_the_dag_says_so(org: SalesforceOrg) -> None:
    rows = table([ANN, BOB])
    sent(rows)

    outcomes = removed(["ann"], rows) + removed(["bob"], rows, hard_delete=True)

    assert statuses(outcomes) == [ACCEPTED, ACCEPTED]
    assert org.of("Contact", KEY) == {}
    assert org.operations()[1:] == [("Contact", "delete"), ("Contact", "hardDelete")]


def test_people_are_told_by_their_own_answers_and_since_when(org: SalesforceOrg) -> None:
    individuals(org, "ann", "bob")
    rows = table([{**ANN, "news": "OptIn"}, {**BOB, "news": None}])

    outcomes = sent(rows, consent_objects=[EMAIL_CONSENT])

    assert statuses(outcomes) == [ACCEPTED, ACCEPTED]
    told = org.of("ContactPointTypeConsent", "Consent_Key__c")
    assert told.keys() == {"ann:Email"}
    assert told["ann:Email"] == {
        "Consent_Key__c": "ann:Email",
        "PartyId": next(one for one, record in org.records["Individual"].items() if record[KEY] == "ann"),
        "Name": "Email consent",
        "ContactPointType": "Email",
        "CaptureContactPointType": "Web",
        "CaptureDate": f"{DECIDED_AT:%Y-%m-%dT%H:%M:%S.000}Z",
        "CaptureSource": GRANTED,
        "PrivacyConsentStatus": "OptIn",
        "EffectiveFrom": f"{DECIDED_AT:%Y-%m-%dT%H:%M:%S.000}Z",
        "EffectiveTo": None,
    }
    assert "news" not in org.of("Contact", KEY)["ann"]


def test_a_person_is_told_by_the_uses_of_their_data_too_and_each_ends_with_its_own_answer(org: SalesforceOrg) -> None:
    individuals(org, "ann")
    chosen = {"consent_objects": [EMAIL_CONSENT, USE]}
    sent(table([{**ANN, "news": "OptIn", "profiling": "OptIn"}]), **chosen)

    outcomes = sent(table([{**ANN, "news": "OptIn", "profiling": None}]), **chosen)

    assert statuses(outcomes) == [ACCEPTED]
    (use,) = org.records["PartyConsent"].values()
    assert (use["Consent_Key__c"], use["Action"]) == ("ann:Segment", "Segment")
    assert (use["PrivacyConsentStatus"], use["CaptureSource"]) == ("OptOut", WITHDRAWN)
    assert use["CaptureDate"] == f"{DECIDED_AT:%Y-%m-%dT%H:%M:%S.000}Z"
    assert consent_of(org, "ann")["PrivacyConsentStatus"] == "OptIn"


def test_a_withdrawal_ends_the_consents_of_every_kind(org: SalesforceOrg) -> None:
    individuals(org, "ann")
    rows = table([{**ANN, "news": "OptIn", "profiling": "OptIn"}])
    chosen = {"consent_objects": [EMAIL_CONSENT, USE], "on_withdrawal": "consent_objects"}
    sent(rows, **chosen)

    outcomes = removed(["ann"], rows, **chosen)

    assert statuses(outcomes) == [ACCEPTED]
    told = [*org.records["PartyConsent"].values(), consent_of(org, "ann")]
    assert [one["PrivacyConsentStatus"] for one in told] == ["OptOut", "OptOut"]


def test_a_person_is_not_accepted_while_one_of_their_consents_is_refused(org: SalesforceOrg) -> None:
    individuals(org, "ann")
    org.refused = {"ann:Segment"}

    outcomes = sent(table([{**ANN, "news": "OptIn", "profiling": "OptIn"}]), consent_objects=[EMAIL_CONSENT, USE])

    assert statuses(outcomes) == [RowStatus.REJECTED]


def test_an_opt_out_of_the_person_survives_and_one_of_ours_ends_when_they_grant_again(org: SalesforceOrg) -> None:
    individuals(org, "ann", "bob")
    rows = table([{**ANN, "news": "OptIn"}, {**BOB, "news": "OptIn"}])
    chosen = {"consent_objects": [EMAIL_CONSENT], "on_withdrawal": "consent_objects"}
    sent(rows, **chosen)
    # Bob clicks on a link at Salesforce; then both withdraw, and grant again.
    consent_of(org, "bob")["PrivacyConsentStatus"] = "OptOut"

    ended = removed(["ann", "bob"], rows, **chosen)
    after = {person: dict(consent_of(org, person)) for person in ("ann", "bob")}
    again = sent(rows, **chosen)

    assert statuses([*ended, *again]) == [ACCEPTED] * 4
    assert (after["ann"]["PrivacyConsentStatus"], after["ann"]["CaptureSource"]) == ("OptOut", WITHDRAWN)
    assert (after["bob"]["PrivacyConsentStatus"], after["bob"]["CaptureSource"]) == ("OptOut", GRANTED)
    assert consent_of(org, "ann")["PrivacyConsentStatus"] == "OptIn"
    assert consent_of(org, "bob")["PrivacyConsentStatus"] == "OptOut"
    assert org.of("Contact", KEY).keys() == {"ann", "bob"}


def test_consent_that_did_not_change_is_not_written_again_so_its_dates_stay(org: SalesforceOrg) -> None:
    individuals(org, "ann")
    rows = table([{**ANN, "news": "OptIn"}])
    sent(rows, consent_objects=[EMAIL_CONSENT])
    consent_of(org, "ann")["EffectiveFrom"] = "2020-01-01T00:00:00.000Z"

    sent(rows, consent_objects=[EMAIL_CONSENT])

    assert consent_of(org, "ann")["EffectiveFrom"] == "2020-01-01T00:00:00.000Z"


def test_flags_are_set_by_a_withdrawal_and_taken_back_by_no_load(org: SalesforceOrg) -> None:
    individuals(org, "ann", "bob")
    rows = table([{**ANN, "news": "OptIn"}])
    chosen = {"consent_objects": [EMAIL_CONSENT, FLAGS], "on_withdrawal": "consent_objects"}

    outcomes = removed(["ann", "unknown"], rows, **chosen)
    sent(rows, **chosen)

    assert statuses(outcomes) == [ACCEPTED, RowStatus.REJECTED]
    people = org.of("Individual", KEY)
    assert (people["ann"]["HasOptedOutSolicit"], people["bob"].get("HasOptedOutSolicit")) == ("true", None)


def test_a_person_whose_consent_cannot_be_written_is_not_accepted(org: SalesforceOrg) -> None:
    rows = table([{**ANN, "news": "OptIn"}, {**BOB, "news": None}])

    outcomes = sent(rows, consent_objects=[EMAIL_CONSENT])

    assert statuses(outcomes) == [RowStatus.REJECTED, ACCEPTED]


def test_each_line_of_the_results_finds_its_row_in_any_order(org: SalesforceOrg) -> None:
    org.refused, org.unprocessed, org.lost = {"p1"}, {"p2"}, {"p3"}
    rows = table([{KEY: f"p{number}", "LastName": "x"} for number in range(6)])

    outcomes = sent(rows)

    assert outcomes == [
        Outcome(ACCEPTED),
        Outcome(RowStatus.REJECTED, "INVALID_EMAIL_ADDRESS", "Email"),
        Outcome(RowStatus.UNSENT, "unprocessed"),
        Outcome(RowStatus.UNCERTAIN, "not_in_results"),
        Outcome(ACCEPTED),
        Outcome(ACCEPTED),
    ]


@pytest.mark.parametrize(
    ("trouble", "tables"),
    [
        ({}, TABLES[:1]),
        ({"refused": {"ann"}}, TABLES),
        ({"lost": {"ann"}}, TABLES),
    ],
)
def test_what_failed_is_read_unless_the_job_says_that_nothing_did_and_every_line_is_there(
    org: SalesforceOrg, trouble: dict[str, set[str]], tables: list[str]
) -> None:
    for name, keys in trouble.items():
        setattr(org, name, keys)

    sent(table([ANN, BOB]))

    read = [path.rpartition("/")[2] for method, path in org.calls if method == "GET"]
    assert [one for one in dict.fromkeys(read) if one in TABLES] == tables


def test_a_locked_record_is_tried_again_and_a_code_of_the_row_is_not_shown(org: SalesforceOrg) -> None:
    org.refused = {"LOCKED1"}
    rows = table([{KEY: "LOCKED1", "LastName": "x"}])

    org.refusal = "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record:--"
    locked = sent(rows)
    org.refusal = "LOCKED1:{0}:--"
    quoted = sent(rows)

    assert locked == [Outcome(RowStatus.UNSENT, "UNABLE_TO_LOCK_ROW")]
    assert quoted == [Outcome(RowStatus.REJECTED, "unnamed")]


def test_a_start_whose_answer_was_lost_is_asked_for_and_not_repeated(org: SalesforceOrg) -> None:
    org.fault = "lost_start"

    outcomes = sent(table([ANN]))

    assert statuses(outcomes) == [ACCEPTED]
    assert len(started(org)) == 1


def test_a_job_that_was_never_started_is_given_up_and_its_rows_are_sent_again(org: SalesforceOrg) -> None:
    org.fault = "never_started"

    outcomes = sent(table([ANN]))

    assert outcomes == [Outcome(RowStatus.UNSENT, "never_started")]
    assert [job.state for job in org.jobs.values()] == ["Aborted"]
    assert org.of("Contact", KEY) == {}


def test_rows_whose_upload_was_lost_are_certainly_not_applied(org: SalesforceOrg) -> None:
    org.fault = "lost_upload"

    with pytest.raises(DestinationUnavailableError, match="connection_lost"):
        sent(table([ANN]))

    assert [job.state for job in org.jobs.values()] == ["Aborted"]


def test_another_process_reads_the_results_of_a_job_under_its_id(org: SalesforceOrg) -> None:
    rows = table([ANN, BOB])
    org.polls, org.refused = 1, {"bob"}
    first = opened(rows)
    pending = first.send(Batch(key="0" * 64, rows=rows))
    first.abort()
    trigger = PendingRequestsTrigger.of(
        spec(consent_objects=as_parameters([EMAIL_CONSENT])), [pending[0].code], poll_interval_s=1, timeout_s=60
    )
    asked = SalesforceSpec(**trigger.parameters).build()
    states = [asked.is_processed(pending[0].code) for _ in range(2)]
    asked.abort()

    second = opened(rows)
    outcomes = second.confirm_rows(pending[0].code, 2, lambda: rows)
    second.commit()

    assert states == [False, True]
    assert outcomes is not None
    assert statuses(list(outcomes)) == [ACCEPTED, RowStatus.REJECTED]
    assert len(started(org)) == 1


def test_logs_in_again_when_the_session_ends(org: SalesforceOrg) -> None:
    rows = table([ANN])
    destination = opened(rows)
    org.end_sessions()

    outcomes = settled(destination, destination.send(Batch(key="0" * 64, rows=rows)), rows)
    destination.commit()

    assert statuses(outcomes) == [ACCEPTED]
    assert org.logins == ["soap", "soap"]


def test_logs_in_as_an_app_with_oauth(org: SalesforceOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SALESFORCE_DEFAULT", connection_of(org, app=True).as_json())

    assert statuses(sent(table([ANN]))) == [ACCEPTED]
    assert org.logins == ["oauth"]
    assert spec().build().target == f"Contact by {KEY} at acme.my.salesforce.com"


def test_a_wrong_password_is_refused_without_the_words_of_the_answer(
    org: SalesforceOrg, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connection_of(org)
    connection.password = "wrong-1b2c"
    monkeypatch.setenv("AIRFLOW_CONN_SALESFORCE_DEFAULT", connection.as_json())

    with pytest.raises(DestinationError, match=r"refuses the login of the connection \(INVALID_LOGIN\)$"):
        opened(table([ANN]))


def test_makes_no_job_beyond_its_share_of_the_orgs_daily_requests(org: SalesforceOrg) -> None:
    org.used = 90_000

    with pytest.raises(
        DestinationUnavailableError, match=r"has used 90,0.* next try is at .*[0-9]{2}:[0-9]{2} UTC"
    ) as error:
        sent(table([ANN]))

    assert error.value.retry_after_s == 3600
    assert org.jobs == {}


@pytest.mark.parametrize(
    ("used", "level", "words"),
    [
        (100, "INFO", "this load needs about 8, and max_api_share=0.9 leaves 89,89"),
        (89_990, "WARNING", "leaves 8: it will stop on the way"),
    ],
)
def test_the_log_says_whether_the_orgs_requests_are_enough_for_a_load(
    org: SalesforceOrg, caplog: pytest.LogCaptureFixture, used: int, level: str, words: str
) -> None:
    org.used = used
    caplog.set_level("INFO")

    opened(table([ANN] if level == "INFO" else [ANN, BOB]), batch_rows=1)

    (line,) = [one for one in caplog.records if "at the Salesforce org" in one.getMessage()]
    assert line.levelname == level
    assert words in " ".join(line.getMessage().split())


def test_waits_when_the_orgs_requests_are_used_up(org: SalesforceOrg) -> None:
    org.fault = "limit"

    with pytest.raises(
        DestinationUnavailableError, match=r"REQUEST_LIMIT_EXCEEDED.* at .*[0-9]{2}:[0-9]{2} UTC"
    ) as error:
        opened(table([ANN]))

    assert error.value.retry_after_s == 3600


def test_insert_makes_no_second_record_and_update_makes_none(org: SalesforceOrg) -> None:
    sent(table([ANN]), write="insert")

    inserted = sent(table([{**ANN, "LastName": "New"}, BOB]), write="insert")
    updated = sent(table([{**ANN, "LastName": "Newer"}, {**BOB, KEY: "nobody"}]), write="update")

    assert inserted == [Outcome(RowStatus.REJECTED, "DUPLICATE_VALUE"), Outcome(ACCEPTED)]
    assert updated == [Outcome(ACCEPTED), Outcome(RowStatus.REJECTED, "not_found")]
    assert org.of("Contact", KEY) == {"ann": {**ANN, "LastName": "Newer"}, "bob": BOB}


def test_null_empties_a_field_or_leaves_it_and_a_reserved_text_is_refused(org: SalesforceOrg) -> None:
    sent(table([ANN, BOB]))

    kept = sent(table([{**ANN, "Email": None}]), nulls="keep")
    emptied = sent(table([{**BOB, "Email": None}, {**ANN, "LastName": "#N/A"}, {**ANN, KEY: ""}]))

    assert statuses(kept) == [ACCEPTED]
    assert emptied == [
        Outcome(ACCEPTED),
        Outcome(RowStatus.REJECTED, "reserved_text"),
        Outcome(RowStatus.REJECTED, "no_key"),
    ]
    assert org.of("Contact", KEY) == {"ann": ANN, "bob": {**BOB, "Email": None}}


def test_rows_that_are_too_large_for_one_file_go_in_several_jobs(org: SalesforceOrg) -> None:
    rows = table([{KEY: f"p{number}", "LastName": "x" * 50} for number in range(5)])

    outcomes = sent(rows, max_body_bytes=200)

    assert statuses(outcomes) == [ACCEPTED] * 5
    assert sorted(len(job.lines) for job in started(org)) == [1, 2, 2]


def test_a_key_that_differs_in_case_is_the_same_record_where_the_field_says_so(org: SalesforceOrg) -> None:
    org.add("Lead", Customer_Key__c="ANN", LastName="Ann")

    outcomes = removed(["ann"], table([{KEY: "ann", "LastName": "Ann"}]), sobject="Lead")

    assert statuses(outcomes) == [ACCEPTED]
    assert org.records["Lead"] == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"external_id": "Email"}, "`Email` is no external id of Contact"),
        ({"sobject": "Lead", "write": "insert"}, "is not unique"),
        ({"clear_fields": ["Secret__c"], "on_withdrawal": "clear_fields"}, "Contact has no field Secret__c"),
        ({"consent_objects": [EMAIL_CONSENT]}, r"need the fields news: map each with consent"),
    ],
)
def test_what_does_not_suit_the_org_is_refused_before_a_row(
    org: SalesforceOrg, given: dict[str, Any], words: str
) -> None:
    rows = table([{**ANN, "Email": "x"}])
    destination = spec(**given).build()

    with pytest.raises(ConfigurationError, match=words):
        destination.open(load_of(pa.Table.from_batches([rows]), key_field=spec(**given).external_id))
    destination.abort()

    assert org.jobs == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"on_withdrawal": "unsubscribe"}, "on_withdrawal is not one of the destination's choices"),
        ({"on_withdrawal": "clear_fields"}, 'clear_fields is for on_withdrawal="clear_fields"'),
        ({"on_withdrawal": "consent_objects"}, "needs consent_objects"),
        ({"on_withdrawal": "clear_fields", "clear_fields": [KEY]}, "must not empty the external id"),
        (
            {"hard_delete": True, "on_withdrawal": "clear_fields", "clear_fields": ["Email"]},
            'hard_delete is for on_withdrawal="delete"',
        ),
        ({"max_body_bytes": 150_000_000}, "at most 100,000,000"),
        ({"write": "insert", "consent_objects": [EMAIL_CONSENT]}, "would never arrive"),
        ({"sobject": "Contact WHERE"}, "sobject must be an API name"),
        ({"consent_objects": [EMAIL_CONSENT, EMAIL_CONSENT]}, "a contact_point twice"),
        ({"consent_objects": [IndividualFlags(flags=("IsNice",), external_id=KEY)]}, "`IsNice` is no flag"),
        ({"consent_objects": [{"object": "PartyConsent"}]}, "and nothing else"),
        (
            {"consent_objects": [USE, replace(USE, action="Target", party="Individual:Party.Key__c")]},
            "all PartyConsent",
        ),
        ({"consent_objects": [replace(USE, action="Mail")]}, "action must be one of CrossDevice"),  # type: ignore[arg-type]
        ({"consent_objects": [FLAGS, FLAGS]}, "IndividualFlags twice"),
    ],
)
def test_wrong_options_are_named(given: dict[str, Any], words: str) -> None:
    chosen = {"sobject": "Contact", "external_id": KEY, "on_withdrawal": "delete", **given}

    with pytest.raises(ConfigurationError, match=words):
        SalesforceOptions(**chosen)


@pytest.mark.parametrize("told", ["newsletter_column", constant("OptIn"), consent("C0005", granted="yes"), None])
def test_salesforce_is_told_no_more_than_a_persons_own_answer(told: str | None) -> None:
    fields = {KEY: "user_id", "LastName": "name", **({"news": told} if told else {})}

    with pytest.raises(ConfigurationError, match=r"`news`, each person's own answer to a category"):
        LoadToSalesforceOperator(
            task_id="load",
            permitted={},
            destination="salesforce",
            sobject="Contact",
            external_id=KEY,
            fields=fields,
            on_withdrawal="delete",
            consent_objects=[EMAIL_CONSENT],
        )
