"""A no of one person denies everybody who is linked to them: at the filter, before sending, and in the fast lane."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.log_lines import task_fails
from support.suppressing import suppress

from airflow_consent_retl.consent import ConsentSource, IdentityLinks, OptOut, SuppressionList
from airflow_consent_retl.errors import PolicyError
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToGoogleCustomerMatchOperator,
    LoadToSqlTableOperator,
    PropagateWithdrawalsOperator,
)
from airflow_consent_retl.reports import person_history
from airflow_consent_retl.storage import open_permitted, open_snapshot

POLICY: dict[str, Any] = {
    "unmapped_destinations": "deny",
    "categories": [{"id": "C0004", "name": "Advertising", "destinations": ["crm"]}],
}
CONSENTS = ConsentSource(
    "SELECT person, ads_ok FROM consents",
    subject="person",
    key="id",
    columns=["ads_ok"],
    column_types={"ads_ok": "bool"},
)
LINKS = IdentityLinks(
    "SELECT person, identifier, kind FROM links", subject="person", identifier="identifier", kind="kind", key="id"
)
LOAD = partial(LoadToSqlTableOperator, fields={"id": "id", "email": "email"}, settle_s=0, conn_id="crm", table="people")


class LinkedSync:
    """People of a model, their consent in another table, and the links between them; all ids are text."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.consent: dict[str, Any] = {"C0004": "ads_ok"}
        self.max_released_ratio: float | None = None
        self.workspace = f"file://{path / 'workspace'}"
        for name in ("source", "crm"):
            connection = {"conn_type": "sqlite", "host": str(path / f"{name}.db")}
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        self._run("CREATE TABLE people (id TEXT, email TEXT)", "CREATE TABLE consents (person TEXT, ads_ok BOOLEAN)")
        self._run("CREATE TABLE links (person TEXT, identifier TEXT, kind TEXT)")

    def people(self, *ids: str) -> None:
        self._fill("people", [(one, f"{one}@x.example") for one in ids])

    def consents(self, **answers: bool | None) -> None:
        self._fill("consents", list(answers.items()))

    def links(self, *links: tuple[str | None, str | None, str | None]) -> None:
        self._fill("links", links)

    def extracted(self, *, identities: Any = LINKS, **options: Any) -> Any:
        return ExtractModelOperator(
            task_id="extract",
            model="people",
            conn_id="source",
            primary_key="id",
            identities=identities,
            workspace=self.workspace,
            **{"sql": "SELECT id, email FROM people", "consent_sources": [CONSENTS], **options},
        ).execute({})

    def permitted(self, snapshot: Any = None, *, policy: Mapping[str, Any] = POLICY, **options: Any) -> Any:
        return ConsentFilterOperator(
            task_id="consent",
            snapshot=self.extracted(**options) if snapshot is None else snapshot,
            policy=policy,
            consent=self.consent,
            destinations=["crm"],
            max_released_ratio=self.max_released_ratio,
            workspace=self.workspace,
        ).execute({})

    def load(self, permitted: Any = None, **options: Any) -> dict[str, Any]:
        permitted = self.permitted(**options) if permitted is None else permitted
        counts: dict[str, Any] = LOAD(
            task_id="load", permitted=permitted, destination="crm", policy=POLICY, workspace=self.workspace
        ).execute({})
        return counts

    def withdraw(self, **options: Any) -> dict[str, Any]:
        given: dict[str, Any] = {"identities": LINKS, "consent_sources": [CONSENTS], **options}
        counts: dict[str, Any] = PropagateWithdrawalsOperator(
            task_id="withdraw",
            model="people",
            conn_id="source",
            sql="SELECT id, email FROM people",
            primary_key="id",
            policy=POLICY,
            consent={"C0004": "ads_ok"},
            loads={"crm": LOAD},
            workspace=self.workspace,
            **given,
        ).execute({})
        return dict(counts["crm"])

    def there(self) -> list[str]:
        with closing(sqlite3.connect(self.path / "crm.db")) as connection:
            return [row[0] for row in connection.execute("SELECT id FROM people ORDER BY id")]

    def _fill(self, table: str, rows: Any) -> None:
        with closing(sqlite3.connect(self.path / "source.db")) as connection:
            connection.execute(f"DELETE FROM {table}")
            for row in rows:
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
            connection.commit()

    def _run(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path / "source.db")) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()


