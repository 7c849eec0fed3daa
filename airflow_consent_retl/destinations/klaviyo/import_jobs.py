"""The jobs of Klaviyo, and the shape of a profile: a job of an import names each error by a pointer into the request.

`klaviyo/openapi@f0a30ba`, revision 2026-07-15, read 2026-11-29: `openapi/stable/apis/bulk_import_profiles.json`,
`get_bulk_import_profiles_job.json`, `get_errors_for_bulk_import_profiles_job.json` and
`get_bulk_suppress_profiles_job.json`. An error repeats the profile in `original_payload`, and quotes it in `detail`:
neither is read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.http.answer_maps import by_pointer, entries, rejected_by
from airflow_consent_retl.destinations.http.bodies import Row, UnfitRowError, without_place
from airflow_consent_retl.destinations.http.jobs import Job
from airflow_consent_retl.destinations.http.json_api import attributes_of, document_of, is_over, next_page, resource_id
from airflow_consent_retl.destinations.http.responses import (
    ACCEPTED,
    SentRows,
    UnreadableAnswerError,
    is_integer,
    json_object,
)
from airflow_consent_retl.destinations.klaviyo.options import CHANNELS
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import Answer

_TEXTS = frozenset(
    {"external_id", "email", "phone_number", "first_name", "last_name", "organization", "locale", "title", "image"}
)
_LOCATION = frozenset(
    {"address1", "address2", "city", "country", "latitude", "longitude", "region", "zip", "timezone", "ip"}
)


_STATES = frozenset(name for one in CHANNELS for name in (one.state, one.consented_at))


def check_fields(names: Collection[str]) -> None:
    """Check that each field has a place in a profile.

    Raises:
        ConfigurationError: one has none.
    """
    wrong = without_place(names, {*_TEXTS, *_STATES}, {"location": _LOCATION, "properties": None})
    if wrong:
        raise ConfigurationError(
            f"Klaviyo's import has no attribute {', '.join(wrong)}: a field of your own is `properties.name`, and the "
            f"states of subscriptions are {', '.join(sorted(_STATES))}"
        )


def profile_of(key: str, row: Row) -> dict[str, Any]:
    """Return a row as a profile.

    Raises:
        UnfitRowError: the row has no key, or one that no filter of Klaviyo can name later.
    """
    if row.get(key) in {None, ""}:
        raise UnfitRowError("no_key")
    if not is_fit_key(row[key]):
        raise UnfitRowError("unfit_key")
    return {"type": "profile", "attributes": row}


def is_fit_key(key: object) -> bool:
    """Return whether a filter can name a key: without quotes, backslashes and what cannot be seen."""
    return isinstance(key, str) and key.isprintable() and not {'"', "\\"} & set(key) and key == key.strip() != ""


def import_of(list_id: str | None, profiles: Sequence[Any]) -> dict[str, Any]:
    """Return the document of an import."""
    lists = None if list_id is None else [{"type": "list", "id": list_id}]
    return document_of("profile-bulk-import-job", {"profiles": {"data": list(profiles)}}, lists=lists)


def _errors(job_id: str, status: Answer) -> str | None:
    failed = attributes_of(status).get("failed_count")
    if not is_integer(failed):
        raise UnreadableAnswerError
    return f"/api/profile-bulk-import-jobs/{job_id}/import-errors?page%5Bsize%5D=100" if failed else None


def _imported(status: Answer, pages: Sequence[Answer], rows: SentRows) -> Outcomes:
    attributes = attributes_of(status)
    # A profile may have several errors: the first one counts.
    outcomes = by_pointer(
        [error for page in pages for error in entries(json_object(page.body), "data")],
        rows,
        rejected_by("attributes.code"),
        prefix="/data/attributes/profiles/data",
        field="attributes.source.pointer",
        others=ACCEPTED,
    )
    counts = attributes.get("total_count"), attributes["failed_count"]
    if attributes["status"] != "complete" or counts != (len(rows), len(outcomes.exceptions)):
        raise UnreadableAnswerError
    return outcomes


def _suppressed(status: Answer, _: Sequence[Answer], rows: SentRows) -> Outcomes:
    attributes = attributes_of(status)
    # The job names no one: it is all or nothing.
    if attributes["status"] != "complete" or attributes.get("completed_count") != attributes.get("total_count"):
        raise UnreadableAnswerError
    return Outcomes.accepted(len(rows))


_is_over = partial(is_over, running={"queued", "processing"}, ended={"complete", "cancelled"})
_job = partial(Job, id_of=resource_id, is_over=_is_over, next_page=next_page)
IMPORT = _job(name="import", status=lambda job: f"/api/profile-bulk-import-jobs/{job}", results=_errors, read=_imported)
SUPPRESSION = _job(
    name="suppression", status=lambda job: f"/api/profile-suppression-bulk-create-jobs/{job}", read=_suppressed
)
