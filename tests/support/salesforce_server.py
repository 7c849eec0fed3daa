"""A local Salesforce: login, description, query and Bulk API 2.0 ingest jobs, strict about each request.

It is reached as through a proxy: `CONNECT login.salesforce.com:443`, then TLS with a certificate that only the tests
trust. So the hook of Airflow logs in as it does in life. Rules and shapes: the developer guides of Bulk API 2.0 and of
the REST API, read 2026-11-29. Lines of results come in another order than they were sent, as the guide allows.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from airflow.sdk import Connection
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD, TOKEN = "retl@acme.example", "password-31f0", "securitytoken-9c2d"
APP, APP_SECRET = "consumer-key-51", "consumer-secret-e7"
INSTANCE, VERSION = "acme.my.salesforce.com", "66.0"
_HOSTS = (INSTANCE, "login.salesforce.com")
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SOQL = re.compile(r"SELECT ([\w, ]+) FROM (\w+) WHERE (\w+) IN \((.*)\)", re.DOTALL)
_LITERAL = re.compile(r"'((?:[^'\\]|\\.)*)'|(-?\d+)", re.DOTALL)
_STATUSES = {"OptIn", "OptOut", "Seen", "NotSeen"}
_ACTIONS = {"CrossDevice", "DataCollection", "Reidentification", "Segment", "ShareData", "Target"}
_POINTS = {"Email", "Phone", "MailingAddress", "Social", "Web"}

KEY = {"externalId": True, "unique": True, "caseSensitive": True, "type": "string"}
OBJECTS: dict[str, dict[str, dict[str, Any]]] = {
    "Contact": {"Customer_Key__c": KEY, "LastName": {"required": True}, "Email": {}, "Phone": {}, "Score__c": {}},
    "Lead": {"Customer_Key__c": {**KEY, "caseSensitive": False, "unique": False}, "LastName": {}},
    "Person__c": {"Key__c": KEY, "Text__c": {}, "value": {}},
    "Individual": {"Customer_Key__c": KEY, "LastName": {"required": True}, "HasOptedOutSolicit": {}},
    "ContactPointTypeConsent": {
        "Consent_Key__c": KEY,
        "PartyId": {"required": True, "parent": ("Individual:Party", "Individual")},
        "Name": {"required": True},
        "ContactPointType": {"required": True, "values": _POINTS},
        "CaptureContactPointType": {"required": True, "values": _POINTS},
        "CaptureDate": {"required": True},
        "CaptureSource": {"required": True},
        "PrivacyConsentStatus": {"values": _STATUSES},
        "EffectiveFrom": {},
        "EffectiveTo": {},
        "DataUsePurposeId": {},
    },
    "PartyConsent": {
        "Consent_Key__c": KEY,
        "PartyId": {"required": True, "parent": ("Individual:Party", "Individual")},
        "Name": {"required": True},
        "Action": {"required": True, "values": _ACTIONS},
        "CaptureContactPointType": {"required": True, "values": _POINTS},
        "CaptureDate": {"required": True},
        "CaptureSource": {"required": True},
        "PrivacyConsentStatus": {"values": _STATUSES},
        "DataUsePurposeId": {},
    },
}  # fmt: skip
Record = dict[str, str | None]


@dataclass
class Job:
    """A job, with the lines of its file."""

    id: str
    sobject: str
    operation: str
    external_id: str | None
    state: str = "Open"
    header: list[str] = field(default_factory=list)
    lines: list[list[str]] = field(default_factory=list)
    is_filled: bool = False
    polls: int = 0
    error: str = ""
    tables: dict[str, list[list[str]]] = field(default_factory=dict)


@dataclass
class SalesforceOrg:
    """The org: its records and jobs, and what goes wrong on request.

    Attributes:
        polls: how often a job is asked for before it has ended.
        fault: `unavailable`, `refused`, `limit`, `lost_upload`, `lost_start`, `never_started`, `gone` (jobs are unknown
            once they are started) or `unreadable` (results, and queries after a deletion, are HTML).
        refused, unprocessed, lost, held, swallowed: keys whose rows fail, are left over, are in no table, cannot be
            deleted, or are only said to be deleted.
    """

    port: int
    polls: int = 0
    fault: str = ""
    refused: set[str] = field(default_factory=set)
    unprocessed: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    swallowed: set[str] = field(default_factory=set)
    refusal: str = "INVALID_EMAIL_ADDRESS:Email: invalid email address: {0}:Email --"
    used: int = 100
    records: dict[str, dict[str, Record]] = field(default_factory=lambda: {name: {} for name in OBJECTS})
    jobs: dict[str, Job] = field(default_factory=dict)
    sessions: set[str] = field(default_factory=set)
    with_rows: int = 0
    logins: list[str] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def of(self, sobject: str, key: str) -> dict[str, Record]:
        """Return the records of an object by their external id."""
        return {str(record[key]): record for record in self.records[sobject].values()}

    def add(self, sobject: str, **values: str | None) -> str:
        """Add a record, as a person in Salesforce does."""
        record_id = f"0{len(self.records)}X{sum(map(len, self.records.values())):015d}"[:18]
        while record_id in self.records[sobject]:
            record_id = f"0{os.urandom(9).hex()}"[:18]
        self.records[sobject][record_id] = dict(values)
        return record_id

    def end_sessions(self) -> None:
        """Let all sessions expire."""
        self.sessions.clear()

    def operations(self) -> list[tuple[str, str]]:
        """Return the object and the operation of each job that was started."""
        return [(job.sobject, job.operation) for job in self.jobs.values() if job.state in {"JobComplete", "Failed"}]

    def check(self, holds: object, rule: str) -> None:
        if not holds:
            self.violations.append(rule)

    def process(self, job: Job) -> None:
        """Apply a job's lines, and write its tables."""
        tables: dict[str, list[list[str]]] = {"successfulResults": [], "failedResults": [], "unprocessedrecords": []}
        known = OBJECTS[job.sobject]
        unknown = [name for name in job.header if name not in known and name != "Id" and not self._parent(job, name)]
        if unknown:
            job.state, job.error = "Failed", f"InvalidBatch : Field name not found : {unknown[0]}"
            tables["unprocessedrecords"] = job.lines
        else:
            for line in job.lines:
                values = dict(zip(job.header, line, strict=True))
                key = values.get(job.external_id or "", values.get("Customer_Key__c", values.get("Key__c", "")))
                if key in self.lost:
                    continue
                if key in self.unprocessed:
                    tables["unprocessedrecords"].append(line)
                    job.state = "Failed"
                    continue
                record_id, is_new, error = self._apply(job, values, key)
                if error:
                    tables["failedResults"].append([record_id, error, *line])
                else:
                    tables["successfulResults"].append([record_id, "true" if is_new else "false", *line])
            job.state = "Failed" if job.state == "Failed" else "JobComplete"
        job.tables = {name: lines[::-1] for name, lines in tables.items()}

    def _parent(self, job: Job, column: str) -> tuple[str, str] | None:
        """Return the lookup field and the parent's object that a column such as `Individual:Party.Key__c` names."""
        relation, _, parent_key = column.rpartition(".")
        for name, meta in OBJECTS[job.sobject].items():
            if meta.get("parent") and meta["parent"][0] == relation and parent_key in OBJECTS[meta["parent"][1]]:
                return name, meta["parent"][1]
        return None

    def _apply(  # noqa: C901, PLR0911, PLR0912 - each rule of the vendor is a line
        self, job: Job, values: dict[str, str], key: str
    ) -> tuple[str, bool, str]:
        records = self.records[job.sobject]
        if job.operation in {"delete", "hardDelete"}:
            return self._delete(job, values["Id"])
        if key in self.refused:
            return "", False, self.refusal.format(*[value for value in values.values() if value][1:2] or [key])
        present = next((one for one, record in records.items() if job.external_id and self._same(job, record, key)), "")
        if job.operation == "update":
            present = values.pop("Id")
            if present not in records:
                return present, False, "ENTITY_IS_DELETED:entity is deleted:--"
        if any(_NO_XML.search(value) for value in values.values()):
            return "", False, f"INVALID_FIELD:a character of {values} is not allowed:--"
        written: Record = {}
        for column, text in values.items():
            found = self._parent(job, column)
            if found:
                parents = self.records[found[1]].items()
                parent = next((one for one, record in parents if record[column.rpartition(".")[2]] == text), None)
                if parent is None:
                    return "", False, f"INVALID_FIELD:Foreign key external ID: {text} not found for field x:--"
                written[found[0]] = parent
                continue
            meta = OBJECTS[job.sobject][column]
            if text in {"", "#N/A"}:
                if meta.get("required") and text == "#N/A":
                    return "", False, f"REQUIRED_FIELD_MISSING:Required fields are missing: [{column}]:{column} --"
                written |= {column: None} if text else {}
            elif "values" in meta and text not in meta["values"]:
                return "", False, f"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:bad value: {text}:{column} --"
            elif len(text) > 131_072:
                return "", False, f"STRING_TOO_LONG:{column}: data value too large: {text[:20]}:{column} --"
            else:
                written[column] = text
        if present:
            records[present].update(written)
            return present, False, ""
        if job.operation == "insert" and any(record.get("Customer_Key__c") == key for record in records.values()):
            return "", False, f"DUPLICATE_VALUE:duplicate value found: Customer_Key__c duplicates {key}:--"
        missing = [
            name for name, meta in OBJECTS[job.sobject].items() if meta.get("required") and not written.get(name)
        ]
        if missing:
            return "", False, f"REQUIRED_FIELD_MISSING:Required fields are missing: {missing}:{missing[0]} --"
        return self.add(job.sobject, **written), True, ""

    def _same(self, job: Job, record: Record, key: str) -> bool:
        name = job.external_id or ""
        is_exact = OBJECTS[job.sobject][name]["caseSensitive"]
        value = record[name] or ""
        return value == key if is_exact else value.casefold() == key.casefold()

    def _delete(self, job: Job, record_id: str) -> tuple[str, bool, str]:
        record = self.records[job.sobject].get(record_id)
        if record is None:
            return record_id, False, "ENTITY_IS_DELETED:entity is deleted:--"
        key = record.get("Customer_Key__c") or record.get("Key__c") or ""
        if key in self.held:
            return record_id, False, f"DELETE_FAILED:Your attempt to delete {key} could not be completed:--"
        if key not in self.swallowed:
            del self.records[job.sobject][record_id]
        return record_id, False, ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    org: SalesforceOrg
    tls: ssl.SSLContext

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: these tests are about clients that disconnect."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Write nothing."""

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        # The TLS socket, which the server does not know.
        self.connection.close()

    def do_CONNECT(self) -> None:
        host, _, port = self.path.partition(":")
        if host not in _HOSTS or port != "443":
            self.send_error(502)
            return
        self.host = host
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def do_PATCH(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        org = self.server.org
        with org.lock:
            answer = self._routed(org, body)
        if answer is None:
            raw = self.connection
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            raw.close()
            return
        status, content, kind = answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Sforce-Limit-Info", f"api-usage={org.used}/100000")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _routed(  # noqa: C901, PLR0911 - the map of the API
        self, org: SalesforceOrg, body: bytes
    ) -> tuple[int, bytes, str] | None:
        path = urlsplit(self.path).path
        org.used += 1
        org.calls.append((self.command, path))
        if path.startswith("/services/Soap/u/"):
            return self._soap(org, path.rpartition("/")[2], body.decode())
        if path == "/services/oauth2/token":
            return self._oauth(org, parse_qs(body.decode()))
        org.check(self.host == INSTANCE, "a call to another host than the instance")
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in org.sessions:
            return _json([{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}], 401)
        base = f"/services/data/v{VERSION}/"
        if not path.startswith(base):
            return _json([{"errorCode": "NOT_FOUND", "message": "no such resource"}], 404)
        if org.fault == "unavailable":
            return _json([{"errorCode": "SERVER_UNAVAILABLE", "message": "try later"}], 503)
        if org.fault == "limit":
            return _json([{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}], 403)
        if org.fault == "refused":
            return _json([{"errorCode": "API_DISABLED_FOR_ORG", "message": f"not for {PASSWORD}"}], 403)
        match self.command, path.removeprefix(base).split("/"):
            case "GET", ["sobjects", sobject, "describe"] if sobject in OBJECTS:
                fields = [{"name": name, "type": "string", **_shown(meta)} for name, meta in OBJECTS[sobject].items()]
                return _json({"name": sobject, "fields": [*fields, {"name": "Id", "type": "id", "idLookup": True}]})
            case "POST", ["composite"]:
                org.with_rows += 1
                return self._composite(org, json.loads(body))
            case "POST", ["jobs", "ingest"]:
                return self._create(org, json.loads(body))
            case _, ["jobs", "ingest", job_id, *rest] if job_id in org.jobs:
                return self._job(org, org.jobs[job_id], rest, body)
            case _:
                return _json([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}], 404)

    def _soap(self, org: SalesforceOrg, version: str, body: str) -> tuple[int, bytes, str]:
        org.check(float(version) < 65, "SOAP login() is not there from version 65")
        org.check(self.headers.get("SOAPAction") == "login", "no SOAPAction")
        if (
            f"<n1:username>{USER}</n1:username>" not in body
            or f"<n1:password>{PASSWORD}{TOKEN}</n1:password>" not in body
        ):
            fault = "<sf:exceptionCode>INVALID_LOGIN</sf:exceptionCode><sf:exceptionMessage>wrong</sf:exceptionMessage>"
            return 500, f'<e xmlns:sf="urn:fault.partner.soap.sforce.com">{fault}</e>'.encode(), "text/xml"
        session = self._session(org, "soap")
        url = f"https://{INSTANCE}/services/Soap/u/{version}/00D000000000001"
        found = f"<r><serverUrl>{url}</serverUrl><sessionId>{session}</sessionId></r>"
        return 200, found.encode(), "text/xml"

    def _oauth(self, org: SalesforceOrg, form: dict[str, list[str]]) -> tuple[int, bytes, str]:
        expected = "Basic " + base64.b64encode(f"{APP}:{APP_SECRET}".encode()).decode()
        if form.get("grant_type") != ["client_credentials"] or self.headers.get("Authorization") != expected:
            return _json({"error": "invalid_client", "error_description": "invalid client credentials"}, 400)
        org.check(self.host == INSTANCE, "client credentials need the org's own domain")
        return _json({"access_token": self._session(org, "oauth"), "instance_url": f"https://{INSTANCE}"})

    def _session(self, org: SalesforceOrg, way: str) -> str:
        org.logins.append(way)
        session = f"00Dsession!{os.urandom(12).hex()}"
        org.sessions.add(session)
        return session

    def _composite(self, org: SalesforceOrg, document: dict[str, Any]) -> tuple[int, bytes, str]:
        if org.fault == "unreadable" and any(job.operation == "delete" for job in org.jobs.values()):
            return 200, b"<html>all is well</html>", "text/html"
        requests = document["compositeRequest"]
        org.check(1 <= len(requests) <= 25, "1 to 25 subrequests")
        answers = []
        for request in requests:
            url = urlsplit(request["url"])
            org.check(request["method"] == "GET" and url.path == f"/services/data/v{VERSION}/query", "only queries")
            soql = parse_qs(url.query)["q"][0]
            org.check(len(soql) <= 100_000, "a statement of more than 100,000 characters")
            found = _SOQL.fullmatch(soql)
            if found is None:
                org.violations.append("SOQL that cannot be parsed")
                return _json([{"errorCode": "MALFORMED_QUERY", "message": soql}], 400)
            columns, sobject, name, literals = found[1].split(", "), found[2], found[3], found[4]
            org.check(set(columns) <= {"Id", *OBJECTS[sobject]}, "an unknown column")
            is_exact = OBJECTS[sobject][name].get("caseSensitive", False)
            wanted = {_unescaped(one[0]) if not one[1] else one[1] for one in _LITERAL.findall(literals)}
            wanted = wanted if is_exact else {one.casefold() for one in wanted}
            records = [
                {"attributes": {"type": sobject}, **{column: {"Id": one, **record}.get(column) for column in columns}}
                for one, record in org.records[sobject].items()
                if ((record[name] or "") if is_exact else (record[name] or "").casefold()) in wanted
            ]
            body = {"totalSize": len(records), "done": len(records) <= 2000, "records": records[:2000]}
            answers.append(
                {"body": body, "httpHeaders": {}, "httpStatusCode": 200, "referenceId": request["referenceId"]}
            )
        return _json({"compositeResponse": answers})

    def _create(self, org: SalesforceOrg, document: dict[str, Any]) -> tuple[int, bytes, str]:
        org.check(self.headers["Content-Type"].startswith("application/json"), "a job is JSON")
        allowed = {"object", "operation", "contentType", "lineEnding", "columnDelimiter", "externalIdFieldName"}
        org.check(document.keys() <= allowed, "an unknown property of a job")
        org.check(document.get("contentType") == "CSV" and document.get("lineEnding") == "LF", "CSV with LF")
        sobject, operation = document["object"], document["operation"]
        org.check(operation in {"insert", "upsert", "update", "delete", "hardDelete"}, "an unknown operation")
        key = document.get("externalIdFieldName")
        org.check((key is not None) == (operation == "upsert"), "an external id with upsert, and only there")
        if sobject not in OBJECTS or (key and not OBJECTS[sobject].get(key, {}).get("externalId")):
            return _json([{"errorCode": "INVALIDENTITY", "message": "no such object or external id"}], 400)
        job = Job(f"7505g00000{len(org.jobs):05d}AAA", sobject, operation, key)
        org.jobs[job.id] = job
        return _json({"id": job.id, "object": sobject, "operation": operation, "state": "Open"})

    def _job(  # noqa: PLR0911 - the states of a job
        self, org: SalesforceOrg, job: Job, rest: Sequence[str], body: bytes
    ) -> tuple[int, bytes, str] | None:
        match self.command, list(rest):
            case "PUT", ["batches"]:
                org.with_rows += 1
                org.check(job.state == "Open" and not job.is_filled, "rows for a job that has its rows")
                org.check(self.headers["Content-Type"].startswith("text/csv"), "rows are text/csv")
                org.check(len(body) <= 100_000_000, "a file of more than 100 MB")
                if org.fault == "lost_upload":
                    return None
                job.is_filled = True
                job.header, *job.lines = csv.reader(io.StringIO(body.decode(), newline=""), strict=True)
                org.check(len(set(job.header)) == len(job.header), "a column twice")
                org.check(all(len(line) == len(job.header) for line in job.lines), "lines of different lengths")
                return 201, b"", "application/json"
            case "PATCH", []:
                return self._change(org, job, json.loads(body))
            case "GET", []:
                if org.fault == "gone" and job.state != "Open":
                    return _json([{"errorCode": "NOT_FOUND", "message": "no such job"}], 404)
                if job.state in {"UploadComplete", "InProgress"}:
                    job.polls += 1
                    job.state = "InProgress"
                    if job.polls > org.polls:
                        org.process(job)
                failed, left = (len(job.tables.get(name, [])) for name in ("failedResults", "unprocessedrecords"))
                counts = {"numberRecordsProcessed": len(job.lines) - left, "numberRecordsFailed": failed}
                document = {
                    "id": job.id,
                    "object": job.sobject,
                    "operation": job.operation,
                    "state": job.state,
                    **counts,
                }
                return _json({**document, **({"errorMessage": job.error} if job.error else {})})
            case "GET", [("successfulResults" | "failedResults" | "unprocessedrecords") as table]:
                org.check(job.state in {"JobComplete", "Failed", "Aborted"}, "results before the end")
                if org.fault == "unreadable":
                    return 200, b"<html>all is well</html>", "text/html"
                first = {"successfulResults": ["sf__Id", "sf__Created"], "failedResults": ["sf__Id", "sf__Error"]}
                text = io.StringIO(newline="")
                writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
                writer.writerows([[*first.get(table, []), *job.header], *job.tables.get(table, [])])
                return 200, text.getvalue().encode(), "text/csv"
            case _:
                return _json([{"errorCode": "METHOD_NOT_ALLOWED", "message": "no"}], 405)

    def _change(self, org: SalesforceOrg, job: Job, document: dict[str, Any]) -> tuple[int, bytes, str] | None:
        org.check(document in ({"state": "UploadComplete"}, {"state": "Aborted"}), "an unknown change of a job")
        if document["state"] == "Aborted":
            job.tables = {"unprocessedrecords": job.lines}
            job.state = "Aborted"
            return _json({"id": job.id, "state": job.state})
        org.with_rows += 1
        if job.state != "Open" or not job.is_filled:
            org.violations.append("a job was started that is not open and filled")
            return _json([{"errorCode": "INVALIDJOBSTATE", "message": "no"}], 400)
        if org.fault == "never_started":
            return None
        job.state = "UploadComplete"
        if org.fault == "gone":
            org.process(job)
        return None if org.fault in {"lost_start", "gone"} else _json({"id": job.id, "state": job.state})


