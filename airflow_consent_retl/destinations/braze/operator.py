"""The operator that keeps Braze's users at the permitted rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_consent_retl.destinations.braze.options import BrazeSpec
from airflow_consent_retl.operators.spec_load import SpecLoadOperator


class LoadToBrazeOperator(SpecLoadOperator):
    """Keep the users of a Braze workspace at the permitted rows of one destination.

    Reads the permitted set's files and an Airflow connection; contacts only the workspace's REST endpoint. Braze takes
    75 objects in a request, and 3,000 requests in 3 seconds for the workspace: the pages are cited at
    `BrazeDestination`.

    The primary key is mapped to `external_id`, or as `identifier` says; the other fields are attributes.
    `email_subscribe`, `push_subscribe` and `subscription_groups.<id>` are states, for `consent(…)`. The API key needs
    the permission `users.track`; for states also `users.export.ids`, `email.unsubscribe` and
    `subscription.status.get`; for the removal `delete` also `users.delete`.

    Args:
        workspace_name: the name of the workspace at Braze (templated). The ledger keeps it as the place of the users.
        on_withdrawal: what happens to a person who is removed; no default. `clear_attribute`, `unsubscribe` or
            `delete`: see `BrazeDestination`.
        conn_id: a connection of type `consentbraze` (templated): the host is the REST endpoint, such as
            `https://rest.iad-01.braze.com`.
        identifier: how Braze knows users: `external_id`, `email` or `user_alias`; see `BrazeOptions`.
        alias_label: of all aliases, for `identifier="user_alias"`.
        withdrawn_attributes: for `clear_attribute`: attributes and their values from then on.
        unsubscribes: the ids of subscription groups, for `on_withdrawal="unsubscribe"`.
        phone_groups: the ids of those groups among the fields that are of SMS or WhatsApp.
        requests_per_3_s: the most requests in 3 seconds, over all loads of the workspace.
        exports_per_minute: the most exports of profiles in a minute, which a load of states needs.
        batch_rows: see `BrazeOptions`, for this parameter and those that are not listed here. Contracts on monthly
            active users of 2024 and 2025 take 50.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load.

    Raises:
        ConfigurationError: parameters, connection or fields; not retried.
        DestinationError: 401, 403, 404, a refused address, an untrusted certificate; not retried.
        DestinationUnavailableError: Braze did not accept a batch in time; retried by Airflow.
    """

    spec_class = BrazeSpec

    def checked(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Note whether users are known by their address, or states are sent: two people may share an address."""
        states = [name for name in self.fields if name.startswith(("email_subscribe", "subscription_groups."))]
        by_address = own["identifier"] == "email" or own["on_withdrawal"] == "unsubscribe"
        self.knows_by_identifiers = by_address or bool(states)
        return own
