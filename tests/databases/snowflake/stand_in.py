"""A Snowflake for the tests: fakesnow's server, over TLS, with what it lacks of Snowflake's own protocol.

Runs in an environment of its own (`constraints-fakesnow.txt`), as a process that ends with its standard input. Beyond
fakesnow it has results in chunks that are downloaded one by one, numbers in the narrowest form of each chunk, session
parameters, cancelling, files that are told to be there, and answers that a test asks for in advance. Usage:

    python stand_in.py CERTIFICATE KEY        prints its port
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import logging
import os
import re
import socket
import sys
import threading
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.types as pt
import sqlglot
import uvicorn
from fakesnow.cursor import FakeSnowflakeCursor  # type: ignore[import-not-found]
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from support.kept_objects import keep_generators, keep_imported

_FIRST_CHUNK_BYTES = 100_000
# The largest chunks that were seen of Snowflake, in MiB before compression, for each MB of CLIENT_RESULT_CHUNK_SIZE:
# 32 for 48, 100 for 160. https://github.com/snowflakedb/snowflake-connector-nodejs/issues/790 (read 2026-11-24)
_CHUNK_MIB_PER_MB, _DEFAULT_CHUNK_MB = 2 / 3, 160
_SESSION = re.compile(r"\s*ALTER\s+SESSION\s+SET\s+(.*)", re.IGNORECASE | re.DOTALL)
_PARAMETER = re.compile(r"(\w+)\s*=\s*('(?:[^']|'')*'|\w+)\s*,?\s*")
_TYPEOF = (
    "CASE json_type({0}) WHEN 'NULL' THEN 'NULL_VALUE' WHEN 'UBIGINT' THEN 'INTEGER' WHEN 'BIGINT' THEN 'INTEGER' "
    "ELSE json_type({0}) END"
)
_KEPT = re.compile(r"FROM TABLE\(RESULT_SCAN\('([^']+)'\)\)")
_CANCEL = re.compile(r"\s*SELECT\s+SYSTEM\$CANCEL_ALL_QUERIES\((\d+)\)\s*", re.IGNORECASE)


@dataclass
class Session:
    """What Snowflake keeps for a session and fakesnow does not."""

    number: int
    token: str
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass
class State:
    """All that the tests can see of the server, and tell it."""

    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1001))
    sessions: dict[str, Session] = field(default_factory=dict)
    # Answers asked for in advance: a pattern, and what to answer to the first statement that it is found in.
    answers: list[dict[str, Any]] = field(default_factory=list)
    statements: list[dict[str, Any]] = field(default_factory=list)
    # Of what has run, by query id; and what was submitted, with its state.
    texts: dict[str, str] = field(default_factory=dict)
    submitted: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    chunks: dict[int, bytes] = field(default_factory=dict)
    downloads: list[int] = field(default_factory=list)
    chunk_answers: list[int] = field(default_factory=list)
    # A pattern of statements that succeed and do nothing.
    swallowed: str | None = None
    # Results kept by their statement, for a benchmark that is not about running queries.
    kept: dict[str, dict[str, Any]] | None = None


state = State()
# The package hides its module behind a function of the same name.
server: Any = import_module("fakesnow.server")
_chunk_limit: ContextVar[int] = ContextVar("chunk_limit")
_rest: ContextVar[list[dict[str, Any]]] = ContextVar("rest")


async def log_in(request: Request) -> Response:
    """Log in, and tell the session's number."""
    if answer := _asked("LOGIN"):
        return answer
    response = await server.login_request(request)
    document = json.loads(response.body)
    body = await _body(request)
    session = Session(next(state.numbers), document["data"]["token"])
    parameters = body["data"].get("SESSION_PARAMETERS") or {}
    session.parameters = {name: str(value) for name, value in parameters.items()}
    state.sessions[session.token] = session
    document["data"] |= {"sessionId": session.number, "masterToken": session.token}
    return JSONResponse(document)


