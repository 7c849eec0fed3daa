"""Records of a vendor's that say what a person consented to: made from answers, after a look at what is there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Protocol

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.destinations.http.record_options import API_NAME
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.fields.field_values import other_than_answers


class FindsRecords(Protocol):
    """The questions to a vendor about its records."""

    def records(
        self, kind: str, field: str, keys: Sequence[str], columns: Sequence[str] = (), *, quoted: bool = True
    ) -> list[dict[str, Any]]:
        """Return the records whose field has one of these values, with further columns."""


@parameter_class
class ConsentRecord(ABC):
    """One consent of each person, as a record of its own kind. A subclass knows the vendor's columns.

    Attributes:
        kind: of the records.
        subject: the parameter with what the person consents to, and its values.
        status, source: the columns with the state, and with who wrote it.
        granted, denied: the states.
        withdrawn: the source of a denial that this package wrote. One with another source is the person's own.
        alike: the parameters that all consents of a kind need alike, since they share a job.

    Args:
        field: the load's field with the person's answer, mapped with `consent(…)`. A row with any other value than
            `granted`, or none, has an opt-out. Not sent with the person's own record.
        external_id: a unique external id of the consent's record, a text. Its value is the person's key, a colon and
            the subject.
    """

    kind: ClassVar[str]
    subject: ClassVar[tuple[str, tuple[str, ...]]]
    status: ClassVar[str]
    source: ClassVar[str]
    granted: ClassVar[str]
    denied: ClassVar[str]
    withdrawn: ClassVar[str]
    alike: ClassVar[tuple[str, ...]] = ("external_id",)

    field: str
    external_id: str

    def wrong(self) -> list[str]:
        """Return the errors in the values."""
        name, values = self.subject
        wrong = [] if self.about in values else [f"{name} must be one of {', '.join(values)}"]
        if not API_NAME.fullmatch(self.external_id):
            wrong.append("external_id of a consent object must be a field's name")
        return wrong

    @property
    def about(self) -> str:
        """The subject."""
        return str(getattr(self, self.subject[0]))

    def key(self, person: str) -> str:
        """Return the record's key."""
        return f"{person}:{self.about}"

    @abstractmethod
    def record(self, person: str, *, granted: bool, at: datetime | None = None) -> Mapping[str, str]:
        """Return the record of a person's answer, by its columns."""


@parameter_class
class WithdrawalFlags:
    """Flags of a record of another kind that a withdrawal sets. No load ever takes one back: a person may have set it.

    Attributes:
        kind: of the records.
        known: the flags that it has.

    Args:
        flags: the columns.
        external_id: a custom external id of the record, that has the person's key.
    """

    kind: ClassVar[str]
    known: ClassVar[tuple[str, ...]]

    flags: tuple[str, ...]
    external_id: str

    def wrong(self) -> list[str]:
        """Return the errors in the values."""
        unknown = [flag for flag in self.flags if flag not in self.known]
        wrong = [f"`{flag}` is no flag of {self.kind}: {', '.join(self.known)}" for flag in unknown]
        wrong += [] if self.flags else [f"flags names no flag of {self.kind}"]
        if not API_NAME.fullmatch(self.external_id):
            wrong.append(f"external_id of {self.kind} must be a field's name")
        return wrong


def wrong_objects(objects: Sequence[ConsentRecord | WithdrawalFlags]) -> list[str]:
    """Return the errors of consent objects, and of those that would share a job and cannot."""
    wrong = [error for one in objects for error in one.wrong()]
    kinds: dict[str, list[ConsentRecord]] = {}
    for one in consents_in(objects):
        kinds.setdefault(type(one).__name__, []).append(one)
    for kind, some in kinds.items():
        if len({tuple(getattr(one, name) for name in one.alike) for one in some}) > 1:
            wrong.append(f"all {kind} need the same {' and '.join(some[0].alike)}")
        if len({one.about for one in some}) != len(some):
            wrong.append(f"consent_objects has a {some[0].subject[0]} twice")
    flags = [type(one).__name__ for one in objects if isinstance(one, WithdrawalFlags)]
    return wrong + [f"consent_objects has {kind} twice" for kind in flags[1:]]


def consents_in(objects: Iterable[ConsentRecord | WithdrawalFlags]) -> list[ConsentRecord]:
    """Return those that are made from a person's own answer."""
    return [one for one in objects if isinstance(one, ConsentRecord)]


def changed_records(
    api: FindsRecords,
    consents: Iterable[ConsentRecord],
    answers: Mapping[str, Mapping[str, bool]],
    *,
    at: datetime,
    makes: bool = False,
) -> dict[str, list[list[str]]]:
    """Return the records to write for each person, after a look at what the vendor has.

    An opt-out that this package did not write stays, whatever the person answers elsewhere. A record that already says
    the same is not written again, so its dates stay.

    Args:
        api: of the account.
        consents: of one kind.
        answers: by person: the field of each consent, and whether the person granted it.
        at: since when the answer is valid.
        makes: whether a record is made only to say no.

    Raises: as the calls do.
    """
    found: dict[str, list[list[str]]] = {}
    for one in consents:
        asked = {one.key(person): person for person in answers}
        records = api.records(one.kind, one.external_id, list(asked), (one.status, one.source))
        present = {record[one.external_id]: record for record in records}
        for key, person in asked.items():
            granted = answers[person][one.field]
            record = present.get(key)
            if _is_written(one, record, granted=granted) if record else granted or makes:
                found.setdefault(person, []).append(list(one.record(person, granted=granted, at=at).values()))
    return found


def _is_written(one: ConsentRecord, record: Mapping[str, Any], *, granted: bool) -> bool:
    state = record[one.status]
    if state == one.denied:
        return granted and record[one.source] == one.withdrawn
    # A record with another state, or with none yet, says nothing.
    return not granted if state == one.granted else True


def check_told(objects: Iterable[ConsentRecord | WithdrawalFlags], fields: object, *, vendor: str) -> None:
    """Check, when a DAG file is parsed, that each consent is a person's own answer to a category.

    Args:
        objects: as the DAG declares them.
        fields: of the load; a template, or the output of a task, is known when the task runs.
        vendor: its name.

    Raises:
        ConfigurationError: one is a column, a constant, or another value than the granted one.
    """
    for one in consents_in(objects):
        for name in other_than_answers(fields, [one.field], granted=one.granted, is_needed=True):
            raise ConfigurationError(
                f"consent_objects tells {vendor} `{name}`, each person's own answer to a category: map it with "
                f'consent("C0005", granted="{one.granted}")'
            )


def check_answers(columns: Collection[str], consents: Iterable[ConsentRecord]) -> None:
    """Check that the load has the field of each consent.

    Raises:
        ConfigurationError: a field is missing.
    """
    missing = {one.field: one.granted for one in consents if one.field not in columns}
    if missing:
        raise ConfigurationError(
            f"consent_objects need the fields {', '.join(missing)}: map each with "
            f'consent(…, granted="{next(iter(missing.values()))}")'
        )
