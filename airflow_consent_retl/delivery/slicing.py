"""Slices of a delivery: ranges of its batches to send, each for a task of its own, and the sending of one.

A slice is a part of one published set of changes. Between runs there are none: the delivered state, the limits and the
target are those of the whole sync, and the next run may have any number of slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.delivery.attempts import BatchKind
from airflow_consent_retl.delivery.protocol import send_slice
from airflow_consent_retl.delivery.run import DeliveryRun
from airflow_consent_retl.delivery.target import settle_target, target_of
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.change_set import Changes

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.context import SyncContext
    from airflow_consent_retl.delivery.ledger.records import Delivery
    from airflow_consent_retl.delivery.report import LoadReport, Tally
    from airflow_consent_retl.delivery.syncing import MakeRecheck

# A task costs seconds before its first request.
MIN_BATCHES: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One slice of a delivery.

    Args:
        delivery: the ledger's number of the delivery.
        number: of the slice, from 1.
        of: the number of slices.
        first, end: the numbers of its first batch and of the one after its last.
    """

    delivery: int
    number: int
    of: int
    first: int
    end: int

    def as_document(self) -> dict[str, int]:
        """Return the slice for XCom."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: object) -> Slice:
        """Read back what `as_document` returned.

        Raises:
            ConfigurationError: it is something else.
        """
        names = {one.name for one in fields(cls)}
        if not isinstance(document, Mapping) or document.keys() != names:
            raise ConfigurationError("a slice is an element of the output of BeginLoadOperator")
        return cls(**document)

    def __str__(self) -> str:
        return f"{self.number} of {self.of}"


def slices_of(run: DeliveryRun, most: int) -> list[Slice]:
    """Divide the batches to send of a delivery; return no slice if so few are left that one task sends them faster.

    Args:
        run: of an open delivery.
        most: the number of slices at most.
    """
    batches = -(-run.planned_rows(BatchKind.SEND) // run.delivery.send_rows)
    count = min(most, batches // MIN_BATCHES)
    if count < 2:
        return []
    cuts = [number * batches // count for number in range(count + 1)]
    return [
        Slice(delivery=run.delivery.id, number=number, of=count, first=first, end=end)
        for number, (first, end) in enumerate(pairwise(cuts), 1)
    ]


def send_slice_of(
    context: SyncContext, delivery: Delivery, part: Slice, report: LoadReport, *, make_recheck: MakeRecheck
) -> Tally:
    """Send a slice, or what an earlier try left of it, and return the results of its rows.

    Args:
        context: of the sync, with the slice's lease.
        delivery: the open one.
        part: the slice.
        report: counts the rows of the whole delivery, as far as they are sent.
        make_recheck: makes what asks for consent again, about the people of the slice.

    Raises:
        ConfigurationError: the destination is not the one that the delivery began with.
        and what `Sync.load` raises.
    """
    destination = context.build()
    settle_target(context.lease, destination, target_of(destination, context.key), moved_from=None, log=context.log)
    folder, rows = context.store.folder.open(delivery.changes_uri), delivery.send_rows
    changes = Changes(folder, sha256=delivery.changes_sha256).between(part.first * rows, part.end * rows)
    changes.verify()
    run = DeliveryRun(context, delivery, changes)
    report.delivery = delivery.id
    report.count_changes(changes.counts)
    with make_recheck(changes) as recheck:
        send_slice(run, report, recheck=recheck)
    tally = run.tally(BatchKind.SEND, part=range(part.first, part.end))
    tally.planned = changes.sent_to - changes.sent_from
    return tally
