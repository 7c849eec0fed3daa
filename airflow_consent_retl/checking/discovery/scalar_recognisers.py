"""The recognisers of plain columns: booleans, literals, Google's states, bits, and columns of objections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.checking.discovery.consent_words import (
    DECEPTIVE,
    LITERALS,
    Meaning,
    concepts_of,
    folded_name,
    literal,
    says_consent,
)
from airflow_consent_retl.checking.discovery.recognition import Candidate, LookedModel
from airflow_consent_retl.consent import (
    BooleanColumn,
    CategorySignal,
    ColumnKind,
    ConsentStatus,
    GoogleConsent,
    Literals,
    OptOut,
)
from airflow_consent_retl.consent.opposite import says_opposite
from airflow_consent_retl.migration.dag_text import text_of

if TYPE_CHECKING:
    from airflow_consent_retl.checking.discovery.column_shapes import LookedAt

_SEGMENT = ("context_consent_category_preferences_", "consent_category_preferences_")
_GOOGLE = ("ad_user_data", "ad_personalization", "ad_storage", "ads_storage", "analytics_storage")
_GPC = frozenset(
    {"gpc", "sec_gpc", "global_privacy_control", "gpc_enabled", "is_gpc_enabled", "browser_gpc", "has_gpc"}
)
# Words that say by themselves what they are about, also in a column whose name says the opposite.
_SELF_DESCRIBING = ("opt", "subscri", "consent", "grant", "den", "withdraw", "revok", "allow", "object", "suppress")
_BELONGS = "`{}` has no consent word in its name: is it an answer of the person?"
_TURNED = "FALSE is often the default of people who were never asked: it counts as unknown"


def segment_columns(model: LookedModel) -> Iterator[Candidate]:
    """Find the columns into which Segment's warehouses flatten the consent object."""
    for column in model:
        name = folded_name(column.name)
        prefix = next((one for one in _SEGMENT if name.startswith(one)), None)
        if prefix is not None and column.column.kind in (ColumnKind.BOOLEAN, ColumnKind.EMPTY, ColumnKind.INTEGER):
            signal = _plain(column)
            if signal is not None:
                about = (name.removeprefix(prefix),)
                yield Candidate(column.name, _format_of(signal), signal, about, is_certain=True)


def google_states(model: LookedModel) -> Iterator[Candidate]:
    """Find Google's consent states, and the privacy fields of its analytics export."""
    for column in model:
        name = folded_name(column.name)
        subject = next((one for one in _GOOGLE if name.endswith(one)), None)
        if subject is None or column.column.kind is not ColumnKind.TEXT or not column.filled:
            continue
        signal = GoogleConsent(column.name)
        values = {value for value in column.column.values or () if value is not None}
        if all(signal.status(signal.token(value)) is not ConsentStatus.INVALID for value in values):
            yield Candidate(column.name, "GoogleConsent", signal, (subject,), is_certain=True)


def plain_columns(model: LookedModel) -> Iterator[Candidate]:
    """Find booleans, and text and integers whose values are all known words."""
    for column in model:
        name = folded_name(column.name)
        if name in _GPC or column.is_personal:
            continue
        is_named = says_consent(column.name)
        if not is_named and not concepts_of(column.name):
            continue
        kind = column.column.kind
        if kind is ColumnKind.BOOLEAN or (kind is ColumnKind.EMPTY and is_named):
            yield _boolean(column, is_named=is_named)
        elif kind in (ColumnKind.TEXT, ColumnKind.INTEGER) and column.words and not column.shapes["small number"]:
            yield from _of_words(column, is_named=is_named)


def bit_masks(model: LookedModel) -> Iterator[Candidate]:
    """Find integers that may be sets of bits."""
    for column in model:
        numbers = {value for value in column.column.values or () if isinstance(value, int)}
        is_small = column.share("known word", "small number") == 1
        if column.column.kind is ColumnKind.INTEGER and is_small and numbers - {0, 1} and says_consent(column.name):
            doubt = "which bit stands for which category? The numbers do not say it"
            code = f"BitMask({text_of(column.name)}, bit=…)"
            yield Candidate(column.name, "BitMask", None, (), code, doubts=(doubt,))


