"""A whole sync by the package's own operators: a SQLite source, a SQLite table as the target, and a workspace."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from airflow_consent_retl.consent import ExternalConsent
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadOperator,
    LoadToSqlTableOperator,
    PropagateWithdrawalsOperator,
)

POLICY: dict[str, Any] = {
    "unmapped_destinations": "deny",
    "categories": [{"id": "C0004", "name": "Advertising", "destinations": ["crm", "lake", "webhook"]}],
}
FIELDS = {"id": "id", "email": "email"}
CONSENT = {"C0004": "ads_ok"}
SQL = "SELECT id, email, ads_ok FROM people"
TYPES = {"id": "int64", "email": "string", "ads_ok": "bool"}


class CrmSync:
    """The people of a model, and where they are delivered.

    Args:
        path: a folder of the test's own.
        monkeypatch: sets the connections.
        workspace: a URI; None: a folder below `path`.
        ledger_conn_id: None: the SQLite file in the workspace.
    """

    def __init__(
        self,
        path: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        workspace: str | None = None,
        ledger_conn_id: str | None = None,
    ) -> None:
        self.path = path
        self.folder = path / "workspace"
        self.workspace = workspace or f"file://{self.folder}"
        self.ledger_conn_id = ledger_conn_id
        # Consent that is kept elsewhere, for extractions and the fast lane.
        self.consent_sources: Sequence[ExternalConsent] = ()
        self._monkeypatch = monkeypatch
        self.connect("source", conn_type="sqlite", host=str(path / "source.db"))
        self.connect("crm", conn_type="sqlite", host=str(path / "crm.db"))

    def connect(self, conn_id: str, **fields: Any) -> None:
        """Set a connection."""
        self._monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    def people(self, *yes: int, no: tuple[int, ...] = ()) -> None:
        """Have the model hold these people, with their answer."""
        with closing(sqlite3.connect(self.path / "source.db")) as connection:
            connection.execute("DROP TABLE IF EXISTS people")
            connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, ads_ok)")
            rows = [(one, f"u{one}@x.example", one not in no) for one in (*yes, *no)]
            connection.executemany("INSERT INTO people VALUES (?, ?, ?)", rows)
            connection.commit()

    def extracted(
        self, *, model: str = "people", sql: str = SQL, conn_id: str = "source", as_of: str | None = None
    ) -> Any:
        """Extract."""
        return ExtractModelOperator(
            task_id="extract",
            model=model,
            conn_id=conn_id,
            sql=sql,
            primary_key="id",
            column_types=TYPES,
            as_of=as_of,
            consent_sources=self.consent_sources,
            workspace=self.workspace,
        ).execute({})

    def permitted(
        self,
        *,
        model: str = "people",
        destination: str = "crm",
        sql: str = SQL,
        policy: Mapping[str, Any] | str = POLICY,
        consent: Mapping[str, Any] = CONSENT,
        conn_id: str = "source",
        as_of: str | None = None,
    ) -> Any:
        """Extract and filter."""
        snapshot = self.extracted(model=model, sql=sql, conn_id=conn_id, as_of=as_of)
        return self.decided(snapshot, destination=destination, policy=policy, consent=consent)

    def decided(
        self,
        snapshot: Any,
        *,
        destination: str = "crm",
        policy: Mapping[str, Any] | str = POLICY,
        consent: Mapping[str, Any] = CONSENT,
    ) -> Any:
        """Filter."""
        return ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot,
            policy=policy,
            consent=consent,
            destinations=[destination],
            workspace=self.workspace,
        ).execute({})

    def load_of(self, load: Callable[..., LoadOperator] | None = None, **options: Any) -> Callable[..., LoadOperator]:
        """Return a load with its own parameters; by default into a table of `crm`."""
        if load is not None:
            return load
        table = {"conn_id": "crm", "table": "people", **options}
        return partial(LoadToSqlTableOperator, fields=FIELDS, settle_s=0, **table)

    def sync(
        self,
        load: Callable[..., LoadOperator] | None = None,
        *,
        model: str = "people",
        destination: str = "crm",
        sql: str = SQL,
        context: Any = MappingProxyType({}),
        conn_id_of_model: str = "source",
        as_of: str | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Extract, filter and load."""
        permitted = self.permitted(model=model, destination=destination, sql=sql, conn_id=conn_id_of_model, as_of=as_of)
        return self.load_permitted(permitted, load, destination=destination, context=context, **options)

    def load_permitted(
        self,
        permitted: Any,
        load: Callable[..., LoadOperator] | None = None,
        *,
        destination: str = "crm",
        context: Any = MappingProxyType({}),
        **options: Any,
    ) -> dict[str, Any]:
        """Load a permitted set."""
        counts: dict[str, Any] = self.load_of(load, **options)(
            task_id="load",
            permitted=permitted,
            destination=destination,
            policy=POLICY,
            ledger_conn_id=self.ledger_conn_id,
            workspace=self.workspace,
        ).execute(context)
        return counts

    def withdraw(
        self,
        load: Callable[..., LoadOperator] | None = None,
        *,
        model: str = "people",
        destination: str = "crm",
        **options: Any,
    ) -> dict[str, Any]:
        """Propagate withdrawals."""
        counts: dict[str, Any] = PropagateWithdrawalsOperator(
            task_id="withdraw",
            model=model,
            conn_id="source",
            sql=SQL,
            primary_key="id",
            policy=POLICY,
            consent=CONSENT,
            column_types=TYPES,
            consent_sources=self.consent_sources,
            loads={destination: self.load_of(load, **options)},
            ledger_conn_id=self.ledger_conn_id,
            workspace=self.workspace,
        ).execute({})
        return dict(counts[destination])

    def there(self, table: str = "people", *, file: str = "crm.db") -> list[int]:
        """Return the ids in a table of the target."""
        with closing(sqlite3.connect(self.path / file)) as connection:
            return [row[0] for row in connection.execute(f"SELECT id FROM {table} ORDER BY id")]

    def run_sql(self, *statements: str, file: str = "crm.db") -> None:
        """Run statements in the target's database, as somebody else does."""
        with closing(sqlite3.connect(self.path / file)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
