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
