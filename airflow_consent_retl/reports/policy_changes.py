"""The effects of a new policy before it is live: how many people would gain and lose permission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import pair_plans, plan_consent
from airflow_consent_retl.hooks.policies import read_policy
from airflow_consent_retl.reports.counted_snapshot import counted, mapping_of
from airflow_consent_retl.storage import open_snapshot

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ColumnKind, ConsentMappingLike, ConsentPlan, PlanPair, PolicyDiff
    from airflow_consent_retl.hooks.central_policy import PolicySource


def diff_policies(
    old: PolicySource,
    new: PolicySource,
    snapshot: object,
    *,
    consent: ConsentMappingLike,
    destinations: Sequence[str],
    at: datetime | None = None,
) -> PolicyDiff:
    """Return the gains and losses per destination and category, with one pass over the snapshot's consent columns.

    Args:
        old: the present policy: `variable:<key>`, `connection:<conn_id>`, `file:<path>` or the document.
        new: the other policy, likewise.
        snapshot: the output of an `ExtractModelOperator`: nothing of it is sent, and nothing is published.
        consent: the consent mapping, as for the filter; it has to cover the needs of both policies.
        destinations: to compare for.
        at: the time of the decision, with a zone; None: now.

    Raises:
        PolicyError: a policy does not fit the mapping or the columns.
        ConfigurationError, RefusedError: a policy or the snapshot cannot be read.
    """
    decided_at = at or datetime.now(UTC)
    opened = open_snapshot(snapshot)
    mapping = mapping_of(opened, consent)
    policies = [read_policy(source).policy for source in (old, new)]
    pairs: list[PlanPair] = []

    def plan_for(kinds: Mapping[str, ColumnKind]) -> ConsentPlan:
        before, after = (
            plan_consent(policy, destinations=destinations, mapping=mapping, columns=kinds, at=decided_at)
            for policy in policies
        )
        pairs.append(pair_plans(before, after))
        return pairs[-1].plan

    with counted(opened, plan_for, at=decided_at) as decided:
        return pairs[-1].diff(decided.signatures(), at=decided_at)
