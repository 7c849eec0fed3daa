"""The check of a policy that changed since a sync's last run: it reports the difference, or stops the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from airflow_consent_retl.errors import ConfigurationError, GuardError, PolicyError, Problem
from airflow_consent_retl.progress import by_count, filled, listed, short, table

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ColumnKind, ConsentPlan, ConsentPolicy, PlanPair, PolicyDiff
    from airflow_consent_retl.consent.plan import PlanFor
    from airflow_consent_retl.consent.policy_diff import DestinationDiff
    from airflow_consent_retl.filtering.decided import DecidedSignatures
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.policy_archive import PolicyEffect
    from airflow_consent_retl.storage.policy_history import PolicyHistory

# Makes the plan of a policy for some destinations.
PlanOf = Callable[["ConsentPolicy", Sequence[str]], "PlanFor"]
MaxReleased = float | Literal["default"] | None

DEFAULT_RELEASED_RATIO: Final = 0.05
# In a small table, one person is a large share.
DEFAULT_RELEASED_ROWS: Final = 10


class PolicyChange:
    """The policy of a run, and for each destination the policy of the run before it.

    Args:
        histories: by destination, the policies under which this model was decided for it.
        policy: the policy of this run.
        log: the task's log.
        max_released_ratio: the largest share of rows that the changed policy may newly permit to one destination;
            "default": `DEFAULT_RELEASED_RATIO` of the rows or `DEFAULT_RELEASED_ROWS` rows, whichever is more; None: no
            limit.
        waiting: a policy that waits for an approval, whose effect is counted; None: there is none.
        lost: by destination, the policy of its last run and the time of that run, where the history lacks them.

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
        self._pairs: list[PlanPair] = []
        self._diffs: list[PolicyDiff] = []
        self._is_comparable = True

    @property
    def _before(self) -> dict[ConsentPolicy, list[str]]:
        """The destinations whose last run had another policy, by that policy."""
        found: dict[ConsentPolicy, list[str]] = {}
        for name, before in self._latest.items():
            if before is not None and before.digest != self._policy.digest:
                found.setdefault(before, []).append(name)
        return found

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

            new, pairs = plan_of(self._policy, names)(kinds), []
            self._is_comparable = True
            waits = None
            if self._waiting is not None:
                try:
                    waits = pair_plans(plan_of(self._waiting, names)(kinds), new)
                except PolicyError as error:
                    self._log.warning(
                        "the effect of the policy that waits for an approval cannot be computed: %s", error
                    )
                else:
                    new = waits.plan
            for before, changed in self._before.items():
                try:
                    pair = pair_plans(plan_of(before, changed)(kinds), new)
                except PolicyError as error:
                    self._is_comparable = False
                    self._log.warning("the policy changed, and its effect on the rows cannot be computed: %s", error)
                    continue
                pairs.append(pair)
                new = pair.plan
            # The last one reads the signals of all.
            self._pairs = [replace(pair, plan=new) for pair in pairs]
            self._waiting_pair = None if waits is None else replace(waits, plan=new)
            return new

        return plan

    def check(self, decided: DecidedSignatures, *, at: datetime) -> None:
        """Log the rows that are gained and lost.

        Raises:
            GuardError: more rows than allowed would be released, or their number cannot be computed.
        """
        self._diffs = diffs = [pair.diff(decided.signatures(), at=at) for pair in self._pairs]
        if self._waiting_pair is not None:
            self._waiting_diff = self._waiting_pair.diff(decided.signatures(), at=at)
        for diff in diffs:
            self._log.warning("the policy changed since the last run\n%s", diff_lines(diff))
        if not self._is_comparable and self._max_released_ratio is not None:
            raise GuardError(
                f"nothing was published: the policy changed, and max_released_ratio is {self._limit}, but the number "
                "of rows that the policy releases cannot be computed; set max_released_ratio to None for one run to "
                "accept the policy"
            )
        passed = [
            f"`{name}`: {found.released:,} of {diff.rows:,} rows are released{_with_fields(found)}"
            for diff in diffs
            for name, found in diff.destinations.items()
            if found.released > self._allowed(diff)
        ]
        if passed:
            raise GuardError(
                f"nothing was published: the policy changed, and max_released_ratio is {self._limit}; "
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
        """Store the policy, for each destination, after the run has published under it."""
        for name, (policy, decided_at) in self._lost.items():
            self._histories[name].add(policy, at=decided_at)
        for name, before in self._latest.items():
            history = self._histories[name]
            # An earlier release signed no entry.
            if before is None or before.digest != self._policy.digest or not history.is_signed:
                history.add(self._policy, at=at)

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
            for diff in self._diffs
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
