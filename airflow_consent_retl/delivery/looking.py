"""The look at a target in every run, also where nothing changed: are the people still where they were delivered?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_consent_retl.contract.destination import Load
from airflow_consent_retl.errors import PeopleMissingError
from airflow_consent_retl.storage.sync_mode import SyncMode

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.changes.warehouse_delivered import WarehouseState
    from airflow_consent_retl.delivery.context import SyncContext
    from airflow_consent_retl.storage.delivered import DeliveredState


def look_at_target(
    context: SyncContext, state: DeliveredState | WarehouseState | None, *, schema: pa.Schema | None = None
) -> None:
    """Check that the target still has people, if some were delivered; with the mode `full`, everyone is sent anyway.

    Args:
        context: of the sync.
        state: the present version of its delivered state.
        schema: of the rows of a load that sends none: the columns of the target are checked too. None: for removals
            only.

    Raises:
        PeopleMissingError: the place is gone, or is empty.
        ConfigurationError, DestinationError, DestinationUnavailableError: the destination cannot be used.
    """
    if state is None or not state.rows or context.settings.mode is SyncMode.FULL:
        return
    manifest, shape = state.manifest, state.shape
    load = Load(
        key="",
        destination=manifest.destination,
        model=manifest.model,
        schema=shape.load_schema if schema is None else schema,
        key_field=next((name for name, column in shape.fields.items() if column == manifest.primary_key), None),
        rows=0 if schema is None else state.rows,
        decided_at=manifest.decided_at,
        delivered=state.rows,
        before_request=context.lease.check,
    )
    try:
        context.build().look(load)
    except PeopleMissingError:
        # Where no request was ever answered clearly, perhaps no one arrived.
        if state.has_confirmed:
            raise
