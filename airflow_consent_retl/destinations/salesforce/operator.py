"""The operator that keeps records of Salesforce at the permitted rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_consent_retl.destinations.http.consent_records import check_told
from airflow_consent_retl.destinations.salesforce.consent_objects import (
    as_parameters,
    of_parameters,
)
from airflow_consent_retl.destinations.salesforce.options import SalesforceSpec
from airflow_consent_retl.operators.spec_load import SpecLoadOperator


class LoadToSalesforceOperator(SpecLoadOperator):
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
        consent_objects: `ContactPointTypeConsent`, `PartyConsent` and `IndividualFlags` of
            `airflow_consent_retl.destinations.salesforce.consent_objects`: the consent that Salesforce gets.
        write: `upsert`, `insert` or `update`; see `SalesforceOptions`, for this and for what is not listed.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load.

    Raises:
        ConfigurationError: parameters, connection, fields, or an external id that is none; not retried.
        DestinationError: Salesforce refuses the login, the user, or a request; not retried.
        DestinationUnavailableError: it does not answer, the org's daily requests are used up, or rows were not
            processed; retried by Airflow.
    """

    spec_class = SalesforceSpec

    def checked(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Check that each consent is a person's own answer, and keep the consent objects as a triggerer takes them."""
        objects = of_parameters(own["consent_objects"])
        check_told(objects, self.fields, vendor="Salesforce")
        return {**own, "consent_objects": as_parameters(objects)}
