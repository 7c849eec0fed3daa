"""A BigQuery for the tests: bqemulator's REST and Storage APIs, with what it lacks of BigQuery's own protocol.

Runs in an environment of its own (`constraints-bigquery.txt`), as a process that ends with its standard input. Before
bqemulator stands a server that has jobs run while nobody waits, ends them when they are cancelled, bills them, lets the
results of queries be read by the Storage API in BigQuery's types, and gives answers that a test asks for in advance.
Usage:

    python stand_in.py        prints `ports` and two numbers, of REST and of the Storage API
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
import grpc
import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
import uvicorn
from bqemulator.config import LogLevel, Settings  # type: ignore[import-not-found]
from bqemulator.grpc_api import read_servicer  # type: ignore[import-not-found]
from bqemulator.jobs.executor import JOB_RESULTS, JOB_SCHEMAS  # type: ignore[import-not-found]
from bqemulator.server import EmulatorServer  # type: ignore[import-not-found]
from bqemulator.streaming.read_session import create_read_session  # type: ignore[import-not-found]
from duckdb_extensions import import_extension  # type: ignore[import-not-found]
from google.cloud.bigquery_storage_v1 import types
from sqlglot import exp, parser
from sqlglot.dialects.dialect import Dialect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.kept_objects import keep_generators, keep_imported

_ANONYMOUS = "_bqemu_anonymous"
_API = "/bigquery/v2/projects/{project}"
_SOON_S = 0.1
_MESSAGE_BYTES = 1 << 20
_MEBIBYTE = 1 << 20
_CREATION = re.compile(r"CREATE TABLE \S+ OPTIONS \(.*?\]?\) AS\n", re.DOTALL)
_PLAIN_QUERY = re.compile(r"\s*(SELECT|WITH)\b(?!.*;)", re.IGNORECASE | re.DOTALL)
# Names of types in the API that SQL names otherwise.
_SQL = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}
# What httpx sets anew, or what belongs to one connection.
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection", "content-encoding"})
_HTTP_STATUS = {"accessDenied": 403, "quotaExceeded": 403, "notFound": 404, "rateLimitExceeded": 429}
_TYPES = {
    "INTEGER": pa.int64(),
    "FLOAT": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "STRING": pa.string(),
    "JSON": pa.string(),
    "BYTES": pa.binary(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "DATETIME": pa.timestamp("us"),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal256(76, 38),
}
_NAMED = {"JSON": "json", "DATETIME": "datetime"}


@dataclass
class Job:
    """One job, while it runs and afterwards."""

    project: str
    number: str
    location: str
    configuration: dict[str, Any]
    task: asyncio.Task[httpx.Response] | None = None
    document: dict[str, Any] | None = None
    is_cancelled: bool = False

    @property
    def text(self) -> str:
        """The SQL, or what kind of job it is."""
        query = self.configuration.get("query", {}).get("query")
        return str(query) if query is not None else "LOAD"


@dataclass
class State:
    """All that the tests can see of the server, and tell it."""

    jobs: dict[str, Job] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    # Answers asked for in advance: a pattern of a request or a statement, and what to answer, how many times.
    answers: list[dict[str, Any]] = field(default_factory=list)
    storage_answers: list[str] = field(default_factory=list)
    sessions: int = 0
    # What the next jobs read, and what is added to them that BigQuery has and the emulator has not.
    processed_bytes: int = 0
    lost_rows: int = 0
    # Of tables that were made by REST, in order; whether tables say that they hold fewer rows than they do.
    expirations: list[str | None] = field(default_factory=list)
    fewer_rows: bool = False
    # A pattern of statements that succeed and do nothing; and a collation that all tables have.
    swallowed: str | None = None
    collation: str | None = None
    kept: dict[str, str] | None = None


state = State()
emulator: Any = None
inner: Any = None


async def insert(request: Request) -> Response:
    """Start a job, as asked in advance, or by the emulator."""
    body = await request.json()
    reference = body.get("jobReference", {})
    job = Job(
        request.path_params["project"],
        reference.get("jobId", f"job_{len(state.jobs)}"),
        reference.get("location") or "US",
        body["configuration"],
    )
    if state.swallowed and re.match(state.swallowed, job.text, re.IGNORECASE):
        body["configuration"]["query"]["query"] = "SELECT 1"
    answer = _asked(request, job.text) or {"pass": True}
    if "pass" not in answer and "void" not in answer:
        if "job_reason" not in answer:
            return _failure(answer["status"], answer["reason"], answer["message"])
        job.document = _told(job, "DONE")
        problem = {"reason": answer["job_reason"], "message": answer["message"]}
        job.document["status"] |= {"errorResult": problem, "errors": [problem]}
    if job.configuration.get("dryRun"):
        return await _dry_run(request, body, job)
    if job.number in state.jobs:
        return _failure(409, "duplicate", f"Already Exists: Job {job.project}:{job.location}.{job.number}")
    state.jobs[job.number] = job
    if job.document is None and (limit := job.configuration.get("query", {}).get("maximumBytesBilled")):
        _check_limit(job, int(limit))
    if job.document is None and not _keep(job):
        job.task = asyncio.create_task(_forward(request, json.dumps(body).encode()))
        await asyncio.wait([job.task], timeout=_SOON_S)
    if "void" in answer:
        # The job has begun, and nobody was told.
        return _failure(503, "backendError", "as asked")
    return await _job_answer(job)


async def _dry_run(request: Request, body: dict[str, Any], job: Job) -> Response:
    """Say what a statement would give. The emulator would run it to its end."""
    if job.document is not None:
        problem = job.document["status"]["errorResult"]
        return _failure(_HTTP_STATUS.get(problem["reason"], 400), problem["reason"], problem["message"])
    text = job.text
    if creation := _CREATION.match(text):
        text = text[creation.end() :]
    if _PLAIN_QUERY.match(text):
        body["configuration"]["query"]["query"] = f"SELECT * FROM (\n{text}\n) LIMIT 0"
    response = await _forward(request, json.dumps(body).encode())
    document = response.json()
    if "errorResult" in document.get("status", {}):
        problem = document["status"]["errorResult"]
        return _failure(_HTTP_STATUS.get(problem["reason"], 400), problem["reason"], problem["message"])
    if response.status_code == 200:
        document["configuration"] = job.configuration
        document.setdefault("statistics", {}).setdefault("query", {})["totalBytesProcessed"] = str(
            state.processed_bytes
        )
        document["statistics"]["totalBytesProcessed"] = str(state.processed_bytes)
    return JSONResponse(document, status_code=response.status_code)


async def _job_answer(job: Job) -> Response:
    if job.document is None and job.task is not None and job.task.done():
        response = job.task.result()
        if response.status_code != 200:
            return Response(response.content, response.status_code, media_type="application/json")
        job.document = _finished(job, response.json())
    return JSONResponse(job.document or _told(job, "RUNNING"))


def _finished(job: Job, document: dict[str, Any]) -> dict[str, Any]:
    document["jobReference"]["location"] = job.location
    document["configuration"] = {**job.configuration, **document["configuration"]}
    if job.is_cancelled:
        problem = {"reason": "stopped", "message": "Job execution was cancelled: User requested cancellation"}
        document["status"] |= {"errorResult": problem, "errors": [problem]}
    elif "query" in job.configuration:
        document["statistics"] |= {"totalBytesProcessed": str(state.processed_bytes), "totalSlotMs": "1234"}
        document["statistics"]["query"] |= {
            "totalBytesProcessed": str(state.processed_bytes),
            "totalBytesBilled": str(_billed()),
        }
        destination = document["configuration"]["query"].get("destinationTable")
        if destination and destination["datasetId"] == _ANONYMOUS:
            state.results[destination["tableId"]] = job.number
            if state.kept is not None:
                state.kept[job.text] = job.number
    return document


def _keep(job: Job) -> bool:
    """Answer a statement that has run before with the same result, for a benchmark that is not about running it."""
    before = None if state.kept is None else state.kept.get(job.text)
    if before is None:
        return False
    document = json.loads(json.dumps(state.jobs[before].document))
    document["jobReference"]["jobId"] = job.number
    document["id"] = f"{job.project}:{job.number}"
    job.document = document
    JOB_RESULTS[job.number], JOB_SCHEMAS[job.number] = JOB_RESULTS[before], JOB_SCHEMAS[before]
    return True


def _check_limit(job: Job, limit: int) -> None:
    if _billed() > limit:
        message = f"Query exceeded limit for bytes billed: {limit}. {_billed()} or higher required."
        problem = {"reason": "bytesBilledLimitExceeded", "message": message}
        job.document = _told(job, "DONE")
        job.document["status"] |= {"errorResult": problem, "errors": [problem]}


def _billed() -> int:
    """Whole mebibytes, and at least ten of them, unless nothing was read."""
    if not state.processed_bytes:
        return 0
    return max(10, -(-state.processed_bytes // _MEBIBYTE)) * _MEBIBYTE


def _told(job: Job, status: str) -> dict[str, Any]:
    now = str(int(time.time() * 1000))
    kind = "QUERY" if "query" in job.configuration else "LOAD"
    return {
        "kind": "bigquery#job",
        "id": f"{job.project}:{job.location}.{job.number}",
        "jobReference": {"projectId": job.project, "jobId": job.number, "location": job.location},
        "configuration": {"jobType": kind, **job.configuration},
        "status": {"state": status},
        "statistics": {"creationTime": now, "startTime": now},
    }


async def job_of(request: Request) -> Response:
    """Tell how a job does."""
    job = state.jobs.get(request.path_params["job"])
    if answer := _asked(request):
        return _failure(answer["status"], answer["reason"], answer["message"])
    if job is None:
        return _failure(404, "notFound", f"Not found: Job {request.path_params['job']}")
    return await _job_answer(job)


async def cancel(request: Request) -> Response:
    """End a job, also one that has not quite begun."""
    job = state.jobs.get(request.path_params["job"])
    if job is None:
        return _failure(404, "notFound", f"Not found: Job {request.path_params['job']}")
    if job.task is not None and not job.task.done():
        job.is_cancelled = True
        while not job.task.done():
            emulator._engine.connection.interrupt()
            await asyncio.wait([job.task], timeout=0.02)
    answer = await _job_answer(job)
    return JSONResponse({"kind": "bigquery#jobCancelResponse", "job": json.loads(bytes(answer.body))})


async def results(request: Request) -> Response:
    """Return a page of a query's result, once there is one."""
    job = state.jobs.get(request.path_params["job"])
    if answer := _asked(request):
        return _failure(answer["status"], answer["reason"], answer["message"])
    if job is None:
        return _failure(404, "notFound", f"Not found: Job {request.path_params['job']}")
    if job.task is not None:
        await asyncio.wait([job.task], timeout=int(request.query_params.get("timeoutMs", 10_000)) / 1000)
    answered = await _job_answer(job)
    if answered.status_code != 200:
        return answered
    document = json.loads(bytes(answered.body))
    if document["status"]["state"] != "DONE":
        return JSONResponse({"kind": "bigquery#getQueryResultsResponse", "jobComplete": False, **_reference(job)})
    if problem := document["status"].get("errorResult"):
        return _failure(_HTTP_STATUS.get(problem["reason"], 400), problem["reason"], problem["message"])
    response = await _forward(request, b"")
    return JSONResponse({**response.json(), **_reference(job)}, status_code=response.status_code)


