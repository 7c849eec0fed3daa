"""A workspace of Segment becomes a policy and DAGs exactly, or what is not exact is listed and left out."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.errors import PolicyError
from airflow_consent_retl.migration.segment_api import read_workspace
from airflow_consent_retl.migration.segment_migration import MigratedWorkspace, migrate_workspace
from airflow_consent_retl.migration.segment_notes import read_notes

OPERATORS = ("LoadToWebhookOperator", "LoadToSqlTableOperator")
SECRET = "canary-secret-5e1"
MODEL = {
    "id": "m1",
    "sourceId": "s1",
    "name": "Customers",
    "description": "",
    "enabled": True,
    "query": "SELECT * FROM customers",
    "queryIdentifierColumn": "user_id",
}
MAPPING = {
    "id": "map1",
    "name": "People",
    "actionId": "a",
    "actionSlug": "send",
    "destinationId": "d1",
    "modelId": "m1",
    "enabled": True,
    "trigger": 'event = "new" or event = "updated"',
    "settings": {"id": {"@path": "$.properties.user_id"}, "token": SECRET},
    "reverseETLSchedule": {"strategy": "PERIODIC", "config": {"interval": "15m"}},
}
WORKSPACE: dict[str, Any] = {
    "sources": [{"id": "s1", "slug": "pg", "name": "Warehouse", "enabled": True, "settings": {"password": SECRET}}],
    "models": [MODEL],
    "destinations": [
        {
            "id": "d1",
            "name": "Hook",
            "enabled": True,
            "sourceId": "s1",
            "settings": {"key": SECRET},
            "metadata": {"name": "Webhooks", "slug": "actions-webhook"},
        }
    ],
    "subscriptions": [MAPPING],
}
NOTES: dict[str, Any] = {
    "categories": [{"name": "Advertising", "id": "C0004", "destinations": ["Webhooks"]}],
    "models": {"Customers": {"consent": {"C0004": "ads_ok"}}},
    "connections": {"Warehouse": "warehouse"},
    "destinations": {"Webhooks": "webhook"},
    "loads": {
        "Hook": {"destination": "webhook", "operator": "LoadToWebhookOperator", "parameters": {"conn_id": "crm"}}
    },
}


def changed(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a document with changes: `models__0__enabled=False`."""
    found = copy.deepcopy(document)
    for path, value in changes.items():
        *keys, last = [int(key) if key.isdecimal() else key for key in path.split("__")]
        place: Any = found
        for key in keys:
            place = place[key]
        place[last] = value
    return found


def migrated(workspace: dict[str, Any] = WORKSPACE, notes: dict[str, Any] = NOTES) -> MigratedWorkspace:
    return migrate_workspace(
        read_workspace({"all.json": json.dumps({"data": workspace})}),
        read_notes(json.dumps(notes), operators=OPERATORS),
    )


def left_out(found: MigratedWorkspace) -> list[tuple[str, str]]:
    return [(one.what, one.here) for one in found.differences if one.is_left_out]


def test_a_mapping_becomes_a_load_and_no_constant_is_copied() -> None:
    found = migrated()

    (code,) = found.dags.values()
    assert 'fields={"id": "user_id"},' in code
    assert 'mode="upsert",' in code
    assert "schedule=timedelta(seconds=900)," in code
    assert parse_policy(found.policy).required_for("webhook") == ("C0004",)
    assert left_out(found) == [("mapping `People`, field `token`", "left out")]
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("changes", "what", "why"),
    [
        ({"models__0__enabled": False}, "model `Customers`", "no DAG"),
        ({"subscriptions__0__enabled": False}, "mapping `People`", "it is disabled"),
        ({"destinations__0__enabled": False}, "mapping `People`", "it is disabled"),
        ({"destinations__0__name": "Other"}, "mapping `People`", "write its load into `loads`, by `Other`"),
        ({"destinations__0__id": "d2"}, "mapping `People`", "no answer of the API has its destination"),
        ({"subscriptions__0__trigger": 'event = "deleted"'}, "mapping `People`", "no mode does exactly"),
        ({"subscriptions__0__trigger": 'event = "new" and type = "track"'}, "mapping `People`", "no mode does exactly"),
        ({"subscriptions__0__settings__id": "x"}, "mapping `People`", "no field is a plain column"),
        (
            {"subscriptions__0__settings__id": {"@path": "$.properties.a.b"}},
            "mapping `People`",
            "no field is a plain column",
        ),
        (
            {"subscriptions__0__settings____segment_internal_sync_mode": "delete"},
            "mapping `People`",
            "no mode does exactly",
        ),
        (
            {"subscriptions__0__reverseETLSchedule": {"strategy": "SPECIFIC_DAYS", "config": {"days": [1]}}},
            "schedule of `People`",
            "does not say which number is which day",
        ),
        (
            {"subscriptions__0__reverseETLSchedule": {"strategy": "DBT_CLOUD", "config": {"jobId": "1"}}},
            "schedule of `People`",
            "let the job trigger the DAG",
        ),
    ],
)
def test_what_has_no_exact_counterpart_is_listed(changes: dict[str, Any], what: str, why: str) -> None:
    workspace = copy.deepcopy(WORKSPACE)
    for path, value in changes.items():
        if path.endswith("____segment_internal_sync_mode"):
            workspace["subscriptions"][0]["settings"]["__segment_internal_sync_mode"] = value
        elif path == "destinations__0__name":
            workspace = changed(workspace, **{path: value, "destinations__0__id": "d1"})
        else:
            workspace = changed(workspace, **{path: value})
    # A load for a name that the workspace lacks would be refused.
    notes = {**NOTES, "loads": {}} if "destinations__0__name" in changes else NOTES

    found = left_out(migrated(workspace, notes))

    assert any(one == what and why in here for one, here in found), found


