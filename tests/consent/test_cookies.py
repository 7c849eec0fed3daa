"""Tests of cookies that are nearly right: a text that no vendor writes grants nothing."""

from __future__ import annotations

import pytest

from airflow_consent_retl.consent import ConsentStatus, GrantedId, GrantedIds, OptanonConsentGroup
from airflow_consent_retl.consent.formats.cookiebot import CookiebotCategory, CookiebotConsent

EXPLICIT = "{{stamp:'{stamp}',marketing:true,method:'explicit'{end}"


@pytest.mark.parametrize(
    ("cookie", "status"),
    [
        (EXPLICIT.format(stamp="x", end="}"), ConsentStatus.GRANTED),
        (EXPLICIT.format(stamp="x", end=""), ConsentStatus.INVALID),
        (EXPLICIT.format(stamp="x", end="}")[1:], ConsentStatus.INVALID),
        (EXPLICIT.format(stamp="%C3%A9", end="%7D"), ConsentStatus.GRANTED),
        # No UTF-8.
        (EXPLICIT.format(stamp="%FF", end="}"), ConsentStatus.INVALID),
    ],
)
def test_a_cookie_of_cookiebot_is_whole(cookie: str, status: ConsentStatus) -> None:
    assert CookiebotCategory("cookie", "marketing").read(cookie) is status


def test_categories_of_cookiebot_are_known_by_id_or_by_name() -> None:
    assert CookiebotConsent("cookie").for_category("marketing", "Ads") == CookiebotCategory("cookie", "marketing")
    by_name = CookiebotConsent("cookie", key_by="name")
    assert by_name.for_category("C4", "marketing") == CookiebotCategory("cookie", "marketing")


@pytest.mark.parametrize(
    ("cookie", "status"),
    [
        ("groups=C0004:1", ConsentStatus.GRANTED),
        ("groups=a:b:1,C0004:1", ConsentStatus.GRANTED),
        ("isGpcEnabled=0&junk&groups=C0004:1", ConsentStatus.INVALID),
        ("isGpcEnabled=0&groups=C0004:1", ConsentStatus.GRANTED),
        ("isGpcEnabled=&groups=C0004:1", ConsentStatus.INVALID),
        ("isGpcEnabled=0&isGpcEnabled=0&groups=C0004:1", ConsentStatus.INVALID),
        ("isGpcEnabled=2&groups=C0004:1", ConsentStatus.INVALID),
    ],
)
def test_a_cookie_of_onetrust_is_whole(cookie: str, status: ConsentStatus) -> None:
    assert OptanonConsentGroup("cookie", "C0004").read(cookie) is status


@pytest.mark.parametrize(
    ("cookie", "is_near"), [("Groups=C0004:1", True), ("groups=C0004:1", False), ("groups=c0004:1", True)]
)
def test_a_field_of_onetrusts_cookie_may_be_there_in_another_form(cookie: str, *, is_near: bool) -> None:
    assert OptanonConsentGroup("cookie", "C0004").has_near_key(cookie) is is_near


@pytest.mark.parametrize(
    ("ids", "status"),
    [
        ("[0]", ConsentStatus.GRANTED),
        ("[9007199254740991, 0]", ConsentStatus.GRANTED),
        ("[9007199254740992, 0]", ConsentStatus.INVALID),
        ("[-1, 0]", ConsentStatus.INVALID),
        ("[1]", ConsentStatus.DENIED),
    ],
)
def test_numbers_are_ids_from_zero_up_to_those_that_json_keeps_apart(ids: str, status: ConsentStatus) -> None:
    listed = GrantedId("ids", 0)

    assert listed.status(listed.token(ids)) is status


@pytest.mark.parametrize("unlisted", ["denied", "unknown"])
def test_a_list_says_for_every_category_what_an_id_means_that_is_missing(unlisted: str) -> None:
    signal = GrantedIds("ids", ",", unlisted).for_category("C1", "Ads")  # type: ignore[arg-type]  # one of the words

    assert str(signal.status(signal.token("C2"))) == unlisted
