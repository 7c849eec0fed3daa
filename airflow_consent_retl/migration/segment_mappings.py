"""Segment's mappings as loads: fields, sync mode and schedule, each translated exactly or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_consent_retl.migration.segment_api import SegmentMapping

# Rows of a model arrive as events, whose properties are the columns:
# https://segment.com/docs/connections/reverse-etl/setup/#step-4-create-mappings (read 2026-11-29)
_COLUMN = re.compile(r"\$\.properties\.([^.\[\]]+)")
_SYNC_MODE = "__segment_internal_sync_mode"
# The parts that an action needs, and no field of a person.
_OWN_SETTINGS = frozenset({"enable_batching", "batch_size", "batch_keys", "batch_bytes"})
_MODES = {"add": "insert", "upsert": "upsert", "mirror": "mirror"}
_EVENT = re.compile(r'event = "(new|updated|deleted)"')
_BY_EVENTS = {
    frozenset({"new"}): "insert",
    frozenset({"new", "updated"}): "upsert",
    frozenset({"new", "updated", "deleted"}): "mirror",
}
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_UNITS_S = (86_400, 3_600, 60, 1)


def fields_of(mapping: SegmentMapping) -> tuple[dict[str, str], list[str]]:
    """Return the fields that are plain columns, and the names of the settings that are not carried over.

    An object that is customized in the mapping becomes one field for each of its keys.
    """
    fields: dict[str, str] = {}
    left: list[str] = []
    for name, value in mapping.settings.items():
        if name.startswith("__segment_internal") or name in _OWN_SETTINGS:
            continue
        column = _column(value)
        if column is not None:
            fields[name] = column
        elif isinstance(value, Mapping) and value and not any(key.startswith("@") for key in value):
            for key, inner in value.items():
                found = _column(inner)
                if found is not None and key not in fields:
                    fields[key] = found
                else:
                    left.append(f"{name}.{key}")
        else:
            left.append(name)
    return fields, left


def mode_of(mapping: SegmentMapping) -> str | None:
    """Return the mode of the load; None if no mode does the same."""
    declared = mapping.settings.get(_SYNC_MODE)
    if declared is not None:
        return _MODES.get(str(declared))
    events = _EVENT.findall(mapping.trigger)
    rebuilt = " or ".join(f'event = "{event}"' for event in events)
    return _BY_EVENTS.get(frozenset(events)) if rebuilt == mapping.trigger.strip() else None


def schedule_of(schedule: Mapping[str, object] | None) -> tuple[str, str, str]:
    """Return a schedule as Python for `DAG(schedule=…)`, its time zone, and why it is left out; empty if it is not."""
    strategy = "" if schedule is None else str(schedule.get("strategy"))
    config = {} if schedule is None else schedule.get("config")
    settings = config if isinstance(config, Mapping) else {}
    if strategy == "PERIODIC":
        seconds = _seconds(str(settings.get("interval")))
        if seconds:
            return f"timedelta(seconds={seconds})", "UTC", ""
        return "None", "UTC", "the interval cannot be read"
    if strategy == "CRON" and isinstance(settings.get("spec"), str):
        return f'"{settings["spec"]}"', str(settings.get("timezone") or "UTC"), ""
    if strategy == "MANUAL":
        return "None", "UTC", ""
    why = {
        "SPECIFIC_DAYS": "the API does not say which number is which day: write the schedule yourself",
        "DBT_CLOUD": "it follows a job of dbt Cloud: let the job trigger the DAG",
    }
    return "None", "UTC", why.get(strategy, "the mapping has no schedule")


def _column(value: object) -> str | None:
    path = value.get("@path") if isinstance(value, Mapping) and value.keys() == {"@path"} else None
    found = _COLUMN.fullmatch(path) if isinstance(path, str) else None
    return None if found is None else found[1]


def _seconds(interval: str) -> int:
    found = _DURATION.fullmatch(interval)
    return 0 if found is None else sum(int(n or 0) * unit for n, unit in zip(found.groups(), _UNITS_S, strict=True))
