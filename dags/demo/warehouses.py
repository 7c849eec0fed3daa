"""The command that runs an example DAG of a warehouse twice through Airflow, against local stand-ins.

    python dags/demo/warehouses.py snowflake|bigquery [--rows 2000] [--home .demo]

The warehouse and the destination are servers on the loopback interface. The vendors' real clients talk to them. Before
the second run, some customers withdraw and some change. The command shows the outcome of both runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

DEMO = Path(__file__).resolve().parent
REPO = DEMO.parent.parent


@dataclass(frozen=True)
class Stage:
    """An example DAG with its servers and settings.

    Args:
        dag_id: the id of the DAG.
        environment: environment variables with connections and the policy.
        next_day: applies one day of changes in the warehouse, and returns a text about them.
        arrived: returns the number of people at the destination.
    """

    dag_id: str
    environment: dict[str, str]
    next_day: Callable[[], str]
    arrived: Callable[[], int]


def main() -> int:
    """Run and report. Return 0 if both runs succeeded and all numbers add up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("warehouse", choices=["snowflake", "bigquery"])
    parser.add_argument("--rows", type=int, default=2_000, help="number of invented customers")
    parser.add_argument("--home", type=Path, default=Path(".demo"), help="folder for everything that is written")
    arguments = parser.parse_args()
    home = arguments.home.absolute() / arguments.warehouse
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    sys.path[:0] = [str(DEMO), str(REPO / "tests")]
    from airflow_process import airflow_process
    from run import load_counts

    stages = {"snowflake": snowflake, "bigquery": bigquery}
    with (
        stages[arguments.warehouse](arguments.rows) as stage,
        airflow_process({**base_environment(home), **stage.environment}) as airflow,
    ):
        airflow.run("db", "migrate", log=home / "airflow-db.log")
        for day in ("first", "second"):
            if day == "second":
                print(f"\nthe next day: {stage.next_day()}")
            log = home / f"{day}-run.log"
            print(f"running the DAG {stage.dag_id} in Airflow, the {day} day\n")
            code = airflow.run("dags", "test", stage.dag_id, log=log, echo=True)
            if code:
                print(f"\nthe DAG run failed; Airflow's whole log is in {log}")
                return code
            (counts,) = load_counts(home / "airflow" / "airflow.db").values()
            arrived = stage.arrived()
            print(f"\nthe {day} day: {counts['permitted']} of {counts['read']} permitted, found there: {arrived}")
            if arrived != counts["permitted"]:
                print("the numbers do not add up: the counts of the tasks differ from the rows at the destination")
                return 1
    return 0


def base_environment(home: Path) -> dict[str, str]:
    """Return the environment variables of a demonstration's Airflow, without settings of another one in this shell."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **inherited,
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DEMO.parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__CONSENT_RETL__WORKSPACE": (home / "workspace").as_uri(),
    }


@contextmanager
def snowflake(rows: int) -> Iterator[Stage]:
    """Run a local Snowflake with customers, and a server with Google's Data Manager API."""
    from support.data_manager_server import data_manager
    from support.snowflake_server import Snowflake, running_snowflake

    with running_snowflake() as server, data_manager() as google, ExitStack() as resources:
        account = Snowflake(server, "DEMO")
        os.environ["REQUESTS_CA_BUNDLE"] = str(server.certificate)
        os.environ["AIRFLOW_CONN_SNOW"] = account.airflow_connection()
        resources.callback(os.environ.pop, "REQUESTS_CA_BUNDLE")
        account.run("CREATE SCHEMA CONSENT_STAGING")
        account.run(
            "CREATE TABLE CUSTOMERS (USER_ID NUMBER(38, 0), EMAIL VARCHAR, PHONE VARCHAR, CONSENT VARIANT, "
            "CONSENT_CHANGED_AT TIMESTAMP_TZ)"
        )
        account.run(f"INSERT INTO CUSTOMERS {_SNOWFLAKE_CUSTOMERS.format(rows=rows)}")

        def next_day() -> str:
            account.run("UPDATE CUSTOMERS SET EMAIL = 'new.' || EMAIL WHERE USER_ID % 100 = 2")
            account.run(
                """UPDATE CUSTOMERS SET CONSENT = PARSE_JSON('{"categoryPreferences": {"C0004": false}}') """
                "WHERE USER_ID % 50 = 3"
            )
            return "one in a hundred has another e-mail, one in fifty withdrew"

        policy = {"categories": [{"id": "C0004", "name": "Advertising", "destinations": ["google_ads"]}]}
        connection = {
            "conn_type": "google_cloud_platform",
            "extra": {"data_manager_endpoint": google.endpoint, "is_anonymous": True},
        }
        yield Stage(
            dag_id="snowflake_to_google",
            environment={
                "AIRFLOW_CONN_SNOWFLAKE": account.airflow_connection(),
                "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(connection),
                "AIRFLOW_VAR_CONSENT_POLICY": json.dumps(policy),
                "GOOGLE_CONFIRM_INTERVAL_S": "0.2",
                "REQUESTS_CA_BUNDLE": str(server.certificate),
            },
            next_day=next_day,
            # Each person has two identifiers.
            arrived=lambda: len({identifiers for _, identifiers in google.audience}) // 2,
        )


