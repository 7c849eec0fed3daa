"""Times that are written on the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

TIME_HELP: Final = "A time such as 2026-11-28 or 2026-11-28T18:00+01:00; without a zone, it is in UTC."


def parsed_time(text: str | None) -> datetime | None:
    """Return a time; None for none.

    Raises:
        ConfigurationError: the text is no time.
    """
    from airflow_consent_retl.errors import ConfigurationError

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"`{text}` is no time: write it as in 2026-11-28T18:00+01:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
