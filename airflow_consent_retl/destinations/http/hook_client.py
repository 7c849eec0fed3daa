"""The client of another package's Airflow hook, which logs in each time that it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.lookups import connection_named
from airflow_consent_retl.masking import mask_extra

if TYPE_CHECKING:
    from airflow.sdk import Connection


def hook_client(
    module: str, hook: str, arguments: Mapping[str, str], *, vendor: str, extra: str
) -> tuple[Connection, Callable[[], Any]]:
    """Return a connection, whose secrets are masked in logs, and what logs in with it. Contacts nothing.

    Args:
        module: of the hook.
        hook: the name of its class.
        arguments: of the hook; the first one is the connection's id.
        vendor: the name of Airflow's provider, for messages.
        extra: of this package, which installs it.

    Raises:
        ConfigurationError: there is no such connection, or the provider is not installed.
    """
    connection = connection_named(next(iter(arguments.values())))
    mask_extra(connection)
    try:
        hook_class = getattr(import_module(module), hook)
    except ImportError:
        raise ConfigurationError(
            f"Airflow's {vendor} provider is not installed: `pip install 'airflow-consent-retl[{extra}]'`"
        ) from None
    return connection, lambda: hook_class(**arguments).get_conn()
