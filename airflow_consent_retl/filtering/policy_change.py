"""The check of a policy or a consent mapping that changed since a sync's last run: it reports the difference, or stops.

Both decide who is permitted. What the last run decided by is planned as a whole, its policy with its mapping, and
applied to the rows of this run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from airflow_consent_retl.consent.plain_json import canonical
from airflow_consent_retl.errors import ConfigurationError, GuardError, PolicyError, Problem
from airflow_consent_retl.filtering.former_plan import former_plan
from airflow_consent_retl.progress import by_count, filled, listed, short, table

if TYPE_CHECKING:
    from airflow_consent_retl.consent import (
        ColumnKind,
        ConsentPlan,
        ConsentPolicy,
        MappingDocument,
        PlanPair,
        PolicyDiff,
    )
    from airflow_consent_retl.consent.plan import PlanFor
    from airflow_consent_retl.consent.policy_diff import DestinationDiff
    from airflow_consent_retl.filtering.decided import DecidedSignatures
    from airflow_consent_retl.filtering.former_plan import PlanOf
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.policy_archive import PolicyEffect
    from airflow_consent_retl.storage.policy_history import PolicyHistory

MaxReleased = float | Literal["default"] | None

DEFAULT_RELEASED_RATIO: Final = 0.05
# In a small table, one person is a large share.
DEFAULT_RELEASED_ROWS: Final = 10
_POLICY: Final = "the policy"
_MAPPING: Final = "the consent mapping"
_BOTH: Final = "the policy with its consent mapping"


@dataclass(frozen=True, slots=True)
class _Compared:
    """A pair of plans, and what differs between them."""

    what: str
    pair: PlanPair


class PolicyChange:
    """The policy and the consent mapping of a run, and for each destination those of the run before it.

    Args:
        histories: by destination, the policies under which this model was decided for it.
        policy: the policy of this run.
        log: the task's log.
        max_released_ratio: the largest share of rows that the changed policy may newly permit to one destination;
            "default": `DEFAULT_RELEASED_RATIO` of the rows or `DEFAULT_RELEASED_ROWS` rows, whichever is more; None: no
            limit.
        waiting: a policy that waits for an approval, whose effect is counted; None: there is none.
        lost: by destination, the policy of its last run and the time of that run, where the history lacks them.
        consent: the document of the consent mapping of this run.
        mappings: by destination, the document of the consent mapping of its last run, where it is known.
        kept: by destination, what `latest_mapping` of its history returned.
        is_linked: whether identities link rows of the model to each other.

    Raises:
        ConfigurationError: the limit is no number from 0 to 1.
        RefusedError: a history cannot be read.
    """

    def __init__(
        self,
        histories: Mapping[str, PolicyHistory],
        policy: ConsentPolicy,
        log: TaskLog,
        *,
        max_released_ratio: MaxReleased = "default",
        waiting: ConsentPolicy | None = None,
        lost: Mapping[str, tuple[ConsentPolicy, datetime]] = MappingProxyType({}),
        consent: MappingDocument,
        mappings: Mapping[str, MappingDocument],
        kept: Mapping[str, tuple[MappingDocument, datetime] | None],
        is_linked: bool,
    ) -> None:
        if not (max_released_ratio in (None, "default") or _is_ratio(max_released_ratio)):
            raise ConfigurationError('max_released_ratio must be a number from 0 to 1, "default" or None')
        self._histories = histories
        self._policy = policy
        self._log = log
        self._max_released_ratio = max_released_ratio
        self._waiting = waiting
        self._waiting_pair: PlanPair | None = None
        self._waiting_diff: PolicyDiff | None = None
        self._lost = lost
        self._latest = {
            name: lost[name][0] if name in lost else history.latest() for name, history in histories.items()
        }
        self._consent = consent
        self._mappings = mappings
        self._kept = kept
        self._is_linked = is_linked
        self._compared: list[_Compared] = []
        self._diffs: list[tuple[str, PolicyDiff]] = []
        # What cannot be compared.
        self._unknown: list[str] = []

    @property
    def _before(self) -> dict[ConsentPolicy, list[str]]:
        """The destinations whose last run had another policy, by that policy."""
        found: dict[ConsentPolicy, list[str]] = {}
        for name, before in self._latest.items():
            if before is not None and before.digest != self._policy.digest:
                found.setdefault(before, []).append(name)
        return found

    @property
    def _decided_by(self) -> list[tuple[ConsentPolicy, MappingDocument | None, list[str]]]:
        """The policies and mappings that differ from this run's, with their destinations. None: no other mapping."""
        found: dict[tuple[str, str], tuple[ConsentPolicy, MappingDocument | None, list[str]]] = {}
        own = canonical(self._consent)
        for name, before in self._latest.items():
            mapping = self._mappings.get(name)
            text = own if mapping is None else canonical(mapping)
            if before is not None and (before.digest, text) != (self._policy.digest, own):
                other = None if text == own else mapping
                found.setdefault((before.digest, text), (before, other, []))[2].append(name)
        return list(found.values())

    @property
    def changed_from(self) -> dict[str, str]:
        """By each destination whose last run had another policy, the digest of that policy."""
        return {name: before.digest for before, names in self._before.items() for name in names}

    def check_guarded(self) -> None:
        """Refuse destinations that were guarded at the last run, and would be open now.

        Raises:
            PolicyError: with every such destination.
        """
        from airflow_consent_retl.consent import fell_out

        problems = [
            Problem("destinations", refusal)
            for before, names in self._before.items()
            for name in names
            if (refusal := fell_out(before, self._policy, name)) is not None
        ]
        if problems:
            raise PolicyError(sorted(problems))

    def both(self, plan_of: PlanOf) -> PlanFor:
        """Return the maker of the run's plan, which also reads everything that the previous policies needed."""
        names = list(self._histories)

        def plan(kinds: Mapping[str, ColumnKind]) -> ConsentPlan:
            from airflow_consent_retl.consent import pair_plans

            new, compared = plan_of(self._policy, names, None)(kinds), []
            self._unknown = []
            waits = None
            if self._waiting is not None:
                try:
                    waits = pair_plans(plan_of(self._waiting, names, None)(kinds), new)
                except PolicyError as error:
                    self._log.warning(
                        "the effect of the policy that waits for an approval cannot be computed: %s", error
                    )
                else:
                    new = waits.plan
            for before, mapping, changed in self._decided_by:
                is_same = before.digest == self._policy.digest
                what = _POLICY if mapping is None else _MAPPING if is_same else _BOTH
                try:
                    old, is_other = former_plan(
                        before, mapping, plan_of=plan_of, kinds=kinds, names=changed, is_linked=self._is_linked
                    )
                except PolicyError as error:
                    self._unknown.append(what)
                    self._log.warning("%s changed, and its effect on the rows cannot be computed: %s", what, error)
                    continue
                if is_same and not is_other:
                    # The mapping changed where nothing of these destinations is read.
                    continue
                pair = pair_plans(old, new)
                compared.append(_Compared(what if is_other else _POLICY, pair))
                new = pair.plan
            # The last one reads the signals of all.
            self._compared = [replace(one, pair=replace(one.pair, plan=new)) for one in compared]
            self._waiting_pair = None if waits is None else replace(waits, plan=new)
            return new

        return plan

    def check(self, decided: DecidedSignatures, *, at: datetime) -> None:
        """Log the rows that are gained and lost.

        Raises:
            GuardError: more rows than allowed would be released, or their number cannot be computed.
        """
        self._diffs = diffs = [(one.what, one.pair.diff(decided.signatures(), at=at)) for one in self._compared]
        if self._waiting_pair is not None:
            self._waiting_diff = self._waiting_pair.diff(decided.signatures(), at=at)
        for what, diff in diffs:
            self._log.warning("%s changed since the last run\n%s", what, diff_lines(diff))
        if self._unknown and self._max_released_ratio is not None:
            what = self._unknown[0]
            raise GuardError(
                f"nothing was published: {what} changed, and max_released_ratio is {self._limit}, but the number "
                f"of rows that {what} releases cannot be computed; set max_released_ratio to None for one run to "
                f"accept {what}"
            )
        passed = [
            f"`{name}`: {found.released:,} of {diff.rows:,} rows are released{_with_fields(found)}"
            for _, diff in diffs
            for name, found in diff.destinations.items()
            if found.released > self._allowed(diff)
        ]
        if passed:
            changed = " and ".join(dict.fromkeys(what for what, _ in diffs))
            raise GuardError(
                f"nothing was published: {changed} changed, and max_released_ratio is {self._limit}; "
                f"{'; '.join(passed)}. If these people may be sent, set a higher max_released_ratio for one run"
            )

    @property
    def _limit(self) -> str:
        if self._max_released_ratio == "default":
            return f"{DEFAULT_RELEASED_RATIO} by default, and at least {DEFAULT_RELEASED_ROWS} rows"
        return str(self._max_released_ratio)

    def _allowed(self, diff: PolicyDiff) -> float:
        limit = self._max_released_ratio
        if limit is None:
            return diff.rows
        if limit == "default":
            return max(DEFAULT_RELEASED_RATIO * diff.rows, DEFAULT_RELEASED_ROWS)
        return limit * diff.rows

    def accept(self, *, at: datetime) -> None:
        """Store the policy and its mapping, for each destination, after the run has published under them."""
        for name, (policy, decided_at) in self._lost.items():
            self._histories[name].add(policy, at=decided_at, consent=self._mappings.get(name))
        for name, before in self._latest.items():
            history = self._histories[name]
            kept = self._kept[name]
            mapping = self._mappings.get(name) if name in self._lost else kept and kept[0]
            is_kept = mapping is not None and canonical(mapping) == canonical(self._consent)
            # An earlier release signed no entry, and wrote no mapping.
            if before is None or before.digest != self._policy.digest or not is_kept or not history.is_signed:
                history.add(self._policy, at=at, consent=self._consent)

    def effects(self, model: str, *, at: datetime) -> list[PolicyEffect]:
        """Return the people that the policy gained and lost at this run, for each policy that it replaced."""
        from airflow_consent_retl.storage.policy_archive import PolicyEffect

        return [
            PolicyEffect(
                model,
                diff.old_digest,
                at,
                {str(name): (found.released, found.taken) for name, found in diff.destinations.items()},
            )
            for what, diff in self._diffs
            if what != _MAPPING
        ]

    def expected(self, model: str, *, at: datetime) -> PolicyEffect | None:
        """Return the people whom the policy that waits would gain and lose; None: there is none, or it is unknown."""
        from airflow_consent_retl.storage.policy_archive import PolicyEffect

        found = self._waiting_diff
        if found is None:
            return None
        # Compared the other way round: whom the present policy loses, the other one gains.
        people = {str(name): (one.taken, one.released) for name, one in found.destinations.items()}
        return PolicyEffect(model, self._policy.digest, at, people)


def diff_lines(diff: PolicyDiff) -> str:
    """Return the rows that a change of policy releases and withdraws, as lines for the log."""
    headers = ["destination", "before", "gain", "lose", "after", "denied before because", "denied now because"]
    headers += ["withheld before, not now"]
    rows = [
        [
            name,
            found.permitted_before,
            found.gained,
            found.lost,
            found.permitted_after,
            listed(by_count(found.gained_by_reason)),
            listed(by_count(found.lost_by_reason)),
            listed(by_count(found.opened_fields)),
        ]
        for name, found in diff.destinations.items()
    ]
    always = {"destination", "before", "gain", "lose", "after"}
    return (
        f"of {diff.rows:,} rows, permitted under policy {short(diff.old_digest)} before and {short(diff.new_digest)} "
        f"after:\n{table(*filled(headers, rows, always=always))}"
    )


def _with_fields(found: DestinationDiff) -> str:
    if not found.opened:
        return ""
    return f", {found.opened:,} of them with what was withheld before ({listed(by_count(found.opened_fields))})"


def _is_ratio(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
