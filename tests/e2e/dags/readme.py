"""The unchanged DAGs of README and of the pages that name them `dag`, for Airflow to find."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TEXT = "\n".join(page.read_text() for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))))

for block in re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE):
    if "with DAG(" in block and " as dag:" in block:
        names: dict[str, object] = {"__file__": __file__, "__name__": __name__}
        exec(compile(block, __file__, "exec"), names)  # noqa: S102 - the blocks are this repository's own
        globals()[f"{names['dag'].dag_id}_dag"] = names["dag"]  # type: ignore[attr-defined]
