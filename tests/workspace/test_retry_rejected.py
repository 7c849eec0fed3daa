"""Another try of those whom the destination rejected, with rows in files and in a warehouse."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

from support.warehouse_sync import Sync

from airflow_consent_retl.reports import rejected


def test_a_retry_sends_the_rejected_only_and_removes_as_always(
    syncs: list[Sync], change: Callable[[str], None]
) -> None:
    for sync in syncs:
        change("DELETE FROM customers WHERE substr(id, 2)::integer > 40")
        change("UPDATE customers SET ok = true, email = id || '@x.example'")
        with closing(sqlite3.connect(sync.file)) as crm:
            crm.execute(
                "CREATE TABLE people (id TEXT PRIMARY KEY, email TEXT CHECK (email <> 'bad'), spent, seen TEXT)"
            )
            crm.commit()
        change("UPDATE customers SET email = 'bad' WHERE id IN ('c3', 'c4', 'c5')")
        assert sync.run(max_rejected_ratio=0.5)["rejected"] == 3
        # c5 withdraws, c6 leaves, c7 changes: only c3 and c4 may be sent.
        change("UPDATE customers SET email = id || '@x.example'")
        change("UPDATE customers SET ok = false WHERE id = 'c5'; DELETE FROM customers WHERE id = 'c6'")
        change("UPDATE customers SET email = 'new@x.example' WHERE id = 'c7'")

        counts = sync.run(mode="retry_rejected")

        assert (counts["added"], counts["accepted"], counts["removed"], counts["skipped"]) == (2, 2, 1, 1), sync.kind
        assert counts["permitted"] == counts["unchanged"] + 3
        assert rejected("customers/crm", workspace=sync.workspace).rows == ()
        assert [one[1] for one in sync.people() if one[0] in {"c3", "c7"}] == ["c3@x.example", "c7@x.example"]
        assert sync.run()["updated"] == 1
        change("INSERT INTO customers SELECT 'c6', 'c6@x.example', true")
