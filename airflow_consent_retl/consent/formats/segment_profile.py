"""The consent that Segment stores on profiles in Unify, as the trait `segment_consent_preference`.

The values: https://www.twilio.com/docs/segment/privacy/consent-management/consent-in-unify (read on 29 November 2026).
The page names `true`, `false` and `conflict`, which two profiles leave behind that were merged and differ. The shape of
the trait is not published; Segment's Profile API does not return it.
"""

from __future__ import annotations

from airflow_consent_retl.consent.formats.json_values import JsonMap, KeyBy, PathLike
from airflow_consent_retl.consent.formats.literals import Literals


def segment_profile_column(column: str) -> Literals:
    """Return the format of a text column with one category's value: `conflict` is invalid, so it denies everywhere."""
    return Literals(column, granted=("true",), denied=("false",))


def segment_profile(
    column: str,
    *,
    path: PathLike = ("segment_consent_preference", "categories"),
    state: PathLike = (),
    as_text: bool = False,
    key_by: KeyBy = "id",
) -> JsonMap:
    """Return the format of a profile's traits for all categories: true grants, false denies, `conflict` is invalid.

    Args:
        column: the column with the traits, as JSON.
        path: the keys that lead to the object with an entry for each category.
        state: the keys that lead from a category's entry to its value.
        as_text: whether the values are the text `true` and `false`, as in tables of traits, and not booleans.
        key_by: the field of a category that is its key: `id` or `name`.
    """
    if as_text:
        return JsonMap(column, path=path, state=state, granted=("true",), denied=("false",), key_by=key_by)
    return JsonMap(column, path=path, state=state, key_by=key_by)
