"""The operator that every load is built on: it verifies what it was handed, sends it, and accounts for every row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, XComArg

from airflow_consent_retl.operators.base import ConsentRetlOperator
from airflow_consent_retl.operators.progress import Progress, table

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.delivery.permitted import PermittedRows
    from airflow_consent_retl.delivery.protocol import LoadReport
    from airflow_consent_retl.destinations.base import Destination
    from airflow_consent_retl.hooks.policy import PolicySource


class LoadOperator(ConsentRetlOperator):
    """Send the permitted rows of one destination, and nobody else's.

    Before the first request it reads the policy again and verifies what it was handed: destination, policy digest,
    digests and row counts of all files, and age. Rows that the destination rejects or does not answer for are counted
    by its code; the numbers always add up, or the task fails.

    Args:
        permitted: the output of a `ConsentFilterOperator`. Templated.
        destination: the policy's name of the destination. Templated; a name written out has an asset, whose events
            carry the counts of each load.
        fields: what to send: the destination's field names, each with the model's column. Only these columns are
            read. Templated.
        policy: where the policy is read again; by default where the filter read it. Templated.
        max_age_s: seconds since the filter decided, after which its permission is too old.
        max_rejected_ratio: the share of rows, 0 to 1, that the destination may reject before the task fails.

    Returns:
        The counts of the load: read, permitted, denied, accepted, rejected, uncertain, batches.

    Raises:
        AirflowFailException: not retried: what was handed over is refused, the configuration is wrong, the
            destination refuses the load or rejects too many rows.
        DestinationUnavailableError: retried: the destination did not answer, or did not say what became of some rows.
    """

    template_fields: Sequence[str] = ("permitted", "destination", "fields", "policy")
    ui_color = "#fce5cd"

    def __init__(
        self,
        *,
        permitted: Any,
        destination: str,
        fields: Mapping[str, str],
        policy: PolicySource | None = None,
        max_age_s: float = 86_400,
        max_rejected_ratio: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.permitted = permitted
        self.destination = destination
        self.fields = fields
        self.policy = inline_policy_of(permitted) if policy is None else policy
        self.max_age_s = max_age_s
        self.max_rejected_ratio = max_rejected_ratio
        # A templated name is not known yet, and an asset has to be.
        self._asset = None if "{{" in destination else destination_asset(destination)
        if self._asset is not None:
            self.outlets.append(self._asset)

    @abstractmethod
    def build_destination(self) -> Destination:
        """Return the destination, built from the operator's parameters and its connection, not yet opened."""

    def run(self, context: Context) -> dict[str, object]:
        """Verify, send, account; return the counts."""
        from airflow_consent_retl.delivery.protocol import LoadReport, send_permitted
        from airflow_consent_retl.operators.permitted import open_permitted

        permitted = open_permitted(
            self.permitted,
            destination=self.destination,
            fields=self.fields,
            policy=self.policy,
            max_age_s=self.max_age_s,
            now=datetime.now(UTC),
        )
        self.log.info(
            "`%s`: verified %s permitted rows in %s files, decided at %s under policy %s",
            self.destination,
            f"{permitted.rows:,}",
            len(permitted.parts),
            f"{permitted.manifest.decided_at:%F %T %Z}",
            permitted.manifest.policy_digest,
        )
        if permitted.counts.ground == "unmapped":
            self.log.warning("`%s` is mapped to no consent category and receives every row", self.destination)
        report = LoadReport(permitted=permitted.rows)
        try:
            send_permitted(
                permitted,
                self.build_destination(),
                report,
                max_rejected_ratio=self.max_rejected_ratio,
                progress=Progress(self.log, "sent", total_rows=permitted.rows),
            )
        finally:
            counts = self._log_summary(permitted, report)
        events = context.get("outlet_events")
        if events is not None and self._asset is not None:
            events[self._asset].extra = counts
        return counts

    def _log_summary(self, permitted: PermittedRows, report: LoadReport) -> dict[str, Any]:
        from airflow_consent_retl.operators.consent import reasons

        decided = permitted.counts
        numbers = {
            "read": decided.read,
            "permitted": decided.permitted,
            "denied": decided.denied,
            "accepted": report.accepted,
            "rejected": report.rejected,
            "uncertain": report.uncertain,
            "unsent": report.unsent,
        }
        headers = ["destination", *numbers, "denied because", "not accepted because"]
        codes = ", ".join(f"{code} {rows:,}" for code, rows in report.codes.most_common())
        row = [self.destination, *numbers.values(), reasons(decided), codes]
        self.log.info("load of model `%s`\n%s", permitted.manifest.model, table(headers, [row]))
        return {
            "destination": self.destination,
            "model": permitted.manifest.model,
            **numbers,
            "denied_by_reason": decided.denied_by_reason,
            "not_accepted_by_code": dict(report.codes),
            "batches": report.batches,
            "policy_digest": permitted.manifest.policy_digest,
            "decided_at": permitted.manifest.decided_at.isoformat(),
        }


def destination_asset(destination: str) -> Asset:
    """Return the asset that stands for a destination; its events carry the counts of each load."""
    base, _, instance = destination.partition(":")
    return Asset(name=f"consent_retl/{destination}", uri=f"consent-retl://{base}/{instance}".rstrip("/"))


def inline_policy_of(permitted: Any) -> Mapping[str, Any] | None:
    """Return the policy of the filter whose output this is, if it is written in the DAG.

    A policy in a Variable, connection or file is read again from there; one in the DAG has no other place.
    """
    filter_operator = getattr(permitted, "operator", None) if isinstance(permitted, XComArg) else None
    policy = getattr(filter_operator, "policy", None)
    return policy if isinstance(policy, Mapping) else None
