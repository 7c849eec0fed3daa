"""The list of files that a folder of proofs had: whoever deletes one of them, the newest too, is noticed.

The list is written after the file. Two writers may each miss the other one's file, until the next one is written; no
file that was never there is ever on the list.
"""

from __future__ import annotations

from collections.abc import Collection

from airflow_consent_retl.errors import RefusedError

# No file of proofs has this name: theirs end in `.json`.
KNOWN = "known"


def check_known(names: Collection[str], known: Collection[str], *, place: str) -> None:
    """Refuse a folder that lacks a file of its list.

    Args:
        names: of the files that are there.
        known: from the list.
        place: the folder's URI.

    Raises:
        RefusedError: a file is gone.
    """
    if gone := sorted(set(known).difference(names)):
        raise RefusedError(
            f"{place}/{gone[-1]} does not exist any more: someone deleted this proof. Restore it from a backup"
        )
