"""The settings of the page on deployment can be read, and name options that exist."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from airflow_consent_retl.get_provider_info import get_provider_info

PAGE = (Path(__file__).parents[1] / "docs" / "deployment.md").read_text()
OPTIONS = set(get_provider_info()["config"]["consent_retl"]["options"])


# The keys of the chart that the page uses, as its release notes name them (chart 1.22.0, read 2026-11-29). Since chart
# 1.20, what belongs to workers is under `celery` and `kubernetes`.
OF_THE_CHART = {
    "airflowVersion",
    "config.consent_retl",
    "data.metadataSecretName",
    "executor",
    "images.airflow.repository",
    "images.airflow.tag",
    "postgresql.enabled",
    "secret",
    "triggerer.enabled",
    "workers.celery.resources",
    "workers.celery.terminationGracePeriodSeconds",
    "workers.kubernetes.resources",
    "workers.kubernetes.terminationGracePeriodSeconds",
}


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.fixture
def values() -> dict[str, Any]:
    return dict(yaml.safe_load(block("yaml")))


def test_the_settings_on_celery_are_options_of_the_provider() -> None:
    settings = configparser.ConfigParser()
    settings.read_string(block("ini"))

    assert {"policy", "workspace", "ledger_conn_id"} == set(settings["consent_retl"]) <= OPTIONS


def test_the_values_for_helm_set_the_same_as_on_celery(values: dict[str, Any]) -> None:
    settings = configparser.ConfigParser()
    settings.read_string(block("ini"))

    assert values["config"]["consent_retl"] == dict(settings["consent_retl"])


def paths_of(values: dict[str, Any], *above: str) -> set[str]:
    """Return the paths of what the values set, down to the keys that are objects of Kubernetes or of Airflow."""
    found: set[str] = set()
    for name, value in values.items():
        path = ".".join((*above, name))
        goes_on = isinstance(value, dict) and path not in OF_THE_CHART
        found |= paths_of(value, *above, name) if goes_on else {path}
    return found


def test_the_values_for_helm_use_the_keys_that_the_chart_knows(values: dict[str, Any]) -> None:
    assert paths_of(values) == OF_THE_CHART


def test_the_secrets_of_the_values_are_the_keys_that_the_command_makes(values: dict[str, Any]) -> None:
    made = set(re.findall(r"--from-literal=([\w-]+)=", PAGE))
    connections = {"AIRFLOW_CONN_CONSENT_LEDGER", "AIRFLOW_CONN_AWS_RETL"}

    assert {entry["secretKey"] for entry in values["secret"]} == made
    assert {entry["envName"] for entry in values["secret"]} == connections | {"AIRFLOW__CONSENT_RETL__DIGEST_KEY"}
    assert "digest_key" in OPTIONS
    assert all(entry.keys() == {"envName", "secretName", "secretKey"} for entry in values["secret"])


def test_connections_and_buckets_of_the_values_have_one_name(values: dict[str, Any]) -> None:
    settings = values["config"]["consent_retl"]

    assert f"AIRFLOW_CONN_{settings['ledger_conn_id'].upper()}" in {entry["envName"] for entry in values["secret"]}
    assert settings["workspace"].startswith("s3://aws_retl@")
    assert settings["policy"].startswith("file:s3://aws_retl@")


def test_the_page_on_settings_has_every_option() -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()

    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == OPTIONS