def privacy_signals(model: LookedModel) -> Iterator[Candidate]:
    """Find columns of Global Privacy Control."""
    for column in model:
        if folded_name(column.name) not in _GPC or not column.filled:
            continue
        if column.column.kind is ColumnKind.BOOLEAN:
            yield Candidate(column.name, "gpc", BooleanColumn(column.name), is_certain=True)
        elif column.has_only_words:
            signal, _ = _literals(column)
            if signal is not None:
                doubt = "a yes here has to mean that the person sends the signal"
                yield Candidate(column.name, "gpc", signal, is_certain=True, doubts=(doubt,))


def _boolean(column: LookedAt, *, is_named: bool) -> Candidate:
    doubts = [] if is_named else [_BELONGS.format(column.name)]
    signal: CategorySignal = BooleanColumn(column.name)
    if says_opposite(column.name):
        signal, doubts = OptOut(column.name), [_TURNED]
    values = {value for value in column.column.values or () if value is not None}
    if column.filled and len(values) == 1:
        doubts.append(f"every value of the sample is {str(values.pop()).upper()}: a constant is no answer")
    if not column.filled:
        doubts.append("the sample contains only NULL")
    return Candidate(column.name, _format_of(signal), signal, (column.name,), doubts=tuple(doubts))


def _of_words(column: LookedAt, *, is_named: bool) -> Iterator[Candidate]:
    doubts = [] if is_named else [_BELONGS.format(column.name)]
    signal, more = _literals(column)
    other = column.filled - column.words.total()
    if other:
        more.append(f"{other:,} values of the sample are no known consent words: they would be invalid")
    if says_opposite(column.name):
        plain = [word for word in column.words if _is_plain(word)]
        if len(plain) == len(column.words) and signal is not None:
            yield Candidate(column.name, "OptOut", OptOut(signal), (column.name,), doubts=(*doubts, *more, _TURNED))
            return
        doubt = (
            "its name says the opposite of consent and its values say themselves what they mean: give it a neutral "
            "name in the model's SQL, then map it with Literals(...)"
        )
        yield Candidate(column.name, "Literals", None, (column.name,), doubts=(*doubts, *more, doubt))
        return
    if signal is None:
        more.append("no value of the sample is a known yes")
    yield Candidate(column.name, "Literals", signal, (column.name,), doubts=(*doubts, *more))


def lists_of_words(words: Iterable[str | int]) -> tuple[dict[str, Any], list[str]]:
    """Return words by their meaning, as `Literals` takes them, and the doubts about them. Other words are left out."""
    lists: dict[str, list[str | int]] = {}
    doubts = []
    for word in sorted(words, key=str):
        folded = literal(word)
        if folded is not None:
            lists.setdefault(LITERALS[folded], []).append(word)
            doubts += [DECEPTIVE[folded]] if folded in DECEPTIVE else []
    return {name: tuple(lists[name]) for name in Meaning if name in lists}, doubts


def _literals(column: LookedAt) -> tuple[Literals | None, list[str]]:
    """Return the format that reads a column's words, None if none of them is a yes; and the doubts about them."""
    lists, doubts = lists_of_words(column.words)
    if column.column.kind is ColumnKind.INTEGER and set(column.words) <= {0, 1}:
        doubts.append("1 has to mean yes, and 0 no")
    if Meaning.YES not in lists:
        return None, doubts
    if Meaning.NO not in lists:
        doubts.append("the sample contains no denial: how is one written?")
    return Literals(column.name, **lists), doubts


def _is_plain(word: str | int) -> bool:
    folded = literal(word) or ""
    return not any(part in folded for part in _SELF_DESCRIBING)


def _plain(column: LookedAt) -> CategorySignal | None:
    if column.column.kind is ColumnKind.INTEGER:
        return _literals(column)[0]
    return BooleanColumn(column.name)


def _format_of(signal: CategorySignal) -> str:
    return type(signal).__name__
