"""The draft of a DAG from proposals: code that `check` accepts, with every doubt as a comment. It decides nothing."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl import consent as consent_formats
from airflow_consent_retl.checking.discovery.python_code import code_of
from airflow_consent_retl.consent import CategorySignal, OptOut, WholeConsent
from airflow_consent_retl.consent.answers import Answers
from airflow_consent_retl.migration.dag_text import text_of, untemplated

if TYPE_CHECKING:
    from airflow_consent_retl.checking.discovery.proposals import Proposal
    from airflow_consent_retl.consent import Category, ConsentPolicy
    from airflow_consent_retl.storage.manifest import ModelSource

_LINE = 110
_HEAD = '''"""A draft, made from a sample of {rows:,} rows.

It decides nothing: read each line, and clear each doubt, before it runs.
"""
'''


@dataclass(frozen=True, slots=True)
class Draft:
    """A DAG to read and to complete.

    Args:
        code: the text of a DAG file.
        destinations: those of the policy for which the draft has every category.
        left_out: the other destinations, each with the reason.
    """

    code: str
    destinations: tuple[str, ...]
    left_out: dict[str, str]


def draft_of(
    proposals: Sequence[Proposal],
    source: ModelSource,
    *,
    model: str,
    policy: ConsentPolicy,
    policy_place: str | None,
    primary_key: str,
    rows: int,
    untyped: Mapping[str, str],
) -> Draft:
    """Return the draft.

    Args:
        proposals: for the columns of the model.
        source, model, policy, policy_place: as for `discover`.
        primary_key: the column that may be the key; empty if there is none.
        rows: how many were sampled.
        untyped: the columns whose types the database does not know, with the types of the sample.
    """
    mapping = _Mapping(proposals, policy)
    destinations, left_out = mapping.destinations()
    code = "\n".join(_lines(mapping, source, model, policy_place, primary_key, rows, untyped, left_out))
    return Draft(code + "\n", tuple(destinations), left_out)


class _Mapping:
    """The consent mapping of a draft."""

    def __init__(self, proposals: Sequence[Proposal], policy: ConsentPolicy) -> None:
        self.policy = policy
        self.proposals = proposals
        usable = [one for one in proposals if one.is_in_draft]
        consent = [one for one in usable if one.use == "consent"]
        self.roles = [one for one in usable if one.use != "consent"]
        self.notes: list[str] = []
        # A format of all categories stands alone if it is the only record.
        alone = consent[0].signal if len(consent) == 1 else None
        self.whole = alone if isinstance(alone, WholeConsent) else None
        self.entries = {} if self.whole is not None else dict(self._entries(consent))

    def _entries(self, consent: Sequence[Proposal]) -> Iterator[tuple[str, list[str]]]:
        for category in self.policy.categories:
            records = [record for proposal in consent for record in _records(proposal, category)]
            objections = [one for one in records if isinstance(one, OptOut)]
            answers = [one for one in records if not isinstance(one, OptOut)]
            if records:
                yield category.id, self._combined(category.id, objections, answers)

    def _combined(self, category: str, objections: Sequence[OptOut], answers: Sequence[CategorySignal]) -> list[str]:
        """Return the lines of one entry of the mapping. Of several records, each has to grant."""
        if not answers:
            self.notes.append(f"`{category}` has only objections: under opt_in no row is granted")
        if len(answers) > 1:
            self.notes.append(
                f"`{category}` has several records, which may not be equally true: here each has to grant"
            )
            # Where records have to grant too, it is enough that there is no objection.
            plain = [OptOut(one.signal, false_is_yes=True) for one in objections]
            return _exploded("MostRestrictive", (*plain, *answers))
        # An objection is an answer; its absence leaves the decision to the next record.
        records = (*objections, *answers)
        return [code_of(records[0])] if len(records) == 1 else _exploded("FirstOf", records)

    @property
    def covered(self) -> frozenset[str]:
        """The categories that the draft maps."""
        if self.whole is not None:
            return frozenset(category.id for category in self.policy.categories)
        return frozenset(self.entries)

    def destinations(self) -> tuple[list[str], dict[str, str]]:
        """Return the destinations that the draft can decide for, and the others with the reason."""
        chosen: list[str] = []
        left_out: dict[str, str] = {}
        for name in self.policy.destinations:
            needed = self.policy.required_for(name)
            guarded = [category.id for category, _ in self.policy.guarded_fields(name)]
            missing = [id_ for id_ in dict.fromkeys((*needed, *guarded)) if id_ not in self.covered]
            if missing:
                left_out[name] = f"no column was found for {', '.join(missing)}"
            elif needed:
                chosen.append(name)
        return chosen, left_out

    def code(self) -> list[str]:
        """Return the lines of `consent=`, without indentation."""
        roles = self._roles()
        if self.whole is not None:
            inner = [f"{code_of(self.whole)},"]
        else:
            inner = ["{"]
            for id_, (first, *rest) in self.entries.items():
                lines = [f"{text_of(id_)}: {first}", *rest]
                inner += [f"    {line}" for line in (*lines[:-1], f"{lines[-1]},")]
            inner.append("},")
        if not roles:
            first, *rest = inner
            return [f"consent={first}", *rest]
        return ["consent=RowConsent(", *(f"    {line}" for line in (*inner, *roles)), "),"]

    def _roles(self) -> list[str]:
        categories = [category for category in self.policy.categories if category.enabled]
        wanted = {
            "time": any(category.max_age is not None for category in categories),
            "region": any(category.regions for category in categories),
            "notice_version": any(category.min_notice_version is not None for category in categories),
            "gpc": True,
            "switches": True,
        }
        found = []
        for role, is_wanted in wanted.items():
            columns = [one for one in self.roles if one.use == role]
            if is_wanted and len(columns) == 1:
                found.append(f"{role}={columns[0].code},")
            elif is_wanted and len(columns) > 1:
                self.notes.append(f"`{role}`: one of {', '.join(f'`{one.column}`' for one in columns)}?")
        return found


def _lines(
    mapping: _Mapping,
    source: ModelSource,
    model: str,
    policy_place: str | None,
    primary_key: str,
    rows: int,
    untyped: Mapping[str, str],
    left_out: Mapping[str, str],
) -> Iterator[str]:
    consent = mapping.code()
    yield _HEAD.format(rows=rows)
    yield from _imports("\n".join(consent))
    yield f"with DAG({text_of(model)}):"
    yield "    snapshot = ExtractModelOperator("
    yield '        task_id="extract",'
    yield f"        model={text_of(model)},"
    yield f"        conn_id={text_of(source.conn_id)},"
    yield f"        sql={text_of(untemplated(source.sql))},"
    note = (
        "unique in the sample; the extraction checks every row" if primary_key else "no column is unique: name the key"
    )
    yield f"        # {note}"
    yield f"        primary_key={text_of(primary_key)},"
    read = [name for name in untyped if text_of(name) in "\n".join(consent) and untyped[name] != "null"]
    if types := {**{name: untyped[name] for name in read}, **source.column_types}:
        inner = ", ".join(f"{text_of(name)}: {text_of(type_)}" for name, type_ in types.items())
        yield f"        column_types={{{inner}}},"
    yield "    )"
    yield "    ConsentFilterOperator("
    yield '        task_id="consent",'
    yield "        snapshot=snapshot.output,"
    if policy_place is not None:
        yield f"        policy={text_of(policy_place)},"
    yield from (f"        {line}" for line in _comments(mapping))
    yield from (f"        {line}" for line in consent)
    yield from (f"        # `{name}` is left out: {why}" for name, why in left_out.items())
    yield f"        destinations=[{', '.join(map(text_of, mapping.destinations()[0]))}],"
    yield "    )"


def _imports(consent: str) -> Iterator[str]:
    yield "from airflow.sdk import DAG"
    names = sorted({name for name in re.findall(r"\b[A-Z]\w+(?=\()", consent) if hasattr(consent_formats, name)})
    if names:
        yield f"from airflow_consent_retl.consent import {', '.join(names)}"
    yield "from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator"
    yield ""


def _comments(mapping: _Mapping) -> Iterator[str]:
    """Yield every doubt, and every proposal that the draft leaves out, as comments."""
    for one in mapping.proposals:
        about = f"{one.column}: {one.confidence}"
        if not one.is_in_draft:
            about += f", not in this draft: {one.code or one.format}"
        text = "; ".join((about, *one.doubts))
        yield from textwrap.wrap(text, _LINE, initial_indent="# ", subsequent_indent="#   ")
    for note in mapping.notes:
        yield from textwrap.wrap(note, _LINE, initial_indent="# ", subsequent_indent="#   ")


def _records(proposal: Proposal, category: Category) -> list[CategorySignal]:
    """Return what a proposal says about a category."""
    if isinstance(proposal.signal, WholeConsent):
        if not any(name.rpartition(" ")[0] == category.id for name in proposal.reading):
            return []
        found = proposal.signal.for_category(category.id, category.name)
        return [part.signal for part in found.parts] if isinstance(found, Answers) else [found]
    if proposal.category == category.id and isinstance(proposal.signal, CategorySignal):
        return [proposal.signal]
    return []


def _exploded(name: str, records: Sequence[CategorySignal]) -> list[str]:
    """Return a call with each record on its own line."""
    return [f"{name}(", *(f"    {code_of(record)}," for record in records), ")"]
