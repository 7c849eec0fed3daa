"""Accounts of Google's products, and what their requests are for: an audience, or the source of events. Checked."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

OVER_QUOTA = "resource_exhausted"
"""The API's own code, also where the pace delays a call too long."""

_ACCOUNT_ID = re.compile(r"[0-9]+(?:-[0-9]+)*")

Account = str | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GoogleAccount:
    """An account of a Google product: `account_id` in digits, `account_type` as the API names it."""

    account_id: str
    account_type: str = "GOOGLE_ADS"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleTarget:
    """The purpose of a request, and the accounts for access to it. Made by `google_target`.

    Args:
        noun: what it is, such as `audience`.
        number: its `product_destination_id`.
        operating_account: see `google_target`, as for the others.
    """

    noun: str
    number: str
    operating_account: GoogleAccount
    login_account: GoogleAccount | None = None
    linked_account: GoogleAccount | None = None

    def __str__(self) -> str:
        account = self.operating_account
        return f"{self.noun} {self.number} of {account.account_type} account {account.account_id}"


def google_target(noun: str, number: str, **accounts: Account | None) -> GoogleTarget:
    """Return a target.

    Args:
        noun: what it is.
        number: its number.
        **accounts: `operating_account`, which owns it: a Google Ads id (`123-456-7890`, with or without hyphens), or
            `{"account_id": …, "account_type": …}` for another product. `login_account`, to which the credentials
            belong, such as a manager account; None: the operating one. `linked_account`: see the API's `Destination`;
            only for data partners. All were checked with `wrong_account`.
    """
    given = {name: _parts(one) for name, one in accounts.items() if one is not None}
    known = {
        name: GoogleAccount(str(parts["account_id"]).replace("-", ""), parts["account_type"])
        for name, parts in given.items()
    }
    return GoogleTarget(noun=noun, number=number, **known)


def wrong_account(name: str, given: Account | None, types: Collection[str]) -> list[str]:
    """Return the errors in an account.

    Args:
        name: of the parameter.
        given: see `google_target`.
        types: the types of account that it may have.
    """
    if given is None:
        return ["operating_account is needed"] if name == "operating_account" else []
    parts = _parts(given)
    wrong = [
        f"{name} has `account_id` and `account_type`, not `{one}`"
        for one in sorted(parts.keys() - {"account_id", "account_type"})[:1]
    ]
    if not _ACCOUNT_ID.fullmatch(str(parts.get("account_id", ""))):
        wrong.append(f"the account_id of {name} has to be digits, with or without hyphens")
    if parts["account_type"] not in types:
        wrong.append(f"the account_type of {name} has to be one of {', '.join(types)}")
    return wrong


def _parts(given: Account) -> dict[str, str]:
    return {"account_type": "GOOGLE_ADS", **(given if isinstance(given, Mapping) else {"account_id": given})}
