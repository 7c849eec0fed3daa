"""Pages and the tree agree: every link leads somewhere, every path exists, the layers are those that are checked."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from airflow_consent_retl import consent
from airflow_consent_retl.operators.face import MODULES

REPO = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
# In an example for people who add something, this name stands for theirs.
_EXAMPLE = "acme"
_PATH = re.compile(r"`((?:airflow_consent_retl|tests|docs|dags|benchmarks)/[\w./*-]*)`")


def pages() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=REPO, check=True, capture_output=True, text=True)
    return [REPO / name for name in listed.stdout.splitlines()]


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPO)))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text()):
        found = page if not target else (page.parent / target).resolve()
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPO)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    for path in _PATH.findall(page.read_text()):
        if _EXAMPLE not in path:
            assert (REPO / path).exists(), path


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPO)))
def test_every_name_that_an_example_imports_from_the_package_exists(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        # An example may leave something out; its imports are whole.
        for line in re.findall(r"^from airflow_consent_retl.*? import (?:\([^)]*\)|.*)$", block, re.MULTILINE):
            exec(line, {})  # noqa: S102 - the pages are this repository's own


def test_every_operator_and_every_format_is_described_on_a_page_of_the_site() -> None:
    described = {name for page in pages() for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)}
    offered = {f"{module}.{name}" for name, module in MODULES.items()}
    formats = {
        f"{value.__module__}.{name}"
        for name, value in ((name, getattr(consent, name)) for name in consent.__all__)
        if getattr(value, "__module__", "").startswith("airflow_consent_retl.consent.formats")
        and isinstance(value, type)
    }

    assert offered | formats <= described


def test_the_page_on_architecture_shows_the_layers_that_are_checked() -> None:
    settings = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["importlinter"]
    (checked,) = [contract for contract in settings["contracts"] if contract["id"] == "layers"]
    page = (REPO / "docs" / "architecture.md").read_text()
    shown = page.partition("## The layers")[2].partition("```")[2].partition("```")[0]

    layers = [re.split(r"\s{3,}", line.strip())[0] for line in shown.splitlines() if line.strip()]

    # What Airflow reads about the package is no layer for people.
    assert layers == [layer.replace(" | get_provider_info", "") for layer in checked["layers"]]
    assert "ignore_imports" not in checked
