"""An extension of the documentation build: classes of parameters are shown as the frozen dataclasses that they are."""

from __future__ import annotations

from typing import Any

from griffe import Class, Expr, ExprCall, ExprKeyword, ExprName, Extension

_DECORATOR = "airflow_consent_retl.contract.parameter_class.parameter_class"


class ParameterClasses(Extension):
    """Reads `@parameter_class` as the standard decorator, whose parameters Griffe knows."""

    def on_class_instance(self, *, cls: Class, **kwargs: Any) -> None:
        """Replace the decorator of a class before its parameters are read."""
        for decorator in cls.decorators:
            if isinstance(decorator.value, Expr) and decorator.value.canonical_path == _DECORATOR:
                decorator.value = ExprCall(ExprName("dataclasses.dataclass"), [ExprKeyword("kw_only", "True")])
                cls.labels.add("dataclass")
