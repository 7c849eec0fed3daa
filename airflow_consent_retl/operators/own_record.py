"""One made-up record sent to a load's destination, by the destination's real path, and its removal.

Only a made-up person is sent this way. A real person is sent by a load alone, since only what the ledger records is
removed when consent ends. The record is noted in the workspace before it is sent, and is in no delivered state.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.contract.outcomes import RowStatus
from airflow_consent_retl.errors import ConfigurationError, DestinationUnavailableError, RefusedError
from airflow_consent_retl.operators.planning import ready_load

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.contract.destination import Destination, Load
    from airflow_consent_retl.contract.outcomes import Outcomes
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.operators.load import LoadOperator
    from airflow_consent_retl.operators.load_input import LoadInput
    from airflow_consent_retl.operators.mapped_instances import TaskInstance

PREFIX: Final = "test-"
_HOLDER: Final = "test record"


@dataclass(frozen=True, slots=True)
class RecordAnswer:
    """What was sent, and what the destination answered.

    Args:
        destination: the policy's name of it.
        target: where it went.
        action: `sent` or `removed`.
        record: in the form in which the destination got it.
        status: the outcome: `accepted`, `rejected`, `uncertain`, or `pending` if it is not processed yet.
        code: the destination's reason; empty: none.
    """

    destination: str
    target: str
    action: str
    record: Mapping[str, object]
    status: str
    code: str


def send_test(
    load: LoadOperator | TaskInstance, record: Mapping[str, object], permitted: object = None, *, remove: bool = False
) -> RecordAnswer:
    """Send one made-up record to a load's destination, or remove one that was sent, and return the answer.

    Args:
        load: a task of a DAG, an instance of a mapped one, or an operator.
        record: the destination's fields with made-up values; fields that are left out are empty. The key is a text that
            begins with `test-`, or a number below 0, and no person of the model may have it. Other values are not
            checked: the caller says that they are no real person's. To remove a record, the key is enough.
        permitted: the output of a filter, as JSON; None: extraction and filter of the load's DAG run first.
        remove: remove the record.

    Raises:
        ConfigurationError: the key could be a person's, a field is unknown, the destination cannot remove people or
            replaces everyone, or no such record was sent.
        PermanentError, TransientError: as a load.
    """
    with ready_load(load, permitted) as (ready, _):
        return _sent(ready, record, remove=remove)


def _sent(load: LoadOperator, record: Mapping[str, object], *, remove: bool) -> RecordAnswer:
    from airflow_consent_retl.delivery.ledger.records import sync_name
    from airflow_consent_retl.delivery.pairing import leased
    from airflow_consent_retl.hooks.ledgers import open_ledger
    from airflow_consent_retl.operators.load_input import opened_input
    from airflow_consent_retl.storage.location import open_folder, workspace_root
    from airflow_consent_retl.storage.own_records import OwnRecord, OwnRecords

    found = opened_input(load, may_resume=False)
    if found.unfit is not None:
        raise found.unfit
    permitted, workspace = found.permitted, found.workspace_of(load)
    destination, key = load.build_destination(), _made_up_key(permitted, record)
    _check_removable(destination, load)
    sync, root = sync_name(permitted.manifest.model, load.destination), open_folder(workspace_root(workspace))
    with (
        open_ledger(workspace, load.ledger_conn_id) as ledger,
        leased(ledger, root, sync, holder=_HOLDER, ttl_s=load.lease_ttl_s, wait_s=load.lease_wait_s) as lease,
    ):
        notes = OwnRecords(root, sync)
        if remove:
            noted = notes.all().get(key)
            if noted is None or noted.target != destination.target:
                where = f" to {destination.target}" if noted is None else f": it was sent to {noted.target}"
                raise ConfigurationError(f"sync `{sync}` sent no test record with this key{where}")
            rows = _rows(permitted, noted.fields)
        else:
            rows = _rows(permitted, record)
            _check_no_person(found, rows)
            notes.note(key, OwnRecord(destination.target, dict(record)))
        described = load.sync_settings().applied_to(permitted.load_of(rows.schema))
        described = replace(described, key=uuid.uuid4().hex, rows=0 if remove else 1)
        described = replace(described, before_request=lease.check, reserve=lease.reserve)
        outcomes = _delivered(destination, rows, described, load, remove=remove)
        outcome = outcomes[0]
        if remove and outcome.status is RowStatus.ACCEPTED:
            notes.drop(key)
    (shown, *_) = destination.sent_as(rows, described) or [{}]
    action = "removed" if remove else "sent"
    return RecordAnswer(load.destination, destination.target, action, shown, str(outcome.status), outcome.code)


def _made_up_key(permitted: PermittedRows, record: Mapping[str, object]) -> str:
    name = permitted.key_field
    if name is None or record.get(name) is None:
        raise ConfigurationError(f"a test record needs the destination's key field, `{name or 'which is not mapped'}`")
    value = record[name]
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        return str(value)
    if isinstance(value, str) and value.startswith(PREFIX):
        return value
    raise ConfigurationError(
        f"`{name}` of a test record begins with `{PREFIX}`, or is a number below 0: a person of the model is sent by a "
        "load alone, since only what the ledger records is removed when consent ends"
    )


def _check_removable(destination: Destination, load: LoadOperator) -> None:
    if destination.replaces:
        raise ConfigurationError(
            f"each load to `{load.destination}` replaces everyone, so a test record would replace all people: look at "
            "the rows with a preview, or load a model of test people into a folder of its own"
        )
    if not destination.can_remove:
        raise ConfigurationError(f"`{load.destination}` cannot remove people, so a test record would stay there")


def _check_no_person(found: LoadInput, rows: pa.RecordBatch) -> None:
    """Refuse a key that a person of the model has now.

    Raises:
        RefusedError: a person has it.
    """
    from airflow_consent_retl.consent import RemovalCause
    from airflow_consent_retl.filtering.subject_index import SubjectIndex

    permitted, asker = found.permitted, found.asker
    if asker is None:
        raise ConfigurationError(
            f"`{permitted.destination}`: the source is not asked again, so it cannot be checked that no person has "
            "this key: set recheck_interval_s"
        )
    ids = rows.column(permitted.key_field)
    with SubjectIndex([ids], ids.type, people=1) as people:
        causes = people.asked(asker.ask, permitted.destination)
    if RemovalCause.LEFT_MODEL not in causes:
        raise RefusedError(f"a person of model `{permitted.manifest.model}` has this key: choose another one")


def _schema(permitted: PermittedRows) -> pa.Schema:
    import pyarrow as pa

    from airflow_consent_retl.filtering.field_mapping import FieldMapping
    from airflow_consent_retl.values.columns import declared_types

    types = {column.name: column.type for column in permitted.manifest.columns}
    mapping = FieldMapping(permitted.fields)
    known = declared_types({name: types[name] for name in mapping.columns if types[name] != "null"})
    return mapping.schema(pa.schema([(name, known.get(name, pa.string())) for name in mapping.columns]))


def _rows(permitted: PermittedRows, record: Mapping[str, object]) -> pa.RecordBatch:
    import pyarrow as pa

    schema = _schema(permitted)
    if unknown := sorted(record.keys() - set(schema.names)):
        raise ConfigurationError(f"the load sends no field `{unknown[0]}`; it sends {', '.join(schema.names)}")
    columns = [_typed([record.get(one.name)], one.type, one.name) for one in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _typed(values: list[object], type_: pa.DataType, name: str) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values, type_)
    except (pa.ArrowException, TypeError, ValueError):
        pass
    try:
        # JSON has texts for decimals, dates and times.
        return pa.array([None if one is None else str(one) for one in values], pa.string()).cast(type_)
    except (pa.ArrowException, TypeError, ValueError):
        raise ConfigurationError(f"field `{name}` takes values of type {type_}, and the record has another") from None


def _delivered(
    destination: Destination, rows: pa.RecordBatch, described: Load, load: LoadOperator, *, remove: bool
) -> Outcomes:
    from airflow_consent_retl.contract.destination import Batch

    key = hashlib.sha256(described.key.encode()).hexdigest()
    ended = False
    try:
        destination.open(described)
        if remove:
            rows = destination.removal_rows(rows, described)
            outcomes = destination.remove(Batch(key=key, rows=rows))
        else:
            outcomes = destination.send(Batch(key=key, rows=rows))
        outcomes = _confirmed(destination, outcomes, rows, load)
        destination.commit()
        ended = True
    finally:
        if not ended:
            destination.abort()
    return outcomes


def _confirmed(destination: Destination, outcomes: Outcomes, rows: pa.RecordBatch, load: LoadOperator) -> Outcomes:
    """Ask a destination that processes later, for as long as a load would wait."""
    deadline = time.monotonic() + load.confirm_timeout_s
    while outcomes[0].status is RowStatus.PENDING:
        request = outcomes[0].code
        found: Outcomes | None = None
        try:
            found = destination.confirm_rows(request, 1, lambda: rows)
        except DestinationUnavailableError:
            if time.monotonic() >= deadline:
                raise
        if found is not None:
            return found
        if time.monotonic() >= deadline:
            return outcomes
        time.sleep(min(load.confirm_interval_s, 5.0))
    return outcomes
