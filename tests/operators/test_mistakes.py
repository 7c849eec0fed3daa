"""The mistakes that people make first: the task says what is wrong, where, and what to do, in words."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow.sdk import DAG
from support.loading import deliver
from support.log_lines import fitting, task_fails
from support.permitting import CONSENT, POLICY, warehouse_with
from support.servers import apply_and, receiver, says

from airflow_consent_retl.destinations.files.destination import FilesDestination
from airflow_consent_retl.destinations.files.options import FilesOptions
from airflow_consent_retl.destinations.webhook.options import WebhookSpec
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError, PolicyError
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToSqlTableOperator,
    LoadToWebhookOperator,
)
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.sync_folder import SyncFolder
from airflow_consent_retl.sync import consent_sync

PLACE = "variable:consent_policy"
FIELDS = {"id": "id", "email": "email"}
SERVER: dict[str, Any] = {"conn_type": "http", "host": "127.0.0.1", "extra": {"allow_private": True}}
ROWS = pa.table({"id": [1], "email": ["a@example.com"]})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace, a warehouse with five customers, and a policy in a Variable."""
    path = tmp_path_factory.mktemp("mistakes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (path / "workspace").as_uri())
        patch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(POLICY))
        warehouse_with(path, patch)
        connect(patch, "crm", conn_type="sqlite", host=str(path / "crm.db"))
        yield path


@pytest.fixture(scope="module")
def snapshot(shared: Path) -> Any:
    return extract()


@pytest.fixture(scope="module")
def permitted(snapshot: Any) -> Any:
    return decide(snapshot=snapshot)


@pytest.fixture(autouse=True)
def _deployment(shared: Path) -> None:
    """Every test has the warehouse and the policy."""


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str, **connection: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))


def extract(**changes: Any) -> Any:
    parameters = {"model": "customers", "conn_id": "warehouse", "sql": "SELECT * FROM customers", "primary_key": "id"}
    return ExtractModelOperator(task_id="extract", **{**parameters, **changes}).execute({})


def decide(**changes: Any) -> Any:
    parameters: dict[str, Any] = {"policy": PLACE, "consent": CONSENT, "destinations": ["webhook"]}
    return ConsentFilterOperator(task_id="consent", **{**parameters, **changes}).execute({})


def send(**changes: Any) -> Any:
    parameters: dict[str, Any] = {"destination": "webhook", "fields": FIELDS, "conn_id": "crm_http", "endpoint": "/v1"}
    return LoadToWebhookOperator(task_id="load", policy=PLACE, **{**parameters, **changes}).execute({})


def store(**changes: Any) -> Any:
    parameters: dict[str, Any] = {"destination": "webhook", "fields": FIELDS, "conn_id": "crm", "table": "people"}
    return LoadToSqlTableOperator(task_id="load", policy=PLACE, **{**parameters, **changes}).execute({})


def failure(work: Callable[..., Any], **changes: Any) -> str:
    """Return the message of a task that Airflow does not retry. Its lines fit into Airflow's pages."""
    with task_fails() as failed:
        work(**changes)
    return str(failed.value)


def unreachable(*, timeout_s: float = 5) -> str:
    """Return the message of a webhook that cannot be reached, which Airflow retries."""
    spec = WebhookSpec(conn_id="crm_http", endpoint="/v1", max_attempts=1, timeout_s=timeout_s)
    with pytest.raises(DestinationUnavailableError) as failed:
        deliver(spec.build(), ROWS)
    return str(failed.value)


# The policy, the mapping and the destinations


def test_1_a_consent_column_that_is_not_there_is_named_with_the_nearest(snapshot: Any) -> None:
    message = failure(decide, snapshot=snapshot, consent={**CONSENT, "C0002": "analytic_ok"})

    assert "column `analytic_ok` is not in the model, did you mean `analytics_ok`? @ consent.C0002" in message


def test_2_a_category_that_is_not_there_is_named_with_the_nearest(snapshot: Any) -> None:
    message = failure(decide, snapshot=snapshot, consent={"C002": "analytics_ok", "C0004": "ads_ok"})

    assert "category `C002` is not in the policy, did you mean `C0002`? @ consent.C002" in message
    assert "category `C0002`, required by `webhook`, has no entry in the consent mapping @ consent.C0002" in message


