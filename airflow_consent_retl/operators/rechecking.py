"""The rechecks of a load: whom the source, or the suppression list, does not permit any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from airflow_consent_retl.changes.store import SyncStore
    from airflow_consent_retl.delivery.recheck import Recheck
    from airflow_consent_retl.filtering.model_question import ModelAsker
    from airflow_consent_retl.storage.change_set import Changes
    from airflow_consent_retl.storage.forgotten import ForgottenPeople

_SCAN_ROWS = 65_536
# The list is small: reading it costs less than one batch.
_LIST_INTERVAL_S = 60.0


@contextmanager
def source_recheck(
    store: SyncStore[Any, Any],
    asker: ModelAsker,
    destination: str,
    interval_s: float,
    changes: Changes,
    *,
    accept_silence: Collection[str] = (),
) -> Iterator[Recheck | None]:
    """Yield the recheck that asks the model's source, and reads the suppression list.

    Args:
        store: of the sync.
        asker: asks the source.
        destination: to decide for.
        interval_s: seconds from one answer until the next is due.
        changes: about to be sent.
        accept_silence: the categories under `opt_out` for which no row has to have an answer.
    """
    import pyarrow as pa

    from airflow_consent_retl.delivery.recheck import SourceRecheck
    from airflow_consent_retl.filtering.silence import check_asked_again
    from airflow_consent_retl.filtering.subject_index import SubjectIndex

    if not changes.manifest.upsert_rows:
        yield None
        return
    id_type = changes.id_type or pa.null()

    def check_silence(silent: tuple[str, ...]) -> None:
        if not set(silent).issubset(accept_silence):
            silent = store.silent_in_model(asker, silent, id_type)
        check_asked_again(silent, destination=destination, accept_silence=accept_silence)

    with SubjectIndex(_ids(changes), id_type, people=changes.manifest.upsert_rows) as people, ExitStack() as resources:
        ask = resources.enter_context(store.asking_about(asker, _ids(changes), id_type)).ask
        yield SourceRecheck(
            people,
            destination,
            ask,
            carrying=partial(_carrying, changes),
            interval_s=interval_s,
            start=changes.sent_from,
            check_silence=check_silence,
        )


@contextmanager
def forgotten_since(read: Callable[[], ForgottenPeople], changes: Changes) -> Iterator[Recheck | None]:
    """Yield the recheck of a load that does not ask the source: it reads the suppression list alone.

    Args:
        read: reads the list.
        changes: about to be sent.
    """
    from airflow_consent_retl.delivery.recheck import ForgottenRecheck

    if not changes.manifest.upsert_rows:
        yield None
        return
    yield ForgottenRecheck(partial(_forgotten, read, changes), interval_s=_LIST_INTERVAL_S)


def _forgotten(read: Callable[[], ForgottenPeople], changes: Changes) -> NDArray[np.int64]:
    import numpy as np

    found = [np.empty(0, np.int64)]
    people = read()
    if people:
        found += [np.flatnonzero(people.among(ids)) + start for start, ids in changes.ids_to_send(_SCAN_ROWS)]
    return np.concatenate(found)


def _ids(changes: Changes) -> Iterator[pa.Array]:
    return (ids for _, ids in changes.ids_to_send(_SCAN_ROWS))


def _carrying(changes: Changes, guarded: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the positions of the rows to send that have a value in a guarded field."""
    import numpy as np

    from airflow_consent_retl.filtering.field_mapping import is_taken_back
    from airflow_consent_retl.filtering.guarded_fields import guarded_columns

    fields = dict(changes.manifest.shape.fields)
    columns = guarded_columns(guarded, fields)
    names = [name for name, column in fields.items() if column in columns]
    found = [np.empty(0, np.int64)]
    for start, rows in changes.rows_to_send(_SCAN_ROWS):
        carried = np.zeros(rows.num_rows, dtype=np.bool_)
        for name in names:
            carried |= ~is_taken_back(rows.column(name), fields[name])
        found.append(np.flatnonzero(carried) + start)
    return np.concatenate(found)