def _shown(meta: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in meta.items() if name in {"externalId", "unique", "caseSensitive", "type"}}


def _unescaped(text: str) -> str:
    named = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
    return re.sub(r"\\(.)", lambda found: named.get(found[1], found[1]), text, flags=re.DOTALL)


def _json(document: object, status: int = 200) -> tuple[int, bytes, str]:
    return status, json.dumps(document).encode(), "application/json;charset=UTF-8"


def _certificate(folder: Path) -> ssl.SSLContext:
    """Write the certificate of Salesforce's hosts, which is its own authority, and return the server's side."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "salesforce of the tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in _HOSTS]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "salesforce.pem").write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "salesforce.key").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "salesforce.pem", folder / "salesforce.key")
    return context


def connection_of(org: SalesforceOrg, *, app: bool = False) -> Connection:
    """Return the connection of the org, which logs in with SOAP, or with OAuth 2 as an app."""
    proxies = {"https": f"http://127.0.0.1:{org.port}"}
    extra: dict[str, Any] = {"proxies": proxies, "version": "64.0"}
    if app:
        extra |= {"consumer_key": APP, "consumer_secret": APP_SECRET, "domain": "acme.my"}
        return Connection(conn_id="salesforce_default", conn_type="salesforce", extra=json.dumps(extra))
    extra["security_token"] = TOKEN
    return Connection(
        conn_id="salesforce_default", conn_type="salesforce", login=USER, password=PASSWORD, extra=json.dumps(extra)
    )


@contextmanager
def salesforce_org(folder: Path) -> Iterator[SalesforceOrg]:
    """Serve until the block ends, then assert that every request was correct.

    Args:
        folder: where the certificate is written that the environment then names.
    """
    server = _Server(("127.0.0.1", 0), _Handler)
    server.tls = _certificate(folder)
    server.org = SalesforceOrg(port=server.server_address[1])
    before = os.environ.get("REQUESTS_CA_BUNDLE")
    os.environ["REQUESTS_CA_BUNDLE"] = str(folder / "salesforce.pem")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.org
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        if before is None:
            del os.environ["REQUESTS_CA_BUNDLE"]
        else:
            os.environ["REQUESTS_CA_BUNDLE"] = before
    assert server.org.violations == []
