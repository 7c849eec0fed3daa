"""The figures of a report, gathered from the ledger and the deployment's archive of policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.consent.regime import Regime
from airflow_consent_retl.delivery.ledger.records import model_and_destination
from airflow_consent_retl.delivery.unserved import is_unserved
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.near import suggestion
from airflow_consent_retl.reports.policy_record import policy_record
from airflow_consent_retl.sight.report_figures import PeriodWork, ReportedPolicy, ReportedSync, ReportFigures
from airflow_consent_retl.sight.report_fold import RunFold
from airflow_consent_retl.sight.report_periods import chart_periods

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPolicy
    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.records import SyncName, SyncOverview
    from airflow_consent_retl.delivery.ledger.run_history import RunHistory
    from airflow_consent_retl.delivery.ledger.run_records import LoadDecision, RunRecord
    from airflow_consent_retl.sight.report_figures import ReportScope
    from airflow_consent_retl.storage.policy_archive import PolicyArchive

MOST_POLICIES: Final = 20
"""The most policies that a report shows."""

_PAGE: Final = 500
_REGIMES: Final[Mapping[Regime, str]] = {
    Regime.OPT_IN: "only an explicit yes permits",
    Regime.OPT_OUT: "everyone who did not say no is permitted",
    Regime.EXEMPT: "no consent is asked for",
}


def gathered(ledger: Ledger, scope: ReportScope, archive: PolicyArchive, *, unserved_days: float) -> ReportFigures:
    """Return the figures of a report.

    Args:
        ledger: opened for the workspace.
        scope: of the report.
        archive: of the deployment's policies.
        unserved_days: after how many days without a run a sync with people counts as unserved; 0: never.

    Raises:
        ConfigurationError: the ledger knows no such sync, or no run of it is recorded.
        RefusedError: the archive was changed.
    """
    known = {str(one.sync): one for one in ledger.syncs()}
    unknown = sorted({*scope.syncs} - known.keys())
    if unknown:
        raise ConfigurationError(f"the ledger knows no sync `{unknown[0]}`{suggestion(unknown[0], known)}")
    fold = RunFold(chart_periods(scope.since, scope.until))
    with ledger.history() as history:
        fold.add_all(_runs(history, scope))
        before: Mapping[SyncName, LoadDecision] = {}
        if not scope.is_run:
            before = history.decided_before(scope.since, syncs=scope.syncs or None)
    policies = _Policies(archive)
    syncs = [_completed(one, known.get(one.sync), scope, unserved_days) for one in fold.syncs()]
    syncs += _without_runs(known, {one.sync for one in syncs}, scope, unserved_days)
    over_time = fold.over_time(before)
    # A deployment that is younger than the period has its charts from its first run on.
    first = next((place for place, one in enumerate(over_time) if one != PeriodWork()), 0)
    return ReportFigures(
        scope=scope,
        periods=replace(fold.periods, starts=fold.periods.starts[first:]),
        over_time=over_time[first:],
        syncs=[policies.described(one) for one in sorted(syncs, key=lambda one: one.sync)],
        policies=policies.reported(scope, fold.decided_under),
        categories=policies.categories(fold.decided_under),
        latest=fold.latest,
        runs=fold.runs,
    )


def _runs(history: RunHistory, scope: ReportScope) -> Iterator[RunRecord]:
    """Yield the runs of a report, the latest first, without having all of them in memory."""
    if scope.is_run:
        yield from (run for run in history.of_task(scope.dag, scope.run) if run.sync in (scope.syncs or (run.sync,)))
        return
    names = scope.syncs or None
    for offset in range(0, history.count(names, since=scope.since, until=scope.until), _PAGE):
        yield from history.runs(names, since=scope.since, until=scope.until, limit=_PAGE, offset=offset)


def _completed(one: ReportedSync, known: SyncOverview | None, scope: ReportScope, unserved_days: float) -> ReportedSync:
    """Return the figures of a sync with what the ledger knows of it beyond its runs."""
    if known is None:
        return one
    opened = known.open_delivery
    return replace(
        one,
        target=known.target,
        dag=known.dag or one.dag,
        served_at=known.served_at or known.decided_at,
        is_unserved=not scope.is_run and is_unserved(known, days=unserved_days, now=scope.until),
        open_since=opened.began_at if opened is not None and opened.began_at < scope.until else None,
    )


def _without_runs(
    known: Mapping[str, SyncOverview], found: set[str], scope: ReportScope, unserved_days: float
) -> Iterator[ReportedSync]:
    """Yield the syncs that have people and no run in the report: silence is a finding, too."""
    for name, one in known.items():
        if not scope.is_run and one.people and name not in found and name in (scope.syncs or (name,)):
            yield _completed(ReportedSync(sync=name, people=one.people), one, scope, unserved_days)


class _Policies:
    """The policies of an archive, each read once."""

    def __init__(self, archive: PolicyArchive) -> None:
        self._archive = archive
        self._read: dict[str, ConsentPolicy | None] = {}

    def policy(self, digest: str) -> ConsentPolicy | None:
        """Return a policy; None: it is not kept any more."""
        if digest not in self._read:
            try:
                self._read[digest] = self._archive.policy(digest)
            except RefusedError:
                self._read[digest] = None
        return self._read[digest]

    def categories(self, digests: Mapping[str, object]) -> dict[str, str]:
        """Return the names of the categories, by id; that of the latest policy where it changed."""
        found: dict[str, str] = {}
        for digest in reversed(list(digests)):
            policy = self.policy(digest)
            found.update({} if policy is None else {one.id: one.name for one in policy.categories})
        return found

    def described(self, one: ReportedSync) -> ReportedSync:
        """Return a sync with what the policy of its last load says about its destination."""
        policy = None if one.decided is None else self.policy(one.decided.policy_digest)
        if policy is None:
            return one
        _, destination = model_and_destination(one.sync)
        rule, needs = policy.rule_for(destination), policy.needs_of(destination)
        if not needs:
            needs = "no category is mapped to it" if rule.consent_required else f"no consent: {rule.reason}"
        return replace(one, needs=needs, guards=list(_guards(policy, destination)))

    def reported(self, scope: ReportScope, used: Mapping[str, set[str]]) -> list[ReportedPolicy]:
        """Return the policies that were in force in a period or decided in it, the newest first."""
        found: list[ReportedPolicy] = []
        for place in self._archive.places():
            for entry in policy_record(place):
                overlaps = entry.since < scope.until and (entry.until is None or entry.until > scope.since)
                if overlaps and (entry.digest in used or not scope.is_run):
                    found.append(
                        ReportedPolicy(
                            digest=entry.digest,
                            place=place,
                            since=entry.since,
                            until=entry.until,
                            changed_by=entry.changed_by,
                            approvals=entry.approvals,
                            differences=entry.differences,
                            opens=entry.opens,
                            used_by=sorted(used.get(entry.digest, ())),
                        )
                    )
        found.sort(key=lambda one: (one.since or scope.since, one.place), reverse=True)
        recorded = {one.digest for one in found}
        elsewhere = [
            ReportedPolicy(digest=digest, used_by=sorted(syncs))
            for digest, syncs in used.items()
            if digest not in recorded
        ]
        return [*found, *elsewhere][:MOST_POLICIES]


def _guards(policy: ConsentPolicy, destination: str) -> Sequence[str]:
    """Return a sentence for each term of the policy about a destination, beyond the categories that it asks for."""
    found = []
    for category in policy.mapped_to(destination):
        name = f"{category.name} ({category.id})"
        if not category.enabled:
            found.append(f"{name} is switched off")
            continue
        regimes = [_REGIMES[category.regime], *(f"in {region} {_REGIMES[one]}" for region, one in category.regions)]
        found.append(f"{name}: {', '.join(regimes)}")
        if category.max_age is not None:
            found.append(f"{name}: a yes ends after {category.max_age}")
        if category.min_notice_version is not None:
            found.append(f"{name}: a yes to a notice before version {category.min_notice_version} does not count")
    for category, names in policy.guarded_fields(destination):
        found.append(f"{', '.join(names)}: only with consent to {category.name} ({category.id})")
    return found
