"""Snowplow's `consent_preferences` event in columns of its own, as Redshift, PostgreSQL and dbt packages have it.

The schema is that of `formats.snowplow`.
"""

from __future__ import annotations

from airflow_consent_retl.consent.answers import MostRestrictive
from airflow_consent_retl.consent.formats.granted_ids import GrantedId
from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.formats.snowplow import ALLOWING_TYPES, BASES, OTHER_TYPES
from airflow_consent_retl.consent.signals import CategorySignal, ConsentStatus


def snowplow_columns(event_type: str, scopes: str, scope: str, *, basis: str | None = None) -> MostRestrictive:
    """Return the records of one scope in columns of their own, all of which have to allow it: the strictest counts.

    Args:
        event_type: the column with the type of the event.
        scopes: the column with the scopes, as a JSON array.
        scope: the scope.
        basis: the column with the basis for processing, of which only `consent` is consent.
    """
    records: list[CategorySignal] = [
        Literals(
            event_type,
            granted=ALLOWING_TYPES,
            denied=[type_ for type_, status in OTHER_TYPES.items() if status is ConsentStatus.DENIED],
            unknown=[type_ for type_, status in OTHER_TYPES.items() if status is ConsentStatus.UNKNOWN],
            expired=[type_ for type_, status in OTHER_TYPES.items() if status is ConsentStatus.EXPIRED],
        ),
        GrantedId(scopes, scope),
    ]
    if basis is not None:
        records.append(Literals(basis, granted=BASES[:1], unknown=BASES[1:]))
    return MostRestrictive(*records)
