"""The warnings of a load about the set that it is to send."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.progress import TaskLog


def warn_of_permitted(permitted: PermittedRows, *, knows_by_identifiers: bool, log: TaskLog) -> None:
    """Warn of a destination that needs no consent, and of identifiers that a person shares with one who says no.

    Args:
        permitted: the verified rows.
        knows_by_identifiers: whether the destination knows people by fields that two people may share.
        log: the task's.
    """
    from airflow_consent_retl.consent import IdentityLinks

    name, manifest = permitted.destination, permitted.manifest
    if permitted.counts.ground == "unmapped":
        log.warning("`%s` is mapped to no consent category and receives every row", name)
    known = any(document.get("format") == IdentityLinks.__name__ for document in manifest.source.consent_sources)
    if knows_by_identifiers and not known:
        fields = ", ".join(f"`{field}`" for field in permitted.fields)
        log.warning(
            "`%s` knows people by %s, which two people may share, and model `%s` has no identities: the no of one of "
            "them does not keep the other's from being sent. Declare them, for instance identities=IdentityLinks("
            '"SELECT %s, email FROM …", subject="%s", identifier="email")',
            name,
            fields,
            manifest.model,
            manifest.primary_key,
            manifest.primary_key,
        )
