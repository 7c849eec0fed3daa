"""What happens to a sync between its runs, as rules of a state machine over a small world.

Another ledger, a moved target, another session zone, a renamed model, a load that is taken out of service, a looser
policy, a shared target, a person erased at the source, a table dropped. Each rule checks its own law at once, then
makes the world sound again, by one of the remedies that errors name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from datetime import UTC, datetime

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from support.permitting import AirflowFailException
from support.sync_source import FIRST, LAST, LAWS, NOW, Change, Delete, EditPolicy, Withdraw
from support.sync_world import Ended, SyncWorld

from airflow_consent_retl.delivery.ledger.records import sync_name

numbers = st.integers(1, 6)
_NEVER = datetime.min.replace(tzinfo=UTC)
# The model that shares the target.
_OTHER = "leads"


class BetweenRuns(RuleBasedStateMachine):
    """The rules. A subclass makes the world, and has the rules of the runs themselves."""

    world: SyncWorld
    mode: str

    # Ledger

    @rule(adopts=st.booleans())
    def the_ledger_is_another_one(self, adopts: bool) -> None:
        world = self._quiet()
        people = {entry.email for entry in world.delivered()}
        true = world.ledger.replace(None)

        self._is_refused("belongs to ledger", anyone=True)

        if not adopts or not people:
            world.ledger.replace(true)
            return
        world.adopt()
        assert people <= {entry.email for entry in world.delivered()} | world.being_sent()
        # What was read for the newest data is lost with the ledger, and a backup is of another one.
        world.data_up_to, world.backup = _NEVER, None

    @rule()
    def the_ledger_is_backed_up(self) -> None:
        self.world.backup = self.world.ledger.copy()
        self.world.backed_up = self.world.progress()

    @precondition(lambda self: self.world.backup is not None)
    @rule(adopts=st.booleans())
    def an_older_ledger_is_restored(self, adopts: bool) -> None:
        world = self._quiet()
        people = {entry.email for entry in world.delivered()}
        is_new = world.progress() != world.backed_up
        true = world.ledger.replace(world.backup)

        if is_new:
            self._is_refused("older backup", anyone=True)
        if not adopts or not people:
            world.ledger.replace(true)
            return
        world.adopt()
        assert people <= {entry.email for entry in world.delivered()} | world.being_sent()
        # What was a backup is the ledger.
        world.loaded_up_to, world.data_up_to, world.backup = _NEVER, _NEVER, None

    # Target

    @rule(comes_along=st.booleans())
    def the_target_moves(self, comes_along: bool) -> None:
        world = self._quiet()
        if not world.delivered() and not world.has_delivery():
            return
        old, new = world.vendor.place, f"{world.vendor.place}'s new place"
        world.vendor.place = new
        # An old run would be refused for its age.
        self._filter([])

        for ended in self._is_refused(f"delivered to {old} before, now it would deliver to {new}"):
            assert "moved_from" in str(ended.error)

        if comes_along:
            _is_good(world.load(mode=self.mode, moved_from=old))
            world.backup = None
        else:
            world.vendor.place = old

    @rule(is_declared_gone=st.booleans())
    def the_table_is_dropped(self, is_declared_gone: bool) -> None:
        world = self._quiet()
        if not any(entry.is_confirmed for entry in world.delivered()) or world.has_delivery():
            return
        people, world.vendor.people = world.vendor.people, {}

        self._filter([])
        self._is_refused("the vendor has no one")

        if is_declared_gone:
            world.adopt(gone=True)
            world.data_up_to = _NEVER
        else:
            world.vendor.people = people

    @precondition(lambda self: self.world.is_in_files)
    @rule(number=numbers)
    def another_sync_shares_the_target(self, number: int) -> None:
        world = self._quiet()
        own, other = world.sync, sync_name(_OTHER, "crm")
        # It may have delivered before the zone changed.
        zone = world.zone or "UTC"
        self._filter([])
        _is_good(world.load(mode="mirror"))
        world.filter_of(_OTHER, FIRST)
        if world.vendor.people:
            before = len(world.vendor.requests)
            refused = world.load_of(_OTHER, accept_time_zone=zone)
            assert "has people too" in str(refused.error)
            assert len(world.vendor.requests) == before

        _is_good(world.load(mode="mirror", shares_target_with=[other]))
        _is_good(world.load_of(_OTHER, shares_target_with=[own], accept_time_zone=zone))
        # They leave this model, and the other one has them.
        world.extract(sql=LAST)
        world.filter()
        _is_good(world.load(mode="mirror", shares_target_with=[other]))
        self._is_there(world.source.allowed())

        # Whoever withdraws is gone once both were asked.
        world.source.happen([Withdraw(number)])
        world.extract(sql=LAST)
        world.filter()
        _is_good(world.load(mode="mirror", shares_target_with=[other]))
        world.filter_of(_OTHER, FIRST)
        _is_good(world.load_of(_OTHER, shares_target_with=[own], accept_time_zone=zone))
        self._is_there(world.source.allowed())

        _is_good(world.retire(_OTHER, shares_target_with=[own]))
        self._is_there({person for person in world.source.allowed() if person > 3})
        world.forget_runs()
        self._filter([])
        _is_good(world.load(mode="mirror"))

    # Model and source

    @precondition(lambda self: self.world.source.database.has_zones)
    @rule(zone=st.sampled_from(["Europe/Paris", "America/New_York", None]), is_accepted=st.booleans())
    def the_session_zone_changes(self, zone: str | None, is_accepted: bool) -> None:
        world = self._quiet()
        self._filter([])
        _is_good(world.load(mode=self.mode))
        if zone == world.zone:
            return
        old, world.zone = world.zone, zone
        self._filter([])

        (load,) = self._is_refused(f"under the time zone {old or 'UTC'}, now it is {zone or 'UTC'}", lane=False)
        assert "accept_time_zone" in str(load.error)

        if is_accepted:
            _is_good(world.load(mode=self.mode, accept_time_zone=zone or "UTC"))
            world.backup = None
        else:
            world.zone = old
            # What was filtered under the other zone would be the first to say so after a loss.
            world.forget_runs()
        self._filter([])

    @rule(name=st.sampled_from(["people", "clients"]))
    def the_model_gets_another_name(self, name: str) -> None:
        world = self._quiet()
        if name == world.model or world.has_delivery():
            return
        old, has_people = world.model, bool(world.delivered())
        if has_people:
            world.filter_of(name, NOW)
            before = len(world.vendor.requests)
            refused = world.load_of(name)
            # After an adoption it is not known where they are.
            assert "has people too" in str(refused.error) or "is new, and" in str(refused.error)
            assert len(world.vendor.requests) == before
        people = sorted(world.delivered())

        ended = world.hand_over(name)

        if ended.error is not None:
            # A run that died left work in the sync's folder, or there was none yet.
            assert "unfinished delivery" in str(ended.error) or "does not know the sync" in str(ended.error)
            return
        world.model, world.backup = name, None
        assert sorted(world.delivered()) == people
        world.forget_runs()
        self._filter([])
        assert not has_people or "has people too" in str(world.load_of(old).error)

    @rule()
    def the_sync_is_retired(self) -> None:
        world = self._quiet()

        ended = world.retire()

        if ended.error is None:
            assert not world.vendor.people
            assert not world.delivered()
        else:
            found = str(ended.error)
            assert "may still bring them back" in found or "is not among the" in found, found
            assert not world.vendor.people or "is not among the" in found

    @rule(number=numbers, by_lane=st.booleans())
    def a_person_is_erased_at_the_source(self, number: int, by_lane: bool) -> None:
        world = self._quiet()
        self._filter([])
        _is_good(world.load(mode="upsert"))
        world.source.happen([Delete(number)])

        if by_lane:
            ended = world.withdraw(absent="withdrawn")
        else:
            self._filter([])
            ended = world.load(mode="upsert", absent="withdrawn")

        if ended.error is None:
            assert number not in self._there()
        else:
            assert by_lane
            assert "the policy requires no consent" in str(ended.error)

    @rule()
    def the_table_of_people_is_gone(self) -> None:
        world = self._quiet()
        people = dict(world.vendor.people)
        world.source.database.run("ALTER TABLE people RENAME TO elsewhere")

        ended = [world.extraction(), world.withdraw(), world.load(mode=self.mode)]

        world.source.database.run("ALTER TABLE elsewhere RENAME TO people")
        assert ended[0].error is not None
        if not world.source.law.needs:
            return
        # Nobody is added without being asked for.
        assert set(world.vendor.people) <= set(people)
        assert ended[1].error is not None or not world.delivered()

    @rule(law=st.sampled_from(sorted(LAWS)))
    def the_policy_is_loosened(self, law: str) -> None:
        """A limit of 0 on released people lets no changed policy permit anybody more."""
        world = self._quiet()
        self._filter([])
        before, guarded = world.source.allowed(), world.source.guarded()
        runs = len(world.filtered)
        world.source.happen([EditPolicy(law)])
        world.extract()

        ended = world.filtering(max_released_ratio=0.0)

        # Who is newly permitted, and whose name is.
        if world.source.allowed() - before or guarded & world.source.named() & world.source.allowed():
            assert isinstance(ended.error, AirflowFailException)
            assert "max_released_ratio" in str(ended.error)
            assert len(world.filtered) == runs
        else:
            assert ended.error is None, ended.error
        world.filter()

    def _quiet(self) -> SyncWorld:
        """Let the vendor do all it was asked to."""
        self.world.vendor.catch_up()
        return self.world

    def _there(self) -> set[int]:
        return {payload.id for payload in self.world.vendor.people.values()}

    def _is_there(self, people: Collection[int]) -> None:
        """Check who is there, but for people whom an unanswered request may bring back: they are removed again."""
        in_doubt = {entry.id for entry in self.world.delivered() if not entry.is_confirmed}
        assert set(people) <= self._there(), (people, self._there())
        assert self._there() <= set(people) | in_doubt, (people, self._there(), in_doubt)

    def _is_refused(self, because: str, *, lane: bool = True, anyone: bool = False) -> list[Ended]:
        """Check that a load and the fast lane are refused, without a request."""
        world = self.world
        before = len(world.vendor.requests)
        found = [world.load(mode="mirror"), *([world.withdraw()] if lane else [])]
        for number, ended in enumerate(found):
            # Without any consent to ask for, the fast lane refuses before it looks.
            is_other = number == 1 and not anyone and "requires no consent" in str(ended.error)
            assert is_other or because in str(ended.error), (number, ended)
        assert len(world.vendor.requests) == before
        return found

    @abstractmethod
    def _filter(self, news: list[Change], *, sql: str = NOW) -> None:
        """Extract and filter."""


def _is_good(ended: Ended) -> None:
    assert ended.error is None, ended.error
