"""The manifests of a sync: the people who may be at a destination, and the changes to make there."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from airflow_consent_retl.storage.manifest import Document, Part, WarehouseTable


class ShapeOfRows(Document):
    """The shape of a sync's rows: the mapping of fields, and the schemas in which rows are stored."""

    # The destination's field names, each with the model's column, in the mapping's order.
    fields: tuple[tuple[str, str], ...]
    # Arrow schemas, serialized, in base64.
    load_schema: str
    removal_schema: str
    # The function that made the hashes.
    hash_tag: str


class DeliveredManifest(Document):
    """The people who are, or may be, at a destination: one version of the delivered state of one sync."""

    kind: Literal["delivered"] = "delivered"
    version: Literal[1] = 1
    sync: str
    model: str
    destination: str
    primary_key: str
    shape: ShapeOfRows
    # The function of the id that orders the entries.
    order_tag: str
    # Of the newest decision that was applied.
    decided_at: AwareDatetime
    parts: tuple[Part, ...]
    rows: int
    # Where the entries are, if they stay in the warehouse; then there are no parts, and `id_type` is the Arrow type.
    table: WarehouseTable | None = None
    id_type: str | None = None
    # Of entries in the warehouse: whether one of them may have been certainly accepted.
    may_be_confirmed: bool = True
    # The entries without a payload that was certainly accepted; None: not counted.
    unconfirmed_rows: int | None = None
    # Whether entries say which fields were cleared. Without it, a destination may have a value in any field.
    has_cleared: bool = False

    @property
    def warehouse_table(self) -> WarehouseTable | None:
        """The table of the entries; None where they are in files."""
        return self.table


class ChangesCounts(Document):
    """The counts of a comparison.

    `permitted = added + updated + unchanged + skipped` counts people; removals count entries.
    """

    permitted: int
    added: int
    # Including the unconfirmed: delivered once, but the last request got no clear answer.
    updated: int
    unconfirmed: int
    unchanged: int
    # Changed, but the mode sends new people only.
    skipped: int
    removed: dict[str, int]
    # Not in the model any more, but the mode leaves them where they are.
    kept_left_model: int
    # People in the delivered state before.
    delivered: int
    # The mapping differs from that of the delivered state: everyone counts as updated.
    fields_changed: bool
    # Entries with fields to clear.
    cleared: int = 0


class RemovalGroup(Document):
    """The entries of the delivered state that are to be removed for one cause."""

    cause: str
    parts: tuple[Part, ...]
    rows: int


class ClearGroup(Document):
    """The entries of the delivered state of which the same fields are to be cleared."""

    fields: tuple[str, ...]
    parts: tuple[Part, ...]
    rows: int


class ChangesManifest(Document):
    """The work to do at a destination: people to send and entries to remove, compared with one delivered state."""

    kind: Literal["changes"] = "changes"
    version: Literal[1] = 1
    sync: str
    model: str
    destination: str
    primary_key: str
    mode: Literal["mirror", "upsert", "insert", "full", "retry_rejected"]
    shape: ShapeOfRows
    order_tag: str
    decided_at: AwareDatetime
    # Digests of the manifests that were compared, None where there was none.
    permitted_sha256: str | None
    delivered_sha256: str | None
    counts: ChangesCounts
    upserts: tuple[Part, ...]
    upsert_rows: int
    # The rows to send are all rows of the permitted set, in its order: `upserts` has what a delivery notes of them.
    rows_are_permitted: bool = False
    # In the order of removal.
    removals: tuple[RemovalGroup, ...]
    removal_rows: int
    clears: tuple[ClearGroup, ...] = ()
    clear_rows: int = 0
    # The fields whose NULL the destination has to get: see `Load.cleared`.
    cleared: tuple[str, ...] = ()
    # Of the policy under which they were found. Empty: unknown.
    policy_digest: str = ""
