"""A sync in the warehouse whose ledger was lost is refused, keeps its tables, and goes on after an adoption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.log_lines import task_fails
from support.postgres import Postgres
from support.warehouse_sync import Sync, in_staging

from airflow_consent_retl.hooks.upkeep import adopt


@pytest.mark.parametrize("kind", [0, 1])
def test_a_lost_ledger_is_refused_and_what_the_workspace_has_can_be_adopted(
    syncs: list[Sync], customers: Postgres, change: Callable[[str], None], kind: int
) -> None:
    sync = syncs[kind]
    sync.run()
    delivered = in_staging(customers).count("delivered")
    Path(urlsplit(sync.workspace).path, "ledger.db").unlink()
    change("UPDATE customers SET ok = false WHERE id = 'c1'")

    with task_fails(match="belongs to ledger"):
        sync.run()
    with task_fails(match="belongs to ledger"):
        sync.withdraw()
    assert in_staging(customers).count("delivered") == delivered
    (adopted,) = adopt(workspace=sync.workspace)

    assert (adopted.result, adopted.rows) == ("adopted", 800)
    assert sync.withdraw()["removed"] == 1
    assert "c1" not in {row[0] for row in sync.people()}
    assert sync.run()["unchanged"] == 799
