"""One stage of a sync in a process of its own, whose memory has a hard limit.

    python -m support.limited_stage STAGE FOLDER [CGROUP]

The limit is that of a memory cgroup, which counts what a container's limit counts: memory that the process touched, and
files in memory that cannot be dropped. `RLIMIT_AS` and `RLIMIT_DATA` count memory that Arrow and DuckDB only reserve:
a stage that touches 350 MiB has 1,400 MiB of it. The output of a stage is a file of JSON in the folder.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

POLICY = {
    "unmapped_destinations": "deny",
    "categories": [
        {"id": "C0", "name": "Analytics", "destinations": ["webhook"]},
        {"id": "C1", "name": "Advertising", "destinations": ["webhook", "crm"]},
        {"id": "C2", "name": "Research", "destinations": ["lake"]},
    ],
}
CONSENT = {"C0": "c0", "C1": "c1", "C2": "c2"}
MODEL: dict[str, Any] = {
    "model": "customers",
    "conn_id": "warehouse",
    "sql": "SELECT * FROM customers",
    "primary_key": "user_id",
}
FIELDS = {"id": "user_id", "email": "email", "country": "country", "orders": "orders"}


def stage_of(name: str, folder: Path) -> Any:
    """Return the task of a stage, with the output of the stage before it."""
    from functools import partial

    from airflow_consent_retl import operators

    loads: dict[str, Any] = {
        "webhook": partial(operators.LoadToWebhookOperator, conn_id="vendor", endpoint="/v1/people", answer="status"),
        "crm": partial(operators.LoadToSqlTableOperator, conn_id="crm", table="people"),
        "lake": partial(operators.LoadToFilesOperator, path=(folder / "lake").as_uri()),
    }
    loads = {destination: partial(load, fields=FIELDS, policy=POLICY) for destination, load in loads.items()}

    def output(before: str) -> Any:
        return json.loads((folder / f"{before}.json").read_text())

    if name == "extract":
        return operators.ExtractModelOperator(task_id=name, **MODEL)
    if name == "consent":
        return operators.ConsentFilterOperator(
            task_id=name, snapshot=output("extract"), policy=POLICY, consent=CONSENT, destinations=list(loads)
        )
    if name == "withdraw":
        taken = {destination: partial(load.func, **load.keywords) for destination, load in loads.items()}
        for load in taken.values():
            load.keywords.pop("policy")
        return operators.PropagateWithdrawalsOperator(
            task_id=name, policy=POLICY, consent=CONSENT, loads=taken, max_removed_ratio=None, **MODEL
        )
    return loads[name](task_id=name, permitted=output("consent"), destination=name)


def main() -> None:
    """Run a stage under the limit, and write its output and its memory."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    if len(sys.argv) > 3:
        (Path(sys.argv[3]) / "cgroup.procs").write_text(str(os.getpid()))
    returned = stage_of(name, folder).execute({})
    (folder / f"{name}.json").write_text(json.dumps(returned))
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    shown = {line[0].rstrip(":"): int(line[1]) >> 10 for line in lines if line[0] in _SHOWN}
    sys.stdout.write(json.dumps(shown) + "\n")


_SHOWN = {"VmHWM:", "RssAnon:", "RssFile:"}

if __name__ == "__main__":
    main()
