"""The form of a destination's name, in a policy and in a DAG: `google_ads`, or `google_ads:emea`."""

from __future__ import annotations

import re

from airflow_consent_retl.consent.json_path import type_name
from airflow_consent_retl.consent.policy import DestinationName

DESTINATION_CHARACTERS = 100
_DESTINATION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?")


def parse_destination(destination: object) -> DestinationName:
    """Check the form of a destination (`google_ads` or `google_ads:emea`). Raises `ValueError` with the problem."""
    if not isinstance(destination, str):
        raise ValueError(f"expected a destination, found {type_name(destination)}")
    if len(destination) > DESTINATION_CHARACTERS:
        raise ValueError(f"a destination has at most {DESTINATION_CHARACTERS} characters, found {len(destination)}")
    if not _DESTINATION.fullmatch(destination):
        raise ValueError(
            f"{destination!r} is not a destination: expected letters, digits, `_`, `.` and `-`, not starting with `.` "
            "or `-`, then optionally `:` and the name of an instance"
        )
    return DestinationName(destination)
