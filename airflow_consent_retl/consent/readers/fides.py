"""Fides' privacy preferences: one row for each person and privacy notice.

Source: `UserConsentPreference` in https://github.com/ethyca/fides, read on 29 November 2026. Traps: `acknowledge` says
that a notice was read, and is no consent; `tcf` stands for many preferences; ids of people are salted hashes.
"""

from __future__ import annotations

from airflow_consent_retl.consent.formats.literals import Literals


def fides_preference(column: str = "preference") -> Literals:
    """Return the format of a preference: `opt_in` grants, `opt_out` denies, `acknowledge` and `tcf` are unknown."""
    return Literals(column, granted=("opt_in",), denied=("opt_out",), unknown=("acknowledge", "tcf"))
