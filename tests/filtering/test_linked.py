"""Tests of linked people: files and questions decide as `consent.linked` does, whatever the clusters look like."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.permitting import KEY, SOURCE

from airflow_consent_retl.consent import (
    NOTHING_SAID,
    ConsentPlan,
    ConsentSource,
    Decision,
    Denied,
    IdentityLinks,
    LinkedSubject,
    Literals,
    RowConsent,
    Said,
    SubjectStatus,
    cause_of,
    parse_consent_mapping,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.databases.dialect import Dialect
from airflow_consent_retl.databases.source import ModelQuery, read_model
from airflow_consent_retl.errors import ModelError, RefusedError
from airflow_consent_retl.extraction.files import SnapshotWriter
from airflow_consent_retl.extraction.linked_files import LinkTables
from airflow_consent_retl.extraction.linked_people import find_clusters
from airflow_consent_retl.extraction.linked_rows import LinkedRows, write_linked
from airflow_consent_retl.extraction.reading import reading_with_consent
from airflow_consent_retl.filtering.asking import ConsentQuestion
from airflow_consent_retl.filtering.clusters import ClusterAnswers
from airflow_consent_retl.filtering.files import SnapshotFilter, column_kinds
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.storage.location import open_folder
from airflow_consent_retl.storage.manifest import SnapshotManifest

AT = datetime(2026, 11, 28, 20, tzinfo=UTC)
POLICY = parse_policy(
    {
        "categories": [
            {"id": "C0002", "name": "Analytics", "destinations": ["crm"], "regime": "opt_out"},
            {"id": "C0004", "name": "Advertising", "destinations": ["ads"]},
        ]
    }
)
PEOPLE = [f"p{number}" for number in range(6)]
ANSWERS = Literals("answer", granted=("yes",), denied=("no",))
CONSENT = RowConsent({"C0002": "own", "C0004": ANSWERS}, gpc="gpc")
SOURCES = (
    ConsentSource("FROM consents", subject="person", key="id", columns=["answer"], require_match=False),
    IdentityLinks(
        "FROM links", subject="person", identifier="identifier", kind="kind", key="id", min_rows=0, require_match=False
    ),
)
SQL = "SELECT id, own, gpc FROM people"

maybe = st.sampled_from([True, False, None])
worlds = st.fixed_dictionaries(
    {
        "people": st.dictionaries(st.sampled_from(PEOPLE), st.tuples(maybe, maybe), min_size=1),
        "consents": st.dictionaries(
            st.sampled_from(PEOPLE), st.sampled_from(["yes", "yes", "no", "Yes", None]), min_size=1
        ),
        "links": st.lists(
            st.tuples(
                st.sampled_from([*PEOPLE, " P1", None]),
                st.sampled_from(["x", "X ", "y", "z", "", None]),
                st.sampled_from(["email", "device", None]),
            ),
            max_size=8,
        ),
    }
)
World = dict[str, Any]


def clusters_of(links: Sequence[tuple[str | None, str | None, str | None]]) -> dict[str, frozenset[str]]:
    """Return everyone's cluster, found by hand."""
    by_identifier: dict[tuple[str | None, str], set[str]] = {}
    for person, identifier, kind in links:
        if person is not None and identifier is not None and identifier.strip():
            by_identifier.setdefault((kind, identifier.strip().lower()), set()).add(person.strip().lower())
    found = {person: {person} for people in by_identifier.values() for person in people}
    for _ in PEOPLE:
        for people in by_identifier.values():
            together = set().union(*(found[person] for person in people))
            found |= dict.fromkeys(together, together)
    return {person: frozenset(people) for person, people in found.items()}