async def query(request: Request) -> Response:
    """Answer a statement as asked in advance, by itself, or as fakesnow does."""
    session = state.sessions[server.to_token(request)]
    body = await _body(request)
    text = body["sqlText"]
    state.statements.append({"text": text, "session": session.number, "parameters": dict(session.parameters)})
    if answer := _asked(text) or _own_answer(session, body):
        return answer
    if (match := _KEPT.search(text)) and match[1] in state.texts and not text.startswith("SELECT * FROM TABLE"):
        # fakesnow gives a kept result as it is, whatever is selected from it.
        _set_text(request, body, text.replace(match[0], f"FROM (\n{state.texts[match[1]]}\n)"))
    if state.swallowed and re.match(state.swallowed, text, re.IGNORECASE):
        _set_text(request, body, "SELECT 1")
    limit = int(session.parameters.get("CLIENT_RESULT_CHUNK_SIZE", _DEFAULT_CHUNK_MB))
    _chunk_limit.set(int(limit * _CHUNK_MIB_PER_MB) << 20)
    _rest.set([])
    response = await server.query_request(request)
    document = json.loads(response.body)
    if response.status_code == 500:
        # The connector would ask again for minutes.
        return JSONResponse(_failure(2, "0A000", "Unsupported feature 'of the stand-in'."))
    _complete(document, text, host=request.url.netloc)
    return JSONResponse(document)


def _own_answer(session: Session, body: Mapping[str, Any]) -> Response | None:
    """Answer what fakesnow does not know."""
    text = body["sqlText"]
    if match := _SESSION.fullmatch(text):
        return _set_parameters(session, match[1])
    if match := _CANCEL.fullmatch(text):
        _interrupt(int(match[1]))
        return _said("query [01b2c3d4] cancelled.")
    if body.get("asyncExec"):
        return _submit(session, text)
    if state.kept is not None and text in state.kept:
        return JSONResponse(state.kept[text])
    return None


def _complete(document: dict[str, Any], text: str, *, host: str) -> None:
    """Tell of the chunks that are to be downloaded, and remember the statement."""
    if document["success"] and "queryId" in (document["data"] or {}):
        kept = _KEPT.search(text)
        state.texts[document["data"]["queryId"]] = state.texts.get(kept[1], text) if kept else text
    if rest := _rest.get():
        base = f"https://{host}/stand-in/chunks/"
        document["data"]["chunks"] = [{**chunk, "url": base + chunk["url"]} for chunk in rest]
        document["data"]["chunkHeaders"] = {}
    if state.kept is not None and text.lstrip().upper().startswith("SELECT"):
        state.kept[text] = document


def _submit(session: Session, text: str) -> Response:
    """Run a statement while nobody waits for it."""
    query_id = str(uuid.uuid4())
    state.texts[query_id] = text
    state.submitted[query_id] = {"id": query_id, "status": "RUNNING", "session": session.number}
    task = asyncio.create_task(_run_submitted(query_id, server.sessions[session.token]))
    state.tasks.add(task)
    task.add_done_callback(state.tasks.discard)
    data = {"queryId": query_id, "getResultUrl": f"/queries/{query_id}/result", "queryAbortsAfterSecs": 300}
    return JSONResponse({"success": True, "code": "333334", "message": "Asynchronous execution", "data": data})


async def _run_submitted(query_id: str, connection: Any) -> None:
    cursor, told = connection.cursor(), state.submitted[query_id]
    try:
        await run_in_threadpool(cursor.execute, state.texts[query_id], server=True)
    except ProgrammingError as error:
        told |= {"errorCode": f"{error.errno:06d}", "errorMessage": error.raw_msg, "status": "FAILED_WITH_ERROR"}
    else:
        connection.results_cache[query_id] = connection.results_cache[cursor.sfqid]
        told["status"] = "SUCCESS"


def monitor(request: Request) -> Response:
    """Tell how a submitted statement does."""
    told = state.submitted.get(request.path_params["sfqid"])
    return JSONResponse({"success": True, "data": {"queries": [told] if told else []}})


async def abort(request: Request) -> Response:
    """Stop a submitted statement, also one that has not quite begun."""
    told = state.submitted.get(request.path_params["sfqid"])
    while told and told["status"] == "RUNNING":
        _interrupt(told["session"])
        await asyncio.sleep(0.02)
    return JSONResponse({"success": True, "data": None})


def _set_text(request: Request, body: dict[str, Any], text: str) -> None:
    changed = json.dumps({**body, "sqlText": text}).encode()
    request._body = gzip.compress(changed) if request.headers.get("Content-Encoding") == "gzip" else changed


def chunk(request: Request) -> Response:
    """Return a part of a result."""
    number = request.path_params["number"]
    state.downloads.append(number)
    if state.chunk_answers:
        return PlainTextResponse("", status_code=state.chunk_answers.pop(0))
    return Response(state.chunks[number])


