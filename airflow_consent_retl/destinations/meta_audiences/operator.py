"""The operator that keeps a customer list audience of Meta equal to the permitted rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from airflow_consent_retl.destinations.meta.processing_options import check_told
from airflow_consent_retl.destinations.meta_audiences.options import (
    MAX_BODY_BYTES,
    MAX_USERS,
    AudienceWithdrawal,
    MetaAudienceSpec,
)
from airflow_consent_retl.operators.load import LoadOperator

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.meta_audiences.destination import MetaAudienceDestination


class LoadToMetaAudienceOperator(LoadOperator):
    """Keep a customer list audience of Meta equal to the permitted rows of one destination.

    Reads the permitted set's files and a connection; contacts Meta's Graph API. It sends SHA-256 of identifiers in
    Meta's form, and stores the same values in the delivered state, to remove the person later. Limits and answers are
    in the docstring of the module `destination`. Phone numbers need the extra `phone`.

    Args:
        conn_id: a connection of type `consentmeta` with an access token, and the app's secret if the app demands a
            proof of it. Templated.
        audience_id: the audience's number. Templated.
        on_withdrawal: `"leave_audience"`: who withdraws is removed from the audience. Meta offers no other way.
        hashed: see `MetaAudienceOptions`, for this parameter and those that are not listed here.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load. Field names are `email`, `phone`,
            `external_id`, `device_id`, `first_name`, `last_name`, `gender`, `birth_year`, `birth_month`, `birth_day`,
            `city`, `state`, `postal_code`, `country`; and for Limited Data Use `data_processing_options`
            (`none` for full use, `LDU` or NULL for limited use: see `airflow_consent_retl.fields.consent`) and
            `data_processing_state` (such as `CA`).

    Raises:
        ConfigurationError: parameters, connection or fields; not retried.
        DestinationError: Meta refuses the token or the audience; Meta flagged the audience, so that no one can be
            removed from it; not retried.
        DestinationUnavailableError: Meta does not answer, or its limit on calls is reached; retried by Airflow.
    """

    template_fields: Sequence[str] = (*LoadOperator.template_fields, *MetaAudienceSpec.templated)
    spec_class = MetaAudienceSpec
    knows_by_identifiers = True

    def __init__(
        self,
        *,
        audience_id: str,
        on_withdrawal: AudienceWithdrawal,
        conn_id: str = "consentmeta_default",
        hashed: bool = False,
        on_invalid: Literal["reject", "omit"] = "reject",
        phone_region: str | None = None,
        batch_rows: int = MAX_USERS,
        concurrency: int = 2,
        timeout_s: float = 120,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        max_body_bytes: int = MAX_BODY_BYTES,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_told(self.fields)
        # Airflow requires templated parameters as attributes.
        self.conn_id = conn_id
        self.audience_id = audience_id
        self._spec = partial(
            MetaAudienceSpec,
            on_withdrawal=on_withdrawal,
            hashed=hashed,
            on_invalid=on_invalid,
            phone_region=phone_region,
            batch_rows=batch_rows,
            concurrency=concurrency,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            max_retry_s=max_retry_s,
            max_body_bytes=max_body_bytes,
        )

    def build_destination(self) -> MetaAudienceDestination:
        """Return the destination; reads the connection and contacts nothing."""
        check_told(self.fields)
        return self._spec(conn_id=self.conn_id, audience_id=self.audience_id).build()
