"""How many rows a model's consent sources had at its last extraction: one that lost too many is no source to rely on.

A source is recognized by its query and subject, otherwise by the column that it brings. Digits of a query do not count,
since dates differ from run to run. The file contains names, digests of SQL and numbers, and no value of a row. Records
of filters and the ledger have the sizes too, so a file that was lost or is older is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from airflow_consent_retl.errors import ModelError, RefusedError
from airflow_consent_retl.storage.dated_sql import outline
from airflow_consent_retl.storage.manifest import Document, SourceSize

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ExternalConsent
    from airflow_consent_retl.storage.folder import Folder

LONGEST_CHAIN: Final = 50
_NAME = "sizes.json"
# An earlier release wrote no time: whatever else is known is newer.
_UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class RecordedSizes(Document):
    """The sizes of one model's consent sources at their last extractions."""

    kind: Literal["source_sizes"] = "source_sizes"
    version: Literal[2] = 2
    sizes: tuple[SourceSize, ...]


class SourceSizes:
    """The sizes of one model's consent sources. Only sources with a `max_shrink_ratio` have one.

    Args:
        folder: of their file.
        elsewhere: returns the sizes that records or the ledger have; called only if a source has a limit.
        warn: gets a line for each source whose size is newer there than in the file.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        elsewhere: Callable[[], Iterable[SourceSize]] = tuple,
        warn: Callable[[str], object] = lambda message: None,
    ) -> None:
        self._folder = folder
        self._read_elsewhere = elsewhere
        self._warn = warn
        self._seen: list[SourceSize] = []

    def see(self, number: int, source: ExternalConsent, rows: int) -> None:
        """Compare a source with its size at the last extraction, and note its size.

        Args:
            number: of the source, for messages.
            source: that was read.
            rows: the rows with a subject of a consent source, or the keys of a list.

        Raises:
            ModelError: it lost a larger share of its rows than it may.
            RefusedError: the recorded sizes cannot be read, or someone else wrote them.
        """
        ratio = source.max_shrink_ratio
        if ratio is None:
            return
        size = _size(source, rows)
        earlier = self._earlier(number, size)
        if earlier is not None and rows < (1 - ratio) * earlier.rows:
            raise ModelError(
                f"consent_sources[{number}]: it has {rows:,} rows with a key, and had {earlier.rows:,} at the model's "
                f"last extraction: more than max_shrink_ratio={ratio} allows. Whoever is missing there could be sent, "
                f"or removed. Check what fills it and its `{source.subject}`; if it may be this short, run the "
                "extraction once with max_shrink_ratio=1"
            )
        chain = () if earlier is None else (*earlier.chain, earlier.read_at)[-LONGEST_CHAIN:]
        self._seen.append(size.model_copy(update={"chain": chain}))

    def found(self, read_at: datetime) -> tuple[SourceSize, ...]:
        """Return the sizes that were noted by an extraction at a time."""
        # A query that was read twice, since the rows needed more memory, has its last size.
        found = {(size.column, size.query): size for size in self._seen}
        return tuple(size.model_copy(update={"read_at": read_at}) for size in found.values())

    def keep(self, sources: Iterable[ExternalConsent], *, at: datetime) -> None:
        """Record the sizes that were noted, once the extraction is published.

        Args:
            sources: all sources of the extraction. What was recorded about them before is replaced.
            at: the time of the extraction.
        """
        present = [_size(source, 0) for source in sources]
        if not present:
            return
        recorded = self._recorded()
        # Another run may have read the source later, and ended earlier. A time of the future is that of a wrong clock.
        now = datetime.now(UTC)
        others = [size for size in recorded if at < size.read_at <= now or not any(map(size.likeness, present))]
        later = {(size.column, size.query) for size in others}
        sizes = [*others, *(size for size in self.found(at) if (size.column, size.query) not in later)]
        if sizes != recorded:
            self._folder.put_document(_NAME, RecordedSizes(sizes=tuple(sizes)).to_json())

    @cached_property
    def _elsewhere(self) -> list[SourceSize]:
        return list(self._read_elsewhere())

    def _earlier(self, number: int, size: SourceSize) -> SourceSize | None:
        in_file, known = alike(size, self._recorded()), alike(size, self._elsewhere)
        if known is None or (in_file is not None and known_time(in_file) >= known_time(known)):
            return in_file
        self._warn(
            f"consent_sources[{number}]: {self._folder.uri} does not have its size of {known.read_at:%F %T %Z} "
            f"({known.rows:,} rows): it was emptied, or restored from an older backup. That size counts"
        )
        return known

    def _recorded(self) -> list[SourceSize]:
        if not self._folder.exists(_NAME):
            return []
        content = self._folder.read(_NAME)
        if content.lstrip().startswith(b"["):
            return self._of_earlier_release(content)
        return list(RecordedSizes.from_json(self._folder.read_document(_NAME)).sizes)

    def _of_earlier_release(self, content: bytes) -> list[SourceSize]:
        try:
            listed: list[dict[str, Any]] = json.loads(content)
            return [
                SourceSize(
                    column=str(size["column"]),
                    query=str(size["query"]),
                    rows=int(size["rows"]),
                    max_shrink_ratio=1,
                    read_at=_UNKNOWN_TIME,
                )
                for size in listed
            ]
        except (ValueError, KeyError, TypeError):
            raise RefusedError(
                f"{self._folder.uri}/{_NAME}: not the sizes of consent sources; restore the file, or remove it and "
                "check the size of each source by hand"
            ) from None


def alike(size: SourceSize, others: Iterable[SourceSize]) -> SourceSize | None:
    """Return the size of the source that is most like one of these; of several, the newest, then the largest."""
    found = [(size.likeness(other), known_time(other), other.rows, other) for other in others]
    return max((one for one in found if one[0]), key=lambda one: one[:3], default=(None,))[-1]


def known_time(size: SourceSize) -> datetime:
    """Return the time of a size. One of the future was written under a wrong clock, and comes before all others."""
    return size.read_at if size.read_at <= datetime.now(UTC) else _UNKNOWN_TIME


def _size(source: ExternalConsent, rows: int) -> SourceSize:
    return SourceSize(
        column=source.brought[0].casefold(),
        query=outline(f"{source.subject} {source.sql}"),
        rows=rows,
        max_shrink_ratio=1 if source.max_shrink_ratio is None else source.max_shrink_ratio,
        read_at=_UNKNOWN_TIME,
    )
