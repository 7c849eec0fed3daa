"""The assets of destinations and of syncs: other DAGs are scheduled on them, and their events carry counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Asset

from airflow_consent_retl.operators.parsed_tasks import is_known


def destination_asset(destination: str) -> Asset:
    """Return the asset of a destination, for `schedule=`: loads and the fast lane of any model update it.

    Args:
        destination: the policy's name of it, such as `webhook` or `google_ads:emea`.
    """
    # Airflow takes an asset with another URI for another one: the name alone has to find it.
    return Asset(f"consent_retl/{destination}")


def sync_asset(model: str, destination: str) -> Asset:
    """Return the asset of one model at one destination, for `schedule=`.

    Args:
        model: the model's name.
        destination: the policy's name of the destination.
    """
    return Asset(f"consent_retl/{model}/{destination}")


def outlets_of(model: object, destination: object) -> list[Asset]:
    """Return the assets that a task updates; none for names that are not known when the DAG is parsed."""
    if not isinstance(destination, str) or not is_known(destination):
        return []
    found = [destination_asset(destination)]
    if isinstance(model, str) and is_known(model):
        found.append(sync_asset(model, destination))
    return found


def note_counts(context: Any, assets: list[Asset], counts: Mapping[str, Any]) -> None:
    """Put counts into the events of assets."""
    events = context.get("outlet_events")
    if events is not None:
        for asset in assets:
            events[asset].extra = dict(counts)
