"""The audience and the options of Customer Match, checked. It contacts nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.destinations.data_manager.options import DataManagerOptions

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.data_manager.accounts import Account, GoogleTarget

MAX_MEMBERS = 10_000
"""Of one request. https://developers.google.com/data-manager/api/devguides/limits, read 2026-11-23."""

_ACCOUNT_TYPES = ("GOOGLE_ADS", "DISPLAY_VIDEO_ADVERTISER", "DISPLAY_VIDEO_PARTNER", "DATA_PARTNER")


def customer_match_audience(
    *, audience_id: str, operating_account: Account, login_account: Account | None, linked_account: Account | None
) -> GoogleTarget:
    """Check and return an audience.

    Args:
        audience_id: digits.
        operating_account: see `google_target`, as for the others.

    Raises:
        ConfigurationError: parameters are malformed; the message names all errors.
    """
    from airflow_consent_retl.destinations.data_manager.accounts import google_target

    wrong = [] if re.fullmatch(r"[0-9]+", audience_id) else ["audience_id has to be the audience's number"]
    return google_target(
        "audience",
        audience_id,
        operating_account=operating_account,
        login_account=login_account,
        linked_account=linked_account,
        types=_ACCOUNT_TYPES,
        wrong=wrong,
    )


@parameter_class
class CustomerMatchOptions(DataManagerOptions):
    """The encoding and sending of members: see `DataManagerOptions`."""

    most_rows: ClassVar[int] = MAX_MEMBERS
    items: ClassVar[str] = "members"

    batch_rows: int = MAX_MEMBERS
