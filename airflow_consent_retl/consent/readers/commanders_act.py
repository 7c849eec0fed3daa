"""Commanders Act's export of raw consent: one row for each hit of a privacy banner.

Its columns: `cookie` (the accepted categories), `tcpid` (a hashed id of a device), `date_hit`, `privacy_action`.
Source: https://github.com/TagCommander/PlatformX (`features/consent-management/user-guides/exports.md`), read on 29
November 2026. The page does not say how categories are separated: declare it. Trap: ids are of devices, and of no one
who logged in.
"""

from __future__ import annotations

from airflow_consent_retl.consent.formats.granted_ids import GrantedIds
from airflow_consent_retl.consent.sources import ConsentSource


def commanders_act_categories(column: str = "cookie", *, separator: str = ",") -> GrantedIds:
    """Return the format of the accepted categories for all categories, whose ids are the policy's.

    Any category that is not listed denies. Empty text is invalid, and denies too.
    """
    return GrantedIds(column, separator)


def commanders_act_hits(
    sql: str, *, column: str = "cookie", key: str | None = None, bring_time: bool = False, conn_id: str | None = None
) -> ConsentSource:
    """Return the source of hits, of which each device's latest counts. Map the column with `commanders_act_categories`.

    Args:
        sql: a SELECT over the export, with `tcpid`, `cookie`, and `date_hit` as a timestamp with a zone.
        column: the name of the categories in the snapshot.
        key, bring_time, conn_id: as for `ConsentSource`.
    """
    return ConsentSource(
        sql,
        subject="tcpid",
        columns={"cookie": column},
        key=key,
        time="date_hit",
        bring_time=bring_time,
        conn_id=conn_id,
    )
