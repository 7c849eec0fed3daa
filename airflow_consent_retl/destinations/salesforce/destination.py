"""Salesforce as a destination: records by Bulk API 2.0, each row's outcome by its external id.

Limits, read 2026-11-29:

- 100 MB in a job, as uploaded: Salesforce counts 150 MB after Base64
  (https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/datafiles_prepare_csv.htm);
- 150,000,000 records and 15,000 batches of 10,000 records in 24 hours, 400,000 characters a record
  (https://developer.salesforce.com/docs/atlas.en-us.api_bulk_v2.meta/api_bulk_v2/bulk_api_2_limits.htm);
- the org's API requests of 24 hours, of which a job takes about eight; each answer has the number, in
  `Sforce-Limit-Info` (https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/headers_api_usage.htm).
  Beyond `max_api_share` no new job is made;
- results and jobs are kept for 7 days.

A batch is a job, and its rows are pending under the job's id. Salesforce gives back each line in one of three tables:
successful, failed (with a code), unprocessed. Their order is any, so lines are matched by the external id, never by
number or place. An unprocessed row is `unsent`: the next try sends it again. A row in no table is uncertain.

To delete takes record ids: they are asked for first, and after the job it is asked again who is still there, so a
deletion that was only reported is not accepted. `clear_fields` and `write="update"` change records by their ids too: no
record is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.dataset_name import DatasetName
from airflow_consent_retl.destinations.http.consent_records import consents_in
from airflow_consent_retl.destinations.http.record_lines import (
    FieldWords,
    KnownRecords,
    RecordLinesDestination,
)
from airflow_consent_retl.destinations.salesforce.api import SalesforceApi
from airflow_consent_retl.destinations.salesforce.bulk_jobs import JOBS
from airflow_consent_retl.destinations.salesforce.consent_objects import IndividualFlags
from airflow_consent_retl.destinations.salesforce.options import WITHDRAWAL_CHOICES, SalesforceOptions
from airflow_consent_retl.destinations.salesforce.record_csv import LINES
from airflow_consent_retl.destinations.salesforce.status_codes import STATUS_CODES

if TYPE_CHECKING:
    from simple_salesforce.api import Salesforce

    from airflow_consent_retl.destinations.http.keyed_lines import LineForm
    from airflow_consent_retl.destinations.http.line_jobs import LineJobs

_FIELDS = FieldWords(name="name", keys=("externalId", "idLookup"), unique="unique", case_sensitive="caseSensitive")


class SalesforceDestination(RecordLinesDestination[SalesforceOptions, SalesforceApi]):
    """Upserts records of one object, and takes them back as the DAG chose.

    Args:
        connect: logs in with Airflow's hook, and returns its client.
        options: from `SalesforceSpec`.
        domain: of the login.
        user: who logs in; empty: an app.
    """

    name: ClassVar[str] = "Salesforce"
    withdrawal_choices: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES
    form: ClassVar[LineForm] = LINES
    line_jobs: ClassVar[LineJobs] = JOBS
    own_codes: ClassVar[Collection[str]] = STATUS_CODES
    deletions: ClassVar[Collection[str]] = ("delete", "hardDelete")

    def __init__(
        self, connect: Callable[[], Salesforce], options: SalesforceOptions, *, domain: str, user: str
    ) -> None:
        objects = options.consents()
        flags = next((one for one in objects if isinstance(one, IndividualFlags)), None)
        super().__init__(options, kind=options.sobject, consents=consents_in(objects), flags=flags)
        self._connect = connect
        self._domain = domain
        self._user = user

    @property
    def target(self) -> str:
        """The object, its external id, and the domain of the login."""
        return f"{self._options.sobject} by {self._options.external_id} at {self._domain}"

    @property
    def dataset_name(self) -> DatasetName:
        """The object, at the domain of the login."""
        return DatasetName(f"https://{self._domain}", self._options.sobject)

    @property
    def target_details(self) -> Mapping[str, str]:
        """The user, who belongs to one org."""
        return {"the user": self._user} if self._user else {}

    @property
    def deletion(self) -> str:
        """The operation that deletes, for good if the DAG says so."""
        return "hardDelete" if self._options.hard_delete else "delete"

    def new_api(self, before_request: Callable[[], None]) -> SalesforceApi:
        """Return the calls of the org."""
        return SalesforceApi(self._connect, self._options, before_request)

    def described(self, api: SalesforceApi) -> KnownRecords:
        """Ask for the object's description."""
        sobject = self._options.sobject
        fields = api.document("GET", f"sobjects/{sobject}/describe").get("fields")
        return KnownRecords.of(sobject, fields, self._options.external_id, _FIELDS)

    def job_of(self, kind: str, operation: str, external_id: str | None) -> Mapping[str, object]:
        """Return the document that makes a job of Bulk API 2.0."""
        job = {"object": kind, "operation": operation, "contentType": "CSV", "lineEnding": "LF"}
        return job if external_id is None else {**job, "externalIdFieldName": external_id}
