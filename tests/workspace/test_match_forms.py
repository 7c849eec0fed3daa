"""Keys of suppression lists are compared in the same forms in Python, in files and in a warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pytest
from support.postgres import Postgres

from airflow_consent_retl.consent import SuppressionList
from airflow_consent_retl.consent.match_forms import MatchForm, in_form
from airflow_consent_retl.databases.dialect import dialect_of, placeholder
from airflow_consent_retl.errors import PolicyError

KEYS = [
    "ann@example.com",
    "Ann@Example.COM",
    "\t ann@example.com\n",
    "\u00a0ann@example.com\u3000",
    "ann @example.com",
    "j\u00fcrgen@x.example",
    "ju\u0308rgen@x.example",
    "J\u00dcRGEN@X.EXAMPLE",
    "\u0391\u03a3 \u03b1\u03c2 \u03b1\u03c3",
    "\u0416\u0436",
    "stra\u1e9ee",
    "stra\u00dfe",
    "\uff21\uff4e\uff4e\uff20x.example",
    "\ufb01nn\u0133 \ufb03",
    "\u00aa\u00b2\u2163\u00a8\uff9e",
    "+49 (170) 123-4567",
    "0049 170 1234567",
    "0170/1234567",
    "\u0661\u0662\u0663",
    "45 12 34",
    "0xABCDEF",
    "\\xabcdef",
    "",
    "   ",
    "'; --",
]


def compiled(dialect: str, form: MatchForm) -> str:
    sql = dialect_of(dialect)
    table = placeholder("keys", {"key": "string"})
    return sql.compile(table.select(key=table["key"], found=sql.key_in_form(table["key"], form)), {"keys": "keys"})


@pytest.mark.parametrize("form", list(MatchForm))
def test_duckdb_and_postgresql_write_a_key_as_python_does(form: MatchForm, customers: Postgres) -> None:
    expected = {key: in_form(key, form) for key in KEYS}
    if form is MatchForm.EXACT:
        expected |= {key: key for key in KEYS}

    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE keys (key VARCHAR)")
        connection.executemany("INSERT INTO keys VALUES (?)", [[key] for key in KEYS])
        in_files = dict(connection.execute(compiled("duckdb", form)).fetchall())
    with customers.connect() as connection:
        connection.execute("CREATE TEMP TABLE keys (key text)")
        for key in KEYS:
            connection.execute("INSERT INTO keys VALUES (%s)", [key])
        found: list[Any] = connection.execute(compiled("postgres", form)).fetchall()
        in_warehouse = dict(found)

    assert in_files == expected
    assert in_warehouse == expected


def in_duckdb(keys: Sequence[str], form: MatchForm) -> dict[str, str | None]:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE keys AS SELECT unnest(?::VARCHAR[]) AS key", [keys])
        return dict(connection.execute(compiled("duckdb", form)).fetchall())


@pytest.mark.parametrize("form", [form for form in MatchForm if form is not MatchForm.EXACT])
def test_the_shortcut_for_plain_keys_writes_what_the_long_way_does(form: MatchForm) -> None:
    random = np.random.default_rng(14)
    letters = [chr(code) for code in range(1, 128)]
    # All of ASCII, alone and at both ends of a text; keys that are nearly plain; and one letter that is not.
    keys = {*letters, *(f"{one}A" for one in letters), *(f"A{one}" for one in letters)}
    for length in np.tile(np.arange(1, 20), 10):
        key = "".join(random.choice(letters[32:126], length))
        keys |= {key, f"{key}\n", f"0x{key}", f"{key}{random.choice(letters)}{key}", f"{key}\u00c4", f"\u0130{key}"}

    assert in_duckdb(sorted(keys), form) == {key: in_form(key, form) for key in keys}


@pytest.mark.parametrize(
    ("form", "one", "other"),
    [
        ("folded", "Ann@Example.com", " ann@example.com\t"),
        ("folded", "ju\u0308rgen", "J\u00dcRGEN"),
        ("email", "ann@example.com", "ann @example. com"),
        ("phone", "+49 170 1234567", "0170/123 45 67"),
        ("phone", "0045 12345678", "45-12-34-56-78"),
        ("sha256", "0xABC", "abc"),
        ("sha256", "\\xabc", "ABC "),
    ],
)
def test_the_same_key_written_in_two_ways_is_one_key(form: str, one: str, other: str) -> None:
    assert in_form(one, MatchForm(form)) == in_form(other, MatchForm(form))
    assert in_form(one, MatchForm.EXACT) != in_form(other, MatchForm.EXACT)


@pytest.mark.parametrize("form", ["folded", "email", "phone", "sha256"])
def test_a_text_without_a_key_is_no_key(form: str) -> None:
    assert in_form(" \t", MatchForm(form)) is None


@pytest.mark.parametrize("parameters", [{"match": "Email"}, {"match": ""}, {"min_rows": -1}, {"min_rows": True}])
def test_a_list_with_a_wrong_parameter_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match=next(iter(parameters))):
        SuppressionList("SELECT 1 AS x", subject="x", **parameters)
