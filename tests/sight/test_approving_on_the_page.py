"""The approval of a policy on the page: who may give it, what they see before, and what is recorded."""

from __future__ import annotations

import json
import re
from html import escape, unescape

import pytest
import sqlalchemy as sa
from itsdangerous import URLSafeTimedSerializer
from support.airflow_server import API_KEY, Answer
from support.served_page import World
from support.sync_figures import POLICY
from support.waiting_policies import LOOSER, Waiting, first_policy, waiting_policy

from airflow_consent_retl.sight.addresses import policy_page


@pytest.fixture(params=[waiting_policy, first_policy], ids=["changed", "first"])
def waiting(world: World, request: pytest.FixtureRequest) -> Waiting:
    """A policy that waits: one that replaces another, or the first one of a DAG's own place."""
    made: Waiting = request.param(world)
    return made


@pytest.fixture
def changed(world: World) -> Waiting:
    return waiting_policy(world)


@pytest.fixture
def first(world: World) -> Waiting:
    return first_policy(world)


def shown_to(user: str, waiting: Waiting) -> str:
    return waiting.world.server.get(policy_page(waiting.place), user=user).text


def form_of(shown: str) -> dict[str, str]:
    """Return the fields of the form that approves, as a browser would post them."""
    form = shown.partition('<form class="find" method="post"')[2].partition("</form>")[0]
    fields = re.findall(r'<input type="(?:hidden|text)" name="(\w+)"(?: value="([^"]*)")?', form)
    return {name: unescape(value) for name, value in fields}


def post(waiting: Waiting, user: str | None, form: dict[str, str], **headers: str) -> Answer:
    return waiting.world.server.get(policy_page(), user=user, form=form, **headers)


def logged(waiting: Waiting) -> list[tuple[str, str]]:
    asked = sa.text("SELECT owner, extra FROM log WHERE event = 'consent_retl.policy_approved'")
    with waiting.world.server.database.connect() as connection:
        return [(owner, extra) for owner, extra in connection.execute(asked) if waiting.place in extra]


def test_differences_and_people_are_shown_before_the_approval(changed: Waiting) -> None:
    shown = shown_to("approver", changed)
    notice = shown.partition("Changed, and not in force")[2].partition("</form>")[0]

    assert "category <code>C0007</code>: <code>destinations</code> now without <code>klaviyo</code>" in notice
    assert "may permit more:</strong> <code>klaviyo</code> needs C0004 and C0007 before, needs C0004 now" in notice
    assert "customers → klaviyo: 1,204 people would gain permission, 7 would lose it" in notice
    assert f"Approve {changed.digest.removeprefix('sha256:')[:12]} as approver" in notice


def test_the_first_policy_of_a_dags_own_place_is_shown_whole_before_the_approval(first: Waiting) -> None:
    shown = shown_to("approver", first)
    notice = shown.partition("Not in force yet")[2].partition("</form>")[0]

    assert f'href="{escape(policy_page(first.place))}" aria-current="true">{first.place}</a>' in shown
    assert "It is the first one here, so it waits for an approval." in notice
    assert f"Approve {first.digest.removeprefix('sha256:')[:12]} as approver" in notice
    assert '<th scope="row">salesforce</th><td>C0007</td>' in shown.partition("</form>")[2]


def test_a_place_that_no_run_saw_is_not_read(first: Waiting) -> None:
    first.world.server.set_variable("policy_of_no_run", json.dumps(LOOSER))

    answer = first.world.server.get(policy_page("variable:policy_of_no_run"), user="approver")

    assert answer.status == 404
    assert first.world.server.get(policy_page(first.place), user="nobody").status == 403


def test_the_name_of_the_user_who_is_logged_in_is_recorded(waiting: Waiting) -> None:
    form = form_of(shown_to("approver", waiting))

    answer = post(waiting, "approver", {**form, "note": "case 12"})

    assert (answer.status, answer.headers["location"]) == (303, policy_page(waiting.place))
    (approval,) = waiting.approvals
    assert (approval.approved_by, approval.note, approval.is_login) == ("approver", "case 12", True)
    assert logged(waiting) == [("approver", json.dumps({"place": waiting.place, "digest": waiting.digest}))]
    shown = shown_to("officer", waiting)
    assert "The next run follows it. Approved by approver, logged in to Airflow" in shown
    assert "<form" not in shown


@pytest.mark.parametrize("user", ["officer", "analyst"])
def test_who_may_not_edit_the_variable_sees_no_button_and_is_refused(waiting: Waiting, user: str) -> None:
    shown, form = shown_to(user, waiting), form_of(shown_to("approver", waiting))

    assert "To approve it here takes the right to edit" in shown
    assert "<form" not in shown
    assert "<button" not in shown
    assert post(waiting, user, form).status == 403
    # Nor with a proof that is their own.
    assert post(waiting, user, {**form, "proof": proof_for(waiting, user)}).status == 403
    assert waiting.approvals == []
    assert logged(waiting) == []
    assert post(waiting, "approver", {**form, "proof": proof_for(waiting, "approver")}).status == 303


def test_who_has_no_right_or_no_login_is_refused(waiting: Waiting) -> None:
    form = form_of(shown_to("approver", waiting))

    assert post(waiting, "nobody", form).status == 403
    assert post(waiting, None, form).status == 401
    assert waiting.approvals == []


@pytest.mark.parametrize("wrong", ["missing", "made up", "of another user", "of another policy", "from another site"])
def test_a_form_that_this_airflow_did_not_show_to_the_user_is_refused(waiting: Waiting, wrong: str) -> None:
    form = form_of(shown_to("approver", waiting))
    headers = {"sec_fetch_site": "cross-site"} if wrong == "from another site" else {}
    if wrong == "missing":
        del form["proof"]
    elif wrong == "made up":
        form["proof"] = URLSafeTimedSerializer("a guess").dumps(["approver", waiting.place, waiting.digest])
    elif wrong == "of another user":
        form["proof"] = form_of(shown_to("admin", waiting))["proof"]
    elif wrong == "of another policy":
        form["proof"] = form_of(shown_to("approver", waiting_policy(waiting.world)))["proof"]

    answer = post(waiting, "approver", form, **headers)

    assert answer.status == (400 if wrong == "missing" else 403)
    assert waiting.approvals == []
    assert logged(waiting) == []


def test_a_policy_that_changed_since_it_was_read_is_not_approved(waiting: Waiting) -> None:
    form = form_of(shown_to("approver", waiting))
    looser = {**LOOSER, "unmapped_destinations": "permit"}
    waiting.world.server.set_variable(waiting.key, json.dumps(looser))

    answer = post(waiting, "approver", form)

    assert answer.status == 409
    assert "Another policy is at this place now" in answer.text
    assert waiting.approvals == []
    assert logged(waiting) == []


def test_a_policy_that_only_takes_away_needs_no_approval(changed: Waiting) -> None:
    stricter = {**POLICY, "destinations": {}}
    changed.world.server.set_variable(changed.key, json.dumps(stricter))

    shown = shown_to("approver", changed)

    assert "The next run follows it." in shown
    assert "<form" not in shown


def proof_for(waiting: Waiting, user: str) -> str:
    """Return a proof as the server makes it."""
    return str(
        URLSafeTimedSerializer(API_KEY, salt="airflow-consent-retl form").dumps([user, waiting.place, waiting.digest])
    )
