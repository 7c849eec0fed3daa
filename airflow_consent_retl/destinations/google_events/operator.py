"""The operator that sends permitted events to Google."""

from __future__ import annotations

from airflow_consent_retl.destinations.data_manager.signals_load import SignalsLoadOperator
from airflow_consent_retl.destinations.google_events.spec import GoogleEventsSpec


class LoadToGoogleEventsOperator(SignalsLoadOperator):
    """Send the permitted events of one destination to Google: conversions of Google Ads, Floodlight, or Analytics.

    The model has one row for each event, and the transaction id as its primary key. Reads the permitted set's files and
    a Google Cloud connection; contacts the Data Manager API. It sends SHA-256 of e-mail addresses, phone numbers and
    names in Google's form. Limits and answers are in the docstring of the module `destination`. Needs the extra
    `google`.

    Events cannot be taken back: the load needs `accept_no_removal=True`, and `mode="insert"`, which sends each event
    once and changes none later.

    Args:
        gcp_conn_id: a Google Cloud connection whose account may use the Data Manager API and the account. Templated.
        product_destination_id: the id of the conversion action, the Floodlight activity, or the data stream of
            Analytics (its measurement id). Templated.
        operating_account: the account that owns it: a Google Ads id, or `{"account_id": …, "account_type":
            "GOOGLE_ANALYTICS_PROPERTY"}`. Templated.
        consent_signals: `{"ad_user_data": "C0004"}`: the consent category that stands for each of Google's signals that
            is no field. The policy has to require it for the destination; otherwise nothing is sent. Templated.
        login_account: the account that the credentials belong to, such as a manager account. Templated.
        linked_account: for data partners. Templated.
        impersonation_chain: service account to impersonate, or a chain of them. Templated.
        hashed: see `DataManagerOptions`, for this parameter and those down to `backoff_s`.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load. Needed fields are `transaction_id`
            and `event_timestamp` (a timestamp with a time zone, or seconds since 1970), and one that identifies a
            person or a click: `email`, `email_2` … `email_10`, `phone`, `phone_2` … `phone_10`, all four of
            `given_name`, `family_name`, `region_code`, `postal_code`; `gclid`, `gbraid`, `wbraid`, `dclid`,
            `impression_id`, `match_id`, `mobile_device_id`, `session_attributes`; `client_id`, `user_id`,
            `app_instance_id`. Others are `event_source` (such as `WEB`), `event_name`, `currency`, `conversion_value`,
            `conversion_count`, `custom_variables.…`, `event_parameters.…`; and the signals `ad_user_data` and
            `ad_personalization`, each `consent('C0004', granted='granted', otherwise='denied')` of
            `airflow_consent_retl.fields`.

    Raises:
        ConfigurationError: parameters, connection, fields, or a signal whose category the policy does not require;
            not retried.
        DestinationError: the API refuses the credentials, the account or the target; not retried.
        DestinationUnavailableError: the API does not answer, or the quota is used up; retried by Airflow.
    """

    spec_class = GoogleEventsSpec
