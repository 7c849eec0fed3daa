"""The consent mapping: the columns that contain each category's consent and the other inputs of a decision.

Checks the mapping by itself. Never looks at a policy or at a model's columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.answers import Answers, Combining, Recorded
from airflow_consent_retl.consent.format_document import format_problems
from airflow_consent_retl.consent.formats.boolean_column import BooleanColumn
from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.freshness import EpochTime, column_of, time_problems
from airflow_consent_retl.consent.json_path import child, type_name
from airflow_consent_retl.consent.policy import Category, CategoryId
from airflow_consent_retl.consent.signals import CategorySignal, WholeConsent, is_column, require
from airflow_consent_retl.consent.switches import RowSwitches
from airflow_consent_retl.errors import PolicyError, Problem

if TYPE_CHECKING:
    from airflow_consent_retl.consent.sources import ExternalConsent

CategoriesLike = Mapping[str, str | CategorySignal | Recorded | Answers] | WholeConsent


@dataclass(frozen=True, slots=True, init=False)
class RowConsent:
    """A consent mapping with the other inputs of a decision.

        RowConsent({"C0002": "analytics_ok", "C0004": "ads_ok"}, time="consent_at", region="country", gpc="gpc")

    Args:
        categories: category id to the name of a boolean column, another consent format, `Recorded`, `FirstOf`,
            `MostRestrictive` or `Agreeing`; or one column for all categories, such as `ConsentObject`.
        time: the column with the time of consent, for every category that names no column of its own with `Recorded`.
        notice_version: likewise, the column with the version of the notice.
        region: a text column, compared exactly with the regions of the policy's categories.
        gpc: Global Privacy Control, which denies every category that is not exempt: a boolean column, TRUE if the
            person sends the signal, or `Literals` whose `granted` values mean that the person sends it.
        switches: the row's own switches by destination: `IntegrationsObject` or `ExcludedDestinations`.

    Raises:
        PolicyError: a parameter is wrong. The error contains every problem.
    """

    categories: CategoriesLike
    time: str | EpochTime | None
    notice_version: str | None
    region: str | None
    gpc: CategorySignal | None
    switches: RowSwitches | None

    def __init__(
        self,
        categories: CategoriesLike,
        *,
        time: str | EpochTime | None = None,
        notice_version: str | None = None,
        region: str | None = None,
        gpc: str | Literals | None = None,
        switches: RowSwitches | None = None,
    ) -> None:
        columns: dict[str, object] = {"notice_version": notice_version, "region": region}
        if isinstance(gpc, str):
            columns["gpc"] = gpc
        problems = [
            Problem(f"consent.{name}", "expected the name of a column")
            for name, column in columns.items()
            if column is not None and not is_column(column)
        ]
        problems += time_problems(time, "consent.time")
        if not isinstance(gpc, str | Literals | BooleanColumn | None):
            problems.append(Problem("consent.gpc", f"expected a column or Literals, found {type_name(gpc)}"))
        elif isinstance(gpc, Literals) and gpc.expired:
            problems.append(Problem("consent.gpc", "Global Privacy Control does not expire: remove `expired`"))
        if switches is not None and not isinstance(switches, RowSwitches):
            problems.append(
                Problem(
                    "consent.switches",
                    f"expected IntegrationsObject or ExcludedDestinations, found {type_name(switches)}",
                )
            )
        if isinstance(categories, RowConsent | ConsentMapping):
            problems.append(Problem("consent.categories", f"{type_name(categories)} cannot contain another"))
        require(problems)
        if switches is not None:
            require(format_problems(switches, "consent.switches"))
        object.__setattr__(self, "categories", categories)
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "notice_version", notice_version)
        object.__setattr__(self, "region", region)
        object.__setattr__(self, "gpc", BooleanColumn(gpc) if isinstance(gpc, str) else gpc)
        object.__setattr__(self, "switches", switches)


ConsentMappingLike = CategoriesLike | RowConsent


@dataclass(frozen=True, slots=True)
class ConsentMapping:
    """A checked consent mapping: each category's records or one column for all, and the other inputs of a decision.

    `doubts` and `suppressions` come from consent sources. `doubts` names, for a consent column, the column with the
    doubt about its answer. `suppressions` are the columns with the entries of suppression lists.
    """

    entries: tuple[tuple[CategoryId, Answers | Recorded], ...] = ()
    whole: WholeConsent | None = None
    time: str | EpochTime | None = None
    notice_version: str | None = None
    region: str | None = None
    gpc: CategorySignal | None = None
    switches: RowSwitches | None = None
    doubts: tuple[tuple[str, str], ...] = ()
    suppressions: tuple[str, ...] = ()

    @property
    def category_ids(self) -> tuple[CategoryId, ...]:
        """The categories that are mapped one by one, in the order of the declaration."""
        return tuple(category_id for category_id, _ in self.entries)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the mapping may read, each once."""
        columns: list[str | None] = [] if self.whole is None else list(self.whole.columns)
        for _, entry in self.entries:
            for record in records_of(entry):
                columns += record.columns
        columns += [None if self.time is None else column_of(self.time), self.notice_version, self.region]
        columns += [signal.column for signal in (self.gpc, self.switches) if signal is not None]
        columns += [*dict(self.doubts).values(), *self.suppressions]
        return tuple(dict.fromkeys(column for column in columns if column is not None))

    def records_for(self, category: Category) -> tuple[Recorded, ...]:
        """Return the category's records, with their times and notices; empty if the mapping omits the category."""
        entry = self._entry_of(category)
        return tuple(
            replace(
                record,
                time=self.time if record.time is None else record.time,
                notice_version=self.notice_version if record.notice_version is None else record.notice_version,
            )
            for record in ([] if entry is None else records_of(entry))
        )

    def combining(self, category: Category) -> Combining:
        """Return the way in which the category's records are combined."""
        entry = self._entry_of(category)
        return entry.combining if isinstance(entry, Answers) else "first"

    def _entry_of(self, category: Category) -> Answers | Recorded | None:
        if self.whole is None:
            return dict(self.entries).get(category.id)
        found = self.whole.for_category(category.id, category.name)
        return found if isinstance(found, Answers) else Recorded(found)

    def with_elsewhere(self, *, doubts: Mapping[str, str], suppressions: Iterable[str]) -> ConsentMapping:
        """Return the mapping with the columns of consent sources."""
        return replace(self, doubts=tuple(sorted(doubts.items())), suppressions=tuple(suppressions))

    def with_sources(self, sources: Iterable[ExternalConsent]) -> ConsentMapping:
        """Return the mapping with the doubts and suppressions that sources bring, which a DAG cannot leave out."""
        listed = list(sources)
        return self.with_elsewhere(
            doubts={column: doubt for source in listed for column, doubt in source.doubts.items()},
            suppressions=[column for source in listed for column in source.suppressions],
        )

    def path_of(self, category_id: str) -> str:
        """Return the path where the mapping of a category is declared, or should be."""
        return "consent" if self.whole is not None else child("consent", category_id)


