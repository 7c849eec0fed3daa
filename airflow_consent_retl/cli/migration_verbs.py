"""The verb `from-segment`: a workspace of Segment as a policy and DAG files."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from airflow_consent_retl.cli.shown import Result, Table
from airflow_consent_retl.cli.verb import VerbGroup

VERBS = VerbGroup("Migration")


@VERBS.verb("from-segment", example="models.json destinations.json --notes notes.json --to migrated", finds=True)
def from_segment(
    answers: Annotated[list[str], typer.Argument(metavar="FILE", help="Answers of Segment's Public API, as JSON.")],
    notes: Annotated[str, typer.Option(help="JSON with what the API does not have: see docs/from-segment.md.")],
    to: Annotated[str | None, typer.Option(metavar="FOLDER", help="A new folder for policy, DAGs and table.")] = None,
) -> Result:
    """Turn the models, mappings and consent categories of Segment into a policy and DAG files, and list what differs.

    The answers are those of GET /sources, /reverse-etl-models, /destinations and /destinations/{id}/subscriptions.
    Settings of sources and destinations are not read: they contain secrets. What has no exact counterpart is listed and
    left out. It ends with 1 if something is left out. Segment is not contacted.
    """
    from airflow_consent_retl.errors import ConfigurationError
    from airflow_consent_retl.migration.segment_api import read_workspace
    from airflow_consent_retl.migration.segment_migration import migrate_workspace
    from airflow_consent_retl.migration.segment_notes import read_notes
    from airflow_consent_retl.operators.face import MODULES

    if to is not None and Path(to).exists():
        raise ConfigurationError(f"--to: {to} exists: name a new folder")
    operators = [name for name in MODULES if name.startswith("LoadTo")]
    workspace = read_workspace({Path(name).name: _read(name) for name in answers})
    found = migrate_workspace(workspace, read_notes(_read(notes), operators=operators))
    document = asdict(found)
    table = Table(
        ("what", "Segment", "here"), [(one.what, one.segment, one.here) for one in found.differences], "what differs"
    )
    parts: list[str | Table] = [f"{len(found.dags):,} DAGs: {', '.join(found.dags) or 'none'}", table]
    if to is not None:
        _write(Path(to), found.policy, found.dags)
    return Result(document, parts, code=int(any(one.is_left_out for one in found.differences)))


def _read(name: str) -> bytes:
    from airflow_consent_retl.errors import ConfigurationError

    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {error.strerror}") from None


def _write(folder: Path, policy: object, dags: Mapping[str, str]) -> None:
    from airflow_consent_retl.errors import ConfigurationError

    try:
        (folder / "dags").mkdir(parents=True)
        (folder / "policy.json").write_text(json.dumps(policy, indent=2) + "\n")
        for name, code in dags.items():
            (folder / "dags" / name).write_text(code)
    except OSError as error:
        raise ConfigurationError(f"--to: {folder} cannot be written: {error.strerror}") from None
