"""The outcomes of people in the jobs of a load, and the object that the load writes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_consent_retl.contract.outcomes import UNREADABLE_ANSWER, Outcome, RowStatus
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.batch_jobs import gone, worst
from airflow_consent_retl.destinations.http.found_records import ids_by_key
from airflow_consent_retl.destinations.http.responses import ACCEPTED, UnreadableAnswerError
from airflow_consent_retl.destinations.salesforce.bulk_jobs import JobResults, JobState, job_results
from airflow_consent_retl.destinations.salesforce.consent_objects import CONSENT_OBJECT
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.destinations.salesforce.api import SalesforceApi
    from airflow_consent_retl.destinations.salesforce.consent_objects import ContactPointTypeConsent, IndividualFlags
    from airflow_consent_retl.destinations.salesforce.options import SalesforceOptions


@dataclass(frozen=True, slots=True)
class KnownObject:
    """An object as Salesforce describes it: its fields, and how its external id is compared."""

    sobject: str
    external_id: str
    fields: frozenset[str]
    is_text: bool
    is_case_sensitive: bool

    @classmethod
    def described(cls, api: SalesforceApi, options: SalesforceOptions, load: Load) -> KnownObject:
        """Ask for the object's description.

        Raises:
            ConfigurationError: the external id is none, or does not suit `write`.
            AttemptError, RefusedCallError: as the calls do.
        """
        sobject, external_id = options.sobject, options.external_id
        known: dict[str, Mapping[str, Any]] = {}
        try:
            for field in api.document("GET", f"sobjects/{sobject}/describe")["fields"]:
                known[str(field["name"])] = field
        except (KeyError, TypeError):
            raise AttemptError(UNREADABLE_ANSWER, maybe_applied=False) from None
        key = known.get(external_id, {})
        if not (key.get("externalId") is True or key.get("idLookup") is True):
            raise ConfigurationError(f"`{external_id}` is no external id of {sobject}")
        if options.write == "insert" and key.get("unique") is not True:
            raise ConfigurationError(
                f'`{external_id}` of {sobject} is not unique: write="insert" would make a second record at the next try'
            )
        return cls(
            sobject,
            external_id,
            frozenset(known),
            is_text=not pa.types.is_integer(load.schema.field(external_id).type),
            is_case_sensitive=key.get("caseSensitive") is True,
        )

    def check_fields(self, names: Sequence[str]) -> None:
        """Check that the object has these fields.

        Raises:
            ConfigurationError: it has not.
        """
        missing = [name for name in names if name not in self.fields]
        if missing:
            raise ConfigurationError(
                f"{self.sobject} has no field {', '.join(missing)} that the connection's user can see"
            )


class SalesforceJobReader:
    """Reads the results of jobs once each, and finds people in them. Any number of threads may call.

    Args:
        api: of the org.
        known: the object of the load.
        points: the consents that a job may have written.
        flags: the flags that a job may have set.
    """

    def __init__(
        self,
        api: SalesforceApi,
        known: KnownObject,
        points: Sequence[ContactPointTypeConsent],
        flags: IndividualFlags | None,
    ) -> None:
        self._api = api
        self._known = known
        self._points = points
        self._flags = flags
        self._lock = threading.Lock()
        self._results: dict[str, JobResults] = {}

    def ids(self, people: Sequence[str]) -> dict[str, list[str]]:
        """Return the ids of the records that people have, by key. Raises as the calls do."""
        known = self._known
        records = self._api.records(known.sobject, known.external_id, list(dict.fromkeys(people)), quoted=known.is_text)
        fold = str if known.is_case_sensitive else str.casefold
        try:
            return ids_by_key(records, people, field=known.external_id, id_field="Id", fold=fold)
        except UnreadableAnswerError:
            raise AttemptError(UNREADABLE_ANSWER, maybe_applied=False) from None

    def outcomes(self, job: str, state: JobState, people: Sequence[str]) -> list[Outcome]:
        """Return the outcome of each person in one job that has ended. Raises as the calls do."""
        if state.operation in {"delete", "hardDelete"}:
            return self._gone(job, state, people)
        if state.sobject == CONSENT_OBJECT and self._points and self._known.sobject != CONSENT_OBJECT:
            results = self._results_of(job, state, self._points[0].external_id)
            of_person = [[point.key(person) for point in self._points] for person in people]
            found = [[results.by_key[key] for key in keys if key in results.by_key] for keys in of_person]
            return [worst(some) if some else results.default for some in found]
        column = self._known.external_id
        if self._flags is not None and state.sobject != self._known.sobject:
            column = self._flags.external_id
        results = self._results_of(job, state, column)
        return [results.by_key.get(person, results.default) for person in people]

    def _gone(self, job: str, state: JobState, people: Sequence[str]) -> list[Outcome]:
        """Return who is not there after a deletion; a person who is still there has the job's own outcome."""
        try:
            left = self.ids(people)
        except AttemptError as failure:
            if failure.code != UNREADABLE_ANSWER:
                raise
            return [Outcome(RowStatus.UNCERTAIN, UNREADABLE_ANSWER)] * len(people)
        if not left:
            return [ACCEPTED] * len(people)
        results = self._results_of(job, state, "Id")
        return gone(people, left, lambda record: results.by_key.get(record, results.default))

    def _results_of(self, job: str, state: JobState, column: str) -> JobResults:
        with self._lock:
            if job not in self._results:
                self._results[job] = job_results(self._api, job, state, column=column)
            return self._results[job]
