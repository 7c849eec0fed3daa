"""The state of a deployment on this machine: what every run needs besides its DAG. Nothing that is written stays."""

from __future__ import annotations

import platform
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Literal

from airflow_consent_retl.checking.writing import try_workspace
from airflow_consent_retl.errors import ConsentRetlError

_PACKAGE = "airflow-consent-retl"
_PROVIDER = re.compile(r"apache-airflow-providers-.+|airflow-provider-.+|apache-airflow")
_CLOCK_S = 5


@dataclass(frozen=True, slots=True)
class Examined:
    """One thing that was looked at: its state, what was found, and what to do about a problem."""

    what: str
    state: Literal["ok", "problem"]
    found: str
    remedy: str = ""


def examine(*, workspace: str | None = None, ledger_conn_id: str | None = None) -> list[Examined]:
    """Look at versions, Airflow's database, the workspace, the ledger, the clock, the digest key and the policy.

    Args:
        workspace, ledger_conn_id: as for the loads.
    """
    looks: tuple[tuple[str, Callable[[], Iterator[Examined]]], ...] = (
        ("versions", _versions),
        ("airflow database", _airflow_database),
        ("workspace", lambda: _workspace(workspace)),
        ("ledger", lambda: _ledger(workspace, ledger_conn_id)),
        ("clock", lambda: _clock(ledger_conn_id)),
        ("digest key", lambda: _digest_key(workspace)),
        ("policy", _policy),
    )
    return [one for what, look in looks for one in _looked(what, look)]


def _looked(what: str, look: Callable[[], Iterator[Examined]]) -> Iterator[Examined]:
    from airflow_consent_retl.hooks.outside_of_tasks import missing_in_words

    try:
        with missing_in_words():
            yield from look()
    except ConsentRetlError as error:
        # Its message has the remedy.
        yield Examined(what, "problem", str(error))
    except OSError as error:
        yield Examined(what, "problem", f"{error.filename or what}: {error.strerror}", "give this user the right to it")


def _versions() -> Iterator[Examined]:
    from packaging.requirements import Requirement

    yield Examined(_PACKAGE, "ok", metadata.version(_PACKAGE))
    yield Examined("python", "ok", platform.python_version())
    needs = map(Requirement, metadata.requires(_PACKAGE) or ())
    for name, need in sorted({need.name: need for need in needs if _PROVIDER.fullmatch(need.name)}.items()):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            # It belongs to an extra that is not installed.
            if need.marker is None:
                yield Examined(name, "problem", "not installed", f"`pip install '{name}{need.specifier}'`")
            continue
        fits = need.specifier.contains(version, prereleases=True)
        remedy = "" if fits else f"`pip install '{name}{need.specifier}'`"
        yield Examined(name, "ok" if fits else "problem", version, remedy)


def _airflow_database() -> Iterator[Examined]:
    from airflow_consent_retl.hooks.outside_of_tasks import database_obstacle

    obstacle = database_obstacle()
    found = "read for Variables and connections" if obstacle is None else f"not read, as on a worker: {obstacle}"
    yield Examined("airflow database", "ok", found)


def _workspace(workspace: str | None) -> Iterator[Examined]:
    from airflow_consent_retl.storage.location import open_folder, workspace_root

    uri, root = try_workspace(workspace), open_folder(workspace_root(workspace))
    if root.is_local and not Path(root.path).exists():
        yield Examined("workspace", "ok", f"{uri} is not there yet: the first run makes it")
        return
    yield Examined("workspace", "ok", f"{uri}, writable")
    if root.is_local:
        yield _private("workspace rights", Path(root.path), stat.S_IRWXO, "chmod o-rwx")


def _private(what: str, path: Path, foreign: int, command: str) -> Examined:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & foreign:
        return Examined(what, "problem", f"others may read {path} ({mode:o})", f"`{command} {path}`")
    return Examined(what, "ok", f"{mode:o}")


def _ledger(workspace: str | None, ledger_conn_id: str | None) -> Iterator[Examined]:
    from airflow_consent_retl.delivery.ledger.schema import SCHEMA_VERSION
    from airflow_consent_retl.delivery.pairing import WorkspaceIdentity
    from airflow_consent_retl.hooks.ledgers import ledger_copy
    from airflow_consent_retl.storage.location import open_folder, workspace_root

    is_new = WorkspaceIdentity.read(open_folder(workspace_root(workspace))) is None
    with ledger_copy(workspace, ledger_conn_id) as ledger, ledger.identity() as known:
        overview = ledger.syncs()
        found = f"{known.id}, belongs to the workspace, {len(overview):,} syncs, schema version {SCHEMA_VERSION}"
    yield Examined("ledger", "ok", "the first run joins it with the workspace" if is_new else found)
    now = datetime.now(UTC)
    ahead = [str(one.sync) for one in overview if max(one.decided_at or now, one.served_at or now) > now]
    if ahead:
        found = f"times in the future: {', '.join(ahead)}"
        yield Examined("ledger times", "problem", found, "set the clock right, then: `consent-retl reset-times`")


def _clock(ledger_conn_id: str | None) -> Iterator[Examined]:
    from airflow_consent_retl.hooks.ledgers import seconds_ahead

    ahead_s = seconds_ahead(ledger_conn_id)
    if ahead_s is None:
        yield Examined("clock", "ok", "the ledger is a file: it has the clock of this machine")
    elif abs(ahead_s) < _CLOCK_S:
        yield Examined("clock", "ok", f"{abs(ahead_s):.1f} s from the ledger's")
    else:
        found = f"this machine is {abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the ledger"
        yield Examined("clock", "problem", found, "set both clocks by NTP")


def _digest_key(workspace: str | None) -> Iterator[Examined]:
    from airflow_consent_retl.storage.location import secret_file, subject_key

    file = secret_file(workspace)
    if file is None:
        yield Examined("digest key", "ok", f"`[consent_retl] digest_key`, id {subject_key(workspace).key_id}")
    elif not file.exists():
        yield Examined("digest key", "ok", "none yet: the first run makes one in the workspace")
    else:
        yield Examined("digest key", "ok", f"the workspace's own, id {subject_key(workspace).key_id}")
        yield _private("digest key rights", file, stat.S_IRWXG | stat.S_IRWXO, "chmod 600")


def _policy() -> Iterator[Examined]:
    from airflow_consent_retl.hooks.central_policy import central_policy
    from airflow_consent_retl.hooks.policies import read_policy

    place = central_policy()
    if place is None:
        yield Examined("policy", "ok", "none for the deployment: each DAG names its own")
        return
    policy = read_policy(place).policy
    yield Examined("policy", "ok", f"{place}, {len(policy.categories)} categories, {policy.digest}")
