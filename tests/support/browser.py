"""*Plugin*: pages in a real headless Chromium, and the rules that each page of ours keeps.

    def test_the_page(chromium: Chromium, tmp_path: Path) -> None:
        with chromium.open(url, screen=NARROW_DARK) as page:
            page.assert_sound("my-page")       # every rule below, and a screenshot

The rules: no request to another host, no error in the console, axe finds nothing (WCAG 2.2 AA and best practices,
contrast included), nothing wider than the screen, and the Tab key reaches each control, which then shows the focus.
`build/screenshots` keeps the pictures, for people to look at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from support.chromium import found

_SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
_RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@dataclass(frozen=True)
class Screen:
    """A screen: its size in CSS pixels, and the colours that its user asked for."""

    width: int
    height: int
    scheme: Literal["light", "dark"]

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}"


WIDE_LIGHT: Final = Screen(1400, 900, "light")
WIDE_DARK: Final = Screen(1400, 900, "dark")
NARROW_LIGHT: Final = Screen(390, 844, "light")
NARROW_DARK: Final = Screen(390, 844, "dark")
SCREENS: Final = (WIDE_LIGHT, WIDE_DARK, NARROW_LIGHT, NARROW_DARK)


@dataclass
class OpenPage:
    """One page in a browser window. `page` is Playwright's page."""

    page: Page
    screen: Screen
    hosts: frozenset[str]
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def assert_sound(self, name: str, *, within: str | None = None) -> None:
        """Assert every rule, and keep a screenshot.

        Args:
            name: the name of the screenshot.
            within: a CSS selector. Axe judges only the elements below it, for a page inside of another program's frame.
        """
        self.keep(name)
        self.assert_own_hosts()
        assert not self.errors, self.errors
        self.assert_fits()
        self.assert_accessible(within=within)
        self.walk()

    def keep(self, name: str, *, whole: bool = True) -> Path:
        """Take a screenshot of the whole page, or of the window only, and return its path."""
        path = _SCREENSHOTS / f"{name}-{self.screen}.png"
        self.page.screenshot(path=path, full_page=whole, animations="disabled")
        return path

    def assert_own_hosts(self) -> None:
        """Assert that the page asked no other host for anything."""
        others = [url for url in self.requests if not self.is_own(url)]
        assert not others, f"requests to other hosts: {others}"

    def assert_accessible(self, *, within: str | None = None) -> None:
        """Assert that axe finds nothing. A contrast that axe cannot measure is a finding too."""
        options = {"runOnly": {"type": "tag", "values": _RULES}, "resultTypes": ["violations", "incomplete"]}
        # Axe cannot measure a text that a box with a scroll bar cuts off: for this time no box does.
        self.page.evaluate(_UNCLIP)
        response = Axe().run(self.page, context=within, options=options).response
        self.page.evaluate("window.clipAgain()")
        findings = [*response["violations"], *(one for one in response["incomplete"] if one["id"] == "color-contrast")]
        assert not findings, "\n".join(
            f"{one['id']}: {one['help']}\n  {' '.join(map(str, node['target']))}  {node['html'][:200]}\n  {_why(node)}"
            for one in findings
            for node in one["nodes"]
        )

    def assert_fits(self) -> None:
        """Assert that nothing makes the page wider than the screen. Tables may scroll in boxes of their own."""
        width = self.page.evaluate("document.scrollingElement.scrollWidth")
        wide = self.page.evaluate(_WIDER_THAN_SCREEN)
        assert width <= self.screen.width, f"the page is {width} pixels wide: {wide}"

    def walk(self) -> list[str]:
        """Press Tab from the top to the end, and return the controls in the order in which they were reached.

        Assert that each control of the page was reached, was on the screen then, and showed that it has the focus.
        """
        self.page.evaluate(_PREPARE_WALK)
        count = self.page.evaluate("window.walk.controls.length")
        order: list[str] = []
        # A radio group is one stop; the walk ends when the focus has left the page or comes round again.
        for _ in range(count + 5):
            self.page.keyboard.press("Tab")
            step: Mapping[str, Any] | None = self.page.evaluate("window.walk.step()")
            if step is None or step["again"]:
                break
            assert step["shown"], f"the focus cannot be seen: {step['name']}"
            assert step["inside"], f"the focus is outside of the screen: {step['name']}"
            order.append(step["name"])
        missed = self.page.evaluate("window.walk.missed()")
        assert not missed, f"the Tab key does not reach: {json.dumps(missed, indent=1)}"
        return order

    def is_own(self, url: str) -> bool:
        """Return whether an address is the page's own host or brings its content along."""
        address = urlsplit(url)
        return address.scheme in {"data", "blob", "about"} or address.netloc in self.hosts


