"""The operator that keeps Klaviyo's profiles, or a list of them, at the permitted rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from airflow_consent_retl.destinations.klaviyo.options import (
    MOST_BYTES,
    MOST_REMOVALS,
    MOST_ROWS,
    KlaviyoId,
    KlaviyoSpec,
    KlaviyoWithdrawal,
)
from airflow_consent_retl.operators.load import LoadOperator


class LoadToKlaviyoOperator(LoadOperator):
    """Keep the profiles of a Klaviyo account at the permitted rows of one destination.

    Reads the permitted set's files and an Airflow connection; contacts only the API of Klaviyo. An import takes up to
    10,000 profiles and 5 MB and is processed later: `deferrable=True` waits for it without a worker. The limits and the
    specification are in the docstring of the module `destination`.

    Fields are `external_id`, `email`, `phone_number`, `first_name`, `last_name`, `organization`, `locale`, `title`,
    `image`, `location.city` and the other parts of a location, and `properties.name` for fields of your own. The import
    takes no subscription state: a person's own opt-out at Klaviyo stays, and no load subscribes anyone.

    Args:
        account_id: the id of the Klaviyo account (templated). The ledger keeps it as the place of the profiles.
        on_withdrawal: what happens to a person who is removed; no default. `leave_list`, `unsubscribe`, `suppress` or
            `privacy_delete`: see `KlaviyoDestination`.
        conn_id: a connection of type `consentklaviyo` (templated).
        known_by: the identifier that the primary key is mapped to: `external_id`, `email` or `phone_number`.
        list_id: the list that profiles are put on (templated); `leave_list` and `unsubscribe` need it.
        nulls: `"clear"` empties the attribute of a NULL; `"keep"` leaves it as it is at Klaviyo.
        batch_rows: see `KlaviyoOptions`, for this parameter and those that are not listed here.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load.

    Raises:
        ConfigurationError: parameters, connection or fields; not retried.
        DestinationError: 401, 403, 404, an answer about a list that is not clear, a refused address; not retried.
        DestinationUnavailableError: Klaviyo did not accept or process a batch in time; retried by Airflow.
    """

    template_fields: Sequence[str] = (*LoadOperator.template_fields, *KlaviyoSpec.templated)
    spec_class = KlaviyoSpec
    # Unsubscriptions and suppressions belong to addresses, which two people may share.
    knows_by_identifiers = True

    def __init__(
        self,
        *,
        account_id: str,
        on_withdrawal: KlaviyoWithdrawal,
        conn_id: str = "consentklaviyo_default",
        known_by: KlaviyoId = "external_id",
        list_id: str | None = None,
        nulls: Literal["clear", "keep"] = "clear",
        batch_rows: int = MOST_ROWS,
        removal_batch_rows: int | None = MOST_REMOVALS,
        concurrency: int = 2,
        timeout_s: float = 60,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        max_body_bytes: int = MOST_BYTES,
        requests_per_s: int = 10,
        requests_per_minute: int = 150,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Airflow requires templated parameters as attributes.
        self.account_id = account_id
        self.conn_id = conn_id
        self.list_id = list_id
        self._spec = partial(
            KlaviyoSpec,
            on_withdrawal=on_withdrawal,
            known_by=known_by,
            nulls=nulls,
            batch_rows=batch_rows,
            removal_batch_rows=removal_batch_rows,
            concurrency=concurrency,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            max_retry_s=max_retry_s,
            max_body_bytes=max_body_bytes,
            requests_per_s=requests_per_s,
            requests_per_minute=requests_per_minute,
        )

    def destination_spec(self) -> KlaviyoSpec:
        """Return the destination's parameters."""
        return self._spec(account_id=self.account_id, conn_id=self.conn_id, list_id=self.list_id)