async def control(request: Request) -> Response:
    """Do what a test asks for."""
    asked = await request.json()
    if "answer" in asked:
        state.answers.append(asked)
    state.chunk_answers += asked.get("chunk_answers", [])
    if asked.get("keep_results"):
        state.kept = {}
    if asked.get("forget"):
        server.sessions.clear()
        state.answers.clear()
        state.chunk_answers.clear()
        state.statements.clear()
        state.downloads.clear()
        state.chunks.clear()
        state.swallowed = None
    state.swallowed = asked.get("swallowed", state.swallowed)
    if "cancel" in asked:
        _interrupt(asked["cancel"])
    seen = {"statements": state.statements, "downloads": state.downloads, "chunks": len(state.chunks)}
    return JSONResponse({**seen, "sessions": len(server.sessions)})


def _asked(text: str) -> Response | None:
    for index, asked in enumerate(state.answers):
        if re.search(asked["pattern"], text, re.IGNORECASE | re.DOTALL):
            del state.answers[index]
            return _advance_answer(asked["answer"])
    return None


def _advance_answer(answer: dict[str, Any]) -> Response:
    if "status" in answer:
        return PlainTextResponse("", status_code=answer["status"])
    if "errno" in answer:
        return JSONResponse(_failure(answer["errno"], answer["sqlstate"], answer["message"]))
    return JSONResponse(
        {
            "success": True,
            "data": {
                "parameters": [{"name": "TIMEZONE", "value": answer.get("timezone", "UTC")}],
                "queryId": "01b2c3d4-0000-4000-8000-00000000abcd",
                "statementTypeId": 4096,
                "queryResultFormat": "arrow",
                "rowtype": answer["rowtype"],
                "rowsetBase64": answer["rowset"],
                "total": answer["total"],
            },
        }
    )


def _failure(errno: int, sqlstate: str, message: str) -> dict[str, Any]:
    code = f"{errno:06d}"
    return {"success": False, "code": code, "message": message, "data": {"errorCode": code, "sqlState": sqlstate}}


def _set_parameters(session: Session, text: str) -> Response:
    settings = {
        name.upper(): value.strip("'").replace("''", "'").replace("\\\\", "\\")
        for name, value in _PARAMETER.findall(text)
    }
    session.parameters |= settings
    return _said("Statement executed successfully.", settings)


def _unquoted(literal: str) -> str:
    return literal.strip("'").replace("''", "'").replace("\\\\", "\\")


def _said(text: str, settings: Mapping[str, str] = MappingProxyType({})) -> Response:
    status = {"name": "status", "type": "text", "nullable": False, "length": 128, "byteLength": 512}
    data = {
        "parameters": [{"name": name, "value": value} for name, value in settings.items()],
        "rowtype": [{**status, "precision": None, "scale": None}],
        "rowset": [[text]],
        "queryResultFormat": "json",
        "total": 1,
        "statementTypeId": 16384,
        "queryId": "01b2c3d4-0000-4000-8000-000000000000",
    }
    return JSONResponse({"success": True, "data": data})


def _interrupt(number: int) -> None:
    for session in state.sessions.values():
        if session.number == number and (connection := server.sessions.get(session.token)):
            connection._duck_conn.interrupt()


async def _body(request: Request) -> Any:
    body = await request.body()
    return json.loads(gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body)


def _chunked(table: pa.Table) -> pa.Buffer:
    """Return the first chunk of a result, and put the others where they can be downloaded."""
    per_row = max(table.nbytes / max(len(table), 1), 1)
    first = min(len(table), max(1, int(_FIRST_CHUNK_BYTES / per_row)))
    start, size, rest = first, _FIRST_CHUNK_BYTES, []
    while start < len(table):
        size = min(size * 2, _chunk_limit.get())
        part = table.slice(start, max(1, int(size / per_row)))
        number, octets = len(state.chunks), _stream(part)
        state.chunks[number] = octets.to_pybytes()
        told = {"rowCount": len(part), "uncompressedSize": octets.size, "compressedSize": octets.size}
        rest.append({"url": str(number), **told})
        start += len(part)
    _rest.set(rest)
    return _stream(table.slice(0, first))


