"""The options of events for Meta, checked, and their connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.destinations.meta import API_VERSION, PHONE_REGION

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.meta_conversions.destination import MetaConversionsDestination

MAX_EVENTS = 1000
"""Of a request. https://developers.facebook.com/documentation/ads-commerce/conversions-api/using-the-api, read
2026-11-29."""


@parameter_class
class MetaConversionsSpec(HttpOptions, DestinationSpec):
    """The connection, the dataset and the form of requests; the other options are in `HttpOptions`.

    Args:
        dataset_id: the number of the dataset, which is that of its pixel.
        conn_id: a connection of type `consentmeta`.
        hashed: identifiers are SHA-256 in hex already, of values in Meta's form.
        on_invalid: `"reject"`: an event with an invalid identifier is rejected as `invalid_email` …; `"omit"`: it is
            sent without that value where another identifier is left. NULL and blank are not invalid.
        phone_region: the region of phone numbers without a country code, such as `DE`; None: they are invalid.

    Raises:
        ConfigurationError: values are out of their ranges; the message names all of them.
    """

    templated: ClassVar[tuple[str, ...]] = ("conn_id", "dataset_id")
    request_rows: ClassVar[tuple[int, str]] = (
        MAX_EVENTS,
        f"batch_rows must be at most {MAX_EVENTS:,}: Meta accepts no more events in a request",
    )
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"on_invalid": ("reject", "omit")}
    patterns: ClassVar[Mapping[str, tuple[str, str]]] = {
        "dataset_id": (r"[0-9]{1,32}", "the number of the dataset or its pixel"),
        "phone_region": PHONE_REGION,
    }

    dataset_id: str
    conn_id: str = "consentmeta_default"
    hashed: bool = False
    on_invalid: Literal["reject", "omit"] = "reject"
    phone_region: str | None = None
    batch_rows: int = MAX_EVENTS
    concurrency: int = 16
    timeout_s: float = 60

    def build(self) -> MetaConversionsDestination:
        """Return the destination, not yet opened; reads the connection and contacts nothing."""
        from airflow_consent_retl.destinations.meta.graph_api import graph_address
        from airflow_consent_retl.destinations.meta_conversions.destination import MetaConversionsDestination

        address, proof = graph_address(self.conn_id, f"/{API_VERSION}/{self.dataset_id}/events")
        return MetaConversionsDestination(address, self, dataset_id=self.dataset_id, proof=proof)
