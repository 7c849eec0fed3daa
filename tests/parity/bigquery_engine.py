"""The seeded model on BigQuery, through BigQuery's own clients."""

from __future__ import annotations

import io
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from parity.engines import Engine, Row, text_of
from support.bigquery_server import BigQuery, BigQueryServer

_MODELS = "models"


class BigQueryEngine(Engine):
    """A separate project, with a dataset for models and one for staging."""

    name = "bigquery"
    types: ClassVar[Mapping[str, str]] = {
        "boolean": "BOOL",
        "text": "STRING",
        # BigQuery never pads.
        "padded": "STRING",
        # The stand-in has no collations; BigQuery would have `COLLATE 'und:ci'` here.
        "folded": "STRING",
        "integer": "INT64",
        "decimal": "NUMERIC",
        "huge": "BIGNUMERIC",
        "float": "FLOAT64",
        "moment": "DATETIME",
        "instant": "TIMESTAMP",
        "date": "DATE",
        "bytes": "BYTES",
        # It has no type that keeps the text of JSON, other than text.
        "json_text": "STRING",
        # The stand-in cannot read a nested part of JSON; `tests/databases/bigquery` reads whole JSON values.
        "json": "STRING",
    }
    cannot: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "decimal": {
            "30_whole_digits": "NUMERIC has 29 digits before the point",
            "4_places": "the stand-in's cast of text to NUMERIC keeps three decimal places",
        },
        "huge": {"38_digits": "the stand-in's BIGNUMERIC has 38 digits, five of them after the point"},
    }
    staging: ClassVar[str | None] = "staging"
    id_kinds: ClassVar[tuple[str, ...]] = ("text", "integer", "huge")

    def __init__(self, server: BigQueryServer) -> None:
        found = BigQuery(server, f"parity-{uuid.uuid4().hex[:12]}")
        super().__init__(found.airflow_connection(), BIGQUERY_EMULATOR_HOST=server.url)
        self._project = found.project
        with self.environment():
            client = self._client()
            for dataset in (_MODELS, self.staging):
                client.create_dataset(f"{self._project}.{dataset}")
            client.close()

    def create(self, table: str, kinds: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Load everything as text, then create the table from it."""
        from google.cloud.bigquery import LoadJobConfig, SchemaField, Table

        given = pa.table({name: pa.array([text_of(row[name]) for row in rows], pa.string()) for name in kinds})
        file = io.BytesIO()
        pq.write_table(given, file)
        file.seek(0)
        loaded, target = (f"{self._project}.{_MODELS}.{name}" for name in (f"given_{uuid.uuid4().hex}", table))
        selected = ", ".join(
            _READ.get(kind, "CAST({0} AS {1})").format(name, self.types[kind]) + f" AS {name}"
            for name, kind in kinds.items()
        )
        with self.environment():
            client = self._client()
            # The stand-in only loads into existing tables.
            client.create_table(Table(loaded, [SchemaField(name, "STRING") for name in kinds]))
            config = LoadJobConfig(source_format="PARQUET")
            client.load_table_from_file(file, loaded, job_config=config).result()
            client.query(f"DROP TABLE IF EXISTS `{target}`").result()
            client.query(f"CREATE TABLE `{target}` AS SELECT {selected} FROM `{loaded}`").result()
            client.close()

    def query(self, table: str, kinds: Mapping[str, str]) -> str:
        """Return a model's query."""
        return f"SELECT {', '.join(kinds)} FROM `{self._project}.{_MODELS}.{table}`"

    def _client(self) -> Any:
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

        return BigQueryHook(gcp_conn_id=self.conn_id).get_client(project_id=self._project)


_READ = {"json": "{0}", "bytes": "FROM_HEX({0})", "text": "{0}"}
