"""The consent mapping: which signal holds each category's consent, as a DAG declares it.

Checks the mapping by itself. Never looks at a policy or at a model's columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_consent_retl.consent.json_path import child, type_name
from airflow_consent_retl.consent.policy import Category, CategoryId
from airflow_consent_retl.consent.signals import BooleanColumn, CategorySignal, WholeConsent
from airflow_consent_retl.errors import PolicyError, Problem

ConsentMappingLike = Mapping[str, str | CategorySignal] | WholeConsent


@dataclass(frozen=True, slots=True)
class ConsentMapping:
    """A checked consent mapping: a signal per category, or one column for all."""

    entries: tuple[tuple[CategoryId, CategorySignal], ...] = ()
    whole: WholeConsent | None = None

    @property
    def category_ids(self) -> tuple[CategoryId, ...]:
        """The categories mapped one by one, in the order of the declaration."""
        return tuple(category_id for category_id, _ in self.entries)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the mapping reads, each once."""
        if self.whole is not None:
            return (self.whole.column,)
        return tuple(dict.fromkeys(signal.column for _, signal in self.entries))

    def signal_for(self, category: Category) -> CategorySignal | None:
        """Return the category's signal, or None if the mapping leaves the category out."""
        if self.whole is not None:
            return self.whole.for_category(category.id, category.name)
        return dict(self.entries).get(category.id)

    def path_of(self, category_id: str) -> str:
        """Return where the mapping of a category was, or had to be, declared."""
        return "consent" if self.whole is not None else child("consent", category_id)


def parse_consent_mapping(mapping: ConsentMappingLike | ConsentMapping) -> ConsentMapping:
    """Check what a DAG gives as `consent`: `{"C0002": "analytics_ok", "C0004": Literals(...)}` or a
    `ConsentObject`, or another format that holds all categories.

    A plain column name means a boolean column. Raises `PolicyError` with every problem.
    """
    if isinstance(mapping, ConsentMapping):
        return mapping
    if isinstance(mapping, WholeConsent):
        return ConsentMapping(whole=mapping)
    problems, entries = [], []
    if not isinstance(mapping, Mapping) or not mapping:
        raise PolicyError([Problem("consent", "expected a mapping of category ids to columns, or a ConsentObject")])
    for category_id, declared in mapping.items():
        path = child("consent", str(category_id))
        signal = BooleanColumn(declared) if isinstance(declared, str) and declared else declared
        if not isinstance(category_id, str) or not category_id:
            problems.append(Problem("consent", "a category id is text that is not empty"))
        elif declared == "":
            problems.append(Problem(path, "expected the name of a column"))
        elif isinstance(signal, WholeConsent):
            problems.append(Problem(path, f"{type_name(declared)} holds all categories: pass it alone, as `consent`"))
        elif not isinstance(signal, CategorySignal):
            problems.append(Problem(path, f"expected a column or a consent format, found {type_name(declared)}"))
        else:
            entries.append((CategoryId(category_id), signal))
    if problems:
        raise PolicyError(problems)
    return ConsentMapping(tuple(entries))
