"""A dbt project's `manifest.json`, or the small extract of it: only the keys that a sync needs are decoded.

A manifest may have 50 MB, most of it compiled SQL and documentation. The file is mapped into memory, and the decoder
skips everything else, so that no other value of it becomes a Python object. A process keeps what it decoded until the
file changes.
"""

from __future__ import annotations

import mmap
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from airflow_consent_retl.errors import ConfigurationError

# The published schemas at https://schemas.getdbt.com/dbt/manifest/v<number>.json (index read 2026-11-29): v10 is
# dbt 1.6, v11 is 1.7, v12 is 1.8 to 1.11 and the Fusion engine. Previews of Fusion wrote v20 in the same shape.
SCHEMA_VERSIONS = (10, 11, 12, 20)
EXTRACT_VERSION = 1
# The one key of ours in `meta`.
NAMESPACE = "consent_retl"
# The resources whose rows are in a relation.
RESOURCES = frozenset({"model", "seed", "snapshot"})
_SCHEMA = re.compile(r"/dbt/manifest/v(\d+)(?:\.json|/)")

Meta = dict[str, Any]


class Config(msgspec.Struct, omit_defaults=True):
    """The configuration of a node or of a column."""

    materialized: str | None = None
    enabled: bool | None = None
    meta: Meta | None = None


class Constraint(msgspec.Struct, omit_defaults=True):
    """A constraint of a model, or of one of its columns."""

    type: str = ""
    columns: list[str] | None = None


class DbtColumn(msgspec.Struct, omit_defaults=True):
    """A column that the project documents."""

    meta: Meta | None = None
    config: Config | None = None
    constraints: list[Constraint] | None = None


class Contract(msgspec.Struct, omit_defaults=True):
    """The contract of a model: with `enforced`, its columns are all documented."""

    enforced: bool = False


class TestMetadata(msgspec.Struct, omit_defaults=True):
    """The generic test that a node of type `test` is an instance of."""

    name: str = ""
    namespace: str | None = None


class Dependencies(msgspec.Struct, omit_defaults=True):
    """The nodes that a node refers to."""

    nodes: list[str] = []


class Node(msgspec.Struct, omit_defaults=True):
    """A model, seed, snapshot or test of a project."""

    unique_id: str
    name: str
    resource_type: str
    package_name: str = ""
    relation_name: str | None = None
    original_file_path: str = ""
    patch_path: str | None = None
    version: str | int | float | None = None
    latest_version: str | int | float | None = None
    config: Config = msgspec.field(default_factory=Config)
    contract: Contract | None = None
    meta: Meta | None = None
    columns: dict[str, DbtColumn] = {}
    constraints: list[Constraint] | None = None
    test_metadata: TestMetadata | None = None
    column_name: str | None = None
    depends_on: Dependencies | None = None

    @property
    def file(self) -> str:
        """The project's file that describes the node, for messages."""
        return (self.patch_path or "").partition("://")[2] or self.original_file_path

    @property
    def short_names(self) -> tuple[str, ...]:
        """The names by which a DAG may ask for the node."""
        full = self.unique_id.split(".", 2)[-1]
        names = (full, f"{self.package_name}.{full}", self.unique_id)
        is_latest = self.version is not None and self.version == self.latest_version
        return (*names, self.name, f"{self.package_name}.{self.name}") if is_latest else names


class Exposure(msgspec.Struct, omit_defaults=True):
    """An exposure of a project."""

    name: str
    package_name: str = ""
    original_file_path: str = ""


class Metadata(msgspec.Struct, omit_defaults=True):
    """The origin of a manifest."""

    dbt_schema_version: str = ""
    dbt_version: str = ""
    adapter_type: str | None = None
    project_name: str | None = None


class Manifest(msgspec.Struct, omit_defaults=True):
    """The decoded part of a manifest, or an extract of it.

    Args:
        metadata: its origin.
        nodes: by unique id.
        disabled: the nodes that the project disables, by unique id.
        exposures: by unique id.
        consent_retl_extract: the version of the extract; None: the file is dbt's own.
    """

    metadata: Metadata = msgspec.field(default_factory=Metadata)
    nodes: dict[str, Node] = {}
    disabled: dict[str, list[Node]] | None = None
    exposures: dict[str, Exposure] = {}
    consent_retl_extract: int | None = None

    @property
    def places_meta_in_config(self) -> bool:
        """True if this project's dbt wants `meta` below `config`: since dbt 1.10."""
        numbers = [int(number) for number in re.findall(r"\d+", self.metadata.dbt_version)[:2]]
        return numbers >= [1, 10]

    @property
    def relations(self) -> list[Node]:
        """The nodes whose rows are, or would be, in a relation."""
        return [node for node in self.nodes.values() if node.resource_type in RESOURCES]


def manifest_path(place: str | Path) -> Path:
    """Return the file of a manifest: the place itself, or `target/manifest.json` in a project's folder.

    Raises:
        ConfigurationError: there is no such file.
    """
    path = Path(place)
    found = path / "target" / "manifest.json" if path.is_dir() else path
    if not found.is_file():
        raise ConfigurationError(
            f"there is no dbt manifest at {found}: run `dbt parse` there, or name the manifest, or the extract of it"
        )
    return found


def read_manifest(place: str | Path) -> Manifest:
    """Return what a manifest says about its nodes.

    A second call in the same process costs one look at the file's time and size.

    Args:
        place: a `manifest.json`, an extract of it, or the folder of a dbt project.

    Raises:
        ConfigurationError: there is no such file, it is no manifest, or of a version that this release does not read.
    """
    path = manifest_path(place).resolve()
    stat = path.stat()
    return _decoded(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=8)
def _decoded(path: Path, changed_at: int, size: int, inode: int) -> Manifest:
    """Return the decoded file; its time, size and inode are part of the cache's key."""
    try:
        if not size:
            raise msgspec.DecodeError("the file is empty")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{path} is no dbt manifest: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    _check_version(path, manifest)
    return manifest


def _check_version(path: Path, manifest: Manifest) -> None:
    if manifest.consent_retl_extract is not None:
        if manifest.consent_retl_extract != EXTRACT_VERSION:
            raise ConfigurationError(
                f"{path} is an extract of version {manifest.consent_retl_extract}, this release reads "
                f"{EXTRACT_VERSION}: write it again with `consent-retl dbt-extract`"
            )
        return
    written = manifest.metadata.dbt_schema_version
    found = _SCHEMA.search(written)
    if found is None:
        raise ConfigurationError(f"{path} is no dbt manifest: its metadata name no version of the manifest's schema")
    if int(found[1]) not in SCHEMA_VERSIONS:
        known = ", ".join(f"v{number}" for number in SCHEMA_VERSIONS)
        raise ConfigurationError(
            f"{path} is a dbt manifest of schema v{found[1]}, written by dbt {manifest.metadata.dbt_version}; this "
            f"release reads {known}"
        )


def own_meta(meta: Meta | None, config: Config | None) -> list[Any]:
    """Return our part of a node's or a column's `meta`, from each place where dbt keeps it, equal ones once.

    Since dbt 1.10 `meta` belongs to `config`; earlier releases have it next to the other keys.
    """
    places = [meta, config.meta if config is not None else None]
    found = [place[NAMESPACE] for place in places if place is not None and NAMESPACE in place]
    return found[:1] if len(found) == 2 and found[0] == found[1] else found


def has_own_meta(node: Node) -> bool:
    """Return whether a node, or one of its columns, has our key in its `meta`."""
    columns = node.columns.values()
    return bool(own_meta(node.meta, node.config) or any(own_meta(one.meta, one.config) for one in columns))
