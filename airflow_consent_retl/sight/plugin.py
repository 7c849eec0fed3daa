"""The plugin of Airflow: the page's entry in the navigation, and its application, which is imported when it is asked.

Airflow imports this module in every process that loads plugins, also where DAG files are parsed: it imports nothing of
the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

from airflow_consent_retl.sight.addresses import PREFIX

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


class ConsentPage:
    """The page's application. Its first request imports and makes it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        from airflow_consent_retl.sight.page.page_app import application

        await application()(scope, receive, send)


class ConsentRetlPlugin(AirflowPlugin):
    """The page about consent, within Airflow: https://airflow.apache.org/docs/apache-airflow/stable/howto/custom-view-plugin.html."""

    name = "consent_retl"
    fastapi_apps: list[Any] = [{"app": ConsentPage(), "url_prefix": PREFIX, "name": "Consent"}]  # noqa: RUF012
    # Relative to Airflow's own address, which may have a path before it.
    external_views: list[Any] = [  # noqa: RUF012
        {
            "name": "Consent",
            "href": f"{PREFIX.removeprefix('/')}/",
            "destination": "nav",
            "category": "browse",
            "url_route": "consent",
        }
    ]
