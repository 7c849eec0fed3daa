"""The jobs of Klaviyo, and the shape of a profile: a job of an import names each error by a pointer into the request.

`klaviyo/openapi@f0a30ba`, revision 2026-07-15, read 2026-11-29: `openapi/stable/apis/bulk_import_profiles.json`,
`get_bulk_import_profiles_job.json`, `get_errors_for_bulk_import_profiles_job.json` and
`get_bulk_suppress_profiles_job.json`. An error repeats the profile in `original_payload`, and quotes it in `detail`:
neither is read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.http.answer_maps import by_pointer, entries, rejected_by
from airflow_consent_retl.destinations.http.bodies import Row, UnfitRowError
from airflow_consent_retl.destinations.http.jobs import Job
from airflow_consent_retl.destinations.http.responses import (
    ACCEPTED,
    SentRows,
    UnreadableAnswerError,
    is_integer,
    json_object,
)
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import Answer

JSON_API = "application/vnd.api+json"
NO_KEY, UNFIT_KEY = "no_key", "unfit_key"
IDENTIFIERS = ("external_id", "email", "phone_number")
_PROFILES = "/data/attributes/profiles/data"
_TEXTS = frozenset({*IDENTIFIERS, "first_name", "last_name", "organization", "locale", "title", "image"})
_LOCATION = frozenset(
    {"address1", "address2", "city", "country", "latitude", "longitude", "region", "zip", "timezone", "ip"}
)
_PLACE = re.compile(rf"{_PROFILES}/(\d+)(?:/.*)?")


def check_fields(names: Collection[str]) -> None:
    """Check that each field has a place in a profile.

    Raises:
        ConfigurationError: one has none.
    """
    wrong = [
        name
        for name in names
        if name not in _TEXTS
        and not (name.startswith("location.") and name.removeprefix("location.") in _LOCATION)
        and not (name.startswith("properties.") and len(name) > len("properties."))
    ]
    if wrong:
        raise ConfigurationError(
            f"Klaviyo's import has no attribute {', '.join(wrong)}: a field of your own is `properties.name`. It takes "
            "no subscription state: an answer to a category can be a property, for the account's own rules"
        )


def profile_of(key: str, row: Row) -> dict[str, Any]:
    """Return a row as a profile.

    Raises:
        UnfitRowError: the row has no key, or one that no filter of Klaviyo can name later.
    """
    if row.get(key) in {None, ""}:
        raise UnfitRowError(NO_KEY)
    if not is_fit_key(row[key]):
        raise UnfitRowError(UNFIT_KEY)
    return {"type": "profile", "attributes": row}


def is_fit_key(key: object) -> bool:
    """Return whether a filter can name a key: without quotes, backslashes and what cannot be seen."""
    return isinstance(key, str) and key.isprintable() and not {'"', "\\"} & set(key) and key == key.strip() != ""


def import_of(list_id: str | None, profiles: Sequence[Any]) -> dict[str, Any]:
    """Return the document of an import."""
    job: dict[str, Any] = {
        "type": "profile-bulk-import-job",
        "attributes": {"profiles": {"data": list(profiles)}},
    }
    if list_id is not None:
        job["relationships"] = {"lists": {"data": [{"type": "list", "id": list_id}]}}
    return {"data": job}


def data_of(answer: Answer) -> dict[str, Any]:
    """Return the object `data` of an answer."""
    data = json_object(answer.body).get("data")
    if not isinstance(data, dict):
        raise UnreadableAnswerError
    return data


def next_page(page: Answer) -> str | None:
    """Return the link to the next page."""
    links = json_object(page.body).get("links") or {}
    link = links.get("next") if isinstance(links, dict) else None
    if link is not None and not isinstance(link, str):
        raise UnreadableAnswerError
    return link


def _attributes(answer: Answer) -> dict[str, Any]:
    attributes = data_of(answer).get("attributes")
    if not isinstance(attributes, dict):
        raise UnreadableAnswerError
    return attributes


def _is_over(answer: Answer) -> bool:
    match _attributes(answer).get("status"):
        case "queued" | "processing":
            return False
        case "complete" | "cancelled":
            return True
    raise UnreadableAnswerError


def _errors(job_id: str, status: Answer) -> str | None:
    failed = _attributes(status).get("failed_count")
    if not is_integer(failed):
        raise UnreadableAnswerError
    return f"/api/profile-bulk-import-jobs/{job_id}/import-errors?page%5Bsize%5D=100" if failed else None


def _imported(status: Answer, pages: Sequence[Answer], rows: SentRows) -> Outcomes:
    attributes = _attributes(status)
    if attributes["status"] != "complete" or attributes.get("total_count") != len(rows):
        raise UnreadableAnswerError
    found: dict[str, dict[str, Any]] = {}
    for page in pages:
        for error in entries(json_object(page.body), "data"):
            pointer = ((error.get("attributes") or {}).get("source") or {}).get("pointer")
            place = _PLACE.fullmatch(pointer) if isinstance(pointer, str) else None
            # A profile may have several errors: the first one counts.
            found.setdefault(place[1] if place else "", error)
    outcomes = by_pointer(
        found.values(),
        rows,
        rejected_by("attributes.code"),
        prefix=_PROFILES,
        field="attributes.source.pointer",
        others=ACCEPTED,
    )
    if len(outcomes.exceptions) != attributes["failed_count"]:
        raise UnreadableAnswerError
    return outcomes


def _suppressed(status: Answer, _: Sequence[Answer], rows: SentRows) -> Outcomes:
    attributes = _attributes(status)
    # The job names no one: it is all or nothing.
    if attributes["status"] != "complete" or attributes.get("completed_count") != attributes.get("total_count"):
        raise UnreadableAnswerError
    return Outcomes.accepted(len(rows))


def _id(answer: Answer) -> object:
    return data_of(answer).get("id")


_job = partial(Job, id_of=_id, is_over=_is_over, next_page=next_page)
IMPORT = _job(name="import", status=lambda job: f"/api/profile-bulk-import-jobs/{job}", results=_errors, read=_imported)
SUPPRESSION = _job(
    name="suppression", status=lambda job: f"/api/profile-suppression-bulk-create-jobs/{job}", read=_suppressed
)
