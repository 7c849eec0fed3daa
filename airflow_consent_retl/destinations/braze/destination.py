"""The Braze destination: permitted rows as attributes of users, with the states of their subscriptions.

What the API does, in `braze-inc/braze-docs`, pages of the endpoints, read 2026-11-29: `POST /users/track` @78b3bae,
`POST /v2/subscription/status/set` @68b3f5d, `POST /users/delete` @577d633, `POST /users/export/ids` @4a03d01,
`GET /email/unsubscribes` and `GET /subscription/status/get` @d852054, the object of attributes @fb70d7c.

Limits, on https://www.braze.com/docs/api/api_limits, a copy read 2026-11-29: 75 objects in all in a request of
`/users/track` (older contracts: 75 of each kind), and 3,000 such requests in 3 seconds; 50 users in a request of the
others; `/users/export/ids` 250 requests a minute (since 22 August 2024; 2,500 before); `/users/delete` 20,000 requests
a minute; the others share 250,000 an hour. Limits are of the workspace, and end with a window of the clock.

Beside a success, `/users/track` names refused objects by `input_array` and `index`. Its page does not say so: it was
seen in answers that `rudderlabs/rudder-transformer@c98d160` and others recorded. Braze queues what it accepts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
from airflow_consent_retl.destinations.braze import VENDOR
from airflow_consent_retl.destinations.braze.braze_answers import (
    ask_again,
    outcomes_of_deletion,
    outcomes_of_states,
    outcomes_of_tracking,
)
from airflow_consent_retl.destinations.braze.opt_outs import (
    GLOBAL_STATES,
    GROUP,
    MOST_USERS,
    UNSUBSCRIBED,
    BrazeUser,
    PresentStates,
)
from airflow_consent_retl.destinations.braze.options import WITHDRAWAL_CHOICES, BrazeOptions
from airflow_consent_retl.destinations.braze.user_objects import (
    EXTERNAL_ID,
    GRANTING,
    attributes_of,
    group_states,
    is_field,
    is_nested,
    track_body,
    users_body,
)
from airflow_consent_retl.destinations.http.account_destination import AccountDestination
from airflow_consent_retl.destinations.http.bodies import ShapedRows, json_body
from airflow_consent_retl.destinations.http.destination import with_nulls
from airflow_consent_retl.destinations.http.found_records import FoundRecords
from airflow_consent_retl.destinations.http.subscriptions import after_a_change, with_states
from airflow_consent_retl.destinations.http.text_values import texts_of
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.purpose import Purpose
    from airflow_consent_retl.destinations.http.vendor import Vendor


class BrazeDestination(AccountDestination[BrazeOptions]):
    """Sets attributes of users by their `external_id`, and takes people back as `on_withdrawal` says.

    Fields `email_subscribe` and `push_subscribe` (`opted_in`, `subscribed`, `unsubscribed`) and
    `subscription_groups.<id>` (`subscribed`, `unsubscribed`) are states; NULL says nothing, but a person
    without consent to the field is unsubscribed if Braze has them as subscribed. Before anyone is subscribed, Braze is
    asked: a person who is unsubscribed there stays so. Braze sets the state of an address for all of its users: an
    `unsubscribed` of one is for all of them.

    Every other field is an attribute; NULL removes it, unless `field_nulls` of the load says `omit`. Withdrawals and
    cleared fields never make a user.

    Args:
        address: of the API.
        options: see there.
        workspace: the workspace's name.
    """

    vendor: ClassVar[Vendor] = VENDOR
    place = "users of Braze workspace"
    rates: ClassVar[Mapping[str, float]] = {"requests_per_3_s": 3}
    by_clock: ClassVar[bool] = True
    withdrawal_choices: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES
    granting: ClassVar[Collection[str]] = GRANTING
    denied: ClassVar[str] = UNSUBSCRIBED

    def __init__(self, address: HttpAddress, options: BrazeOptions, *, workspace: str) -> None:
        super().__init__(address, options, account=workspace)

    @property
    def rated_account(self) -> str:
        """The workspace, whose name another host may have too."""
        return f"{self._account} {self._address.host}"

    def refuse(self, answer: Answer) -> None:
        """Raise for an answer that asks to wait until the window of the clock ends."""
        ask_again(answer)

    def sending(self, load: Load) -> Purpose:
        """Return a request that sets attributes."""
        wrong = [] if load.key_field == EXTERNAL_ID else ["the primary key has to be mapped to `external_id`"]
        wrong += [f"`{name}` is no attribute" for name in load.schema.names if not is_field(name)]
        wrong += [f"`{one.name}` ({one.type}) is a nested attribute" for one in load.schema if is_nested(one.type)]
        if wrong:
            raise ConfigurationError("; ".join(wrong))
        encoder = ShapedRows(
            load.schema,
            body=json_body(track_body),
            shape=partial(attributes_of, only_known=load.write == "update_only"),
            nulls="null",
            cleared=load.nulls_sent,
            omitted=load.nulls_omitted,
        )
        return self._track(encoder, load)

    def removing(self, load: Load) -> Purpose:
        """Return a request that does what the DAG chose."""
        schema, options = self.removal_schema(load), self._options
        if options.on_withdrawal == "clear_attribute":
            fixed = options.withdrawn_attributes or {}
            return self._track(users_body(schema, json_body(track_body), fixed), load, removes=True)
        if options.on_withdrawal == "delete":
            path, read, body = "/users/delete", outcomes_of_deletion, json_body(lambda ids: {"external_ids": ids})
        else:
            path, read = "/v2/subscription/status/set", outcomes_of_states
            body = json_body(lambda ids: group_states(dict.fromkeys(options.unsubscribes, UNSUBSCRIBED), ids))
        return self.posting(path, users_body(schema, body), read, removes=True, max_rows=MOST_USERS)

    def clearing(self, load: Load, fields: Sequence[str]) -> Purpose:
        """Return a request that removes attributes, and unsubscribes from the states among the fields."""
        fixed: dict[str, Any] = {
            name: UNSUBSCRIBED if name in GLOBAL_STATES else None for name in fields if not name.startswith(GROUP)
        }
        groups = [name.removeprefix(GROUP) for name in fields if name.startswith(GROUP)]
        fixed |= group_states(dict.fromkeys(groups, UNSUBSCRIBED))
        schema = with_nulls(self.removal_schema(load), fields)
        return self._track(users_body(schema, json_body(track_body), fixed), load, removes=True)

    def found(self, batch: Batch) -> FoundRecords:
        """Return the profiles of users."""
        return FoundRecords.asked(texts_of(batch.rows, EXTERNAL_ID), self._present_states(batch).profiles)

    def store(self, batch: Batch) -> Outcomes:
        """Set attributes; a state that would subscribe a person who opted out at Braze is left out."""
        names = [name for name in batch.rows.schema.names if name in GLOBAL_STATES or name.startswith(GROUP)]
        if not names:
            return super().store(batch)
        # Without consent to a state it is NULL, and Braze may still have it.
        open_ = {name: {*GRANTING, *([None] if name in self.load.cleared else [])} for name in names}
        rows = batch.rows.to_pylist()
        ids = [str(row[EXTERNAL_ID]) for row in rows]
        named = [(one, row) for one, row in zip(ids, rows, strict=True) if row[EXTERNAL_ID] is not None]
        asked = {name: {one for one, row in named if row[name] in open_[name]} for name in names}
        users = [
            BrazeUser(one, row.get("email"), row.get("phone"))
            for one, row in named
            if any(one in some for some in asked.values())
        ]
        known = self._present_states(batch).of(users, asked) if users else {}
        sent = batch.rows
        for name in names:
            states = self._states_to_send(name, rows, [known.get((one, name), "") for one in ids])
            place = sent.schema.names.index(name)
            sent = sent.set_column(place, sent.schema.field(place), pa.array(states, sent.column(place).type))
        outcomes = super().store(Batch(key=batch.key, rows=sent))
        doubts = [[one for name in names if isinstance(one := known.get((of, name)), Outcome)] for of in ids]
        return after_a_change(outcomes, with_states(list(outcomes), doubts))

    def _states_to_send(
        self, name: str, rows: Sequence[Mapping[str, Any]], known: Sequence[Outcome | str]
    ) -> list[str | None]:
        """Return the states to send of one field, given the present ones."""
        kind = "phone" if name.removeprefix(GROUP) in self._options.phone_groups else "email"
        # The state of push messages is of the user alone; a user without an address shares their state with no one.
        addresses = [None if name == "push_subscribe" else row.get(kind) for row in rows]
        shared = [str(text or "").casefold() or place for place, text in enumerate(addresses)]
        wanted = self._rules.strictest(zip(shared, [row[name] for row in rows], strict=True))
        return [
            None if row[name] in GRANTING and wanted[of] == UNSUBSCRIBED else self._rules.to_send(row[name], present)
            for of, row, present in zip(shared, rows, known, strict=True)
        ]

    def _present_states(self, batch: Batch) -> PresentStates:
        options = self._options
        exports = self.rate("Braze's export of profiles", options.exports_per_minute, 60)
        return PresentStates(self.steps(batch), exports, options.phone_groups, self.load.decided_at)

    def _track(self, encoder: ShapedRows, load: Load, *, removes: bool = False) -> Purpose:
        read = partial(outcomes_of_tracking, fields=load.schema.names)
        return self.posting("/users/track", encoder, read, removes=removes)
