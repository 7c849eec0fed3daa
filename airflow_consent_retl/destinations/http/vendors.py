"""The records of all vendors, found in the folders of the destinations that the face names. Imports no client."""

from __future__ import annotations

from importlib import import_module

from airflow_consent_retl.destinations.http.vendor import Vendor
from airflow_consent_retl.operators.face import OPERATOR_MODULES

_ROOT = "airflow_consent_retl.destinations."


def vendors() -> list[Vendor]:
    """Return the `VENDOR` of each destination's package that has one, by the destination's name."""
    packages = sorted({module.rpartition(".")[0] for module in OPERATOR_MODULES if module.startswith(_ROOT)})
    found = [getattr(import_module(package), "VENDOR", None) for package in packages]
    # Several destinations of one vendor share its connections.
    return list({vendor.conn_type: vendor for vendor in found if isinstance(vendor, Vendor)}.values())
