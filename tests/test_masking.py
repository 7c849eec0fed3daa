"""Tests of the masking of connections' extras."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from airflow.sdk import Connection
from airflow.sdk._shared.secrets_masker import _secrets_masker, redact

from airflow_consent_retl.destinations.http.address import http_address
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.masking import mask_extra
from airflow_consent_retl.storage.location import open_folder


@contextmanager
def clean_mask() -> Iterator[None]:
    """Forget the secrets that other tests made Airflow mask, and those of this one."""
    masker = _secrets_masker()
    patterns, replacer = masker.patterns, masker.replacer
    masker.reset_masker()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        masker.reset_masker()  # type: ignore[no-untyped-call]
        masker.patterns, masker.replacer = patterns, replacer


def shown(text: str, extra: object) -> str:
    with clean_mask():
        mask_extra(Connection(conn_id="c", conn_type="http", extra=json.dumps(extra)))
        return str(redact(text))


@pytest.mark.parametrize(
    "extra",
    [
        {"headers": {"X-Tenant": "s3cr3t-value"}},
        {"headers": {"User": "s3cr3t-value"}},
        {"token": "s3cr3t-value"},
        {"webhook_handle": "s3cr3t-value"},
        {"extra__google_cloud_platform__keyfile_dict": json.dumps({"private_key": "s3cr3t-value"})},
        {"keyfile_dict": {"private_key_id": ["s3cr3t-value"]}},
    ],
)
def test_masks_every_text_whose_key_is_not_known_to_be_harmless(extra: object) -> None:
    assert shown("the call had s3cr3t-value in it", extra) == "the call had *** in it"


@pytest.mark.parametrize(
    "extra",
    [
        {"project": "my-project", "allow_private": True},
        {"extra__google_cloud_platform__project": "my-project"},
        {"keyfile_dict": json.dumps({"type": "service_account", "project_id": "my-project"})},
        {"token": "proj"},
    ],
)
def test_leaves_names_of_places_and_short_texts_readable(extra: object) -> None:
    assert shown("reading my-project", extra) == "reading my-project"


def test_an_extra_that_is_no_object_is_masked_as_a_whole() -> None:
    with clean_mask():
        mask_extra(Connection(conn_id="c", conn_type="http", extra='"bare-secret"'))

        assert redact('it was "bare-secret"') == "it was ***"


def test_an_http_connection_is_masked_before_it_is_used() -> None:
    extra = json.dumps({"headers": {"X-Shop": "s3cr3t-value"}})
    with clean_mask():
        http_address(Connection(conn_id="c", conn_type="http", host="https://example.com", extra=extra), endpoint="/v1")

        assert redact("s3cr3t-value") == "***"


def test_a_databases_connection_is_masked_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "sqlite", "host": ":memory:", "extra": {"licence": "s3cr3t-value"}}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    with clean_mask():
        sql_hook("warehouse")

        assert redact("s3cr3t-value") == "***"


def test_an_object_storages_connection_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "aws", "extra": {"region_name": "eu-west-1", "assume_role_external": "s3cr3t-value"}}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE_TO_MASK", json.dumps(connection))
    with clean_mask():
        open_folder("s3://lake_to_mask@bucket/workspace")

        assert redact("s3cr3t-value in eu-west-1") == "*** in eu-west-1"
