"""Temporary files of rows, all of them in one private folder, and the removal of what killed processes left there.

<TMPDIR>/consent-retl-<user id>/<name>/, <name>.lock
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.held_file import abandoned_file, held_file


def private_folder() -> Path:
    """Return the folder of all temporary files of this user, which only this user can read.

    Raises:
        ConfigurationError: it exists, and others can read it or own it.
    """
    folder = Path(tempfile.gettempdir()) / f"consent-retl-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError(
            f"the folder for temporary files {folder} is not private (another owner, or rights for others): remove it, "
            "or set TMPDIR to another folder"
        )
    return folder


@contextmanager
def temporary_folder() -> Iterator[str]:
    """Make a folder, which is removed when the block ends; if the process is killed, the next one removes it."""
    with reserved_folder(private_folder() / uuid.uuid4().hex) as folder:
        folder.mkdir(mode=0o700)
        yield str(folder)


@contextmanager
def reserved_folder(folder: Path) -> Iterator[Path]:
    """Remove a folder in the private one when the block ends, if the block made it, also if the process is killed."""
    sweep_temporary()
    with held_file(folder.with_suffix(".lock")):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def temporary_file() -> IO[bytes]:
    """Return a new file without a name: it is gone with the process."""
    return tempfile.TemporaryFile(dir=private_folder())


def sweep_temporary() -> int:
    """Remove the temporary folders of processes that are dead, and return their number."""
    swept = 0
    for lock in private_folder().glob("*.lock"):
        with abandoned_file(lock) as content:
            if content is not None:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                swept += 1
    return swept
