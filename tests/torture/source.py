"""The source: customers in a SQLite file that change all the time, and a history of every change.

    {"id": 7, "before": …, "after": …, "permitted": false, "mail_permitted": true, "version": 3}

is a change that took effect at some time between the two, in nanoseconds since 1970.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

_TABLE = "CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT, version INTEGER, ads_ok INTEGER, mail_ok INTEGER)"
_PUT = "INSERT OR REPLACE INTO customers VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Customer:
    """One row of the model; `version` grows with each change of what is sent, except for the consent to the e-mail."""

    id: int
    version: int
    ads_ok: bool | None = True
    mail_ok: bool | None = True
    is_there: bool = True

    @property
    def is_permitted(self) -> bool:
        return self.is_there and self.ads_ok is True


class Source:
    """Makes the file, changes it, and notes each change.

    Connections are opened for each change: this process forks, and SQLite's may not be taken along.

    Args:
        file: the database.
        history: the file of changes.
        chance: says what changes.
        rows: how many customers there are in the beginning.
    """

    def __init__(self, file: Path, history: Path, *, chance: random.Random, rows: int) -> None:
        self._file = file
        self._history = history
        self._chance = chance
        self._customers: dict[int, Customer] = {}
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(_TABLE)
        refused = {False: 0.15, None: 0.05}
        customers = [
            Customer(
                number,
                1,
                ads_ok=chance.choices([True, False, None], [1 - sum(refused.values()), *refused.values()])[0],
                mail_ok=chance.choices([True, False, None], [1 - sum(refused.values()), *refused.values()])[0],
            )
            for number in range(1, rows + 1)
        ]
        self._put(customers)

    @property
    def rows(self) -> int:
        """How many customers are in the table."""
        return sum(customer.is_there for customer in self._customers.values())

    def change_rows(self, share: float) -> None:
        """Change what is sent of some customers."""
        self._put([replace(customer, version=customer.version + 1) for customer in self._some(share)])

    def withdraw(self, share: float) -> None:
        """Have some of those who permit it withdraw their consent, or lose it."""
        some = self._some(share, lambda customer: customer.is_permitted)
        self._put([replace(customer, ads_ok=self._chance.choice([False, False, False, None])) for customer in some])

    def grant(self, share: float) -> None:
        """Have some of those who do not permit it grant their consent, some with news."""
        some = self._some(share, lambda customer: not customer.is_permitted)
        self._put(
            [replace(customer, ads_ok=True, version=customer.version + self._chance.randrange(2)) for customer in some]
        )

    def withdraw_mail(self, share: float) -> None:
        """Have some withdraw their consent to the e-mail alone."""
        some = self._some(share, lambda customer: customer.mail_ok is True)
        self._put([replace(customer, mail_ok=self._chance.choice([False, False, None])) for customer in some])

    def grant_mail(self, share: float) -> None:
        """Have some consent to the e-mail again."""
        self._put([replace(one, mail_ok=True) for one in self._some(share, lambda one: one.mail_ok is not True)])

    def come_and_go(self, share: float) -> None:
        """Delete some customers and add others, including some who were there before."""
        absent = [customer for customer in self._customers.values() if not customer.is_there]
        gone = [replace(customer, is_there=False) for customer in self._some(share)]
        newest = max(self._customers)
        new = [Customer(newest + 1 + number, 1) for number in range(len(gone) // 2)]
        back = [
            replace(customer, is_there=True, version=customer.version + 1)
            for customer in self._chance.sample(absent, len(absent) // 3)
        ]
        self._put(gone + new + back)

    def change_a_little(self) -> None:
        """Let a few people withdraw or grant consent, as can happen at any time."""
        change = self._chance.choice([self.withdraw, self.grant, self.withdraw_mail, self.grant_mail])
        change(self._chance.choice([1, 1, 2, 4]) / len(self._customers))

    def _some(self, share: float, suits: Callable[[Customer], bool] = lambda customer: True) -> list[Customer]:
        there = [customer for customer in self._customers.values() if customer.is_there and suits(customer)]
        return self._chance.sample(there, min(len(there), max(1, round(share * len(self._customers)))))

    def _put(self, customers: Iterable[Customer]) -> None:
        changed = list(customers)
        before = time.time_ns()
        with closing(sqlite3.connect(self._file, isolation_level=None, timeout=30)) as connection:
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("BEGIN IMMEDIATE")
            for customer in changed:
                if customer.is_there:
                    row = (customer.id, f"c{customer.id}.{customer.version}@example.com", customer.version)
                    connection.execute(_PUT, (*row, customer.ads_ok, customer.mail_ok))
                else:
                    connection.execute("DELETE FROM customers WHERE id = ?", (customer.id,))
            connection.execute("COMMIT")
        after = time.time_ns()
        with self._history.open("a", encoding="utf-8") as file:
            for customer in changed:
                self._customers[customer.id] = customer
                line = {"id": customer.id, "before": before, "after": after}
                line |= {"permitted": customer.is_permitted, "version": customer.version}
                line |= {"mail_permitted": customer.mail_ok is True}
                file.write(json.dumps(line) + "\n")