def _reference(job: Job) -> dict[str, Any]:
    return {"jobReference": {"projectId": job.project, "jobId": job.number, "location": job.location}}


async def rows(request: Request) -> Response:
    """Return a page of a table's rows, or of a query's result, which is a table without a name."""
    if answer := _asked(request):
        return _failure(answer["status"], answer["reason"], answer["message"])
    if request.path_params["dataset"] != _ANONYMOUS:
        return _as_answer(await _forward(request, b""))
    number = state.results[request.path_params["table"]]
    if number not in JOB_RESULTS:
        return _failure(404, "notFound", f"Not found: Table {_ANONYMOUS}.{request.path_params['table']}")
    wanted = {
        name: value for name, value in request.query_params.items() if name in ("maxResults", "startIndex", "pageToken")
    }
    path = _API.format(project=request.path_params["project"]) + f"/queries/{number}"
    page = (await inner.get(path, params=wanted)).json()
    return JSONResponse({name: page[name] for name in ("totalRows", "rows", "pageToken") if name in page})


async def make_table(request: Request) -> Response:
    """Make a table."""
    state.expirations.append((await request.json()).get("expirationTime"))
    return await other(request)


async def table(request: Request) -> Response:
    """Describe a table."""
    response = await other(request)
    if response.status_code != 200:
        return response
    document = json.loads(bytes(response.body))
    if state.fewer_rows:
        document["numRows"] = "0"
    if state.collation:
        document["defaultCollation"] = state.collation
    await _name_json(document)
    return JSONResponse(document)


