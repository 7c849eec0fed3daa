"""States of consent in the W3C's Data Privacy Vocabulary, which consent records of ISO/IEC TS 27560 use for events.

Source: https://w3id.org/dpv, version 2.3, "Consent Status" (not read again; copies of its names were compared on 29
November 2026). A state is written as an IRI (`https://w3id.org/dpv#ConsentGiven`), with the prefix (`dpv:ConsentGiven`)
or alone (`ConsentGiven`). Trap: an event that ends consent (`ConsentExpired`, `ConsentInvalidated`) counts only if the
events have an order: see `consent_record_events`.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.sources import ConsentSource

_SPELLINGS = ("https://w3id.org/dpv#", "dpv:", "")


def dpv_status(column: str = "event_state") -> Literals:
    """Return the format of a state of consent.

    `ConsentGiven` and `RenewedConsentGiven` grant. `ConsentRefused`, `ConsentWithdrawn`, `ConsentRevoked` and
    `ConsentInvalidated` deny. `ConsentExpired` is expired. `ConsentRequested`, `ConsentRequestDeferred` and
    `ConsentUnknown` are unknown.
    """
    return Literals(
        column,
        granted=_spelled("ConsentGiven", "RenewedConsentGiven"),
        denied=_spelled("ConsentRefused", "ConsentWithdrawn", "ConsentRevoked", "ConsentInvalidated"),
        unknown=_spelled("ConsentRequested", "ConsentRequestDeferred", "ConsentUnknown"),
        expired=_spelled("ConsentExpired"),
    )


def consent_record_events(
    sql: str,
    *,
    purposes: Mapping[str, str],
    subject: str = "pii_principal_id",
    purpose: str = "purpose",
    state: str = "event_state",
    time: str = "event_time",
    key: str | None = None,
    bring_time: bool = False,
    conn_id: str | None = None,
) -> ConsentSource:
    """Return the source of the events of consent records of ISO/IEC TS 27560, one row for each event and purpose.

    Map each column of `purposes` with `dpv_status`.

    Args:
        sql: a SELECT over the events.
        purposes: the id of a purpose to the name of its column in the snapshot.
        subject: the column with the id of the person, which the standard calls PII principal.
        purpose: the column with the id of the purpose.
        state: the column with the state.
        time: the column with the time of the event, a timestamp with a zone.
        key, bring_time, conn_id: as for `ConsentSource`.
    """
    return ConsentSource(
        sql,
        subject=subject,
        columns=purposes,
        key=key,
        time=time,
        bring_time=bring_time,
        category=purpose,
        value=state,
        conn_id=conn_id,
    )


def _spelled(*states: str) -> tuple[str, ...]:
    return tuple(spelling + state for state in states for spelling in _SPELLINGS)