def records_of(entry: Answers | Recorded) -> tuple[Recorded, ...]:
    """Return the records of one entry."""
    return entry.parts if isinstance(entry, Answers) else (entry,)


def parse_consent_mapping(mapping: ConsentMappingLike | ConsentMapping) -> ConsentMapping:
    """Check the `consent` argument of a DAG: `{"C0002": "analytics_ok", "C0004": Literals(...)}`, a `ConsentObject` or
    another format that contains all categories, or `RowConsent`, which contains one of these and more.

    A plain column name means a boolean column. Raises `PolicyError` with every problem.
    """
    if isinstance(mapping, ConsentMapping):
        return mapping
    if isinstance(mapping, RowConsent):
        return replace(
            parse_consent_mapping(mapping.categories),
            time=mapping.time,
            notice_version=mapping.notice_version,
            region=mapping.region,
            gpc=mapping.gpc,
            switches=mapping.switches,
        )
    if isinstance(mapping, WholeConsent):
        require(format_problems(mapping, "consent"))
        return ConsentMapping(whole=mapping)
    checked = ConsentMapping(_entries(mapping))
    require(
        [
            problem
            for category_id, entry in checked.entries
            for record in records_of(entry)
            for problem in format_problems(record.signal, checked.path_of(category_id))
        ]
    )
    return checked


def _entries(mapping: object) -> tuple[tuple[CategoryId, Answers | Recorded], ...]:
    problems: list[Problem] = []
    entries: list[tuple[CategoryId, Answers | Recorded]] = []
    if not isinstance(mapping, Mapping) or not mapping:
        raise PolicyError([Problem("consent", "expected a mapping of category ids to columns, or a ConsentObject")])
    for category_id, declared in mapping.items():
        path = child("consent", str(category_id))
        entry: Any = BooleanColumn(declared) if isinstance(declared, str) and declared else declared
        if not isinstance(category_id, str) or not category_id:
            problems.append(Problem("consent", "expected category ids as text that is not empty"))
        elif declared == "":
            problems.append(Problem(path, "expected the name of a column"))
        elif isinstance(entry, WholeConsent):
            problems.append(
                Problem(path, f"{type_name(declared)} contains all categories: pass it alone, as `consent`")
            )
        elif isinstance(entry, CategorySignal):
            entries.append((CategoryId(category_id), Recorded(entry)))
        elif isinstance(entry, Answers | Recorded):
            entries.append((CategoryId(category_id), entry))
        else:
            problems.append(Problem(path, f"expected a column or a consent format, found {type_name(declared)}"))
    if problems:
        raise PolicyError(problems)
    return tuple(entries)
