"""The page in a real Chromium: alone and inside Airflow, in light and dark, wide and narrow, by keyboard and by axe."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.browser import NARROW_DARK, NARROW_LIGHT, WIDE_DARK, WIDE_LIGHT, Chromium, Screen
from support.served_page import PERSON, RUN, World
from support.waiting_policies import Waiting, first_policy, waiting_policy

from airflow_consent_retl.sight.addresses import person_page, policy_page, run_page, sync_page


def long(screen: Screen) -> object:
    return pytest.param(screen, marks=pytest.mark.long, id=str(screen))


OVERVIEW = "/consent-retl/"
PAGES = {
    "overview": OVERVIEW,
    "sync": sync_page("leads/google_ads:emea"),
    "run": run_page("customers", RUN, "load"),
    "policy": policy_page(),
    "person": person_page(),
}


def cookies(world: World, user: str) -> dict[str, str]:
    return {"_token": world.server.token(user)}


@pytest.mark.diagonal("screen")
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("screen", [WIDE_LIGHT, NARROW_DARK, WIDE_DARK, NARROW_LIGHT], ids=str)
def test_every_page_keeps_the_rules_on_every_screen(
    chromium: Chromium, world: World, name: str, screen: Screen
) -> None:
    with chromium.open(f"{world.server.url}{PAGES[name]}", screen=screen, cookies=cookies(world, "officer")) as page:
        page.assert_sound(f"page-{name}")


@pytest.mark.parametrize("screen", [WIDE_LIGHT, long(NARROW_DARK)], ids=str)
def test_a_person_is_asked_for_by_keyboard_and_the_id_is_in_no_address(
    chromium: Chromium, world: World, screen: Screen
) -> None:
    with chromium.open(f"{world.server.url}{person_page()}", screen=screen, cookies=cookies(world, "officer")) as page:
        page.page.get_by_label("The person's id, as the models have it").focus()
        page.page.keyboard.type(PERSON)
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector("text=Where the person is")

        assert PERSON not in page.page.content()
        assert not [url for url in page.requests if PERSON in url]
        page.assert_sound("page-person-answered")


@pytest.mark.parametrize("screen", [WIDE_LIGHT, long(NARROW_DARK)], ids=str)
def test_a_policy_is_approved_by_keyboard_after_its_differences_were_shown(
    chromium: Chromium, world: World, screen: Screen
) -> None:
    waiting = waiting_policy(world)
    address = f"{world.server.url}{policy_page(waiting.place)}"
    with chromium.open(address, screen=screen, cookies=cookies(world, "approver")) as page:
        assert "1,204 people would gain permission, 7 would lose it" in page.page.inner_text("main")
        page.assert_sound("page-policy-waiting")
        page.page.get_by_label("A reason or a reference, if there is one").focus()
        page.page.keyboard.type("case 12")
        page.page.keyboard.press("Tab")
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector("text=The next run follows it. Approved by approver, logged in to Airflow")

        assert page.page.url == address
        page.assert_sound("page-policy-approved")
    assert [(one.approved_by, one.note) for one in waiting.approvals] == [("approver", "case 12")]


@pytest.mark.parametrize("screen", [WIDE_LIGHT, long(NARROW_DARK)], ids=str)
def test_the_first_policy_of_a_dags_own_place_is_found_and_approved_by_keyboard(
    chromium: Chromium, world: World, screen: Screen
) -> None:
    first = first_policy(world)
    address = f"{world.server.url}{policy_page()}"
    with chromium.open(address, screen=screen, cookies=cookies(world, "approver")) as page:
        page.page.get_by_role("navigation", name="Places of policies").get_by_role("link", name=first.place).focus()
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector("text=It is the first one here, so it waits for an approval.")
        page.assert_sound("page-policy-first")
        page.page.get_by_label("A reason or a reference, if there is one").focus()
        page.page.keyboard.type("case 13")
        page.page.keyboard.press("Tab")
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector("text=The next run follows it. Approved by approver, logged in to Airflow")

        assert page.page.url == f"{world.server.url}{policy_page(first.place)}"
        page.assert_sound("page-policy-first-approved")
    assert [(one.approved_by, one.note, one.is_login) for one in first.approvals] == [("approver", "case 13", True)]


@pytest.mark.parametrize("kind", [waiting_policy, first_policy], ids=["changed", "first"])
def test_a_user_who_may_only_read_sees_no_button(
    chromium: Chromium, world: World, kind: Callable[[World], Waiting]
) -> None:
    address = f"{world.server.url}{policy_page(kind(world).place)}"
    with chromium.open(address, cookies=cookies(world, "officer")) as page:
        assert "To approve it here takes the right to edit this Variable" in page.page.inner_text("main")
        assert page.page.get_by_role("button").count() == 0
        page.assert_sound("page-policy-reader")


def test_a_person_who_is_not_logged_in_comes_back_to_the_page_after_airflows_login(
    chromium: Chromium, world: World
) -> None:
    address = f"{world.server.url}{run_page('customers', RUN, 'load')}"
    assert "&" in address
    with chromium.open(address, settled="input[type=password]") as page:
        page.page.get_by_label("Username").fill("officer")
        page.page.get_by_label("Password").fill("officer")
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector("h1")

        assert page.page.url == address
        assert page.page.inner_text("h1") == "load"
        page.assert_own_hosts()


def test_a_user_without_rights_sees_no_figure(chromium: Chromium, world: World) -> None:
    with chromium.open(f"{world.server.url}{OVERVIEW}", cookies=cookies(world, "nobody")) as page:
        assert (
            page.page.inner_text("main")
            == "No access\n\nYou have no right to see this page. Ask an administrator of Airflow."
        )
        # The answer 403 itself is what Chromium notes as an error.
        page.errors.clear()
        page.assert_sound("page-no-access")


@pytest.mark.parametrize("screen", [WIDE_LIGHT, long(WIDE_DARK)], ids=str)
def test_airflow_shows_the_page_in_its_frame_and_links_leave_it(
    chromium: Chromium, world: World, screen: Screen
) -> None:
    server = world.server
    # A cookie for the root is sent with every request.
    with chromium.open(f"{server.url}/", screen=screen, cookies=cookies(world, "officer"), settled="#root") as page:
        page.page.goto(f"{server.url}/plugin/consent")
        frame = page.page.frame_locator("iframe")
        frame.get_by_role("heading", name="Destinations and their syncs").wait_for()
        page.keep("page-in-airflow", whole=False)
        frame.get_by_role("link", name="customers → lake").click()
        frame.get_by_role("heading", name="customers → lake").wait_for()

        frame.get_by_role("link", name="customers", exact=True).click()
        page.page.wait_for_url("**/dags/customers**")

        page.assert_own_hosts()


def test_the_page_has_the_colours_that_the_user_chose_in_airflow(chromium: Chromium, world: World) -> None:
    with chromium.open(f"{world.server.url}{OVERVIEW}", cookies=cookies(world, "officer")) as page:
        light = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.page.evaluate("localStorage.setItem('theme', 'dark')")
        page.page.reload()

        assert page.page.evaluate("getComputedStyle(document.body).backgroundColor") != light
