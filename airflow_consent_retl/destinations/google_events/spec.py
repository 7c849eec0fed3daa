"""The options of events for Google, checked, and the parameters that build the destination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.destinations.data_manager.options import DataManagerSpec

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.google_events.destination import GoogleEventsDestination

MAX_EVENTS = 2_000
"""Of one request. https://developers.google.com/data-manager/api/devguides/limits, read 2026-11-29."""

_PRODUCT_ID = r"[A-Za-z0-9_-]{1,64}"


@parameter_class
class GoogleEventsSpec(DataManagerSpec):
    """The options, the target and the connection: all parameters of `LoadToGoogleEventsOperator`."""

    templated: ClassVar[tuple[str, ...]] = ("gcp_conn_id", "product_destination_id", *DataManagerSpec.templated)
    most_rows: ClassVar[int] = MAX_EVENTS
    items: ClassVar[str] = "events"
    account_types: ClassVar[tuple[str, ...]] = (
        "GOOGLE_ADS",
        "GOOGLE_ANALYTICS_PROPERTY",
        "FLOODLIGHT_CONFIG",
        "DISPLAY_VIDEO_ADVERTISER",
        "DISPLAY_VIDEO_PARTNER",
        "DATA_PARTNER",
    )
    patterns: ClassVar[Mapping[str, tuple[str, str]]] = {
        "product_destination_id": (
            _PRODUCT_ID,
            "the id of a conversion action, a Floodlight activity or a data stream",
        )
    }

    product_destination_id: str
    consent_signals: Mapping[str, str] | None = None
    batch_rows: int = MAX_EVENTS

    def build(self, *, consent_granted: bool = False) -> GoogleEventsDestination:
        """Return the destination, not yet opened; contacts nothing. All destinations of one spec share its pace.

        Args:
            consent_granted: whether the permitted set was checked for Google's signals. If not, no event is sent.
        """
        from airflow_consent_retl.destinations.google_events.destination import GoogleEventsDestination

        return self.built(
            GoogleEventsDestination, "source of events", self.product_destination_id, consent_granted=consent_granted
        )
