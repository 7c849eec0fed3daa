"""The recognisers of texts with structure: cookies, lists of ids, JSON documents, strings of the IAB, switches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from airflow_consent_retl.checking.discovery.consent_words import (
    folded_name,
    literal,
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
from airflow_consent_retl.checking.discovery.scalar_recognisers import lists_of_words
from airflow_consent_retl.checking.discovery.vendor_recognisers import objects_in
from airflow_consent_retl.consent import (
    ColumnKind,
    ConsentObject,
    ConsentStatus,
    ExcludedDestinations,
    FilledList,
    GppTcf,
    GppTcfCanada,
    GppUs,
    GrantedIds,
    IntegrationsObject,
    JsonMap,
    OptanonConsent,
    OptOut,
    TcfString,
    TwoLists,
    WholeConsent,
)
from airflow_consent_retl.consent.formats.gpp_sections import SECTIONS
from airflow_consent_retl.consent.opposite import says_opposite
from airflow_consent_retl.consent.strict_json import JsonObject
from airflow_consent_retl.migration.dag_text import text_of

if TYPE_CHECKING:
    from airflow_consent_retl.checking.discovery.column_shapes import LookedAt

_SEPARATORS = (",", ";", "|", " ")
_PURPOSES = "which purposes, and which vendor? That is a question of law: see docs/formats.md"
_ALL = "All"


def onetrust_cookies(model: LookedModel) -> Iterator[Candidate]:
    """Find OneTrust's cookie."""
    for column in model:
        if column.filled and column.share("consent cookie") >= 0.5:
            signal = OptanonConsent(column.name)
            read = readings_by_category(signal, model)
            doubts = () if read else ("no row lists a group with the id of a category: do the policy's ids match?",)
            yield Candidate(column.name, "OptanonConsent", signal, (), is_certain=bool(read), doubts=doubts)


def two_lists(model: LookedModel) -> Iterator[Candidate]:
    """Find two lists, of allowed and of denied ids, such as those of RudderStack."""
    for column in model:
        name = folded_name(column.name)
        other = next((one for one in model if folded_name(one.name) == name.replace("allowed", "denied", 1)), column)
        if "allowed" in name and other is not column and column.filled and other.filled:
            separators = [None] if column.shapes["JSON array"] else [one for one in _SEPARATORS if _has(column, one)]
            for separator in separators[:1]:
                signal = TwoLists(column.name, other.name, separator=separator)
                yield Candidate(column.name, "TwoLists", signal, is_certain=True)


def objection_lists(model: LookedModel) -> Iterator[Candidate]:
    """Find lists in which any entry is an objection, such as Klaviyo's suppressions."""
    for column in model:
        if says_opposite(column.name) and column.share("JSON array") == 1 and not _names_category(column, model):
            doubt = "any entry counts as an objection, and an empty list as unknown"
            signal = OptOut(FilledList(column.name))
            yield Candidate(column.name, "FilledList", signal, (column.name,), is_certain=True, doubts=(doubt,))


def lists_of_ids(model: LookedModel) -> Iterator[Candidate]:
    """Find lists of the categories that a person consented to: JSON arrays, and text with separators."""
    for column in model:
        if column.is_personal or column.column.kind not in (ColumnKind.TEXT, ColumnKind.JSON):
            continue
        # A single id is no list yet.
        separators = [None] if column.shapes["JSON array"] else [one for one in _SEPARATORS if _has(column, one)]
        for separator in separators:
            signal = GrantedIds(column.name, separator)
            read = {
                id_: found for id_, found in readings_by_category(signal, model).items() if found[ConsentStatus.GRANTED]
            }
            if not read or _is_mostly_invalid(read):
                continue
            doubts = ["an id that is not in the list counts as a no: was each person asked about it?"]
            if "den" in column.name.casefold():
                doubts.append("its name says that the list contains what a person refused")
                yield Candidate(column.name, "GrantedIds", None, (), code_of(signal), doubts=tuple(doubts))
            else:
                yield Candidate(column.name, "GrantedIds", signal, doubts=tuple(doubts))
            break


