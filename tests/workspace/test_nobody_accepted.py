"""A delivered state without any entry does not decide the type of the ids that come later."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from support.log_lines import task_fails
from support.warehouse_sync import Sync


@pytest.mark.long
def test_integer_ids_follow_a_load_of_which_the_destination_accepted_no_one(
    syncs: list[Sync], change: Callable[[str], None]
) -> None:
    change("ALTER TABLE customers ALTER id TYPE integer USING substr(id, 2)::integer")
    for sync in syncs:
        with closing(sqlite3.connect(sync.file)) as crm:
            crm.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT CHECK (email = ''), spent, seen TEXT)")
            crm.commit()
        with task_fails():
            sync.run()
        with closing(sqlite3.connect(sync.file)) as crm:
            crm.execute("DROP TABLE people")
            crm.commit()

        counts = sync.run()

        assert counts["added"] == counts["accepted"] == counts["permitted"] > 0
        assert sync.run()["unchanged"] == counts["permitted"]
