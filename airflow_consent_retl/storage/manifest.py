"""Manifests: documents that describe a folder of the workspace, written last and read first.

A manifest names every file with its SHA-256, so the manifest's own digest proves every byte. Tasks hand references to
manifests to each other. Neither a manifest nor a reference contains a value of a row.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from airflow_consent_retl.databases.database import UTC_ZONE
from airflow_consent_retl.databases.session_settings import SERVER_ZONE
from airflow_consent_retl.databases.staging import StagingTable
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.fields.field_values import category_of

MANIFEST_NAME = "manifest.json"
DigestMethod = Literal["blake2s", "aes_cbc_mac"]


class Document(BaseModel):
    """The base of all documents: frozen, without unknown fields, and with one form as bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def to_json(self) -> bytes:
        """Encode as the bytes whose SHA-256 a reference carries."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2).encode()

    @classmethod
    def from_json(cls, document: bytes | str) -> Self:
        """Parse what `to_json` wrote.

        Raises:
            RefusedError: the document is of another kind or version, or broken.
        """
        try:
            return cls.model_validate_json(document)
        except ValidationError as error:
            places = "; ".join(f"{e['msg']} @ {'.'.join(map(str, e['loc'])) or '$'}" for e in error.errors()[:5])
            raise RefusedError(f"not a {cls.__name__}: {places}") from None


class Column(Document):
    """A column of a model: its name as the source has it, its Arrow type in Arrow's own notation."""

    name: str
    type: str


class Part(Document):
    """One Parquet file in the folder of its manifest."""

    name: str
    sha256: str
    rows: int
    size_bytes: int


class WarehouseTable(Document):
    """A table of a staging schema, in the warehouse that the model is read from."""

    # As the operator named it: `staging`, `database.staging`, `project.dataset`.
    namespace: str
    name: str

    @property
    def staging_table(self) -> StagingTable:
        """The table, as the interface to warehouses names it."""
        return StagingTable(self.namespace, self.name)


class ModelSource(Document):
    """Everything that decides which rows a query sees, kept so that every later reader sees the same rows."""

    conn_id: str
    sql: str
    # Arguments of the connection's hook, which override the connection's extra. They contain no secret.
    hook_params: dict[str, Any] = {}
    # The time zone of the session; `server` where a session has none of its own, empty in an earlier release.
    session_time_zone: str = ""
    # The query that a later question about the present asks instead of `sql`; empty: `sql` itself.
    current_consent_sql: str = ""
    # Whether the template of the SQL, or of a consent source, names a date of its run.
    sql_is_dated: bool = False
    consent_sources_are_dated: bool = False
    # The types that the DAG declared, by column, in Arrow's own notation.
    column_types: dict[str, str] = {}
    # The other sources of consent, as `consent.source_document` writes them.
    consent_sources: tuple[dict[str, Any], ...] = ()

    @property
    def question_sql(self) -> str:
        """The query that asks for the present consent."""
        return self.current_consent_sql or self.sql

    def with_sql(self, sql: str) -> ModelSource:
        """Return the source with another query, which has its types and the columns of consent sources already."""
        changed = {"sql": sql, "current_consent_sql": "", "column_types": {}, "consent_sources": ()}
        return self.model_copy(update=changed)

    @property
    def time_zone(self) -> str:
        """The time zone that the readers of this source set."""
        return UTC_ZONE if self.session_time_zone in ("", SERVER_ZONE) else self.session_time_zone


class SourceSize(Document):
    """The rows of one consent source with a limit at one extraction."""

    # The first column that the source brings, and the digest of its query.
    column: str
    query: str
    rows: int
    max_shrink_ratio: float
    read_at: AwareDatetime
    # The times of the extractions before it, each compared with the one before: the last ones.
    chain: tuple[AwareDatetime, ...] = ()

    def likeness(self, other: SourceSize) -> int:
        """Return 0 if the other one is of another source."""
        return 2 * (self.query == other.query) + (self.column == other.column)


class LinkedPeople(Document):
    """The people who are linked to people of a model: their clusters, and the people who are not rows of the model."""

    # Their number. Rows have the number of theirs, from 1; a negative one is too large.
    clusters: int
    # The people who are linked to a row and have none, with their answers in consent sources.
    people: int
    # Where these people are: in files, or in a table of the warehouse.
    parts: tuple[Part, ...] = ()
    table: WarehouseTable | None = None
    # The columns of consent sources that they have.
    columns: tuple[Column, ...]


