"""OneTrust's purposes as rows, one for each change of a person's consent to a purpose; their statuses; and receipts.

Webhooks are in `formats.onetrust_purposes`. Receipts:
https://developer.onetrust.com/onetrust/reference/createconsentreceiptusingpost (not read again). Source:
https://github.com/segmentio/segment-docs (`catalog/cloud-apps/onetrust`, not read again), whose table `consent_updated`
has `purpose_id`, `purpose_name` and `status`. Traps: events arrive out of order, so the time is that of the consent; a
topic may say no under an ACTIVE purpose.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_consent_retl.consent.formats.json_values import JsonList, PathLike
from airflow_consent_retl.consent.formats.literals import Literals
from airflow_consent_retl.consent.formats.onetrust_purposes import STATUSES
from airflow_consent_retl.consent.sources import ConsentSource


def onetrust_consent_updates(
    sql: str,
    *,
    purposes: Mapping[str, str],
    subject: str = "user_id",
    purpose: str = "purpose_id",
    status: str = "status",
    time: str = "timestamp",
    key: str | None = None,
    bring_time: bool = False,
    conn_id: str | None = None,
) -> ConsentSource:
    """Return the source of OneTrust's purposes. Map each column of `purposes` with `onetrust_status`.

        onetrust_consent_updates("SELECT * FROM onetrust.consent_updated", purposes={"3e90…": "ads_status"})

    Two statuses of one purpose at the same time are in conflict. Where a destination needs a topic too, combine the
    purpose with the topic's own column by `MostRestrictive`.

    Args:
        sql: a SELECT over the changes.
        purposes: the id of a purpose to the name of its column in the snapshot.
        subject: the column with the id of the person.
        purpose: the column with the id of the purpose.
        status: the column with the status.
        time: the column with the time of the change, a timestamp with a zone.
        key, bring_time, conn_id: as for `ConsentSource`.
    """
    return ConsentSource(
        sql,
        subject=subject,
        columns=purposes,
        key=key,
        time=time,
        bring_time=bring_time,
        category=purpose,
        value=status,
        conn_id=conn_id,
    )


def onetrust_status(column: str) -> Literals:
    """Return the format of a column with the status of one purpose, such as `status` of Segment's `consent_updated`."""
    return Literals(
        column,
        granted=STATUSES.granted,
        denied=STATUSES.denied,
        unknown=STATUSES.unknown,
        expired=STATUSES.expired,
    )


def onetrust_receipt(column: str, *, path: PathLike = ("purposes",)) -> JsonList:
    """Return the format of a receipt for all categories, whose ids are those of purposes.

    Only the transaction `CONFIRMED` grants. One that says nothing about consent (`PENDING`, `NO_CHOICE`, `EXTEND`,
    `CHANGE_PREFERENCES`, `IMPLICIT`) is unknown.

        {"purposes": [{"Id": "3e90…", "TransactionType": "CONFIRMED"}]}
    """
    return JsonList(
        column,
        path=path,
        id="Id",
        state="TransactionType",
        granted=("CONFIRMED",),
        denied=("WITHDRAWN", "NOTGIVEN", "NO_CONSENT", "OPT_OUT", "HARD_OPT_OUT"),
        unknown=("PENDING", "NO_CHOICE", "EXTEND", "CHANGE_PREFERENCES", "IMPLICIT"),
        expired=("EXPIRED",),
    )
