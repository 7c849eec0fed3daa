"""The messages of the official client: members, identifiers of people, consent and accounts. Contacts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from google.ads.datamanager_v1 import types

from airflow_consent_retl.destinations.data_manager.members import ADDRESS_FIELDS

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.data_manager.accounts import GoogleAccount, GoogleTarget
    from airflow_consent_retl.destinations.data_manager.consent_signals import Consent
    from airflow_consent_retl.destinations.http.people_encoder import EncodedPeople

_GRANTED = int(types.ConsentStatus.CONSENT_GRANTED)
_DENIED = int(types.ConsentStatus.CONSENT_DENIED)


def members_of(encoded: EncodedPeople, *, consents: Sequence[Consent] | None) -> dict[int, Any]:
    """Return a message for each row that is not refused and has an identifier.

    Args:
        encoded: the rows.
        consents: the signals of each row; None: for a removal, which states none.
    """
    member_type = types.AudienceMember.pb(types.AudienceMember()).__class__
    names = list(encoded.columns)
    members: dict[int, Any] = {}
    # Raw messages: the client's own classes take twenty times as long.
    columns = [column.to_pylist() for column in encoded.columns.values()]
    for row, values in enumerate(zip(*columns, strict=True)):
        if row in encoded.refused or not any(values):
            continue
        member = member_type()
        fill_identifiers(member.user_data, names, values)
        if consents is not None:
            fill_consent(member.consent, consents[row])
        members[row] = member
    return members


def fill_identifiers(user_data: Any, names: Sequence[str], values: Sequence[str | None]) -> None:
    """Fill a raw message with identifiers, each under the name of its field."""
    identifiers = user_data.user_identifiers
    address = {}
    for name, value in zip(names, values, strict=True):
        if value is None:
            continue
        if name in ADDRESS_FIELDS:
            address[name] = value
        elif name.startswith("email"):
            identifiers.add().email_address = value
        else:
            identifiers.add().phone_number = value
    if address:
        identifier = identifiers.add().address
        for name, value in address.items():
            setattr(identifier, name, value)


def fill_consent(message: Any, consent: Consent) -> None:
    """Fill a raw message with a person's signals."""
    message.ad_user_data = _GRANTED if consent.ad_user_data else _DENIED
    message.ad_personalization = _GRANTED if consent.ad_personalization else _DENIED


def destination_of(target: GoogleTarget) -> types.Destination:
    """Return the message of a target."""
    destination = types.Destination(
        operating_account=_account(target.operating_account), product_destination_id=target.number
    )
    if target.login_account is not None:
        destination.login_account = _account(target.login_account)
    if target.linked_account is not None:
        destination.linked_account = _account(target.linked_account)
    return destination


def _account(account: GoogleAccount) -> types.ProductAccount:
    return types.ProductAccount(account_id=account.account_id, account_type=account.account_type)
