"""The operator that keeps Braze's users at the permitted rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.destinations.braze.options import BrazeSpec, BrazeWithdrawal
from airflow_consent_retl.operators.load import LoadOperator

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.braze.destination import BrazeDestination


class LoadToBrazeOperator(LoadOperator):
    """Keep the users of a Braze workspace at the permitted rows of one destination.

    Reads the permitted set's files and an Airflow connection; contacts only the workspace's REST endpoint. Braze takes
    75 objects in a request, and 3,000 requests in 3 seconds for the workspace: the pages are cited at
    `BrazeDestination`.

    The primary key is mapped to `external_id`; the other fields are attributes. `email_subscribe`, `push_subscribe` and
    `subscription_groups.<id>` are states, for `consent(…)`. The API key needs the permissions `users.track`; for states
    also `users.export.ids`, `email.unsubscribe` and `subscription.status.get`; for the removals `users.delete` or
    `subscription.status.set`.

    Args:
        workspace_name: the name of the workspace at Braze (templated). The ledger keeps it as the place of the users.
        on_withdrawal: what happens to a person who is removed; no default. `clear_attribute`, `unsubscribe` or
            `delete`: see `BrazeDestination`.
        conn_id: a connection of type `consentbraze` (templated): the host is the REST endpoint, such as
            `https://rest.iad-01.braze.com`.
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

    template_fields: Sequence[str] = (*LoadOperator.template_fields, *BrazeSpec.templated)
    spec_class = BrazeSpec

    def __init__(
        self,
        *,
        workspace_name: str,
        on_withdrawal: BrazeWithdrawal,
        conn_id: str = "consentbraze_default",
        withdrawn_attributes: Mapping[str, str | float | bool | None] | None = None,
        unsubscribes: Sequence[str] = (),
        phone_groups: Sequence[str] = (),
        requests_per_3_s: int = 3000,
        exports_per_minute: int = 250,
        batch_rows: int = 75,
        concurrency: int = 4,
        timeout_s: float = 30,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # States of subscriptions belong to addresses, which two people may share.
        names_states = any(name.startswith(("email_subscribe", "subscription_groups.")) for name in self.fields)
        self.knows_by_identifiers = names_states or on_withdrawal == "unsubscribe"  # type: ignore[misc]
        # Airflow requires templated parameters as attributes.
        self.workspace_name = workspace_name
        self.conn_id = conn_id
        self._spec = partial(
            BrazeSpec,
            on_withdrawal=on_withdrawal,
            withdrawn_attributes=withdrawn_attributes,
            unsubscribes=unsubscribes,
            phone_groups=phone_groups,
            requests_per_3_s=requests_per_3_s,
            exports_per_minute=exports_per_minute,
            batch_rows=batch_rows,
            concurrency=concurrency,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            max_retry_s=max_retry_s,
        )

    def build_destination(self) -> BrazeDestination:
        """Return the destination; reads the connection and contacts nothing."""
        return self._spec(conn_id=self.conn_id, workspace_name=self.workspace_name).build()
