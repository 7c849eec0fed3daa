"""Several workspaces on the page: those that the deployment lists, with the rights of each sync, and no other place."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from support.airflow_server import AirflowServer
from support.browser import NARROW_DARK, WIDE_LIGHT, Chromium, Screen
from support.served_page import PERSON, World

from airflow_consent_retl.sight.addresses import overview_page, person_page, sync_page

TRIALS = overview_page(workspace="trials")


@pytest.fixture
def server(world: World) -> AirflowServer:
    return world.server


def syncs_on(shown: str) -> set[str]:
    return {found.replace("%2F", "/") for found in re.findall(r"/sync\?name=([\w%]+?)(?:%3A\w+)?&amp;", shown)}


def test_each_workspace_has_its_own_syncs(server: AirflowServer) -> None:
    first, trials = (server.get(page, user="officer").text for page in (overview_page(), TRIALS))

    assert len(syncs_on(first)) > 2
    assert syncs_on(trials) == {"customers/google_ads", "leads/google_ads"}


def test_the_links_of_a_page_stay_in_its_workspace(server: AirflowServer) -> None:
    shown = server.get(TRIALS, user="officer").text
    sync = server.get(sync_page("leads/google_ads:emea", workspace="trials"), user="officer").text

    for page in (shown, sync):
        links = re.findall(r'href="(/consent-retl/(?:sync|run|person)?\?[^"]*)"', page.partition("<main")[2])
        kept = [link for link in links if "workspace=trials" in link]
        # The choice of workspaces leads to the default one.
        assert len(links) - len(kept) == (1 if page is shown else 0)
        assert len(kept) > 3
    assert '<input type="hidden" name="workspace" value="trials">' in shown
    assert "Syncs of trials" in sync


def test_a_user_sees_the_syncs_of_the_dags_that_they_may_read_in_each_workspace(server: AirflowServer) -> None:
    assert syncs_on(server.get(TRIALS, user="analyst").text) == {"customers/google_ads"}
    assert server.get(sync_page("leads/google_ads:emea", workspace="trials"), user="analyst").status == 404


@pytest.mark.parametrize("name", ["other", "file:///etc", "../trials"])
def test_a_workspace_that_the_deployment_does_not_list_is_not_read(world: World, name: str) -> None:
    for page in ("/consent-retl/", "/consent-retl/person"):
        assert world.server.get(f"{page}?workspace={quote(name)}", user="admin").status == 404


def test_a_person_is_asked_for_in_one_workspace(server: AirflowServer) -> None:
    page = person_page(workspace="trials")

    shown = server.get(page, user="officer", form={"person_id": PERSON}).text

    assert f'action="{page}"' in shown
    assert "No delivery about this id is recorded" in shown


@pytest.mark.parametrize("screen", [WIDE_LIGHT, pytest.param(NARROW_DARK, marks=pytest.mark.long)], ids=str)
def test_another_workspace_is_chosen_by_keyboard(chromium: Chromium, world: World, screen: Screen) -> None:
    cookies = {"_token": world.server.token("officer")}
    with chromium.open(f"{world.server.url}{overview_page()}", screen=screen, cookies=cookies) as page:
        page.page.get_by_role("navigation", name="Workspace").get_by_role("link", name="trials").focus()
        page.page.keyboard.press("Enter")
        page.page.wait_for_url("**workspace=trials**")

        page.assert_sound("page-another-workspace")
