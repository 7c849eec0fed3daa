"""The page on a real API server of Airflow: who may see what, what is on it, and what is in no page and no log."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from support.airflow_server import AirflowServer
from support.crm_sync import CrmSync
from support.served_page import CANARY, PERSON, RUN, World
from support.sync_figures import PLACE, POLICY

from airflow_consent_retl.hooks.known_workspaces import KnownWorkspace
from airflow_consent_retl.hooks.policies import policy_in_force
from airflow_consent_retl.operators.forget import forget
from airflow_consent_retl.sight.addresses import person_page, policy_page, run_page, sync_page
from airflow_consent_retl.sight.page import pages
from airflow_consent_retl.sight.page.access import Rights
from airflow_consent_retl.sight.page.page_links import Links
from airflow_consent_retl.sight.page.page_rendering import rendered

OVERVIEW = "/consent-retl/?days=30"
PAGES = (OVERVIEW, sync_page("customers/lake"), run_page("customers", RUN, "load"), policy_page(), person_page())


@pytest.fixture
def server(world: World) -> AirflowServer:
    return world.server


# Who may see what


@pytest.mark.parametrize("address", [*PAGES, "/consent-retl/nothing/here"])
def test_a_person_who_is_not_logged_in_is_sent_to_airflows_login(server: AirflowServer, address: str) -> None:
    answer = server.get(address, user=None)

    assert answer.status == 303
    assert answer.headers["location"] == f"/auth/login?{urlencode({'next': f'{server.url}{address}'})}"
    assert answer.text == ""


def test_a_form_without_a_login_is_refused(server: AirflowServer) -> None:
    answer = server.get(person_page(), user=None, form={"person_id": PERSON})

    assert answer.status == 401
    assert "decided" not in answer.text


@pytest.mark.parametrize("address", [*PAGES, "/consent-retl/nothing/here"])
def test_a_user_without_rights_sees_nothing(server: AirflowServer, address: str) -> None:
    answer = server.get(address, user="nobody")

    assert answer.status == 403
    assert "You have no right to see this page" in answer.text
    assert not re.search("customers|leads|C0002|people", answer.text.partition("<main")[2])


def test_a_user_sees_the_syncs_of_the_dags_that_they_may_read(server: AirflowServer) -> None:
    shown = server.get(OVERVIEW, user="analyst").text

    assert set(re.findall(r"sync\?name=(\w+)%2F", shown)) == {"customers"}
    assert "leads" not in shown
    assert server.get(sync_page("customers/lake"), user="analyst").status == 200
    assert server.get(sync_page("leads/webhook"), user="analyst").status == 404
    assert server.get(sync_page("leads/webhook"), user="officer").status == 200


def test_a_run_is_shown_only_to_those_who_may_read_its_dag(server: AirflowServer) -> None:
    shown = server.get(sync_page("leads/webhook"), user="officer").text
    (address, *_) = re.findall(r'href="(/consent-retl/run\?[^"]*)"', shown)
    address = address.replace("&amp;", "&")

    assert server.get(address, user="officer").status == 200
    assert server.get(address, user="analyst").status == 404


def test_a_sync_that_no_one_knows_is_not_found(server: AirflowServer) -> None:
    answer = server.get(sync_page("no/where"), user="admin")

    assert answer.status == 404
    assert "There is nothing at this address" in answer.text


def test_only_those_who_may_read_audit_logs_may_ask_about_a_person(server: AirflowServer) -> None:
    form = server.get(person_page(), user="analyst")
    asked = server.get(person_page(), user="analyst", form={"person_id": PERSON})

    for answer in (form, asked):
        assert "takes the right to read audit logs" in answer.text
        assert "<form" not in answer.text
    assert "person_id" in server.get(person_page(), user="officer").text


def test_a_form_on_another_site_cannot_ask_about_a_person(server: AirflowServer) -> None:
    answer = server.get(person_page(), user="officer", form={"person_id": PERSON}, sec_fetch_site="cross-site")

    assert answer.status == 403


# What is on the pages


def test_the_first_page_has_each_sync_with_its_people_and_the_worst_come_first(server: AirflowServer) -> None:
    shown = server.get(OVERVIEW, user="officer").text

    rows = re.findall(r"→ ([\w:]+)</a>.*?<span class=\"tag (\w*)\">([\w ]+)</span>", shown, re.DOTALL)
    assert len(rows) == 15
    states = [state for *_, state in rows]
    assert states == sorted(states, key=["failed", "unserved", "waiting", "running", "never ran", "fine"].index)
    assert "Advertising (C0004): the person said no" in shown


@pytest.mark.parametrize("address", [OVERVIEW, sync_page("leads/google_ads:emea")])
def test_the_lag_of_withdrawals_is_shown_by_its_median_its_95_percent_and_its_oldest(
    server: AirflowServer, address: str
) -> None:
    shown = server.get(address, user="officer").text

    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", shown))
    lag = r"(\d+ min(?: \d+ s)?|\d+ h(?: \d+ min)?)"
    found = re.search(rf"Lag, 95 % within {lag} median {lag}, oldest {lag}", text)
    assert found is not None
    p95_s, median_s, oldest_s = map(in_seconds, found.groups())
    assert 0 < median_s < p95_s <= oldest_s


def in_seconds(text: str) -> int:
    """Return the seconds of a duration as the page shows it."""
    return sum(int(count) * {"s": 1, "min": 60, "h": 3_600}[unit] for count, unit in re.findall(r"(\d+) (\w+)", text))


def test_a_sync_shows_why_its_destination_rejected_rows(server: AirflowServer) -> None:
    shown = server.get(sync_page("leads/google_ads:emea"), user="officer").text
    rows = dict(re.findall(r"<th scope=\"row\">([\w:]+)</th>\s*<td[^>]*>([\d,]+)</td>", shown))

    assert int(rows["rejected:invalid_email"].replace(",", "")) > 0


@pytest.mark.parametrize(("address", "number"), [(OVERVIEW, 5), (sync_page("leads/google_ads:emea"), 4)])
def test_the_reasons_of_denials_are_shown_for_each_day(server: AirflowServer, address: str, number: int) -> None:
    chart = server.get(address, user="officer").text.partition("Why people are denied, over time")[2]
    drawn, _, figures = chart.partition("</figure>")[0].partition("<details>")

    reasons = ["Advertising (C0004): the person said no", "Analytics (C0002): no answer is recorded"]
    assert re.findall(r'aria-label="([^"]*?): [\d,]+ people at first, [\d,]+ now', drawn)[:2] == reasons
    assert drawn.count("<path") == number
    assert re.findall(r'class="number">([^<]*)</th>', figures)[:2] == reasons
    assert figures.count("<tr>") == 1 + 30


def test_syncs_whose_dag_is_gone_or_paused_are_served_by_no_one(server: AirflowServer) -> None:
    shown = server.get(OVERVIEW, user="officer").text
    notice = shown.partition("Served by no one")[2].partition("</section>")[0]

    assert re.search(r"newsletter_readers/webhook.*?is paused", notice, re.DOTALL)
    assert re.search(r"members/google_ads:emea.*?is gone", notice, re.DOTALL)
    assert "app_users/" not in notice


def test_people_who_were_not_taken_back_wait(server: AirflowServer) -> None:
    shown = server.get(OVERVIEW, user="officer").text
    notice = shown.partition(">Waiting<")[2].partition("</section>")[0]

    assert "leads/google_ads:emea" in notice
    assert "3 people are still to be taken back" in notice


def test_a_part_of_a_name_finds_syncs(server: AirflowServer) -> None:
    shown = server.get("/consent-retl/?days=7&find=LEADS%2F", user="officer").text

    assert set(re.findall(r"sync\?name=(\w+)%2F", shown)) == {"leads"}
    assert "No sync that you may see has" in server.get("/consent-retl/?find=%3Cb%3E", user="officer").text


def test_a_sync_shows_a_real_load_its_reasons_and_its_causes_and_links_to_airflow(server: AirflowServer) -> None:
    shown = server.get(sync_page("customers/lake"), user="officer").text

    assert "Analytics (C0002): the person said no" in shown
    assert "the person withdrew consent" in shown
    assert f"/dags/customers/runs/{RUN.replace(':', '%3A').replace('+', '%2B')}/tasks/load" in shown
    assert '/dags/customers"' in shown
    assert "2 in 30 days" in shown


def test_a_run_adds_up(server: AirflowServer) -> None:
    shown = server.get(run_page("customers", RUN, "load"), user="officer").text
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", shown))

    assert "5 read=2 permitted+3 denied" in text.replace(" = ", "=").replace(" + ", "+")
    assert "customers/lake" in text


def test_many_runs_are_on_several_pages(server: AirflowServer) -> None:
    first = server.get(f"{sync_page('leads/webhook')}&days=365", user="officer").text
    beyond = server.get(f"{sync_page('leads/webhook')}&days=365&page=2", user="officer").text

    assert "80 in 365 days" in first
    assert "Page 1 of 2" in first
    assert first.count(">log<") == 50
    assert beyond.count(">log<") == 30


def test_the_policy_in_force_its_differences_and_who_approved_it_are_shown(server: AirflowServer) -> None:
    shown = server.get(policy_page(PLACE), user="officer").text

    assert "Approved by Ida Petersen" in shown
    assert "category <code>C0007</code> is new" in shown
    assert "may permit more:" in shown
    assert "own analytics store, no third party" in shown
    assert "0 people gained permission, 1,904 lost it" in shown


def test_a_place_at_which_no_run_saw_a_policy_is_not_read(server: AirflowServer, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text(json.dumps({"categories": [{"id": CANARY, "name": CANARY}]}))

    answer = server.get(policy_page(f"file:{tmp_path}/secret.json"), user="admin")

    assert answer.status == 404
    assert CANARY not in answer.text


def test_a_person_is_answered_without_a_value(server: AirflowServer) -> None:
    shown = server.get(person_page(), user="officer", form={"person_id": PERSON}).text

    where = shown.partition("Where the person is")[2].partition("</section>")[0]
    assert re.search(r"lake.*>no<", where, re.DOTALL)
    assert "Analytics (C0002): the person said no" in shown
    assert "the person withdrew consent" in shown
    assert CANARY not in shown


def test_a_person_whom_no_run_saw_is_in_no_record(server: AirflowServer) -> None:
    shown = server.get(person_page(), user="officer", form={"person_id": f"{CANARY}-unknown"}).text

    assert "No delivery about this id is recorded" in shown
    assert CANARY not in shown


def test_who_asked_about_a_person_is_in_airflows_audit_log_and_about_whom_is_not(server: AirflowServer) -> None:
    server.get(person_page(), user="officer", form={"person_id": PERSON})

    with server.database.connect() as connection:
        logged = connection.execute(sa.text("SELECT event, owner, extra FROM log")).all()
    assert ("consent_retl.person_looked_up", "officer", None) in logged
    assert CANARY not in str(logged)


@pytest.mark.parametrize(
    "address", [f"/consent-retl/?days={CANARY}", "/consent-retl/?days=0", f"/consent-retl/run?dag_id={CANARY}"]
)
def test_a_wrong_parameter_is_refused_without_its_value(server: AirflowServer, address: str) -> None:
    answer = server.get(address, user="officer")

    assert answer.status == 400
    assert CANARY not in answer.text


def test_no_value_of_a_row_is_in_any_page_or_in_the_servers_log(world: World) -> None:
    server = world.server
    shown = [server.get(address, user="admin").text for address in PAGES]
    shown.append(server.get(person_page(), user="admin", form={"person_id": PERSON}).text)

    assert all("</html>" in page for page in shown)
    assert not [page for page in shown if CANARY in page]
    # The id was only in the body of a request; the address of a wrong request is the asker's own.
    lines = [line for line in server.log.splitlines() if CANARY in line and "status_code=400" not in line]
    assert not [line for line in lines if "/person" in line or PERSON in line]


def test_pages_are_kept_nowhere_and_may_load_nothing_from_elsewhere(server: AirflowServer) -> None:
    for address in PAGES:
        answer = server.get(address, user="officer")
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", answer.text)


@pytest.mark.usefixtures("airflow_db")
def test_before_the_first_run_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", tmp_path.as_uri())
    reader = Rights(name="admin", dags=frozenset(), reads_all_dags=True, may_look_up=True)

    shown = pages.overview(reader, KnownWorkspace(), days=30, find="")
    policies = pages.policy(reader, None)
    assert policies is not None
    texts = [
        rendered(name, links=Links(""), reader=reader, workspaces=[""], **contents)
        for name, contents in (("overview", shown), ("policy", policies))
    ]

    assert "No run has made a ledger that this server can read" in texts[0]
    assert "No run saw a policy" in texts[1]
    assert not (tmp_path / "ledger.db").exists()


@pytest.mark.usefixtures("airflow_db")
def test_the_first_policy_of_the_deployment_is_shown_before_it_is_approved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for option, value in {"WORKSPACE": tmp_path.as_uri(), "POLICY": "variable:first", "APPROVAL_REQUIRED": "1"}.items():
        monkeypatch.setenv(f"AIRFLOW__CONSENT_RETL__{option}", value)
    monkeypatch.setenv("AIRFLOW_VAR_FIRST", json.dumps(POLICY))
    reader = Rights(name="ida", dags=frozenset(), reads_all_dags=True, may_look_up=True, may_approve=lambda place: True)

    contents = pages.policy(reader, None)
    assert contents is not None
    text = rendered("policy", links=Links(""), reader=reader, workspaces=[""], **contents)

    assert "It is the first one here, so it waits for an approval." in text
    assert "Direct marketing" in text
    assert "as ida</button>" in text
    assert pages.approve(
        reader, place="variable:first", digest=contents["found"].waiting.digest, proof=contents["proof"], note=""
    )
    assert policy_in_force(None).policy.digest == contents["found"].waiting.digest


@pytest.mark.usefixtures("airflow_db")
def test_requests_to_forget_a_person_are_shown_with_what_became_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = CrmSync(tmp_path, monkeypatch)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", crm.workspace)
    crm.people(7)
    crm.sync()
    forget(ids=["7"], exempt={"crm": "a duty to keep"})
    reader = Rights(name="ida", dags=frozenset(), reads_all_dags=True, may_look_up=True)

    contents = pages.person(reader, KnownWorkspace(), "7")
    text = rendered("person", links=Links(""), reader=reader, workspaces=[""], **contents)

    assert "on the suppression list" in text
    assert "people/crm: exempted (a duty to keep)" in text
