"""Local paths and their URIs: a `file:///` URI writes a space as `%20`, as `Path.as_uri` does."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from airflow_consent_retl.errors import ConfigurationError

_SCHEME = "file://"


def local_path(uri: str) -> str | None:
    """Return the path of a `file:///` URI; None for any other text.

    Raises:
        ConfigurationError: an escape stands for `/`, `.` or `..`: the path would lead elsewhere.
    """
    if not uri.startswith(f"{_SCHEME}/"):
        return None
    path = PurePosixPath("/")
    for name in uri.removeprefix(_SCHEME).split("/"):
        decoded = unquote(name, errors="surrogateescape")
        if decoded != name and ("/" in decoded or "\0" in decoded or decoded in {".", ".."}):
            raise ConfigurationError(f"the path `{uri}` contains an escape that stands for `/`, `.` or `..`")
        # An earlier release took escapes for a part of the name: what it wrote there stays in use.
        is_kept = decoded != name and Path(path / name).exists() and not Path(path / decoded).exists()
        path /= name if is_kept else decoded
    return str(path)


def local_uri(path: str | Path) -> str:
    """Return the URI of a local path."""
    return Path(path).absolute().as_uri()
