"""What a source of consent says of a subject, told once more: plain loops over rows, and nothing of the package's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

Row = Mapping[str, Any]
# The values that count, None where there is a doubt; the doubt; the time of what counts.
Said = tuple[tuple[Any, ...] | None, int, datetime | None]


def states(rows: Sequence[Row], values: Sequence[str]) -> dict[Any, Said]:
    """Return what a table of states says of each subject."""
    answers: dict[Any, set[tuple[Any, ...]]] = defaultdict(set)
    for row in rows:
        if row["subject"] is not None:
            answers[row["subject"]].add(tuple(row[name] for name in values))
    return {who: (said.pop(), 0, None) if len(said) == 1 else (None, 1, None) for who, said in answers.items()}


def events(rows: Sequence[Row], values: Sequence[str], *, now: datetime) -> dict[Any, Said]:
    """Return what a history says of each subject."""
    by_subject: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        if row["subject"] is not None:
            by_subject[row["subject"]].append(row)
    return {who: _checked(_latest(some, values), now) for who, some in by_subject.items()}


def events_of_profiles(rows: Sequence[Row], values: Sequence[str], *, now: datetime) -> dict[Any, Said]:
    """Return what a history under several profiles says of each subject."""
    by_profile: dict[Any, dict[Any, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["subject"] is not None:
            profile = None if row["profile"] in (None, row["subject"]) else row["profile"]
            by_profile[row["subject"]][profile].append(row)
    found = {}
    for who, profiles in by_profile.items():
        said = {profile: _latest(some, values) for profile, some in profiles.items()}
        own = said.get(None)
        others = [time for profile, (_, _, time) in said.items() if profile is not None]
        if own is not None and own[2] is not None and all(time is not None and own[2] > time for time in others):
            undated = {tuple(row[name] for name in values) for row in chain(*profiles.values()) if row["time"] is None}
            found[who] = _checked((None, 1, own[2]) if undated - {own[0]} else own, now)
            continue
        newest = max((time for _, _, time in said.values() if time is not None), default=None)
        # In doubt, an answer is told as None: what is compared is the answer behind it.
        answers = {_answer(some, values) for some in profiles.values()}
        if len(answers) > 1:
            found[who] = None, 1, newest
        else:
            doubt = max(doubt for _, doubt, _ in said.values())
            found[who] = _checked((None if doubt else answers.pop(), doubt, newest), now)
    return found


def _latest(rows: Sequence[Row], values: Sequence[str]) -> Said:
    times = [row["time"] for row in rows if row["time"] is not None]
    newest = max(times, default=None)
    counting = {tuple(row[name] for name in values) for row in rows if row["time"] == newest}
    undated = {tuple(row[name] for name in values) for row in rows if row["time"] is None}
    if len(counting) > 1 or undated - counting:
        return None, 1, newest
    return counting.pop(), 0, newest


def _answer(rows: Sequence[Row], values: Sequence[str]) -> tuple[Any, ...]:
    """Return a profile's answer, the first in the order of texts where several are of the same time."""
    newest = max((row["time"] for row in rows if row["time"] is not None), default=None)
    return min((tuple(row[name] for name in values) for row in rows if row["time"] == newest), key=_text)


def _text(answer: tuple[Any, ...]) -> str:
    texts = [
        None if value is None else str(value).lower() if isinstance(value, bool) else str(value) for value in answer
    ]
    return "".join("-" if text is None else f"+{len(text)}:{text}" for text in texts)


def _checked(said: Said, now: datetime) -> Said:
    _, doubt, time = said
    if doubt == 0 and time is not None and time > now:
        return None, 2, time
    return said