@dataclass
class Chromium:
    """A running Chromium. Each page that it opens has cookies of its own."""

    browser: Browser

    @contextmanager
    def open(
        self,
        url: str,
        *,
        screen: Screen = WIDE_LIGHT,
        cookies: Mapping[str, str] | None = None,
        settled: str = "body",
    ) -> Iterator[OpenPage]:
        """Open a page, and close it at the end. A request to another host than the page's own is recorded and ended.

        Args:
            url: the address: `http://127.0.0.1:…`, or `file:///…` (`Path.as_uri()`).
            screen: the size and the colours.
            cookies: cookies of the page's host, by name.
            settled: a CSS selector that is there once the page is complete.
        """
        context = self.browser.new_context(
            viewport={"width": screen.width, "height": screen.height},
            color_scheme=screen.scheme,
            reduced_motion="reduce",
        )
        if cookies:
            context.add_cookies([{"name": name, "value": value, "url": url} for name, value in cookies.items()])
        # A picture of a page takes longer than Playwright's 30 seconds on a machine with much other work.
        context.set_default_timeout(120_000)
        window = context.new_page()
        opened = OpenPage(window, screen, frozenset({urlsplit(url).netloc}))

        def note_message(message: ConsoleMessage) -> None:
            if message.type == "error":
                opened.errors.append(message.text)

        window.on("request", lambda request: opened.requests.append(request.url))
        window.on("console", note_message)
        window.on("pageerror", lambda error: opened.errors.append(str(error)))
        context.route(lambda address: not opened.is_own(address), lambda route: route.abort("blockedbyclient"))
        try:
            window.goto(url)
            window.wait_for_selector(settled)
            yield opened
        finally:
            context.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Run Chromium for a module: while Playwright runs, no other event loop can start in its thread."""
    executable = found()
    assert executable is not None, "no Chromium on this machine: `make environments` installs one"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--font-render-hinting=none"])
        yield Chromium(browser)
        browser.close()


def _why(node: Mapping[str, Any]) -> str:
    return "; ".join(check["message"] for kind in ("any", "all", "none") for check in node[kind])


_WIDER_THAN_SCREEN: Final = """() => [...document.querySelectorAll('body *')]
  .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .filter(e => { for (let p = e.parentElement; p; p = p.parentElement)
      if (getComputedStyle(p).overflowX !== 'visible') return false; return true; })
  .slice(0, 5).map(e => e.outerHTML.slice(0, 120))"""

_UNCLIP: Final = """() => {
  const before = new Map();
  const set = (e, name, value) => {
    if (!before.has(e)) before.set(e, e.getAttribute('style'));
    e.style.setProperty(name, value, 'important');
  };
  const clipped = [...document.querySelectorAll('body *')]
    // What is folded away is not measured.
    .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth)
    .filter(e => ['auto', 'scroll'].includes(getComputedStyle(e).overflowX))
    .map(e => [e, e.scrollWidth]);
  for (const [box, width] of clipped) {
    set(box, 'overflow', 'visible');
    for (let e = box, room = width; e && e !== document.documentElement; e = e.parentElement, room += 100)
      if (parseFloat(getComputedStyle(e).minWidth) < room || getComputedStyle(e).minWidth === 'auto')
        set(e, 'min-width', `${room}px`);
  }
  window.clipAgain = () => before.forEach((style, e) => style === null ? e.removeAttribute('style')
    : e.setAttribute('style', style));
}"""

# Elements of shadow trees count too. An element is a stop if the browser would stop there, for all that the page shows.
_PREPARE_WALK: Final = """() => {
  const all = root => [...root.querySelectorAll('*')].flatMap(e => e.shadowRoot ? [e, ...all(e.shadowRoot)] : [e]);
  const stops = 'a[href],area[href],button,input,select,textarea,summary,iframe,[tabindex],[contenteditable="true"]';
  const name = e => `${e.tagName.toLowerCase()} ${(e.getAttribute('aria-label') || e.innerText || e.name || e.id || '')
    .trim().replace(/\\s+/g, ' ').slice(0, 60)}`.trim();
  const look = e => { const s = getComputedStyle(e);
    return [s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow, s.borderColor, s.backgroundColor].join('|'); };
  const active = () => { let e = document.activeElement; while (e && e.shadowRoot && e.shadowRoot.activeElement)
    e = e.shadowRoot.activeElement; return e; };
  if (document.activeElement) document.activeElement.blur();
  window.getSelection().removeAllRanges();
  window.scrollTo(0, 0);
  const controls = all(document).filter(e => e.matches(stops) && e.tabIndex >= 0 && !e.matches(':disabled')
    && e.checkVisibility({visibilityProperty: true}) && !e.closest('[inert]'));
  const looks = new Map(controls.map(e => [e, look(e)]));
  const seen = new Set(), groups = new Set();
  const group = e => e.type === 'radio' && e.name ? e.name : null;
  window.walk = {
    controls,
    step: () => {
      const e = active();
      if (!e || e === document.body || e === document.documentElement) return null;
      const again = seen.has(e);
      seen.add(e);
      if (group(e)) groups.add(group(e));
      const box = e.getBoundingClientRect(), s = getComputedStyle(e);
      const ring = s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1;
      return {name: name(e), again, shown: ring || (looks.has(e) && looks.get(e) !== look(e)),
        inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth};
    },
    missed: () => controls.filter(e => !seen.has(e) && !groups.has(group(e))).map(name),
  };
}"""
