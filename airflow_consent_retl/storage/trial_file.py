"""The proof that a folder can be written to: a file that is written there and removed at once."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fsspec.implementations.local import LocalFileSystem

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_PREFIX: Final = ".consent-retl-trial-"
_CONTENT: Final = b"trial"


def write_trial_file(fs: AbstractFileSystem, path: str) -> None:
    """Write a file into a folder and remove it. No folder is made.

    Where a local folder is missing, the file is written into the one in which it would be made.

    Args:
        fs: the storage, with its credentials.
        path: the folder, as `fs` spells it.

    Raises:
        OSError: it cannot be written to.
    """
    if isinstance(fs, LocalFileSystem):
        with tempfile.NamedTemporaryFile(dir=_nearest(Path(path)), prefix=_PREFIX) as file:
            file.write(_CONTENT)
        return
    file_path = f"{path.rstrip('/')}/{_PREFIX}{uuid.uuid4().hex}"
    fs.pipe_file(file_path, _CONTENT)
    fs.rm_file(file_path)


def _nearest(path: Path) -> Path:
    """Return the folder, or the nearest one above it that is there; raise where it cannot be seen."""
    for place in (path, *path.parents):
        try:
            place.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        return place
    return path
