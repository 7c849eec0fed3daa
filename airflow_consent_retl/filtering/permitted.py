"""Verified permitted rows: the rows of one destination, and the proof that a filter permitted them.

A `PermittedRows` object is that proof. Only `verified_files` and `verified_tables` make one, after `check_permitted`.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from airflow_consent_retl.consent import nearest
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.fields.field_values import answers_in, unknown_columns
from airflow_consent_retl.filtering.field_mapping import FieldMapping
from airflow_consent_retl.filtering.guarded_fields import check_guarded, guarded_columns
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import PermittedCounts, PermittedManifest
    from airflow_consent_retl.storage.opening import OpenedPermitted

# The largest difference between the clocks of two workers.
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class PermittedRows(ABC):
    """The verified rows of one destination.

    Args:
        folder: the folder of the permitted set.
        manifest: the manifest of the filter run.
        manifest_sha256: the manifest's digest.
        destination: the policy's name of the destination.
        fields: the destination's field names, each with the model's column or another value.
    """

    folder: Folder
    manifest: PermittedManifest
    manifest_sha256: str
    destination: str
    fields: Mapping[str, str]

    @property
    def counts(self) -> PermittedCounts:
        """The decisions for this destination, counted."""
        return self.manifest.destinations[self.destination]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.counts.permitted

    @property
    def withheld_fields(self) -> frozenset[str]:
        """The destination's names of the fields that are withheld from some rows."""
        names = {name for group in self.manifest.groups for name in group.withheld.get(self.destination, ())}
        columns = guarded_columns(names, self.fields)
        return frozenset(name for name, column in self.fields.items() if column in columns)

    @property
    def mapping(self) -> FieldMapping:
        """The mapping of the fields, to apply to the model's rows."""
        return FieldMapping(self.fields)

    @property
    def key(self) -> str:
        """A hex digest: the same for the same rows with the same fields at the same destination."""
        identity = [self.manifest_sha256, self.destination, list(self.fields.items())]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    @property
    def content_digest(self) -> str | None:
        """A hex digest: the same only if the rows, their order, their fields and what is withheld are the same.

        None where finding it out costs as much as reading the rows.
        """
        return None

    @property
    def key_field(self) -> str | None:
        """The destination's name of the primary key, or None if it is not mapped."""
        return next((name for name, column in self.fields.items() if column == self.manifest.primary_key), None)

    def load_of(self, schema: pa.Schema) -> Load:
        """Return the description of a load of these rows, for a destination; `schema` has its field names."""
        from airflow_consent_retl.contract.destination import Load

        return Load(
            key=self.key,
            destination=self.destination,
            model=self.manifest.model,
            schema=schema,
            key_field=self.key_field,
            rows=self.rows,
            decided_at=self.manifest.decided_at,
            cleared=self.withheld_fields,
        )

    @property
    @abstractmethod
    def place(self) -> str:
        """The place of the rows, for messages."""

    @abstractmethod
    def batches(self, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches that are full, except for the last one. Only mapped columns are read."""


class CheckedFields(NamedTuple):
    """The fields, each with the model's column, and by guard of the policy the fields that it withholds."""

    fields: dict[str, str]
    guarded: dict[str, list[str]]


def check_permitted(
    opened: OpenedPermitted,
    *,
    destination: str,
    fields: Mapping[str, str] | None,
    policy_digest: str | None,
    max_age_s: float | None,
    now: datetime,
    guards: Mapping[str, Collection[str]],
    fields_not_sent: Collection[str] | None = (),
) -> CheckedFields:
    """Check a manifest before a row is read, and return the fields, each with the model's column.

    Args:
        opened: the permitted set.
        destination: the destination of the rows.
        fields: the destination's field names, each with the model's column or another value; None: all columns,
            unchanged.
        policy_digest: the digest of the present policy; None: the caller asks the source again under that policy.
        max_age_s: the maximum age of the decision, in seconds; None: any, for the same reason.
        now: the present time, with a zone.
        guards: what the present policy guards at the destination: each guard with all its names.
        fields_not_sent: the guards that the DAG declares as not sent; None: no row is sent, so no guard has to apply.

    Raises:
        RefusedError: another destination, a changed policy, an old decision, or a guarded field that cannot be
            withheld, or that is sent under no known name and not declared in `fields_not_sent`.
        ConfigurationError: a field is mapped to a column that the model does not have.
    """
    manifest = opened.manifest
    check_made_for(destination, manifest.destinations)
    check_decision(manifest, destination=destination, policy_digest=policy_digest, max_age_s=max_age_s, now=now)
    mapped = checked_fields(fields, [column.name for column in manifest.columns])
    if fields_not_sent is None:
        return CheckedFields(mapped, {})
    check_answers_marked(manifest, mapped, destination=destination)
    named = {name for names in guards.values() for name in names}
    withheld = sorted({name for group in manifest.groups for name in group.withheld.get(destination, ())} - named)
    applied = check_guarded(
        {**guards, **{name: (name,) for name in withheld}},
        mapped,
        destination=destination,
        primary_key=manifest.primary_key,
        not_sent=fields_not_sent,
    )
    return CheckedFields(mapped, applied)


def check_answers_marked(manifest: PermittedManifest, fields: Mapping[str, str], *, destination: str) -> None:
    """Check that a filter marked the rows without a yes to each category whose answer is sent.

    Args:
        manifest: of the permitted set.
        fields: the mapped fields.
        destination: the destination of the rows.

    Raises:
        RefusedError: it did not: every row would tell a yes.
    """
    marked = manifest.destinations[destination].answers
    for name, answer in answers_in(fields):
        if answer.category not in marked:
            raise RefusedError(
                f"fields[{name!r}] tells the answer to category `{answer.category}`, and the filter did not mark the "
                f"rows without a yes to it: run the filter again, in the DAG of this load. A filter in another DAG "
                f'needs answers={{"{destination}": ["{answer.category}"]}}'
            )


def check_made_for(destination: str, destinations: Collection[str]) -> None:
    """Check that a permitted set is made for a destination.

    Args:
        destination: the destination of the rows.
        destinations: those that the filter decides for.

    Raises:
        RefusedError: it is not.
    """
    if destination not in destinations:
        near = nearest(destination, destinations)
        hint = f", did you mean `{near}`?" if near else f": it was made for {_names(destinations)}"
        raise RefusedError(f"this permitted set was not made for destination `{destination}`{hint}")


def check_sum(opened: OpenedPermitted, destination: str, rows: int) -> None:
    """Compare the number of rows of a destination's groups with the counts in the manifest.

    Raises:
        RefusedError: they differ.
    """
    counts = opened.manifest.destinations[destination]
    if rows != counts.permitted or counts.read != counts.permitted + counts.denied:
        raise RefusedError(f"{opened.folder.uri}: the rows for `{destination}` do not add up to {counts.permitted:,}")


def check_decision(
    manifest: PermittedManifest,
    *,
    destination: str,
    policy_digest: str | None,
    max_age_s: float | None,
    now: datetime,
) -> None:
    """Check that a decision, and the data that it is about, still hold where the source is not asked again.

    Arguments and errors as in `check_permitted`.
    """
    if policy_digest is not None and manifest.policy_digest != policy_digest:
        raise RefusedError(
            f"the policy changed since consent was decided for `{destination}`: run the filter again "
            f"(decided under {manifest.policy_digest}, now {policy_digest})"
        )
    check_age(manifest, destination=destination, max_age_s=max_age_s, now=now)
    check_data_age(manifest, destination=destination, max_age_s=max_age_s, now=now)


def check_data_age(manifest: PermittedManifest, *, destination: str, max_age_s: float | None, now: datetime) -> None:
    """Check that the data of a decision are not too old. With `max_age_s=None`, none are.

    Raises:
        RefusedError: newer data must be extracted.
    """
    age = now - manifest.data_time
    if max_age_s is not None and age > timedelta(seconds=max_age_s):
        raise RefusedError(
            f"consent for `{destination}` stands in data that are {age.total_seconds():,.0f} s old, max_age_s is "
            f"{max_age_s:,.0f}: extract newer data"
        )


def check_age(manifest: PermittedManifest, *, destination: str, max_age_s: float | None, now: datetime) -> None:
    """Check that a decision is neither too old nor in the future. With `max_age_s=None`, no decision is too old.

    Raises:
        RefusedError: the filter must run again.
    """
    age = now - manifest.decided_at
    if age < -_CLOCK_SKEW or (max_age_s is not None and age > timedelta(seconds=max_age_s)):
        limit = "" if max_age_s is None else f", max_age_s is {max_age_s:,.0f}"
        raise RefusedError(
            f"consent for `{destination}` was decided {age.total_seconds():,.0f} s ago{limit}: run the filter again"
        )


def checked_fields(fields: Mapping[str, str] | None, columns: Collection[str]) -> dict[str, str]:
    """Return the fields, each with the model's column; None: all columns, unchanged.

    Raises:
        ConfigurationError: there is no field, or a field is mapped to a column that the model does not have.
    """
    if fields is None:
        fields = {column: column for column in columns}
    elif not fields:
        raise ConfigurationError("fields: expected at least one mapped field")
    problems = []
    for name, source in fields.items():
        try:
            problems += [
                f"fields[{name!r}]: column `{column}` is not in the model{suggestion(column, columns)}"
                for column in unknown_columns(source, columns)
            ]
        except ConfigurationError as error:
            problems.append(f"fields[{name!r}]: {error}")
    if problems:
        raise ConfigurationError("; ".join(problems))
    return dict(fields)


def _names(names: Collection[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
