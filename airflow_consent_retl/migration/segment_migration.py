"""The migration of a workspace of Segment: a policy, a DAG file for each model, and a table of what differs.

Parts without an exact counterpart are listed and left out. Nothing is guessed, and no secret is copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent import PolicyDocument, parse_policy
from airflow_consent_retl.consent.opposite import says_opposite
from airflow_consent_retl.consent.policy import base_of
from airflow_consent_retl.errors import PolicyError, Problem
from airflow_consent_retl.migration.segment_categories import import_segment_categories
from airflow_consent_retl.migration.segment_dags import MigratedDag, MigratedLoad, dag_code
from airflow_consent_retl.migration.segment_mappings import fields_of, mode_of, schedule_of
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    from airflow_consent_retl.migration.segment_api import (
        SegmentDestination,
        SegmentMapping,
        SegmentModel,
        SegmentWorkspace,
    )
    from airflow_consent_retl.migration.segment_notes import LoadNotes, ModelNotes, SegmentNotes

# For these, Segment enforces no consent:
# https://segment.com/docs/privacy/consent-management/configure-consent-management/ (read 2026-11-24)
_UNENFORCED = re.compile(r"\bS3\b|\bEngage\b")
_REASON = "no category is mapped to it in Segment"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same here.

    Args:
        what: a model, a mapping, a destination or a category, by name.
        segment: what Segment does.
        here: what this package does.
        is_left_out: whether it was not carried over, so that a person has to do something.
    """

    what: str
    segment: str
    here: str
    is_left_out: bool


@dataclass(frozen=True, slots=True)
class MigratedWorkspace:
    """The result.

    Args:
        policy: a document that `parse_policy` reads.
        dags: the text of each DAG file, by its name.
        differences: what is not the same, and what was left out.
    """

    policy: PolicyDocument
    dags: Mapping[str, str]
    differences: tuple[Difference, ...]


def migrate_workspace(workspace: SegmentWorkspace, notes: SegmentNotes) -> MigratedWorkspace:
    """Return a policy and DAGs that deliver what Segment would, where it has consent information.

    Raises:
        PolicyError: the notes do not fit the workspace. The error contains every problem.
    """
    migration = _Migration(workspace, notes)
    migration.check_notes()
    dags = {f"{dag.dag_id}.py": dag_code(dag) for dag in migration.dags()}
    return MigratedWorkspace(migration.policy, dags, tuple(migration.differences))


