"""The base of the hooks of vendors' connections. A hook sends no row: it shows the form and tests the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseHook

from airflow_consent_retl.destinations.http.probe import probe_client, probed
from airflow_consent_retl.destinations.http.vendor import Vendor, vendor_address
from airflow_consent_retl.hooks.connection_forms import field_behaviour, flask_fields

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import GuardedClient


class VendorHook(BaseHook):
    """A hook for connections of one vendor. A subclass has a docstring and names the vendor, and nothing else.

    Args:
        conn_id: the connection: see `vendor_address` for its fields.
    """

    vendor: ClassVar[Vendor]
    conn_name_attr = "conn_id"
    conn_type: ClassVar[str]
    hook_name: ClassVar[str]
    default_conn_name: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the attributes that Airflow reads from the vendor's record."""
        super().__init_subclass__(**kwargs)
        cls.conn_type = cls.vendor.conn_type
        cls.hook_name = cls.vendor.name
        cls.default_conn_name = f"{cls.vendor.conn_type}_default"
        # Airflow 3.1 calls these two only if they stand in the class itself.
        for name in ("get_connection_form_widgets", "get_ui_field_behaviour"):
            setattr(cls, name, VendorHook.__dict__[name])

    def __init__(self, conn_id: str | None = None) -> None:
        super().__init__()
        self.conn_id: str = conn_id or self.default_conn_name

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's fields, for versions of Airflow that build forms with Flask."""
        return flask_fields(cls.vendor.form)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the labels and placeholders of the fields that every connection has."""
        return field_behaviour(cls.vendor.form)

    def get_conn(self) -> GuardedClient:
        """Return a client for the vendor's host; contacts nothing.

        Raises:
            ConfigurationError: the connection is not usable; no secret is quoted.
        """
        return probe_client(vendor_address(self.conn_id, self.vendor, "/"))

    def test_connection(self) -> tuple[bool, str]:
        """Ask what the vendor's record names, with every check that a load makes of the address and credentials."""
        vendor = self.vendor
        method, _, endpoint = vendor.test.partition(" ")

        def verdict(status: int) -> tuple[bool, str]:
            if status in vendor.test_statuses:
                return True, f"{vendor.name} accepts the credentials"
            return False, f"{vendor.name} answers {' or '.join(map(str, sorted(vendor.test_statuses)))} to valid ones"

        return probed(
            lambda: vendor_address(self.conn_id, vendor, endpoint), method, body=vendor.test_body, verdict=verdict
        )
