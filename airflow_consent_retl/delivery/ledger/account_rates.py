"""The ledger's counts of requests by account: all workers with the ledger share a vendor's limit."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from airflow_consent_retl.contract.account_rate import RateBlock, reserved
from airflow_consent_retl.delivery.ledger.identity import LedgerIdentity
from airflow_consent_retl.delivery.ledger.schema import account_rates

if TYPE_CHECKING:
    from airflow_consent_retl.contract.account_rate import AccountRate
    from airflow_consent_retl.delivery.ledger.ledger_database import LedgerDatabase

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LedgerReserve:
    """Reserves requests in the ledger, by its clock. Thread-safe.

    Args:
        database: of the ledger.
    """

    def __init__(self, database: LedgerDatabase) -> None:
        self._database = database
        self._ledger_id: str | None = None

    def __call__(self, rate: AccountRate, wanted: int) -> RateBlock:
        """Reserve at most `wanted` requests of an account, in one transaction.

        Raises:
            LedgerUnavailableError: the ledger did not answer: nothing may be sent.
        """
        key = self._digest(rate)
        own = account_rates.c.account == key
        with self._database.write() as connection:
            new = {"account": key, "used": "{}"}
            connection.execute(self._database.insert(account_rates).values(new).on_conflict_do_nothing())
            text = connection.execute(sa.select(account_rates.c.used).where(own).with_for_update()).scalar_one()
            now = self._database.now(connection)
            used = {int(slot): requests for slot, requests in json.loads(text).items()}
            block, counts = reserved(rate, used, wanted, now_us=(now - _EPOCH) // timedelta(microseconds=1))
            if block.requests:
                connection.execute(sa.update(account_rates).where(own).values(used=json.dumps(counts)))
        return block

    def _digest(self, rate: AccountRate) -> str:
        if self._ledger_id is None:
            with self._database.read() as connection:
                self._ledger_id = LedgerIdentity(connection, self._database).id
        # All workspaces of a ledger share its accounts, and each may have another digest key.
        key = hashlib.sha256(self._ledger_id.encode()).digest()
        return hashlib.blake2s(f"account:{rate.identity}".encode(), key=key, digest_size=16).hexdigest()