async def change_table(request: Request) -> Response:
    """Change a table's description: the emulator leaves it to SQL to add columns to the table itself."""
    place = request.path_params
    before = (await inner.get(request.url.path)).json()
    known = {entry["name"] for entry in before["schema"]["fields"]}
    fields = (await request.json()).get("schema", {}).get("fields", [])
    name = f"{place['project']}.{place['dataset']}.{place['table']}"
    for entry in (one for one in fields if one["name"] not in known):
        column = f"`{entry['name']}` {_SQL.get(entry['type'], entry['type'])}"
        asked = {"query": f"ALTER TABLE `{name}` ADD COLUMN {column}", "useLegacySql": False}
        answer = (await inner.post(_API.format(project=place["project"]) + "/queries", json=asked)).json()
        if failures := answer.get("errors"):
            return _failure(400, failures[0]["reason"], failures[0]["message"])
    return _as_answer(await _forward(request, await request.body()))


async def _name_json(document: dict[str, Any]) -> None:
    """Correct a table's description: of a table that was made by SQL the emulator calls JSON a STRING."""
    fields = document.get("schema", {}).get("fields", [])
    if all(field["type"] != "STRING" for field in fields):
        return
    place = document["tableReference"]
    name = f"{place['projectId']}.{place['datasetId']}.{place['tableId']}"
    asked = {"query": f"SELECT * FROM `{name}` LIMIT 0", "useLegacySql": False}
    answer = await inner.post(f"/bigquery/v2/projects/{place['projectId']}/queries", json=asked)
    kinds = {field["name"]: field["type"] for field in answer.json()["schema"]["fields"]}
    for entry in fields:
        if kinds.get(entry["name"]) == "JSON":
            entry["type"] = "JSON"


