"""The present states at Braze, asked for before anyone is subscribed.

A state belongs to a user, and to everyone with the same e-mail address or phone number. So a user who is
new to Braze, or who gets another address, is looked up by the address as well: it may have been unsubscribed before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
from airflow_consent_retl.destinations.http.answer_maps import MISSING, by_question, entries
from airflow_consent_retl.destinations.http.responses import ACCEPTED, NOT_FOUND, UnreadableAnswerError, of_document

if TYPE_CHECKING:
    from airflow_consent_retl.contract.account_rate import AccountRate
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.found_records import Record
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.http.steps import BatchSteps

GROUP: Final = "subscription_groups."
UNSUBSCRIBED: Final = "unsubscribed"
GLOBAL_STATES: Final = ("email_subscribe", "push_subscribe")
MOST_USERS: Final = 50

Listed = TypeVar("Listed")
States = dict[str, Outcome | str]


@dataclass(frozen=True, slots=True)
class BrazeUser:
    """A user as the row has it."""

    external_id: str
    email: str | None
    phone: str | None


@dataclass(frozen=True, slots=True)
class PresentStates:
    """Asks Braze about the users of one batch.

    Args:
        steps: of the batch.
        export_rate: the limit on exports of profiles.
        phone_groups: see `BrazeOptions`.
        decided_at: the time of the load's decision.
    """

    steps: BatchSteps
    export_rate: AccountRate
    phone_groups: Collection[str]
    decided_at: datetime

    def of(
        self, users: Sequence[BrazeUser], fields: Mapping[str, Collection[str]]
    ) -> dict[tuple[str, str], Outcome | str]:
        """Return for each user and each field the present state, or the doubt about it; empty: Braze has none.

        Args:
            users: to ask about.
            fields: the states to look at, each with the external ids of the users that it is about.
        """
        profiles: dict[str, Record] = {}
        ids = [user.external_id for user in users]
        known = dict(zip(ids, self.profiles(ids, profiles), strict=True))
        found: dict[tuple[str, str], Outcome | str] = {}
        for name, some in fields.items():
            chosen = [user for user in users if user.external_id in some]
            clear = [user for user in chosen if known[user.external_id] in {ACCEPTED, NOT_FOUND}]
            states: States = {**known, **self._field(name, clear, profiles)}
            found |= {(user.external_id, name): states[user.external_id] for user in chosen}
        return found

    def _field(self, name: str, users: Sequence[BrazeUser], profiles: Mapping[str, Record]) -> States:
        group = name.removeprefix(GROUP)
        kind = "phone" if group in self.phone_groups else "email"
        shared: dict[str, list[str]] = {}
        for user in users:
            text = user.phone if kind == "phone" else user.email
            had = profiles.get(user.external_id, {}).get(kind)
            if text and name != "push_subscribe" and text.casefold() != str(had or "").casefold():
                shared.setdefault(text, []).append(user.external_id)
        own = list(dict.fromkeys(user.external_id for user in users if user.external_id in profiles))
        if name in GLOBAL_STATES:
            found: States = {one: str(profiles[one].get(name) or "") for one in own}
            by_text: States = {text: self._of_address(text) for text in shared}
        else:
            found = self._group(group, "external_id", own)
            by_text = self._group(group, kind, list(shared))
        for text, ids in shared.items():
            found |= {one: by_text[text] for one in ids if found.get(one, "") != UNSUBSCRIBED}
        return {user.external_id: found.get(user.external_id, "") for user in users}

    def profiles(self, ids: Sequence[str], found: dict[str, Record]) -> Outcomes:
        """Fill in the profiles that Braze has of users, by external id, and return the outcome of each question."""

        def read(answer: Answer, sent: SentRows) -> Outcomes | None:
            def of_users(document: dict[str, Any]) -> Outcomes:
                missing = [one.get("value") for one in entries(document, "invalid_user_ids")]
                users = entries(document, "users")
                return by_question(users, missing, sent, found, names_of=lambda one: [one.get("external_id", "")])

            return of_success(answer, sent, of_users)

        fields = ["external_id", "email", "phone", *GLOBAL_STATES]
        return self.steps.ask(
            "profiles",
            lambda _: "/users/export/ids",
            ids,
            read,
            most=MOST_USERS,
            around=lambda some: {"external_ids": some, "fields_to_export": fields},
            rates=[self.export_rate],
        )

    def _of_address(self, email: str) -> Outcome | str:
        listed: list[object] = []

        def read(document: dict[str, Any], sent: SentRows) -> Outcomes:
            listed.extend(_of_type(document.get("emails"), list))
            return Outcomes.accepted(len(sent))

        end_date = (self.decided_at + timedelta(days=2)).date().isoformat()
        (outcome,) = self._asked("/email/unsubscribes", {"end_date": end_date}, "email", [email], read)
        return outcome if outcome != ACCEPTED else UNSUBSCRIBED if listed else ""

    def _group(self, group: str, kind: str, texts: Sequence[str]) -> States:
        states: dict[str, str] = {}

        def read(document: dict[str, Any], sent: SentRows) -> Outcomes:
            listed = _of_type(document.get("status"), dict)
            named = {str(text).casefold(): str(state).casefold() for text, state in listed.items()}
            some = [str(sent[row]) for row in range(len(sent))]
            states.update({text: named[text.casefold()] for text in some if text.casefold() in named})
            return Outcomes(len(sent), MISSING, {row: ACCEPTED for row, text in enumerate(some) if text in states})

        asked = self._asked("/subscription/status/get", {"subscription_group_id": group}, f"{kind}[]", texts, read)
        return {text: states[text] if one == ACCEPTED else one for text, one in zip(texts, asked, strict=True)}

    def _asked(
        self,
        path: str,
        query: Mapping[str, str],
        name: str,
        texts: Sequence[str],
        read: Callable[[dict[str, Any], SentRows], Outcomes],
    ) -> Outcomes:
        def endpoint(some: Sequence[str]) -> str:
            return f"{path}?{urlencode({**query, name: some}, doseq=True)}"

        def read_answer(answer: Answer, sent: SentRows) -> Outcomes | None:
            return of_success(answer, sent, lambda document: read(document, sent))

        return self.steps.ask(endpoint(texts), endpoint, texts, read_answer, most=MOST_USERS)


def of_success(answer: Answer, sent: SentRows, read: Callable[[dict[str, Any]], Outcomes]) -> Outcomes | None:
    """Return the outcomes that `read` makes of an answer that says `success`; None for a refusal."""

    def of_any(document: dict[str, Any]) -> Outcomes:
        if document.get("message") != "success":
            raise UnreadableAnswerError
        return read(document)

    return of_document(answer, sent, of_any)


def _of_type(value: Any, kind: type[Listed]) -> Listed:
    if not isinstance(value, kind):
        raise UnreadableAnswerError
    return value
