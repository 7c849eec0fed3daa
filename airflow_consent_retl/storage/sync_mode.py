"""How far a sync follows its model: what it sends, and whom it takes back."""

from __future__ import annotations

from enum import StrEnum


class SyncMode(StrEnum):
    """What a load does about the difference. Whoever loses permission is removed in every mode."""

    # Sends who is new or changed, removes who left the model.
    MIRROR = "mirror"
    # As mirror, but who left the model stays.
    UPSERT = "upsert"
    # Sends who is new only; who changed is skipped, and who left the model stays.
    INSERT = "insert"
    # Sends everybody, changed or not; removes as mirror.
    FULL = "full"

    @property
    def removes_left_model(self) -> bool:
        """Whether people are removed only because the model has no row of them any more."""
        return self in {SyncMode.MIRROR, SyncMode.FULL}
