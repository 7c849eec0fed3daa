"""The renderer of `docs/conformance.md` from its cases. `python tests/support/conformance_page.py` writes the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[1] / "cases" / "conformance"
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
_DOCUMENT: dict[str, Any] = json.loads((CASES / "statements.json").read_text())
STATEMENTS: list[dict[str, Any]] = _DOCUMENT["statements"]
TOPICS = ("consent_objects", "categories", "destinations", "integrations", "spelling")

_HEAD = """# Conformance with Segment's consent in Reverse ETL

This page compares Segment's documented rules with this package's defaults. Where this package is stricter, the last
column names the setting that gives Segment's behaviour. The page is generated from `tests/cases/conformance/`. The
tests run every case against this package and against Segment's rules in
`airflow_consent_retl.migration.segment_would_send`.
"""


def page() -> str:
    """Return the page."""
    lines = [_HEAD]
    for topic in TOPICS:
        document = json.loads((CASES / f"{topic}.json").read_text())
        lines += [
            f"## {document['title']}",
            "",
            "| case | Segment | this package | setting for Segment's behaviour |",
            "|---|---|---|---|",
        ]
        lines += [_row(case) for case in document["cases"]]
        lines.append("")
    lines += _statements()
    return "\n".join(lines).rstrip() + "\n"


def _statements() -> list[str]:
    lines = [
        f"## {_DOCUMENT['title']}",
        "",
        "Every statement of the published page about consent in Reverse ETL, and of the draft before it where that",
        f"says something else. The page: <{_DOCUMENT['page']['address']}>, in the repository of its source at",
        f"{_DOCUMENT['page']['commit']}. The draft: [{_DOCUMENT['draft']['commit']}]({_DOCUMENT['draft']['address']}).",
        f"Both were read on {_DOCUMENT['read']}, and are put here in other words. The last column names the tests.",
        "",
    ]
    for of, title in (("page", "The published page"), ("draft", "The draft")):
        lines += [f"### {title}", "", "| Segment | verdict | this package | tests |", "|---|---|---|---|"]
        lines += [_statement(one) for one in STATEMENTS if one["of"] == of]
        lines.append("")
    return lines


def _statement(one: dict[str, Any]) -> str:
    tests = ", ".join(f"`{file}`" for file in dict.fromkeys(node.partition("::")[0] for node in one["tests"]))
    return f"| {one['statement']} | {one['verdict']} | {one['here']} | {tests} |"


def _row(case: dict[str, Any]) -> str:
    reference, ours = case["reference"], case["ours"]
    says = reference["says"] or "Not documented"
    theirs = f"{says} ([source]({case['source']['address']}), read {case['source']['read']})"
    if reference["sends"] is not None:
        theirs += f": **{_names(reference['sends'])}**"
    here = f"refused: {ours['error']}" if "error" in ours else f"**{_names(ours['sends'])}**{_because(ours)}"
    return f"| {case['name']} | {theirs} | {here} | {_setting(case)} |"


def _setting(case: dict[str, Any]) -> str:
    setting = case["setting"]
    if setting is not None:
        return f"{setting['what']}: **{_names(setting['sends'])}**"
    return "the same" if case["reference"]["sends"] == case["ours"].get("sends") else "none"


def _because(ours: dict[str, Any]) -> str:
    codes = sorted({code for codes in ours["reasons"].values() for code in codes})
    return f" ({', '.join(f'`{code}`' for code in codes)})" if codes else ""


def _names(names: list[str]) -> str:
    return ", ".join(names) if names else "no destination"


if __name__ == "__main__":
    PAGE.write_text(page())
