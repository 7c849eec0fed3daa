"""The rules of the parameters that every load has, checked when a DAG file is parsed. Imports no engine."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.checked_options import CheckedOptions, OptionCheck
from airflow_consent_retl.errors import ConfigurationError, Problem
from airflow_consent_retl.near import suggestion
from airflow_consent_retl.operators.parsed_tasks import is_known

if TYPE_CHECKING:
    from airflow_consent_retl.operators.load import LoadOperator

_NULL_CHOICES = ("send", "omit", "clear")


def wrong_settings(load: LoadOperator) -> list[Problem]:
    """Return every error in the parameters of `LoadOperator`, as far as their values are known.

    Args:
        load: with its parameters as attributes.
    """
    known = {name: getattr(load, name) for name in LoadSettings.annotations() if hasattr(load, name)}
    return LoadSettings.wrong_options({name: value for name, value in known.items() if is_known(value)})


def _dry_run(options: LoadSettings) -> Iterator[Problem]:
    if isinstance(options.dry_run, bool):
        return
    from airflow_consent_retl.operators.dry_runs import is_dry

    try:
        is_dry(options.dry_run)
    except ConfigurationError as error:
        yield Problem("dry_run", str(error))


def _field_nulls(options: LoadSettings) -> Iterator[Problem]:
    for name, choice in options.field_nulls.items():
        if choice not in _NULL_CHOICES:
            near = suggestion(choice, _NULL_CHOICES) if isinstance(choice, str) else ""
            yield Problem("field_nulls", f"field_nulls[{name!r}] must be `send`, `omit` or `clear`{near}")


def _fields_with_nulls(options: LoadSettings) -> Iterator[Problem]:
    if isinstance(options.fields, Mapping):
        for name in options.field_nulls:
            if name not in options.fields:
                near = suggestion(name, options.fields)
                yield Problem("field_nulls", f"field_nulls names `{name}`, which is no field of the load{near}")


class LoadSettings(CheckedOptions):
    """The rules of the parameters of `LoadOperator`, whose docstring explains them."""

    if TYPE_CHECKING:
        fields: Mapping[str, str]
        field_nulls: Mapping[str, object]
        dry_run: bool | str

    templated: ClassVar[tuple[str, ...]] = ("fields", "policy", "ledger_conn_id", "workspace", "moved_from")
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "mode": ("mirror", "upsert", "insert", "full", "retry_rejected"),
        "absent": ("left_model", "withdrawn"),
        "write": ("upsert", "create_only", "update_only", "fill_empty"),
    }
    positive: ClassVar[tuple[str, ...]] = ("confirm_interval_s", "lease_ttl_s")
    least: ClassVar[Mapping[str, float]] = dict.fromkeys(
        (
            "max_removed_ratio",
            "max_added_ratio",
            "max_rejected_ratio",
            "recheck_interval_s",
            "max_age_s",
            "settle_s",
            "confirm_timeout_s",
            "lease_wait_s",
        ),
        0,
    )
    most: ClassVar[Mapping[str, float]] = {"max_rejected_ratio": 1}
    checks: ClassVar[tuple[OptionCheck, ...]] = (_dry_run, _field_nulls, _fields_with_nulls)

    @classmethod
    def annotations(cls) -> Mapping[str, object]:
        """Return the annotations of the parameters of `LoadOperator`."""
        return _annotations()


@cache
def _annotations() -> Mapping[str, object]:
    from airflow_consent_retl.operators.load import LoadOperator

    parameters = inspect.signature(LoadOperator.__init__).parameters
    return {name: one.annotation for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
