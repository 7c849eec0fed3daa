"""The permitted rows of one destination, for a load and for a DAG author's own task, after the same checks.

@task
def score(permitted):
    for frame in permitted_dataframes(permitted, destination="scoring", fields={"id": "user_id"}):
        ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from airflow_consent_retl.databases.staging import Warehouse
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.hooks.policies import PolicySource
    from airflow_consent_retl.storage.manifest import PermittedManifest, WarehouseDecision

DEFAULT_MAX_AGE_S = 86_400.0
DEFAULT_BATCH_ROWS = 65_536


def open_permitted(
    permitted: object,
    *,
    destination: str,
    fields: Mapping[str, str] | None,
    policy: PolicySource | None,
    max_age_s: float,
    now: datetime,
    asks_again: bool = False,
) -> PermittedRows:
    """Follow a reference, read the policy again, and verify everything before the first row is read.

    Args:
        permitted: the output of a `ConsentFilterOperator`.
        fields: the destination's field names, each with the model's column; None for all columns as they are.
        policy: where the policy is read again; None for where the filter read it.
        asks_again: whoever calls asks the source for consent again, under the present policy: then an older decision,
            under another policy, is taken as what it is, the most that may be sent.

    Raises:
        RefusedError: what was handed over is not what a filter permitted for this destination, under this policy.
        ConfigurationError: the filter's policy was written in its DAG, and `policy` does not repeat it; or a field is
            mapped to a column that the model does not have.
        PolicyError: the policy, as it is now, is broken.
    """
    from airflow_consent_retl.filtering.permitted import verify
    from airflow_consent_retl.hooks.policies import read_policy
    from airflow_consent_retl.storage.location import manifest_folder
    from airflow_consent_retl.storage.manifest import ManifestRef, PermittedManifest

    ref = ManifestRef.from_xcom(permitted, kind="permitted")
    folder = manifest_folder(ref.manifest)
    manifest = PermittedManifest.from_json(folder.read_manifest(sha256=ref.sha256))
    present = read_policy(policy_source(manifest, policy)).policy
    return verify(
        folder,
        manifest,
        manifest_sha256=ref.sha256,
        destination=destination,
        fields=fields,
        policy_digest=None if asks_again else present.digest,
        max_age_s=None if asks_again else max_age_s,
        now=now,
        reach=None if manifest.staged is None else partial(_reach, manifest, manifest.staged),
    )


def _reach(manifest: PermittedManifest, staged: WarehouseDecision) -> Warehouse:
    from airflow_consent_retl.hooks.workspaces import staging_warehouse

    return staging_warehouse(manifest.source.conn_id, staged.permitted.namespace, model=manifest.model)


def policy_source(manifest: PermittedManifest, policy: PolicySource | None) -> PolicySource:
    """Return where the policy is read again.

    Raises:
        ConfigurationError: it was written in the filter's DAG, and `policy` does not repeat it.
    """
    from airflow_consent_retl.errors import ConfigurationError
    from airflow_consent_retl.hooks.policies import INLINE

    source = manifest.policy_source if policy is None else policy
    if source == INLINE:
        raise ConfigurationError("the filter's policy is written in its DAG: pass the same document as policy=…")
    return source


def permitted_batches(
    permitted: object,
    *,
    destination: str,
    fields: Mapping[str, str] | None = None,
    policy: PolicySource | None = None,
    max_age_s: float = DEFAULT_MAX_AGE_S,
    batch_rows: int = DEFAULT_BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Yield the permitted rows of one destination as Arrow batches, at most `batch_rows` rows each.

    Everything a load checks is checked when this is called, before the first batch. See `open_permitted` for the
    parameters and the errors.
    """
    rows = open_permitted(
        permitted,
        destination=destination,
        fields=fields,
        policy=policy,
        max_age_s=max_age_s,
        now=datetime.now(UTC),
    )
    return rows.batches(batch_rows)


def permitted_dataframes(
    permitted: object,
    *,
    destination: str,
    fields: Mapping[str, str] | None = None,
    policy: PolicySource | None = None,
    max_age_s: float = DEFAULT_MAX_AGE_S,
    batch_rows: int = DEFAULT_BATCH_ROWS,
    dtype_backend: Literal["pyarrow", "numpy_nullable"] = "pyarrow",
) -> Iterator[pd.DataFrame]:
    """Yield the permitted rows of one destination as pandas frames, at most `batch_rows` rows each.

    Types stay exact: an integer or boolean column with NULLs keeps its type, and large ids every digit. `pyarrow`
    keeps all of Arrow's types; `numpy_nullable` gives `Int64`, `boolean` and `string`. Otherwise as
    `permitted_batches`.
    """
    mapper = _types_mapper(dtype_backend)
    batches = permitted_batches(
        permitted, destination=destination, fields=fields, policy=policy, max_age_s=max_age_s, batch_rows=batch_rows
    )
    return (rows.to_pandas(types_mapper=mapper) for rows in batches)


def _types_mapper(dtype_backend: str) -> Any:
    import pandas as pd
    import pyarrow as pa

    if dtype_backend == "pyarrow":
        return pd.ArrowDtype
    integers = {
        getattr(pa, name.lower())(): getattr(pd, f"{name}Dtype")()
        for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    }
    floats = {pa.float32(): pd.Float32Dtype(), pa.float64(): pd.Float64Dtype()}
    return {**integers, **floats, pa.bool_(): pd.BooleanDtype(), pa.string(): pd.StringDtype()}.get
