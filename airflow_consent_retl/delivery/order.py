"""The order of a sync's runs in time: what a run read, and whether it may follow the newest run that delivered.

A sync never goes back to older data than it delivered, and changes its time zone or its place only where the load
accepts it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from airflow_consent_retl.delivery.ledger.records import SourceRecord
from airflow_consent_retl.errors import ConfigurationError, OvertakenError, RefusedError
from airflow_consent_retl.storage.dated_sql import DatedSql, outline
from airflow_consent_retl.storage.manifest import sha256_hex

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.records import NewestDecision
    from airflow_consent_retl.storage.manifest import ModelSource, PermittedManifest

_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def source_record(source: ModelSource, *, as_of: datetime, newest: SourceRecord | None = None) -> SourceRecord:
    """Return what a run read, for the ledger.

    Args:
        source: of the model's rows.
        as_of: the time that the rows stand for.
        newest: what was read for the newest data that the sync delivered. SQL that differs from that in its dates only
            is bound to a date.
    """
    dated, consent = DatedSql.of(source.sql), json.dumps(source.consent_sources, sort_keys=True)
    record = SourceRecord(
        as_of=as_of,
        conn_id=source.conn_id,
        hook_params=source.hook_params,
        session_time_zone=source.session_time_zone,
        sql_sha256=sha256_hex(source.sql.encode()),
        sources_sha256=sha256_hex(consent.encode()),
        sql_outline=outline(source.sql),
        sources_outline=outline(consent),
        sql_shape=dated.shape,
        sql_date=dated.date,
        is_dated=source.sql_is_dated,
    )
    is_same_shape = newest is not None and newest.sql_shape == record.sql_shape
    if newest is None or not is_same_shape or not (newest.is_dated or newest.sql_date != record.sql_date):
        return record
    return replace(record, is_dated=True)


def check_time_zone(newest: SourceRecord | None, present: str, *, sync: str, accepted: str | None) -> None:
    """Refuse another time zone than that of the newest data.

    Args:
        newest: what was read for the newest data that the sync delivered.
        present: the session's time zone now, as the manifest records it.
        sync: the sync's name.
        accepted: the time zone that the sync may change to.

    Raises:
        ConfigurationError: the time zone changed.
    """
    before = "" if newest is None else newest.session_time_zone
    if not before or not present or present in (before, accepted):
        return
    raise ConfigurationError(
        f"sync `{sync}` read its model under the time zone {before}, now it is {present}: the same SQL may return "
        f"other rows. Give the model session_time_zone='{before}', or accept the new one with "
        f"accept_time_zone='{present}' at the load"
    )


def check_place(newest: SourceRecord | None, source: ModelSource, *, sync: str, accepted: str | None) -> None:
    """Refuse another connection than that of the newest data, and other hook parameters, which may lead elsewhere.

    Args:
        newest: what was read for the newest data that the sync delivered.
        source: of the model's rows.
        sync: the sync's name.
        accepted: the connection through which the model may be read now.

    Raises:
        ConfigurationError: the place of the model changed.
    """
    changed = "" if newest is None else ", ".join(_other_place(source, newest))
    if not changed or accepted == source.conn_id:
        return
    raise ConfigurationError(
        f"sync `{sync}` reads its model from another place than when it last delivered ({changed}): people who are not "
        "there would count as having left the model. If this is another model, give it another name; if it is the same "
        f"one, accept its place with accept_source='{source.conn_id}' at the load"
    )


def check_order(newest: NewestDecision, manifest: PermittedManifest, *, destination: str, allow_older: bool) -> bool:
    """Return whether a permitted set is at least as new as what the sync delivered.

    Args:
        newest: the newest decision that the sync delivered.
        manifest: of the permitted set.
        destination: its name in the policy.
        allow_older: whether older data are allowed.

    Raises:
        OvertakenError: a newer run delivered while this one ran.
        RefusedError: the data are older than those that the sync delivered, and `allow_older` is False.
    """
    delivered = newest.source
    by = f" by `{delivered.served_by}`" if delivered is not None else ""
    if newest.decided_at is not None and not newest.is_ahead and newest.decided_at > manifest.decided_at:
        raise OvertakenError(
            f"`{destination}` already has a newer decision, of {newest.decided_at:%F %T %Z}, delivered{by}; this one "
            f"is of {manifest.decided_at:%F %T %Z} and is not needed any more"
        )
    if delivered is None:
        return True
    older = _older(delivered, source_record(manifest.source, as_of=manifest.data_time), is_ahead=newest.is_ahead)
    if not older:
        return True
    if newest.decided_at is not None and manifest.snapshot_read_at < newest.decided_at and not newest.is_ahead:
        raise OvertakenError(f"`{destination}` already has newer data, delivered{by} while this run ran: {older}")
    if allow_older:
        return False
    raise RefusedError(
        f"`{destination}` already has newer data, delivered{by}: {older}. A sync never goes back in time: clear or run "
        "the newest run, or set allow_older=True, which adds no one"
    )


def _older(delivered: SourceRecord, present: SourceRecord, *, is_ahead: bool) -> str:
    """Return in what the present data are older than those delivered; empty where they are not."""
    # A clock that was ahead wrote a time that says nothing.
    if present.as_of < delivered.as_of and not is_ahead:
        return f"these data are of {present.as_of:%F %T %Z}, those of {delivered.as_of:%F %T %Z}"
    if present.sql_shape == delivered.sql_shape and present.sql_date < delivered.sql_date:
        return f"this SQL is bound to {present.sql_date or 'no date'}, that one to {delivered.sql_date}"
    return ""


def bound_to_a_date(source: ModelSource, newest: SourceRecord | None, *, reads_model: bool) -> str:
    """Return why asking the source again says nothing about the present; empty where it does.

    Args:
        source: of the model's rows.
        newest: what was read for the newest data that the sync delivered.
        reads_model: whether consent that is needed is in the model itself, not only in consent sources.
    """
    present = source_record(source, as_of=_ANY_TIME, newest=newest)
    asks_model = reads_model and not source.current_consent_sql
    if asks_model and (present.is_dated or (newest is not None and _differs_in_numbers(newest, present, "sql"))):
        return "the model's SQL is bound to a date"
    if source.consent_sources_are_dated or (
        newest is not None and source.consent_sources and _differs_in_numbers(newest, present, "sources")
    ):
        return "the SQL of a consent source is bound to a date"
    return ""


def other_source(source: ModelSource, newest: SourceRecord | None) -> str:
    """Return in what a model's source is another one than the sync read for the newest data; empty if it is the same.

    SQL that differs only in digits, as in a date, is the same.
    """
    if newest is None:
        return ""
    present = source_record(source, as_of=_ANY_TIME)
    changed = _other_place(source, newest)
    if present.sql_outline != newest.sql_outline:
        changed.append("other SQL")
    if present.sources_outline != newest.sources_outline:
        changed.append("other consent sources")
    return ", ".join(changed)


def _other_place(source: ModelSource, newest: SourceRecord) -> list[str]:
    changed = []
    if source.conn_id != newest.conn_id:
        changed.append(f"connection `{newest.conn_id}` before, now `{source.conn_id}`")
    if source.hook_params != newest.hook_params:
        changed.append("other hook_params")
    return changed


def is_edited(source: ModelSource, newest: SourceRecord | None) -> bool:
    """Return whether the SQL is not that of the newest data that the sync delivered."""
    if newest is None:
        return False
    present = source_record(source, as_of=_ANY_TIME)
    return (present.sql_sha256, present.sources_sha256) != (newest.sql_sha256, newest.sources_sha256)


def _differs_in_numbers(newest: SourceRecord, present: SourceRecord, part: Literal["sql", "sources"]) -> bool:
    """Return whether a part of the SQL differs from the newest in its digits, and in nothing else."""

    def differs(kind: str) -> bool:
        return bool(getattr(newest, f"{part}_{kind}") != getattr(present, f"{part}_{kind}"))

    return differs("sha256") and not differs("outline")
