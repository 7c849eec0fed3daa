"""A hook of the documentation build: it fails where a built page would fetch something from another host."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

_ELSEWHERE = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)
_IN_STYLES = re.compile(r"(?:url\(\s*|@import\s+)['\"]?(?:https?:)?//", re.IGNORECASE)
# A browser fetches these by itself; a link waits for a click.
_FETCHED = {
    "audio": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "video": "src",
}


class _Fetches(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get(_FETCHED.get(tag, "")) or ""
        if _ELSEWHERE.match(address):
            self.found.append(address)


def on_post_build(config: MkDocsConfig) -> None:
    """Look through every page and style sheet.

    Raises:
        PluginError: a page fetches from another host; the message names both.
    """
    site = Path(config.site_dir)
    for page in site.rglob("*.html"):
        fetches = _Fetches()
        fetches.feed(page.read_text())
        if fetches.found:
            raise PluginError(f"{page.relative_to(site)} fetches {fetches.found[0]}: put the file on the site")
    for sheet in site.rglob("*.css"):
        if _IN_STYLES.search(sheet.read_text()):
            raise PluginError(f"{sheet.relative_to(site)} fetches from another host: put the file on the site")
