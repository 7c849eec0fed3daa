"""Tests of the browser harness: each rule that pages keep refuses a page that breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.browser import NARROW_LIGHT, WIDE_DARK, Chromium

HEAD = (
    '<!DOCTYPE html><html lang="en"><head><title>A page</title><style>'
    "body {background: #fff; color: #111} @media (prefers-color-scheme: dark) {body, a {background: #111; color: #eee}}"
    "</style>"
    '<meta name="viewport" content="width=device-width"></head><body><main><h1>A page</h1>'
)
GOOD = HEAD + (
    '<p><a href="#end">To the end</a></p><details><summary>More</summary><p>Text</p></details>'
    '<p><label><input type="radio" name="a" checked> one</label><label><input type="radio" name="a"> two</label></p>'
    '<p id="end"><button>Go</button></p></main></body></html>'
)


def page(tmp_path: Path, text: str) -> str:
    file = tmp_path / "page.html"
    file.write_text(text)
    return file.as_uri()


def test_a_page_that_keeps_every_rule_passes(chromium: Chromium, tmp_path: Path) -> None:
    with chromium.open(page(tmp_path, GOOD), screen=WIDE_DARK) as opened:
        opened.assert_sound("harness")

        assert opened.walk() == ["a To the end", "summary More", "input a", "button Go"]
        assert opened.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ('<img alt="" src="http://other.example.com/a.png">', "other.example.com"),
        ("<script>fetch('http://127.0.0.2:9/x').catch(() => 0)</script>", "127.0.0.2"),
        ("<script>throw new Error('broken script')</script>", "broken script"),
        ('<p style="color: #999; background: #fff">Hard to read</p>', "color-contrast"),
        ('<p style="background: linear-gradient(#fff, #000)">Nobody can tell</p>', "color-contrast"),
        ('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">', "image-alt"),
        ('<div style="width: 2000px">wide</div>', "2008 pixels wide"),
        ('<button style="outline: none">Go</button>', "the focus cannot be seen: button Go"),
        ('<button style="position: fixed; left: -200px">Go</button>', "outside of the screen: button Go"),
        (
            "<button onkeydown=\"event.key === 'Tab' && event.preventDefault()\">Trap</button><button>Behind</button>",
            "Behind",
        ),
    ],
)
def test_a_page_that_breaks_a_rule_is_refused(chromium: Chromium, tmp_path: Path, broken: str, why: str) -> None:
    text = HEAD + broken + "</main></body></html>"

    with chromium.open(page(tmp_path, text)) as opened, pytest.raises(AssertionError, match=why):
        opened.assert_sound("harness-broken")


def test_a_narrow_screen_is_one(chromium: Chromium, tmp_path: Path) -> None:
    with chromium.open(page(tmp_path, GOOD), screen=NARROW_LIGHT) as opened:
        assert opened.page.evaluate("innerWidth") == 390
