"""A DAG that is written by hand, in its best form, for `day.py`: masks, everything again each day, no removals.

It reads the columns that it needs, with Arrow where pandas is slow. It keeps no record of what it sent, and takes no
one back.
"""

from __future__ import annotations

import json
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.sdk import DAG, task

if TYPE_CHECKING:
    import pyarrow as pa

HOME = os.environ["DAY_HOME"]
MODEL = f"{HOME}/by-hand.parquet"
REQUEST_ROWS, CONNECTIONS = 1_000, 8
WEBHOOK = {"id": "user_id", "email": "email", "country": "country", "orders": "orders"}
TABLE = {"id": "user_id", "email": "email", "first_name": "first_name", "last_name": "last_name", "phone": "phone"}
LAKE = {"id": "user_id", "country": "country", "orders": "orders", "updated_at": "updated_at"}


def permitted(fields: dict[str, str], *consent: str) -> pa.Table:
    """Return the rows whose people said yes to all categories, with the destination's names."""
    from functools import reduce

    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows = pq.read_table(MODEL, columns=[*fields.values(), *consent])
    mask = reduce(pc.and_, (pc.fill_null(rows.column(name), False) for name in consent))
    return rows.filter(mask).select(list(fields.values())).rename_columns(list(fields))


with DAG("day_by_hand", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False) as dag:

    @task
    def extract() -> None:
        import duckdb

        with duckdb.connect(f"{HOME}/warehouse.duckdb", read_only=True) as warehouse:
            warehouse.execute(f"COPY (SELECT * FROM customers) TO '{MODEL}' (FORMAT parquet)")

    @task
    def load_webhook() -> None:
        from threading import local

        import requests

        rows = permitted(WEBHOOK, "c0", "c1")
        sessions = local()

        def send(start: int) -> None:
            if not hasattr(sessions, "session"):
                sessions.session = requests.Session()
            body = json.dumps({"rows": rows.slice(start, REQUEST_ROWS).to_pylist()})
            answer = sessions.session.post(
                f"http://127.0.0.1:{os.environ['DAY_PORT']}/v1/people",
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=30,
            )
            answer.raise_for_status()

        with ThreadPoolExecutor(CONNECTIONS) as threads:
            list(threads.map(send, range(0, len(rows), REQUEST_ROWS)))

    @task
    def load_table() -> None:
        rows = permitted(TABLE, "c2")
        values = zip(*(column.to_pylist() for column in rows.columns), strict=True)
        names, marks = ", ".join(TABLE), ", ".join("?" * len(TABLE))
        changes = ", ".join(f"{name} = excluded.{name}" for name in TABLE if name != "id")
        with closing(sqlite3.connect(f"{HOME}/by-hand.sqlite")) as crm:
            crm.execute(
                "CREATE TABLE IF NOT EXISTS people "
                "(id BIGINT PRIMARY KEY, email TEXT, first_name TEXT, last_name TEXT, phone TEXT)"
            )
            crm.executemany(
                f"INSERT INTO people ({names}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {changes}",
                values,
            )
            crm.commit()

    @task
    def load_lake() -> None:
        import pyarrow.parquet as pq

        pq.write_table(permitted(LAKE, "c3"), f"{HOME}/by-hand-lake.parquet")

    extract() >> load_webhook() >> load_table() >> load_lake()
