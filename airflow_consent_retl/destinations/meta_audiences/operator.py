"""The operator that keeps a customer list audience of Meta equal to the permitted rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_consent_retl.destinations.meta.processing_options import check_told
from airflow_consent_retl.destinations.meta_audiences.options import (
    MetaAudienceSpec,
)
from airflow_consent_retl.operators.spec_load import SpecLoadOperator


class LoadToMetaAudienceOperator(SpecLoadOperator):
    """Keep a customer list audience of Meta equal to the permitted rows of one destination.

    Reads the permitted set's files and a connection; contacts Meta's Graph API. It sends SHA-256 of identifiers in
    Meta's form, and stores the same values in the delivered state, to remove the person later. Limits and answers are
    in the docstring of the module `destination`. Phone numbers need the extra `phone`.

    Args:
        conn_id: a connection of type `consentmeta` with an access token, and the app's secret if the app demands a
            proof of it. Templated.
        audience_id: the audience's number. Templated.
        on_withdrawal: `"leave_audience"`: who withdraws is removed from the audience. Meta offers no other way.
        hashed: see `MetaAudienceSpec`, for this parameter and those that are not listed here.
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

    spec_class = MetaAudienceSpec
    knows_by_identifiers = True

    def checked(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Check what Meta is told of consent."""
        check_told(self.fields)
        return own
