"""The objects of users in requests to Braze: attributes, states of subscriptions, and people to take back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.destinations.braze.questions import GLOBAL_STATES, GROUP, UNSUBSCRIBED
from airflow_consent_retl.destinations.http.bodies import Row, UnfitRowError
from airflow_consent_retl.destinations.http.text_values import is_nested

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.destinations.braze.user_identifiers import Identifier

NULL_IN_LIST: Final = "null_in_list"
UNKNOWN_STATE: Final = "unknown_state"
GRANTING: Final = frozenset({"subscribed", "opted_in"})

# Fields of the object that are no attributes.
_RESERVED = {
    "user_alias", "braze_id", "alias_label", "push_token_import", "_update_existing_only", "subscription_groups",
    "external_id", "alias_name",
}  # fmt: skip


def wrong_fields(schema: pa.Schema, identifier: Identifier) -> list[str]:
    """Return the errors in the fields of a load: only attributes and states are sent, and no nested attribute."""
    names = [name for name in schema.names if name != identifier.field]
    wrong = [f"`{name}` is no attribute" for name in names if not _is_field(name)]
    if identifier.kind == "email" and "push_subscribe" in names:
        wrong.append("`push_subscribe` is of one user, and an address may have several: use another identifier")
    # Braze drops a nested attribute as a whole if anything in it is null.
    return wrong + [f"`{one.name}` ({one.type}) is a nested attribute" for one in schema if is_nested(one.type)]


def object_of(identifier: Identifier, row: Row, *, only_known: bool = False) -> Row:
    """Return the object of a row; states that are NULL are left out. With `only_known`, it makes no user.

    Raises:
        UnfitRowError: it has no identifier, a state that Braze does not know, or a list with a NULL.
    """
    text = identifier.text_of(row)
    groups: dict[str, str | None] = row.pop("subscription_groups", {})
    states = {name: row.pop(name) for name in GLOBAL_STATES if name in row}
    known = {None, UNSUBSCRIBED, "subscribed"}
    if not known.issuperset(groups.values()) or not (known | GRANTING).issuperset(states.values()):
        raise UnfitRowError(UNKNOWN_STATE)
    if any(isinstance(value, list) and None in value for value in row.values()):
        raise UnfitRowError(NULL_IN_LIST)
    # Only where it says no, a user is made for an alias.
    mode = {"_update_existing_only": only_known} if only_known or identifier.kind == "user_alias" else {}
    told: Row = {name: state for name, state in states.items() if state is not None}
    return {**identifier.of(text), **row, **mode, **told, **group_states(groups.items())}


def group_states(states: Iterable[tuple[str, str | None]]) -> Row:
    """Return the field of an object with the states of groups; without one, no field."""
    listed = [{"subscription_group_id": one, "subscription_state": state} for one, state in states if state is not None]
    return {"subscription_groups": listed} if listed else {}


def ended(fields: Iterable[str]) -> Row:
    """Return the values of fields that end: attributes are removed, and states are `unsubscribed`."""
    names = list(fields)
    groups = [(name.removeprefix(GROUP), UNSUBSCRIBED) for name in names if name.startswith(GROUP)]
    plain = [name for name in names if not name.startswith(GROUP)]
    return {name: UNSUBSCRIBED if name in GLOBAL_STATES else None for name in plain} | group_states(groups)


def track_body(objects: Sequence[Any]) -> object:
    """Return the document of a request that sets attributes."""
    return {"attributes": objects}


def _is_field(name: str) -> bool:
    group = name.removeprefix(GROUP) if name.startswith(GROUP) else ""
    return bool(group) and "." not in group if "." in name else name not in _RESERVED
