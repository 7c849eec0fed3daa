"""The audience, the options and the consent signals of Customer Match, checked. It contacts nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.storage.manifest import PermittedCounts

MAX_MEMBERS = 10_000
"""Of one request. https://developers.google.com/data-manager/api/devguides/limits, read 2026-11-23."""

OVER_QUOTA = "resource_exhausted"
"""The API's own code, also where the pace delays a call too long."""

SIGNALS = ("ad_user_data", "ad_personalization")

_ACCOUNT_TYPES = ("GOOGLE_ADS", "DISPLAY_VIDEO_ADVERTISER", "DISPLAY_VIDEO_PARTNER", "DATA_PARTNER")
_ACCOUNT_ID = re.compile(r"[0-9]+(?:-[0-9]+)*")

Account = str | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GoogleAccount:
    """An account of a Google product: `account_id` in digits, `account_type` as the API names it."""

    account_id: str
    account_type: str = "GOOGLE_ADS"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerMatchAudience:
    """An audience, and the accounts for access to it. Made by `customer_match_audience`."""

    audience_id: str
    operating_account: GoogleAccount
    login_account: GoogleAccount | None = None
    linked_account: GoogleAccount | None = None

    def __str__(self) -> str:
        account = self.operating_account
        return f"audience {self.audience_id} of {account.account_type} account {account.account_id}"


def customer_match_audience(
    *, audience_id: str, operating_account: Account, login_account: Account | None, linked_account: Account | None
) -> CustomerMatchAudience:
    """Check and return an audience.

    Args:
        audience_id: digits.
        operating_account: the account that owns it: a Google Ads id (`123-456-7890`, with or without hyphens), or
            `{"account_id": …, "account_type": …}` for another product.
        login_account: the account that the credentials belong to, such as a manager account; None: the operating one.
        linked_account: see the API's `Destination`; only for data partners.

    Raises:
        ConfigurationError: parameters are malformed; the message names all errors.
    """
    wrong: list[str] = []
    if not re.fullmatch(r"[0-9]+", audience_id):
        wrong.append("audience_id has to be the audience's number")
    accounts = {
        "operating_account": operating_account,
        "login_account": login_account,
        "linked_account": linked_account,
    }
    checked = {name: _checked_account(name, given, wrong) for name, given in accounts.items()}
    operating = checked["operating_account"]
    if operating is None and not wrong:
        wrong.append("operating_account is needed")
    if wrong or operating is None:
        raise ConfigurationError("; ".join(wrong))
    return CustomerMatchAudience(
        audience_id=audience_id,
        operating_account=operating,
        login_account=checked["login_account"],
        linked_account=checked["linked_account"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerMatchOptions:
    """The encoding and sending of rows.

    Args:
        hashed: e-mails, phone numbers and names are SHA-256 in hex already, of values normalised by Google's rules.
        on_invalid: `"reject"`: a row with an invalid value is rejected as `invalid_email`, `invalid_phone` …;
            `"omit"`: it is sent without that value where another identifier is left, and the log counts the omitted
            values. A NULL or blank value is not invalid, and an address with one part missing is no address.
        batch_rows: maximum number of members in a request.
        concurrency: requests at the same time.
        requests_per_minute: over all threads of the load; lower it where other tasks use the project's quota.
        timeout_s: seconds for each answer.
        max_attempts: maximum number of tries of a request.
        max_retry_s: seconds after which a request is not retried.
        backoff_s: longest wait before the second try. It doubles with each try, up to a minute; the actual wait is a
            random part of it.

    Raises:
        ConfigurationError: values are out of their ranges; the message names all of them.
    """

    hashed: bool = False
    on_invalid: Literal["reject", "omit"] = "reject"
    batch_rows: int = MAX_MEMBERS
    concurrency: int = 2
    requests_per_minute: int = 300
    timeout_s: float = 120
    max_attempts: int = 6
    max_retry_s: float = 600
    backoff_s: float = 2

    def __post_init__(self) -> None:
        counts = ("batch_rows", "concurrency", "requests_per_minute", "max_attempts")
        wrong = [f"{name} must be at least 1" for name in counts if getattr(self, name) < 1]
        seconds = ("timeout_s", "max_retry_s", "backoff_s")
        wrong += [f"{name} must be above 0" for name in seconds if not getattr(self, name) > 0]
        if self.batch_rows > MAX_MEMBERS:
            wrong.append(f"batch_rows must be at most {MAX_MEMBERS:,}: the API accepts no more members in a request")
        if self.on_invalid not in {"reject", "omit"}:
            wrong.append("on_invalid must be `reject` or `omit`")
        if wrong:
            raise ConfigurationError("; ".join(wrong))


def check_signals(signals: Mapping[str, str], counts: PermittedCounts, *, destination: str) -> None:
    """Check that a permitted set contains only people who granted the categories of Google's signals.

    Raises:
        ConfigurationError: a signal has no category, or the policy does not require it of the destination.
    """
    wrong = [f"consent_signals names no category for `{name}`" for name in SIGNALS if not signals.get(name)]
    wrong += [f"`{name}` is not a Google consent signal" for name in signals if name not in SIGNALS]
    # With match `any`, each of several categories may be the one that was not granted.
    granted = counts.required if counts.match == "all" or len(counts.required) == 1 else ()
    # Nor did everyone grant a category that permits without a yes.
    granted = tuple(category for category in granted if category not in counts.without_consent)
    for name in SIGNALS:
        category = signals.get(name)
        if category and (counts.ground != "consent" or category not in granted):
            wrong.append(
                f"`{name}` stands for category `{category}`, which the policy does not require of everyone who is "
                f"sent to `{destination}`"
            )
    if wrong:
        raise ConfigurationError("; ".join(wrong))


def _checked_account(name: str, given: Account | None, wrong: list[str]) -> GoogleAccount | None:
    if given is None:
        return None
    parts = {"account_id": given} if isinstance(given, str) else dict(given)
    account_id, account_type = str(parts.get("account_id", "")), parts.get("account_type", "GOOGLE_ADS")
    if unknown := sorted(parts.keys() - {"account_id", "account_type"}):
        wrong.append(f"{name} has `account_id` and `account_type`, not `{unknown[0]}`")
    if not _ACCOUNT_ID.fullmatch(account_id):
        wrong.append(f"the account_id of {name} has to be digits, with or without hyphens")
    if account_type not in _ACCOUNT_TYPES:
        wrong.append(f"the account_type of {name} has to be one of {', '.join(_ACCOUNT_TYPES)}")
    return GoogleAccount(account_id.replace("-", ""), account_type)
