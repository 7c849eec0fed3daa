"""The operator that every load is built on: it verifies what it was handed, sends it, and accounts for every row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.destinations.base import Destination


class LoadOperator(BaseOperator):
    """Sends the permitted rows of one destination, and nobody else's."""

    template_fields = ("permitted", "destination", "fields", "policy")

    def __init__(
        self,
        *,
        permitted: Any,
        destination: str,
        fields: Mapping[str, str],
        policy: str | Mapping[str, Any] | None = None,
        max_age_s: float = 86_400,
        max_rejected_ratio: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.permitted = permitted
        self.destination = destination
        self.fields = fields
        self.policy = policy
        self.max_age_s = max_age_s
        self.max_rejected_ratio = max_rejected_ratio

    @abstractmethod
    def build_destination(self) -> Destination:
        """Return the destination, built from the operator's parameters and its connection, not yet opened."""

    def execute(self, context: Context) -> Any:
        """Verify, send, account."""
        raise AssertionError("written with the protocol")
