"""The base of loads whose own parameters are those of their destination's spec, which lists them once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_consent_retl.operators.load import LoadOperator

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
        self._own = self.checked(own)

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

    def destination_spec(self) -> DestinationSpec:
        """Return the destination's parameters, with their templates rendered."""
        rendered = {name: getattr(self, name) for name in self.spec_class.templated}
        return self.spec_class(**self.checked({**self._own, **rendered}))


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
