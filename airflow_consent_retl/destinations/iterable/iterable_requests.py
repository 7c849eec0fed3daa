"""The requests of Iterable, declared as data.

Iterable's own specification of its API (version 1.8): `Iterable/api-client@981eeb5: api-docs.json`, read 2026-11-29. It
states 4 MB and 5 requests a second for each project for `users/bulkUpdate`, 100 a second for the deletion of a user,
and 3 a second and 1,000 a day for `users/forget`; no limit for lists. The 1,000 people in a request are those of
`rudderlabs/rudder-transformer@2c739cb: src/v0/destinations/iterable_audience/README.md`, read 2026-11-29.

To unsubscribe from message types is not offered: that request replaces all opt-outs of a person by those that it names.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.declared import (
    DeclaredRemoval,
    DeclaredRequest,
    DestinationDeclaration,
    Rate,
    RefusedLists,
    RefusedValues,
    StatedSuccess,
    each_row,
    field,
    other_fields,
    parameter,
)
from airflow_consent_retl.destinations.iterable import VENDOR

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.iterable.options import IterableId

_OPT_OUTS = ("emailListIds", "unsubscribedChannelIds", "unsubscribedMessageTypeIds", "subscribedMessageTypeIds")
_CODES = {"invalid": "invalid_id", "notFound": "not_found", "invalidData": "invalid_data"}
_LISTS = (*_CODES, "conflict", "forgotten")
_NOT_THERE = dict.fromkeys(("NotFound", "UnknownEmailError", "UnknownUserIdError", "ForgottenUserError"), "not_found")
_DONE = StatedSuccess(statuses=(200,), place="code", values=("Success",), not_there=(404,), codes=_NOT_THERE)
_LOST = {"filteredOutFields": "fields_dropped"}
# At most 1,000 a day.
_RARE = (Rate(3), Rate(1_000, period_s=86_400))


@cache
def iterable(known_by: IterableId, *, on_list: bool) -> DestinationDeclaration:
    """Return the declaration for users who are known by one identifier, on a list or without one."""
    path, suffix = ("{email}", "Emails") if known_by == "email" else ("byUserId/{userId}", "UserIds")
    user: dict[str, object] = {known_by: field(known_by, as_text=True)}
    users = each_row({**user, "dataFields": other_fields(), "preferUserId": True, "mergeNestedObjects": True})
    place = {"listId": parameter("list_id", as_number=True)}
    # With true for the channel, Iterable would unsubscribe them from the whole of it.
    leaving = {**place, "subscribers": each_row(user), "channelUnsubscribe": False}
    stored = DeclaredRequest(path="/api/users/bulkUpdate", body={"users": users})
    listed = DeclaredRequest(path="/api/lists/subscribe", body={**place, "subscribers": users})
    left = DeclaredRequest(path="/api/lists/unsubscribe", body=leaving)
    deleted = DeclaredRequest(method="DELETE", path=f"/api/users/{path}", answer=_DONE)
    forgotten = DeclaredRequest(path="/api/users/forget", body=user, answer=_DONE)
    refused = [RefusedValues(f"failedUpdates.{one}{suffix}", known_by, _CODES.get(one, one)) for one in _LISTS]
    return DestinationDeclaration(
        vendor=VENDOR,
        account="project_id",
        parameters={"project_id": "the number of the key's project", "list_id": "the number of the list"},
        rate=Rate(5),
        rows=1_000,
        max_body_bytes=4_000_000,
        answer=RefusedLists(
            statuses=(200,), lists=refused, accepted_count="successCount", refused_count="failCount", incomplete=_LOST
        ),
        people_share=known_by == "email",
        refuses=dict.fromkeys(_OPT_OUTS, "opt-outs belong to the person, and a load would overwrite them"),
        remedies={"fields_dropped": "Iterable drops fields that the project does not have: create them there"},
        send=listed if on_list else stored,
        on_withdrawal={
            "leave_audience": DeclaredRemoval("the user leaves the list; profile and subscriptions stay", left),
            "delete": DeclaredRemoval("Iterable soon deletes the user with all data", deleted, Rate(100)),
            "privacy_delete": DeclaredRemoval("all data is deleted, and the user refused for ever", forgotten, _RARE),
        },
    )
