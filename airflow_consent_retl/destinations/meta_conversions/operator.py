"""The operator that sends permitted events to Meta's Conversions API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_consent_retl.destinations.meta.processing_options import check_told
from airflow_consent_retl.destinations.meta_conversions.options import MetaConversionsSpec
from airflow_consent_retl.operators.spec_load import SpecLoadOperator


class LoadToMetaConversionsOperator(SpecLoadOperator):
    """Send the permitted events of one destination to a dataset of Meta.

    The model has one row for each event, and the event's id as its primary key. Reads the permitted set's files and a
    connection; contacts Meta's Graph API. It sends SHA-256 of identifiers in Meta's form. Limits and answers are in the
    docstring of the module `destination`. Phone numbers need the extra `phone`.

    Events cannot be taken back: the load needs `accept_no_removal=True`, and `mode="insert"`, which sends each event
    once and changes none later.

    Args:
        conn_id: a connection of type `consentmeta` with an access token, and the app's secret if the app demands a
            proof of it. Templated.
        dataset_id: the number of the dataset, which is that of its pixel. Templated.
        hashed: see `MetaConversionsSpec`, for this parameter and those that are not listed here.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load. Needed fields are `event_name`,
            `event_id`, `event_time` (a timestamp with a time zone, or seconds since 1970) and `action_source`; for
            `website` also `event_source_url` and `client_user_agent`. Others are `referrer_url`, `opt_out`; `email`,
            `email_2`, `email_3`, `phone`, `phone_2`, `phone_3`, `first_name`, `last_name`, `date_of_birth`, `gender`,
            `city`, `state`, `postal_code`, `country`, `external_id`, `device_id`; `client_ip_address`, `fbc`, `fbp`,
            `lead_id`, `subscription_id`; `custom_data.…`, such as `custom_data.value`; and for Limited Data Use
            `data_processing_options` (`none` for full use, `LDU` or NULL for limited use: see
            `airflow_consent_retl.fields.consent`) and `data_processing_state` (such as `CA`).

    Raises:
        ConfigurationError: parameters, connection or fields; not retried.
        DestinationError: Meta refuses the token or the dataset; not retried.
        DestinationUnavailableError: Meta does not answer, or its limit on calls is reached; retried by Airflow.
    """

    spec_class = MetaConversionsSpec

    def checked(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Check what Meta is told of consent."""
        check_told(self.fields)
        return own