class SnapshotManifest(Document):
    """The immutable rows of one extraction of a model."""

    kind: Literal["snapshot"] = "snapshot"
    version: Literal[2] = 2
    model: str
    primary_key: str
    # True: on the bytes that `parts` names, every id was found present and unique.
    primary_key_checked: bool
    source: ModelSource
    sql_sha256: str
    read_at: AwareDatetime
    # The time that the rows stand for, as the DAG declares it; None: the time of the query.
    as_of: AwareDatetime | None = None
    columns: tuple[Column, ...]
    parts: tuple[Part, ...]
    rows: int
    size_bytes: int
    # Where the rows are, if they stayed in the warehouse; then there are no parts.
    table: WarehouseTable | None = None
    # Whom identities link to each other. The rows then have the column of their cluster, which `columns` omits. None:
    # the model has no identities, or an earlier release.
    linked: LinkedPeople | None = None
    # Of the consent sources with a `max_shrink_ratio`.
    source_sizes: tuple[SourceSize, ...] = ()
    # Of all rows, as the database computed it: see `ModelRows`. Empty: it was not asked, or has none.
    fingerprint: str = ""

    @property
    def warehouse_table(self) -> WarehouseTable | None:
        """The table of the rows; None where they are in files."""
        return self.table

    @property
    def staging_tables(self) -> list[StagingTable]:
        """The tables that the extraction made."""
        linked = None if self.linked is None else self.linked.table
        return [table.staging_table for table in (self.table, linked) if table is not None]

    @property
    def data_time(self) -> datetime:
        """The time that the rows stand for."""
        return _data_time(self.as_of, self.read_at)

    @property
    def place(self) -> str:
        """The place of the rows, for people: files with their size, or a table."""
        if self.table is None:
            return f"{len(self.parts)} parts, {self.size_bytes / (1 << 20):,.1f} MiB"
        return f"table {self.table.namespace}.{self.table.name}"


class PermittedCounts(Document):
    """The decisions for one destination. `read = permitted + denied`; a row with two reasons counts under both."""

    required: tuple[str, ...]
    match: Literal["all", "any"]
    # The requirement in words, such as `C0004 and (C0002 or C0003)`. Empty: the manifest is older than this field.
    needs: str = ""
    # Of these, the categories that permit a person who did not consent: opt-out, or exempt, in some region.
    without_consent: tuple[str, ...] = ()
    # Those whose no denies a person, in groups of alternatives. None: an earlier release.
    needed: tuple[tuple[str, ...], ...] | None = None
    ground: Literal["consent", "not_required", "unmapped"]
    read: int
    permitted: int
    denied: int
    denied_by_reason: dict[str, int]
    # The number of rows sent without a guarded field, by the field; and without a yes to a category whose answer the
    # destination gets, by `answer_name`.
    withheld_fields: dict[str, int] = {}

    @property
    def required_of_people(self) -> tuple[str | tuple[str, ...], ...]:
        """The categories that people who are delivered have not refused, for the ledger: see `removal.Required`."""
        if self.needed is None:
            return self.required
        return tuple(group[0] if len(group) == 1 else group for group in self.needed)

    @property
    def answers(self) -> tuple[str, ...]:
        """The categories whose answers the destination may get, since rows without a yes are marked."""
        return tuple(category for name in self.withheld_fields if (category := category_of(name)) is not None)


class RecipientsGroup(Document):
    """The rows that may be sent to exactly these destinations, to some of them without some fields."""

    recipients: tuple[str, ...]
    # By destination, the guarded fields left out of the row: names of its fields, or of the model's columns; and the
    # categories, by `answer_name`, to which the person did not say yes.
    withheld: dict[str, tuple[str, ...]] = {}
    parts: tuple[Part, ...]
    rows: int
    # Of the ids, where the rows are in a table.
    fingerprint: int | None = None


class WarehouseDecision(Document):
    """The tables of a filter run whose rows stayed in the warehouse.

    `consent_retl_group` of a row of `permitted` is the index of its group in the manifest's groups. `signatures` has
    the combination of raw values of a row of `snapshot`; `decided` has the signature of the combination.
    """

    snapshot: WarehouseTable
    signatures: WarehouseTable
    decided: WarehouseTable
    permitted: WarehouseTable
    decisions: WarehouseTable


class DecisionLog(Document):
    """One entry for each row denied to a requested destination, and the table of signatures that entries refer to."""

    key_id: str
    # The digest of entries in files: `blake2s` in an earlier release.
    digest: DigestMethod = "blake2s"
    parts: tuple[Part, ...]
    signatures: Part
    rows: int


