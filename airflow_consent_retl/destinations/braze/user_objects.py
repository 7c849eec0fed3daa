"""The objects of users in requests to Braze: attributes, states of subscriptions, and people to take back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from airflow_consent_retl.destinations.braze.opt_outs import GLOBAL_STATES, GROUP, UNSUBSCRIBED
from airflow_consent_retl.destinations.http.bodies import Row, ShapedRows, UnfitRowError

EXTERNAL_ID: Final = "external_id"
NO_IDENTIFIER: Final = "no_identifier"
NULL_IN_LIST: Final = "null_in_list"
UNKNOWN_STATE: Final = "unknown_state"
GRANTING: Final = frozenset({"subscribed", "opted_in"})

# Fields of the object that are no attributes.
_RESERVED = {
    "user_alias", "braze_id", "alias_name", "alias_label", "push_token_import", "_update_existing_only",
    "subscription_groups",
}  # fmt: skip


def is_field(name: str) -> bool:
    """Return whether a field is an attribute or a state."""
    group = name.removeprefix(GROUP) if name.startswith(GROUP) else ""
    return bool(group) and "." not in group if "." in name else name not in _RESERVED


def is_nested(kind: pa.DataType) -> bool:
    """Return whether values of a type are objects, or lists of them."""
    # Braze drops a nested attribute as a whole if anything in it is null.
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(pa.types.is_nested(kind.value_type) if is_list else pa.types.is_nested(kind))


def attributes_of(row: Row, *, only_known: bool = False) -> Row:
    """Return the object of a row; states that are NULL are left out. With `only_known`, it makes no user.

    Raises:
        UnfitRowError: it has no identifier, a state that Braze does not know, or a list with a NULL.
    """
    if row[EXTERNAL_ID] is None or row[EXTERNAL_ID] == "":
        raise UnfitRowError(NO_IDENTIFIER)
    groups: dict[str, Any] = row.pop("subscription_groups", {})
    states = {name: row.pop(name) for name in GLOBAL_STATES if name in row}
    if not {None, UNSUBSCRIBED, *GRANTING}.issuperset(states.values()) or not {
        None,
        UNSUBSCRIBED,
        "subscribed",
    }.issuperset(groups.values()):
        raise UnfitRowError(UNKNOWN_STATE)
    if any(isinstance(value, list) and None in value for value in row.values()):
        raise UnfitRowError(NULL_IN_LIST)
    row[EXTERNAL_ID] = str(row[EXTERNAL_ID])
    row |= {"_update_existing_only": True} if only_known else {}
    return row | {name: state for name, state in states.items() if state is not None} | group_states(groups)


def group_states(states: Mapping[str, str | None], ids: Sequence[Any] = ()) -> Row:
    """Return the field of an object with the states of groups, perhaps of these users; without one, no field."""
    users = {"external_ids": ids} if ids else {}
    listed = [
        {"subscription_group_id": group, "subscription_state": state, **users}
        for group, state in states.items()
        if state is not None
    ]
    return {"subscription_groups": listed} if listed else {}


def users_body(schema: pa.Schema, body: Any, fixed: Mapping[str, Any] | None = None) -> ShapedRows:
    """Return the encoder of people: their ids, or objects with the same attributes for all of them."""

    def shape(row: Row) -> Any:
        external_id = row.get(EXTERNAL_ID)
        if external_id is None or external_id == "":
            raise UnfitRowError(NO_IDENTIFIER)
        if fixed is None:
            return str(external_id)
        return {EXTERNAL_ID: str(external_id), "_update_existing_only": True, **fixed}

    return ShapedRows(schema, body=body, shape=shape, nulls="null")


def track_body(objects: Sequence[Any]) -> object:
    """Return the document of a request that sets attributes."""
    return {"attributes": objects}