def by_law(world: World, plan: ConsentPlan) -> dict[str, dict[str, Decision]]:
    """Return the decisions about each person of the model, by the law alone."""

    def tokens(person: str) -> tuple[int, ...]:
        own, gpc = world["people"].get(person, (None, None))
        row = {"own": own, "gpc": gpc, "answer": world["consents"].get(person), "answer_doubt": None}
        if person in world["consents"]:
            row["answer_doubt"] = 0
        return tuple(0 if signal is None else signal.token(row[signal.column]) for signal in plan.signals)

    clusters = clusters_of(world["links"])
    found = {}
    for person in world["people"]:
        said = NOTHING_SAID
        for other in clusters.get(person, ()):
            said |= plan.said(tokens(other))
        subject = LinkedSubject(SubjectStatus.IDENTIFIED, said.denying)
        decisions = plan.decide_signature(tokens(person), subject, at=AT).decisions
        found[person] = {str(name): decision for name, decision in decisions.items()}
    return found


def fill(file: str, world: World) -> None:
    with duckdb.connect(file) as connection:
        connection.execute("CREATE TABLE people (id VARCHAR, own BOOLEAN, gpc BOOLEAN)")
        connection.execute("CREATE TABLE consents (person VARCHAR, answer VARCHAR)")
        connection.execute("CREATE TABLE links (person VARCHAR, identifier VARCHAR, kind VARCHAR)")
        rows = {
            "people": [(person, *row) for person, row in world["people"].items()],
            "consents": list(world["consents"].items()),
            "links": world["links"],
        }
        for table, found in rows.items():
            for row in found:
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def plan_of(kinds: Any = None) -> ConsentPlan:
    mapping = parse_consent_mapping(CONSENT).with_sources(SOURCES)
    return plan_consent(POLICY, destinations=["ads", "crm"], mapping=mapping, columns=kinds, at=AT)


def extracted(folder: Path) -> SnapshotManifest:
    query = ModelQuery(conn_id="linked", sql=SQL, primary_key="id")
    target = open_folder(folder.as_uri())
    with (
        reading_with_consent(
            lambda: read_model(sql_hook("linked"), query),
            SOURCES,
            hook_of=lambda conn_id: sql_hook("linked"),
            conn_id="linked",
            time_zone="UTC",
            at=AT,
            log=lambda message: None,
            warn=lambda message: None,
        ) as rows,
        SnapshotWriter(target, rows.schema, primary_key="id") as writer,
    ):
        assert isinstance(rows, LinkedRows)
        for batch in rows.batches:
            writer.write(batch)
        return writer.publish(model="people", source=SOURCE, read_at=AT, linked=write_linked(target, rows))[0]


def filtered(folder: Path, manifest: SnapshotManifest) -> dict[str, dict[str, Decision]]:
    """Return the decisions of a filter run about each row that it wrote or denied."""
    found: dict[str, dict[str, Decision]] = {}
    plan = plan_of(column_kinds(manifest.columns))
    with SnapshotFilter(open_folder(folder.as_uri()), manifest, plan, duplicates=None, at=AT) as run:
        decided = run.decide()

        def record(ids: pa.Array, numbers: Any) -> None:
            for person, number in zip(ids.to_pylist(), numbers.tolist(), strict=True):
                found[person] = {str(name): one for name, one in decided.decisions[number].decisions.items()}

        target = open_folder((folder / "permitted").as_uri())
        groups, _ = run.write(decided, target, KEY, record=record)
    written = [batch for group in groups for batch in target.read_rows(group.parts, batch_rows=10)]
    assert all(batch.schema.names == ["id", "own", "gpc", "answer", "answer_doubt"] for batch in written)
    return found


def asked() -> dict[str, dict[str, int]]:
    """Return the verdicts of a question about everyone."""
    question = ConsentQuestion(
        hook=sql_hook("linked"),
        query=ModelQuery(conn_id="linked", sql=SQL, primary_key="id"),
        columns=("id", "own", "gpc", "answer", "answer_doubt"),
        mapping=parse_consent_mapping(CONSENT).with_sources(SOURCES),
        id_type=pa.string(),
        policy=POLICY,
        destinations=["ads", "crm"],
        sources=SOURCES,
    )
    return {
        person: {name: int(numbers[row]) for name, numbers in answer.by_destination.items()}
        for answer in question.ask(at=AT)
        for row, person in enumerate(answer.ids.to_pylist())
    }


