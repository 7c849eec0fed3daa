"""The Braze destination: permitted rows as attributes of users, with the states of their subscriptions.

What the API does, in `braze-inc/braze-docs`, pages of the endpoints, read 2026-11-29: `POST /users/track` @78b3bae,
`POST /users/delete` @577d633, `POST /users/export/ids` @4a03d01, `GET /email/unsubscribes` and
`GET /subscription/status/get` @d852054, the object of attributes @fb70d7c.

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

from airflow_consent_retl.destinations.braze import VENDOR
from airflow_consent_retl.destinations.braze.braze_answers import outcomes_of_tracking
from airflow_consent_retl.destinations.braze.options import WITHDRAWAL_CHOICES, BrazeOptions
from airflow_consent_retl.destinations.braze.questions import (
    GLOBAL_STATES,
    GROUP,
    MOST_USERS,
    UNSUBSCRIBED,
    BrazeQuestions,
)
from airflow_consent_retl.destinations.braze.user_identifiers import Identifier
from airflow_consent_retl.destinations.braze.user_objects import GRANTING, ended, object_of, track_body, wrong_fields
from airflow_consent_retl.destinations.http.account_destination import AccountDestination
from airflow_consent_retl.destinations.http.bodies import Row, ShapedRows, json_body
from airflow_consent_retl.destinations.http.destination import with_nulls
from airflow_consent_retl.destinations.http.found_records import FoundRecords
from airflow_consent_retl.destinations.http.responses import answered_with_number
from airflow_consent_retl.destinations.http.row_states import StateField, stored_with_states
from airflow_consent_retl.destinations.http.text_values import texts_of
from airflow_consent_retl.destinations.http.throttle import Throttle
from airflow_consent_retl.destinations.http.written_rows import APPLIED_LATER
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.contract.destination import Batch, Load
    from airflow_consent_retl.contract.outcomes import Outcomes
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.purpose import Purpose
    from airflow_consent_retl.destinations.http.vendor import Vendor


_DELETED = answered_with_number("deleted")


class BrazeDestination(AccountDestination[BrazeOptions]):
    """Sets attributes of users by their identifier, and takes people back as `on_withdrawal` says.

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
        account: the workspace's name.
    """

    vendor: ClassVar[Vendor] = VENDOR
    rates: ClassVar[Mapping[str, float]] = {"requests_per_3_s": 3}
    by_clock: ClassVar[bool] = True
    write_refusals: ClassVar[Mapping[str, str]] = APPLIED_LATER
    throttle: ClassVar[Throttle] = Throttle(reset_header="x-ratelimit-reset")
    withdrawal_choices: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES
    granting: ClassVar[Collection[str]] = GRANTING
    denied: ClassVar[str] = UNSUBSCRIBED

    def __init__(self, address: HttpAddress, options: BrazeOptions, *, account: str) -> None:
        super().__init__(address, options, account=account)
        self._identifier = Identifier(options.identifier, options.alias_label)
        known_by = {"external_id": "", "email": " by e-mail", "user_alias": f" by alias {options.alias_label}"}
        self.place = f"users{known_by[options.identifier]} of Braze workspace"

    def sending(self, load: Load) -> Purpose:
        """Return a request that sets attributes."""
        key, fit = self._identifier.field, load.key_field == self._identifier.field
        wrong = [] if fit else [f"the primary key has to be mapped to `{key}`, or identifier to be another one"]
        if wrong := wrong + wrong_fields(load.schema, self._identifier):
            raise ConfigurationError("; ".join(wrong))
        shape = partial(object_of, self._identifier, only_known=load.write == "update_only")
        return self._track(load.schema, shape, load, cleared=load.nulls_sent, omitted=load.nulls_omitted)

    def removing(self, load: Load) -> Purpose:
        """Return a request that does what the DAG chose."""
        schema, options = self.removal_schema(load), self._options
        match options.on_withdrawal:
            case "delete":
                body = json_body(self._identifier.deletion)
                users = ShapedRows(schema, body=body, shape=self._identifier.text_of, nulls="null")
                return self.posting("/users/delete", users, _DELETED, removes=True, max_rows=MOST_USERS)
            case "unsubscribe":
                return self._withdrawing(schema, ended(f"{GROUP}{one}" for one in options.unsubscribes), load)
            case _:
                return self._withdrawing(schema, options.withdrawn_attributes or {}, load)

    def clearing(self, load: Load, fields: Sequence[str]) -> Purpose:
        """Return a request that removes attributes, and unsubscribes from the states among the fields."""
        return self._withdrawing(with_nulls(self.removal_schema(load), fields), ended(fields), load)

    def found(self, batch: Batch) -> FoundRecords:
        """Return the profiles of users."""
        return FoundRecords.asked(texts_of(batch.rows, self._identifier.field), self._questions(batch).profiles)

    def store(self, batch: Batch) -> Outcomes:
        """Set attributes; a state that would subscribe a person who opted out at Braze is left out."""
        return stored_with_states(
            batch,
            [self._state(name) for name in batch.rows.schema.names if name in GLOBAL_STATES or name.startswith(GROUP)],
            key=self._identifier.field,
            rules=self._rules,
            cleared=self.load.cleared,
            questions=self._questions(batch),
            store=super().store,
        )

    def _state(self, name: str) -> StateField:
        # The state of push messages is of the user alone.
        kind = "phone" if name.removeprefix(GROUP) in self._options.phone_groups else "email"
        return StateField(name, "" if name == "push_subscribe" else kind)

    def _questions(self, batch: Batch) -> BrazeQuestions:
        exports = self.rate("Braze's export of profiles", self._options.exports_per_minute, 60)
        return BrazeQuestions(self.steps(batch), self._identifier, exports, self.load.decided_at)

    def _withdrawing(self, schema: pa.Schema, fixed: Mapping[str, Any], load: Load) -> Purpose:
        """Return a request with the same values for all of its people, which makes no user."""

        def shape(row: Row) -> Row:
            return {**self._identifier.of(self._identifier.text_of(row)), "_update_existing_only": True, **fixed}

        return self._track(schema, shape, load, removes=True)

    def _track(self, schema: pa.Schema, shape: Any, load: Load, *, removes: bool = False, **nulls: Any) -> Purpose:
        encoder = ShapedRows(schema, body=json_body(track_body), shape=shape, nulls="null", **nulls)
        read = partial(outcomes_of_tracking, fields=load.schema.names)
        return self.posting("/users/track", encoder, read, removes=removes)
