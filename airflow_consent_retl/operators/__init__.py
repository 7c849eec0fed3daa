"""The operators of this package, for DAG authors. Importing them loads no engine and no client."""

from __future__ import annotations

from airflow_consent_retl.late_names import late_names
from airflow_consent_retl.operators.face import MODULES

__all__ = sorted(MODULES)  # noqa: PLE0605 - computed from the one list
# Late: a destination's operator is built on `LoadOperator`, which is in this package.
__getattr__, __dir__ = late_names(__name__, MODULES)
