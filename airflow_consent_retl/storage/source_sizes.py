"""How many rows a model's consent sources had at its last extraction: one that lost too many is no source to rely on.

A source is recognized by its query and subject, otherwise by the column that it brings. Digits of a query do not count,
since dates differ from run to run. The file contains names, digests of SQL and numbers, and no value of a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.errors import ModelError, RefusedError
from airflow_consent_retl.storage.dated_sql import outline

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ExternalConsent
    from airflow_consent_retl.storage.folder import Folder

_NAME = "sizes.json"


@dataclass(frozen=True, slots=True)
class _Size:
    """The rows of one source. `column` is the first one that it brings, `query` the digest of its SQL."""

    column: str
    query: str
    rows: int

    @classmethod
    def of(cls, source: ExternalConsent, rows: int) -> _Size:
        return cls(source.brought[0].casefold(), outline(f"{source.subject} {source.sql}"), rows)

    def likeness(self, other: _Size) -> int:
        return 2 * (self.query == other.query) + (self.column == other.column)


class SourceSizes:
    """The sizes of one model's consent sources. Only sources with a `max_shrink_ratio` have one.

    Args:
        folder: of their file.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._found: list[_Size] = []

    def see(self, number: int, source: ExternalConsent, rows: int) -> None:
        """Compare a source with its size at the last extraction, and note its size.

        Args:
            number: of the source, for messages.
            source: that was read.
            rows: the rows with a subject of a consent source, or the keys of a list.

        Raises:
            ModelError: it lost a larger share of its rows than it may.
            RefusedError: the recorded sizes cannot be read.
        """
        ratio = source.max_shrink_ratio
        if ratio is None:
            return
        size = _Size.of(source, rows)
        earlier = self._earlier(size)
        if earlier is not None and rows < (1 - ratio) * earlier:
            raise ModelError(
                f"consent_sources[{number}]: it has {rows:,} rows with a key, and had {earlier:,} at the model's last "
                f"extraction: more than max_shrink_ratio={ratio} allows. Whoever is missing there could be sent, or "
                f"removed. Check what fills it and its `{source.subject}`; if it may be this short, run the extraction "
                "once with max_shrink_ratio=1"
            )
        self._found.append(size)

    def keep(self, sources: Iterable[ExternalConsent]) -> None:
        """Record the sizes that were noted, once the extraction is published.

        Args:
            sources: all sources of the extraction. What was recorded about them before is replaced.
        """
        present = [_Size.of(source, 0) for source in sources]
        if not present:
            return
        recorded = self._recorded()
        others = [size for size in recorded if not any(map(size.likeness, present))]
        # A query that was read twice, since the rows needed more memory, has its last size.
        sizes = list({(size.column, size.query): size for size in [*others, *self._found]}.values())
        if sizes != recorded:
            self._folder.replace(_NAME, json.dumps([asdict(size) for size in sizes], indent=2).encode())

    def _earlier(self, size: _Size) -> int | None:
        recorded = self._recorded()
        likest = max(map(size.likeness, recorded), default=0)
        return max((one.rows for one in recorded if likest and size.likeness(one) == likest), default=None)

    def _recorded(self) -> list[_Size]:
        if not self._folder.exists(_NAME):
            return []
        try:
            return [_Size(str(size["column"]), str(size["query"]), int(size["rows"])) for size in self._content()]
        except (ValueError, KeyError, TypeError):
            raise RefusedError(
                f"{self._folder.uri}/{_NAME}: not the sizes of consent sources; restore the file, or remove it and "
                "check the size of each source by hand"
            ) from None

    def _content(self) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = json.loads(self._folder.read(_NAME))
        return content
