"""The base of loads whose own parameters are those of their destination's spec, which lists them once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_consent_retl.errors import ConfigurationError, OptionsError, Problem
from airflow_consent_retl.operators.load import LoadOperator
from airflow_consent_retl.operators.parsed_tasks import is_known, is_resolved_later, refuse

if TYPE_CHECKING:
    from airflow_consent_retl.contract.spec import DestinationSpec

_SELF = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
_OTHERS = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD, annotation="Any")


class SpecLoadOperator(LoadOperator):
    """A load with the parameters of a spec. A subclass has a docstring and names its `spec_class`.

    Its signature has the spec's parameters, with their defaults; `default_args`, mapped tasks and messages about
    missing parameters follow it. Templated parameters are attributes, as Airflow requires.

    Args:
        **kwargs: the parameters of the spec, and those of every load.
    """

    spec_class: ClassVar[type[DestinationSpec]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the parameters and the templated ones from the class's own spec."""
        super().__init_subclass__(**kwargs)
        if "spec_class" in vars(cls):
            cls.template_fields = (*LoadOperator.template_fields, *cls.spec_class.templated)
            # A function of its own for each class: Airflow keeps the signature of each.
            setattr(cls, "__init__", _init_with(parameters_of(cls.spec_class)))  # noqa: B010 - mypy knows it as fixed

    def __init__(self, **kwargs: Any) -> None:
        known = parameters_of(self.spec_class)
        own = {name: kwargs.pop(name, one.default) for name, one in known.items()}
        super().__init__(**kwargs)
        for name in self.spec_class.templated:
            setattr(self, name, own[name])
        self._own: Mapping[str, Any] = own
        wrong = self.wrong_options()
        refuse(wrong)
        self._own = own if wrong else self.checked(own)

    @property
    def own_parameters(self) -> Mapping[str, Any]:
        """The spec's parameters as the DAG gives them, with their defaults; templates are not rendered."""
        return self._own

    def checked(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the spec's parameters; a subclass checks them, or the fields of the load.

        It is called when the DAG file is parsed, and again when templates are rendered.

        Args:
            own: by name, also those with their default values.

        Raises:
            ConfigurationError: they are wrong; the DAG file is not imported.
        """
        return own

    def wrong_options(self) -> list[Problem]:
        """Return every error in the parameters and fields, as far as their values are known; contacts nothing."""
        own = self._rendered
        wrong = super().wrong_options() + self.spec_class.wrong_options(known_options(self.spec_class, own))
        try:
            self.checked(own)
        except OptionsError as error:
            wrong += error.problems
        except ConfigurationError as error:
            wrong.append(Problem("fields", str(error)))
        # A rule of the options may be one of `checked`, too.
        return list({one.message: one for one in reversed(wrong)}.values())[::-1]

    def _check_at_parse(self) -> None:
        """Nothing: the spec's parameters are checked with those of every load, all at once."""

    @property
    def _rendered(self) -> Mapping[str, Any]:
        return {**self._own, **{name: getattr(self, name) for name in self.spec_class.templated}}

    def destination_spec(self) -> DestinationSpec:
        """Return the destination's parameters, with their templates rendered."""
        return self.spec_class(**self.checked(self._rendered))


def known_options(
    spec_class: type[DestinationSpec], given: Mapping[str, Any], *, without: Collection[str] = ()
) -> dict[str, Any]:
    """Return the parameters of a spec whose values are known: they are no templates, and no outputs of tasks.

    Args:
        spec_class: of the destination.
        given: by name; what the spec does not have is left out, and what is not given has its default.
        without: the names of those that are not given, and are not known.
    """
    every = inspect.signature(spec_class).parameters
    defaults = {
        name: one.default for name, one in every.items() if one.default is not one.empty and name not in without
    }
    values = {**defaults, **{name: value for name, value in given.items() if name in every}}
    if spec_class.reads_templates:
        return values
    return {name: value for name, value in values.items() if _is_known(name in spec_class.templated, value)}


def _is_known(is_templated: bool, value: object) -> bool:
    return is_known(value) if is_templated else not is_resolved_later(value)


def parameters_of(spec_class: type[DestinationSpec]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a spec that its operator offers, by name."""
    every = inspect.signature(spec_class).parameters
    return {name: one for name, one in every.items() if name not in spec_class.internal}


def _init_with(parameters: Mapping[str, inspect.Parameter]) -> Callable[..., None]:
    def __init__(self: SpecLoadOperator, **kwargs: Any) -> None:  # noqa: N807 - it becomes the class's
        SpecLoadOperator.__init__(self, **kwargs)

    given = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters.values()]
    __init__.__signature__ = inspect.Signature([_SELF, *given, _OTHERS])  # type: ignore[attr-defined]
    return __init__
