"""The templates of the report and the page, and how they show numbers, times and durations. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.progress import short
from airflow_consent_retl.sight.charts import compact

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

NOTHING: Final = "\N{EN DASH}"
"""The text that is shown for no value."""

_PACKAGE: Final = "airflow_consent_retl.sight"
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def environment() -> Environment:
    """Return the environment of all templates of this package: every value is escaped, and none may be missing."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        autoescape=True,
        loader=PackageLoader(_PACKAGE),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters.update(
        code=code,
        compact=compact,
        day=day,
        digest=short_digest,
        duration=duration,
        number=number,
        share=share,
        when=when,
        zip=zip,
    )
    return made


def code(text: str) -> Markup:
    """Return a sentence of ours as HTML: what is between backticks is set as code, and everything is escaped."""
    from markupsafe import Markup, escape

    pieces = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if place % 2 else escape(piece) for place, piece in enumerate(pieces)
    )


def number(value: float) -> str:
    """Return a count as people read it: `12,345`."""
    return f"{value:,}"


def share(part: float, whole: float) -> str:
    """Return a share in percent: `0 %` and `100 %` only where they are exact."""
    if not whole:
        return NOTHING
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.1f} %"


def when(at: datetime | None) -> str:
    """Return a time to the minute, in UTC; a dash for none."""
    return NOTHING if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def day(at: datetime) -> str:
    """Return the day of a time in UTC, short: `28 Nov`."""
    utc = at.astimezone(UTC)
    return f"{utc.day} {utc:%b}"


def duration(seconds: float | None) -> str:
    """Return a duration in its two largest units: `3 d 4 h`, `12 min 5 s`, `0 s`; a dash for none."""
    if seconds is None:
        return NOTHING
    whole = max(0, round(seconds))
    parts = (
        (whole // _DAY, "d"),
        (whole % _DAY // _HOUR, "h"),
        (whole % _HOUR // _MINUTE, "min"),
        (whole % _MINUTE, "s"),
    )
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def short_digest(text: str) -> str:
    """Return the first twelve digits of a digest; a dash for none."""
    return short(text) or NOTHING