@settings(max_examples=4, deadline=None)
@given(worlds)
@pytest.mark.long
def test_files_and_questions_decide_as_the_law_does(world: World) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        file = f"{folder}/linked.duckdb"
        patch.setenv("AIRFLOW_CONN_LINKED", json.dumps({"conn_type": "duckdb", "host": file}))
        fill(file, world)
        snapshot = Path(folder) / "snapshot"

        found, verdicts = filtered(snapshot, extracted(snapshot)), asked()

    expected = by_law(world, plan_of())
    assert found == expected
    assert verdicts == {
        person: {
            name: int(cause_of(decision).rank) if isinstance(decision, Denied) else 0
            for name, decision in decisions.items()
        }
        for person, decisions in expected.items()
    }


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), max_size=12))
def test_what_a_cluster_says_is_the_union_in_any_order_and_with_any_number_of_categories(
    rows: list[tuple[int, int]],
) -> None:
    # More names than one number has bits.
    said = [
        Said(
            noes=frozenset(f"category:{name}" for name in range(place * 9, place * 9 + 12)),
            doubts=frozenset({f"category:{place}"}),
            yeses=frozenset({f"category:{place + 40}"}),
        )
        for place in range(10)
    ]
    answers = ClusterAnswers(4)
    for cluster, place in rows:
        answers.add(np.array([cluster, 0, -1]), said, np.array([place, place, place]))
    answers.settle()

    numbers = answers.numbers(np.array([0, 1, 2, 3, 4, -7])).tolist()

    together = [NOTHING_SAID] * 5
    for cluster, place in rows:
        together[cluster] |= said[place]
    assert [answers.found[number] for number in numbers[:5]] == [one.denying for one in together]
    assert answers.found[numbers[5]] == linked_people_too_large()
    clashes = [name for one in together for name in one.clashes]
    assert answers.clashes == {name.removeprefix("category:"): clashes.count(name) for name in set(clashes)}


def linked_people_too_large() -> Said:
    return Said(doubts=frozenset({"suppression"}))


def test_a_cluster_that_the_snapshot_does_not_have_is_refused() -> None:
    with pytest.raises(RefusedError, match="in a cluster that its snapshot does not have"):
        ClusterAnswers(2).add(np.array([3]), [NOTHING_SAID], np.array([0]))


def chain(length: int) -> Iterator[tuple[str, str, str]]:
    """Yield people each linked to the next one, in an order that is bad for labels."""
    for number in range(length):
        yield f"p{number * 7 % length:05d}", f"i{number}", "device"
        yield f"p{(number + 1) % length * 7 % length:05d}", f"i{number}", "device"


@pytest.mark.parametrize("rounds", [2, 12])
def test_a_long_chain_needs_few_rounds_and_a_longer_one_is_refused(rounds: int) -> None:
    links = IdentityLinks("FROM links", subject="person", identifier="identifier", kind="kind", key="id")
    with duckdb.connect() as connection:

        def fetch(sql: str) -> tuple[int, ...]:
            (row,) = connection.execute(sql).fetchall()
            return tuple(int(number or 0) for number in row)

        columns = zip(("person", "identifier", "kind"), zip(*chain(100), strict=True), strict=True)
        connection.register("rows", pa.table(dict(columns)))
        connection.execute("CREATE TABLE source_0 AS FROM rows")
        tables = LinkTables(links, 0, connection.execute, fetch)
        search = partial(find_clusters, links, Dialect("duckdb"), tables, number=0, check_links=lambda found: None)

        if rounds == 2:
            with pytest.raises(ModelError, match="after 2 rounds, it is still not known to which cluster"):
                search(rounds=rounds)
            return
        found = search(rounds=rounds)

    assert (found.links, found.clusters, found.largest) == (200, 1, 100)
