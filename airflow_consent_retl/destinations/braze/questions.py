"""The questions to Braze about present states: profiles of users, addresses that are unsubscribed, and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.destinations.http.answer_maps import by_question, entries
from airflow_consent_retl.destinations.http.responses import of_document, of_kind
from airflow_consent_retl.destinations.http.row_states import StateField, States, asked_states
from airflow_consent_retl.destinations.http.text_values import folded

if TYPE_CHECKING:
    from airflow_consent_retl.contract.account_rate import AccountRate
    from airflow_consent_retl.contract.outcomes import Outcomes
    from airflow_consent_retl.destinations.braze.user_identifiers import Identifier
    from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.found_records import Record
    from airflow_consent_retl.destinations.http.responses import SentRows

GROUP: Final = "subscription_groups."
UNSUBSCRIBED: Final = "unsubscribed"
GLOBAL_STATES: Final = ("email_subscribe", "push_subscribe")
MOST_USERS: Final = 50

_EXPORTED = ["external_id", "user_aliases", "email", "phone", *GLOBAL_STATES]


@dataclass(frozen=True, slots=True)
class BrazeQuestions:
    """The questions of one batch.

    Args:
        steps: of the batch.
        identifier: of users.
        export_rate: the limit on exports of profiles.
        decided_at: the time of the load's decision.
    """

    steps: BatchSteps
    identifier: Identifier
    export_rate: AccountRate
    decided_at: datetime

    def profiles(self, keys: Sequence[str], found: dict[str, Record]) -> Outcomes:
        """Fill in the profiles that Braze has of users, by identifier, and return the outcome of each question."""
        of = self.identifier

        def read(answer: Answer, sent: SentRows) -> Outcomes | None:
            def of_users(document: dict[str, Any]) -> Outcomes:
                users = entries(document, "users")
                missing = of.missing(entries(document, "invalid_user_ids"))
                fold = partial(folded, field=of.kind)
                return by_question(users, missing, sent, found, names_of=of.names_of, fold=fold)

            return of_document(answer, sent, of_users, message="success")

        return self.steps.ask(
            "profiles",
            lambda _: "/users/export/ids",
            keys,
            read,
            most=1 if of.kind == "email" else MOST_USERS,
            around=lambda some: {**of.question(some), "fields_to_export": _EXPORTED},
            rates=[self.export_rate],
        )

    def of_people(self, field: StateField, profiles: Mapping[str, Record]) -> States:
        """Return the states in profiles, or those of a group. Groups are asked about by external id or by address."""
        if field.name in GLOBAL_STATES:
            return {key: str(one.get(field.name) or "") for key, one in profiles.items()}
        ids = {key: str(one["external_id"]) for key, one in profiles.items() if one.get("external_id")}
        states = self._group(field, "external_id", list(dict.fromkeys(ids.values())))
        return {key: states[one] for key, one in ids.items()}

    def of_addresses(self, field: StateField, addresses: Sequence[str]) -> States:
        """Return whether addresses are unsubscribed, from all e-mail or from a group."""
        if field.name not in GLOBAL_STATES:
            return self._group(field, field.address, addresses)
        query = {"end_date": (self.decided_at + timedelta(days=2)).date().isoformat()}
        path = "/email/unsubscribes"
        return asked_states(self.steps, path, query, "email", addresses, _opt_outs, most=1, message="success")

    def _group(self, field: StateField, kind: str, texts: Sequence[str]) -> States:
        path, query = "/subscription/status/get", {"subscription_group_id": field.name.removeprefix(GROUP)}
        return asked_states(
            self.steps, path, query, f"{kind}[]", texts, _group_states, most=MOST_USERS, message="success"
        )


def _opt_outs(document: Mapping[str, Any], some: Sequence[str]) -> dict[str, str]:
    return dict.fromkeys(some, UNSUBSCRIBED if of_kind(document.get("emails"), list) else "")


def _group_states(document: Mapping[str, Any], some: Sequence[str]) -> dict[str, str]:
    listed = of_kind(document.get("status"), dict)
    named = {str(text).casefold(): str(state).casefold() for text, state in listed.items()}
    return {text: named[text.casefold()] for text in some if text.casefold() in named}
