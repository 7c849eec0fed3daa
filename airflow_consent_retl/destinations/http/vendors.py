"""The records of all vendors, found in the folders of the destinations that the face names. Imports no client."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from airflow_consent_retl.destinations.http.vendor import Vendor
from airflow_consent_retl.operators.face import OPERATOR_MODULES

_ROOT = "airflow_consent_retl.destinations."


def vendors() -> list[Vendor]:
    """Return the `VENDOR` of each destination whose `options.py` has one, by the destination's name."""
    folders = sorted({module.rpartition(".")[0] for module in OPERATOR_MODULES if module.startswith(_ROOT)})
    modules = [f"{folder}.options" for folder in folders if find_spec(f"{folder}.options") is not None]
    found = [getattr(import_module(module), "VENDOR", None) for module in modules]
    # Several destinations of one vendor share its connections.
    return list({vendor.conn_type: vendor for vendor in found if isinstance(vendor, Vendor)}.values())
