"""Values as the text of a DAG file: Python with double quotes, and SQL that Airflow's templates leave as it is."""

from __future__ import annotations

import json


def text_of(value: object) -> str:
    """Return a value as Python with double quotes."""
    if isinstance(value, str):
        # Every JSON text is the same text in Python.
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{text_of(name)}: {text_of(one)}" for name, one in value.items()) + "}"
    if isinstance(value, tuple):
        inner = ", ".join(map(text_of, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, list):
        return f"[{', '.join(map(text_of, value))}]"
    return repr(value)


def untemplated(sql: str) -> str:
    """Return SQL that Airflow's templates leave as it is."""
    return f"{{% raw %}}{sql}{{% endraw %}}" if any(mark in sql for mark in ("{{", "{%", "{#")) else sql
