"""The name of a table, as a DAG writes it. Importing it loads no engine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from airflow_consent_retl.errors import ConfigurationError

_NAME = re.compile(r'(?:"((?:[^"]|"")+)"|([^".][^.]*))')


@dataclass(frozen=True, slots=True)
class TableName:
    """A table, in the connection's default schema unless `schema` is set. It is always quoted, so case counts."""

    name: str
    schema: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `people`, `crm.people`, or `"a.b"."c"` for names that contain a dot.

        Raises:
            ConfigurationError: the text has another form, or contains NUL.
        """
        parts, rest = [], text
        while match := _NAME.match(rest):
            parts.append(match[1].replace('""', '"') if match[1] else match[2])
            rest = rest[match.end() :]
            if not rest.startswith("."):
                break
            rest = rest[1:] or "."
        if rest or not 1 <= len(parts) <= 2 or "\0" in text:
            raise ConfigurationError(
                f"`{text!a}` names no table: write `table` or `schema.table`, with double quotes around a name that "
                "holds a dot"
            )
        return cls(parts[-1], parts[0] if len(parts) == 2 else None)

    def __str__(self) -> str:
        return self.name if self.schema is None else f"{self.schema}.{self.name}"