@pytest.fixture
def sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LinkedSync:
    return LinkedSync(tmp_path, monkeypatch)


def test_a_no_of_one_person_denies_everybody_linked_through_others_and_no_yes_is_passed_on(sync: LinkedSync) -> None:
    sync.people("a", "b", "c", "d", "e", "f")
    sync.consents(a=True, b=True, c=False, d=True, e=True, f=None)
    sync.links(
        ("A ", "x", "email"), ("b", "X", "email"), ("b", "y", "device"), ("c", "y", "device"),
        ("d", "x", "device"), (None, "x", "email"), ("d", None, "email"), ("d", "", "email"), ("e", " ", "email"),
        ("e", "z", "email"), ("f", "z", "email"),
    )  # fmt: skip

    counts = sync.load()

    assert counts["denied_by_reason"] == {"C0004:denied": 1, "C0004:linked_no": 2, "C0004:unknown": 1}
    assert sync.there() == ["d", "e"]


def test_people_who_are_not_rows_of_the_model_are_asked_about(
    sync: LinkedSync, capsys: pytest.CaptureFixture[str]
) -> None:
    sync.people("a", "b", "c")
    sync.consents(a=True, b=True, c=True, phone=False, stranger=False)
    sync.links(("a", "h", "account"), ("phone", "h", "account"), ("stranger", "k", "account"), ("b", "l", "account"))

    permitted = sync.permitted()
    counts = sync.load(permitted)

    manifest = open_permitted(permitted).manifest
    assert counts["denied_by_reason"] == {"C0004:linked_no": 1}
    assert sync.there() == ["b", "c"]
    assert manifest.clashes == {"C0004": 1}
    assert "in 1 clusters of linked people, one says yes and another no" in capsys.readouterr().out
    assert [column.name for column in manifest.columns] == ["id", "email", "ads_ok", "ads_ok_doubt"]


def test_a_doubt_of_one_person_denies_those_linked_to_them_too(sync: LinkedSync) -> None:
    sync.people("a", "b")
    sync.consents(a=True, b=True)
    # Two rows of one person that differ are in conflict.
    sync._fill("consents", [("a", True), ("b", True), ("b", False)])
    sync.links(("a", "h", "account"), ("b", "h", "account"))

    assert sync.permitted()["permitted"] == {"crm": 0}
    assert sync.load()["denied_by_reason"] == {"C0004:conflict": 1, "C0004:linked_doubt": 1}


@pytest.mark.parametrize("other", ["b", "not in the model"])
def test_a_person_linked_to_one_who_is_suppressed_or_forgotten_is_denied(sync: LinkedSync, other: str) -> None:
    sync.people("a", "b", "c", "d")
    sync.consents(a=True, b=True, c=True, d=True)
    sync.links(("a", "h", "account"), (other, "h", "account"), ("c", "i", "account"), ("gone", "i", "account"))
    sync._run("CREATE TABLE blocked (person TEXT)")
    sync._fill("blocked", [(other,)])
    blocked = SuppressionList("SELECT person FROM blocked", subject="person", key="id")
    suppress(["gone"], workspace=sync.workspace)

    counts = sync.load(consent_sources=[CONSENTS, blocked])

    assert counts["denied_by_reason"]["suppression:linked_no"] == 2
    assert not {"a", "c"}.intersection(sync.there())
    assert "d" in sync.there()


@pytest.mark.parametrize("other", ["b", "not in the model"])
def test_a_person_linked_to_one_who_was_forgotten_after_the_filter_is_withheld(sync: LinkedSync, other: str) -> None:
    sync.people("a", "b", "c")
    sync.consents(a=True, b=True, c=True)
    sync.links(("a", "h", "account"), (other, "h", "account"))
    permitted = sync.permitted()
    suppress([other], workspace=sync.workspace)

    sync.load(permitted)

    assert sync.there() == (["c"] if other == "b" else ["b", "c"])


