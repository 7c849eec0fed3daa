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
_CODES = {"invalid": "invalid_id", "notFound": "not_found", "conflict": "conflict", "invalidData": "invalid_data"}
_NOT_THERE = ("NotFound", "UnknownEmailError", "UnknownUserIdError", "ForgottenUserError")
_DONE = StatedSuccess(
    statuses=(200,),
    place="code",
    values=("Success",),
    not_there=(404,),
    codes=dict.fromkeys(_NOT_THERE, "not_found"),
)


@cache
def iterable(known_by: IterableId, *, on_list: bool) -> DestinationDeclaration:
    """Return the declaration for users who are known by one identifier, on a list or without one."""
    user: dict[str, object] = {known_by: field(known_by, as_text=True)}
    profile = {**user, "dataFields": other_fields(), "preferUserId": True, "mergeNestedObjects": True}
    place = {"listId": parameter("list_id", as_number=True)}

    def users(path: str, body: object, *, forgotten: str = "forgotten") -> DeclaredRequest:
        answer = _lists(known_by, forgotten=forgotten)
        return DeclaredRequest(path=path, body=body, rows=1_000, max_body_bytes=4_000_000, answer=answer)

    if on_list:
        send = users("/api/lists/subscribe", {**place, "subscribers": each_row(profile)})
    else:
        send = users("/api/users/bulkUpdate", {"users": each_row(profile)})
    # With true, Iterable would unsubscribe them from the whole channel.
    left = {**place, "subscribers": each_row(user), "channelUnsubscribe": False}
    return DestinationDeclaration(
        name="Iterable",
        vendor=VENDOR,
        account="project_id",
        parameters={"project_id": "the number of the key's project", "list_id": "the number of the list"},
        rate=Rate(5),
        people_share=known_by == "email",
        refuses=dict.fromkeys(_OPT_OUTS, "opt-outs belong to the person, and a load would overwrite them"),
        remedies={
            "fields_dropped": "Iterable drops fields that the project does not have: create them there",
            "forgotten": "Iterable refuses forgotten people for ever, and a row is sent again only when it changes: "
            "keep them in a SuppressionList",
        },
        send=send,
        on_withdrawal={
            "leave_audience": DeclaredRemoval(
                "the user leaves the list; profile and subscriptions stay",
                users("/api/lists/unsubscribe", left, forgotten="gone"),
            ),
            "delete": DeclaredRemoval(
                "Iterable deletes the user with all data, soon after it accepted the request",
                DeclaredRequest(
                    method="DELETE",
                    path="/api/users/{email}" if known_by == "email" else "/api/users/byUserId/{userId}",
                    answer=_DONE,
                ),
                rate=Rate(100),
            ),
            "privacy_delete": DeclaredRemoval(
                "Iterable forgets the user: all data is deleted, and the user is refused for ever; at most 1,000 a day",
                DeclaredRequest(path="/api/users/forget", body=user, answer=_DONE),
                rate=(Rate(3), Rate(1_000, period_s=86_400)),
            ),
        },
    )


def _lists(known_by: IterableId, *, forgotten: str) -> RefusedLists:
    suffix = "Emails" if known_by == "email" else "UserIds"
    codes = {**_CODES, "forgotten": forgotten}
    return RefusedLists(
        statuses=(200,),
        accepted_count="successCount",
        refused_count="failCount",
        incomplete={"filteredOutFields": "fields_dropped"},
        lists=[
            RefusedValues(f"failedUpdates.{kind}{suffix}", known_by, code, ignores_case=known_by == "email")
            for kind, code in codes.items()
        ],
    )
