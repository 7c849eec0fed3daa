"""The operator that loads into a destination that a DAG repository declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_consent_retl.destinations.declared.options import DeclaredHttpSpec, DeclaredSpec
from airflow_consent_retl.errors import OptionsError, Problem
from airflow_consent_retl.operators.spec_load import SpecLoadOperator

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.declared.declaration import DestinationDeclaration


class DeclaredLoadOperator(SpecLoadOperator):
    """A load into a declared destination: its parameters and fields are held against the declaration."""

    spec_class: ClassVar[type[DeclaredSpec]]

    def checked(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Check the fields, and note whether two rows may be one person for the vendor."""
        # Which fields it takes depends on the options.
        if not self.spec_class.wrong_options(own):
            declaration = self.spec_class(**own).declared()
            self.knows_by_identifiers = declaration.people_share
            check_fields(declaration, self.fields)
        return own


class LoadToDeclaredHttpOperator(DeclaredLoadOperator):
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

    spec_class = DeclaredHttpSpec


def check_fields(declaration: DestinationDeclaration, fields: object) -> None:
    """Check the fields of a load when a DAG file is parsed.

    Raises:
        OptionsError: the message names all errors.
    """
    # A template, or the output of a task, is known when the task runs.
    if not isinstance(fields, Mapping):
        return
    # Late: other DAG files need no declaration.
    from airflow_consent_retl.destinations.declared.declaration_checks import wrong_consent, wrong_fields

    wrong = wrong_fields(declaration, [name for name in fields if isinstance(name, str)])
    wrong += wrong_consent(declaration, fields)
    if wrong:
        raise OptionsError([Problem("fields", one) for one in wrong])
