"""The path of a declared request, with `{name}` where a parameter's or a field's value goes, percent-encoded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

_NAME = re.compile(r"\{([^{}]*)\}")
_FIXED = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*")


def names_in(path: str) -> list[str]:
    """Return the names in braces, in order."""
    return list(_NAME.findall(path))


def wrong_path(path: object) -> list[str]:
    """Return the errors in the form of a path."""
    if not isinstance(path, str) or not path.startswith("/"):
        return ["a path begins with `/`, such as `/v1/people`"]
    fixed = _NAME.sub("", path)
    if not _FIXED.fullmatch(fixed) or any(not name.isidentifier() for name in names_in(path)):
        return ["a path has plain letters and `{name}`, with the name of a parameter or of a field in braces"]
    return []


def filled(path: str, values: Mapping[str, object]) -> str:
    """Return the path with the given values, percent-encoded; other names stay.

    A value of only dots would be another path: its dots are encoded too, which servers and proxies leave alone.
    """

    def text(match: re.Match[str]) -> str:
        name = match[1]
        return encoded(values[name]) if name in values else match[0]

    return _NAME.sub(text, path)


def encoded(value: object) -> str:
    """Return a value as one segment of a path."""
    text = quote(str(value), safe="")
    return text.replace(".", "%2E") if not text.strip(".") else text
