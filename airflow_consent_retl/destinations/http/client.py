"""A guarded HTTP client: it connects to checked addresses only, follows no redirect, and limits the size of answers.

It knows nothing of rows. It imports `httpcore`, so import it where a load begins, never in a DAG file.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
import httpcore

from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.connection_causes import UNKNOWN_NAME, no_connection
from airflow_consent_retl.destinations.http.guard import refusal
from airflow_consent_retl.destinations.http.retry import retry_after_s
from airflow_consent_retl.errors import DestinationError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.address import HttpAddress


# An id that some server made: a value of a row that a header repeats is shorter, or has other characters.
_REQUEST_ID = re.compile(r"(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_.:=-]{12,128}")
_REQUEST_ID_HEADERS = (b"x-request-id", b"request-id", b"x-amzn-requestid", b"x-correlation-id")


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and, up to the limit, a body: None where it was longer. `request_id`: the other side's, if any.

    `headers`: their names in lower case; never shown.
    """

    status: int
    body: bytes | None
    retry_after_s: float | None
    request_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class GuardedClient:
    """Makes requests to one host over kept connections, from any number of threads.

    Args:
        address: the host, and the headers of every request.
        connections: the most connections at the same time.
        timeout_s: seconds to connect, and again from the end of a request to the end of its answer.
        max_answer_bytes: the most bytes of a body.
    """

    def __init__(self, address: HttpAddress, *, connections: int, timeout_s: float, max_answer_bytes: int) -> None:
        self._address = address
        self._max_answer_bytes = max_answer_bytes
        self._backend = _GuardedBackend(address, timeout_s=timeout_s)
        self._timeouts = {"connect": timeout_s, "read": timeout_s, "write": timeout_s, "pool": None}
        self._pool = httpcore.ConnectionPool(
            ssl_context=_trust() if address.scheme == "https" else None,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=60,
            network_backend=self._backend,
        )

    def check_address(self) -> None:
        """Resolve the host and check every address, without connecting.

        Raises:
            DestinationError: an address may not be contacted.
            AttemptError: the name could not be resolved.
        """
        try:
            self._backend.addresses(self._address.host, self._address.port)
        except httpcore.ConnectError as failure:
            raise self._unreachable(failure, code="unknown_host") from None

    def request(self, method: str, target: str, body: bytes, *, headers: dict[str, str]) -> Answer:
        """Send one request and read its answer, whatever its status.

        Args:
            method: such as `POST`.
            target: path and query.
            body: of the request.
            headers: in addition to the connection's own.

        Raises:
            AttemptError: no answer came, or the token of the request was refused and can be renewed.
            DestinationError: the address may not be contacted, its certificate is not trusted, or there is no token.
        """
        tokens = self._address.tokens
        if tokens is None:
            return self._exchange(method, target, body, headers=headers)
        name, value = tokens.header()
        answer = self._exchange(method, target, body, headers={**headers, name: value})
        if answer.status != 401:
            tokens.accepted(value)
        elif tokens.refused(value):
            # Not sent again here: before each request, the lease is checked and the pace kept.
            raise AttemptError("token_refused", maybe_applied=False, retry_after_s=0.0)
        return answer

    def _exchange(self, method: str, target: str, body: bytes, *, headers: Mapping[str, str]) -> Answer:
        host = f"[{self._address.host}]" if ":" in self._address.host else self._address.host
        try:
            with self._pool.stream(
                method,
                httpcore.URL(
                    scheme=self._address.scheme.encode(),
                    host=host.encode(),
                    port=self._address.port,
                    target=target.encode(),
                ),
                headers=[*self._address.headers.items(), *self._address.api_headers.items(), *headers.items()],
                content=body,
                extensions={"timeout": self._timeouts},
            ) as response:
                read = self._read(response)
                answered = {name.lower(): value for name, value in response.headers}
                waits = retry_after_s(answered.get(b"retry-after"))
                texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in answered.items()}
                return Answer(response.status, read, waits, request_id(answered), texts)
        except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout) as failure:
            raise self._unreachable(failure, code="unreachable") from None
        except httpcore.TimeoutException:
            raise AttemptError("timeout", maybe_applied=True) from None
        except (httpcore.NetworkError, httpcore.ProtocolError):
            # The original message may quote the answer.
            raise AttemptError("connection_lost", maybe_applied=True) from None

    def _unreachable(self, failure: Exception, *, code: str) -> AttemptError:
        place = f"{self._address.host}, port {self._address.port}"
        # Every failure to connect comes from the backend below, in its words.
        return AttemptError(code, maybe_applied=False, words=f"{place}: {failure or 'no free connection'}")

    def close(self) -> None:
        """Close every connection; running requests fail at once."""
        self._pool.close()

    def _read(self, response: httpcore.Response) -> bytes | None:
        parts: list[bytes] = []
        length = 0
        for part in response.iter_stream():
            length += len(part)
            if length > self._max_answer_bytes:
                return None
            parts.append(part)
        return b"".join(parts)