def consent_objects(model: LookedModel) -> Iterator[Candidate]:
    """Find JSON objects with one boolean for each category."""
    for column in model:
        objects = [(found, rows) for found, rows in column.documents if isinstance(found, JsonObject)]
        if not objects:
            continue
        paths: Counter[tuple[str, ...]] = Counter()
        for found, rows in objects:
            for path in {path for path, at in objects_in(found) if _answers(at, model.known)}:
                paths[path] += rows
        for path, _ in paths.most_common(1):
            yield _consent_object(column, path, objects, model.known)


def iab_strings(model: LookedModel) -> Iterator[Candidate]:
    """Find the strings of the IAB, which need a person who says what they are asked for."""
    for column in model:
        if column.share("TC string") >= 0.5:
            decoded = _decoded(TcfString(column.name, purposes=(1,), vendor=1, disclosed="if_present"), column)
            code = f"TcfString({text_of(column.name)}, purposes=(…), vendor=…)"
            yield Candidate(column.name, "TcfString", None, (), code, is_certain=True, doubts=(_PURPOSES, decoded))
        elif column.share("GPP string") >= 0.5:
            yield from _gpp(column)
        elif column.share("US Privacy string") >= 0.5:
            doubt = "no format reads US Privacy strings by themselves: split them in the model's SQL; Y is an opt-out"
            yield Candidate(column.name, "US Privacy string", is_certain=True, doubts=(doubt,))


def row_switches(model: LookedModel) -> Iterator[Candidate]:
    """Find Segment's integrations object, and arrays of excluded destinations."""
    for column in model:
        name = folded_name(column.name)
        objects = [found for found, _ in column.documents if isinstance(found, JsonObject)]
        if any(isinstance(found.get(_ALL), bool) for found in objects) and name.endswith("integrations"):
            doubt = "the object names destinations as Segment does: give their names here in `names`"
            yield Candidate(column.name, "switches", IntegrationsObject(column.name), is_certain=True, doubts=(doubt,))
        elif "exclu" in name and "destination" in name and column.shapes["JSON array"]:
            yield Candidate(column.name, "switches", ExcludedDestinations(column.name), is_certain=True)


def lists_of_objects(model: LookedModel) -> Iterator[Candidate]:
    """Find JSON arrays of objects, one for each category, which no other recogniser knows."""
    for column in model:
        lists = [found for found, _ in column.documents if isinstance(found, list)]
        entries = [entry for found in lists for entry in found if isinstance(entry, JsonObject)]
        if entries and says_consent(column.name):
            doubt = "which key contains the category, and which the answer?"
            code = f"JsonList({text_of(column.name)}, id=…, state=…)"
            yield Candidate(column.name, "JsonList", None, (), code, doubts=(doubt,))


def literal_objects(model: LookedModel) -> Iterator[Candidate]:
    """Find JSON objects with a word for each category."""
    for column in model:
        objects = [(found, rows) for found, rows in column.documents if isinstance(found, JsonObject)]
        paths = Counter(path for found, _ in objects for path, at in objects_in(found) if _words(at, model.known))
        for path, _ in paths.most_common(1):
            words = {
                word
                for found, _ in objects
                for at_path, at in objects_in(found)
                if at_path == path
                for word in at.values()
            }
            lists, doubts = lists_of_words([word for word in words if isinstance(word, str)])
            if "granted" in lists:
                yield Candidate(column.name, "JsonMap", JsonMap(column.name, path=path, **lists), doubts=tuple(doubts))


