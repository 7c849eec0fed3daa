"""The causes why no connection was made, in words. They never quote the other side."""

from __future__ import annotations

import errno
import ssl
from typing import Final

UNKNOWN_NAME: Final = "the name cannot be resolved: check its spelling, and the DNS of the worker"
_WORDS: Final = {
    errno.ECONNREFUSED: "the connection was refused: nothing listens there, or a firewall refuses",
    errno.ECONNRESET: "the connection was reset while it was made",
    errno.EHOSTUNREACH: "no network leads to the host",
    errno.ENETUNREACH: "no network leads to the host",
}
# The other side answered in another protocol than TLS.
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"})


def no_connection(failure: Exception, *, timeout_s: float) -> str:
    """Return why no connection was made.

    Args:
        failure: of `httpcore`, with the error of the socket as its cause.
        timeout_s: how long the client waited.
    """
    cause = failure.__cause__
    if isinstance(cause, ssl.SSLError):
        reason = (cause.reason or "no reason given").upper()
        hint = ": it speaks no TLS there, so perhaps another port, or plain http" if reason in _NO_TLS else ""
        return f"TLS failed ({reason}){hint}"
    if isinstance(cause, TimeoutError):
        return f"time-out: no connection within {timeout_s:g} s, as where a firewall drops everything"
    if isinstance(cause, OSError) and cause.errno:
        return _WORDS.get(cause.errno, f"no connection ({errno.errorcode.get(cause.errno, 'unknown error')})")
    return "no connection"