async def other(request: Request) -> Response:
    """Let the emulator answer everything else."""
    if answer := _asked(request):
        return _failure(answer["status"], answer["reason"], answer["message"])
    response = await _forward(request, await request.body())
    if request.url.path.startswith("/upload") and '"jobReference"' in response.text:
        document = response.json()
        reference = document["jobReference"]
        job = Job(reference["projectId"], reference["jobId"], "US", document["configuration"], document=document)
        state.jobs[job.number] = job
    return _as_answer(response)


def _as_answer(response: httpx.Response) -> Response:
    headers = {name: value for name, value in response.headers.items() if name not in _OWN_HEADERS}
    return Response(response.content, response.status_code, headers=headers)


async def _forward(request: Request, content: bytes) -> httpx.Response:
    headers = {name: value for name, value in request.headers.items() if name not in _OWN_HEADERS}
    url = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    response: httpx.Response = await inner.request(request.method, url, headers=headers, content=content)
    return response


def _asked(request: Request, text: str = "") -> dict[str, Any] | None:
    seen = f"{request.method} {request.url.path}"
    state.requests.append(seen)
    for index, asked in enumerate(state.answers):
        if re.search(asked["pattern"], f"{seen} {text}", re.IGNORECASE | re.DOTALL):
            asked["times"] -= 1
            if not asked["times"]:
                del state.answers[index]
            found: dict[str, Any] = asked["answer"]
            return found
    return None


def _failure(status: int, reason: str, message: str) -> Response:
    problem = {"reason": reason, "message": message, "domain": "global"}
    return JSONResponse(
        {"error": {"code": status, "message": message, "errors": [problem], "status": reason}}, status_code=status
    )


