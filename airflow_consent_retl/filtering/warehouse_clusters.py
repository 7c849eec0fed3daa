"""What the people of each cluster say together, found by a warehouse: the worker reads combinations, not rows.

The warehouse joins what each combination says to its rows, and takes the maximum of each fact in a cluster. The
snapshot then gets one more column with the facts of the row's cluster, from which combinations are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import ibis
import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent import CLUSTER, NOTHING_SAID, PERSON, TOO_LARGE, LinkedSubject, Said, SubjectCode
from airflow_consent_retl.databases.dialect import concat, dialect_of, placeholder
from airflow_consent_retl.filtering.expressions import COMBINATION, SUBJECT, RawValue, WarehouseConsent
from airflow_consent_retl.filtering.signatures import SignatureReader
from airflow_consent_retl.values.buffers import values_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.consent import ConsentPlan, Signal, Subject
    from airflow_consent_retl.databases.staging import StagingTable, Warehouse
    from airflow_consent_retl.storage.manifest import LinkedPeople

# The column of the snapshot with the facts of a row's cluster, as digits; NULL for none.
LINKED = "consent_retl_linked"
LINKED_VALUE = RawValue("consent_retl_raw_linked", LINKED, "string")
_IS_TOO_LARGE = "too large"
_KINDS = ("noes", "doubts", "yeses")
Fact = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Part:
    """Some rows: those of the model, or the people who are linked to them and have none."""

    consent: WarehouseConsent
    signals: Sequence[Signal | None]
    place: str


class WarehouseClusters:
    """What the clusters of a snapshot say. A context manager: it drops its tables.

    Args:
        warehouse: already entered.
        plan: reads the signatures.
        values: the raw values that consent is read from.
        signals: the plan's, for the table of signatures.
        forgotten: the name of the table of forgotten people; None: there are none.
        salts: of their digests.
        at: the time for the names of tables.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        plan: ConsentPlan,
        values: Sequence[RawValue],
        signals: Sequence[Signal | None],
        *,
        forgotten: str | None,
        salts: Sequence[str],
        at: datetime,
    ) -> None:
        self._warehouse = warehouse
        self._dialect = dialect_of(warehouse.dialect)
        self._plan = plan
        self._values = values
        self._signals = signals
        self._tables = {} if forgotten is None else {"forgotten": forgotten}
        self._salts = salts
        self._at = at
        self._facts: list[Fact] = []
        self._said: StagingTable | None = None
        self._resources = ExitStack()
        # By category, the number of clusters in which one person says yes and another says no.
        self.clashes: dict[str, int] = {}

    def find(
        self, snapshot: str, linked: LinkedPeople, *, primary_key: str, id_type: str, columns: Sequence[str]
    ) -> None:
        """Find what each cluster says, from the model's rows and from the people who are linked to them.

        Args:
            snapshot: the name of the snapshot's table.
            linked: the people who are linked to its rows.
            primary_key: the column with the ids.
            id_type: Arrow's name of their type.
            columns: the snapshot's.
        """
        if linked.table is None:
            raise ValueError("the linked people are not in a warehouse")
        with ExitStack() as tables:
            is_linked = f"{self._warehouse.quote(CLUSTER)} > 0"
            rows = self._part(
                f"(SELECT * FROM {snapshot} WHERE {is_linked})",  # noqa: S608 - quoted by the warehouse
                [CLUSTER, primary_key, *columns],
                primary_key=primary_key,
                id_type=id_type,
            )
            others = self._part(
                self._warehouse.name_of(linked.table.staging_table),
                [CLUSTER, PERSON, *(column.name for column in linked.columns)],
                primary_key=PERSON,
                id_type="string",
            )
            read = [(part, *tables.enter_context(self._read(part))) for part in (rows, others)]
            said = [one for _, _, found, _ in read for one in found]
            # Each name that occurs is a fact. One at least, so that there is a column.
            facts = {("noes", name) for one in said for name in one.noes}
            facts |= {("doubts", name) for one in said for name in one.doubts} | {("doubts", "suppression")}
            denying = sorted(facts)
            self._facts = denying + sorted({("yeses", name) for one in said for name in one.yeses})
            parts = {
                f"said-{number}": f"({self._of_clusters(part, signatures, found, combinations, tables)})"
                for number, (part, signatures, found, combinations) in enumerate(read)
            }
            table = self._warehouse.table("linked", at=self._at)
            self._resources.callback(self._warehouse.drop, table)
            self._warehouse.create_as(table, self._dialect.compile(self._together(list(parts), len(denying)), parts))
            self._said = table
        self._count_clashes()

    def snapshot(self, name: str, columns: Sequence[str]) -> str:
        """Return the snapshot in SQL, with the column `LINKED`.

        Args:
            name: of its table.
            columns: the columns to keep.
        """
        rows = placeholder("rows", {**dict.fromkeys(columns, "string"), CLUSTER: "int64"})
        said = placeholder("said", {CLUSTER: "int64", LINKED: "string"})
        clusters = said.select(cluster=said[CLUSTER], linked=said[LINKED])
        joined = rows.left_join(clusters, rows[CLUSTER] == clusters["cluster"])
        linked = ibis.cases((joined[CLUSTER] < 0, ibis.literal(_IS_TOO_LARGE)), else_=joined["linked"])
        chosen = joined.select(*columns, **{LINKED: linked})
        return f"({self._dialect.compile(chosen, {'rows': name, 'said': self._name()})})"

    def subject(self, code: int, linked: str | None) -> Subject:
        """Return the subject of a row: its status, and what its cluster says, by the value of `LINKED`."""
        status, said = SubjectCode(code).status, self._parsed(linked)
        return status if said is NOTHING_SAID else LinkedSubject(status, said)

    def said_in(self, cluster: int | None) -> Said:
        """Return what a cluster says."""
        if cluster is None or cluster < 0:
            return NOTHING_SAID if cluster is None else TOO_LARGE
        said = placeholder("said", {CLUSTER: "int64", LINKED: "string"})
        sql = self._dialect.compile(said.filter(said[CLUSTER] == int(cluster)).select(LINKED), {"said": self._name()})
        with self._warehouse.read(sql) as rows:
            found = [text for batch in rows.batches for text in batch.column(0).to_pylist()]
        return self._parsed(found[0]) if found else NOTHING_SAID

    def _part(self, place: str, columns: Sequence[str], *, primary_key: str, id_type: str) -> _Part:
        columns = list(dict.fromkeys(columns))
        consent = WarehouseConsent(
            dialect_of(self._warehouse.dialect, id_type),
            columns=columns,
            primary_key=primary_key,
            id_type=id_type,
            values=[value for value in self._values if value.column in columns],
            find_duplicates=False,
            salts=self._salts,
        )
        there = {value.name for value in consent.values}
        # What people have no column for is NULL.
        signals = [signal if signal is not None and signal.column in there else None for signal in self._signals]
        return _Part(consent, signals, place)

    @contextmanager
    def _read(self, part: _Part) -> Iterator[tuple[str, list[Said], list[int]]]:
        """Have the warehouse count the combinations of some rows; yield their table, what each says, and its number."""
        table = self._warehouse.table("linked", at=self._at)
        dialect = part.consent.dialect
        try:
            sql = dialect.compile(part.consent.signatures(), {"snapshot": part.place, **self._tables})
            self._warehouse.create_as(table, sql)
            said: list[Said] = []
            combinations: list[int] = []
            query = f"SELECT * FROM {self._warehouse.name_of(table)}"  # noqa: S608 - quoted by the warehouse
            with closing(SignatureReader(part.signals)) as reader, self._warehouse.read(query) as rows:
                for batch in rows.batches:
                    keys = zip(reader.codes(batch).tolist(), integers(batch, SUBJECT).tolist(), strict=True)
                    said += [self._plan.said(reader.tokens(code), SubjectCode(who).status) for code, who in keys]
                    combinations += integers(batch, COMBINATION).tolist()
            yield self._warehouse.name_of(table), said, combinations
        finally:
            self._warehouse.drop(table)

    def _of_clusters(
        self, part: _Part, signatures: str, said: Sequence[Said], combinations: Sequence[int], tables: ExitStack
    ) -> str:
        """Return the query for the facts of each cluster, of some rows alone."""
        table = self._warehouse.table("linked", at=self._at)
        tables.callback(self._warehouse.drop, table)
        facts = {
            _column(number): np.array([name in getattr(one, kind) for one in said], dtype=np.int32)
            for number, (kind, name) in enumerate(self._facts)
        }
        answers = pa.table({COMBINATION: np.array(combinations, dtype=np.int64), **facts})
        self._warehouse.load(table, answers.schema, answers.to_batches())
        rows = part.consent.answered(dict.fromkeys(facts, "int32"))
        grouped = rows.group_by(CLUSTER).aggregate(**{name: rows[name].max() for name in facts})
        places = {
            "snapshot": part.place,
            "signatures": signatures,
            "decided": self._warehouse.name_of(table),
            **self._tables,
        }
        return part.consent.dialect.compile(grouped, places)

    def _together(self, parts: Sequence[str], denying: int) -> ibis.Table:
        """Return the facts of each cluster: one digit for each that denies, and a column for every one."""
        names = [_column(number) for number in range(len(self._facts))]
        types = {CLUSTER: "int64", **dict.fromkeys(names, "int32")}
        first, second = (placeholder(part, types) for part in parts)
        both = first.union(second, distinct=False)
        facts = both.group_by(CLUSTER).aggregate(**{name: both[name].max() for name in names})
        digits = concat([ibis.cases((facts[name] == 1, "1"), else_="0") for name in names[:denying]])
        linked = ibis.cases((digits == "0" * denying, ibis.null("string")), else_=digits)
        return facts.select(CLUSTER, **{LINKED: linked}, **{name: facts[name] for name in names})

    def _count_clashes(self) -> None:
        names = {fact: _column(number) for number, fact in enumerate(self._facts)}
        pairs = [name for kind, name in self._facts if kind == "yeses" and ("noes", name) in names]
        if not pairs:
            return
        said = placeholder("said", dict.fromkeys(names.values(), "int32"))
        both = {}
        for number, name in enumerate(pairs):
            yes, no = said[names["yeses", name]] == 1, said[names["noes", name]] == 1
            both[f"clash_{number}"] = ibis.cases((yes & no, 1), else_=0).sum()
        with self._warehouse.read(self._dialect.compile(said.aggregate(**both), {"said": self._name()})) as rows:
            (row,) = [row for batch in rows.batches for row in batch.to_pylist()]
        counts = {name.partition(":")[2]: int(row[f"clash_{number}"] or 0) for number, name in enumerate(pairs)}
        self.clashes = {name: count for name, count in counts.items() if count}

    def _parsed(self, linked: str | None) -> Said:
        if linked is None:
            return NOTHING_SAID
        if linked == _IS_TOO_LARGE:
            return TOO_LARGE
        found = [fact for fact, digit in zip(self._facts, linked, strict=False) if digit == "1"]
        noes, doubts = (frozenset(name for kind, name in found if kind == wanted) for wanted in _KINDS[:2])
        return Said(noes, doubts)

    def _name(self) -> str:
        if self._said is None:
            raise ValueError("`find` comes first")
        return self._warehouse.name_of(self._said)

    def close(self) -> None:
        """Drop the tables."""
        self._resources.close()


def integers(rows: pa.RecordBatch, name: str) -> NDArray[np.int64]:
    """Return a column of numbers."""
    return values_of(rows.column(name).cast(pa.int64()), np.int64)


def _column(number: int) -> str:
    return f"fact_{number}"
