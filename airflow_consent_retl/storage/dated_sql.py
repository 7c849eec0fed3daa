"""The dates that SQL is bound to: SQL of two runs that differs in dates only has one shape and two dates. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_consent_retl.storage.manifest import sha256_hex

# `2026-11-26`, `2026-11-26T01:30:00`, `2026-11-26 01:30`, `20261126`, `20261126T013000`, as Airflow's templates write
# them.
_DATE = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<dash>-?)(?P<month>0[1-9]|1[0-2])(?P=dash)(?P<day>0[1-9]|[12]\d|3[01])"
    r"(?:[T ](?P<hour>[01]\d|2[0-3]):?(?P<minute>[0-5]\d)(?::?(?P<second>[0-5]\d)(?:\.\d+)?)?"
    r"(?:Z|[+-]\d\d:?\d\d)?)?(?!\d)"
)
_DIGITS = re.compile(r"\d+")


def outline(sql: str) -> str:
    """Return the digest of SQL without its digits: the same for `day = 26` and `day = 27`."""
    return sha256_hex(_DIGITS.sub("?", sql).encode())


@dataclass(frozen=True, slots=True)
class DatedSql:
    """The shape and the date of SQL.

    Args:
        shape: the digest of the SQL without its dates.
        date: the latest date in it, in an order of texts; empty without one.
    """

    shape: str
    date: str

    @classmethod
    def of(cls, sql: str) -> DatedSql:
        """Return the shape and the date of SQL."""
        dates = [
            "{year}-{month}-{day}T{hour}:{minute}:{second}".format(
                **{name: part or "00" for name, part in found.groupdict().items()}
            )
            for found in _DATE.finditer(sql)
        ]
        return cls(sha256_hex(_DATE.sub("?", sql).encode()), max(dates, default=""))