class PermittedManifest(Document):
    """The permitted rows of each requested destination: the result of one filter run."""

    kind: Literal["permitted"] = "permitted"
    version: Literal[2] = 2
    model: str
    primary_key: str
    source: ModelSource
    # The root of this set's workspace, where a load keeps its delivered state.
    workspace: str
    # The consent mapping, as `consent.mapping_document` writes it.
    consent: dict[str, object]
    snapshot_sha256: str
    snapshot_read_at: AwareDatetime
    # As the snapshot's.
    as_of: AwareDatetime | None = None
    # Where the policy was read: `variable:…`, `connection:…`, `file:…`, or `inline`.
    policy_source: str
    policy_digest: str
    decided_at: AwareDatetime
    columns: tuple[Column, ...]
    destinations: dict[str, PermittedCounts]
    groups: tuple[RecipientsGroup, ...]
    decision_log: DecisionLog
    rows_read: int
    rows_for_nobody: int
    # By category, the number of rows in which two records of it disagree.
    conflicts: dict[str, int] = {}
    # By category, the number of clusters of linked people in which one says yes and another says no.
    clashes: dict[str, int] = {}
    # The digest of the last run's policy, by each destination for which it was another one.
    policy_before: dict[str, str] = {}
    # The opt-out categories for which the DAG accepts that no row has an answer.
    accept_silence: tuple[str, ...] = ()
    # The state of the suppression list that the filter read; empty: no one was ever on it. None: an earlier release.
    suppression: str | None = None
    # As the snapshot's.
    source_sizes: tuple[SourceSize, ...] = ()
    # Of all that decides the bytes of the groups and of the decision log. Empty: in a warehouse, or an earlier release.
    content_sha256: str = ""
    # Where the rows are, if they stayed in the warehouse; then groups and decision log have no parts.
    staged: WarehouseDecision | None = None

    @property
    def data_time(self) -> datetime:
        """The time that the rows stand for."""
        return _data_time(self.as_of, self.snapshot_read_at)

    @property
    def warehouse_table(self) -> WarehouseTable | None:
        """The table of the permitted rows; None where they are in files."""
        return None if self.staged is None else self.staged.permitted

    @property
    def staging_tables(self) -> list[StagingTable]:
        """The tables that the filter made."""
        staged = self.staged
        if staged is None:
            return []
        made = (staged.signatures, staged.decided, staged.permitted, staged.decisions)
        return [table.staging_table for table in made]


class ManifestRef(Document):
    """The reference that one task hands to the next: the place of a manifest, and the digest that proves its bytes."""

    kind: Literal["snapshot", "permitted"]
    manifest: str
    sha256: str
    model: str
    rows: int
    at: datetime
    # Rows by destination, for a permitted set.
    permitted: dict[str, int] = {}

    def to_xcom(self) -> dict[str, object]:
        """Return plain JSON values: the only part of a snapshot or a permitted set that Airflow stores."""
        return self.model_dump(mode="json")

    @classmethod
    def from_xcom(cls, value: object, *, kind: Literal["snapshot", "permitted"]) -> Self:
        """Read back what an upstream task returned.

        Raises:
            RefusedError: the value is something else, or refers to the other kind of manifest.
        """
        if not isinstance(value, dict):
            operator = "ConsentFilterOperator" if kind == "permitted" else "ExtractModelOperator"
            raise RefusedError(
                f"expected the output of an upstream {operator}, as in `{kind}=task.output`, got "
                f"{type(value).__name__}{': a template turns the output into text' if isinstance(value, str) else ''}"
            )
        ref = cls.from_json(json.dumps(value))
        if ref.kind != kind:
            raise RefusedError(f"expected a reference to a {kind} manifest, got one to a {ref.kind} manifest")
        return ref


def sql_sha256(source: ModelSource) -> str:
    """Return the digest of all SQL that made a snapshot."""
    if not source.consent_sources:
        return sha256_hex(source.sql.encode())
    return sha256_hex(json.dumps([source.sql, *source.consent_sources], sort_keys=True).encode())


def _data_time(as_of: datetime | None, read_at: datetime) -> datetime:
    return read_at if as_of is None else min(as_of, read_at)


def sha256_hex(content: bytes) -> str:
    """Return the digest in the form that all manifests use."""
    return hashlib.sha256(content).hexdigest()