def test_3_a_misspelt_destination_is_never_another_one(snapshot: Any) -> None:
    message = failure(decide, snapshot=snapshot, destinations=["webhok"])

    assert message.endswith(
        "destination `webhok` is not in the policy, did you mean `webhook`? If it is another one, name it in the "
        "policy's `destinations` section @ destinations[0]"
    )


def test_4_a_variable_that_is_not_there_is_named_with_who_asks_and_how_to_set_it(snapshot: Any) -> None:
    message = failure(decide, snapshot=snapshot, policy="variable:consent_polcy")

    assert message == (
        'there is no Variable `consent_polcy`, which `policy="variable:consent_polcy"` names, did you mean '
        '`consent_policy`? To set it: `airflow variables set consent_polcy "$(cat policy.json)"`. Outside of tasks, '
        "Airflow shows a process only its environment and secrets backends: set `AIRFLOW_VAR_CONSENT_POLCY`, "
        "or name the policy's file, where a command has --policy-file"
    )


def test_4_the_deployments_policy_names_the_setting_that_asks(snapshot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", "variable:company")

    message = failure(decide, snapshot=snapshot, policy=None)

    assert message.startswith("there is no Variable `company`, which `[consent_retl] policy` names. To set it: ")


def test_12_a_comma_too_many_is_called_that(snapshot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", '{\n  "categories": [],\n}')

    assert failure(decide, snapshot=snapshot).endswith(
        "the document is not JSON: a comma too many (line 2, column 19) @ $"
    )


@pytest.mark.parametrize(("document", "place"), [('{"categories": [1, ]}', "(line 1, column 18)"), ("{,}", None)])
def test_12_a_comma_is_too_many_only_before_a_bracket(
    snapshot: Any, monkeypatch: pytest.MonkeyPatch, document: str, place: str | None
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", document)

    message = failure(decide, snapshot=snapshot)

    assert (f"a comma too many {place} @ $" in message) if place else ("a comma too many" not in message)


def test_13_a_category_whose_id_is_a_number_has_to_be_quoted(snapshot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = {"categories": [{"id": 4, "name": "Advertising", "destinations": ["webhook"]}]}
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(policy))

    assert failure(decide, snapshot=snapshot).endswith(
        "expected text, found a number: write it in quotes @ $.categories[0].id"
    )


def test_14_a_destination_named_twice_is_found_when_the_dag_is_parsed() -> None:
    with DAG("d"), pytest.raises(PolicyError, match=r"destination `lake` is asked for twice @ destinations\[2\]"):
        ConsentFilterOperator(task_id="consent", snapshot={}, destinations=["lake", "webhook", "lake"])


def test_14_a_destination_that_a_template_names_twice_is_found_by_the_filter(snapshot: Any) -> None:
    operator = ConsentFilterOperator(
        task_id="consent", snapshot=snapshot, policy=PLACE, consent=CONSENT, destinations=["{{ a }}", "{{ b }}"]
    )
    operator.destinations = ["webhook", "webhook"]

    assert failure(lambda: operator.execute({})).endswith("`webhook` is asked for twice @ destinations[1]")


def test_17_text_as_consent_is_refused_with_the_format_that_reads_it(snapshot: Any) -> None:
    message = failure(decide, snapshot=snapshot, consent={**CONSENT, "C0002": "email"})

    assert (
        "column `email` is text, expected boolean: declare the values that grant, Literals('email', granted=(...), "
        "denied=(...)) @ consent.C0002" in message
    )


# The model


def test_8_a_primary_key_that_is_not_there_is_named_with_the_nearest() -> None:
    assert failure(extract, primary_key="idd") == (
        "the query does not return the primary key `idd`, did you mean `id`? (it returns `id`, `email`, "
        "`analytics_ok`, `ads_ok`)"
    )


def test_9_an_extraction_without_a_primary_key_is_found_when_the_dag_is_parsed() -> None:
    with pytest.raises(TypeError, match="missing keyword argument 'primary_key'"):
        ExtractModelOperator(  # type: ignore[call-arg]
            task_id="extract", model="m", conn_id="warehouse", sql="SELECT 1 AS id"
        )


def test_11_a_table_that_is_not_there_is_named_with_the_nearest() -> None:
    message = failure(extract, sql="SELECT * FROM custmers")

    assert "custmers does not exist" in message
    assert "Did you mean" in message
    assert "customers" in message


def test_16_ids_that_occur_more_than_once_name_the_parameter_that_withholds_them() -> None:
    assert failure(extract, sql="SELECT 7 AS id FROM customers") == (
        "primary key `id` is not unique: in 5 rows, 1 id occurs more than once. Make them unique in the SQL, or "
        'withhold their rows: set on_duplicate_id="deny" at the filter and check_primary_key=False at the extraction '
        "(consent_sync needs the first only)"
    )


def sync_of(*, fields: dict[str, str]) -> DAG:
    with DAG("d") as dag:
        consent_sync(
            "customers",
            conn_id="warehouse",
            sql="SELECT * FROM customers",
            primary_key="id",
            policy=PLACE,
            consent=CONSENT,
            prune=False,
            loads={"webhook": partial(LoadToSqlTableOperator, conn_id="crm", table="t", fields=fields)},
        )
    return dag


def test_10_a_field_of_an_unknown_column_is_found_by_the_extraction(tmp_path: Path) -> None:
    extraction: Any = sync_of(fields={"id": "id", "email": "e_mail"}).get_task("customers.extract")
    extraction.workspace = (tmp_path / "workspace").as_uri()

    assert failure(lambda: extraction.execute({})) == (
        "task `customers.load_webhook`: fields['email']: column `e_mail` is not in the model, did you mean `email`?"
    )
    assert not list((tmp_path / "workspace").rglob("manifest.json"))


def test_10_where_people_were_delivered_the_load_may_still_remove_them(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SyncFolder(Folder.local(shared / "workspace"), "customers/webhook").new("delivered").make()
    extraction: Any = sync_of(fields={"id": "id", "email": "e_mail"}).get_task("customers.extract")

    assert extraction.execute({})["rows"] == 5
    told = " ".join(capsys.readouterr().out.split())
    assert "did you mean `email`?. It will remove the people who withdrew, and fail then" in told


# Between tasks


def test_15_a_permitted_set_of_another_dag_by_template_is_refused() -> None:
    assert failure(send, permitted="{'kind': 'permitted'}") == (
        "expected the output of an upstream ConsentFilterOperator, as in `permitted=task.output`, got str: a template "
        "turns the output into text"
    )


def test_18_a_load_of_a_destination_that_the_filter_did_not_decide_is_refused(permitted: Any) -> None:
    assert failure(send, permitted=permitted, destination="lake") == (
        "this permitted set was not made for destination `lake`: it was made for `webhook`"
    )


def test_21_a_sync_that_would_deliver_to_another_table_is_refused(permitted: Any, tmp_path: Path) -> None:
    place = {"permitted": permitted, "workspace": (tmp_path / "workspace").as_uri()}
    store(**place)

    message = failure(store, table="others", **place)

    assert "sync `customers/webhook` delivered to table `people`" in message
    assert "table `others`" in message
    assert "destination instance" in message


# Connections


@pytest.mark.parametrize("step", [extract, send, store])
def test_19_20_a_connection_that_is_not_there_is_named_with_the_nearest(
    permitted: Any, tmp_path: Path, step: Callable[..., Any]
) -> None:
    place = {} if step is extract else {"permitted": permitted, "workspace": (tmp_path / "workspace").as_uri()}

    assert failure(step, conn_id="warehousse", **place).startswith(
        "there is no connection `warehousse`, did you mean `warehouse`? "
        "`airflow connections list` shows those that exist; to make it: `airflow connections add warehousse"
    )


def test_5_a_connection_of_another_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "policy_conn", conn_type="consentpolicy", extra={"policy": json.dumps(POLICY)})

    assert "connection `policy_conn` is of type `consentpolicy`, which" in failure(extract, conn_id="policy_conn")


def test_23_a_webhook_needs_a_connection_type_that_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "crm_http", conn_type="generic", host="crm.example.com")

    with pytest.raises(ConfigurationError) as refused:
        WebhookSpec(conn_id="crm_http", endpoint="/v1").build()

    assert str(refused.value).startswith("connection `crm_http` is of type `generic`, an HTTP destination needs `")


def test_22_a_private_address_names_the_setting_that_permits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "crm_http", conn_type="http", host="127.0.0.1")

    with pytest.raises(DestinationError) as refused:
        deliver(WebhookSpec(conn_id="crm_http", endpoint="/v1").build(), ROWS)

    assert str(refused.value) == (
        "the host of connection `crm_http` resolves to 127.0.0.1, an address inside the own network; set "
        "`allow_private` in the connection's extra if that is meant"
    )


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_6_a_refused_connection_is_told_with_host_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    port = closed_port()
    connect(monkeypatch, "crm_http", **SERVER, port=port)

    assert unreachable() == (
        f"the webhook at `/v1` of connection `crm_http` accepted no request: 127.0.0.1, port {port}: the connection "
        "was refused: nothing listens there, or a firewall refuses"
    )


def test_6_a_host_that_lets_connections_wait_is_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.socket() as first:
        port = server.getsockname()[1]
        # The queue is full: further connections wait, as behind a firewall that drops them.
        first.connect(("127.0.0.1", port))
        with socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(("127.0.0.1", port))
            connect(monkeypatch, "crm_http", **SERVER, port=port)

            assert unreachable(timeout_s=0.2).endswith(
                f"127.0.0.1, port {port}: time-out: no connection within 0.2 s, as where a firewall drops everything"
            )


def test_6_a_name_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "crm_http", conn_type="http", schema="https", host="crm.invalid")

    assert unreachable() == (
        "the host of connection `crm_http` cannot be reached: crm.invalid, port 443: the name cannot be resolved: "
        "check its spelling, and the DNS of the worker"
    )


