"""Records that the ledger returns: versions and deliveries of a sync, and an overview of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NewType

from airflow_consent_retl.databases.session_settings import SERVER_ZONE
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.storage.manifest import SourceSize

SyncName = NewType("SyncName", str)


def sync_name(model: str, destination: str) -> SyncName:
    """Return the name of the sync of a model to a destination instance: `customers/google_ads:emea`."""
    if not model or not destination or "/" in destination:
        raise ValueError("the name of a sync needs a model, and a destination without `/`")
    return SyncName(f"{model}/{destination}")


def parsed_sync_name(text: str) -> SyncName:
    """Return a name that a person wrote.

    Raises:
        ConfigurationError: it is no name of a sync.
    """
    model, destination = model_and_destination(text)
    if not model or not destination:
        raise ConfigurationError(f"`{text}` is no name of a sync: expected a model and a destination, as in `a/b`")
    return sync_name(model, destination)


def model_and_destination(sync: str) -> tuple[str, str]:
    """Return the parts of the name of a sync; a destination has no `/` in its name."""
    model, _, destination = sync.rpartition("/")
    return model, destination


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRef:
    """One version of a delivered state.

    Args:
        number: from 1, in the order of time, without gaps.
        uri: the URI of its folder.
        sha256: the digest of its manifest.
        rows: its number of entries.
        decided_at: when consent was decided for the newest permitted set in it.
    """

    number: int
    uri: str
    sha256: str
    rows: int
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One set of changes that is being delivered, or was delivered.

    Args:
        id: its number in the ledger.
        sync: the sync's name.
        key: a hex digest, the same for every try of the same load.
        kind: `load` or `withdrawals`.
        changes_uri: the URI of the folder with the changes.
        changes_sha256: the digest of the changes' manifest.
        decided_at: when consent was decided for it.
        send_rows: rows in each batch of upserts except the last one; the same in every try.
        remove_rows: rows in each batch of removals, likewise.
        base: the number of the version that the changes start from; 0 for the first load.
        began_at: when it began, by the ledger's clock.
        closed_at: when it was closed, or None.
        version: the number of the version that it produced; None if it is open, or was closed without any attempt.
    """

    id: int
    sync: SyncName
    key: str
    kind: str
    changes_uri: str
    changes_sha256: str
    decided_at: datetime
    send_rows: int
    remove_rows: int
    base: int
    began_at: datetime
    closed_at: datetime | None
    version: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """The source that a sync read, and the time that its data stand for.

    Args:
        as_of: the time of the data.
        conn_id: the model's connection.
        hook_params: arguments of its hook.
        session_time_zone: of its sessions, as in the manifest; empty if unknown.
        sql_sha256: the digest of the model's SQL.
        sources_sha256: the digest of its consent sources.
        sql_outline: the digest of the model's SQL without its digits.
        sources_outline: the digest of its consent sources without their digits.
        sql_shape: the digest of the model's SQL without the dates in it.
        sql_date: the latest date in it; empty without one.
        is_dated: whether the SQL is known to be bound to a date.
        sizes: of its consent sources with a limit.
        served_by: the task that delivered these data; set by the ledger.
    """

    as_of: datetime
    conn_id: str
    hook_params: Mapping[str, Any]
    session_time_zone: str
    sql_sha256: str
    sources_sha256: str
    sql_outline: str
    sources_outline: str
    sql_shape: str
    sql_date: str
    is_dated: bool
    sizes: tuple[SourceSize, ...] = ()
    served_by: str = ""

    @property
    def time_zone(self) -> str | None:
        """The time zone that the sessions had; None where it is unknown, or cannot be set."""
        return None if self.session_time_zone in ("", SERVER_ZONE) else self.session_time_zone


@dataclass(frozen=True, slots=True)
class DecidedUnder:
    """The policy of a load.

    Args:
        policy_digest: its digest.
        decided_at: when consent was decided under it.
    """

    policy_digest: str
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestDecision:
    """The newest decision that a sync delivered, or began to deliver.

    Args:
        decided_at: when consent was decided; None if no decision was delivered.
        is_ahead: the recorded time is later than the ledger's clock: the clock that wrote it was ahead.
        source: what was read for the newest data; None if unknown.
    """

    decided_at: datetime | None
    is_ahead: bool
    source: SourceRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOverview:
    """One sync, for reports.

    Args:
        sync: its name.
        target: where its rows are delivered, or empty.
        epoch: the epoch of its newest lease.
        holder: the task that has the lease now, or None.
        expires_at: when that lease expires unless it is renewed; None if no task has it.
        decided_at: when consent was decided for the newest permitted set whose delivery began.
        current: the present version of the delivered state.
        open_delivery: the delivery that is in progress, or was when its worker died.
        dag: the id of the DAG that serves it, if it is recorded.
        served_at: when a run last ended well, if it is recorded.
    """

    sync: SyncName
    target: str
    epoch: int
    holder: str | None
    expires_at: datetime | None
    decided_at: datetime | None
    current: VersionRef | None
    open_delivery: Delivery | None
    dag: str | None
    served_at: datetime | None

    @property
    def people(self) -> int:
        """The people who are, or may be, delivered."""
        return 0 if self.current is None else self.current.rows
