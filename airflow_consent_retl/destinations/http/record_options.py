"""The options of destinations that keep records of one kind by an external id."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.errors import Problem

if TYPE_CHECKING:
    from airflow_consent_retl.contract.checked_options import OptionCheck

API_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
NAMED_BY_API = (API_NAME.pattern, "an API name")


def _clear_fields(options: RecordOptions) -> Iterator[Problem]:
    if not all(API_NAME.fullmatch(name) for name in options.clear_fields):
        yield Problem("clear_fields", "clear_fields must be a list of API names")
    if options.external_id in options.clear_fields:
        yield Problem("clear_fields", "clear_fields must not empty the external id, by which the record is found")


@parameter_class
class RecordOptions(HttpOptions):
    """The external id, and what is written. A subclass has the choices of `on_withdrawal`, `clear_fields` among them.

    Args:
        external_id: the API name of the records' external id; the model's primary key has to be mapped to it.
        clear_fields: the fields that `clear_fields` empties.
        write: `"upsert"`; `"insert"` only creates records, and rejects a person who has one; `"update"` only changes
            records, and rejects a person without one.
        nulls: `"clear"` empties a field whose value is NULL, `"keep"` leaves it as it is.
        max_api_share: the share of the account's API requests of a long window from which no new job is made.

    Raises:
        OptionsError: values are out of their ranges; the message names all of them.
    """

    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "write": ("upsert", "insert", "update"),
        "nulls": ("clear", "keep"),
    }
    companions: ClassVar[Mapping[str, str]] = {"clear_fields": "clear_fields"}
    patterns: ClassVar[Mapping[str, tuple[str, str]]] = {"external_id": NAMED_BY_API}
    positive: ClassVar[tuple[str, ...]] = ("max_api_share",)
    checks: ClassVar[tuple[OptionCheck, ...]] = (_clear_fields,)

    external_id: str
    on_withdrawal: str
    clear_fields: Sequence[str] = ()
    write: Literal["upsert", "insert", "update"] = "upsert"
    nulls: Literal["clear", "keep"] = "clear"
    max_api_share: float = 0.9
