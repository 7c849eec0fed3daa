"""The operator that keeps a Google Customer Match audience equal to the permitted rows."""

from __future__ import annotations

from airflow_consent_retl.destinations.data_manager.signals_load import SignalsLoadOperator
from airflow_consent_retl.destinations.google_customer_match.customer_match_spec import CustomerMatchSpec


class LoadToGoogleCustomerMatchOperator(SignalsLoadOperator):
    """Keep a Google Customer Match audience equal to the permitted rows of one destination.

    Reads the permitted set's files and a Google Cloud connection; contacts the Data Manager API. For each person it
    sends SHA-256 of e-mail addresses, phone numbers and names, normalised by Google's rules, and region and postal code
    as they are; the delivered state stores the same values, to remove the person later. The API's limits are in the
    docstring of the module `destination`. Needs the extra `google`.

    Args:
        gcp_conn_id: a Google Cloud connection whose account may use the Data Manager API and the audience. Templated.
        audience_id: the audience's number. Templated.
        operating_account: the account that owns the audience: a Google Ads id, or `{"account_id": …, "account_type":
            "DISPLAY_VIDEO_ADVERTISER"}`. Templated.
        consent_signals: `{"ad_user_data": "C0004", "ad_personalization": "C0004"}`: the consent category that stands
            for each of Google's signals. The policy has to require both for the destination, so that everyone
            who is sent granted both; otherwise nothing is sent. `ad_personalization` may be a field instead, which
            tells Google each person's own answer. Templated.
        terms_of_service_accepted: has to be True: it states that the account's owner accepted the Customer Match terms,
            https://support.google.com/adspolicy/answer/6299717.
        login_account: the account that the credentials belong to, such as a manager account. Templated.
        linked_account: for data partners. Templated.
        impersonation_chain: service account to impersonate, or a chain of them. Templated.
        hashed: see `CustomerMatchOptions`, for this parameter and those down to `backoff_s`.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load. Field names are `email`, `email_2`
            … `email_10`, `phone`, `phone_2` … `phone_10`, and `given_name`, `family_name`, `region_code`,
            `postal_code`, of which all four are needed if one is mapped; and `ad_personalization`, which is
            `consent('C0004', granted='granted', otherwise='denied')` of `airflow_consent_retl.fields`.

    Raises:
        ConfigurationError: parameters, connection, fields, or a signal whose category the policy does not require;
            not retried.
        DestinationError: the API refuses the credentials, the account or the audience; not retried.
        DestinationUnavailableError: the API does not answer, or the quota is used up; retried by Airflow.
    """

    nests_fields = False
    spec_class = CustomerMatchSpec
    knows_by_identifiers = True
