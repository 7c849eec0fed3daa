"""What the ledger tells of a sync: its versions, its deliveries, and who holds its lease."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

SyncName = NewType("SyncName", str)


def sync_name(model: str, destination: str) -> SyncName:
    """Return the name of the sync that keeps a model up at a destination instance: `customers/google_ads:emea`."""
    if not model or not destination or "/" in destination:
        raise ValueError("a sync is named by a model and by a destination without `/`")
    return SyncName(f"{model}/{destination}")


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRef:
    """One version of a delivered state.

    Args:
        number: from 1, without gaps in the order of time.
        uri: of its folder.
        sha256: of its manifest.
        rows: how many entries it has.
        decided_at: when consent was decided for the newest permitted set in it.
    """

    number: int
    uri: str
    sha256: str
    rows: int
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One set of changes being carried out, or carried out.

    Args:
        id: the ledger's own number for it.
        sync: that it belongs to.
        key: hex digest; the same for every try of the same load.
        kind: the caller's word for what it is: `load`, `withdrawals`.
        changes_uri: of the folder with the changes; None once that is forgotten.
        changes_sha256: of its manifest.
        decided_at: when consent was decided for it.
        send_rows: how many rows a batch of upserts has, but for the last: the same in every try.
        remove_rows: how many rows a batch of removals has.
        base: the number of the version that the changes start from; 0: from nothing.
        began_at: when it was begun, by the ledger's clock.
        closed_at: when it was closed, or None.
        version: the number of the version it led to, or None: not closed, or closed without any attempt.
    """

    id: int
    sync: SyncName
    key: str
    kind: str
    changes_uri: str | None
    changes_sha256: str
    decided_at: datetime
    send_rows: int
    remove_rows: int
    base: int
    began_at: datetime
    closed_at: datetime | None
    version: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOverview:
    """One sync, for people.

    Args:
        sync: its name.
        target: where its rows end up, or empty.
        epoch: of its newest lease.
        holder: who holds the lease now, or None.
        expires_at: when that lease runs out unless it is renewed; None where nobody holds it.
        decided_at: when consent was decided for the newest permitted set it has begun to carry out.
        current: the version that is delivered.
        open_delivery: what is under way, or was when its worker died.
    """

    sync: SyncName
    target: str
    epoch: int
    holder: str | None
    expires_at: datetime | None
    decided_at: datetime | None
    current: VersionRef | None
    open_delivery: Delivery | None