def test_a_model_without_a_consent_mapping_has_no_dag() -> None:
    found = migrated(notes={**NOTES, "models": {}})

    assert found.dags == {}
    ((what, here),) = left_out(found)
    assert what == "model `Customers`"
    assert "`consent-retl discover` looks for the columns" in here


def test_a_consent_column_that_sounds_like_an_objection_is_not_carried_over() -> None:
    found = migrated(notes=changed(NOTES, models__Customers__consent={"C0004": "HasOptedOutOfAds"}))

    assert found.dags == {}
    assert "`HasOptedOutOfAds` sound like objections" in left_out(found)[0][1]


def test_a_category_without_a_column_is_denied_as_at_segment() -> None:
    category = {"name": "Analytics", "id": "C0002", "destinations": ["Webhooks"]}
    notes = {**NOTES, "categories": [*NOTES["categories"], category]}

    found = migrated(notes=notes)

    assert found.policy["missing_consent_column"] == "deny"
    assert parse_policy(found.policy).missing_consent_column == "deny"
    assert "model `Customers`, category `C0002`" in [one.what for one in found.differences]


def test_open_and_disabled_destinations_are_named_by_the_policy() -> None:
    disabled = {"name": "Analytics", "id": "C0002", "destinations": ["Sheets"], "enabled": False}
    notes = {
        **NOTES,
        "categories": [*NOTES["categories"], disabled],
        "destinations": {"Webhooks": "webhook", "Sheets": "sheets", "AWS S3": "lake"},
    }

    policy = parse_policy(migrated(notes=notes).policy)

    assert policy.unmapped_destinations == "deny"
    assert {name: policy.rule_for(name).consent_required for name in ("sheets", "lake")} == {
        "sheets": False,
        "lake": False,
    }


def test_two_mappings_to_one_place_become_two_instances() -> None:
    second = {**MAPPING, "id": "map2", "name": "Second one", "reverseETLSchedule": {"strategy": "MANUAL"}}

    dags = migrated({**WORKSPACE, "subscriptions": [MAPPING, second]}).dags

    assert ['"webhook": partial(' in code for code in dags.values()] == [True, False]
    assert ['"webhook:second_one": partial(' in code for code in dags.values()] == [False, True]


def test_sql_with_templates_stays_as_it_is() -> None:
    (code,) = migrated(changed(WORKSPACE, models__0__query="SELECT '{{ x }}' AS a")).dags.values()

    assert "{% raw %}SELECT '{{ x }}' AS a{% endraw %}" in code


@pytest.mark.parametrize(
    ("notes", "problem"),
    [
        (changed(NOTES, loads__Hook__operator="LoadToWebhokOperator"), "did you mean `LoadToWebhookOperator`?"),
        (changed(NOTES, loads__Hook__destination="webhok"), "did you mean `webhook`?"),
        (
            changed(NOTES, models__Customers__consent={"C004": "ads_ok"}),
            "there is no category `C004`, did you mean `C0004`?",
        ),
        ({**NOTES, "models": {"Custmers": {"consent": {"C0004": "a"}}}}, "no `Custmers`, did you mean `Customers`?"),
        ({**NOTES, "connections": {"Warehous": "w"}}, "no `Warehous`, did you mean `Warehouse`?"),
        ({**NOTES, "colour": 1}, "unknown key `colour`"),
        ({key: value for key, value in NOTES.items() if key != "loads"}, "key `loads` is missing"),
        (changed(NOTES, destinations={"Webhok": "webhook"}), "is not in `destinations`, did you mean `Webhok`?"),
    ],
)
def test_notes_that_do_not_fit_are_refused(notes: dict[str, Any], problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        migrated(notes=notes)

    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("{", "the answer is not JSON @ a.json"),
        ("{}", "expected one of `sources`, `models`, `destinations`, `subscriptions`"),
        ('{"data": {"models": {}}}', "expected a list, found an object @ a.json.models"),
        ('{"models": [{"id": "m1"}]}', "expected a text that is not empty @ a.json.models[0].query"),
        ('{"models": [{"id": "m1", "id": "m2"}]}', "key `id` occurs more than once @ a.json.models[0].id"),
        ('{"data": {"models": [], "pagination": {"current": "a", "next": "b"}}}', "give the answer with the next page"),
    ],
)
def test_answers_that_cannot_be_read_are_refused(answer: str, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read_workspace({"a.json": answer})

    assert problem in str(caught.value)


def test_pages_of_a_list_are_one_list() -> None:
    pages = {
        "1.json": json.dumps({"data": {"models": [MODEL], "pagination": {"current": "a", "next": "b"}}}),
        "2.json": json.dumps({"data": {"models": [{**MODEL, "id": "m2"}], "pagination": {"current": "b"}}}),
    }

    assert [one.id for one in read_workspace(pages).models] == ["m1", "m2"]
