"""Lags of withdrawals: the seconds from a person's withdrawal to the destination's confirmation, summed up.

The seconds of single people are not kept. Ranges, each 5 % wider than the one before, count people: so the lags of many
runs are joined, and a median or a percentile of all of them is known to 2.5 %.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

GROWTH: Final = 1.05
_HALF, _MOST = 0.5, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Lags:
    """The lags of some people, in seconds.

    Args:
        people: their number, at least 1.
        median_s: half of the people had no longer lag.
        p95_s: 95 % of the people had no longer lag.
        oldest_s: the longest lag.
        ranges: the number of people by the number of the range: `n` is up to 1.05 to the power of `n`.
    """

    people: int
    median_s: float
    p95_s: float
    oldest_s: float
    ranges: dict[int, int]

    @classmethod
    def of(cls, lags_s: Sequence[float]) -> Lags | None:
        """Sum up the lags of a run, exactly; None without any."""
        if not lags_s:
            return None
        ordered = sorted(lags_s)
        # Late: most readers of lags join what others summed up.
        import statistics

        p95 = ordered[-1] if len(ordered) < 2 else statistics.quantiles(ordered, n=20, method="inclusive")[-1]
        return cls(
            people=len(ordered),
            median_s=statistics.median(ordered),
            p95_s=p95,
            oldest_s=ordered[-1],
            ranges=dict(Counter(map(_range_of, ordered))),
        )

    @classmethod
    def joined(cls, found: Sequence[Lags]) -> Lags | None:
        """Sum up the lags of several runs; None without any."""
        if len(found) < 2:
            return found[0] if found else None
        ranges = dict(found[0].ranges)
        for one in found[1:]:
            # Thousands of runs are joined at a time: `Counter.update` takes twice as long.
            for number, people in one.ranges.items():
                ranges[number] = ranges.get(number, 0) + people
        oldest_s = max(one.oldest_s for one in found)
        return cls(
            people=sum(ranges.values()),
            median_s=min(_quantile(ranges, _HALF), oldest_s),
            p95_s=min(_quantile(ranges, _MOST), oldest_s),
            oldest_s=oldest_s,
            ranges=ranges,
        )

    @classmethod
    def read(cls, text: str) -> Lags:
        """Return what `written` returned."""
        return _DECODER.decode(text)

    @classmethod
    def read_all(cls, texts: str) -> list[Lags]:
        """Return what several calls of `written` returned, with commas between."""
        return _DECODER_OF_SEVERAL.decode(f"[{texts}]")

    def written(self) -> str:
        """Return the lags as JSON."""
        return msgspec.json.encode(self).decode()

    def spread(self) -> Iterator[tuple[float, int]]:
        """Yield the middle of each range, in seconds, with its people, in ascending order."""
        for number in sorted(self.ranges):
            yield _middle(number), self.ranges[number]

    def in_seconds(self) -> dict[str, float]:
        """Return median, 95th percentile and the longest lag."""
        return {"median_s": self.median_s, "p95_s": self.p95_s, "oldest_s": self.oldest_s}


_DECODER: Final = msgspec.json.Decoder(Lags)
_DECODER_OF_SEVERAL: Final = msgspec.json.Decoder(list[Lags])


def _range_of(lag_s: float) -> int:
    return max(math.ceil(math.log(max(lag_s, 1.0), GROWTH)), 0)


def _quantile(ranges: Mapping[int, int], share: float) -> float:
    left = share * sum(ranges.values())
    number = 0
    for number in sorted(ranges):
        left -= ranges[number]
        if left <= 0:
            break
    return _middle(number)


def _middle(number: int) -> float:
    return float(GROWTH ** (number - 0.5)) if number else 1.0
