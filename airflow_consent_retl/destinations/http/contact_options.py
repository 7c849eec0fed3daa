"""The options of destinations that store contacts whose subscriptions belong to an address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.destinations.http.options import HttpOptions


@parameter_class
class ContactOptions(HttpOptions):
    """The identifier of contacts, and what a removal changes; a subclass has the choices of `on_withdrawal`.

    Args:
        id_property: the unique property by which the vendor knows a contact: `email`, or a custom one to which the
            primary key is mapped.
        unsubscribes: the ids of subscriptions, for `unsubscribe`.
        cleared_properties: the names of properties, for `clear_fields`.
        nulls: `"clear"` empties the property of a NULL; `"keep"` leaves it as it is at the vendor.

    Raises:
        ConfigurationError: values are out of their ranges; the message names all of them.
    """

    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"nulls": ("clear", "keep")}
    texts: ClassVar[tuple[str, ...]] = ("id_property",)
    companions: ClassVar[Mapping[str, str]] = {"unsubscribe": "unsubscribes", "clear_fields": "cleared_properties"}

    on_withdrawal: str
    id_property: str = "email"
    unsubscribes: Sequence[int] = ()
    cleared_properties: Sequence[str] = ()
    nulls: Literal["clear", "keep"] = "clear"
