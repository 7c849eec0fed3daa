"""The benchmark of the consent filter, compared with a plain copy of the same Parquet files and with pandas.

    python benchmarks/filter.py [--rows 10000000] [--pairs 5] [--case booleans ...] [--json figures.json]

The filter is all the work of `ConsentFilterOperator` on rows: verify the snapshot's digests, count and decide the
signatures, write the permitted rows once by recipients, write the decision log. Times cover the work only, without
imports; peak memory covers the whole process. The ways take turns, and the ratios are the medians of the pairs; on a
machine with other work, only those of processor time count.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import combinations
from pathlib import Path

import duckdb
import pandas as pd  # pyarrow loads it at first use: imported here so that it counts for no way
import pyarrow.parquet as pq
from measure import CACHE, in_pairs, measure, measure_here, parser, show, write_figures

from airflow_consent_retl.consent import (
    BitMask,
    CategorySignal,
    ConsentMappingLike,
    ConsentObject,
    ConsentPlan,
    GoogleConsent,
    GrantedId,
    Literals,
    OptanonConsentGroup,
    RowConsent,
    TcfString,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.extraction.files import SnapshotWriter
from airflow_consent_retl.filtering.files import SnapshotFilter, column_kinds
from airflow_consent_retl.storage.decision_log import SubjectKey
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.manifest import ModelSource, SnapshotManifest

# For each category: 85 % granted, 10 % denied, 5 % missing.
_SHARE = "hash(i * 31 + {k}) % 100"
_CONSENT = {
    "boolean": f"CASE WHEN {_SHARE} < 5 THEN NULL ELSE {_SHARE} < 90 END",
    "text": f"CASE WHEN {_SHARE} < 5 THEN NULL WHEN {_SHARE} < 90 THEN 'yes' ELSE 'no' END",
    "google": f"CASE WHEN {_SHARE} < 5 THEN NULL WHEN {_SHARE} < 90 THEN 'GRANTED' ELSE 'DENIED' END",
    "bits": f"CASE WHEN {_SHARE} < 5 THEN NULL WHEN {_SHARE} < 90 THEN 3 ELSE 1 END",
    "list": f"CASE WHEN {_SHARE} < 5 THEN NULL WHEN {_SHARE} < 90 THEN ',C0001,C0004,' ELSE ',C0001,' END",
    "cookie": f"CASE WHEN {_SHARE} < 5 THEN NULL WHEN {_SHARE} < 90 "
    "THEN 'isGpcEnabled=0&groups=C0001%3A1%2CC0004%3A1' ELSE 'isGpcEnabled=0&groups=C0001%3A1%2CC0004%3A0' END",
}
# A TC string whose time of creation, 36 bits, is the row's number, so that each string is unique. Purpose 1, vendor 2.
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_NUMBER = " || ".join(f"substr('{_DIGITS}', 1 + ((i >> {shift}) & 63)::INT, 1)" for shift in range(30, -1, -6))


def _characters(bits: str) -> str:
    filled = bits + "0" * (-len(bits) % 6)
    return "".join(_DIGITS[int(filled[place : place + 6], 2)] for place in range(0, len(filled), 6))


def _tc_rest(*, consented: bool, vendors: int) -> str:
    """Return what follows the time of creation: consent to purpose 1 or none, and a bit field of vendors, of whom 2."""
    listed = f"{vendors:016b}0" + "01" * (vendors // 2)
    core = "Qk9nIAAfACBENB4Fg" + _characters(
        "0" * 8 + "01"[consented] + "0" * 23 + "0" * 24 + "0" + "000011000100" + listed + "0" * 17 + "0" * 12
    )
    return f"{core}.{_characters('001' + listed)}"


for _name, _vendors in (("tcf", 2), ("long tcf", 1_200)):
    _granting, _denying = (_tc_rest(consented=consented, vendors=_vendors) for consented in (True, False))
    _CONSENT[_name] = f"'C' || {_NUMBER} || CASE WHEN {_SHARE} < 90 THEN '{_granting}' ELSE '{_denying}' END"
# The booleans plus the time of consent, the region and Global Privacy Control, from existing columns.
_CONSENT["row"] = _CONSENT["boolean"]
_PAYLOAD = """
    (hash(i) >> 1)::BIGINT AS user_id, 'user' || i || '@example.com' AS email,
    'First' || (hash(i + 1) % 5000) AS first_name, 'Last' || (hash(i + 2) % 50000) AS last_name,
    '+4917' || (hash(i + 3) % 100000000) AS phone,
    ['DE', 'FR', 'US', 'GB', 'ES'][1 + (hash(i + 4) % 5)::INT] AS country,
    (hash(i + 6) % 100000)::INT AS orders,
    TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL (hash(i + 7) % 10000000) SECOND AS updated_at"""

_FORMATS: dict[str, Callable[[str], CategorySignal]] = {
    "google": GoogleConsent,
    "bits": lambda column: BitMask(column, 1),
    "list": lambda column: GrantedId(column, "C0004", ","),
    "cookie": lambda column: OptanonConsentGroup(column, "C0004"),
    "tcf": lambda column: TcfString(column, purposes=(1,), vendor=2),
    "long tcf": lambda column: TcfString(column, purposes=(1,), vendor=2),
}

# Case: consent format, categories, destinations.
CASES = {
    "booleans": ("boolean", 4, 20),
    "1 destination": ("boolean", 4, 1),
    "5 destinations": ("boolean", 4, 5),
    "8 categories": ("boolean", 8, 20),
    "text values": ("text", 4, 20),
    "unique JSON objects": ("json", 4, 20),
    "Google's states": ("google", 4, 20),
    "bits": ("bits", 4, 20),
    "lists of ids": ("list", 4, 20),
    "OneTrust's cookie": ("cookie", 4, 20),
    "unique TC strings": ("tcf", 1, 1),
    "long unique TC strings": ("long tcf", 1, 1),
    "ages, regions, objections": ("row", 4, 20),
}


def snapshot_of(consent: str, categories: int, rows: int) -> Path:
    """Return the folder of a snapshot with 8 payload columns and its consent columns. It is created only once."""
    folder = CACHE / f"snapshot-{consent.replace(' ', '-')}-{categories}-{rows}"
    if (folder / "manifest.json").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    if consent == "json":
        keys = ", ".join(f"'C{k}', {_SHARE.format(k=k)} < 90" for k in range(categories))
        columns = f"json_object('id', i, 'categoryPreferences', json_object({keys}))::VARCHAR AS consent"
    else:
        columns = ", ".join(f"{_CONSENT[consent].format(k=k)} AS c{k}" for k in range(categories))
    query = f"SELECT {_PAYLOAD}, {columns} FROM range({rows}) r(i)"
    with duckdb.connect() as connection:
        reader = connection.sql(query).to_arrow_reader(65_536)
        with SnapshotWriter(Folder.local(folder), reader.schema, primary_key="user_id") as writer:
            for batch in reader:
                writer.write(batch)
            writer.publish(
                model="customers", source=ModelSource(conn_id="benchmark", sql=query), read_at=datetime.now(UTC)
            )
    return folder


def plan_of(snapshot: SnapshotManifest, consent: str, categories: int, destinations: int) -> ConsentPlan:
    """Return a plan in which each destination needs a different set of categories, as far as there are enough sets."""
    subsets = [subset for size in range(1, categories + 1) for subset in combinations(range(categories), size)]
    needs = {f"destination-{chr(97 + n) * 4}": subsets[n % len(subsets)] for n in range(destinations)}
    used = [k for k in range(categories) if any(k in subset for subset in needs.values())]
    terms = {"max_age": "13 months", "regions": {"US": "opt_out", "DE": "opt_in"}} if consent == "row" else {}
    policy = {
        "categories": [
            {"id": f"C{k}", "name": f"Category {k}", "destinations": [d for d, s in needs.items() if k in s], **terms}
            for k in used
        ]
    }
    mapping: ConsentMappingLike
    if consent == "json":
        mapping = ConsentObject("consent")
    elif consent == "text":
        mapping = {f"C{k}": Literals(f"c{k}", granted=("yes",), denied=("no",)) for k in used}
    elif consent in _FORMATS:
        mapping = {f"C{k}": _FORMATS[consent](f"c{k}") for k in used}
    else:
        mapping = {f"C{k}": f"c{k}" for k in used}
    if consent == "row":
        booleans: dict[str, str | CategorySignal] = {f"C{k}": f"c{k}" for k in used}
        mapping = RowConsent(booleans, time="updated_at", region="country", gpc=f"c{used[-1]}")
    return plan_consent(
        parse_policy(policy),
        destinations=list(needs),
        mapping=mapping,
        columns=column_kinds(snapshot.columns),
        at=datetime.now(UTC),
    )


def run_filter(folder: Path, consent: str, categories: int, destinations: int, *, counts_only: bool) -> None:
    source = Folder.local(folder)
    snapshot = SnapshotManifest.from_json((folder / "manifest.json").read_bytes())
    plan = plan_of(snapshot, consent, categories, destinations)
    with tempfile.TemporaryDirectory(dir=CACHE) as target:

        def work() -> None:
            with SnapshotFilter(source, snapshot, plan, duplicates=None, at=datetime.now(UTC)) as run:
                decided = run.decide()
                if not counts_only:
                    run.write(decided, Folder.local(f"{target}/out"), SubjectKey("benchmark" * 4))

        measure_here(work)


def run_copy(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as target:

        def work() -> None:
            writer = None
            for path in sorted(folder.glob("part-*.parquet")):
                with pq.ParquetFile(path, pre_buffer=False) as file:
                    for rows in file.iter_batches(batch_size=65_536):
                        writer = writer or pq.ParquetWriter(f"{target}/copy.parquet", rows.schema)
                        writer.write_batch(rows)
            if writer is not None:
                writer.close()

        measure_here(work)


def run_pandas(folder: Path, consent: str, categories: int, destinations: int) -> None:
    snapshot = SnapshotManifest.from_json((folder / "manifest.json").read_bytes())
    plan = plan_of(snapshot, consent, categories, destinations)
    with tempfile.TemporaryDirectory(dir=CACHE) as target:

        def work() -> None:
            frame = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("part-*.parquet"))])
            for destination in plan.destinations:
                mask = pd.Series(data=True, index=frame.index)
                for category in plan.policy.required_for(destination):
                    mask &= frame[category.lower()] == True  # noqa: E712 - NULL must not count as granted
                frame[mask].to_parquet(f"{target}/{destination}.parquet")

        measure_here(work)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--pairs", type=int, default=5)
    arguments.add_argument("--case", nargs="*", choices=list(CASES), default=list(CASES))
    arguments.add_argument("--pandas", action="store_true", help="also run pandas, which takes minutes and 5 GB")
    arguments.add_argument("--flat", type=int, help="also run with this number of rows, to show the memory")
    given = arguments.parse_args()
    CACHE.mkdir(exist_ok=True)
    rows, figures = [], {}
    for case in given.case:
        lines = compare(case, given.rows, pairs=given.pairs, with_pandas=given.pandas and case == "booleans")
        figures[case] = lines
        rows += lines
    if given.flat:
        figures["flat"] = compare("booleans", given.flat, pairs=1, with_pandas=False)
        rows += figures["flat"]
    show("Filter", ["case", "rows", "way", "seconds", "CPU s", "x copy", "x copy, CPU", "peak MiB"], rows)
    write_figures(given.json, figures)


def compare(case: str, row_count: int, *, pairs: int, with_pandas: bool) -> list[list[str]]:
    consent, categories, destinations = CASES[case]
    folder = snapshot_of(consent, categories, row_count)
    names = {"filter": "this filter", "counts": "counts and reasons alone"}
    if with_pandas:
        names["pandas"] = "pandas, mask and file"
    ways = {"plain pyarrow copy": partial(measure, __file__, "--worker", "copy", folder)}
    for way, name in names.items():
        ways[name] = partial(measure, __file__, "--worker", way, folder, consent, categories, destinations)
    return [[case, f"{row_count:,}", name, *one.columns] for name, one in in_pairs(pairs, ways).items()]


def work_as(words: list[str]) -> None:
    """Do and measure one way, in a process that `measure` started."""
    way, folder = words[0], Path(words[1])
    if way == "copy":
        run_copy(folder)
        return
    consent, categories, destinations = words[2], int(words[3]), int(words[4])
    if way == "pandas":
        run_pandas(folder, consent, categories, destinations)
    else:
        run_filter(folder, consent, categories, destinations, counts_only=way == "counts")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work_as(sys.argv[2:])
    else:
        main()