def test_a_new_link_to_a_no_is_removed_by_the_next_load_and_by_the_fast_lane(sync: LinkedSync) -> None:
    sync.people("a", "b", "c", "d")
    sync.consents(a=True, b=False, c=True, d=True)
    sync.links(("a", "h", "account"), ("c", "j", "account"))
    sync.load()
    before = sync.there()
    sync.links(("a", "h", "account"), ("b", "h", "account"))

    later = sync.load()
    after = sync.there()
    sync.links(("a", "h", "account"), ("b", "h", "account"), ("b", "k", "device"), ("c", "k", "device"))
    fast = sync.withdraw()

    assert before == ["a", "c", "d"]
    assert (after, later["removals_by_cause"]) == (["c", "d"], {"consent_withdrawn": 1})
    assert (sync.there(), fast["removals_by_cause"]) == (["d"], {"consent_withdrawn": 1})


def test_a_link_made_after_the_filter_withholds_the_person_just_before_sending(sync: LinkedSync) -> None:
    sync.people("a", "b", "c")
    sync.consents(a=True, b=True, c=False)
    sync.links(("a", "h", "account"))
    permitted = sync.permitted()
    sync.links(("a", "h", "account"), ("c", "h", "account"))

    counts = sync.load(permitted)

    assert sync.there() == ["b"]
    assert counts["withheld"] == 1


def test_a_cluster_that_is_too_large_is_denied_as_a_doubt_with_a_warning(
    sync: LinkedSync, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [f"p{number}" for number in range(6)]
    sync.people(*ids)
    sync.consents(**dict.fromkeys(ids, True))
    sync.links(*((one, "office", "ip") for one in ids[:4]), (ids[4], "home", "ip"), (ids[5], "home", "ip"))
    small = IdentityLinks(LINKS.sql, subject="person", identifier="identifier", key="id", max_cluster_size=3)

    permitted = sync.permitted(identities=small)

    assert permitted["permitted"] == {"crm": 2}
    assert open_permitted(permitted).manifest.destinations["crm"].denied_by_reason == {"suppression:linked_doubt": 4}
    assert "1 clusters have more than max_cluster_size=3 people, the largest 4: all 4 people" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("links", "identities", "message"),
    [
        ([], LINKS, "the identities have 0 links, min_rows is 1"),
        ([("zz", "h", "account")], LINKS, "none of 1 rows has a subject there for `consent_retl_cluster`"),
        ([], SuppressionList("SELECT 1", subject="id"), "identities: expected IdentityLinks"),
    ],
    ids=["empty", "a wrong key", "another class"],
)
def test_links_that_cannot_be_relied_on_fail_the_extraction(
    sync: LinkedSync, links: list[Any], identities: Any, message: str
) -> None:
    sync.people("a")
    sync.consents(a=True)
    sync.links(*links)

    with task_fails(match=message):
        sync.extracted(identities=identities)


def test_links_that_lost_many_rows_fail_the_extraction(sync: LinkedSync) -> None:
    watched = IdentityLinks(
        LINKS.sql, subject="person", identifier="identifier", kind="kind", key="id", max_shrink_ratio=0.2
    )
    sync.people("a", "b")
    sync.consents(a=True, b=True)
    sync.links(("a", "h", "account"), ("b", "i", "account"))
    sync.extracted(identities=watched)
    sync.links(("a", "h", "account"))

    with task_fails(match=r"more than max_shrink_ratio=0\.2 allows"):
        sync.extracted(identities=watched)


class LoadToAudience(LoadToSqlTableOperator):
    """A load to a destination that knows people by their e-mail."""

    knows_by_identifiers = True


