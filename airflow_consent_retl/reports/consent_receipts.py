"""Consent receipts of one person, in the shape of ISO/IEC TS 27560 as the W3C's Data Privacy Vocabulary writes it.

The shape follows what is public of it: the guide of the W3C Data Privacy Vocabularies and Controls Community Group
(https://w3id.org/dpv/guides/consent-27560, read on 2026-11-28). What a filter does not know is left out: the notice
that the person saw, and how the answer was collected. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPolicy
    from airflow_consent_retl.reports.recorded_decisions import DecisionEvent
    from airflow_consent_retl.reports.recorded_deliveries import DeliveryEvent

_PROFILE: Final = "https://w3id.org/dpv/schema/dpv-27560#"
_CONTEXT: Final = {
    "dpv": "https://w3id.org/dpv#",
    "dct": "http://purl.org/dc/terms/",
    "schema": "https://schema.org/",
    "cr": "urn:airflow-consent-retl:",
}


def receipts(
    decisions: Sequence[DecisionEvent],
    deliveries: Sequence[DeliveryEvent],
    policies: Mapping[str, ConsentPolicy],
    *,
    person: str,
    made_at: datetime,
) -> dict[str, Any]:
    """Return one receipt, with a record for each model and destination that decided about the person.

    Args:
        decisions: in the order of time.
        deliveries: in the order of time.
        policies: the known policies, by digest.
        person: a keyed digest of the id.
        made_at: the time of the receipt.
    """
    by_place = attrgetter("model", "destination")
    groups = groupby(sorted(decisions, key=by_place), key=by_place)
    return {
        "@context": _CONTEXT,
        "@id": f"urn:airflow-consent-retl:receipt:{person}:{made_at:%Y%m%dT%H%M%SZ}",
        "@type": "dpv:ConsentReceipt",
        "dct:conformsTo": f"{_PROFILE}receipt-record",
        "dct:created": made_at.isoformat(),
        "schema:recipient": "dpv:DataSubject",
        "dpv:hasRecordOfActivity": [
            _record(model, destination, list(events), deliveries, policies, person)
            for (model, destination), events in groups
        ],
    }


def _record(
    model: str,
    destination: str,
    events: Sequence[DecisionEvent],
    deliveries: Sequence[DeliveryEvent],
    policies: Mapping[str, ConsentPolicy],
    person: str,
) -> dict[str, Any]:
    policy = policies.get(events[-1].policy_digest)
    terms = None if policy is None else policy.officer.destination(destination)
    own = [one for one in deliveries if (one.model, one.destination) == (model, destination)]
    process = {
        "@type": "dpv:Process",
        "dpv:hasRecipient": destination,
        "dpv:hasPurpose": None if terms is None else terms.purpose,
        "dpv:hasLocation": None if terms is None else terms.country,
        "dpv:hasAssessment": None if terms is None else terms.assessment,
        "cr:needs": None if policy is None else policy.needs_of(destination) or None,
        "cr:deliveries": [
            {
                "cr:event": one.event,
                "cr:status": one.status,
                "cr:cause": one.cause or None,
                "dct:date": one.at.isoformat(),
                "cr:requests": list(one.request_ids) or None,
            }
            for one in own
        ],
    }
    record: dict[str, Any] = _present(
        {
            "@id": f"urn:airflow-consent-retl:record:{person}:{model}:{destination}",
            "@type": "dpv:ConsentRecord",
            "dct:conformsTo": f"{_PROFILE}record",
            "dct:source": model,
            "dpv:hasDataSubject": person,
            "dpv:hasProcess": process,
            "dpv:hasConsentStatus": [
                {
                    "@type": status,
                    "dpv:isIndicatedAtTime": one.at.isoformat(),
                    "cr:reasons": list(one.reasons) or None,
                    "cr:policy": one.policy_digest,
                }
                for one in events
                if (status := _status(one, policies)) is not None
            ],
        }
    )
    return record


def _status(event: DecisionEvent, policies: Mapping[str, ConsentPolicy]) -> str | None:
    """Return the term for a decision; None where it is not about consent."""
    policy = policies.get(event.policy_digest)
    if event.decision == "not_in_model":
        return None
    if event.decision == "permitted":
        # Who needs no consent has given none.
        return "dpv:ConsentGiven" if policy is not None and policy.required_for(event.destination) else None
    statuses = {reason.rpartition(":")[2] for reason in event.reasons}
    if "denied" in statuses:
        return "dpv:ConsentWithdrawn" if event.before == "permitted" else "dpv:ConsentRefused"
    return "dpv:ConsentExpired" if "expired" in statuses else "dpv:ConsentUnknown"


def _present(value: Any) -> Any:
    """Return a value without the members that are None."""
    if isinstance(value, dict):
        return {key: _present(one) for key, one in value.items() if one is not None}
    return [_present(one) for one in value] if isinstance(value, list) else value
