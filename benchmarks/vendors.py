"""The benchmark of vendors over HTTP: this package and drt-core, the same rows, the same server, in one run.

    python benchmarks/vendors.py [--rows 20000] [--latency-ms 50] [--vendors hubspot] [--json figures.json]

The server answers as the vendor does, after the latency; a job of Klaviyo or Salesforce is over when it is asked for.
No limit of a vendor is kept on either side: what is compared is how many requests a load needs, and how many of them
are on their way at once. This package's destination is called as a load does: `open`, `send` from as many threads as
its limits say, `commit`. drt-core's sends from one thread, as its engine calls it, with its fastest settings; where it
sends a request for each row, it gets a part of the rows, and where it sends batches, both get ten times the rows.

Rows per second are compared, and the processor time for the same rows, without the server's; the ratio counts.
Salesforce takes a whole file in one request from both: there, this package reads what became of each row, and drt-core
does not, unless a row failed. So it is compared twice: as it is, and with all results read after it, in the way that it
reads those of rows that failed (`salesforce_rows`): what a load has to do that says of each row whether it arrived.
"""

from __future__ import annotations

import csv
import hashlib
import http.client
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
from measure import parser, show, write_figures
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce

from airflow_consent_retl.contract import Batch, Destination, DestinationSpec, Load, Outcomes, RowStatus
from airflow_consent_retl.contract.account_rate import RateBlock
from airflow_consent_retl.destinations.hubspot.options import HubSpotSpec
from airflow_consent_retl.destinations.klaviyo.options import KlaviyoSpec
from airflow_consent_retl.destinations.meta_conversions.options import MetaConversionsSpec
from airflow_consent_retl.destinations.salesforce.destination import SalesforceDestination
from airflow_consent_retl.destinations.salesforce.options import SalesforceOptions

REPEATS = 3
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Vendor:
    """One vendor: its rows, the destination of this package at a port, and a call of drt-core that returns its rows.

    `one_by_one`: drt-core sends a request for each row.
    """

    rows: Callable[[int], pa.Table]
    key_field: str
    build: Callable[[int], Destination]
    drt: Callable[[int, Rows], int]
    one_by_one: bool


def contacts(rows: int) -> pa.Table:
    numbers = range(rows)
    return pa.table(
        {
            "email": [f"person.{number}@mail{number % 97}.example.com" for number in numbers],
            "firstname": [f"Name{number % 1009}" for number in numbers],
            "city": [("Ghent", "Oslo", "Bonn")[number % 3] for number in numbers],
        }
    )


def profiles(rows: int) -> pa.Table:
    return contacts(rows).rename_columns(["email", "first_name", "location.city"])


def events(rows: int) -> pa.Table:
    now = int(time.time()) - 60
    numbers = range(rows)
    texts = {
        "event_id": [f"order-{number}" for number in numbers],
        "event_name": ["Purchase"] * rows,
        "action_source": ["system_generated"] * rows,
        "email": [f"person.{number}@mail{number % 97}.example.com" for number in numbers],
    }
    return pa.table({**texts, "event_time": pa.array([now] * rows, pa.int64())})


def drt_hubspot(port: int, rows: Rows) -> int:
    from drt.config.base import BearerAuth, RateLimitConfig
    from drt.config.destinations_saas import HubSpotDestinationConfig
    from drt.config.sync_options import SyncOptions
    from drt.destinations import hubspot

    hubspot._HUBSPOT_API = f"http://127.0.0.1:{port}/crm/v3/objects"
    config = HubSpotDestinationConfig(
        type="hubspot",
        auth=BearerAuth(type="bearer", token="token"),  # noqa: S106 - of the server here
        rate_limit=RateLimitConfig(requests_per_second=0),
    )
    sent: int = hubspot.HubSpotDestination().load(rows, config, SyncOptions(batch_size=len(rows))).success
    return sent


def drt_meta_conversions(port: int, rows: Rows) -> int:
    from drt.config.base import RateLimitConfig
    from drt.config.destinations_saas import MetaConversionsDestinationConfig
    from drt.config.sync_options import SyncOptions
    from drt.destinations import meta_conversions

    meta_conversions._BASE_URL = f"http://127.0.0.1:{port}"
    config = MetaConversionsDestinationConfig(
        type="meta_conversions",
        pixel_id="1234567890",
        access_token="token",  # noqa: S106 - of the server here
        action_source="system_generated",
        event_name_field="event_name",
        event_time_field="event_time",
        event_id_field="event_id",
        email_field="email",
        rate_limit=RateLimitConfig(requests_per_second=0),
    )
    options = SyncOptions(batch_size=len(rows))
    sent: int = meta_conversions.MetaConversionsDestination().load(rows, config, options).success
    return sent


