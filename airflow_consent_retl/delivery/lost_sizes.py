"""The check that consent sources did not shrink since a sync was delivered, where the workspace lost their sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.source_sizes import LONGEST_CHAIN, alike, known_time

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.storage.manifest import PermittedManifest


def check_sizes(lease: Lease, manifest: PermittedManifest) -> None:
    """Compare the consent sources of a permitted set with those of the newest data that its sync delivered.

    Only if the extractions since then did not compare them: otherwise they accepted them.

    Args:
        lease: of the sync.
        manifest: of the permitted set.

    Raises:
        RefusedError: one lost a larger share of its rows than it may.
    """
    if not manifest.source_sizes:
        return
    newest = lease.newest().source
    for size in manifest.source_sizes:
        known = None if newest is None else alike(size, newest.sizes)
        if known is None or known_time(known) >= size.read_at:
            continue
        is_compared = known.read_at in size.chain or (
            # Too long ago to be in the chain.
            len(size.chain) == LONGEST_CHAIN and known.read_at < size.chain[0]
        )
        if not is_compared and size.rows < (1 - size.max_shrink_ratio) * known.rows:
            raise RefusedError(
                f"sync `{lease.sync}`: the consent source of column `{size.column}` has {size.rows:,} rows with a key, "
                f"and had {known.rows:,} for the data that were delivered last: more than "
                f"max_shrink_ratio={size.max_shrink_ratio} allows. The extraction could not notice it: the "
                f"workspace's folder `source_sizes` was emptied, or restored from an older backup. Check what fills "
                "the source; if it may be this short, run the extraction once with max_shrink_ratio=1, then filter and "
                "load"
            )
