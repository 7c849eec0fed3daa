"""Upserts in databases that no test runs: the three statements of any other database, and MySQL's one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
import sqlalchemy as sa
from airflow.sdk import BaseHook
from sqlalchemy.dialects import mysql
from support.loading import batches_of, load_of

from airflow_consent_retl.databases.tables.column_types import column_type
from airflow_consent_retl.databases.tables.core import CoreWriter
from airflow_consent_retl.databases.tables.dialects import table_dialect
from airflow_consent_retl.databases.tables.statements import Upsert, delete_from, mark_in
from airflow_consent_retl.databases.tables.table_name import TableName
from airflow_consent_retl.databases.tables.write_rules import WriteRules
from airflow_consent_retl.databases.tables.writer import Nulls, RowRefusedError

if TYPE_CHECKING:
    from support.databases import Database

PEOPLE = pa.table({"id": ["1", "2", "3"], "email": ["a", None, "c"], "value0": [40, 41, None]})


@pytest.fixture(params=["sqlite", "pg"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


def write(database: Database, rows: pa.Table, *, nulls: Nulls = "overwrite") -> None:
    hook = BaseHook.get_connection(database.conn_id).get_hook()  # type: ignore[no-untyped-call]
    writer = CoreWriter(hook, table=TableName("people"), nulls=nulls, create_table=True, generic=True)
    try:
        writer.open(load_of(rows), key="id")
        for batch in batches_of(rows, batch_rows=10_000):
            assert writer.stage(batch.rows) == {}
            writer.write(range(batch.rows.num_rows))
    finally:
        writer.close()


def test_three_statements_upsert_like_one(database: Database) -> None:
    write(database, PEOPLE)
    write(database, PEOPLE)

    write(database, pa.table({"id": ["1", "4"], "email": pa.array([None, "d"]), "value0": [50, 1]}))

    assert database.rows() == [("1", None, 50), ("2", None, 41), ("3", "c", None), ("4", "d", 1)]


def test_three_statements_keep_what_is_there_when_told_to(database: Database) -> None:
    write(database, PEOPLE)

    write(database, pa.table({"id": ["1"], "email": pa.array([None], pa.string()), "value0": [50]}), nulls="keep")

    assert database.rows()[0] == ("1", "a", 50)


def test_three_statements_take_more_keys_than_one_list_holds(database: Database) -> None:
    rows = pa.table({"id": [str(number) for number in range(1_234)]})

    write(database, rows)
    write(database, rows)

    assert len(database.rows()) == 1_234


def test_three_statements_apply_nothing_of_a_transaction_with_a_refused_row(database: Database) -> None:
    database.execute("CREATE TABLE people (id TEXT PRIMARY KEY, email TEXT CHECK (email <> 'c'), value0 BIGINT)")

    with pytest.raises(RowRefusedError) as raised:
        write(database, PEOPLE)

    assert raised.value.code == "check"
    assert database.rows() == []


def compiled(names: list[str], *, keep: bool, **always: sa.ColumnElement[bool]) -> str:
    dialect = table_dialect("mysql")
    upsert = Upsert(
        TableName("pe`ople", "crm"),
        names,
        key="id",
        rules=WriteRules(keep=names if keep else ()),
        dialect=dialect,
        always=always,
    )
    return said_to_mysql(lambda connection: upsert(connection, [{}]))


def said_to_mysql(work: Callable[[sa.Connection], object]) -> str:
    said: list[str] = []
    engine = sa.create_mock_engine(
        "mysql+pymysql://", lambda statement, *_: said.append(str(statement.compile(dialect=mysql.dialect())))
    )
    work(engine)  # type: ignore[arg-type]
    return " ".join(said[0].split())


def test_mysql_upserts_by_its_own_clause_with_names_quoted() -> None:
    assert compiled(["id", "e`mail"], keep=False) == (
        "INSERT INTO `crm`.`pe``ople` (`id`, `e``mail`) VALUES (%s, %s) "
        "ON DUPLICATE KEY UPDATE `e``mail` = VALUES(`e``mail`)"
    )


def test_mysql_keeps_what_is_there_when_told_to() -> None:
    assert compiled(["id", "email"], keep=True).endswith(
        "ON DUPLICATE KEY UPDATE `email` = coalesce(VALUES(`email`), `crm`.`pe``ople`.`email`)"
    )


def test_mysql_clears_a_mark_whatever_is_kept() -> None:
    assert compiled(["id", "email"], keep=True, gone=sa.false()) == (
        "INSERT INTO `crm`.`pe``ople` (`id`, `email`, `gone`) VALUES (%s, %s, false) ON DUPLICATE KEY UPDATE "
        "`email` = coalesce(VALUES(`email`), `crm`.`pe``ople`.`email`), `gone` = false"
    )


def test_mysql_deletes_and_marks_by_key() -> None:
    table = TableName("people", "crm")
    delete = delete_from(table, key="i`d")
    mark = mark_in(table, key="id", mark="gone_at", moment="now", emptied=["email"])
    flag = mark_in(table, key="id", mark="gone", moment=None, emptied=[])

    deleted = said_to_mysql(lambda connection: delete(connection, ["1"]))
    marked = said_to_mysql(lambda connection: mark(connection, ["1"]))
    flagged = said_to_mysql(lambda connection: flag(connection, ["1"]))

    assert deleted.startswith("DELETE FROM `crm`.`people` WHERE `crm`.`people`.`i``d` IN (")
    assert marked.startswith(
        "UPDATE `crm`.`people` SET `gone_at`=coalesce(`crm`.`people`.`gone_at`, %s), `email`=NULL WHERE "
    )
    assert flagged.startswith("UPDATE `crm`.`people` SET `gone`=true WHERE `crm`.`people`.`id` IN (")


def test_a_text_key_of_mysql_tells_cases_apart() -> None:
    kind = column_type(pa.string(), dialect=table_dialect("mysql"), is_key=True)

    assert str(kind.compile(dialect=mysql.dialect())) == "VARCHAR(255) COLLATE utf8mb4_bin"
