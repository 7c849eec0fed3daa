"""The report in a real Chromium: readable and usable in light and dark, on wide and narrow screens, and on paper."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from support.browser import NARROW_LIGHT, SCREENS, WIDE_DARK, WIDE_LIGHT, Chromium, Screen
from support.reported import END, some_weeks

from airflow_consent_retl.sight.report_file import report

KINDS = ("all", "sync", "run", "empty")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Return the addresses of reports about everything, one sync, one run, and a time without any run."""
    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", f"file://{folder}/workspace")
        some_weeks()
        run = f"scheduled__{END - timedelta(days=1):%FT%T}"
        report(folder / "all.html", until=END)
        report(folder / "sync.html", syncs=["customers/crm"], until=END, days=400)
        report(folder / "run.html", dag="customers", run=run)
        report(folder / "empty.html", until=END - timedelta(days=300))
    return {kind: (folder / f"{kind}.html").as_uri() for kind in KINDS}


# Each report on one screen, and the largest one on all of them.
@pytest.mark.parametrize(
    ("kind", "screen"),
    [*(("all", screen) for screen in SCREENS), ("sync", WIDE_DARK), ("run", NARROW_LIGHT), ("empty", WIDE_LIGHT)],
    ids=str,
)
def test_a_report_is_sound(chromium: Chromium, reports: Mapping[str, str], kind: str, screen: Screen) -> None:
    with chromium.open(reports[kind], screen=screen) as opened:
        opened.assert_sound(f"report-{kind}")

        assert opened.requests == [reports[kind]]


def test_the_figures_of_a_chart_are_there_as_a_table_by_the_keyboard(
    chromium: Chromium, reports: Mapping[str, str]
) -> None:
    with chromium.open(reports["sync"]) as opened:
        figures = opened.page.get_by_text("Sent, by week: the figures")
        figures.focus()
        opened.page.keyboard.press("Enter")

        table = opened.page.get_by_role("group", name="Sent, by week, as a table")
        assert table.is_visible()
        assert "accepted" in table.inner_text()


def test_a_printed_report_is_light_and_nothing_is_cut_off(
    chromium: Chromium, reports: Mapping[str, str], tmp_path: Path
) -> None:
    with chromium.open(reports["all"], screen=WIDE_DARK) as opened:
        # The inner width of A4 with the margins of the report, in CSS pixels.
        opened.page.set_viewport_size({"width": 695, "height": 1000})
        opened.page.emulate_media(media="print", color_scheme="dark")

        assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert opened.page.evaluate("getComputedStyle(document.body).color") == "rgb(23, 32, 43)"
        cut = opened.page.evaluate(
            "[...document.querySelectorAll('.scroll')].filter(e => e.offsetParent && e.scrollWidth > innerWidth)"
            ".map(e => e.getAttribute('aria-label'))"
        )
        assert cut == []
        opened.keep("report-print")
        pdf = opened.page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
        assert pdf.startswith(b"%PDF")
