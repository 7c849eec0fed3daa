"""README's DAGs, as they stand there, for Airflow to find."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[3] / "README.md"

for block in re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE):
    if "with DAG(" in block:
        names: dict[str, object] = {"__file__": __file__, "__name__": __name__}
        exec(compile(block, __file__, "exec"), names)  # noqa: S102 - the blocks are this repository's own
        globals()[f"{names['dag'].dag_id}_dag"] = names["dag"]  # type: ignore[attr-defined]
