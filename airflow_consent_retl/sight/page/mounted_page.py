"""The application as Airflow's API server mounts it: while the server starts, it prepares the page.

Without that, the first reader would wait for a second or two, until everything is imported that a page needs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING

from fastapi import FastAPI

from airflow_consent_retl.compat import conf
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.known_workspaces import known_workspaces

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


class MountedPage(FastAPI):
    """The page. It is a `FastAPI`, because Airflow tells no other kind of application that the server starts."""

    def __init__(self) -> None:
        super().__init__(lifespan=_prepared, docs_url=None, redoc_url=None, openapi_url=None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        from airflow_consent_retl.sight.page.page_app import application

        await application()(scope, receive, send)


@asynccontextmanager
async def _prepared(_: FastAPI) -> AsyncIterator[None]:
    # The server does not wait for it, and starts without the page if it fails.
    Thread(target=_prepare, name="consent page").start()
    yield


def _prepare() -> None:
    """Import what the pages need, also what they import late. Nothing is opened, and nothing is asked."""
    import airflow_consent_retl.consent.policy_words
    import airflow_consent_retl.hooks.audit_log
    import airflow_consent_retl.storage.policy_archive  # noqa: F401
    from airflow_consent_retl.sight.page.page_app import application
    from airflow_consent_retl.sight.page.page_rendering import read_templates

    application()
    read_templates()
    if _has_ledger_connection():
        # With its driver. Where it is not installed, the page says so.
        with suppress(ImportError):
            import airflow.providers.postgres.hooks.postgres  # noqa: F401
    # Airflow's own tables, which otherwise its first request with a database prepares.
    from sqlalchemy.orm import configure_mappers

    configure_mappers()


def _has_ledger_connection() -> bool:
    if conf.get("consent_retl", "ledger_conn_id", fallback=None):
        return True
    with suppress(ConfigurationError):
        return any(one.ledger_conn_id for one in known_workspaces().values())
    return False
