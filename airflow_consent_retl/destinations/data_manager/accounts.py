"""Accounts of Google's products, and what their requests are for: an audience, or the source of events. Checked."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from airflow_consent_retl.errors import ConfigurationError

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


def google_target(
    noun: str,
    number: str,
    *,
    operating_account: Account,
    login_account: Account | None,
    linked_account: Account | None,
    types: Collection[str],
    wrong: list[str],
) -> GoogleTarget:
    """Check the accounts, and return a target.

    Args:
        noun: what it is.
        number: its checked number.
        operating_account: the account that owns it: a Google Ads id (`123-456-7890`, with or without hyphens), or
            `{"account_id": …, "account_type": …}` for another product.
        login_account: the account that the credentials belong to, such as a manager account; None: the operating one.
        linked_account: see the API's `Destination`; only for data partners.
        types: the types of account that it may be in.
        wrong: the errors that were found before.

    Raises:
        ConfigurationError: parameters are malformed; the message names all errors.
    """
    accounts = {
        "operating_account": operating_account,
        "login_account": login_account,
        "linked_account": linked_account,
    }
    checked = {name: _checked_account(name, given, types, wrong) for name, given in accounts.items()}
    operating = checked["operating_account"]
    if operating is None and not wrong:
        wrong.append("operating_account is needed")
    if wrong or operating is None:
        raise ConfigurationError("; ".join(wrong))
    return GoogleTarget(
        noun=noun,
        number=number,
        operating_account=operating,
        login_account=checked["login_account"],
        linked_account=checked["linked_account"],
    )


def _checked_account(
    name: str, given: Account | None, types: Collection[str], wrong: list[str]
) -> GoogleAccount | None:
    if given is None:
        return None
    parts = {"account_id": given} if isinstance(given, str) else dict(given)
    account_id, account_type = str(parts.get("account_id", "")), parts.get("account_type", "GOOGLE_ADS")
    if unknown := sorted(parts.keys() - {"account_id", "account_type"}):
        wrong.append(f"{name} has `account_id` and `account_type`, not `{unknown[0]}`")
    if not _ACCOUNT_ID.fullmatch(account_id):
        wrong.append(f"the account_id of {name} has to be digits, with or without hyphens")
    if account_type not in types:
        wrong.append(f"the account_type of {name} has to be one of {', '.join(types)}")
    return GoogleAccount(account_id.replace("-", ""), account_type)
