"""The base of local vendors that store something: requests decoded by strict shapes, and faults on demand."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self, TypeVar

import msgspec
from support.vendor_server import Asked, Reply, vendor_server

Shape = TypeVar("Shape")


RESET = Reply(0)
Fault = Callable[[Asked, Callable[[], Reply]], Reply]
"""Gets a call and the function that applies it, and returns the answer."""


class RefusedCallError(Exception):
    """The vendor refuses a call with this answer."""

    def __init__(self, answer: Reply) -> None:
        super().__init__(answer.status)
        self.answer = answer


class VendorApi(ABC):
    """A vendor; a subclass answers calls from what it stores.

    Attributes:
        token: that every call has to have, after `scheme`.
        scheme: of the header `Authorization`.
        content_type: of the bodies.
        calls: all calls, in the order of their arrival.
        violations: errors in requests that the vendor's specification does not allow; there must be none.
        fault: lasts until it is set to None.
    """

    token: ClassVar[str] = "token-9c41"
    scheme: ClassVar[str] = "Bearer"
    content_type: ClassVar[str] = "application/json"

    def __init__(self) -> None:
        self.calls: list[Asked] = []
        self.violations: list[str] = []
        self.fault: Fault | None = None
        self.port = 0
        self.lock = threading.RLock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @abstractmethod
    def answer(self, call: Asked) -> Reply:
        """Apply a call and return the answer; called under the lock."""

    def take(self, call: Asked) -> Reply:
        with self.lock:
            self.calls.append(call)
            if call.headers.get("authorization") != f"{self.scheme} {self.token}":
                self.violations.append("no token")
            fault = self.fault or (lambda _, apply: apply())
            return fault(call, lambda: self._applied(call))

    def shaped(self, call: Asked, shape: type[Shape]) -> Shape:
        """Return the body in a strict shape of the specification."""
        if call.headers.get("content-type") != self.content_type:
            self.violations.append(f"{call.path}: another content type")
        try:
            return msgspec.json.decode(call.body, type=shape)
        except msgspec.ValidationError as error:
            self.violations.append(f"{call.path}: {error}")
            raise RefusedCallError(Reply(400, {"message": "Invalid input JSON"})) from None

    def expect(self, correct: bool, words: str) -> None:
        """Note a violation where a request is not correct."""
        if not correct:
            self.violations.append(words)

    def called(self, path: str) -> list[Any]:
        """Return the bodies of all calls of a path that ends so."""
        return [call.document for call in self.calls if call.path.endswith(path)]

    @contextmanager
    def serving(self) -> Iterator[Self]:
        """Serve until the block ends, then assert that every request was correct."""
        with vendor_server(self.take) as server:
            self.port = server.port
            yield self
        assert self.violations == []

    def _applied(self, call: Asked) -> Reply:
        try:
            return self.answer(call)
        except RefusedCallError as refusal:
            return refusal.answer


def applied_then_reset(_: Asked, apply: Callable[[], Reply]) -> Reply:
    """Apply a call, and reset the connection instead of answering."""
    apply()
    return RESET


def unreadable(_: Asked, apply: Callable[[], Reply]) -> Reply:
    """Apply a call, and answer something else."""
    apply()
    return Reply(200, b"<html>all is well</html>")
