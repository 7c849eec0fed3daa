"""The options of Customer Match, checked."""

from __future__ import annotations

from typing import ClassVar

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.destinations.data_manager.options import DataManagerOptions

MAX_MEMBERS = 10_000
"""Of one request. https://developers.google.com/data-manager/api/devguides/limits, read 2026-11-23."""


@parameter_class
class CustomerMatchOptions(DataManagerOptions):
    """The encoding and sending of members: see `DataManagerOptions`."""

    most_rows: ClassVar[int] = MAX_MEMBERS
    items: ClassVar[str] = "members"

    batch_rows: int = MAX_MEMBERS
