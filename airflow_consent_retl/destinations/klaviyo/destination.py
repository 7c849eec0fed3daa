"""The Klaviyo destination: permitted rows as profiles, by bulk import jobs, perhaps on a list.

What the API does, in `klaviyo/openapi@f0a30ba`, `openapi/stable/apis/`, revision 2026-07-15, read 2026-11-29:

- `POST /api/profile-bulk-import-jobs`: up to 10,000 profiles, 5 MB, 100 kB a profile; 10 requests a second, 150 a
  minute. It does not touch subscriptions, so a person's own opt-out survives;
- `DELETE /api/lists/{id}/relationships/profiles`: up to 1,000 profiles, by Klaviyo's ids; consent stays;
- `POST /api/profile-subscription-bulk-delete-jobs`: up to 100. Whoever is not on the list that it names is
  unsubscribed from everything, so the load asks who is on the list first;
- `POST /api/profile-suppression-bulk-create-jobs`: up to 100 addresses. It makes a profile for an unknown address, so
  only those that Klaviyo has are sent;
- `POST /api/data-privacy-deletion-jobs`: one profile a request, 3 a second, 60 a minute.

Subscribing (`POST /api/profile-subscription-bulk-create-jobs`) is never used: it deletes what a person decided there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from airflow_consent_retl.contract.account_rate import AccountRate
from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.http.bodies import ShapedRows, json_body
from airflow_consent_retl.destinations.http.destination import HttpDestination
from airflow_consent_retl.destinations.http.purpose import Purpose
from airflow_consent_retl.destinations.klaviyo.import_jobs import (
    IMPORT,
    JSON_API,
    SUPPRESSION,
    check_fields,
    import_of,
    is_fit_key,
    profile_of,
)
from airflow_consent_retl.destinations.klaviyo.known_profiles import ProfileQuestions
from airflow_consent_retl.destinations.klaviyo.options import WITHDRAWAL_CHOICES
from airflow_consent_retl.destinations.klaviyo.removal_requests import deletion_of, done, job_of, pending_under
from airflow_consent_retl.errors import ConfigurationError, DestinationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.found_records import Record
    from airflow_consent_retl.destinations.http.jobs import Job
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.http.steps import BatchSteps
    from airflow_consent_retl.destinations.klaviyo.options import KlaviyoOptions

_UNSUBSCRIBED = {"email": {"marketing": {"consent": "UNSUBSCRIBED"}}}
# Their jobs cannot be asked about: what they did can.
_SEEN_LATER = ("unsubscription", "deletion")


class KlaviyoDestination(HttpDestination):
    """Upserts profiles, and takes people back as `on_withdrawal` says.

    An import names each refused profile by its place, and the outcomes of rows come from there. A person whom Klaviyo
    does not have counts as removed, and no request makes a profile of one. An unsubscription and a privacy deletion
    have no job to ask about: the load asks again who is still on the list, or still there.

    Args:
        address: of the API.
        options: see there.
        account_id: of the account.
    """

    can_clear: ClassVar[bool] = True
    nulls_by_field: ClassVar[frozenset[str]] = frozenset({"omit", "clear"})
    name: ClassVar[str] = "Klaviyo API"
    withdrawal_choices: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES

    def __init__(self, address: HttpAddress, options: KlaviyoOptions, *, account_id: str) -> None:
        super().__init__(address, options)
        self._options = options
        self._account_id = account_id

    @property
    def target(self) -> str:
        """The list, or the profiles, of the account, and the host of the API."""
        options = self._options
        place = f"profiles by {options.known_by}" + (f" on list {options.list_id}" if options.list_id else "")
        return f"{place} of Klaviyo account {self._account_id} at {self._address.host}:{self._address.port}"

    @property
    def former_targets(self) -> Sequence[str]:
        """None: no release recorded another text."""
        return ()

    def account_rates(self) -> tuple[AccountRate, ...]:
        """Return the limits on a second and on a minute, which all workers of the account share."""
        limits = {1: self._options.requests_per_s, 60: self._options.requests_per_minute}
        return tuple(
            AccountRate(account=self._account_id, requests=requests, period_s=period_s, vendor="Klaviyo")
            for period_s, requests in limits.items()
        )

    def jobs(self) -> Sequence[Job]:
        """Return imports and suppressions."""
        return [IMPORT, SUPPRESSION]

    def sending(self, load: Load) -> Purpose:
        """Return an import of profiles."""
        if load.key_field != self._options.known_by:
            raise ConfigurationError(f"map the model's primary key to `{self._options.known_by}`, or change known_by")
        check_fields(load.schema.names)
        return self._import(load.schema, cleared=load.nulls_sent, omitted=load.nulls_omitted)

    def removing(self, load: Load) -> None:
        """Return None: a removal has several requests."""

    def remove(self, batch: Batch) -> Outcomes:
        """Find the profiles of people, and take them back in the way that the DAG chose."""
        options, steps = self._options, self._steps(batch)
        found = self._asking(steps).found(self._keys(batch.rows))
        records = found.records
        if options.on_withdrawal == "unsubscribe":
            records = self._asking(steps).members(records)
        elif options.on_withdrawal == "suppress":
            records = [one for one in records if one.get("email")]
        taken = self._taken_back(steps, batch, records) if records else Outcomes(0)
        return found.after({one["id"]: outcome for one, outcome in zip(records, taken, strict=True)})

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Import the profiles that Klaviyo has with fields that are null."""
        if self._delivery is None:
            raise DestinationError(f"the {self.name} was not opened")
        found = self._asking(self._steps(batch)).found(self._keys(batch.rows))
        outcomes, there = found.after({}), found.rows
        if not there:
            return outcomes
        rows = batch.rows.select([self._options.known_by]).take(pa.array(there))
        for name in fields:
            rows = rows.append_column(name, pa.nulls(len(there), pa.string()))
        key = hashlib.sha256(f"{batch.key}:clear".encode()).hexdigest()
        cleared = self._delivery.deliver(Batch(key=key, rows=rows), self._import(rows.schema, cleared=fields))
        others = {row: outcome for row, outcome in enumerate(outcomes) if row not in set(there)}
        return cleared.at_rows(there, len(outcomes), others=others)

    def confirm_rows(self, request_id: str, rows: int, read: Callable[[], pa.RecordBatch]) -> Outcomes | None:
        """Ask about a job; or, where there is none, ask who is still there."""
        kind = request_id.partition(":")[0]
        if kind not in _SEEN_LATER:
            return super().confirm_rows(request_id, rows, read)
        people = read()
        key = hashlib.sha256(f"{request_id}:seen".encode()).hexdigest()
        steps = self._steps(Batch(key=key, rows=people))
        found = self._asking(steps).found(self._keys(people))
        left = found.records
        if kind == "unsubscription":
            left = self._asking(steps).members(left)
        return None if left else found.after({})

    def is_processed(self, request_id: str) -> bool:
        """Ask about a job; where there is none, the load asks who is still there."""
        return request_id.partition(":")[0] in _SEEN_LATER or super().is_processed(request_id)

    def _taken_back(self, steps: BatchSteps, batch: Batch, profiles: Sequence[Record]) -> Outcomes:
        options = self._options
        take = partial(self._taken, steps)
        ids = [{"type": "profile", "id": one["id"]} for one in profiles]
        match options.on_withdrawal:
            case "leave_list":
                path = f"/api/lists/{options.list_id}/relationships/profiles"
                return take("leave", path, ids, lambda some: {"data": some}, done, method="DELETE")
            case "suppress":
                people = [{"type": "profile", "attributes": {"email": one["email"]}} for one in profiles]
                job = partial(job_of, "profile-suppression-bulk-create-job", None)
                return take("suppress", "/api/profile-suppression-bulk-create-jobs", people, job, SUPPRESSION.submitted)
            case "unsubscribe":
                people = [
                    {"type": "profile", "attributes": {"email": one["email"], "subscriptions": _UNSUBSCRIBED}}
                    for one in profiles
                ]
                job = partial(job_of, "profile-subscription-bulk-delete-job", options.list_id)
                read = pending_under("unsubscription", batch)
                return take("unsubscribe", "/api/profile-subscription-bulk-delete-jobs", people, job, read)
            case _:
                read = pending_under("deletion", batch)
                return take("delete", "/api/data-privacy-deletion-jobs", ids, deletion_of, read, max_rows=1)

    def _taken(
        self,
        steps: BatchSteps,
        name: str,
        path: str,
        records: Sequence[Any],
        around: Callable[[Sequence[Any]], object],
        read: Callable[[Answer, SentRows], Outcomes | None],
        *,
        method: str = "POST",
        max_rows: int | None = None,
    ) -> Outcomes:
        address = self._address.at(path)
        return steps.take(name, address, records, read, around=around, method=method, max_rows=max_rows)

    def _import(self, schema: pa.Schema, *, cleared: Sequence[str] | frozenset[str], omitted: Any = ()) -> Purpose:
        encoder = ShapedRows(
            schema,
            body=json_body(partial(import_of, self._options.list_id)),
            shape=partial(profile_of, self._options.known_by),
            nulls="null" if self._options.nulls == "clear" else "omit",
            cleared=cleared,
            omitted=omitted,
            integers="number",
        )
        return Purpose(
            method="POST",
            address=self._address.at("/api/profile-bulk-import-jobs"),
            encoder=encoder,
            read=IMPORT.submitted,
            content_type=JSON_API,
            key_header=None,
            max_row_bytes=100_000,
        )

    def _keys(self, rows: pa.RecordBatch) -> list[str | None]:
        """Return the keys of people; None: the person was never sent."""
        column = rows.column(self._options.known_by).to_pylist()
        return [key if is_fit_key(key) else None for key in column]

    def _steps(self, batch: Batch) -> BatchSteps:
        return self.batch_steps(batch, content_type=JSON_API)

    def _asking(self, steps: BatchSteps) -> ProfileQuestions:
        return ProfileQuestions(steps, known_by=self._options.known_by, list_id=self._options.list_id)
