"""Loads of a workspace into vendors in memory, and the rows that these received."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from parity.accounts import REMOVAL_ORDER, Done
from parity.recorder import LoadToVendor, Vendor
from parity.rounds import Round, Script
from parity.workspaces import MODEL, Workspace

from airflow_consent_retl.operators import PropagateWithdrawalsOperator

_COUNTS = ("added", "updated", "unchanged", "skipped", "accepted", "removed")


@dataclass
class Sync:
    """The deliveries of one workspace, with a separate vendor for each destination."""

    workspace: Workspace
    script: Script
    vendors: dict[str, Vendor] = field(default_factory=lambda: defaultdict(Vendor))

    def load(self, round_: Round, permitted: dict[str, Any], destination: str) -> tuple[dict[str, Any], Done]:
        """Load one destination, and return the operator's output and the vendor's result."""
        vendor = self.vendors[destination]
        vendor.begin()
        output = self.workspace.carry_out(
            LoadToVendor(
                task_id=f"load_{destination}",
                vendor=vendor,
                permitted=permitted,
                destination=destination,
                fields=self.script.sent[destination],
                policy=round_.setup.policy,
                mode=self.script.modes[destination],
                # Every run of these tests removes many people.
                max_removed_ratio=None,
            )
        )
        assert vendor.twice == []
        return output, self._done(output, destination)

    def withdraw(self, round_: Round, destination: str, *, table: str) -> tuple[dict[str, Any], Done]:
        """Remove the people who withdrew from one destination, without a load."""
        vendor = self.vendors[destination]
        vendor.begin()
        engine = self.workspace.engine
        load = partial(LoadToVendor, vendor=vendor, fields=self.script.sent[destination])
        output = self.workspace.carry_out(
            PropagateWithdrawalsOperator(
                task_id="withdrawals",
                model=MODEL,
                conn_id=engine.conn_id,
                sql=engine.query(table, round_.model.kinds),
                primary_key="id",
                policy=round_.setup.policy,
                consent=round_.setup.consent,
                loads={destination: load},
                max_removed_ratio=None,
            )
        )[destination]
        return output, self._done(dict.fromkeys(_COUNTS, 0) | output, destination)

    def _done(self, output: Mapping[str, Any], destination: str) -> Done:
        vendor = self.vendors[destination]
        counts = {name: output[name] for name in _COUNTS}
        causes = {why: rows for why, rows in sorted(output["removals_by_cause"].items()) if rows}
        return Done(
            counts={**counts, "removals_by_cause": causes},
            sent=frozenset(vendor.sent),
            removed=_by_cause(vendor.removed, causes),
            people=frozenset(vendor.people),
        )


def _by_cause(ids: Sequence[Any], by_cause: Mapping[str, int]) -> dict[str, frozenset[Any]]:
    """Return removals by cause. They are sent in the order of the causes."""
    found: dict[str, frozenset[Any]] = {}
    start = 0
    for why in REMOVAL_ORDER:
        if times := by_cause.get(why, 0):
            found[why] = frozenset(ids[start : start + times])
            start += times
    assert start == len(ids), "more was removed than has a cause"
    return found
