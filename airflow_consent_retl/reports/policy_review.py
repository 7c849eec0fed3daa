"""The review of a policy before it goes live: findings of the lint rules, on its names and on a snapshot's answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import parse_policy, plan_consent
from airflow_consent_retl.consent.policy_lint import Finding, always_yes, lint_mapping, lint_policy
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.central_policy import source_in_force
from airflow_consent_retl.hooks.policies import read_policy
from airflow_consent_retl.reports.counted_snapshot import counted, mapping_of
from airflow_consent_retl.storage import open_snapshot

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentMapping, ConsentMappingLike, ConsentPolicy
    from airflow_consent_retl.hooks.central_policy import PolicySource
    from airflow_consent_retl.storage import OpenedSnapshot


def lint(
    policy: PolicySource | None = None,
    *,
    snapshots: Sequence[object] = (),
    consent: ConsentMappingLike | None = None,
) -> list[Finding]:
    """Return what the lint rules find. Nothing is sent, and nothing is published.

    Args:
        policy: `variable:<key>`, `connection:<conn_id>`, `file:<path>` or the document; None: the deployment's.
        snapshots: outputs of `ExtractModelOperator`, in which categories that every row grants are looked for.
        consent: the consent mapping of these snapshots; None: the policy's.

    Raises:
        PolicyError: the policy is wrong, or the mapping does not fit a snapshot.
        ConfigurationError: there is no policy, or nothing says where a snapshot's consent is.
        RefusedError: a snapshot was changed.
    """
    read = read_policy(source_in_force(None) if policy is None else policy).policy
    found = lint_policy(read, at=datetime.now(UTC))
    if consent is not None and snapshots:
        found += lint_mapping(read, mapping_of(open_snapshot(snapshots[0]), consent))
    for snapshot in snapshots:
        opened = open_snapshot(snapshot)
        found += _always_granted(read, opened, mapping_of(opened, _consent(read, opened, consent)))
    return sorted(set(found))


def _consent(
    policy: ConsentPolicy, snapshot: OpenedSnapshot, consent: ConsentMappingLike | None
) -> ConsentMappingLike | ConsentMapping:
    manifest = snapshot.manifest
    terms = policy.officer.model(manifest.model, manifest.source.conn_id)
    declared = consent if terms is None or terms.consent is None else terms.consent
    if declared is None:
        raise ConfigurationError(
            f"consent: the policy does not say where consent of model `{manifest.model}` is kept: name it"
        )
    return declared


def _always_granted(policy: ConsentPolicy, snapshot: OpenedSnapshot, mapping: ConsentMapping) -> list[Finding]:
    """Return a finding for each category that every row grants."""
    ids = [category.id for category in policy.categories if mapping.whole or category.id in mapping.category_ids]
    if not ids:
        return []
    # Each category alone, under the strictest regime and without conditions: only its own answers count.
    names = {category.id: category.name for category in policy.categories}
    places = {id_: f"lint_{number}_only" for number, id_ in enumerate(ids)}
    alone = parse_policy(
        {
            "categories": [{"id": id_, "name": names[id_], "destinations": [place]} for id_, place in places.items()],
            "destinations": {place: {} for place in places.values()},
        }
    )
    at = datetime.now(UTC)
    with counted(
        snapshot,
        lambda kinds: plan_consent(alone, destinations=alone.destinations, mapping=mapping, columns=kinds, at=at),
        at=at,
    ) as decided:
        counts = decided.counts
    rows = counts.read
    return [always_yes(id_, rows, f"model {snapshot.manifest.model}") for id_ in counts.always_granted if rows]
