"""The officer's part of a policy: where consent is kept, what destination names stand for, what may go where.

Contains values that the policy's reader has checked. `binding` holds them against what a DAG does.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from airflow_consent_retl.consent.retention import NO_RETENTION, Retention

if TYPE_CHECKING:
    from airflow_consent_retl.consent.mapping import ConsentMapping
    from airflow_consent_retl.consent.sources import ExternalConsent, SuppressionList

# Whether a DAG may do what the policy does not name.
Undeclared = Literal["permit", "error"]
Plain = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class ModelTerms:
    """The terms of the policy about one model, or about every model of one connection. None: nothing.

    Args:
        connection: the connection that the model is read from.
        primary_key: the column that identifies a row.
        sql: the model's query, exactly.
        current_consent_sql: the query for the present consent, exactly; with `sql`, None means that there is none.
        hook_params: the arguments of the connection's hook, as canonical JSON.
        consent: where each category's consent is kept.
        sources: the consent sources and suppression lists that always apply.
    """

    connection: str | None = None
    primary_key: str | None = None
    sql: str | None = None
    current_consent_sql: str | None = None
    hook_params: str | None = None
    consent: ConsentMapping | None = None
    sources: tuple[ExternalConsent, ...] = ()


@dataclass(frozen=True, slots=True)
class DestinationTerms:
    """The terms of the policy about one destination. None: nothing.

    Args:
        operator: the operator that loads it: a name of `airflow_consent_retl.operators`, or `module:Class`.
        connection: the Airflow connection of the load.
        parameters: other parameters of the load, such as its endpoint or table.
        target: the place where rows end up, as the ledger records it.
        fields: the destination's fields, each with the model's column; the column alone where any field may read it.
        purpose: what the rows are used for, for people.
        assessment: a reference to an assessment, such as the number of a DPIA.
        country: where the destination is: two letters of ISO 3166.
    """

    operator: str | None = None
    connection: str | None = None
    parameters: tuple[tuple[str, Plain], ...] | None = None
    target: str | None = None
    fields: tuple[tuple[str | None, str], ...] | None = None
    purpose: str | None = None
    assessment: str | None = None
    country: str | None = None

    @property
    def is_placed(self) -> bool:
        """Whether the policy says where the destination is."""
        return self.connection is not None or self.parameters is not None or self.target is not None


@dataclass(frozen=True, slots=True)
class OfficerPart:
    """Everything that a policy declares beyond its categories and their destinations.

    Args:
        models: by the model's name.
        connections: by connection, for each model of it that `models` does not name.
        suppression_lists: the lists that apply to every model.
        destinations: by destination; a base's terms hold for its instances, unless an instance has its own.
        undeclared_models: whether models that neither `models` nor `connections` name may be extracted.
        unmapped_names: whether a DAG may use a destination name that the policy does not name. None: only under a
            policy that is not the deployment's.
        no_assessment_in: the countries whose destinations need no assessment; None: no destination needs one.
        retention: how long stored rows and records are kept.
    """

    models: tuple[tuple[str, ModelTerms], ...] = ()
    connections: tuple[tuple[str, ModelTerms], ...] = ()
    suppression_lists: tuple[SuppressionList, ...] = ()
    destinations: tuple[tuple[str, DestinationTerms], ...] = ()
    undeclared_models: Undeclared = "permit"
    unmapped_names: Undeclared | None = None
    no_assessment_in: tuple[str, ...] | None = None
    retention: Retention = NO_RETENTION

    def model(self, name: str, connection: str) -> ModelTerms | None:
        """Return the terms of a model that is read from a connection; None: the policy names neither."""
        return dict(self.models).get(name) or dict(self.connections).get(connection)

    def destination(self, name: str) -> DestinationTerms:
        """Return the terms of a destination: its own, and for the rest those of its base."""
        own = dict(self.destinations).get(name, DestinationTerms())
        base = dict(self.destinations).get(name.partition(":")[0], DestinationTerms())
        chosen = {one.name: getattr(own, one.name) for one in fields(DestinationTerms)}
        return DestinationTerms(
            **{key: getattr(base, key) if value is None else value for key, value in chosen.items()}
        )


NOTHING = OfficerPart()
