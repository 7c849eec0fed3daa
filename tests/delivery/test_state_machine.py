"""The whole protocol against a small world in which anything happens in any order.

A source and a policy that change, loads in every mode, old runs loaded or filtered again, the fast lane; a vendor that
loses, delays, rejects and misstates; workers that die, or are paused while another one works; and between runs all that
`support.sync_life` has. Whatever happens: each person who is sent, and each name, was permitted by both the permitted
set and the last answer of the source; after a load or the fast lane nothing is there that is not permitted;
every person who may be at the vendor can be removed, and one quiet run makes everything right.

`make test` runs a few examples, the same ones each time. `make state-machine` runs many random ones; a failure prints
its steps as they were, since a shorter example would take minutes to find.

With enough examples it finds each of these errors, which were inserted by hand: a fold that drops uncertain rows,
attempts that never ended counted as unsent, a removal that is final although an older request may arrive late, a row
accepted after such a request counted as settled, unconfirmed people counted as unchanged, a recheck that withholds no
one, one key for other rows, old decisions not refused, decisions that change nothing not recorded, a ledger without
fencing, a delivery resolved without its outcomes, guards that block withdrawals.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from support.permitting import AirflowFailException
from support.sync_life import BetweenRuns
from support.sync_places import Places
from support.sync_source import LAWS, NOW, THEN, Change, Delete, EditPolicy, Put, Say, Withdraw
from support.sync_vendor import Fault
from support.sync_world import ARRIVING, STEPS, Act, Disturbance, Ended, SyncWorld

from airflow_consent_retl.delivery.attempts import BatchKind
from airflow_consent_retl.errors import RefusedError

numbers = st.integers(1, 6)
consents = st.sampled_from([True, True, False, None])
versions = st.integers(1, 2)
# Why an old run is refused; the third is asked first.
OLD = ("already has newer data", "already has a newer decision", "under the time zone")
modes = st.sampled_from(["mirror", "mirror", "upsert", "insert", "full"])
person = st.builds(Put, numbers, email=versions, name=versions, analytics=consents, ads=consents)
permitted = st.builds(Put, numbers, email=versions, name=versions, analytics=st.just(True), ads=st.just(True))
saying = st.builds(Say, numbers, analytics=consents, ads=consents)
leaving = st.builds(Withdraw, numbers) | st.builds(Delete, numbers)
editing = st.builds(EditPolicy, st.sampled_from(sorted(LAWS)))
changes = st.sampled_from([permitted, permitted, person, person, saying, leaving, leaving, editing]).flatmap(
    lambda kind: kind
)
news = st.lists(changes, min_size=1, max_size=4)
late_news = st.lists(changes, max_size=2)
faults = st.lists(st.sampled_from([*Fault, Fault.NONE, Fault.NONE, Fault.LATE, Fault.LATE]), min_size=1, max_size=4)
acts = [*Act, Act.KILL, Act.KILL, Act.WITHDRAW]
# More often while requests are in progress.
steps = [*STEPS, *3 * ["intended", ARRIVING, "answered"]]
disturbances = st.none() | st.builds(
    Disturbance, st.sampled_from(acts), st.sampled_from(steps), st.sampled_from([1, 1, 1, 2]), numbers
)


class Syncing(BetweenRuns):
    places = Places()

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="consent-retl-world-")
        self.world = SyncWorld(Path(self._folder.name), self.places)
        self.mode = "mirror"

    def teardown(self) -> None:
        try:
            # Whatever happened, unless it was wrong already.
            if sys.exc_info()[0] is None and self.world.filtered:
                news = [Put(number, email=1, name=3, analytics=True, ads=True) for number in (1, 2, 3)]
                self.a_quiet_run_makes_everything_right([*news, Withdraw(4), Delete(5)], self.mode)
                self.everybody_who_may_be_there_is_known()
                self.only_the_permitted_were_sent()
        finally:
            self.world.close()
            self._folder.cleanup()

    @initialize(
        law=st.sampled_from(sorted(LAWS)), people=st.lists(st.tuples(consents, consents), min_size=6, max_size=6)
    )
    def begin(self, law: str, people: list[tuple[bool | None, bool | None]]) -> None:
        added = [
            Put(number, email=1, name=1, analytics=analytics, ads=ads)
            for number, (analytics, ads) in enumerate(people, start=1)
        ]
        self._filter([EditPolicy(law), *added])

    @rule(news=news, mode=modes, planned=faults, disturbance=disturbances)
    def filter_and_load(
        self, news: list[Change], mode: str, planned: list[Fault], disturbance: Disturbance | None
    ) -> None:
        self._filter(news)
        self._load(0, mode, planned, disturbance)

    @rule(news=late_news, planned=faults, disturbance=disturbances)
    def retry(self, news: list[Change], planned: list[Fault], disturbance: Disturbance | None) -> None:
        self.world.source.happen(news)
        self._load(0, self.mode, planned, disturbance)

    @rule(news=news, late_news=late_news, mode=modes, planned=faults)
    def filter_and_load_what_is_old_by_then(
        self, news: list[Change], late_news: list[Change], mode: str, planned: list[Fault]
    ) -> None:
        self._filter(news)
        self.world.source.happen(late_news)
        self._load(0, mode, planned, None)

    @rule(news=news, mode=modes, planned=faults, disturbance=disturbances)
    def backfill(self, news: list[Change], mode: str, planned: list[Fault], disturbance: Disturbance | None) -> None:
        """Load the names of an older logical date, with the consent of now."""
        self._filter(news, sql=THEN)
        self._load(0, mode, planned, disturbance)

    @rule(back=st.integers(0, 3), mode=modes, planned=faults, disturbance=disturbances)
    def clear_a_load(self, back: int, mode: str, planned: list[Fault], disturbance: Disturbance | None) -> None:
        self._load(back, mode, planned, disturbance)

    @rule(back=st.integers(1, 3), mode=modes, planned=faults, disturbance=disturbances)
    def clear_a_filter(self, back: int, mode: str, planned: list[Fault], disturbance: Disturbance | None) -> None:
        """Decide consent of then again, under the policy of now, and load that."""
        self.world.filter(back=back)
        self._load(0, mode, planned, disturbance)

    @rule(news=news, planned=faults, disturbance=disturbances)
    def run_the_fast_lane(self, news: list[Change], planned: list[Fault], disturbance: Disturbance | None) -> None:
        world = self.world
        world.source.happen(news)
        world.vendor.faults.extend(planned)

        ended = world.withdraw(disturbance)

        world.vendor.faults.clear()
        if ended.counts is not None and disturbance is None:
            self._check_nobody_is_there_against_their_will()

    @rule()
    def the_vendor_catches_up(self) -> None:
        self.world.vendor.catch_up()

    @rule(news=news, number=numbers, mode=modes)
    def load_under_guards(self, news: list[Change], number: int, mode: str) -> None:
        """The guard allows no addition and no removal, but a person who takes back what was asked for is removed."""
        world = self.world
        world.vendor.catch_up()
        self._filter([*news, Withdraw(number)])
        before, asked = len(world.vendor.requests), world.surely_asked

        ended = world.load(mode=mode, guard=0.0)

        if isinstance(ended.error, AirflowFailException):
            assert "nothing was sent" in str(ended.error)
            assert {request.kind for request in world.vendor.requests[before:]} <= {BatchKind.REMOVE, BatchKind.CLEAR}
        else:
            assert ended.error is None, ended.error
        law = world.source.law
        withdrawn = {key for key, person in world.source.people.items() if law.was_withdrawn(person, asked=asked)}
        assert not withdrawn & {payload.id for payload in world.vendor.people.values()}

    @rule(news=news, mode=modes)
    def a_quiet_run_makes_everything_right(self, news: list[Change], mode: str) -> None:
        world = self.world
        world.vendor.process()
        self._filter(news)

        # What was never answered takes effect after all that, and the same load once more makes it good.
        first = world.load(mode=mode)
        world.vendor.catch_up()
        ended = world.load(mode=mode)

        assert first.error is None, first.error
        assert ended.error is None, ended.error
        self._check_counts(ended, mode)
        self._check_nobody_is_there_against_their_will()
        self._check_everybody_is_there(mode)
        self._check_nothing_is_left_to_do(mode)

    # Laws

    @invariant()
    def only_the_permitted_were_sent(self) -> None:
        assert not self.world.violations
        assert not self.world.vendor.broken_keys

    @invariant()
    def everybody_who_may_be_there_is_known(self) -> None:
        world = self.world
        there = world.vendor.people.keys() | world.vendor.still_coming()
        assert there <= {entry.email for entry in world.delivered()} | world.being_sent()

    def _filter(self, news: list[Change], *, sql: str = NOW) -> None:
        self.world.source.happen(news)
        self.world.extract(sql=sql)
        self.world.filter()

    def _load(self, back: int, mode: str, planned: list[Fault], disturbance: Disturbance | None) -> None:
        world = self.world
        self.mode = mode
        run = world.filtered[-1 - back % len(world.filtered)]
        # A cleared filter decides anew, and about older data.
        is_old = run.decided_at < world.loaded_up_to or run.read_at < world.data_up_to
        before = len(world.vendor.requests)
        world.vendor.faults.extend(planned)

        ended = world.load(back=back, mode=mode, disturbance=disturbance)

        world.vendor.faults.clear()
        if is_old and disturbance is None:
            assert any(reason in str(ended.error) for reason in OLD), ended.error
            assert len(world.vendor.requests) == before
        assert not (is_old and ended.counts)
        # A worker that lost its lease reports that, and not that its files are wrong.
        assert not isinstance(ended.error, RefusedError) or "already has newer data" in str(ended.error)
        self._check_counts(ended, mode)

    def _check_counts(self, ended: Ended, mode: str) -> None:
        counts: dict[str, Any] = ended.counts or {}
        if not counts:
            return
        assert counts["permitted"] == sum(counts[name] for name in ("added", "updated", "unchanged", "skipped"))
        sent = sum(counts[name] for name in ("accepted", "withheld"))
        assert sent == (counts["permitted"] if mode == "full" else counts["added"] + counts["updated"])
        assert not any(counts[name] for name in ("rejected", "uncertain", "pending", "unsent", "not_removed"))

    def _check_nobody_is_there_against_their_will(self) -> None:
        world = self.world
        there = {payload.id for payload in world.vendor.people.values()}
        assert there & world.source.people.keys() <= world.source.allowed()
        with_name = {payload.id for payload in world.vendor.people.values() if payload.name is not None}
        assert with_name & world.source.people.keys() <= world.source.named()

    def _check_everybody_is_there(self, mode: str) -> None:
        world = self.world
        there, should = world.vendor.people, dict(world.filtered[-1].permitted.values())
        if mode in {"mirror", "full"}:
            assert there.keys() <= should.keys()
        if mode == "insert":
            assert {payload.id for payload in should.values()} <= {payload.id for payload in there.values()}
        else:
            assert should.items() <= there.items()

    def _check_nothing_is_left_to_do(self, mode: str) -> None:
        world = self.world
        entries = world.delivered()
        # Who is in doubt, because of a request that may take effect yet, is sent or removed again.
        is_settled = all(entry.is_confirmed for entry in entries)
        if mode != "full" and is_settled and sorted(entry.id for entry in entries) == sorted(world.source.allowed()):
            before = len(world.vendor.requests)
            assert world.load(mode=mode).error is None
            assert len(world.vendor.requests) == before


# How many examples each kind of places gets, and whether they are the same in each run.
_EXAMPLES = int(os.environ.get("CONSENT_RETL_STATE_MACHINE_EXAMPLES", "0"))


@pytest.mark.samples(2)
@pytest.mark.parametrize(
    ("ledger", "rows", "examples"),
    [("sqlite", "files", 4), ("postgres", "files", 2), ("sqlite", "warehouse", 1), ("postgres", "warehouse", 1)],
)
def test_the_promise_holds_whatever_happens(
    ledger: str, rows: str, examples: int, request: pytest.FixtureRequest
) -> None:
    server = None if (ledger, rows) == ("sqlite", "files") else request.getfixturevalue("postgres")

    class Placed(Syncing):
        places = Places(ledger, rows, server)

    run_state_machine_as_test(
        Placed,
        settings=settings(
            max_examples=_EXAMPLES or examples,
            stateful_step_count=30 if _EXAMPLES else 12,
            # Each step takes a while: the first failing example is reported as it is, and not made smaller for minutes.
            phases=[Phase.generate],
            deadline=None,
            derandomize=not _EXAMPLES,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
