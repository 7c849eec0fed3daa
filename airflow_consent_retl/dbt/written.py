"""Files of ours in a dbt project: each has a heading, and a file without it is never overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from airflow_consent_retl.errors import ConfigurationError

HEADING = "Written by consent-retl"
State = Literal["new", "changed", "unchanged", "removed"]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file in a dbt project: its path, and how its text relates to what was there."""

    path: str
    state: State


def write_files(texts: Mapping[Path, str], *, stale: tuple[Path, ...] = (), dry_run: bool = False) -> list[WrittenFile]:
    """Write files, all of them or none, and remove files that are not written any more.

    Args:
        texts: by path.
        stale: files of ours that may be there from an earlier time; those without a text are removed.
        dry_run: change nothing.

    Raises:
        ConfigurationError: one of the files is there and is not ours, or cannot be written.
    """
    gone = [path for path in stale if path not in texts and _text_of(path) is not None]
    known = {path: _text_of(path) for path in (*texts, *gone)}
    foreign = [str(path) for path, text in known.items() if text is not None and not _is_ours(text)]
    if foreign:
        raise ConfigurationError(
            f"{foreign[0]} exists and was not written by this command: it is left as it is. Name another file"
        )
    found = [WrittenFile(str(path), _state(known[path], text)) for path, text in sorted(texts.items())]
    found += [WrittenFile(str(path), "removed") for path in sorted(gone)]
    if not dry_run:
        try:
            for path, text in texts.items():
                if known[path] != text:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)
            for path in gone:
                path.unlink()
        except OSError as error:
            raise ConfigurationError(f"{error.filename} cannot be written: {error.strerror}") from None
    return found


def _state(before: str | None, after: str) -> State:
    return "new" if before is None else "unchanged" if before == after else "changed"


def _is_ours(text: str) -> bool:
    return HEADING in text.partition("\n")[0]


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise ConfigurationError(f"{path} cannot be read") from None
