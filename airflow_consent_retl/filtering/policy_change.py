"""The check of a policy that changed since a filter's last run: it reports the difference, or stops the run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import GuardError, PolicyError

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ColumnKind, ConsentPlan, ConsentPolicy, PlanPair, PolicyDiff
    from airflow_consent_retl.consent.plan import PlanFor
    from airflow_consent_retl.filtering.files import DecidedSignatures
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.policy_history import PolicyHistory


class PolicyChange:
    """The policy of a run and the policy of the run before it.

    Args:
        history: the task's history of policies; None: it has none.
        policy: the policy of this run.
        log: the task's log.
        max_released_ratio: the largest share of rows that the changed policy may newly permit to one destination.
    """

    def __init__(
        self, history: PolicyHistory | None, policy: ConsentPolicy, log: TaskLog, *, max_released_ratio: float | None
    ) -> None:
        self._history = history
        self._policy = policy
        self._log = log
        self._max_released_ratio = max_released_ratio
        self._before = None if history is None else history.latest()
        self._pair: PlanPair | None = None

    @property
    def is_changed(self) -> bool:
        """Whether the last run had another policy."""
        return self._before is not None and self._before.digest != self._policy.digest

    def both(self, plan_for: PlanFor, before_for: PlanFor) -> PlanFor:
        """Return the maker of the run's plan, which also reads everything that the previous policy needed.

        Args:
            plan_for: makes this policy's plan.
            before_for: makes the previous policy's plan.
        """
        if not self.is_changed:
            return plan_for

        def plan(kinds: Mapping[str, ColumnKind]) -> ConsentPlan:
            from airflow_consent_retl.consent import pair_plans

            new = plan_for(kinds)
            try:
                self._pair = pair_plans(before_for(kinds), new)
            except PolicyError as error:
                self._pair = None
                self._log.warning("the policy changed, and its effect on the rows cannot be computed: %s", error)
                return new
            return self._pair.plan

        return plan

    @property
    def before(self) -> ConsentPolicy:
        """The policy of the last run; this policy if there was no last run."""
        return self._before or self._policy

    def check(self, decided: DecidedSignatures, *, at: datetime) -> None:
        """Log the rows that are gained and lost.

        Raises:
            GuardError: more rows than allowed would be released, or their number cannot be computed.
        """
        if not self.is_changed:
            return
        if self._pair is None:
            if self._max_released_ratio is not None:
                raise GuardError(
                    "nothing was published: the policy changed, and max_released_ratio is set, but the number of rows "
                    "that the policy releases cannot be computed; set max_released_ratio to None for one run to accept "
                    "the policy"
                )
            return
        diff = self._pair.diff(decided.signatures(), at=at)
        self._log.warning("the policy changed since the last run\n%s", diff.to_markdown())
        self._check_released(diff)

    def _check_released(self, diff: PolicyDiff) -> None:
        limit = self._max_released_ratio
        if limit is None:
            return
        passed = [
            f"`{name}`: {found.gained:,} of {diff.rows:,} rows are released"
            for name, found in diff.destinations.items()
            if found.gained > limit * diff.rows
        ]
        if passed:
            raise GuardError(
                f"nothing was published: the policy changed, and max_released_ratio is {limit}; " + "; ".join(passed)
            )

    def accept(self, *, at: datetime) -> None:
        """Store the policy after the run has published under it."""
        if self._history is not None and (self._before is None or self.is_changed):
            self._history.add(self._policy, at=at)