def drt_klaviyo(port: int, rows: Rows) -> int:
    from drt.config.base import RateLimitConfig
    from drt.config.destinations_saas import KlaviyoDestinationConfig
    from drt.config.sync_options import SyncOptions
    from drt.destinations import klaviyo

    klaviyo._BASE = f"http://127.0.0.1:{port}/api"
    config = KlaviyoDestinationConfig(
        type="klaviyo",
        api_key="token",
        rate_limit=RateLimitConfig(requests_per_second=0),
    )
    sent: int = klaviyo.KlaviyoDestination().load(rows, config, SyncOptions(batch_size=len(rows))).success
    return sent


def drt_salesforce(port: int, rows: Rows) -> int:
    from drt.config.destinations_saas import SalesforceBulkDestinationConfig
    from drt.config.sync_options import SyncOptions
    from drt.destinations.salesforce_bulk import SalesforceBulkDestination

    credentials = {name: f"DRT_{name.upper()}" for name in ("client_id", "client_secret", "username", "password")}
    os.environ.update(dict.fromkeys(credentials.values(), "token"))
    config = SalesforceBulkDestinationConfig(
        type="salesforce_bulk",
        instance_url=f"http://127.0.0.1:{port}",
        object_name="Contact",
        external_id_field="Customer_Key__c",
        **{f"{name}_env": variable for name, variable in credentials.items()},
    )
    destination = SalesforceBulkDestination()
    destination.stage(rows, config, SyncOptions(batch_size=len(rows)))
    sent: int = destination.finalize(config, SyncOptions(batch_size=len(rows))).success
    return sent


def drt_salesforce_rows(port: int, rows: Rows) -> int:
    drt_salesforce(port, rows)
    client = http.client.HTTPConnection("127.0.0.1", port)
    arrived: dict[str, bool] = {}
    for table, is_applied in (("successfulResults", True), ("failedResults", False), ("unprocessedrecords", False)):
        client.request("GET", f"/services/data/v58.0/jobs/ingest/last/{table}")
        text = client.getresponse().read().decode()
        arrived.update((line["Customer_Key__c"], is_applied) for line in csv.DictReader(io.StringIO(text)))
    client.close()
    return sum(arrived[row["Customer_Key__c"]] for row in rows)


class Plain(HTTPAdapter):
    """Reaches the server here without TLS, as drt-core does."""

    def send(self, request: PreparedRequest, **options: Any) -> Response:  # type: ignore[override]
        """Send without TLS."""
        request.url = str(request.url).replace("https://", "http://", 1)
        return super().send(request, **options)


def salesforce(port: int) -> Destination:
    def connect() -> Salesforce:
        session = Session()
        session.mount("https://", Plain())
        return Salesforce(session_id="token", instance=f"127.0.0.1:{port}", session=session)

    options = SalesforceOptions(sobject="Contact", external_id="Customer_Key__c", on_withdrawal="delete")
    return SalesforceDestination(connect, options, domain="login.salesforce.com", user="")


def people_at_salesforce(rows: int) -> pa.Table:
    return contacts(rows).rename_columns(["Customer_Key__c", "FirstName", "MailingCity"])


def of_spec(spec: DestinationSpec) -> Callable[[int], Destination]:
    return lambda port: spec.build()


VENDORS = {
    "hubspot": Vendor(
        contacts, "email", of_spec(HubSpotSpec(hub_id="1", on_withdrawal="archive")), drt_hubspot, one_by_one=True
    ),
    "klaviyo": Vendor(
        profiles,
        "email",
        of_spec(KlaviyoSpec(account_id="1", on_withdrawal="suppress", known_by="email")),
        drt_klaviyo,
        one_by_one=True,
    ),
    "meta_conversions": Vendor(
        events,
        "event_id",
        of_spec(MetaConversionsSpec(dataset_id="1234567890")),
        drt_meta_conversions,
        one_by_one=False,
    ),
    "salesforce": Vendor(people_at_salesforce, "Customer_Key__c", salesforce, drt_salesforce, one_by_one=False),
    "salesforce_rows": Vendor(
        people_at_salesforce, "Customer_Key__c", salesforce, drt_salesforce_rows, one_by_one=False
    ),
}
CONNECTIONS = {"CONSENTHUBSPOT": "consenthubspot", "CONSENTKLAVIYO": "consentklaviyo", "CONSENTMETA": "consentmeta"}