def test_an_address_that_two_people_share_goes_with_neither_while_one_says_no_and_a_load_without_links_warns(
    sync: LinkedSync, capsys: pytest.CaptureFixture[str]
) -> None:
    sync.people("a", "b", "c")
    sync._run("UPDATE people SET email = 'Shared@x.example' WHERE id IN ('a', 'b')")
    sync.consents(a=True, b=False, c=True)
    by_email = IdentityLinks("SELECT id, email FROM people", subject="id", identifier="email", identifier_match="email")
    audience = partial(LoadToAudience, destination="crm", policy=POLICY, workspace=sync.workspace, **LOAD.keywords)

    audience(task_id="load", permitted=sync.permitted(identities=None)).execute({})
    before, warned = sync.there(), capsys.readouterr().out
    audience(task_id="load", permitted=sync.permitted(identities=by_email)).execute({})

    assert (before, sync.there()) == (["a", "c"], ["c"])
    assert LoadToGoogleCustomerMatchOperator.knows_by_identifiers
    warning = "`crm` knows people by `id`, `email`, which two people may share, and model `people` has no identities"
    assert warned.count(warning) == 1
    assert warning not in capsys.readouterr().out


def test_the_history_of_a_person_shows_the_reason_and_nobody_else(sync: LinkedSync) -> None:
    sync.people("a", "b")
    sync.consents(a=True, b=True)
    sync.links(("a", "h", "account"))
    sync.load()
    sync.consents(a=True, b=False)
    sync.links(("a", "h", "account"), ("b", "h", "account"))
    sync.load()

    found = person_history("a", workspace=sync.workspace)

    decided = [one.reasons for one in found.decisions]
    assert decided == [(), ("C0004:linked_no",)]
    assert "'b'" not in repr(found)


def test_neither_identifiers_nor_ids_of_others_are_written_beside_the_rows(
    sync: LinkedSync, capsys: pytest.CaptureFixture[str]
) -> None:
    sync.people("a", "b")
    sync.consents(a=True, b=True, canaryperson=False)
    sync.links(("a", "canaryidentifier", "canarykind"), ("canaryperson", "canaryidentifier", "canarykind"))

    snapshot = sync.extracted()
    permitted = sync.permitted(snapshot)
    counts = sync.load(permitted)
    fast = sync.withdraw()

    told = json.dumps([snapshot, permitted, counts, fast], default=str) + capsys.readouterr().out
    documents = "".join(path.read_text(errors="ignore") for path in sync.path.rglob("*.json"))
    assert "canary" not in told + documents
    # Of the people who are not in the model, the snapshot has their ids and nothing else but consent.
    kept = b"".join(path.read_bytes() for path in sync.path.rglob("*.parquet"))
    assert b"canaryidentifier" not in kept
    assert open_snapshot(snapshot).manifest.linked.people == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("identifier", "kind", "problem"),
    [
        ("id", None, r"`id` is `subject` already.*`id AS identifier`.*\.identifier"),
        ("e", "e", r"the column `e` is `identifier` already.*\.kind"),
    ],
)
def test_one_column_in_two_roles_is_refused_where_the_links_are_declared(
    identifier: str, kind: str | None, problem: str
) -> None:
    with pytest.raises(PolicyError, match=problem):
        IdentityLinks("SELECT id, e FROM links", subject="id", identifier=identifier, kind=kind)


def test_a_changed_mapping_of_linked_people_is_not_compared_and_stops_the_run(sync: LinkedSync) -> None:
    sync.people("a", "b")
    sync.consents(a=True, b=True)
    sync.links(("a", "x", "email"), ("b", "x", "email"))
    turned, sync.consent = sync.consent, {"C0004": OptOut("ads_ok")}
    assert sync.permitted()["rows"] == 0
    # By both mappings at once, everybody is linked to a no.
    sync.consent, sync.max_released_ratio = turned, 1.0
    for _ in range(2):
        with task_fails(match=r"the consent mapping releases cannot be computed; set max_released_ratio to None"):
            sync.permitted()
    sync.max_released_ratio = None
    assert sync.permitted()["rows"] == 2

    sync.consent, sync.max_released_ratio = {**turned, "C0002": "email"}, 0.0

    assert sync.permitted()["rows"] == 2
