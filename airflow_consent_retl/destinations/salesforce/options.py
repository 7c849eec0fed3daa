"""The options of Salesforce, checked, and the connection that they are used with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.destinations.salesforce.consent_objects import ConsentObject, check_same_ids, of_parameters
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from simple_salesforce.api import Salesforce

    from airflow_consent_retl.destinations.salesforce.destination import SalesforceDestination

OnWithdrawal = Literal["delete", "clear_fields", "consent_objects"]
WITHDRAWAL_CHOICES = {
    "delete": "the person's record is deleted, which Salesforce can undo for 15 days unless hard_delete is set",
    "clear_fields": "the fields that clear_fields names are emptied, and the record stays",
    "consent_objects": "the record stays as it is, and Salesforce's consent objects say that consent ended",
}
MAX_FILE_BYTES = 100_000_000
"""Of a job. Salesforce's limit is 150 MB after Base64, so 100 MB as they are uploaded."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")


@parameter_class
class SalesforceOptions(HttpOptions):
    """The object, what a withdrawal means, and the limits.

    Args:
        sobject: the API name of the object, such as `Contact` or `Customer__c`.
        external_id: the API name of its external id; the model's primary key has to be mapped to it.
        on_withdrawal: what happens to a person who is removed.
        clear_fields: the fields that `clear_fields` empties.
        hard_delete: whether `delete` leaves nothing in the recycle bin; the user needs `Bulk API Hard Delete`.
        consent_objects: the consent objects that tell Salesforce what each person consented to.
        write: `"upsert"`; `"insert"` only creates records, and rejects a person who has one; `"update"` only changes
            records, and rejects a person without one.
        nulls: `"clear"` empties a field whose value is NULL, `"keep"` leaves it as it is.
        batch_rows: maximum number of rows in a job. Salesforce itself works in batches of 10,000.
        concurrency: jobs that are made at the same time.
        max_body_bytes: the most bytes of a job.
        max_api_share: the share of the org's API requests of 24 hours from which no new job is made.
        timeout_s: seconds to connect, and again between two parts of an answer.
        backoff_s: longest wait before the second try; it doubles with each try.

    Raises:
        ConfigurationError: values are out of their ranges; the message names all of them.
    """

    internal: ClassVar[frozenset[str]] = frozenset({"backoff_s", "removal_batch_rows"})
    most: ClassVar[Mapping[str, int]] = {"max_body_bytes": MAX_FILE_BYTES}
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "write": ("upsert", "insert", "update"),
        "nulls": ("clear", "keep"),
    }
    withdrawals: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES
    required: ClassVar[Mapping[tuple[str, str], tuple[str, ...]]] = {
        ("on_withdrawal", "consent_objects"): ("consent_objects",),
    }
    companions: ClassVar[Mapping[str, str]] = {"clear_fields": "clear_fields"}

    sobject: str
    external_id: str
    on_withdrawal: OnWithdrawal
    clear_fields: Sequence[str] = ()
    hard_delete: bool = False
    consent_objects: Sequence[ConsentObject | Mapping[str, Any]] = ()
    write: Literal["upsert", "insert", "update"] = "upsert"
    nulls: Literal["clear", "keep"] = "clear"
    batch_rows: int = 10_000
    concurrency: int = 2
    max_body_bytes: int = MAX_FILE_BYTES
    max_api_share: float = 0.9
    timeout_s: float = 60
    backoff_s: float = 1

    def wrong(self) -> list[str]:
        """Return the errors in the values."""
        wrong = super().wrong()
        wrong += [] if self.max_api_share > 0 else ["max_api_share must be above 0"]
        names = {"sobject": self.sobject, "external_id": self.external_id}
        wrong += [f"{name} must be an API name" for name, value in names.items() if not _NAME.fullmatch(value)]
        if isinstance(self.clear_fields, str) or not all(_NAME.fullmatch(name) for name in self.clear_fields):
            wrong.append("clear_fields must be a list of API names")
        if self.external_id in self.clear_fields:
            wrong.append("clear_fields must not empty the external id, by which the record is found")
        if self.hard_delete and self.on_withdrawal != "delete":
            wrong.append("hard_delete needs on_withdrawal `delete`")
        consents = self.consents()
        if consents and self.write == "insert":
            wrong.append('with write="insert", a yes that ends would never arrive: leave consent_objects out')
        wrong += [error for one in consents for error in one.wrong()]
        return wrong + check_same_ids(consents)

    def consents(self) -> list[ConsentObject]:
        """Return the consent objects."""
        return of_parameters(self.consent_objects)


@parameter_class
class SalesforceSpec(SalesforceOptions, DestinationSpec):
    """The options, and the connection: all parameters of `LoadToSalesforceOperator`.

    Args:
        salesforce_conn_id: a connection of Airflow's type `salesforce`.
    """

    templated: ClassVar[tuple[str, ...]] = ("salesforce_conn_id", "sobject", "external_id")

    salesforce_conn_id: str = "salesforce_default"

    def build(self) -> SalesforceDestination:
        """Return the destination, not yet opened; contacts nothing."""
        from airflow_consent_retl.hooks.lookups import connection_named
        from airflow_consent_retl.masking import mask_extra

        connection = connection_named(self.salesforce_conn_id)
        mask_extra(connection)
        try:
            from airflow.providers.salesforce.hooks.salesforce import SalesforceHook
        except ImportError:
            raise ConfigurationError(
                "Airflow's Salesforce provider is not installed: pip install 'airflow-consent-retl[salesforce]'"
            ) from None
        # Imported after the hook: without the extra, the error names it.
        from airflow_consent_retl.destinations.salesforce.destination import SalesforceDestination

        def connect() -> Salesforce:
            client: Salesforce = SalesforceHook(salesforce_conn_id=self.salesforce_conn_id).get_conn()
            return client

        extra = connection.extra_dejson
        domain = str(extra.get("domain") or extra.get("extra__salesforce__domain") or "login")
        # A user belongs to one org; an app without a user has the org's own domain.
        return SalesforceDestination(connect, self, domain=f"{domain}.salesforce.com", user=connection.login or "")
