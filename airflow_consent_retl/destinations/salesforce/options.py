"""The options of Salesforce, checked, and the connection that they are used with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.destinations.http.consent_records import wrong_objects
from airflow_consent_retl.destinations.http.record_options import NAMED_BY_API, RecordOptions
from airflow_consent_retl.destinations.salesforce.consent_objects import ConsentObject, of_parameters
from airflow_consent_retl.errors import Problem

if TYPE_CHECKING:
    from airflow_consent_retl.contract.checked_options import OptionCheck
    from airflow_consent_retl.destinations.salesforce.destination import SalesforceDestination

OnWithdrawal = Literal["delete", "clear_fields", "consent_objects"]
WITHDRAWAL_CHOICES = {
    "delete": "the person's record is deleted, which Salesforce can undo for 15 days unless hard_delete is set",
    "clear_fields": "the fields that clear_fields names are emptied, and the record stays",
    "consent_objects": "the record stays as it is, and Salesforce's consent objects say that consent ended",
}
MAX_FILE_BYTES = 100_000_000
"""Of a job. Salesforce's limit is 150 MB after Base64, so 100 MB as they are uploaded."""


def _consents(options: SalesforceOptions) -> Iterator[Problem]:
    consents = options.consents()
    wrong = wrong_objects(consents)
    if consents and options.write == "insert":
        wrong.append('with write="insert", a yes that ends would never arrive: leave consent_objects out')
    yield from (Problem("consent_objects", one) for one in wrong)


@parameter_class
class SalesforceOptions(RecordOptions):
    """The object, what a withdrawal means, and the limits; the other options are in `RecordOptions` and `HttpOptions`.

    Args:
        sobject: the API name of the object, such as `Contact` or `Customer__c`.
        on_withdrawal: what happens to a person who is removed.
        hard_delete: whether `delete` leaves nothing in the recycle bin; the user needs `Bulk API Hard Delete`.
        consent_objects: the consent objects that tell Salesforce what each person consented to.
        batch_rows: maximum number of rows in a job. Salesforce itself works in batches of 10,000, and each job costs
            some of the org's requests. A job is in memory: lower it where rows are long and workers are small.
        concurrency: jobs that are made at the same time.
        max_body_bytes: the most bytes of a job.
        max_api_share: the share of the org's API requests of 24 hours from which no new job is made.
        timeout_s: seconds to connect, and again between two parts of an answer.
        backoff_s: longest wait before the second try; it doubles with each try.

    Raises:
        ConfigurationError: values are out of their ranges; the message names all of them.
    """

    internal: ClassVar[frozenset[str]] = frozenset({"backoff_s", "removal_batch_rows"})
    most: ClassVar[Mapping[str, float]] = {"max_body_bytes": MAX_FILE_BYTES}
    withdrawals: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES
    required: ClassVar[Mapping[tuple[str, str], tuple[str, ...]]] = {
        ("on_withdrawal", "consent_objects"): ("consent_objects",),
    }
    patterns: ClassVar[Mapping[str, tuple[str, str]]] = {**RecordOptions.patterns, "sobject": NAMED_BY_API}
    only_for: ClassVar[Mapping[str, tuple[str, str]]] = {"hard_delete": ("on_withdrawal", "delete")}
    checks: ClassVar[tuple[OptionCheck, ...]] = (_consents,)

    sobject: str
    on_withdrawal: OnWithdrawal
    hard_delete: bool = False
    consent_objects: Sequence[ConsentObject | Mapping[str, Any]] = ()
    batch_rows: int = 50_000
    concurrency: int = 2
    max_body_bytes: int = MAX_FILE_BYTES
    timeout_s: float = 60
    backoff_s: float = 1

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
        from airflow_consent_retl.destinations.http.hook_client import hook_client

        name, provider = "SalesforceHook", "airflow.providers.salesforce.hooks.salesforce"
        arguments = {"salesforce_conn_id": self.salesforce_conn_id}
        connection, connect = hook_client(provider, name, arguments, vendor="Salesforce", extra="salesforce")
        # Imported after the hook: without the extra, the error names it.
        from airflow_consent_retl.destinations.salesforce.destination import SalesforceDestination

        extra = connection.extra_dejson
        domain = str(extra.get("domain") or extra.get("extra__salesforce__domain") or "login")
        # A user belongs to one org; an app without a user has the org's own domain.
        return SalesforceDestination(connect, self, domain=f"{domain}.salesforce.com", user=connection.login or "")
