"""The rules of the operators' own parameters, checked when a DAG file is parsed. Imports no engine.

A parameter means the same in each operator that has it, so its rule is written once.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

from airflow_consent_retl.contract.checked_options import CheckedOptions, OptionCheck
from airflow_consent_retl.errors import ConfigurationError, Problem
from airflow_consent_retl.near import suggestion
from airflow_consent_retl.operators.parsed_tasks import is_known

_NULL_CHOICES = ("send", "omit", "clear")
# Shares of rows or of people, which the limits of added people may exceed.
_SHARES = ("max_rejected_ratio", "max_invalid_ratio", "min_found_ratio")


def _dry_run(options: Any) -> Iterator[Problem]:
    if isinstance(options.dry_run, bool):
        return
    from airflow_consent_retl.operators.dry_runs import is_dry

    try:
        is_dry(options.dry_run)
    except ConfigurationError as error:
        yield Problem("dry_run", str(error))


def _field_nulls(options: Any) -> Iterator[Problem]:
    for name, choice in options.field_nulls.items():
        if choice not in _NULL_CHOICES:
            near = suggestion(choice, _NULL_CHOICES) if isinstance(choice, str) else ""
            yield Problem("field_nulls", f"field_nulls[{name!r}] must be `send`, `omit` or `clear`{near}")


def _fields_with_nulls(options: Any) -> Iterator[Problem]:
    if isinstance(options.fields, Mapping):
        for name in options.field_nulls:
            if name not in options.fields:
                near = suggestion(name, options.fields)
                yield Problem("field_nulls", f"field_nulls names `{name}`, which is no field of the load{near}")


def _denied_shares(options: Any) -> Iterator[Problem]:
    given = options.max_denied_ratio
    shares = given if isinstance(given, Mapping) else {"": given}
    for name, share in shares.items():
        if share is not None and not _is_share(share):
            place = f"max_denied_ratio[{name!r}]" if name else "max_denied_ratio"
            yield Problem("max_denied_ratio", f"{place} must be a number from 0 to 1")


def _released_share(options: Any) -> Iterator[Problem]:
    given = options.max_released_ratio
    if not (given in (None, "default") or _is_share(given)):
        yield Problem("max_released_ratio", 'max_released_ratio must be a number from 0 to 1, "default" or None')


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _denied_destinations(options: Any) -> Iterator[Problem]:
    given, known = options.max_denied_ratio, options.destinations
    if isinstance(given, Mapping):
        for name in given:
            if name not in known:
                near = suggestion(name, known) if isinstance(name, str) else ""
                yield Problem(
                    "max_denied_ratio", f"max_denied_ratio names `{name}`, which is no destination of the filter{near}"
                )


class OperatorSettings(CheckedOptions):
    """The rules of parameters, by their names. A subclass is for one operator, whose docstring explains them.

    Attributes:
        operator: the operator's module and class, whose signature has the types.
    """

    operator: ClassVar[str]
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "mode": ("mirror", "upsert", "insert", "full", "retry_rejected"),
        "absent": ("left_model", "withdrawn"),
        "write": ("upsert", "create_only", "update_only", "fill_empty"),
        "on_duplicate_id": ("fail", "deny"),
    }
    counts: ClassVar[tuple[str, ...]] = ("batch_rows", "part_bytes")
    positive: ClassVar[tuple[str, ...]] = ("confirm_interval_s", "lease_ttl_s", "poll_interval_s")
    least: ClassVar[Mapping[str, float]] = dict.fromkeys(
        (
            *_SHARES,
            "max_removed_ratio",
            "max_added_ratio",
            "recheck_interval_s",
            "max_age_s",
            "settle_s",
            "query_timeout_s",
            "confirm_timeout_s",
            "lease_wait_s",
        ),
        0,
    )
    most: ClassVar[Mapping[str, float]] = dict.fromkeys(_SHARES, 1)

    @classmethod
    def annotations(cls) -> Mapping[str, object]:
        """Return the annotations of the operator's own parameters."""
        return _annotations(cls.operator)

    @classmethod
    def wrong_settings(cls, task: object) -> list[Problem]:
        """Return every error in the parameters of a task, as far as their values are known.

        Args:
            task: an operator with its parameters as attributes.
        """
        return cls.wrong_known({name: getattr(task, name) for name in cls.annotations() if hasattr(task, name)})

    @classmethod
    def wrong_known(cls, given: Mapping[str, object]) -> list[Problem]:
        """Return every error in values, as far as they are known; what the operator does not have is left out."""
        own = cls.annotations()
        return cls.wrong_options({name: value for name, value in given.items() if name in own and is_known(value)})

    @classmethod
    def _is_typed(cls, name: str) -> bool:
        return name not in _kind(cls.operator).template_fields


class LoadSettings(OperatorSettings):
    """The rules of `LoadOperator`."""

    operator: ClassVar[str] = "load:LoadOperator"
    checks: ClassVar[tuple[OptionCheck, ...]] = (_dry_run, _field_nulls, _fields_with_nulls)


class FilterSettings(OperatorSettings):
    """The rules of `ConsentFilterOperator`."""

    operator: ClassVar[str] = "consent:ConsentFilterOperator"
    checks: ClassVar[tuple[OptionCheck, ...]] = (_denied_shares, _denied_destinations, _released_share)


class ExtractSettings(OperatorSettings):
    """The rules of `ExtractModelOperator`."""

    operator: ClassVar[str] = "extract:ExtractModelOperator"


class WithdrawalSettings(OperatorSettings):
    """The rules of `PropagateWithdrawalsOperator`."""

    operator: ClassVar[str] = "withdraw:PropagateWithdrawalsOperator"
    checks: ClassVar[tuple[OptionCheck, ...]] = (_dry_run,)


class RetireSettings(OperatorSettings):
    """The rules of `RetireSyncOperator`."""

    operator: ClassVar[str] = "retire:RetireSyncOperator"


class ForgetSettings(OperatorSettings):
    """The rules of `ForgetOperator`."""

    operator: ClassVar[str] = "forget:ForgetOperator"


def _kind(operator: str) -> Any:
    module, _, name = operator.partition(":")
    return getattr(import_module(f"airflow_consent_retl.operators.{module}"), name)


@cache
def _annotations(operator: str) -> Mapping[str, object]:
    parameters = inspect.signature(_kind(operator).__init__).parameters
    return {name: one.annotation for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}


SETTINGS = (LoadSettings, FilterSettings, ExtractSettings, WithdrawalSettings, RetireSettings, ForgetSettings)


def settings_of(kind: type) -> type[OperatorSettings] | None:
    """Return the rules for an operator's class; None: it has none."""
    for base in kind.__mro__:
        for settings in SETTINGS:
            module, _, name = settings.operator.partition(":")
            if (base.__module__, base.__qualname__) == (f"airflow_consent_retl.operators.{module}", name):
                return settings
    return None
