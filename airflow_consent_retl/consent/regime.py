"""The legal regimes of a category: opt-in, opt-out (silence permits) and exempt.

Contains the regimes and their order. Never reads a document or a row.
"""

from __future__ import annotations

from enum import StrEnum

from airflow_consent_retl.consent.signals import ConsentStatus


class Regime(StrEnum):
    """What a category requires of a person, the strictest regime first."""

    # Only an explicit yes permits.
    OPT_IN = "opt_in"
    # A no in any record denies; silence, and a yes that is too old, permit.
    OPT_OUT = "opt_out"
    # Permits every person, for a stated reason.
    EXEMPT = "exempt"

    def permits(self, status: ConsentStatus) -> bool:
        """Return whether a status is enough. Doubts, and the noes of others, are enough only under `exempt`."""
        return status in _ENOUGH[self]


_ENOUGH = {
    Regime.OPT_IN: frozenset({ConsentStatus.GRANTED}),
    Regime.OPT_OUT: frozenset({ConsentStatus.GRANTED, ConsentStatus.UNKNOWN, ConsentStatus.EXPIRED}),
    Regime.EXEMPT: frozenset(ConsentStatus),
}


def strictest(regimes: set[Regime]) -> Regime:
    """Return the regime that permits least. Raises `ValueError` for none."""
    if not regimes:
        raise ValueError("expected at least one regime")
    return next(regime for regime in Regime if regime in regimes)
