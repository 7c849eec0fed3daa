"""Transcend's CSV export of preferences: a column for each purpose, and `<purpose>_<topic>` for each topic.

The record as JSON, and its source, are in `formats.transcend`. A purpose that no one was asked for has no column.
"""

from __future__ import annotations

from airflow_consent_retl.consent.formats.literals import Literals


def transcend_column(column: str) -> Literals:
    """Return the format of one purpose's column in a CSV export: the text `true` grants, and `false` denies."""
    return Literals(column, granted=("true",), denied=("false",))
