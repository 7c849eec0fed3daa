"""Digests in PostgreSQL are those of Python, and so is the number that the first digits of one write."""

from __future__ import annotations

import hashlib

import pytest
from support.postgres import Postgres

from airflow_consent_retl.databases.dialect import Dialect, dialect_of, placeholder

TEXTS = ["", "ann@example.com", "J\u00fcrgen", *map(str, range(200))]


@pytest.mark.parametrize("digits", [1, 6, 7])
@pytest.mark.parametrize("number_of_hex", ["at once", "a digit at a time"])
def test_the_first_digits_of_a_digest_are_one_number(postgres: Postgres, digits: int, number_of_hex: str) -> None:
    dialect = dialect_of("postgres")
    digest = dialect.md5(placeholder("texts", {"text": "string"})["text"])
    number = (
        dialect.number_of_hex(digest, digits)
        if number_of_hex == "at once"
        else Dialect.number_of_hex(dialect, digest, digits)
    )
    table = placeholder("texts", {"text": "string"})
    sql = dialect.compile(table.select(text=table["text"], digest=digest, number=number), {"texts": "texts"})
    with postgres.connect() as connection:
        connection.execute("CREATE TEMP TABLE texts AS SELECT unnest(%s::text[]) AS text", [TEXTS])
        found = connection.execute(sql.encode()).fetchall()

    digests = {text: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in TEXTS}
    assert sorted(found) == sorted((text, one, int(one[:digits], 16)) for text, one in digests.items())
