"""Segment's consent preferences in a warehouse: events of preferences, and the columns of every other event.

Each category has one boolean column, `context_consent_category_preferences_c0004`. A category that an event omits is
unknown. Sources: https://segment.com/docs/privacy/consent-management/consent-in-unify/ for the event and
https://segment.com/docs/connections/storage/warehouses/schema/ for the columns, read on 24 November 2026;
https://github.com/segmentio/go-snakecase for their names, read on 29 November 2026. Traps: a column exists only after
its category was seen once, and in Snowflake its name has capital letters.

Segment stores consent on profiles in Unify as well, as the trait `segment_consent_preference`. Its values `true`,
`false` and `conflict`, which two profiles leave behind that were merged and differ, are those of
https://www.twilio.com/docs/segment/privacy/consent-management/consent-in-unify, read on 29 November 2026. The shape of
the trait is not published, and Segment's Profile API does not return it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from airflow_consent_retl.consent.formats.boolean_column import BooleanColumn
from airflow_consent_retl.consent.formats.json_values import JsonMap, KeyBy, PathLike
from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.sources import ConsentSource
from airflow_consent_retl.errors import PolicyError, Problem

PREFERENCES = "context_consent_category_preferences_"
# Of a name that needs no change, or the unchanged start of one that does.
_START = re.compile(r"(?:[a-z0-9]|_(?=[a-z0-9]))*")
_WORD = re.compile(r"[A-Z0-9]+[a-z0-9]*|[a-z0-9]+")


def segment_preference_events(
    sql: str,
    *,
    categories: Mapping[str, str],
    subject: str = "user_id",
    time: str = "timestamp",
    key: str | None = None,
    profile: str | None = None,
    bring_time: bool = False,
    conn_id: str | None = None,
) -> ConsentSource:
    """Return the source of Segment's events "Segment Consent Preference Updated", in the form of its warehouses.

        segment_preference_events("SELECT * FROM segment_consent_preference_updated", categories={"C0004": "ads_ok"})

    Args:
        sql: a SELECT over the event's table.
        categories: category id to the name of its column in the snapshot.
        subject, time, key, profile, bring_time, conn_id: as for `ConsentSource`. With `profile="anonymous_id"`, answers
            of several devices that differ are in doubt; Segment takes the latest one.
    """
    return ConsentSource(
        sql,
        subject=subject,
        columns={segment_column(category): name for category, name in categories.items()},
        key=key,
        time=time,
        profile=profile,
        bring_time=bring_time,
        conn_id=conn_id,
    )


def segment_preferences(*categories: str) -> dict[str, BooleanColumn]:
    """Return the consent mapping of a model that has the columns of Segment's events: `segment_preferences("C0004")`.

    TRUE grants, FALSE denies, NULL is unknown.

    Raises:
        PolicyError: two categories have the same column, or a category has none.
    """
    columns = {category: segment_column(category) for category in categories}
    if len({*columns.values()}) < len(columns):
        raise PolicyError([Problem("categories", "two of Segment's categories have the same column")])
    return {category: BooleanColumn(column) for category, column in columns.items()}


def segment_column(category: str) -> str:
    """Return the name of a category's column in Segment's tables.

    Raises:
        PolicyError: the id has neither a letter nor a digit of ASCII, so it has no column of its own.
    """
    name = _snake(category)
    if not name:
        raise PolicyError([Problem("categories", "Segment has no column for an id without letters and digits")])
    return PREFERENCES + name


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


def _snake(name: str) -> str:
    """Return the name as Segment's library writes it: `V2STACK42` is `v2stack42`, and `dataSharing` `data_sharing`."""
    end = len(_START.match(name)[0])  # type: ignore[index]  # it also matches nothing
    if end == len(name):
        return name
    # The library takes a digit before the first change to the next word.
    end -= end > 0 and name[end - 1].isdigit()
    words = [name[:end], *_WORD.findall(name[end:])]
    return "_".join(word for word in words if word).lower()
