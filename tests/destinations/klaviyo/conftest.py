"""A server of Klaviyo, which the default connection leads to."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from airflow.sdk import Connection
from support.klaviyo_server import Klaviyo


@pytest.fixture
def klaviyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Klaviyo]:
    """Start the server, and set the connection."""
    with Klaviyo().serving() as server:
        extra = json.dumps({"allow_private": True})
        connection = Connection(
            conn_id="k", conn_type="consentklaviyo", host=server.url, password=server.token, extra=extra
        )
        monkeypatch.setenv("AIRFLOW_CONN_CONSENTKLAVIYO_DEFAULT", connection.as_json())
        yield server
