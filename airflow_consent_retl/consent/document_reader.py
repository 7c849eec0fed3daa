"""The base class of readers of documents that people wrote: common checks, with all problems reported at once.

Knows nothing about policies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from airflow_consent_retl.consent.json_path import child, type_name
from airflow_consent_retl.consent.strict_json import JsonObject
from airflow_consent_retl.errors import Problem
from airflow_consent_retl.near import suggestion

Choice = TypeVar("Choice", bound=str)


class DocumentReader:
    """A reader of one document that notes every problem. Its results are valid only if it noted none."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def an_object(self, raw: object, path: str) -> Mapping[str, object] | None:
        """Return an object unchanged. Note anything else and return None."""
        if isinstance(raw, Mapping):
            return raw
        self.note(path, f"expected an object, found {type_name(raw)}")
        return None

    def known_keys(
        self, document: Mapping[str, object], path: str, known: Sequence[str], *, required: Sequence[str]
    ) -> None:
        """Note every key that is unknown (with the key that was probably meant), occurs twice or is missing."""
        self.note_repeated(document, path)
        for key in document:
            if not isinstance(key, str):
                self.note(path, f"expected a key of text, found {type_name(key)}")
            elif key not in known:
                self.note(child(path, key), f"unknown key `{key}`{suggestion(key, known)}")
        for key in required:
            if key not in document:
                self.note(path, f"key `{key}` is missing")

    def note_repeated(self, document: Mapping[str, object], path: str) -> None:
        """Note every key that occurs more than once in the document's text."""
        if isinstance(document, JsonObject):
            for key in document.repeated:
                self.note(child(path, key), f"key `{key}` occurs more than once")

    def choice(
        self, document: Mapping[str, object], path: str, key: str, choices: Sequence[Choice], default: Choice
    ) -> Choice:
        """Return the choice that a key has. Return the default if it is missing, or if it is wrong, which is noted."""
        chosen = document.get(key, default)
        for choice in choices:
            if choice == chosen:
                return choice
        found = f"`{chosen}`{suggestion(chosen, choices)}" if isinstance(chosen, str) else type_name(chosen)
        listed = ", ".join(f"`{choice}`" for choice in choices)
        self.note(child(path, key), f"expected one of {listed}, found {found}")
        return default

    def filled_list(self, document: Mapping[str, object], path: str, key: str) -> Sequence[object]:
        """Return a list with at least one entry. Return an empty list if it is missing, or wrong, which is noted."""
        if key not in document:
            return ()
        listed = document[key]
        if not isinstance(listed, list | tuple):
            self.note(child(path, key), f"expected a list, found {type_name(listed)}")
            return ()
        if not listed:
            self.note(child(path, key), "expected a list with at least one entry")
        return listed

    def label(
        self, document: Mapping[str, object], path: str, key: str, limit: int, first_at: dict[str, str]
    ) -> str | None:
        """Return the id or the name of a category: short, printable and unique."""
        if key not in document:
            return None
        text, at = document[key], f"{path}.{key}"
        if not isinstance(text, str):
            self.note(at, f"expected text, found {type_name(text)}{_remedy(text)}")
            return None
        if not 1 <= len(text) <= limit:
            self.note(at, f"a category's {key} has 1 to {limit} characters, found {len(text)}")
        if text != text.strip() or not text.isprintable():
            self.note(at, f"a category's {key} has no space at its ends and only printable characters")
        if text in first_at:
            self.note(at, f"a category's {key} is unique, and `{text}` is already used at {first_at[text]}")
        first_at.setdefault(text, at)
        return text

    def note(self, path: str, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(path, message))


def _remedy(value: object) -> str:
    return ": write it in quotes" if isinstance(value, int | float) and not isinstance(value, bool) else ""
