"""The plugin of Airflow: the page's entry in the navigation, and its application, which only the API server asks for.

Airflow imports this module in every process that loads plugins, also where DAG files are parsed: it imports nothing of
the page.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_consent_retl.sight.addresses import PREFIX


class ConsentRetlPlugin(AirflowPlugin):
    """The page about consent, within Airflow: https://airflow.apache.org/docs/apache-airflow/stable/howto/custom-view-plugin.html."""

    name = "consent_retl"
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

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The page's application, made when it is asked for: it imports FastAPI."""
        from airflow_consent_retl.sight.page.mounted_page import MountedPage

        return [{"app": MountedPage(), "url_prefix": PREFIX, "name": "Consent"}]
