"""The operator that loads into a destination that a DAG repository declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.destinations.declared.declaration_checks import wrong_consent, wrong_fields
from airflow_consent_retl.destinations.declared.options import DeclaredHttpSpec, Parameter, wrong_choices
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators.load import LoadOperator

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.declared.declaration import DestinationDeclaration


class LoadToDeclaredHttpOperator(LoadOperator):
    """Keep a vendor's people at the permitted rows of one destination, through an HTTP API that you declare as data.

    Reads the permitted set's files and an Airflow connection; contacts only the connection's host, as
    `LoadToWebhookOperator` does.

    Args:
        declaration: see `DestinationDeclaration`: a record in your DAG repository.
        conn_id: a connection of the declaration's vendor, or of type `consentwebhook` or `http` (templated).
        on_withdrawal: the declaration's choice of what happens to a person who is removed; None where it has none.
        parameters: the values of the declaration's parameters, such as the id of a list (templated).
        concurrency: see `HttpOptions`, for this parameter and those down to `max_retry_s`.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load.

    Raises:
        ConfigurationError: the choice, the parameters or the fields do not suit the declaration, when the DAG file is
            parsed; the connection or the types of fields, when the task runs; not retried.
        DestinationError: 3xx, 401, 403, 404, 405, 407, 410, a refused address, an untrusted certificate; not retried.
        DestinationUnavailableError: the vendor did not accept a batch in time; retried by Airflow.
    """

    template_fields: Sequence[str] = (*LoadOperator.template_fields, *DeclaredHttpSpec.templated)
    spec_class = DeclaredHttpSpec

    def __init__(
        self,
        *,
        declaration: DestinationDeclaration,
        conn_id: str,
        on_withdrawal: str | None,
        parameters: Mapping[str, Parameter] | None = None,
        concurrency: int = 8,
        timeout_s: float = 30,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Airflow requires templated parameters as attributes.
        self.conn_id = conn_id
        self.parameters = dict(parameters or {})
        self.knows_by_identifiers = declaration.people_share  # type: ignore[misc]
        self._spec = partial(
            DeclaredHttpSpec,
            declaration=declaration,
            on_withdrawal=on_withdrawal,
            concurrency=concurrency,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            max_retry_s=max_retry_s,
        )
        self._check = partial(check_load, declaration, on_withdrawal=on_withdrawal)
        self._check(self.fields, parameters=self.parameters)

    def destination_spec(self) -> DeclaredHttpSpec:
        """Return the declaration, the connection and the choices of the DAG, checked again with templates rendered."""
        self._check(self.fields, parameters=self.parameters)
        return self._spec(conn_id=self.conn_id, parameters=self.parameters)


def check_load(
    declaration: DestinationDeclaration,
    fields: object,
    *,
    on_withdrawal: str | None,
    parameters: Mapping[str, object],
) -> None:
    """Check the parameters of a load when a DAG file is parsed.

    Raises:
        ConfigurationError: the message names all errors.
    """
    wrong = wrong_choices(declaration, on_withdrawal=on_withdrawal, parameters=parameters)
    # A template, or the output of a task, is known when the task runs.
    if isinstance(fields, Mapping):
        wrong += wrong_fields(declaration, [name for name in fields if isinstance(name, str)])
        wrong += wrong_consent(declaration, fields)
    if wrong:
        raise ConfigurationError("; ".join(wrong))