def request_id(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the other side's id of a request, from the headers of the answer, whose names are in lower case."""
    for name in _REQUEST_ID_HEADERS:
        text = headers.get(name, b"").decode("latin-1").strip()
        if _REQUEST_ID.fullmatch(text):
            return text
    return None


def _trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not any(path is not None and Path(path).exists() for path in (paths.cafile, paths.capath)):
        context.load_verify_locations(certifi.where())
    return context


class _GuardedBackend(httpcore.NetworkBackend):
    """Opens sockets to checked literal addresses, so that a name cannot resolve differently after the check."""

    def __init__(self, address: HttpAddress, *, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._sockets = httpcore.SyncBackend()

    def addresses(self, host: str, port: int) -> list[str]:
        """Check every address of a host, and return all."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise httpcore.ConnectError(UNKNOWN_NAME) from None
        texts = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for text in texts:
            reason = refusal(
                ipaddress.ip_address(text.partition("%")[0]),
                allow_private=self._address.allow_private,
                plain=self._address.scheme == "http" and not self._address.allow_plain_http,
            )
            if reason is not None:
                raise DestinationError(f"the host of connection `{self._address.conn_id}` resolves to {text}, {reason}")
        return texts

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: httpcore.ConnectError | httpcore.ConnectTimeout = httpcore.ConnectError("no address")
        for address in self.addresses(host.strip("[]"), port):
            try:
                stream = self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as problem:
                failure = problem
            else:
                return _TimedStream(stream, self._address, answer_s=self._timeout_s)
        raise httpcore.ConnectError(no_connection(failure, timeout_s=self._timeout_s)) from None


class _TimedStream(httpcore.NetworkStream):
    """A connection whose whole answer has to arrive in time: a slow trickle of bytes does not keep it open."""

    def __init__(self, stream: httpcore.NetworkStream, address: HttpAddress, *, answer_s: float) -> None:
        self._stream = stream
        self._address = address
        self._answer_s = answer_s
        self._answer_by = time.monotonic() + answer_s

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left_s = self._answer_by - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout
        return self._stream.read(max_bytes, left_s)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)
        self._answer_by = time.monotonic() + self._answer_s

    def close(self) -> None:
        # The other side may have closed it first.
        with contextlib.suppress(OSError):
            # After a plain close, a thread that reads from the socket would wait for its timeout. Not the method of a
            # TLS socket: it drops its encryption first, and a thread that is writing would continue in clear text.
            socket.socket.shutdown(self._stream.get_extra_info("socket"), socket.SHUT_RDWR)
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            stream = self._stream.start_tls(ssl_context, (server_hostname or "").strip("[]"), timeout)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as problem:
            if isinstance(problem.__cause__, ssl.SSLCertVerificationError):
                raise DestinationError(
                    f"the certificate of connection `{self._address.conn_id}` is not trusted for its host "
                    f"{self._address.host}, port {self._address.port}: {problem.__cause__.verify_message}"
                ) from None
            raise httpcore.ConnectError(no_connection(problem, timeout_s=self._answer_s)) from None
        return _TimedStream(stream, self._address, answer_s=self._answer_s)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