@contextmanager
def served(latency_ms: float) -> Iterator[int]:
    """Run the server, make connections to it, and yield its port."""
    script = Path(__file__).with_name("vendors_server.py")
    with subprocess.Popen([sys.executable, str(script), str(latency_ms)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            for name, conn_type in CONNECTIONS.items():
                connection = {"conn_type": conn_type, "host": f"http://127.0.0.1:{port}", "password": "token"}
                extra = {"allow_private": True}
                os.environ[f"AIRFLOW_CONN_{name}_DEFAULT"] = json.dumps({**connection, "extra": extra})
            yield port
        finally:
            process.terminate()


def counted(port: int) -> int:
    """Return the number of rows that have arrived since the last call."""
    client = http.client.HTTPConnection("127.0.0.1", port)
    client.request("GET", "/")
    rows = int(json.loads(client.getresponse().read())["rows"])
    client.close()
    return rows


def ours(port: int, vendor: Vendor, table: pa.Table) -> tuple[float, float]:
    """Return rows per second, and per second of processor time, of this package, without the vendor's limits."""
    destination = vendor.build(port)
    limits = destination.limits
    load = Load(
        key="0" * 64,
        destination="vendor",
        model="people",
        schema=table.schema,
        key_field=vendor.key_field,
        rows=table.num_rows,
        decided_at=datetime.now(UTC),
        # Every request that a worker asks for may be made.
        reserve=lambda _, wanted: RateBlock(wanted, valid_s=3600),
    )
    batches = table.combine_chunks().to_batches(max_chunksize=limits.batch_rows)

    def send(numbered: tuple[int, pa.RecordBatch]) -> Outcomes:
        number, rows = numbered
        outcomes = destination.send(Batch(key=hashlib.sha256(str(number).encode()).hexdigest(), rows=rows))
        if outcomes.common.status is RowStatus.PENDING:
            code = outcomes.common.code
            outcomes = destination.confirm_rows(code, len(outcomes), lambda: rows) or outcomes
        return outcomes

    started, cpu = time.perf_counter(), time.process_time()
    destination.open(load)
    with ThreadPoolExecutor(limits.concurrency) as threads:
        outcomes = Outcomes.concatenated(threads.map(send, enumerate(batches)))
    destination.commit()
    elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    assert outcomes == Outcomes.accepted(table.num_rows), outcomes.counts()
    assert counted(port) == table.num_rows
    return table.num_rows / elapsed_s, table.num_rows / cpu_s


def theirs(port: int, vendor: Vendor, rows: Rows) -> tuple[float, float]:
    """Return the same of drt-core's destination."""
    started, cpu = time.perf_counter(), time.process_time()
    sent = vendor.drt(port, rows)
    elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    assert sent == counted(port) == len(rows)
    return sent / elapsed_s, sent / cpu_s


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=20_000)
    options.add_argument("--latency-ms", type=float, default=50)
    options.add_argument("--vendors", default=",".join(VENDORS))
    chosen = options.parse_args()

    figures: list[dict[str, Any]] = []
    with served(chosen.latency_ms) as port:
        for name in chosen.vendors.split(","):
            vendor = VENDORS[name]
            table = vendor.rows(chosen.rows if vendor.one_by_one else 10 * chosen.rows)
            part = table.slice(0, max(20, chosen.rows // 200) if vendor.one_by_one else None).to_pylist()
            ours(port, vendor, table.slice(0, 1000))
            # In turns, so that a busy machine slows both. The median counts.
            rounds = [(ours(port, vendor, table), theirs(port, vendor, part)) for _ in range(REPEATS)]
            (mine, mine_cpu), (other, other_cpu) = (
                [sorted(some)[REPEATS // 2] for some in zip(*way, strict=True)] for way in zip(*rounds, strict=True)
            )
            figures.append(
                {
                    "vendor": name,
                    "ours": round(mine),
                    "drt": round(other),
                    "ratio": round(mine / other, 1),
                    "cpu_ratio": round(other_cpu / mine_cpu, 2),
                }
            )
    show(
        f"{chosen.rows:,} rows, {10 * chosen.rows:,} where both send batches, {chosen.latency_ms:g} ms latency; "
        f"drt-core {version('drt-core')}",
        ["vendor", "rows/s", "drt-core, rows/s", "ratio", "processor time"],
        [
            [one["vendor"], f"{one['ours']:,}", f"{one['drt']:,}", f"{one['ratio']:,.1f}", f"{one['cpu_ratio']:,.2f}"]
            for one in figures
        ],
    )
    write_figures(chosen.json, figures)


if __name__ == "__main__":
    main()
