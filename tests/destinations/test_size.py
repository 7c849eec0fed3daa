"""The size of destinations: one costs at most 250 lines of its own, and what several share names no vendor."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from airflow_consent_retl import destinations
from airflow_consent_retl.destinations.http.vendors import vendors

PACKAGE = Path(destinations.__file__).parent
FOLDERS = {place.parent.name: place.parent for place in PACKAGE.glob("*/__init__.py")}
MOST = 250
# What two destinations of one vendor share, where it has more lines. INVARIANT: this number only falls.
SHARED_BY_A_VENDOR = {"data_manager": 545}
# The data of declared destinations. INVARIANT: these numbers only fall.
DECLARED = {"customerio": 36, "iterable": 40}
# No vendors: two forms of storage, and the kit with which others are written.
NO_VENDORS = {"declared", "files", "http", "sql_table"}
_NOTHING = {
    tokenize.COMMENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.INDENT, tokenize.NEWLINE, tokenize.NL,
}  # fmt: skip


def own_lines(source: str) -> int:
    """Return the number of lines with code: no empty ones, imports, docstrings or comments."""
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
                left_out.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                left_out.add(node.lineno)
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NOTHING:
            found.update(range(token.start[0], token.end[0] + 1))
    return len(found - left_out)


def sizes(folder: Path) -> dict[str, int]:
    """Return the size of each file of a folder. The entry of the catalogue is text for people."""
    return {one.name: own_lines(one.read_text()) for one in sorted(folder.glob("*.py")) if one.name != "catalogue.py"}


@pytest.mark.parametrize("name", sorted(FOLDERS.keys() - NO_VENDORS))
def test_a_destination_costs_few_lines_of_its_own(name: str) -> None:
    found = sizes(FOLDERS[name])
    print(f"{name}: {sum(found.values())} lines", found)  # noqa: T201 - pytest shows it with `-rP`

    assert sum(found.values()) <= SHARED_BY_A_VENDOR.get(name, MOST)


def test_a_small_destination_costs_forty_lines() -> None:
    assert own_lines((Path(__file__).parent / "http" / "acme_crm.py").read_text()) <= 40


@pytest.mark.parametrize(("name", "most"), DECLARED.items())
def test_a_declared_destination_is_little_data(name: str, most: int) -> None:
    assert own_lines((FOLDERS[name] / f"{name}_requests.py").read_text()) <= most


@pytest.mark.parametrize("folder", ["declared", "http"])
def test_what_all_destinations_share_names_no_vendor(folder: str) -> None:
    # The connections of these are those of other packages.
    names = {one.name for one in vendors()} | {"Data Manager", "Salesforce"}
    named = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in names))
    # `collections.abc` has an `Iterable` too.
    shared = {one.name: one.read_text().replace("Iterable", "") for one in FOLDERS[folder].glob("*.py")}

    assert [name for name, text in shared.items() if named.search(text)] == []


def test_only_code_is_counted() -> None:
    source = '''"""A module."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import (
        Sequence,
    )


# A reason.
def half(
    number: int,
) -> Sequence[int]:
    """Return half."""
    text = """
    """

    return [number // 2, len(text)]
'''

    assert own_lines(source) == 6
