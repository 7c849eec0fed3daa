"""The finder: it samples a model, lets every recogniser look, and returns proposals with their doubts and a draft.

It never decides. No value of a row leaves this process: proposals contain names, shapes, counts and known words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl.checking.discovery.consent_words import is_id
from airflow_consent_retl.checking.discovery.dag_draft import Draft, draft_of
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.checking.discovery.proposals import Proposal
    from airflow_consent_retl.checking.discovery.sampled_model import SampledModel, UniqueCount
    from airflow_consent_retl.consent import ConsentPolicy
    from airflow_consent_retl.storage.manifest import ModelSource

DEFAULT_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Discovery:
    """Everything that was found in a model.

    Args:
        rows: how many rows were sampled.
        columns: how many columns the model has.
        not_read: the columns that identify people by their names; they were counted, and never read.
        primary_key: the column that may be the key; empty if no column is unique.
        proposals: in the order of the columns.
        draft: a DAG to read and to complete; None without a policy.
    """

    rows: int
    columns: int
    not_read: tuple[str, ...]
    primary_key: str
    proposals: tuple[Proposal, ...]
    draft: Draft | None

    @property
    def needs_a_person(self) -> bool:
        """True if nothing was found, or something that looks like consent is not in the draft."""
        consent = [one for one in self.proposals if one.use in {"consent", "consent source"}]
        return not consent or any(not one.is_in_draft for one in consent) or not self.primary_key


def discover(
    source: ModelSource,
    *,
    model: str = "model",
    policy: ConsentPolicy | None = None,
    policy_place: str | None = None,
    rows: int = DEFAULT_ROWS,
) -> Discovery:
    """Look at a model's columns and a sample, and propose its consent mapping.

    Args:
        source: the model's query and how its connection is opened.
        model: its name in the draft.
        policy: whose categories the columns may be about; None: the ids that consent platforms use by default.
        policy_place: the draft's `policy`; None: the deployment's.
        rows: the most rows of the sample, which the database takes at random where it can.

    Raises:
        ConfigurationError, ModelError: the connection, the query or a column cannot make a model.
        SourceUnavailableError: the database does not answer.
    """
    from airflow_consent_retl.checking.discovery.sampled_model import MOST_ROWS, sampled_model
    from airflow_consent_retl.hooks.sql import sql_hook
    from airflow_consent_retl.values.columns import declared_types

    if not 1 <= rows <= MOST_ROWS:
        raise ConfigurationError(f"rows: expected 1 to {MOST_ROWS:,}, found {rows:,}")
    sampled = sampled_model(
        sql_hook(source.conn_id, source.hook_params),
        conn_id=source.conn_id,
        sql=source.sql,
        rows=rows,
        column_types=declared_types(source.column_types),
        time_zone=source.time_zone,
    )
    proposals = proposed(sampled, policy, sql=source.sql)
    key = primary_key_of(sampled.keys)
    draft = None
    if policy is not None:
        untyped = {column.name: column.type for column in sampled.columns if not column.is_typed}
        draft = draft_of(
            proposals,
            source,
            model=model,
            policy=policy,
            policy_place=policy_place,
            primary_key=key,
            rows=sampled.rows,
            untyped=untyped,
        )
    return Discovery(
        rows=sampled.rows,
        columns=len(sampled.columns),
        not_read=tuple(
            column.name for column in sampled.columns if column.values is None and column.name in sampled.keys
        ),
        primary_key=key,
        proposals=tuple(proposals),
        draft=draft,
    )


def proposed(sampled: SampledModel, policy: ConsentPolicy | None, *, sql: str) -> list[Proposal]:
    """Return the proposals for a sample, in the order of its columns."""
    from airflow_consent_retl.checking.discovery.column_shapes import LookedAt
    from airflow_consent_retl.checking.discovery.histories import history_of
    from airflow_consent_retl.checking.discovery.proposals import known_categories, proposal_of, without_twins
    from airflow_consent_retl.checking.discovery.recognisers import RECOGNISERS
    from airflow_consent_retl.checking.discovery.recognition import LookedModel, candidates_in
    from airflow_consent_retl.consent import ColumnKind

    looked = {
        column.name: LookedAt.of(column)
        for column in sampled.columns
        # Timestamps without a zone are not read, and are still named.
        if column.name not in sampled.keys and (column.values is not None or column.kind is ColumnKind.OTHER)
    }
    model = LookedModel(looked, known_categories(policy))
    found = without_twins([proposal_of(one, model) for one in candidates_in(model, RECOGNISERS)])
    history = history_of(model, sampled.keys, found, sql=sql)
    order = {column.name: place for place, column in enumerate(sampled.columns)}
    found.sort(key=lambda one: order[one.column])
    return found if history is None else [*found, history]


def primary_key_of(keys: Mapping[str, UniqueCount]) -> str:
    """Return the id that is unique in the sample and stands first; empty if there is none."""
    return next((name for name, count in keys.items() if is_id(name) and count.is_unique), "")
