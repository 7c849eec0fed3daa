"""A hook of the documentation build: pages of the site that lie outside of `docs`, and links to them.

README is the site's first page. A link of the repository, such as `../README.md#a-dag`, leads to the page on the site;
one to a file that the site does not have becomes plain text.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

REPO = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")
_FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)

# Files of the repository, and their places on the site.
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "SECURITY.md": "security-reports.md",
    **{f"dags/{path.name}": f"examples/{path.stem}.md" for path in sorted((REPO / "dags").glob("*.py"))},
}
_SOURCES = {place: source for source, place in OUTSIDE.items()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for source, place in OUTSIDE.items():
        text = (REPO / source).read_text()
        files.append(File.generated(config, place, content=text if source.endswith(".md") else _example(source, text)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site."""
    place = page.file.src_uri
    source = _SOURCES.get(place, f"docs/{place}")

    def link(match: re.Match[str]) -> str:
        target = match["target"]
        if not target or ":" in target:
            return match[0]
        found = normpath(join(dirname(source), target))
        on_site = OUTSIDE.get(found) or found.removeprefix("docs/")
        if found not in OUTSIDE and not found.startswith("docs/"):
            return match["text"]
        return f"[{match['text']}]({relpath(on_site, dirname(place) or '.')}{match['anchor'] or ''})"

    parts = _FENCED.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


def _example(source: str, text: str) -> str:
    title = (ast.get_docstring(ast.parse(text)) or source).splitlines()[0].rstrip(".")
    return f"# {title}\n\n`{source}`:\n\n```python\n{text}```\n"
