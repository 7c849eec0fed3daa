"""HTML reports of runs, as they lie in the folder `reports` of a workspace. No other file is read."""

from __future__ import annotations

from pathlib import Path

from airflow_consent_retl.storage.location import report_file


def written_report(dag_id: str, run_id: str, *, workspace: str | None = None) -> bytes | None:
    """Return the report of a run; None: there is none in the workspace's own folder.

    Args:
        dag_id, run_id: of the run. Whatever they are, the file has a name within the folder.
        workspace: as for the loads.
    """
    folder, name = report_file(workspace, dag_id, run_id)
    if not folder.exists(name) or (folder.is_local and _leads_away(folder.path, name)):
        return None
    return folder.read(name)


def _leads_away(folder: str, name: str) -> bool:
    """Return whether the file, or the folder of its DAG, is a link: a report is written as a file."""
    file = Path(folder) / name
    return file.is_symlink() or file.parent.is_symlink() or not file.is_file()
