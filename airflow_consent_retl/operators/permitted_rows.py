"""The permitted rows of one destination, for a load and for a DAG author's own task, after the same checks.

@task
def score(permitted):
    for frame in permitted_dataframes(permitted, destination="scoring", fields={"id": "user_id"}):
        ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from airflow_consent_retl.progress import errors_that_fit, module_log

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from airflow_consent_retl.consent.destination_binding import DestinationUse
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.hooks.central_policy import PolicySource
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.manifest import PermittedManifest
    from airflow_consent_retl.workspace.base import Workspace

_log = module_log(__name__)

DEFAULT_MAX_AGE_S = 86_400.0
DEFAULT_BATCH_ROWS = 65_536


def verified_rows(
    permitted: object,
    *,
    destination: str,
    fields: Mapping[str, str] | None,
    policy: PolicySource | None,
    max_age_s: float,
    log: TaskLog,
    asks_again: bool = False,
    fields_not_sent: Sequence[str] | None = (),
    is_proof: bool = True,
    use_of: Callable[[Mapping[str, str] | None], DestinationUse] | None = None,
    refuses_later_list: bool = True,
) -> tuple[PermittedRows, Workspace]:
    """Read the policy again, verify everything before the first row is read, and return the rows and their workspace.

    Args:
        permitted: the output of a `ConsentFilterOperator`.
        destination: the recipient of the rows.
        fields: the destination's field names, each with the model's column; None for all columns as they are.
        policy: the source from which to read the policy again, which has to be the filter's; None for the filter's.
        max_age_s: seconds since the decision.
        log: the task's.
        asks_again: the caller asks the source for consent again, under the present policy. In that case an older
            decision, under another policy, is accepted as the upper limit of what may be sent.
        fields_not_sent: the guarded fields that are not sent, under any name; None: the caller sends no row, so no
            guard has to apply.
        is_proof: the permitted set has to be signed by the deployment; False: the ledger knows it already.
        use_of: returns what the caller does with the destination, from the fields that it sends; by default it hands
            the rows to code of its own.
        refuses_later_list: whether no one may have been forgotten, or taken off the suppression list, since the
            filter read it; otherwise the caller reads it again before it sends anything.

    Raises:
        RefusedError: the permitted set differs from what a filter permitted for this destination under this policy, or
            `policy` is not the filter's.
        ConfigurationError: the filter's policy was written in its DAG, and `policy` does not repeat it; or a field is
            mapped to a column that the model does not have.
        PolicyError: the policy, as it is now, is broken; or the model, the destination or a field differs from what it
            declares.
    """
    from airflow_consent_retl.errors import RefusedError
    from airflow_consent_retl.filtering.permitted import check_permitted
    from airflow_consent_retl.hooks.forgotten_list import suppression_list
    from airflow_consent_retl.hooks.policies import policy_in_force
    from airflow_consent_retl.hooks.workspaces import open_workspace
    from airflow_consent_retl.operators.bindings import check_decided, check_destinations
    from airflow_consent_retl.storage import open_permitted

    opened = open_permitted(permitted, is_proof=is_proof)
    manifest = opened.manifest
    loaded = policy_in_force(policy_source(manifest, policy))
    present = loaded.policy
    checked = check_permitted(
        opened,
        destination=destination,
        fields=fields,
        policy_digest=None if asks_again else present.digest,
        max_age_s=None if asks_again else max_age_s,
        now=datetime.now(UTC),
        guards=present.guards(destination),
        fields_not_sent=fields_not_sent,
    )
    check_decided(loaded, manifest)
    use = (use_of or partial(_own_code, destination))(None if fields_not_sent is None else checked.fields)
    check_destinations(loaded, [use], sends=fields_not_sent is not None)
    for guard, names in checked.guarded.items():
        sent = ", ".join(f"`{name}`" for name in names)
        log.info("`%s`: the policy guards `%s`: %s", destination, guard, f"applied to {sent}" if sent else "not sent")
    if refuses_later_list and suppression_list(manifest.workspace).state != (manifest.suppression or ""):
        raise RefusedError(f"people were forgotten after consent was decided for `{destination}`: run the filter again")
    workspace = open_workspace(manifest, source=manifest.source, model=manifest.model, log=log)
    return workspace.open_permitted(opened, destination=destination, fields=checked.fields), workspace


def _own_code(destination: str, fields: Mapping[str, str] | None) -> DestinationUse:
    from airflow_consent_retl.consent.destination_binding import DestinationUse

    operator = permitted_batches.__name__
    return DestinationUse(name=destination, operator=operator, is_own_code=True, connections={}, fields=fields)


def policy_source(manifest: PermittedManifest, policy: PolicySource | None) -> PolicySource:
    """Return the source from which to read the policy again: the filter's.

    Raises:
        ConfigurationError: it was written in the filter's DAG, and `policy` does not repeat it; or `policy` is not the
            deployment's.
        RefusedError: `policy` is not the filter's, or the filter's is not the deployment's.
    """
    from airflow_consent_retl.consent import parse_policy
    from airflow_consent_retl.errors import ConfigurationError, RefusedError
    from airflow_consent_retl.hooks.central_policy import INLINE, binds, described, source_in_force

    decided = manifest.policy_source
    if binds() and source_in_force(policy) != decided:
        raise RefusedError(
            f"consent was decided under {described(decided)}, and `[consent_retl] policy` is "
            f"{described(source_in_force(policy))}: run the filter again"
        )
    if policy is None and decided == INLINE:
        raise ConfigurationError("the filter's policy is written in its DAG: pass the same document as policy=…")
    if policy is None or policy == decided:
        return decided
    if isinstance(policy, str) or decided != INLINE:
        raise RefusedError(
            f"policy: the filter decided under {described(decided)}, and this task has {described(policy)}: leave "
            "`policy` out, or name the filter's"
        )
    # INVARIANT: a document of the load's own never replaces the one that the filter decided under.
    present = parse_policy(policy).digest
    if present != manifest.policy_digest:
        raise RefusedError(
            f"the policy changed since consent was decided: run the filter again (decided under "
            f"{manifest.policy_digest}, now {present})"
        )
    return policy


def permitted_batches(
    permitted: object,
    *,
    destination: str,
    fields: Mapping[str, str] | None = None,
    fields_not_sent: Sequence[str] = (),
    policy: PolicySource | None = None,
    max_age_s: float = DEFAULT_MAX_AGE_S,
    batch_rows: int = DEFAULT_BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Yield the permitted rows of one destination as Arrow batches, at most `batch_rows` rows each.

    The call makes all checks of a load before it yields the first batch. See `verified_rows` for the
    parameters and the errors.
    """
    with errors_that_fit():
        rows, _ = verified_rows(
            permitted,
            destination=destination,
            fields=fields,
            fields_not_sent=fields_not_sent,
            policy=policy,
            max_age_s=max_age_s,
            log=_log,
        )
    return _with_errors_that_fit(rows.batches(batch_rows))


