"""The operator that keeps records of Salesforce at the permitted rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from airflow_consent_retl.destinations.salesforce.consent_objects import ConsentObject, as_parameters, check_told
from airflow_consent_retl.destinations.salesforce.options import MAX_FILE_BYTES, OnWithdrawal, SalesforceSpec
from airflow_consent_retl.operators.load import LoadOperator


class LoadToSalesforceOperator(LoadOperator):
    """Keep records of one object of a Salesforce org at the permitted rows of one destination.

    Reads the permitted set's files and Airflow's own Salesforce connection; contacts the login of the connection and
    the org's instance. Rows go there by Bulk API 2.0: a batch is a job, and `deferrable=True` waits for it without a
    worker. The limits and their pages are in the docstring of the module `destination`. Needs the extra `salesforce`.

    Fields are API names of the object's fields. `Account.Key__c`, with the name of a relation, finds a parent by its
    external id. A NULL and an empty text empty a field; a row with the text `#N/A` is rejected as `reserved_text`,
    since Salesforce would read it as "empty". A time needs a time zone.

    Args:
        sobject: the API name of the object, such as `Contact` (templated).
        external_id: the API name of an external id of the object (templated). The primary key has to be mapped to it.
        on_withdrawal: what happens to a person who is removed; no default. `delete`, `clear_fields` or
            `consent_objects`: see `SalesforceOptions`.
        salesforce_conn_id: a connection of Airflow's type `salesforce` (templated).
        clear_fields: the fields that `on_withdrawal="clear_fields"` empties.
        hard_delete: delete for good; the user needs the permission `Bulk API Hard Delete`.
        consent_objects: `ContactPointTypeConsent` and `IndividualFlags` of
            `airflow_consent_retl.destinations.salesforce.consent_objects`: the consent that Salesforce gets.
        write: `upsert`, `insert` or `update`; see `SalesforceOptions`, for this and for what is not listed.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load.

    Raises:
        ConfigurationError: parameters, connection, fields, or an external id that is none; not retried.
        DestinationError: Salesforce refuses the login, the user, or a request; not retried.
        DestinationUnavailableError: it does not answer, the org's daily requests are used up, or rows were not
            processed; retried by Airflow.
    """

    template_fields: Sequence[str] = (*LoadOperator.template_fields, *SalesforceSpec.templated)
    spec_class = SalesforceSpec

    def __init__(
        self,
        *,
        sobject: str,
        external_id: str,
        on_withdrawal: OnWithdrawal,
        salesforce_conn_id: str = "salesforce_default",
        clear_fields: Sequence[str] = (),
        hard_delete: bool = False,
        consent_objects: Sequence[ConsentObject] = (),
        write: Literal["upsert", "insert", "update"] = "upsert",
        nulls: Literal["clear", "keep"] = "clear",
        batch_rows: int = 10_000,
        concurrency: int = 2,
        max_body_bytes: int = MAX_FILE_BYTES,
        max_api_share: float = 0.9,
        timeout_s: float = 60,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Airflow requires templated parameters as attributes.
        self.sobject = sobject
        self.external_id = external_id
        self.salesforce_conn_id = salesforce_conn_id
        check_told(consent_objects, self.fields)
        self._spec = partial(
            SalesforceSpec,
            on_withdrawal=on_withdrawal,
            clear_fields=clear_fields,
            hard_delete=hard_delete,
            consent_objects=as_parameters(consent_objects),
            write=write,
            nulls=nulls,
            batch_rows=batch_rows,
            concurrency=concurrency,
            max_body_bytes=max_body_bytes,
            max_api_share=max_api_share,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            max_retry_s=max_retry_s,
        )

    def destination_spec(self) -> SalesforceSpec:
        """Return the destination's parameters."""
        return self._spec(
            sobject=self.sobject, external_id=self.external_id, salesforce_conn_id=self.salesforce_conn_id
        )
