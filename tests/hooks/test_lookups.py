"""A Variable or a connection that a secrets backend cannot give now is another thing than one that does not exist."""

from __future__ import annotations

import json
from contextlib import suppress
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse
from airflow.secrets.base_secrets import BaseSecretsBackend

from airflow_consent_retl.errors import ConfigurationError, SecretsUnavailableError, TransientError
from airflow_consent_retl.hooks.lookups import connection_named, variable_named

SECRET = "hvs.canary-token"


class DownBackend(BaseSecretsBackend):
    """A vault that does not answer, and whose error quotes its token."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        raise ConnectionResetError(f"token {SECRET} for {conn_id}")

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        raise RuntimeError(f"token {SECRET} for {key}")


class SilentBackend(BaseSecretsBackend):
    """A vault that returns nothing also where it fails, as those of several vendors do."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        return None

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        return None


def use(monkeypatch: pytest.MonkeyPatch, backend: type[BaseSecretsBackend]) -> None:
    # A process that has a backend keeps it.
    # Airflow 3.1 keeps no backends.
    with suppress(ModuleNotFoundError):
        monkeypatch.setattr(import_module("airflow.sdk.configuration"), "_secrets_backend_cache", {}, raising=False)
    for section in ("SECRETS__BACKEND", "WORKERS__SECRETS_BACKEND"):
        monkeypatch.setenv(f"AIRFLOW__{section}", f"{__name__}.{backend.__name__}")


def test_a_backend_that_fails_is_an_error_that_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, DownBackend)

    with pytest.raises(
        SecretsUnavailableError, match=r"DownBackend failed .* Variable `policy` \(RuntimeError\)"
    ) as one:
        variable_named("policy", asked_by="policy")
    with pytest.raises(SecretsUnavailableError, match=r"for connection `crm` \(ConnectionResetError\)") as other:
        connection_named("crm")

    assert issubclass(SecretsUnavailableError, TransientError)
    assert SECRET not in str(one.value) + str(other.value)


def test_another_place_that_has_the_name_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, DownBackend)
    monkeypatch.setenv("AIRFLOW_VAR_POLICY", "{}")
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": "/srv/crm.db"}))

    assert variable_named("policy", asked_by="policy") == "{}"
    assert connection_named("crm").host == "/srv/crm.db"


def test_a_backend_that_returns_nothing_leaves_both_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, SilentBackend)

    with pytest.raises(ConfigurationError, match=r"there is no Variable `policy`.* If SilentBackend has it, "):
        variable_named("policy", asked_by="policy")
    with pytest.raises(ConfigurationError, match=r"there is no connection `crm`.* If SilentBackend has it, "):
        connection_named("crm")


def test_without_a_backend_a_missing_name_is_certain() -> None:
    with pytest.raises(ConfigurationError) as refused:
        connection_named("nowhere")

    assert "secrets backend failed" not in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (ErrorType.API_SERVER_ERROR, SecretsUnavailableError, "Airflow does not answer when it is asked for"),
        (ErrorType.GENERIC_ERROR, SecretsUnavailableError, "Airflow does not answer when it is asked for"),
        *(
            (refused, ConfigurationError, "Airflow does not allow this process to read the")
            # Airflow 3.1 has no such answer.
            for refused in ErrorType
            if refused.name == "PERMISSION_DENIED"
        ),
        (ErrorType.VARIABLE_NOT_FOUND, ConfigurationError, "there is no "),
        (ErrorType.CONNECTION_NOT_FOUND, ConfigurationError, "there is no "),
        (EOFError("closed"), SecretsUnavailableError, r"\(EOFError\)"),
    ],
    ids=str,
)
def test_a_task_whose_server_does_not_answer_is_retried(
    monkeypatch: pytest.MonkeyPatch, answer: ErrorType | Exception, error: type[Exception], message: str
) -> None:
    def send(asked: Any) -> ErrorResponse:
        if isinstance(answer, Exception):
            raise answer
        return ErrorResponse(error=answer, detail={"message": f"about {asked}"})

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=send), raising=False)

    with pytest.raises(error, match=message):
        variable_named("policy", asked_by="policy")
    with pytest.raises(error, match=message):
        connection_named("crm")
