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

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.answer_maps import MISSING, accepted, by_value, entries, joined
from airflow_consent_retl.destinations.http.responses import ACCEPTED, UnreadableAnswerError, of_document

if TYPE_CHECKING:
    from airflow_consent_retl.contract.account_rate import AccountRate
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.purpose import ReadAnswer
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.http.steps import BatchSteps

GROUP: Final = "subscription_groups."
UNSUBSCRIBED: Final = "unsubscribed"
GLOBAL_STATES: Final = ("email_subscribe", "push_subscribe")
MOST_USERS: Final = 50

Listed = TypeVar("Listed")
_NEW = Outcome(RowStatus.REJECTED, "not_found")


@dataclass(frozen=True, slots=True)
class BrazeUser:
    """A user as the row has it."""

    external_id: str
    email: str | None
    phone: str | None


class PresentStates:
    """Asks Braze about the users of one batch.

    Args:
        steps: of the batch.
        address: of the API.
        export_rate: the limit on exports of profiles.
        phone_groups: see `BrazeOptions`.
        decided_at: the time of the load's decision.
    """

    def __init__(
        self,
        steps: BatchSteps,
        address: HttpAddress,
        *,
        export_rate: AccountRate,
        phone_groups: Sequence[str],
        decided_at: datetime,
    ) -> None:
        self._steps = steps
        self._address = address
        self._export_rate = export_rate
        self._phone_groups = frozenset(phone_groups)
        self._end_date = (decided_at + timedelta(days=2)).date().isoformat()

    def of(
        self, users: Sequence[BrazeUser], fields: Mapping[str, Collection[str]]
    ) -> dict[tuple[str, str], Outcome | str]:
        """Return for each user and each field the present state, or the doubt about it; empty: Braze has none.

        Args:
            users: to ask about.
            fields: the states to look at, each with the external ids of the users that it is about.
        """
        profiles: dict[str, Mapping[str, Any]] = {}
        asked = self._profiles([user.external_id for user in users], profiles)
        known = dict(zip((user.external_id for user in users), asked, strict=True))
        found: dict[tuple[str, str], Outcome | str] = {}
        for name, ids in fields.items():
            chosen = [user for user in users if user.external_id in ids]
            doubts = {
                u.external_id: known[u.external_id] for u in chosen if known[u.external_id] not in {ACCEPTED, _NEW}
            }
            clear = [user for user in chosen if user.external_id not in doubts]
            found |= {(external_id, name): doubt for external_id, doubt in doubts.items()}
            found |= {(external_id, name): out for external_id, out in self._field(name, clear, profiles).items()}
        return found

    def _field(
        self, name: str, users: Sequence[BrazeUser], profiles: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Outcome | str]:
        by_phone = name.removeprefix(GROUP) in self._phone_groups
        own = {u.external_id: u for u in users if u.external_id in profiles}
        shared: dict[str, list[str]] = {}
        for user in users:
            text = user.phone if by_phone else user.email
            had = profiles.get(user.external_id, {}).get("phone" if by_phone else "email")
            if text and name != "push_subscribe" and text.casefold() != str(had or "").casefold():
                shared.setdefault(text, []).append(user.external_id)
        if name in GLOBAL_STATES:
            found: dict[str, Outcome | str] = {one: str(profiles[one].get(name) or "") for one in own}
            by_text = {text: self._of_address(text) for text in shared}
        else:
            group = name.removeprefix(GROUP)
            found = self._group(group, "external_id", list(own))
            by_text = self._group(group, "phone" if by_phone else "email", list(shared))
        for text, ids in shared.items():
            found |= {one: by_text[text] for one in ids if found.get(one, "") != UNSUBSCRIBED}
        return {user.external_id: found.get(user.external_id, "") for user in users}

    def _profiles(self, ids: Sequence[str], found: dict[str, Mapping[str, Any]]) -> Outcomes:
        def read(answer: Answer, sent: SentRows) -> Outcomes | None:
            def of_users(document: dict[str, Any]) -> Outcomes:
                users = entries(document, "users")
                found.update({str(one.get("external_id")): one for one in users})
                return joined(
                    by_value(users, sent, accepted, sent_as=str, named_as=lambda one: one.get("external_id")),
                    by_value(
                        entries(document, "invalid_user_ids"),
                        sent,
                        lambda *_: _NEW,
                        sent_as=str,
                        named_as=lambda one: one.get("value"),
                    ),
                )

            return of_success(answer, sent, of_users)

        def body(some: Sequence[str]) -> object:
            return {"external_ids": some, "fields_to_export": ["external_id", "email", "phone", *GLOBAL_STATES]}

        address, rates = self._address.at("/users/export/ids"), [self._export_rate]
        # One step for each request: a failure of any stops the batch, since nothing is sent before.
        return Outcomes.concatenated(
            self._steps.take(
                f"profiles {start}",
                address,
                ids[start : start + MOST_USERS],
                read,
                around=body,
                changes=False,
                rates=rates,
            )
            for start in range(0, len(ids), MOST_USERS)
        )

    def _of_address(self, email: str) -> Outcome | str:
        listed: list[object] = []

        def read(answer: Answer, sent: SentRows) -> Outcomes | None:
            def of_emails(document: dict[str, Any]) -> Outcomes:
                listed.extend(_of_type(document.get("emails"), list))
                return Outcomes.accepted(len(sent))

            return of_success(answer, sent, of_emails)

        outcome = self._asked("/email/unsubscribes", {"end_date": self._end_date}, "email", [email], read)[email]
        return outcome if outcome != ACCEPTED else UNSUBSCRIBED if listed else ""

    def _group(self, group: str, kind: str, texts: Sequence[str]) -> dict[str, Outcome | str]:
        states: dict[str, str] = {}

        def read(answer: Answer, sent: SentRows) -> Outcomes | None:
            def of_status(document: dict[str, Any]) -> Outcomes:
                listed = _of_type(document.get("status"), dict)
                named = {str(text).casefold(): str(state).casefold() for text, state in listed.items()}
                some = [str(sent[row]) for row in range(len(sent))]
                states.update({text: named[text.casefold()] for text in some if text.casefold() in named})
                return Outcomes(len(sent), MISSING, {row: ACCEPTED for row, text in enumerate(some) if text in states})

            return of_success(answer, sent, of_status)

        asked = self._asked("/subscription/status/get", {"subscription_group_id": group}, f"{kind}[]", texts, read)
        return {text: states[text] if one == ACCEPTED else one for text, one in asked.items()}

    def _asked(
        self, path: str, query: Mapping[str, str], name: str, texts: Sequence[str], read: ReadAnswer
    ) -> dict[str, Outcome]:
        def endpoint(some: Sequence[str]) -> str:
            return f"{path}?{urlencode({**query, name: some}, doseq=True)}"

        outcomes = self._steps.ask(endpoint(texts), endpoint, texts, read, most=MOST_USERS)
        return dict(zip(texts, outcomes, strict=True))


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
