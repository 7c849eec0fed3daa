"""Sync modes: which differences between the model and the destination a sync sends and removes."""

from __future__ import annotations

from enum import StrEnum


class SyncMode(StrEnum):
    """How a load treats differences. Every mode removes the people who lose permission."""

    # Sends people who are new or changed, removes people who left the model.
    MIRROR = "mirror"
    # As mirror, but people who left the model stay.
    UPSERT = "upsert"
    # Sends new people only; changed people are skipped, and people who left the model stay.
    INSERT = "insert"
    # Sends everyone, changed or not; removes as mirror.
    FULL = "full"
    # Sends only people that the destination rejected in the last load; removes as mirror.
    RETRY_REJECTED = "retry_rejected"

    @property
    def removes_left_model(self) -> bool:
        """Whether people are removed only because the model no longer has a row for them."""
        return self in {SyncMode.MIRROR, SyncMode.FULL, SyncMode.RETRY_REJECTED}
