"""The operator that keeps Klaviyo's profiles, or a list of them, at the permitted rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_consent_retl.destinations.klaviyo.options import KlaviyoSpec
from airflow_consent_retl.operators.spec_load import SpecLoadOperator


class LoadToKlaviyoOperator(SpecLoadOperator):
    """Keep the profiles of a Klaviyo account at the permitted rows of one destination.

    Reads the permitted set's files and an Airflow connection; contacts only the API of Klaviyo. An import takes up to
    10,000 profiles and 5 MB and is processed later: `deferrable=True` waits for it without a worker. The limits and the
    specification are in the docstring of the module `destination`.

    Fields are `external_id`, `email`, `phone_number`, `first_name`, `last_name`, `organization`, `locale`, `title`,
    `image`, `location.city` and the other parts of a location, and `properties.name` for fields of your own. A field
    `subscriptions.email.marketing.consent`, or the one of `sms`, is the state of that channel, for `consent(…)`; it
    needs `….consented_at` beside it, the time at which the person agreed. A person's own opt-out at Klaviyo stays.

    Args:
        account_id: the id of the Klaviyo account (templated). The ledger keeps it as the place of the profiles.
        on_withdrawal: what happens to a person who is removed; no default. `leave_list`, `unsubscribe`,
            `unsubscribe_channels`, `suppress` or `privacy_delete`: see `KlaviyoDestination`.
        conn_id: a connection of type `consentklaviyo` (templated).
        known_by: the identifier that the primary key is mapped to: `external_id`, `email` or `phone_number`.
        list_id: the list that profiles are put on (templated); `leave_list` and `unsubscribe` need it.
        nulls: `"clear"` empties the attribute of a NULL; `"keep"` leaves it as it is at Klaviyo.
        unsubscribes: the channels, `email` or `sms`, for `on_withdrawal="unsubscribe_channels"`.
        job_wait_s: the most seconds that a batch with states waits for its import.
        batch_rows: see `KlaviyoSpec`, for this parameter and those that are not listed here.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load.

    Raises:
        ConfigurationError: parameters, connection or fields; not retried.
        DestinationError: 401, 403, 404, an answer about a list that is not clear, a refused address; not retried.
        DestinationUnavailableError: Klaviyo did not accept or process a batch in time; retried by Airflow.
    """

    spec_class = KlaviyoSpec
    # Unsubscriptions and suppressions belong to addresses, which two people may share.
    knows_by_identifiers = True

    def checked(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Check the fields with states: each is a person's own answer, and a removal ends what they subscribe."""
        KlaviyoSpec.check_states(self.fields, own)
        return own
