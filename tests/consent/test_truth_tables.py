"""Tests of every combination of up to four categories against an oracle: the same rule, written in SQL.

The oracle shares no code with the law. It states the rule over relations (subjects and destinations, joined to
mappings and statuses) where the law walks through one case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, combinations, product

import duckdb
import pytest

from airflow_consent_retl.consent import (
    CategoryId,
    ConsentPolicy,
    ConsentStatus,
    Permitted,
    SubjectStatus,
    decide,
    parse_policy,
)

# Measuring the coverage of so many decisions takes several times as long as making them.
pytestmark = pytest.mark.no_cover

AT = datetime(2026, 11, 1, tzinfo=UTC)
CATEGORIES = ("C0001", "C0002", "C0003", "C0004")
Answer = tuple[str, str, str, bool, str]

ORACLE = """
    with status(word) as (values {statuses}),
    subject(state) as (values ('identified'), ('missing_id'), ('duplicate_id'), ('forgotten')),
    answers as (
        select {columns}, concat_ws(' ', {words}) as consent from {tables}
    ),
    consent as (
        unpivot answers on {columns} into name category value word
    ),
    asked as (
        select consent, destination.*, state from answers cross join destination cross join subject
    ),
    counted as (
        select
            asked.consent, asked.name, asked.state, asked.rule, asked.not_required,
            count(mapping.category) as needed,
            count(*) filter (word = 'granted') as granted,
            list(mapping.category || ':' || word order by mapping.category) filter (word <> 'granted') as lacking
        from asked
        left join mapping on mapping.destination = asked.name
            and mapping.category in (select id from category where enabled)
        left join consent on consent.consent = asked.consent and consent.category = mapping.category
        group by all
    ),
    judged as (
        select *, case
            when not_required then true
            when needed = 0 then '{unmapped}' = 'permit'
            when rule = 'any' then granted > 0
            else granted = needed
        end as consented
        from counted
    )
    select
        consent, name, state, consented and state = 'identified',
        array_to_string(list_sort(list_concat(
            case when needed > 0 and not consented then lacking else [] end,
            case when needed = 0 and not consented then ['unmapped_destination'] else [] end,
            case when state <> 'identified' then [state] else [] end
        )), ' ')
    from judged
"""


def statuses_of(count: int) -> list[ConsentStatus]:
    """Return the statuses that are combined: of four categories, only a person's own, as every status takes long."""
    linked = (ConsentStatus.LINKED_NO, ConsentStatus.LINKED_DOUBT)
    return [status for status in ConsentStatus if count < len(CATEGORIES) or status not in linked]


def destinations_of(count: int) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield every subset of the categories with each match: name, match, categories."""
    subsets = chain.from_iterable(combinations(CATEGORIES[:count], size) for size in range(count + 1))
    for subset, match in product(subsets, ("all", "any")):
        yield f"{match}_{'_'.join(subset)}", match, subset


def a_policy(count: int, unmapped: str, enabled: Sequence[bool]) -> ConsentPolicy:
    destinations = list(destinations_of(count))
    rules: dict[str, dict[str, str]] = {name: {"match": match} for name, match, subset in destinations if subset}
    rules["own_lake"] = {"consent": "not_required", "reason": "own store"}
    return parse_policy(
        {
            "unmapped_destinations": unmapped,
            "categories": [
                {
                    "id": category,
                    "name": category,
                    "destinations": [name for name, _, subset in destinations if category in subset],
                    "enabled": on,
                }
                for category, on in zip(CATEGORIES, enabled, strict=False)
            ],
            "destinations": rules,
        }
    )


def oracle(count: int, unmapped: str, enabled: Sequence[bool]) -> set[Answer]:
    with duckdb.connect() as connection:
        connection.execute("create table category (id varchar, enabled boolean)")
        connection.execute("create table destination (name varchar, rule varchar, not_required boolean)")
        connection.execute("create table mapping (destination varchar, category varchar)")
        connection.executemany("insert into category values (?, ?)", list(zip(CATEGORIES, enabled, strict=False)))
        destinations = [[name, match, False] for name, match, _ in destinations_of(count)]
        connection.executemany("insert into destination values (?, ?, ?)", [*destinations, ["own_lake", "all", True]])
        connection.executemany(
            "insert into mapping values (?, ?)",
            [[name, category] for name, _, subset in destinations_of(count) for category in subset],
        )
        ids = CATEGORIES[:count]
        query = ORACLE.format(
            statuses=", ".join(f"('{status}')" for status in statuses_of(count)),
            columns=", ".join(ids),
            words=", ".join(ids),
            tables=" cross join ".join(f"(select word as {category} from status)" for category in ids),
            unmapped=unmapped,
        )
        return set(connection.execute(query).fetchall())


def law(count: int, unmapped: str, enabled: Sequence[bool]) -> set[Answer]:
    policy = a_policy(count, unmapped, enabled)
    names = [*(name for name, _, _ in destinations_of(count)), "own_lake"]
    ids = [CategoryId(category) for category in CATEGORIES[:count]]
    answers = set()
    for statuses in product(statuses_of(count), repeat=count):
        consent = dict(zip(ids, statuses, strict=True))
        for name, subject in product(names, SubjectStatus):
            decision = decide(policy, name, consent, subject=subject, at=AT)
            permitted = isinstance(decision, Permitted)
            reasons = "" if isinstance(decision, Permitted) else " ".join(map(str, decision.reasons))
            answers.add((" ".join(statuses), name, str(subject), permitted, reasons))
    return answers


@pytest.mark.parametrize("unmapped", ["permit", "deny", "error"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_law_and_the_oracle_agree_on_every_combination(count: int, unmapped: str) -> None:
    enabled = [True] * count

    decided = law(count, unmapped, enabled)

    assert len(decided) == len(statuses_of(count)) ** count * (2 * 2**count + 1) * 4
    assert decided == oracle(count, unmapped, enabled)


@pytest.mark.parametrize("enabled", list(product([True, False], repeat=3)))
def test_the_law_and_the_oracle_agree_with_any_disabled_categories(enabled: tuple[bool, ...]) -> None:
    decided = law(3, "permit", enabled)

    assert decided == oracle(3, "permit", enabled)