async def control(request: Request) -> Response:
    """Do what a test asks for."""
    asked = await request.json()
    if asked.get("forget"):
        state.answers.clear()
        state.storage_answers.clear()
        state.requests.clear()
        state.jobs.clear()
        state.results.clear()
        JOB_RESULTS.clear()
        JOB_SCHEMAS.clear()
        state.expirations.clear()
        state.sessions, state.processed_bytes, state.lost_rows, state.fewer_rows = 0, 0, 0, False
        state.swallowed = state.collation = None
    if "answer" in asked:
        state.answers.append({"times": 1, **asked})
    state.storage_answers += asked.get("storage_answers", [])
    state.processed_bytes = asked.get("processed_bytes", state.processed_bytes)
    state.fewer_rows = asked.get("fewer_rows", state.fewer_rows)
    state.swallowed = asked.get("swallowed", state.swallowed)
    state.collation = asked.get("collation", state.collation)
    state.lost_rows = asked.get("lost_rows", state.lost_rows)
    if asked.get("keep_results"):
        state.kept = {}
    if "expire" in asked:
        for table in list(state.results):
            del JOB_RESULTS[state.results[table]]
    jobs = [
        {
            "id": job.number,
            "location": job.location,
            "text": job.text,
            "configuration": job.configuration,
            "is_cancelled": job.is_cancelled,
        }
        for job in state.jobs.values()
    ]
    seen = {"requests": state.requests, "sessions": state.sessions, "expirations": state.expirations}
    return JSONResponse({"jobs": jobs, **seen})


def _read_session(create: Any) -> Any:
    """Let the results of queries be read, which are tables without a name."""

    def created(self: Any, request_bytes: bytes, context: Any) -> bytes:
        if state.storage_answers:
            context.set_code(getattr(grpc.StatusCode, state.storage_answers.pop(0)))
            context.set_details("as asked")
            return b""
        state.sessions += 1
        request = types.CreateReadSessionRequest.deserialize(request_bytes)
        _, project, _, dataset, _, name = request.read_session.table.split("/")
        if dataset != _ANONYMOUS:
            answer: bytes = create(self, request_bytes, context)
            return answer
        number = state.results.get(name, "")
        if number not in JOB_RESULTS:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details(f"Not found: Table {project}:{dataset}.{name}")
            return b""
        table = _as_bigquery(JOB_RESULTS[number].slice(state.lost_rows), JOB_SCHEMAS[number])
        session = create_read_session(project, request.read_session.table, table, request.max_stream_count or 4)
        told = read_servicer._build_read_session_response(
            state=session,
            read_session=request.read_session,
            session_format=read_servicer.FORMAT_ARROW,
            wire_format=types.DataFormat.ARROW,
            arrow_table=table,
        )
        made: bytes = types.ReadSession.serialize(told)
        return made

    return created