class _Migration:
    def __init__(self, workspace: SegmentWorkspace, notes: SegmentNotes) -> None:
        self.workspace = workspace
        self.notes = notes
        self.differences: list[Difference] = []
        self.policy = self._policy()
        self.parsed = parse_policy(self.policy)

    def check_notes(self) -> None:
        """Refuse names that nothing in the workspace has, and categories that the policy does not know."""
        problems = []
        names = {
            "models": [name for one in self.workspace.models for name in (one.id, one.name)],
            "connections": [name for pair in self.workspace.sources.items() for name in pair],
            "loads": [name for one in self.workspace.destinations for name in (one.id, one.name)],
        }
        for key, known in names.items():
            for name in getattr(self.notes, key):
                if name not in known:
                    problems.append(Problem(f"$.{key}", f"the workspace has no `{name}`{suggestion(name, known)}"))
                elif len({self._id_of(key, place) for place in self._places(key, name)}) > 1:
                    problems.append(Problem(f"$.{key}", f"several have the name `{name}`: use the id"))
        ids = [category.id for category in self.parsed.categories]
        for model, entry in self.notes.models.items():
            for category in entry.consent:
                if category not in ids:
                    near = suggestion(category, ids)
                    problems.append(Problem(f"$.models.{model}.consent", f"there is no category `{category}`{near}"))
        if problems:
            raise PolicyError(problems)

    def dags(self) -> Iterator[MigratedDag]:
        """Yield one DAG for each model and schedule, and note what is left out."""
        taken: set[str] = set()
        for model in self.workspace.models:
            notes = self.notes.models.get(model.id) or self.notes.models.get(model.name)
            conn_id = self._connection(model)
            if not self._is_ready(model, notes, conn_id) or notes is None:
                continue
            by_schedule: dict[tuple[str, str], dict[str, MigratedLoad]] = {}
            # A model is kept up at each name of a destination by one load.
            names: set[str] = set()
            for mapping in self.workspace.mappings:
                if mapping.model_id != model.id:
                    continue
                load = self._load(mapping)
                if load is None:
                    continue
                expression, zone, why = schedule_of(mapping.schedule)
                if why:
                    self._differs(f"schedule of `{mapping.name}`", "runs by itself", f"no schedule: {why}", True)
                loads = by_schedule.setdefault((expression, zone), {})
                loads[self._instance(load.destination, mapping, names)] = load
            for place, ((expression, zone), loads) in enumerate(by_schedule.items()):
                slug = _slug(model.name)
                dag_id = _unused(f"segment_{slug}" if place == 0 else f"segment_{slug}_{place + 1}", taken)
                self._note_missing(model, notes, loads)
                yield MigratedDag(
                    dag_id=dag_id,
                    model=slug,
                    title=model.name,
                    conn_id=conn_id,
                    sql=model.query,
                    primary_key=model.identifier,
                    consent=notes.consent,
                    column_types=notes.column_types,
                    schedule=expression,
                    time_zone=zone,
                    loads=loads,
                )
        if self.workspace.models:
            self._differs("first run", "goes on from its checkpoint", "sends every permitted row once", False)
            self._differs("withdrawals", "a row without consent is not sent again", "it is removed again", False)
            self._differs("a consent column that is NULL", "not documented", "unknown, which denies", False)

    def _policy(self) -> PolicyDocument:
        """Return the policy: Segment's categories, and every open destination by name."""
        imported = import_segment_categories(
            {"categories": self.notes.categories}, destinations=self.notes.destinations
        )
        policy: dict[str, Any] = {**imported.document, "unmapped_destinations": "deny"}
        categories = policy["categories"]
        guarded = {name for one in categories if one.get("enabled", True) for name in one["destinations"]}
        for one in categories:
            if not one.get("enabled", True):
                self._differs(f"category `{one['id']}`", "disabled: not enforced", "the same", False)
                # A destination that only a disabled category guards is open. The policy has to name each of these.
                one["destinations"] = [name for name in one["destinations"] if name in guarded]
        policy["categories"] = [one for one in categories if one["destinations"]]
        open_ = sorted(set(self.notes.destinations.values()) - guarded)
        for name in open_:
            self._differs(f"destination `{name}`", "receives every row", "the same; the policy names it", False)
        if open_:
            policy["destinations"] = {name: {"consent": "not_required", "reason": _REASON} for name in open_}
        for theirs, ours in self.notes.destinations.items():
            if _UNENFORCED.search(theirs) and ours in guarded:
                self._differs(f"destination `{ours}`", "enforces no consent", "its categories are enforced", False)
        return policy

    def _is_ready(self, model: SegmentModel, notes: ModelNotes | None, conn_id: str) -> bool:
        what = f"model `{model.name}`"
        if not model.enabled:
            self._differs(what, "disabled: it never syncs", "no DAG", True)
            return False
        if notes is None or not notes.consent:
            here = "no DAG: write its consent mapping into `models`; `consent-retl discover` looks for the columns"
            self._differs(what, "without a consent mapping, all destinations receive every row", here, True)
            return False
        if not conn_id:
            self._differs(what, "reads its source", "no DAG: name the source's connection in `connections`", True)
            return False
        objections = [column for column in notes.consent.values() if says_opposite(column)]
        if objections:
            here = f"no DAG: {', '.join(f'`{one}`' for one in objections)} sound like objections; use OptOut(...)"
            self._differs(what, "TRUE is consent, whatever the column is called", here, True)
        return not objections

    def _load(self, mapping: SegmentMapping) -> MigratedLoad | None:
        """Return the load of a mapping, or None, and note the reason as a difference."""
        instance = next((one for one in self.workspace.destinations if one.id == mapping.destination_id), None)
        load = None
        if instance is not None:
            load = self.notes.loads.get(instance.id) or self.notes.loads.get(instance.name)
        obstacle = self._obstacle(mapping, instance, load)
        mode = mode_of(mapping)
        if obstacle or load is None or mode is None:
            here = obstacle or "no mode does exactly what its sync mode or its trigger does"
            self._differs(f"mapping `{mapping.name}`", "feeds a destination", f"left out: {here}", True)
            return None
        fields = self._fields(mapping, load)
        if not fields:
            here = "left out: no field is a plain column; write `fields` into its load"
            self._differs(f"mapping `{mapping.name}`", "maps fields", here, True)
            return None
        return MigratedLoad(load.destination, load.operator, load.parameters, fields, mode)

    def _obstacle(self, mapping: SegmentMapping, instance: SegmentDestination | None, load: LoadNotes | None) -> str:
        """Return why a mapping cannot be carried over; empty if nothing is in the way."""
        if instance is None:
            return "no answer of the API has its destination"
        if not mapping.enabled or not instance.enabled:
            return "it is disabled"
        if load is None:
            return f"write its load into `loads`, by `{instance.name}`"
        ours = self.notes.destinations.get(instance.kind)
        if ours != base_of(load.destination):
            return f"`destinations` calls {instance.kind} `{ours}`, and its load is `{load.destination}`"
        return ""

    def _fields(self, mapping: SegmentMapping, load: LoadNotes) -> dict[str, str]:
        found, left = fields_of(mapping)
        if load.fields:
            return load.fields
        for name in left:
            what = f"mapping `{mapping.name}`, field `{name}`"
            self._differs(what, "a constant, a template or a function", "left out", True)
        return found

    def _connection(self, model: SegmentModel) -> str:
        name = self.workspace.sources.get(model.source_id, "")
        return self.notes.connections.get(model.source_id) or self.notes.connections.get(name, "")

    def _instance(self, destination: str, mapping: SegmentMapping, names: set[str]) -> str:
        """Return a destination's name, or an instance of it for a second mapping to the same place."""
        if destination in names:
            return _unused(f"{base_of(destination)}:{_slug(mapping.name)}", names)
        names.add(destination)
        return destination

    def _note_missing(self, model: SegmentModel, notes: ModelNotes, loads: Mapping[str, MigratedLoad]) -> None:
        """Note the categories that a load needs and the model has no column for, which Segment takes for false."""
        needed = {category for name in loads for category in self.parsed.required_for(name)}
        for category in sorted(needed - notes.consent.keys()):
            what = f"model `{model.name}`, category `{category}`"
            self._differs(what, "without a column it is false: nothing flows", "the same, with a warning", False)
            self.policy["missing_consent_column"] = "deny"

    def _places(self, key: str, name: str) -> Sequence[object]:
        if key == "connections":
            return [pair for pair in self.workspace.sources.items() if name in pair]
        entries = self.workspace.models if key == "models" else self.workspace.destinations
        return [one for one in entries if name in {one.id, one.name}]

    def _id_of(self, key: str, place: Any) -> str:
        return str(place[0] if key == "connections" else place.id)

    def _differs(self, what: str, segment: str, here: str, is_left_out: bool) -> None:
        self.differences.append(Difference(what, segment, here, is_left_out))


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_") or "model"


def _unused(name: str, taken: set[str]) -> str:
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found
