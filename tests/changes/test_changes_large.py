"""Changes of more rows than one partition holds, against a join by another engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from support.changing import BY_MAIL, FIELDS, Sync, batch_result, people_of

from airflow_consent_retl.changes.results import BatchResult
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.storage.change_set import Changes

ROWS = 300_000


def model(connection: duckdb.DuckDBPyConnection, id_: str, *, now: bool) -> pa.Table:
    """Return rows in no order; each tenth person is another one, or changed, or withdrew."""
    where = "i % 10 != 1 AND i < 300000" if now else "i % 10 != 0 AND i < 300000"
    return connection.sql(
        f"""SELECT {id_} AS id, 'mail' || i AS email, NULL::VARCHAR AS phone,
            CASE WHEN {now} AND i % 10 = 2 THEN 'changed' ELSE 'name' || i % 7 END AS name,
            NOT ({now} AND i % 10 = 3) AS ads_ok
            FROM range(300000) r(i) WHERE {where} ORDER BY hash(i + {now}::INT)"""
    ).to_arrow_table()


def ids_of(changes: Changes) -> tuple[pa.Table, pa.Table]:
    names = pa.chunked_array([some["name"] for _, some in changes.rows_to_send(50_000)], pa.string())
    removals = [pa.table({"id": some.ids, "cause": some.causes}) for some in changes.removals(50_000)]
    return people_of(changes).append_column("name", names), pa.concat_tables(removals)


def all_accepted(rows: int, *, but: int | None = None) -> Iterator[BatchResult]:
    for start in range(0, rows, 10_000):
        count = min(10_000, rows - start)
        exceptions = {} if but is None else {row: Outcome(RowStatus.UNCERTAIN, "x") for row in range(0, count, but)}
        yield batch_result(Outcomes(count, exceptions=exceptions), start=start)


@pytest.mark.parametrize("id_", ["i", "'customer-' || i"], ids=["numbers", "texts"])
@pytest.mark.long
def test_many_rows_end_as_another_engine_finds(tmp_path: Path, id_: str) -> None:
    with duckdb.connect() as connection:
        before, now = model(connection, id_, now=False), model(connection, id_, now=True)
        sync = Sync(tmp_path, FIELDS, BY_MAIL)
        first = sync.changes(before)
        delivered = sync.folded(first, all_accepted(first.manifest.upsert_rows), [])

        changes = delivered.changes(now)
        after = delivered.folded(changes, all_accepted(changes.manifest.upsert_rows, but=100), all_accepted(60_000))
        settled = after.changes(now)

        upserts, removals = ids_of(changes)
        connection.register("before", before)
        connection.register("now", now)
        connection.register("upserts", upserts)
        connection.register("removals", removals)
        expected = """FROM now LEFT JOIN before USING (id) WHERE now.ads_ok AND (before.id IS NULL OR
            (before.name != now.name))"""
        differing = connection.sql(
            f"""SELECT count(*) FROM (
                (SELECT id, before.id IS NOT NULL AS was_delivered, now.name {expected})
                EXCEPT ALL SELECT id, was_delivered, name FROM upserts)"""
        ).fetchall()
        causes = connection.sql("SELECT cause, count(*) FROM removals GROUP BY ALL ORDER BY ALL").fetchall()
        wrong = connection.sql(
            """SELECT count(*) FROM removals LEFT JOIN now USING (id)
            WHERE cause != CASE WHEN now.id IS NULL THEN 'left_model' ELSE 'consent_withdrawn' END"""
        ).fetchall()
    counts = changes.counts
    assert differing == wrong == [(0,)]
    assert (counts.added, counts.updated, counts.unchanged) == (30_000, 30_000, 180_000)
    assert upserts.num_rows == 60_000
    assert causes == [("consent_withdrawn", 30_000), ("left_model", 30_000)]
    # Every hundredth of each batch of 10,000 has to be sent again, and no other row.
    assert (settled.counts.added, settled.counts.updated, settled.counts.unconfirmed) == (0, 600, 600)
    assert settled.manifest.removal_rows == 0
    assert after.state is not None
    buckets = np.concatenate(
        [
            np.asarray(rows["bucket"])
            for rows in after.state.folder.read_rows(after.state.manifest.parts, batch_rows=9_999)
        ]
    )
    assert (np.diff(buckets.astype(np.int64)) >= 0).all()