def _stream(table: pa.Table) -> pa.Buffer:
    columns = [
        _as_sent(column.combine_chunks(), field) for column, field in zip(table.columns, table.schema, strict=True)
    ]
    fields = [field.with_type(column.type) for column, field in zip(columns, table.schema, strict=True)]
    sink = pa.BufferOutputStream()
    batch = pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _as_sent(column: Any, field: pa.Field) -> pa.Array:
    """Return numbers as the integers that Snowflake sends, of the width that this chunk needs; NULL moments as such."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pt.is_struct(array.type):
        children = [array.field(index) for index in range(array.type.num_fields)]
        fields = [array.type.field(index) for index in range(array.type.num_fields)]
        return pa.StructArray.from_arrays(
            [child.fill_null(0) for child in children], fields=fields, mask=children[0].is_null()
        )
    if (field.metadata or {}).get(b"logicalType") != b"FIXED":
        return array
    if pt.is_decimal(array.type):
        array = array.cast(pa.decimal128(38, array.type.scale)).view(pa.decimal128(38, 0))
    for narrow in (pa.int8(), pa.int16(), pa.int32(), pa.int64()):
        try:
            return array.cast(narrow)
        except pa.ArrowInvalid:
            continue
    return array.view(pa.decimal128(38, int(field.metadata[b"scale"])))


def _as_snowflake(transform: Any) -> Any:
    """Have DuckDB read parts of JSON, arrays and types of JSON, and collations, as Snowflake does."""

    def transformed(self: Any, *arguments: Any, **named: Any) -> Any:
        expression = transform(self, *arguments, **named)
        for part in reversed(list(expression.find_all(exp.JSONExtract, exp.GetExtract))):
            # What is compared to a part binds closer in DuckDB.
            if part.parent is not None and not isinstance(part.parent, exp.Paren):
                brackets = exp.Paren()
                part.replace(brackets)
                brackets.set("this", part)
        for type_ in reversed(list(expression.find_all(exp.Typeof))):
            type_.replace(sqlglot.parse_one(_TYPEOF.format(type_.this.sql("duckdb")), read="duckdb"))
        for function in list(expression.find_all(exp.Lambda)):
            # DuckDB's arrow is the one of JSON.
            function.set("colon", True)
        for called in list(expression.find_all(exp.Anonymous)):
            if called.name.upper() == "AS_ARRAY":
                called.replace(exp.cast(called.expressions[0], "JSON[]", dialect="duckdb"))
            if called.name.upper() == "AS_OBJECT":
                called.replace(called.expressions[0])
        for collated in list(expression.find_all(exp.Collate)):
            # Text is compared by its octets here, whatever its column says.
            collated.replace(collated.this)
        return expression

    return transformed


def _interruptible(execute: Any) -> Any:
    """Tell what DuckDB says of a running query as Snowflake would."""

    def executed(self: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return execute(self, *arguments, **named)
        except duckdb.InterruptException:
            message, errno, sqlstate = "SQL execution canceled", 604, "57014"
        except (duckdb.InvalidInputException, duckdb.OutOfRangeException) as error:
            message, errno, sqlstate = str(error), 100132, "P0000"
        raise ProgrammingError(msg=message, errno=errno, sqlstate=sqlstate)

    return executed


def _end_with_standard_input(running: uvicorn.Server) -> None:
    sys.stdin.read()
    running.should_exit = True


def main() -> None:
    keep_generators()
    certificate, key = sys.argv[1:]
    for chatty in ("fakesnow.server", "sqlglot"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    server.to_ipc = _chunked
    FakeSnowflakeCursor._transform = _as_snowflake(FakeSnowflakeCursor._transform)
    FakeSnowflakeCursor._execute = _interruptible(FakeSnowflakeCursor._execute)
    replaced = {
        "/session/v1/login-request": log_in,
        "/queries/v1/query-request": query,
        "/monitoring/queries/{sfqid}": monitor,
    }
    routes = [
        Route(route.path, replaced.get(route.path, route.endpoint), methods=list(route.methods or []))
        for route in server.routes
    ]
    routes += [
        Route("/queries/{sfqid}/abort-request", abort, methods=["POST"]),
        Route("/stand-in/chunks/{number:int}", chunk, methods=["GET"]),
        Route("/stand-in/control", control, methods=["POST"]),
    ]
    # asyncio sends small answers at once only where the protocol is named.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    config = uvicorn.Config(
        Starlette(routes=routes), ssl_certfile=certificate, ssl_keyfile=key, log_level="critical", access_log=False
    )
    running = uvicorn.Server(config)
    threading.Thread(target=_end_with_standard_input, args=(running,), daemon=True).start()
    keep_imported()
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    running.run(sockets=[listening])
    # Threads that still run a query would keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