def _with_errors_that_fit(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with errors_that_fit():
        yield from batches


def permitted_dataframes(
    permitted: object,
    *,
    destination: str,
    fields: Mapping[str, str] | None = None,
    fields_not_sent: Sequence[str] = (),
    policy: PolicySource | None = None,
    max_age_s: float = DEFAULT_MAX_AGE_S,
    batch_rows: int = DEFAULT_BATCH_ROWS,
    dtype_backend: Literal["pyarrow", "numpy_nullable"] = "pyarrow",
) -> Iterator[pd.DataFrame]:
    """Yield the permitted rows of one destination as pandas frames, at most `batch_rows` rows each.

    Types stay exact: an integer or boolean column with NULLs keeps its type, and large ids keep every digit. `pyarrow`
    keeps all of Arrow's types; `numpy_nullable` gives `Int64`, `boolean` and `string`. It needs the extra `pandas`.
    Otherwise as `permitted_batches`.
    """
    mapper = _types_mapper(dtype_backend)
    batches = permitted_batches(
        permitted,
        destination=destination,
        fields=fields,
        fields_not_sent=fields_not_sent,
        policy=policy,
        max_age_s=max_age_s,
        batch_rows=batch_rows,
    )
    return (rows.to_pandas(types_mapper=mapper) for rows in batches)


def _types_mapper(dtype_backend: str) -> Any:
    import pyarrow as pa

    from airflow_consent_retl.errors import ConfigurationError

    try:
        import pandas as pd
    except ImportError:
        raise ConfigurationError(
            "permitted_dataframes needs pandas: `pip install 'airflow-consent-retl[pandas]'`, or take the batches of "
            "permitted_batches"
        ) from None

    if dtype_backend == "pyarrow":
        return pd.ArrowDtype
    integers = {
        getattr(pa, name.lower())(): getattr(pd, f"{name}Dtype")()
        for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    }
    floats = {pa.float32(): pd.Float32Dtype(), pa.float64(): pd.Float64Dtype()}
    return {**integers, **floats, pa.bool_(): pd.BooleanDtype(), pa.string(): pd.StringDtype()}.get
