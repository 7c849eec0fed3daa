"""The page on troubleshooting quotes messages that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PAGE = (REPO / "docs" / "troubleshooting.md").read_text()
QUOTED = [quoted.strip() for quoted in re.findall(r"^\| ``(.+?)`` \|", PAGE, re.MULTILINE)]


@cache
def messages() -> list[str]:
    """Return every text of the package, with `…` in the place of each value."""
    texts = []
    for file in (REPO / "airflow_consent_retl").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"%[sd]", "…", node.value))
    return texts


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_message_of_the_page_exists_in_the_code(quoted: str) -> None:
    assert any(quoted in message for message in messages())


def test_the_page_quotes_many() -> None:
    assert len(QUOTED) > 30