def test_6_a_host_without_tls_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect(monkeypatch, "crm_http", **{**SERVER, "host": "https://127.0.0.1"}, port=server.getsockname()[1])
        threading.Thread(target=plain_answer, args=(server,), daemon=True).start()

        message = unreachable()

    assert re.search(r"127\.0\.0\.1, port \d+: TLS failed \([A-Z_]+\): it speaks no TLS there", message)


def plain_answer(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_24_answers_that_are_not_understood_name_the_parameter_that_needs_none(
    monkeypatch: pytest.MonkeyPatch, permitted: Any, tmp_path: Path
) -> None:
    with receiver() as crm:
        connect(monkeypatch, "crm_http", **SERVER, port=crm.port)
        crm.answers.append(apply_and(says({})))
        with pytest.raises(DestinationUnavailableError) as failed:
            send(permitted=permitted, workspace=(tmp_path / "workspace").as_uri())

    assert fitting(failed.value) == (
        "`webhook`: the result of 1 of 1 rows so far is unknown (uncertain:unreadable_answer 1): the next try sends "
        "them again, with the same keys. The receiver's answers do not follow the contract of webhooks (see its page "
        'in the docs). If each answer 200 to 299 means that it took all rows, set answer="status" at the load. '
        "Otherwise it has to answer with `results`, `errors`, counts, or an empty body"
    )


# Folders


def test_7_a_folder_that_cannot_be_made_is_told_in_words() -> None:
    with pytest.raises(DestinationError) as refused:
        deliver(FilesDestination(FilesOptions(path="file:///proc/nope/lake")), ROWS)

    assert str(refused.value) == (
        "cannot open file:///proc/nope/lake: the folder does not exist and cannot be made: check the path, and whether "
        "its disk is mounted (ENOENT)"
    )


def test_7_a_workspace_that_cannot_be_made_is_told_in_words() -> None:
    message = failure(extract, workspace="file:///proc/nope/workspace")

    assert "the folder does not exist and cannot be made: check the path, and whether its disk is mounted" in message
    assert "Files go to the workspace /proc/nope/workspace" in message


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "denied"), "the worker's user has no right to write there: give it the right, or name"),
        (OSError(28, "full"), "the disk is full: free some space (ENOSPC)"),
        (OSError(9999, "?"), "OSError"),
    ],
)
def test_7_errors_of_the_disk_have_words(error: OSError, words: str) -> None:
    from airflow_consent_retl.operators.disk import in_words

    assert in_words(error).startswith(words)


def test_a_missing_policy_is_no_reason_to_retry() -> None:
    from airflow_consent_retl.hooks.policies import read_policy

    with pytest.raises(ConfigurationError, match="there is no connection `nowhere`"):
        read_policy("connection:nowhere")
