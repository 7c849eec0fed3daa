"""Names of columns in quotes: as sqlglot writes them, without loading it for plain ones."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sqlglot import exp

from airflow_consent_retl.databases.plain_query import quoted
from airflow_consent_retl.databases.registry import DATABASES

DIALECTS = sorted({database.quotes_as for database in DATABASES} | {""})
NAMES = ["id", "E_Mail", "_x1", "select", "a b", "1st", 'a"b', "a`b", "a]b", "größe", "a.b", "a\\b"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_quoted_as_sqlglot_quotes_it(name: str, dialect: str) -> None:
    assert quoted(name, dialect=dialect) == exp.to_identifier(name, quoted=True).sql(dialect=dialect)


def test_plain_names_of_this_packages_own_databases_load_no_sqlglot() -> None:
    own = sorted({database.quotes_as for database in DATABASES if database.name in OWN})
    script = (
        "import sys\nfrom airflow_consent_retl.databases.plain_query import quoted\n"
        f"print([quoted('e_mail', dialect=one) for one in {own}], 'sqlglot' in sys.modules)"
    )

    printed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout

    assert printed.endswith(" False\n")
    assert printed.count("e_mail") == len(own)


OWN = ("bigquery", "duckdb", "postgres", "snowflake", "sqlite")
