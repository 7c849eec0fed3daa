"""What of a workspace has reached the end of its retention: found by age and number, and deleted.

Rows of people end with `snapshots` and `permitted_sets`; the manifest and the decision log of a permitted set are
evidence, and end with it. Nothing of the last day is found: a run may need it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any, Final, TypeVar

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.forget_requests import ForgetRequests
from airflow_consent_retl.storage.manifest import MANIFEST_NAME, sha256_hex
from airflow_consent_retl.storage.records.index import INDEX
from airflow_consent_retl.storage.records.places import RECORDS, REPORTS
from airflow_consent_retl.storage.suppression import FOLDER as SUPPRESSION
from airflow_consent_retl.storage.suppression import REQUESTS

T = TypeVar("T")

IN_FLIGHT: Final = timedelta(days=1)
# In a permitted set whose rows were deleted.
PRUNED_NAME: Final = "pruned.json"


@dataclass(frozen=True, slots=True)
class Limit:
    """The end of a retention.

    Args:
        before: what is older has reached its end.
        number: so many of the newest of each model are kept; None: all.
    """

    before: datetime
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    """Files that have reached their end.

    Args:
        kind: `snapshots`, `permitted_sets`, `evidence`, `reports` or `unfinished`.
        folder: the folder of the files.
        files: their names; empty: the whole folder.
        reason: `age` or `number`, or `killed` for what was never finished.
        made_at: when they were written; None: not known.
    """

    kind: str
    folder: Folder
    files: tuple[str, ...]
    reason: str
    made_at: datetime | None

    def delete(self) -> None:
        """Delete the files. What another process deleted meanwhile is no error."""
        if not self.files:
            self.folder.remove()
            return
        if self.kind == "permitted_sets" and not self.folder.exists(PRUNED_NAME):
            note = {"pruned_at": datetime.now(UTC).isoformat(), "files": list(self.files)}
            self.folder.publish(json.dumps(note, sort_keys=True, indent=2).encode(), name=PRUNED_NAME)
        for name in self.files:
            self.folder.remove_file(name)


@dataclass(frozen=True, slots=True)
class _Set:
    """A folder with a manifest."""

    folder: Folder
    names: frozenset[str]
    model: str
    made_at: datetime
    rows: tuple[str, ...]


def expired_sets(
    root: Folder, limits: Mapping[str, Limit], *, models_in_use: Collection[str], sets_in_use: Collection[str]
) -> Iterator[Expired]:
    """Yield the snapshots and permitted sets of a workspace that have reached their end.

    Args:
        root: of the workspace.
        limits: by kind: `snapshots`, `permitted_sets` and `evidence`.
        models_in_use: the models of syncs that a task has now.
        sets_in_use: the digests of the manifests of permitted sets whose delivery is in progress.
    """
    newest_allowed = datetime.now(UTC) - IN_FLIGHT
    for kind, place in (("snapshots", "snapshots"), ("permitted_sets", "permitted")):
        by_model: dict[str, list[_Set]] = defaultdict(list)
        for folder, names in _folders(root / place):
            found = _read(folder, names, sets_in_use) if MANIFEST_NAME in names else None
            if found is not None:
                by_model[found.model].append(found)
            elif MANIFEST_NAME not in names:
                written = max(_modified(folder, name) for name in names)
                # One that is being written has a marker, and is young.
                if written < newest_allowed - IN_FLIGHT:
                    yield Expired("unfinished", folder, (), "killed", written)
        for model, sets in by_model.items():
            if model not in models_in_use:
                yield from _of_model(kind, sets, limits)


def beyond(limit: Limit, found: Iterable[tuple[T, str, datetime]]) -> list[tuple[T, str]]:
    """Return what is beyond a limit, each with the reason, `age` or `number`. Nothing of the last day is.

    Args:
        limit: its number counts within each group.
        found: each with its group and the time at which it was written.
    """
    newest_allowed, places = datetime.now(UTC) - IN_FLIGHT, Counter[str]()
    ended: list[tuple[T, str]] = []
    for one, group, made_at in sorted(found, key=lambda item: item[2], reverse=True):
        is_beyond = limit.number is not None and places[group] >= limit.number
        places[group] += 1
        if made_at < newest_allowed and (made_at < limit.before or is_beyond):
            ended.append((one, "age" if made_at < limit.before else "number"))
    return ended


def tables_of_sets(root: Folder, sets_in_use: Collection[str], *, models_in_use: Collection[str]) -> set[str]:
    """Return the names of the staging tables that sets in use need.

    Args:
        root: of the workspace.
        sets_in_use: the digests of the manifests of permitted sets whose delivery is in progress.
        models_in_use: the models of syncs that a task has now: the tables of all of their sets stay.
    """
    names: set[str] = set()
    for place in ("snapshots", "permitted"):
        for folder, files in _folders(root / place):
            if MANIFEST_NAME in files:
                content = folder.read(MANIFEST_NAME)
                document = _parsed(content)
                if sha256_hex(content) in sets_in_use or document.get("model") in models_in_use:
                    names.update(_tables_in(document))
    return names


def expired_records(root: Folder, limit: Limit) -> Iterator[Expired]:
    """Yield the records of a workspace that have reached their end, each document with its files.

    The newest decisions of a stream stay: the next filter compares with them. Files that no document names were left
    by a killed run. A segment of an index ends with the first of its documents, just before it.
    """
    now = datetime.now(UTC)
    ended: list[Expired] = []
    indexes: list[tuple[Folder, frozenset[str]]] = []
    for folder, names in _folders(root / RECORDS):
        if folder.path.endswith(f"/{INDEX}"):
            indexes.append((folder, names))
        else:
            ended += _expired_documents(folder, names, limit, now)
    gone = {f"{one.folder.path}/{name}" for one in ended for name in one.files}
    for folder, names in indexes:
        yield from _expired_segments(folder, names, gone, now - 2 * IN_FLIGHT)
    yield from ended


def expired_reports(root: Folder, limit: Limit) -> Iterator[Expired]:
    """Yield the reports of a workspace that have reached their end."""
    before = min(limit.before, datetime.now(UTC) - IN_FLIGHT)
    for folder, names in _folders(root / REPORTS):
        for name in sorted(names):
            if (written := _modified(folder, name)) < before:
                yield Expired("reports", folder, (name,), "age", written)


def expired_requests(root: Folder, limit: Limit) -> Iterator[Expired]:
    """Yield the finished requests to forget people that have reached their end. The suppression list itself stays."""
    requests = ForgetRequests(root / SUPPRESSION / REQUESTS)
    for folder, last in requests.ended(before=min(limit.before, datetime.now(UTC) - IN_FLIGHT)):
        yield Expired("evidence", folder, (), "age", last)


def _expired_segments(
    folder: Folder, names: frozenset[str], gone: Collection[str], abandoned: datetime
) -> Iterator[Expired]:
    stream, named = folder.path.rpartition("/")[0], set[str]()
    for name in sorted(name for name in names if name.endswith(".json")):
        document = _document(folder, name)
        own = [one for one in _names_in(document) if one in names]
        named.update([name, *own])
        if any(f"{stream}/{one.get('document')}" in gone for one in document.get("documents", ())):
            yield Expired("evidence", folder, (name, *own), "age", _time(document, "recorded_at"))
    for name in sorted(names - named):
        if (written := _modified(folder, name)) < abandoned:
            yield Expired("unfinished", folder, (name,), "killed", written)


def _expired_documents(folder: Folder, names: frozenset[str], limit: Limit, now: datetime) -> Iterator[Expired]:
    named: set[str] = set()
    documents = sorted((name for name in names if name.endswith(".json")), reverse=True)
    for newer, name in enumerate(documents):
        document = _document(folder, name)
        own = [one for one in _names_in(document) if one in names]
        named.update(own)
        at = _time(document, "recorded_at")
        is_newest = newer == 0 and document.get("kind") == "decision_records"
        is_beyond = limit.number is not None and newer >= limit.number
        if at is not None and at < now - IN_FLIGHT and (at < limit.before or is_beyond) and not is_newest:
            # The document first: its files are never missed.
            yield Expired("evidence", folder, (name, *own), "age" if at < limit.before else "number", at)
    for name in sorted(names - named - set(documents)):
        written = _modified(folder, name)
        if written < now - 2 * IN_FLIGHT and all(_time(_document(folder, one), "recorded_at") for one in documents):
            yield Expired("unfinished", folder, (name,), "killed", written)


def _of_model(kind: str, sets: list[_Set], limits: Mapping[str, Limit]) -> Iterator[Expired]:
    dated = [(one, "", one.made_at) for one in sets]
    evidence = {one.folder.path: reason for one, reason in beyond(limits["evidence"], dated)}
    for one, reason in beyond(limits[kind], dated):
        if kind == "snapshots":
            yield Expired(kind, one.folder, (), reason, one.made_at)
        elif one.folder.path in evidence:
            yield Expired("evidence", one.folder, (), evidence[one.folder.path], one.made_at)
        elif rows := tuple(name for name in one.rows if name in one.names):
            yield Expired(kind, one.folder, rows, reason, one.made_at)


def _read(folder: Folder, names: frozenset[str], sets_in_use: Collection[str]) -> _Set | None:
    content = folder.read(MANIFEST_NAME)
    if sha256_hex(content) in sets_in_use:
        return None
    document = _parsed(content)
    made_at = _time(document, "decided_at") or _time(document, "read_at")
    if made_at is None:
        # A later release may have written it.
        return None
    rows = tuple(name for group in document.get("groups", ()) for name in _names_in(group))
    return _Set(folder, names, str(document.get("model")), made_at, rows)


def _document(folder: Folder, name: str) -> dict[str, Any]:
    try:
        return _parsed(folder.read(name))
    except RefusedError:
        # Another process deleted it meanwhile.
        return {}


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _time(document: Mapping[str, Any], field: str) -> datetime | None:
    try:
        return datetime.fromisoformat(document[field])
    except (ValueError, TypeError, KeyError):
        return None


def _names_in(described: Any) -> Iterator[str]:
    """Yield the names of the files that a document describes, wherever in it."""
    if isinstance(described, dict):
        if "sha256" in described and "size_bytes" in described:
            yield str(described.get("name", described.get("file")))
        described = list(described.values())
    if isinstance(described, list):
        for one in described:
            yield from _names_in(one)


def _tables_in(described: Any) -> Iterator[str]:
    """Yield the names of the tables that a document describes, wherever in it."""
    if isinstance(described, dict):
        if "namespace" in described and "name" in described:
            yield str(described["name"])
        described = list(described.values())
    if isinstance(described, list):
        for one in described:
            yield from _tables_in(one)


def _folders(root: Folder) -> Iterator[tuple[Folder, frozenset[str]]]:
    """Yield the folders with files, at any depth, each with the names of its files."""
    root.fs.invalidate_cache()
    files: dict[str, set[str]] = defaultdict(set)
    for path in root.fs.find(root.path) if root.fs.exists(root.path) else ():
        place, _, name = str(path).removeprefix(f"{root.path}/").rpartition("/")
        files[place].add(name)
    for place, names in sorted(files.items()):
        yield reduce(Folder.__truediv__, filter(None, place.split("/")), root), frozenset(names)


def _modified(folder: Folder, name: str) -> datetime:
    try:
        found: datetime = folder.fs.modified(folder.file_path(name))
    except FileNotFoundError:
        return datetime.now(UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
