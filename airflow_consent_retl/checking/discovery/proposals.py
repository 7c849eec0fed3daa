"""The proposals of the finder: candidates with their category, their confidence, and what the sample says by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_consent_retl.checking.discovery.consent_words import (
    PLATFORM_IDS,
    concepts_of,
    folded_name,
    says_consent,
)
from airflow_consent_retl.checking.discovery.python_code import code_of
from airflow_consent_retl.checking.discovery.recognition import (
    Candidate,
    Known,
    LookedModel,
    readings_by_category,
    readings_of,
)
from airflow_consent_retl.consent import CategorySignal, ConsentPolicy, ConsentStatus, WholeConsent
from airflow_consent_retl.progress import by_count

Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal, for a person to judge.

    Args:
        column: the column's name.
        use: `consent`, or the role of the column: `time`, `region`, `gpc`, `notice_version`, `switches`, …
        format: the name of the consent format.
        category: the id of the policy's category; empty if none fits, or if the format is of all categories.
        code: Python; with `…` where only a person knows what belongs there.
        confidence: `high`: name and values agree. `medium`: there is a doubt. `low`: it stays out of the draft.
        reading: how many sampled rows have each consent status by it; of a format of all categories, one number for
            each category and status, such as `C0004 granted`.
        shapes: how many sampled values have each shape.
        doubts: what a person has to find out.
        signal: the format itself; None if something is missing.
    """

    column: str
    use: str
    format: str
    category: str
    code: str
    confidence: Confidence
    reading: Mapping[str, int]
    shapes: Mapping[str, int]
    doubts: tuple[str, ...]
    signal: object = field(default=None, compare=False, repr=False)

    @property
    def is_in_draft(self) -> bool:
        """True if the draft may use it."""
        return self.confidence != "low" and "…" not in self.code and bool(self.code)


def known_categories(policy: ConsentPolicy | None) -> Known:
    """Return id and name of the policy's categories; without a policy, the ids that platforms use by default."""
    if policy is None:
        return [(id_, id_) for id_ in PLATFORM_IDS]
    return [(category.id, category.name) for category in policy.categories]


def proposal_of(candidate: Candidate, model: LookedModel) -> Proposal:
    """Return a candidate as a proposal, read by the law itself."""
    column = model.columns[candidate.column]
    shapes = _counted(column.shapes)
    signal, doubts = candidate.signal, list(candidate.doubts)
    code = candidate.code or ("" if signal is None else code_of(signal))
    if candidate.format in _ROLES:
        sure = candidate.is_certain and not doubts
        return Proposal(
            column.name,
            candidate.format,
            candidate.format,
            "",
            code,
            "high" if sure else "medium",
            {},
            shapes,
            tuple(doubts),
            signal,
        )
    reading: dict[str, int] = {}
    category = ""
    if isinstance(signal, WholeConsent):
        read = readings_by_category(signal, model)
        reading = {f"{id_} {status}": rows for id_, found in read.items() for status, rows in _counted(found).items()}
        if not read:
            doubts.append("the sample says nothing about a category of the policy")
    elif isinstance(signal, CategorySignal):
        counted = readings_of(signal, column)
        reading = _counted(counted)
        doubts += _reading_doubts(counted)
    if candidate.about:
        category = category_for(candidate.about, model.known)
        if not category:
            doubts.append("which category is it about? Its name fits none of the policy, or several")
    return Proposal(
        column=column.name,
        use="consent",
        format=candidate.format,
        category=category,
        code=code,
        confidence=_confidence(candidate, category, doubts, reading),
        reading=reading,
        shapes=shapes,
        doubts=tuple(doubts),
        signal=signal,
    )


def category_for(about: Sequence[str], known: Known) -> str:
    """Return the id of the one category that names are about; empty if none or several fit."""
    for name in about:
        folded = folded_name(name)
        exact = [id_ for id_, title in known if folded in {folded_name(id_), folded_name(title)}]
        if len(exact) == 1:
            return exact[0]
        concepts = concepts_of(name)
        alike = [id_ for id_, title in known if concepts & (concepts_of(id_) | concepts_of(title))]
        within = [id_ for id_, title in known if _contains(folded, id_) or _contains(folded, title)]
        found = within if len(within) == 1 else alike
        if len(found) == 1:
            return found[0]
    return ""


def without_twins(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Return the proposals without the less sure ones for a column that has a sure one."""
    sure = {one.column for one in proposals if one.confidence == "high"}
    return [one for one in proposals if one.column not in sure or one.confidence == "high"]


_ROLES = frozenset({"time", "region", "gpc", "notice_version", "switches", "validity"})


def _counted(counted: Mapping[Any, int]) -> dict[str, int]:
    """Return counts, the largest first, in the same order in every run."""
    return dict(by_count({str(name): rows for name, rows in counted.items()}))


def _contains(folded: str, name: str) -> bool:
    wanted = folded_name(name)
    return bool(wanted) and f"_{wanted}_" in f"_{folded}_"


def _reading_doubts(counted: Counter[ConsentStatus]) -> list[str]:
    invalid = counted[ConsentStatus.INVALID]
    return [f"{invalid:,} rows of the sample would be invalid"] if invalid else []


def _confidence(candidate: Candidate, category: str, doubts: Sequence[str], reading: Mapping[str, int]) -> Confidence:
    if candidate.signal is None or not reading:
        return "low"
    if isinstance(candidate.signal, CategorySignal) and not category:
        return "low"
    if not doubts and (candidate.is_certain or says_consent(candidate.column)):
        return "high"
    return "medium"
