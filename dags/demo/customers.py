"""Invented customers for a demonstration warehouse, with realistic consent: missing, partial or unreadable values."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

_COUNTRIES = {"DE": 0.3, "FR": 0.2, "US": 0.2, "GB": 0.12, "ES": 0.1, "BR": 0.08}
# One text column that was filled by a form, an import and a migration. Only `yes` and `no` were agreed on.
_ADS_CONSENT = {"yes": 0.55, "no": 0.3, None: 0.1, "Yes": 0.02, "true": 0.015, "1": 0.01, "n/a": 0.005}
_PREFERENCES = {
    '{"categoryPreferences": {"C0002": true, "C0007": true}}': 0.52,
    '{"categoryPreferences": {"C0002": true, "C0007": false}}': 0.25,
    '{"categoryPreferences": {"C0002": false}}': 0.08,
    '{"categoryPreferences": {}}': 0.05,
    None: 0.07,
    '{"categoryPreferences": {"C0007": "true"}}': 0.02,
    '{"categoryPreferences": {"C0007": tr': 0.01,
}
_SYLLABLES = [
    "an",
    "be",
    "ca",
    "do",
    "el",
    "fi",
    "go",
    "ha",
    "is",
    "jo",
    "ka",
    "lu",
    "mo",
    "no",
    "ri",
    "sa",
    "te",
    "vi",
]


def make_customers(rows: int, *, seed: int = 20_261_123) -> pa.Table:
    """Return a table of invented customers. The same seed gives the same table."""
    random = np.random.default_rng(seed)
    user_ids = random.permutation(np.arange(rows, dtype=np.int64)) + 9_007_199_254_740_993
    first_names, last_names = _names(random, rows, 2), _names(random, rows, 3)
    emails = [f"{a}.{b}.{n}@example.com" for n, (a, b) in enumerate(zip(first_names, last_names, strict=True))]
    for row in random.choice(rows, size=rows // 500, replace=False):
        emails[row] = emails[row].replace("@", " at ")
    cents = random.gamma(2.0, 9_000.0, rows).astype(np.int64)
    seconds = random.integers(1_735_689_600, 1_767_225_600, rows)
    analytics = random.choice(np.array([1, 0, -1]), size=rows, p=[0.68, 0.24, 0.08])
    return pa.table(
        {
            "user_id": user_ids,
            "email": emails,
            "first_name": [name.title() for name in first_names],
            "last_name": [name.title() for name in last_names],
            "phone": [f"+4915{n:08d}" for n in random.integers(0, 10**8, rows)],
            "country": _choice(random, _COUNTRIES, rows),
            "lifetime_value": pa.array([Decimal(int(c)) / 100 for c in cents], pa.decimal128(12, 2)),
            "orders": pa.array(random.poisson(4.0, rows), pa.int32()),
            "last_order_at": pa.array(seconds * 1_000_000, pa.timestamp("us", tz="UTC")),
            "analytics_consent": pa.array(analytics == 1, mask=analytics == -1),
            "ads_consent": _choice(random, _ADS_CONSENT, rows),
            "preferences": _choice(random, _PREFERENCES, rows),
        }
    )


def make_warehouse(path: Path, *, rows: int = 100_000) -> None:
    """Write a DuckDB file with the table `customers`."""
    path.unlink(missing_ok=True)
    customers = make_customers(rows)
    with duckdb.connect(str(path)) as warehouse:
        warehouse.register("invented", customers)
        warehouse.execute("CREATE TABLE customers AS SELECT * FROM invented")


# The changes overnight. The last digits of an id select a share of people for each.
_OVERNIGHT = {
    "withdrew": "UPDATE customers SET ads_consent = 'no', analytics_consent = FALSE WHERE user_id % 200 = 1",
    "have another e-mail": "UPDATE customers SET email = 'new.' || email WHERE user_id % 100 = 2",
    "left": "DELETE FROM customers WHERE user_id % 500 = 3",
}


def next_day(path: Path) -> str:
    """Let some customers withdraw, change and leave, and return a text with the counts."""
    with duckdb.connect(str(path)) as warehouse:
        counts = {what: warehouse.execute(sql).fetchall()[0][0] for what, sql in _OVERNIGHT.items()}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())


def _names(random: np.random.Generator, rows: int, syllables: int) -> list[str]:
    chosen = random.integers(0, len(_SYLLABLES), size=(rows, syllables))
    return ["".join(_SYLLABLES[syllable] for syllable in name) for name in chosen]


def _choice(random: np.random.Generator, shares: dict[str, float] | dict[str | None, float], rows: int) -> pa.Array:
    values: list[str | None] = list(shares)
    chosen = random.choice(len(values), size=rows, p=np.array(list(shares.values())))
    return pa.array(values, pa.string()).take(pa.array(chosen))
