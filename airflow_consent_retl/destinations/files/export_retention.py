"""The end of the retention of older versions of exported files, between two loads."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_consent_retl.contract.pruned import Pruned
from airflow_consent_retl.destinations.files.destination import folder_at
from airflow_consent_retl.destinations.files.export_manifest import POINTER_NAME, CurrentVersion, parsed
from airflow_consent_retl.destinations.files.storage import ExportFolder
from airflow_consent_retl.destinations.files.versions import own_versions, time_of
from airflow_consent_retl.errors import DestinationError
from airflow_consent_retl.hooks.retention_limits import declared
from airflow_consent_retl.storage.expired import Limit, beyond


def prune_versions(path: str, *, dry_run: bool = False) -> list[Pruned]:
    """Delete the older versions in a folder of exports that the deployment's policy does not keep, and return them.

    `retention.file_versions` of the policy decides; without it, nothing is deleted. The current version stays, and
    what was decided within a day.

    Args:
        path: the folder, as `LoadToFilesOperator` has it.
        dry_run: delete nothing, and return what would be deleted.

    Raises:
        ConfigurationError: the path does not suit.
        PolicyError: the deployment's policy is wrong.
        DestinationError: the folder is not one of loads to files.
        DestinationUnavailableError: the storage did not answer, or a load is running.
    """
    kept, now = declared("file_versions"), datetime.now(UTC)
    before = datetime.min.replace(tzinfo=UTC) if kept.max_age is None else kept.max_age.before(now)
    fs, place, uri = folder_at(path)
    folder = ExportFolder(fs, place, uri)
    try:
        with folder.storage("remove older versions in"):
            if folder.read(POINTER_NAME) is not None and not dry_run:
                folder.take()
            # Read under the lock: a load may have replaced it meanwhile.
            pointer = parsed(CurrentVersion, folder.read(POINTER_NAME))
            if pointer is None:
                raise DestinationError(f"{uri} has no {POINTER_NAME} of a load to files: name the folder of one")
            # What is newer than the pointer belongs to a load that is running.
            older = [
                (name, "", time_of(name))
                for name in own_versions(folder, pointer.destination)
                if name != pointer.current and time_of(name) <= pointer.decided_at
            ]
            ended = beyond(Limit(before, kept.number), [(pointer.current, "", now), *older])
            for name, _ in ended if not dry_run else ():
                folder.remove(name)
    finally:
        folder.release()
    return [Pruned("file_versions", f"{uri}/{name}", None, reason, time_of(name)) for name, reason in ended]
