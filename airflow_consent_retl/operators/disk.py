"""Failures of a disk that a person has to mend: it is full, it cannot be written to, or too many files are open."""

from __future__ import annotations

import errno
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota is used up: raise it, or free some space",
    errno.EFBIG: "the file is larger than allowed: raise the limit on the size of files",
    errno.EROFS: "the disk is mounted for reading only: mount it for writing",
    errno.EACCES: "the worker's user has no right to write there: give it the right, or name another folder",
    errno.EPERM: "the worker's user has no right to write there: give it the right, or name another folder",
    errno.ENOENT: "the folder does not exist and cannot be made: check the path, and whether its disk is mounted",
    errno.ENOTDIR: "a part of the path is a file: name a folder",
    errno.ENAMETOOLONG: "the path is too long: shorten it",
    errno.EMFILE: "too many files are open: raise the limit on open files (ulimit -n)",
    errno.ENFILE: "too many files are open: raise the machine's limit on open files",
}


def in_words(error: OSError) -> str:
    """Return what failed, what a person has to do, and the error's own code."""
    code = errno.errorcode.get(error.errno or 0, type(error).__name__)
    remedy = _REMEDIES.get(error.errno or 0)
    return code if remedy is None else f"{remedy} ({code})"


def disk_failure(error: OSError, *, workspace: str | None) -> str | None:
    """Return what a person has to do, with the places and their free space; None for any other error.

    Args:
        error: what a read or a write raised.
        workspace: the operator's workspace, or None.
    """
    root = _workspace_path(workspace)
    # A single file may be gone because another task removed it: a retry may help.
    is_gone = error.errno == errno.ENOENT and (root is None or Path(root).exists())
    if error.errno not in _REMEDIES or is_gone:
        return None
    file = f" at {error.filename}" if isinstance(error.filename, str) else ""
    places = {"the workspace": root, "temporary files": tempfile.gettempdir()}
    shown = ", ".join(f"{name} {path} ({_free(path)})" for name, path in places.items() if path is not None)
    return f"a file cannot be written or opened{file}: {in_words(error)}. Files go to {shown}"


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
