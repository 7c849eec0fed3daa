"""Three days of a Salesforce org through real Airflow: first load, changes, withdrawals, rows left unprocessed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from e2e.test_canaries import leaks
from support.airflow_run import Airflow
from support.people import CANARY, people
from support.salesforce_server import PASSWORD, TOKEN, SalesforceOrg, connection_of, salesforce_org

GRANTING = [one for one in people() if one.analytics_ok is True and one.ads == "yes"]
LEAVING, CHANGING, OPTED_OUT = GRANTING[:3]
KEY = "Customer_Key__c"


@pytest.fixture
def org(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[SalesforceOrg]:
    with salesforce_org(tmp_path_factory.mktemp("salesforce")) as server:
        monkeypatch.setenv("AIRFLOW_CONN_SALESFORCE_DEFAULT", connection_of(server).as_json())
        for one in people():
            server.add("Individual", Customer_Key__c=one.user_id, LastName="x")
        server.polls = 1
        yield server


def consents(org: SalesforceOrg) -> dict[str, str | None]:
    told = org.of("ContactPointTypeConsent", "Consent_Key__c")
    return {key.removesuffix(":Email"): record["PrivacyConsentStatus"] for key, record in told.items()}


@pytest.mark.long
def test_salesforce_follows_consent_over_three_days_and_its_opt_outs_survive(
    airflow: Airflow, warehouse: Path, org: SalesforceOrg, tmp_path: Path
) -> None:
    def run(state: str = "success") -> dict[str, int]:
        done = airflow.run("salesforce_contacts", module="salesforce")
        assert done.state == state, done.output
        assert leaks(airflow, done, tmp_path) == []
        assert [secret for secret in (PASSWORD, TOKEN, *org.sessions) if secret in done.output] == []
        return airflow.xcom(done, "load") if state == "success" else {}

    def change(sql: str, *values: str) -> None:
        with duckdb.connect(str(warehouse)) as connection:
            connection.execute(sql, values)

    first = run()

    assert (first["accepted"], first["pending"], first["uncertain"]) == (len(GRANTING), 0, 0)
    assert org.of("Contact", KEY).keys() == {one.user_id for one in GRANTING}
    assert set(consents(org).values()) == {"OptIn"}

    opted_out = org.of("ContactPointTypeConsent", "Consent_Key__c")[f"{OPTED_OUT.user_id}:Email"]
    opted_out["PrivacyConsentStatus"] = "OptOut"
    change("UPDATE people SET ads = 'no' WHERE user_id = ?", LEAVING.user_id)
    for one in (CHANGING, OPTED_OUT):
        change("UPDATE people SET name = ? WHERE user_id = ?", f"{CANARY} new", one.user_id)
    org.unprocessed = {CHANGING.user_id}
    run("failed")
    org.unprocessed = set()
    second = run()

    assert second["rejected"] == second["uncertain"] == 0
    assert org.of("Contact", KEY)[CHANGING.user_id]["LastName"] == f"{CANARY} new"
    assert consents(org)[LEAVING.user_id] == consents(org)[OPTED_OUT.user_id] == "OptOut"
    flags = {key: record.get("HasOptedOutSolicit") for key, record in org.of("Individual", KEY).items()}
    assert {key for key, flag in flags.items() if flag} == {LEAVING.user_id}
    assert LEAVING.user_id in org.of("Contact", KEY)

    change("UPDATE people SET ads = 'yes' WHERE user_id = ?", LEAVING.user_id)
    third = run()

    assert (third["removed"], third["accepted"]) == (0, 1)
    assert consents(org) == {one.user_id: "OptOut" if one is OPTED_OUT else "OptIn" for one in GRANTING}
    assert {operation for _, operation in org.operations()} == {"upsert"}