def _as_bigquery(table: pa.Table, schema: list[Mapping[str, Any]]) -> pa.Table:
    """Return a result in the types that the Storage API has, in messages of a good size."""
    fields = [_field(entry) for entry in schema]
    columns = [_cast(column, field) for column, field in zip(table.columns, fields, strict=True)]
    typed = pa.Table.from_arrays(columns, schema=pa.schema(fields))
    per_row = max(1, typed.nbytes // max(1, typed.num_rows))
    return pa.Table.from_batches(typed.to_batches(max_chunksize=max(1, _MESSAGE_BYTES // per_row)), typed.schema)


def _field(entry: Mapping[str, Any]) -> pa.Field:
    kind = entry["type"]
    if kind == "RECORD":
        type_ = pa.struct([_field(child) for child in entry["fields"]])
    elif kind == "INTERVAL":
        type_ = pa.month_day_nano_interval()
    elif kind == "RANGE":
        bound = _TYPES[entry["rangeElementType"]["type"]]
        type_ = pa.struct([("start", bound), ("end", bound)])
    else:
        type_ = _TYPES[kind]
    if entry.get("mode") == "REPEATED":
        type_ = pa.list_(pa.field("item", type_))
    metadata = {"ARROW:extension:name": f"google:sqlType:{_NAMED[kind]}"} if kind in _NAMED else None
    return pa.field(entry["name"], type_, metadata=metadata)


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    if pt.is_list(field.type):
        # An array that is NULL in a result is an empty one.
        column = pc.if_else(column.is_valid(), column, pa.scalar([], column.type))
    return column.cast(field.type)


def _parse_once(parse: Any) -> Any:
    """Keep the last statements parsed: the emulator parses each statement about 17 times."""

    @functools.lru_cache(maxsize=32)
    def kept(dialect: type[Dialect], sql: str) -> list[exp.Expression | None]:
        parsed: list[exp.Expression | None] = parse(dialect(), sql)
        for node in itertools.chain.from_iterable(tree.walk() for tree in parsed if tree):
            # Where each word stood. To copy that takes longer than to copy the tree.
            node._meta = None
        return parsed

    def parsed(self: Dialect, sql: str, **options: Any) -> list[exp.Expression | None]:
        if options or self.settings:
            found: list[exp.Expression | None] = parse(self, sql, **options)
            return found
        # The emulator changes the trees that it is given.
        return [tree and tree.copy() for tree in kept(type(self), sql)]

    return parsed


def _without_needless_copies(unnest: Any) -> Any:
    """Look for implicit UNNESTs only where one can be: the parser copies each FROM clause at every level for it."""

    def unnested(self: parser.Parser, query: exp.Expression) -> exp.Expression:
        joins = query.args.get("joins") or []
        can_be = any(
            isinstance(join.this, exp.Table) and not join.args.get("on") and len(join.this.parts) > 1 for join in joins
        )
        found: exp.Expression = unnest(self, query) if can_be else query
        return found

    return unnested


def _end_with_standard_input(running: uvicorn.Server) -> None:
    sys.stdin.read()
    running.should_exit = True


def _start_emulator() -> tuple[int, int]:
    """Run the emulator in a thread, since its queries hold its event loop."""
    for name in ("spatial", "icu", "json"):
        import_extension(name, con=duckdb.connect())
    settings = Settings(
        rest_port=0, grpc_port=0, log_level=LogLevel.CRITICAL, enable_format_extensions=False, metrics_enabled=False
    )
    started = threading.Event()
    global emulator  # noqa: PLW0603 - the process's one
    emulator = EmulatorServer(settings)

    def run() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(emulator.start())
        started.set()
        loop.run_forever()

    threading.Thread(target=run, daemon=True).start()
    started.wait(60)
    return emulator.rest_port, emulator.grpc_port


def main() -> None:
    keep_generators()
    handler = read_servicer.BigQueryReadHandler
    handler._handle_create_read_session = _read_session(handler._handle_create_read_session)
    # Parsing took three quarters of the emulator's time.
    dialect: Any = Dialect
    dialect.parse = _parse_once(dialect.parse)
    parsing: Any = parser.Parser
    parsing._implicit_unnests_to_explicit = _without_needless_copies(parsing._implicit_unnests_to_explicit)
    rest_port, grpc_port = _start_emulator()
    global inner  # noqa: PLW0603 - the process's one
    inner = httpx.AsyncClient(base_url=f"http://127.0.0.1:{rest_port}", timeout=None)  # noqa: S113 - queries take long
    job = _API + "/jobs/{job}"
    routes = [
        Route("/stand-in/control", control, methods=["POST"]),
        Route(_API + "/jobs", insert, methods=["POST"]),
        Route(job, job_of, methods=["GET"]),
        Route(job + "/cancel", cancel, methods=["POST"]),
        Route(_API + "/queries/{job}", results, methods=["GET"]),
        Route(_API + "/datasets/{dataset}/tables/{table}/data", rows, methods=["GET"]),
        Route(_API + "/datasets/{dataset}/tables", make_table, methods=["POST"]),
        Route(_API + "/datasets/{dataset}/tables/{table}", table, methods=["GET"]),
        Route(_API + "/datasets/{dataset}/tables/{table}", change_table, methods=["PATCH", "PUT"]),
        Route("/{path:path}", other, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]
    # asyncio sends small answers at once only where the protocol is named.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    config = uvicorn.Config(Starlette(routes=routes), log_level="critical", access_log=False)
    running = uvicorn.Server(config)
    threading.Thread(target=_end_with_standard_input, args=(running,), daemon=True).start()
    keep_imported()
    sys.stdout.write(f"ports {listening.getsockname()[1]} {grpc_port}\n")
    sys.stdout.flush()
    running.run(sockets=[listening])
    # Threads that still run a query would keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
