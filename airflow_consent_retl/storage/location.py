"""Locations in the workspace: the folders of a task's try, of a task and of a sync, and the secrets of the deployment.

The only module of this package that knows Airflow: the rest works on fsspec.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import secrets
import stat
import uuid
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from airflow.sdk import ObjectStoragePath
from fsspec.implementations.local import LocalFileSystem

from airflow_consent_retl.compat import conf, storage_conn_id
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.masking import mask_storage
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.last_snapshot import LastSnapshot
from airflow_consent_retl.storage.local_path import local_path, local_uri
from airflow_consent_retl.storage.manifest import MANIFEST_NAME
from airflow_consent_retl.storage.mapped_sets import MAPPED
from airflow_consent_retl.storage.records.places import DECISIONS, RECORDS, REPORTS
from airflow_consent_retl.storage.signing import Signer
from airflow_consent_retl.storage.source_sizes import SourceSizes
from airflow_consent_retl.storage.sync_folder import SyncFolder
from airflow_consent_retl.storage.unfinished import publishing

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.manifest import SourceSize
    from airflow_consent_retl.storage.policy_archive import PolicyArchive

POLICY_ARCHIVE: Final = "policy_archive"
_KEY_NAME = "digest.key"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.=+-]+")


def workspace_root(workspace: str | None) -> str:
    """Return the workspace's URI: the operator's, else `[consent_retl] workspace`, else a folder in AIRFLOW_HOME."""
    configured = workspace or conf.get("consent_retl", "workspace", fallback=None)
    if configured:
        return str(configured).rstrip("/")
    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    return local_uri(home / "consent_retl")


def open_folder(uri: str) -> Folder:
    """Return the folder at an ObjectStoragePath URI, with the credentials of the connection the URI names.

    Raises:
        ConfigurationError: no installed package serves this kind of storage, the URI would be cut, or every user of
            this machine may write to the folder.
    """
    if "#" in uri or "?" in uri:
        raise ConfigurationError(f"the workspace `{uri}` cannot be opened: a path ends at `#` and `?`")
    if not {".", ".."}.isdisjoint(uri.partition("://")[2].split("/")):
        raise ConfigurationError(f"the path `{uri}` contains `.` or `..`: write it without them")
    local = local_path(uri)
    try:
        storage = None if local is not None else ObjectStoragePath(uri)
        # Some versions of Airflow look for the package only when the file system is asked for.
        fs, path = (LocalFileSystem(), local or "/") if storage is None else (storage.fs, storage.path)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(f"the workspace `{uri}` cannot be opened: {error}") from None
    if storage is not None and (conn_id := storage_conn_id(storage)):
        mask_storage(conn_id)
    folder = Folder(fs, path, uri, signer)
    if folder.is_local:
        _refuse_public(folder.path)
    return folder


def _below(workspace: str | None, names: Iterable[str]) -> Folder:
    folder = open_folder(workspace_root(workspace))
    for name in names:
        folder /= name
    return folder


def _refuse_public(path: str) -> None:
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        # It is made later, for its owner only.
        return
    if mode & stat.S_IWOTH:
        raise ConfigurationError(
            f"every user of this machine may write to the workspace's folder {path}: take the right away (chmod o-w), "
            "or name a folder below it, which is made for its owner only"
        )


def _safe(name: str) -> str:
    """Return a name for one folder: it never leads out of its parent. Letters outside of ASCII stay distinct."""
    safe = _UNSAFE.sub("_", name)
    safe = safe if safe.strip(".") else "_"
    return safe if name.isascii() else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _distinct(name: str) -> str:
    """Return a name for one folder, another one for each name."""
    safe = _safe(name)
    return safe if safe == name or not name.isascii() else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def manifest_folder(manifest_uri: str) -> Folder:
    """Return the folder whose manifest a reference names."""
    return open_folder(manifest_uri.removesuffix(f"/{MANIFEST_NAME}"))


def run_folder(workspace: str | None, context: Context, *, kind: Literal["snapshots", "permitted"]) -> Folder:
    """Return a new folder for this try of a task, without making it.

    The name contains the run, so that people can find it, and a random part, so that no two tries share a folder.
    """
    ti = context.get("ti")
    names = [kind, "adhoc"] if ti is None else [kind, ti.dag_id, ti.run_id, ti.task_id]
    if ti is not None and ti.map_index is not None and ti.map_index >= 0:
        names.append(f"{MAPPED}{ti.map_index}")
    names.append(uuid.uuid4().hex[:12])
    return _below(workspace, map(_safe, names))


def list_size(context: Context, own: Folder) -> int | None:
    """Return how many tasks the mapped filter has in this run, of which one made the permitted set in a folder.

    Args:
        context: of the running task.
        own: the folder of a permitted set.

    Returns:
        None where the filter is in another run, or is not mapped like the running task.
    """
    ti, dag = context.get("ti"), context.get("dag")
    of_filter = own.parent.parent
    if ti is None or dag is None or own.parent.name != f"{MAPPED}{ti.map_index}":
        return None
    if [of_filter.parent.parent.name, of_filter.parent.name] != [_safe(ti.dag_id), _safe(ti.run_id)]:
        return None
    tasks = [task for task in dag.task_ids if _safe(task) == of_filter.name]
    return int(ti.get_ti_count(dag_id=ti.dag_id, task_ids=tasks, run_ids=[ti.run_id])) if tasks else None


def publishing_run(
    workspace: str | None, context: Context, *, kind: Literal["snapshots", "permitted"]
) -> AbstractContextManager[Folder]:
    """Return a context with a new folder for this try of a task: see `unfinished.publishing`."""
    return publishing(open_folder(workspace_root(workspace)), run_folder(workspace, context, kind=kind))


def policy_folder(workspace: str | None, model: str, destination: str) -> Folder:
    """Return the folder that keeps the policies under which a model was decided for a destination."""
    return _below(workspace, ["policies", _distinct(model), _distinct(destination)])


def source_sizes(
    workspace: str | None,
    model: str,
    *,
    delivered: Iterable[SourceSize] = (),
    warn: Callable[[str], object] = lambda message: None,
) -> SourceSizes:
    """Return how many rows a model's consent sources had at its last extraction.

    Args:
        workspace: of the extraction.
        model: its name.
        delivered: the sizes that the ledger has.
        warn: gets a line for each source whose size was lost here.
    """

    def elsewhere() -> Iterable[SourceSize]:
        from airflow_consent_retl.storage.records.all_streams import newest_decisions

        decided = newest_decisions(decisions_of_model(workspace, model)).values()
        return [*delivered, *(size for one in decided for size in one.source_sizes)]

    return SourceSizes(_below(workspace, ["source_sizes", _distinct(model)]), elsewhere=elsewhere, warn=warn)


def last_snapshot(workspace: str | None, model: str) -> LastSnapshot:
    """Return where a workspace keeps the reference to the last snapshot of a model."""
    return LastSnapshot(_below(workspace, ["last_snapshots", _distinct(model)]))


def policy_archive() -> PolicyArchive:
    """Return the deployment's archive of policies, in its default workspace, whatever workspace an operator names.

    Raises:
        ConfigurationError: there is no secret to sign with, or one is too short.
    """
    from airflow_consent_retl.storage.policy_archive import PolicyArchive

    return PolicyArchive(policy_archive_folder(), signer())


def policy_archive_folder() -> Folder:
    """Return the folder of the deployment's archive of policies, which may not exist yet."""
    return _below(None, [POLICY_ARCHIVE])