_SNOWFLAKE_CUSTOMERS = """
SELECT n, 'person' || n || '@example.com', '+4930' || (1000000 + n),
    PARSE_JSON(CASE n % 5
        WHEN 0 THEN '{{"categoryPreferences": {{"C0004": false}}}}' WHEN 1 THEN '{{"categoryPreferences": {{}}}}'
        ELSE '{{"categoryPreferences": {{"C0004": true, "C0002": true}}}}'
    END), '2026-01-01 00:00:00+00:00'::TIMESTAMP_TZ
FROM (SELECT SEQ8() + 1 AS n FROM TABLE(GENERATOR(ROWCOUNT => {rows})))
"""


@contextmanager
def bigquery(rows: int) -> Iterator[Stage]:
    """Run a local BigQuery with customers and a partner's webhook."""
    from ads_server import ads_server
    from support.bigquery_server import BigQuery, running_bigquery

    with running_bigquery() as server, ads_server() as (port, received), ExitStack() as resources:
        account = BigQuery(server, "demo-project")
        os.environ["BIGQUERY_EMULATOR_HOST"] = server.url
        os.environ["AIRFLOW_CONN_BQ"] = account.airflow_connection()
        resources.callback(os.environ.pop, "BIGQUERY_EMULATOR_HOST")
        for name in ("marketing", "consent_staging"):
            account.dataset(name)
        account.run(_BIGQUERY_CUSTOMERS.format(rows=rows))

        def next_day() -> str:
            account.run(
                "UPDATE marketing.customers SET email = CONCAT('new.', email) WHERE MOD(user_id, 100) = 2",
                "UPDATE marketing.customers SET ad_user_data = 'DENIED' WHERE MOD(user_id, 50) = 3",
            )
            return "one in a hundred has another e-mail, one in fifty withdrew"

        policy = {
            "categories": [
                {"id": "ad_user_data", "name": "User data", "destinations": ["partner_webhook"]},
                {"id": "ad_personalization", "name": "Personal ads", "destinations": ["partner_webhook"]},
            ]
        }
        partner = {"conn_type": "http", "host": "127.0.0.1", "port": port, "extra": {"allow_private": True}}
        yield Stage(
            dag_id="bigquery_to_webhook",
            environment={
                "AIRFLOW_CONN_BIGQUERY": account.airflow_connection(),
                "AIRFLOW_CONN_PARTNER_HTTP": json.dumps(partner),
                "AIRFLOW_VAR_CONSENT_POLICY": json.dumps(policy),
                "BIGQUERY_EMULATOR_HOST": server.url,
            },
            next_day=next_day,
            arrived=lambda: len(received.accepted),
        )


_BIGQUERY_CUSTOMERS = """
CREATE TABLE marketing.customers AS
SELECT n AS user_id, CONCAT('person', n, '@example.com') AS email, 'DE' AS country,
    CASE MOD(n, 5) WHEN 0 THEN 'DENIED' WHEN 1 THEN NULL ELSE 'GRANTED' END AS ad_user_data,
    'GRANTED' AS ad_personalization
FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS n
"""


if __name__ == "__main__":
    sys.exit(main())
