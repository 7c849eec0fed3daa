"""Tests of the hooks of the documentation build: a page with something from another host never passes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from griffe import GriffeLoader, load_extensions
from mkdocs.exceptions import PluginError

REPO = Path(__file__).resolve().parents[1]


def hook(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, REPO / "docs" / "site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("index.html", '<script src="https://cdn.example.com/x.js"></script>'),
        ("index.html", '<link rel="stylesheet" href="//fonts.example.com/css">'),
        ("index.html", '<img alt="" src="http://img.example.com/1.png">'),
        ("sheet.css", "body { background: url('https://img.example.com/1.png') }"),
        ("sheet.css", '@import "https://fonts.example.com/css";'),
    ],
)
def test_a_page_that_fetches_from_another_host_fails_the_build(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)

    with pytest.raises(PluginError, match=file):
        hook("own_host").on_post_build(SimpleNamespace(site_dir=str(tmp_path)))


def test_a_link_to_another_host_may_wait_for_a_click(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<a href="https://example.com">there</a><script src="assets/x.js"></script>')

    hook("own_host").on_post_build(SimpleNamespace(site_dir=str(tmp_path)))


@pytest.mark.parametrize(
    ("place", "written", "on_site"),
    [
        ("index.md", "[the policy](docs/policy.md#parts)", "[the policy](policy.md#parts)"),
        ("index.md", "[an example](dags/withdrawals.py)", "[an example](examples/withdrawals.md)"),
        ("dags.md", "[README](../README.md#a-dag)", "[README](index.md#a-dag)"),
        ("adr/0002.md", "[figures](../how-fast.md)", "[figures](../how-fast.md)"),
        ("contributing.md", "[helpers](tests/support/README.md)", "helpers"),
        (
            "dags.md",
            "[a page](https://example.com/x.md) and [a part](#part)",
            "[a page](https://example.com/x.md) and [a part](#part)",
        ),
        ("dags.md", "```\n[x](../README.md)\n```", "```\n[x](../README.md)\n```"),
    ],
)
def test_links_of_the_repository_lead_to_pages_of_the_site(place: str, written: str, on_site: str) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri=place))

    assert hook("outside_pages").on_page_markdown(written, page, None, None) == on_site


def test_the_site_shows_the_parameters_of_options_with_their_defaults() -> None:
    extensions = load_extensions(str(REPO / "docs" / "site" / "parameter_classes.py"))

    package = GriffeLoader(search_paths=[REPO], extensions=extensions).load("airflow_consent_retl")

    options = package["destinations.google_customer_match.customer_match_spec.CustomerMatchSpec"]
    shown = {one.name: str(one.default) for one in options.parameters if one.name != "self"}
    assert shown.pop("audience_id") == "None"
    assert shown["timeout_s"] == "120"
    assert "pace" not in shown
