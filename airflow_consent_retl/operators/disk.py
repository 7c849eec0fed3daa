"""Failures of a disk that a person has to mend: it is full, it cannot be written to, or too many files are open."""

from __future__ import annotations

import errno
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "raise the quota, or free some space",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EROFS: "mount it for writing",
    errno.EACCES: "give the worker's user the right to write",
    errno.EPERM: "give the worker's user the right to write",
    errno.ENOTDIR: "a part of the path is a file: name a folder",
    errno.ENAMETOOLONG: "shorten the path",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "raise the machine's limit on open files",
}


def disk_failure(error: OSError, *, workspace: str | None) -> str | None:
    """Return what a person has to do, with the places and their free space; None for any other error.

    Args:
        error: what a read or a write raised.
        workspace: the operator's workspace, or None.
    """
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is None:
        return None
    file = f" at {error.filename}" if isinstance(error.filename, str) else ""
    places = {"the workspace": _workspace_path(workspace), "temporary files": tempfile.gettempdir()}
    shown = ", ".join(f"{name} {path} ({_free(path)})" for name, path in places.items() if path is not None)
    return (
        f"a file cannot be written or opened{file}: {errno.errorcode[error.errno or 0]}; {remedy}. Files go to {shown}"
    )


def _workspace_path(workspace: str | None) -> str | None:
    from airflow_consent_retl.errors import ConfigurationError
    from airflow_consent_retl.storage.location import open_folder, workspace_root

    with suppress(ConfigurationError):
        root = open_folder(workspace_root(None if (workspace or "").startswith("warehouse:") else workspace))
        return root.path if root.is_local else None
    return None


def _free(path: str) -> str:
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return f"{shutil.disk_usage(place).free >> 20:,} MiB free"
    except OSError:
        return "not readable"
