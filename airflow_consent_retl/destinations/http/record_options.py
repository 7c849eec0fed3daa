"""The options of destinations that keep records of one kind by an external id."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.destinations.http.options import HttpOptions

API_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")


@parameter_class
class RecordOptions(HttpOptions):
    """The external id, and what is written. A subclass has the choices of `on_withdrawal`, `clear_fields` among them.

    Attributes:
        api_names: options that have to be an API name.

    Args:
        external_id: the API name of the records' external id; the model's primary key has to be mapped to it.
        clear_fields: the fields that `clear_fields` empties.
        write: `"upsert"`; `"insert"` only creates records, and rejects a person who has one; `"update"` only changes
            records, and rejects a person without one.
        nulls: `"clear"` empties a field whose value is NULL, `"keep"` leaves it as it is.
        max_api_share: the share of the account's API requests of a long window from which no new job is made.

    Raises:
        ConfigurationError: values are out of their ranges; the message names all of them.
    """

    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "write": ("upsert", "insert", "update"),
        "nulls": ("clear", "keep"),
    }
    companions: ClassVar[Mapping[str, str]] = {"clear_fields": "clear_fields"}
    api_names: ClassVar[tuple[str, ...]] = ("external_id",)

    external_id: str
    on_withdrawal: str
    clear_fields: Sequence[str] = ()
    write: Literal["upsert", "insert", "update"] = "upsert"
    nulls: Literal["clear", "keep"] = "clear"
    max_api_share: float = 0.9

    def wrong(self) -> list[str]:
        """Return the errors in the values."""
        wrong = super().wrong()
        wrong += [] if self.max_api_share > 0 else ["max_api_share must be above 0"]
        names = {name: getattr(self, name) for name in self.api_names}
        wrong += [f"{name} must be an API name" for name, value in names.items() if not API_NAME.fullmatch(value)]
        if isinstance(self.clear_fields, str) or not all(API_NAME.fullmatch(name) for name in self.clear_fields):
            wrong.append("clear_fields must be a list of API names")
        if self.external_id in self.clear_fields:
            wrong.append("clear_fields must not empty the external id, by which the record is found")
        return wrong
