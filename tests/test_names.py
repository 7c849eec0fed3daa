"""One name, one thing: a reader who searches for a name finds one file, or the same part of several sides."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "airflow_consent_retl"

# Each folder of a destination or of a database has these parts, and the layer below may have what they share.
OF_DESTINATIONS = {"api", "catalogue", "destination", "operator", "options", "spec"}
OF_DATABASES = {
    "dialect",
    "engine",
    "errors",
    "place",
    "proof",
    "session",
    "source",
    "staging",
    "submitted",
    "table",
    "table_dialect",
    "table_names",
    "types",
}
# The two kinds of workspaces, and vendors with a format, a ready-made reader or a migration.
OF_WORKSPACES = {"files", "warehouse"}
OF_VENDORS = {"onetrust", "segment", "snowplow", "transcend"}
SIDES = {
    **dict.fromkeys(OF_DESTINATIONS, ("destinations", "contract")),
    **dict.fromkeys(OF_DATABASES, ("databases", "errors.py")),
    **dict.fromkeys(OF_WORKSPACES, ("extraction", "filtering", "workspace", "destinations/files")),
    **dict.fromkeys(OF_VENDORS, ("consent/readers", "consent/formats", "migration")),
}


def modules() -> list[Path]:
    return [file.relative_to(PACKAGE) for file in sorted(PACKAGE.rglob("*.py")) if file.name != "__init__.py"]


def test_a_file_name_occurs_once_or_names_the_same_part_of_several_sides() -> None:
    places = defaultdict(list)
    for module in modules():
        places[module.stem].append(module.as_posix())
    strays = {
        name: found
        for name, found in places.items()
        if len(found) > 1 and not all(place.startswith(SIDES.get(name, ("-",))) for place in found)
    }
    assert not strays


@pytest.mark.parametrize("name", sorted(SIDES))
def test_each_name_of_a_side_occurs_at_several_sides(name: str) -> None:
    assert sum(module.stem == name for module in modules()) > 1


def test_no_class_name_occurs_twice() -> None:
    places = defaultdict(list)
    for module in modules():
        for node in ast.parse((PACKAGE / module).read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module.as_posix())
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_the_page_of_the_tests_helpers_has_each_of_them(repo: Path) -> None:
    support = repo / "tests" / "support"
    listed = re.findall(r"^\| `([a-z_]+\.py)` \|", (support / "README.md").read_text("utf-8"), re.MULTILINE)

    assert listed == sorted(file.name for file in support.glob("*.py") if file.name != "__init__.py")