def _consent_object(
    column: LookedAt, path: tuple[str, ...], objects: Sequence[tuple[object, int]], known: Known
) -> Candidate:
    """Return the candidate for the object at a path, whose keys are the ids or the names of categories."""
    doubts = []
    by_id, by_name = (_named_keys(objects, path, known, place) for place in (0, 1))
    key_by = "name" if by_name > by_id else "id"
    if path == ("categoryPreferences",):
        signal = ConsentObject(column.name, key_by=key_by)  # type: ignore[arg-type]  # one of the two
    else:
        signal = ConsentObject(column.name, path=path, key_by=key_by)  # type: ignore[arg-type]
    others = sum(rows for shape, rows in column.shapes.items() if shape != "JSON object")
    if others:
        doubts.append(f"{others:,} values of the sample are no JSON objects: they would be invalid")
    return Candidate(column.name, "ConsentObject", signal, doubts=tuple(doubts), is_certain=not others)


def _named_keys(objects: Sequence[tuple[object, int]], path: tuple[str, ...], known: Known, place: int) -> int:
    names = {pair[place] for pair in known}
    return sum(
        rows * len(names.intersection(at))
        for found, rows in objects
        for at_path, at in objects_in(found)
        if at_path == path
    )


def _answers(found: JsonObject, known: Known) -> bool:
    names = {name for pair in known for name in pair}
    return any(isinstance(value, bool) and key in names for key, value in found.items())


def _words(found: JsonObject, known: Known) -> bool:
    names = {id_ for id_, _ in known}
    return any(isinstance(value, str) and literal(value) and key in names for key, value in found.items())


def _names_category(column: LookedAt, model: LookedModel) -> bool:
    ids = {id_ for id_, _ in model.known}
    return any(
        entry in ids
        for found, _ in column.documents
        if isinstance(found, list)
        for entry in found
        if isinstance(entry, str)
    )


def _has(column: LookedAt, separator: str) -> bool:
    return any(isinstance(value, str) and separator in value for value in column.column.values or ())


def _is_mostly_invalid(read: dict[str, Counter[ConsentStatus]]) -> bool:
    total: Counter[ConsentStatus] = sum(read.values(), Counter())
    return total[ConsentStatus.INVALID] * 2 > total.total()


def _gpp(column: LookedAt) -> Iterator[Candidate]:
    for name, section in SECTIONS.items():
        questions = [field for field, _ in section.layouts[0].fields if field.endswith("OptOut")]
        found = readings_of(GppUs(column.name, section=name, opt_outs=questions[:1]), column)
        if found[ConsentStatus.GRANTED] or found[ConsentStatus.DENIED]:
            doubt = f"which opt-outs does a category stand for? The section has {', '.join(questions)}"
            code = f"GppUs({text_of(column.name)}, section={text_of(name)}, opt_outs=(…))"
            yield Candidate(column.name, "GppUs", None, (), code, is_certain=True, doubts=(doubt,))
    canada = readings_of(GppTcfCanada(column.name, purposes=(2,), vendor=1), column)
    if canada[ConsentStatus.GRANTED] or canada[ConsentStatus.DENIED]:
        code = f"GppTcfCanada({text_of(column.name)}, purposes=(…), vendor=…)"
        yield Candidate(column.name, "GppTcfCanada", None, (), code, is_certain=True, doubts=(_PURPOSES,))
    tcf = readings_of(GppTcf(column.name, purposes=(1,), vendor=1, disclosed="if_present"), column)
    if tcf[ConsentStatus.GRANTED] or tcf[ConsentStatus.DENIED]:
        code = f"GppTcf({text_of(column.name)}, purposes=(…), vendor=…)"
        yield Candidate(column.name, "GppTcf", None, (), code, is_certain=True, doubts=(_PURPOSES,))


def _decoded(signal: TcfString, column: LookedAt) -> str:
    found = readings_of(signal, column)
    read = found.total() - found[ConsentStatus.INVALID] - found[ConsentStatus.UNKNOWN]
    return f"{read:,} of {column.filled:,} strings of the sample decode"


def _code(signal: WholeConsent) -> str:
    return f"{type(signal).__name__}({signal.column!r})"
