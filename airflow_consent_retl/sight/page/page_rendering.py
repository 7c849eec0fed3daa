"""The page's templates, and the files that a browser asks for with them. They are read once."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup, escape

from airflow_consent_retl.sight import words
from airflow_consent_retl.sight.charts import Tone
from airflow_consent_retl.sight.figures import Health
from airflow_consent_retl.sight.templating import day, environment

if TYPE_CHECKING:
    from datetime import datetime

    from jinja2 import Environment

_PACKAGE: Final = "airflow_consent_retl.sight"
_NAME: Final = re.compile(r"`([^`]+)`")
ASSETS: Final = {"look.css": "text/css", "page.css": "text/css", "page.js": "text/javascript"}
"""The files, with their types. `look.css` is shared with the report."""
_TONES: Final = {
    Health.FAILED: "bad",
    Health.UNSERVED: "bad",
    Health.WAITING: "warn",
    Health.RUNNING: "",
    Health.NEVER_RAN: "",
    Health.FINE: "good",
}


def rendered(template: str, **contents: Any) -> str:
    """Return a page as HTML."""
    return _environment().get_template(f"page/{template}.html").render(contents)


def read_templates() -> None:
    """Read and compile all pages, which otherwise each does when it is first shown."""
    for template in _environment().list_templates(extensions=["html"]):
        _environment().get_template(template)


@cache
def asset(name: str) -> bytes:
    """Return a file of `ASSETS`."""
    templates = files(_PACKAGE) / "templates"
    folder = templates if name == "look.css" else templates / "page"
    return (folder / name).read_bytes()


def marked(text: str) -> Markup:
    """Return a sentence with its names, which stand between backticks, as code."""
    return Markup(_NAME.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - it was escaped


def moment(at: datetime) -> str:
    """Return a time to the minute, in UTC, without its year: `29 Nov 08:48`."""
    utc = at.astimezone(UTC)
    return f"{day(utc)} {utc:%H:%M}"


@cache
def _environment() -> Environment:
    made = environment()
    made.filters.update(marked=marked, moment=moment)
    made.globals.update(
        cause=words.cause,
        health_tone=_TONES.__getitem__,
        reason=words.reason,
        tone=words.tone,
        Tone=Tone,
        versions={name: hashlib.sha256(asset(name)).hexdigest()[:12] for name in ASSETS},
    )
    return made
