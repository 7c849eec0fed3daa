"""The rows of a model, with the consent that other queries bring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.databases.source import ModelRows

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.consent import ExternalConsent
    from airflow_consent_retl.storage.source_sizes import SourceSizes

OpenModel = Callable[[], AbstractContextManager[ModelRows]]
HookOf = Callable[[str | None], "DbApiHook"]
Log = Callable[[str], object]


@contextmanager
def reading_with_consent(
    open_model: OpenModel,
    sources: Sequence[ExternalConsent],
    *,
    hook_of: HookOf,
    conn_id: str,
    time_zone: str,
    at: datetime,
    log: Log,
    warn: Log,
    sizes: SourceSizes | None = None,
) -> Iterator[ModelRows]:
    """Yield a model's rows with the columns that sources bring, in the same order; `LinkedRows` with identities.

    Sources are read first, then all rows into private temporary files, before the first row is yielded.

    Args:
        open_model: runs the model's query.
        sources: the sources to join, with different columns.
        hook_of: returns the hook of a connection; None: the model's connection.
        conn_id: the model's connection, for messages.
        time_zone: of the model's sessions; the queries of sources run under it too.
        at: a time before the model's query started.
        log: gets messages about the sources, never with a value of a row.
        warn: gets the messages that a person should read.
        sizes: how many rows the sources had before; None: they are not compared.

    Raises:
        ConfigurationError: a source brings a column that the model already has, or a key is missing.
        ModelError: a source's query fails, its columns cannot contain consent, the kinds of the keys differ, no row
            has a subject in a source, or a source lost more rows than it may.
        SourceUnavailableError: a source does not answer.
    """
    if not sources:
        with open_model() as rows:
            yield rows
        return
    # Expressions take time to load, and most models contain their consent.
    from airflow_consent_retl.extraction.consent_files import joined_rows

    with joined_rows(
        open_model,
        sources,
        hook_of=hook_of,
        conn_id=conn_id,
        time_zone=time_zone,
        at=at,
        log=log,
        warn=warn,
        sizes=sizes,
    ) as rows:
        yield rows
