"""The report: one HTML file about a period, some syncs or one run, that needs no server and asks no other host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.ledgers import open_ledger, unserved_days
from airflow_consent_retl.sight.report_figures import ReportScope
from airflow_consent_retl.sight.report_gathering import gathered
from airflow_consent_retl.sight.report_view import view_of
from airflow_consent_retl.sight.templating import environment
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.location import open_folder, policy_archive, report_file
from airflow_consent_retl.storage.manifest import sha256_hex

if TYPE_CHECKING:
    from jinja2 import Template

    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.sight.report_figures import ReportFigures

DAYS: Final = 30
"""The days of a report without another period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenReport:
    """A report that was written.

    Args:
        report: its path, or its URI.
        sha256: of the file.
        figures_sha256: of its figures: reports of the same records have the same one.
        since, until: its period.
        syncs: the names of its syncs.
        runs: their number.
        alerts: how many matters need attention.
    """

    report: str
    sha256: str
    figures_sha256: str
    since: datetime
    until: datetime
    syncs: Sequence[str]
    runs: int
    alerts: int


def report(
    to: str | Path | None = None,
    *,
    syncs: Sequence[str] = (),
    dag: str = "",
    run: str = "",
    days: int = DAYS,
    since: datetime | None = None,
    until: datetime | None = None,
    workspace: str | None = None,
    ledger_conn_id: str | None = None,
) -> WrittenReport:
    """Write a report, and return where it is. A file that is there already is replaced.

    Args:
        to: a path or a URI of object storage, which ends in `.html`; None: in the folder `reports` of the workspace.
        syncs: the names of the syncs, such as `customers/webhook`; none: all.
        dag, run: the ids of one run of a DAG, in place of a period; its syncs are all that it served, or those named.
        days: the length of the period, up to its end.
        since: the first time of the period, in place of `days`.
        until: the first time after it; None: now.
        workspace, ledger_conn_id: as for the loads.

    Raises:
        ConfigurationError: the ledger knows no such sync or run, the period is empty, or nothing can be written there.
        RefusedError: the archive of policies was changed.
        LedgerUnavailableError: try again.
    """
    if bool(dag) != bool(run):
        raise ConfigurationError("a run is named by the ids of its DAG and of itself: give both, or neither")
    with open_ledger(workspace, ledger_conn_id) as ledger:
        scope = _scope(ledger, tuple(syncs), dag, run, days=days, since=since, until=until)
        figures = gathered(ledger, scope, policy_archive(), unserved_days=unserved_days())
    view, digest = view_of(figures), figures_sha256(figures)
    page = _template().render(**view, figures_sha256=digest).encode()
    folder, name = _place(to, workspace, scope)
    try:
        folder.replace(name, page)
    except OSError as error:
        raise ConfigurationError(f"the report cannot be written to {folder.uri}/{name}: {error.strerror}") from None
    return WrittenReport(
        report=folder.file_path(name) if folder.is_local else f"{folder.uri}/{name}",
        sha256=sha256_hex(page),
        figures_sha256=digest,
        since=scope.since,
        until=scope.until,
        syncs=[one.sync for one in figures.syncs],
        runs=figures.runs,
        alerts=len(view["alerts"]),
    )


@cache
def _template() -> Template:
    return environment().get_template("report.html")


def is_recorded(dag: str, run: str, *, workspace: str | None = None, ledger_conn_id: str | None = None) -> bool:
    """Return whether the ledger has something of a run of a DAG; arguments as for `report`."""
    with open_ledger(workspace, ledger_conn_id) as ledger, ledger.history() as history:
        return bool(history.of_task(dag, run))


def figures_sha256(figures: ReportFigures) -> str:
    """Return the digest of a report's figures."""
    return sha256_hex(json.dumps(msgspec.to_builtins(figures, str_keys=True), sort_keys=True).encode())


def _scope(
    ledger: Ledger,
    syncs: tuple[str, ...],
    dag: str,
    run: str,
    *,
    days: int,
    since: datetime | None,
    until: datetime | None,
) -> ReportScope:
    if run:
        with ledger.history() as history:
            found = history.of_task(dag, run)
        if not found:
            raise ConfigurationError(
                f"the ledger has no run `{run}` of DAG `{dag}`: it records a run when a load or a removal ends"
            )
        ended_at = max(one.ended_at for one in found)
        return ReportScope(
            since=min(one.began_at for one in found),
            until=ended_at + timedelta(microseconds=1),
            syncs=syncs,
            dag=dag,
            run=run,
        )
    end = until or datetime.now(UTC)
    first = since or end - timedelta(days=days)
    if first.utcoffset() is None or end.utcoffset() is None:
        raise ConfigurationError("since, until: a time needs a time zone, as in 2026-11-28T00:00:00+00:00")
    if first >= end:
        raise ConfigurationError(f"the period is empty: it begins at {first:%F %T %Z} and ends at {end:%F %T %Z}")
    return ReportScope(since=first, until=end, syncs=syncs)


def _place(to: str | Path | None, workspace: str | None, scope: ReportScope) -> tuple[Folder, str]:
    if to is None:
        if scope.is_run:
            return report_file(workspace, scope.dag, scope.run)
        return report_file(workspace, "+".join(scope.syncs) or "all_syncs", f"{scope.until:%Y%m%dt%H%M%S}")
    place, _, name = str(to).rpartition("/")
    if not name.endswith(".html"):
        raise ConfigurationError(f"a report is an HTML file: `{to}` does not end in `.html`")
    if "://" in str(to):
        return open_folder(place), name
    return Folder.local(Path(str(to)).absolute().parent), name