def decisions_folder(workspace: str | None, model: str, destinations: Iterable[str]) -> Folder:
    """Return the folder of the records of a model's decisions, for one set of destinations."""
    names = hashlib.sha256("\n".join(sorted(destinations)).encode()).hexdigest()[:12]
    return decisions_of_model(workspace, model) / names


def decisions_of_model(workspace: str | None, model: str) -> Folder:
    """Return the folder of the records of a model's decisions: one folder for each set of destinations."""
    return _below(workspace, [RECORDS, DECISIONS, _distinct(model)])


def report_file(workspace: str | None, *names: str) -> tuple[Folder, str]:
    """Return the folder in which a workspace keeps a report, and the name of its file.

    Args:
        workspace: as for the loads.
        names: of the folders below `reports`, and of the report.
    """
    *folders, name = map(_distinct, names)
    return _below(workspace, [REPORTS, *folders]), f"{name}.html"


def sync_folder(workspace: str | None, sync: str, *, epoch: int | None = None) -> SyncFolder:
    """Return the folder where a sync keeps its changes and its delivered state; `epoch` as in `SyncFolder`."""
    return SyncFolder(open_folder(workspace_root(workspace)), sync, epoch=epoch)


def subject_key(workspace: str | None) -> SubjectKey:
    """Return the key that pseudonymises subjects, which knows those that it replaced.

    It is `[consent_retl] digest_key`; without that option, a workspace in a local folder gets a key file on first use.

    Raises:
        ConfigurationError: there is none, or one is too short.
    """
    from airflow_consent_retl.storage.decision_log import SubjectKey

    present, *earlier = _secrets(workspace)
    return SubjectKey(present, earlier=earlier)


def signer() -> Signer:
    """Return what signs manifests and records in this deployment, and checks what it signed.

    Without `[consent_retl] digest_key`, the secret is the key file of the deployment's default workspace, whatever
    workspace an operator names: a key that lies beside a document proves nothing about it.

    Raises:
        ConfigurationError: there is no secret, or one is too short.
    """
    return Signer(_secrets(None))


def secret_file(workspace: str | None) -> Path | None:
    """Return the key file that `subject_key` uses, which may not be there yet; None: a setting has the secret.

    Raises:
        ConfigurationError: there is neither: the workspace is in object storage.
    """
    if conf.get("consent_retl", "digest_key", fallback=None):
        return None
    return _key_file(workspace_root(workspace))


def _local_root(workspace: str | None) -> Folder:
    root = open_folder(workspace_root(workspace))
    if not root.is_local:
        raise ConfigurationError(
            "set `[consent_retl] digest_key`: in object storage, next to the decision log, a key would be no secret"
        )
    return root


def _secrets(workspace: str | None) -> list[str]:
    """Return the configured secrets, or those of the workspace's key file, which is made on first use.

    In both places the present secret comes first. Earlier ones follow, separated by white space.
    """
    configured = conf.get("consent_retl", "digest_key", fallback=None)
    if configured:
        return [configured, *(conf.get("consent_retl", "digest_key_previous", fallback=None) or "").split()]
    file = _key_file(workspace_root(workspace))
    if not file.exists():
        # A hard link appears at once: another worker sees no key or a complete one, and the first key stays.
        draft = f"{_KEY_NAME}.{uuid.uuid4().hex}"
        with _local_root(workspace).create(draft) as key:
            key.write(secrets.token_hex(32).encode())
        with suppress(FileExistsError):
            file.hardlink_to(file.with_name(draft))
        file.with_name(draft).unlink()
    return file.read_text().split() or [""]


# Each document that a task reads asks for it: to open the folder again took most of the time.
@functools.lru_cache(maxsize=16)
def _key_file(root: str) -> Path:
    return Path(_local_root(root).file_path(_KEY_NAME))
