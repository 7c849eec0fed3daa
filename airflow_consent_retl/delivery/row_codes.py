"""The guard of row codes: which codes of a destination may reach the ledger, the log, XCom and asset events.

A vendor may build a code from a row: `dup_john.smith`, `tel_15112345`. So a code is kept only if it can quote no row:
it is made of the words of the list below, or the destination declares it as its own. Any other code is kept only if
many rows of one batch share it and it repeats no part of their values. The rest is counted as `other`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_consent_retl.contract.outcomes import UNNAMED_CODE, Outcome, Outcomes, RowStatus, is_request_id

if TYPE_CHECKING:
    import pyarrow as pa

OTHER_CODE = "other"
# The fewest rows of one batch that share a foreign code, and the most foreign codes that one delivery keeps.
SHARED_BY_ROWS = 5
MAX_FOREIGN_CODES = 20

# Words that are also common names, such as `young` or `mark`, are left out.
_WORDS = frozenset(
    {
        "a", "above", "accepted", "access", "account", "actions", "address", "after", "all", "already", "an",
        "and", "answer", "applied", "argument", "array", "as", "at", "attribute", "audience", "bad", "banned",
        "base64", "be", "before", "below", "binary", "birth", "birthdate", "birthday", "blank", "blocked",
        "body", "boolean", "bounced", "broken", "buffer", "busy", "by", "cannot", "changed", "char",
        "character", "characters", "check", "cleared", "code", "codes", "column", "complained", "complaint",
        "concurrent", "conflict", "connection", "consent", "consents", "constraint", "contact", "contacts", "content",
        "corrupt", "could", "country", "create", "created", "credentials", "currency", "cut", "data",
        "database", "date", "datetime", "deadline", "deleted", "denied", "dependency", "deprecated",
        "destination", "destinations", "device", "digits", "disabled", "disallowed", "domain", "down",
        "duplicate", "duplicated", "elements", "email", "empty", "encoding", "ended", "enum", "error",
        "exceeded", "exception", "exclusion", "exhausted", "existing", "exists", "expected", "expired",
        "external", "failed", "failure", "family", "few", "field", "fields", "first", "firstname", "for",
        "forbidden", "foreign", "forgotten", "format", "found", "from", "full", "future", "gateway", "gender", "given",
        "gone", "handed", "hash", "header", "hex", "hold", "host", "id", "identifier", "identifiers", "ids",
        "in", "inactive", "incomplete", "incorrect", "index", "integer", "internal", "invalid", "is", "item",
        "items", "json", "key", "large", "last", "lastname", "late", "later", "latitude", "legal", "length",
        "limit", "limited", "list", "load", "loads", "locale", "locked", "longitude", "lookup", "lost", "mail",
        "malformed", "many", "max", "maximum", "member", "members", "merge", "merged", "message", "min",
        "minimum", "mismatch", "missing", "mobile", "must", "name", "names", "nan", "never", "new", "no",
        "none", "not", "null", "number", "numeric", "object", "of", "off", "old", "on", "one", "only", "opted",
        "option", "or", "other", "out", "over", "parameter", "parse", "partial", "past", "path", "payload",
        "pending", "permission", "phase", "phone", "policy", "postal", "postcode", "precise", "processing",
        "property", "provided", "queue", "quota", "range", "rate", "read", "reason", "received", "record",
        "refused", "rejected", "removal", "removed", "repeated", "request", "required", "reserved", "reset",
        "resource", "response", "result", "retry", "revoked", "role", "row", "rows", "rule", "scope", "second",
        "secret", "secure", "sent", "server", "service", "set", "several", "sha256", "short", "size", "soft",
        "spam", "special", "state", "statement", "statements", "status", "storage", "store", "stored",
        "streaming", "string", "subject", "subscribed", "subscription", "success", "suppressed", "syntax",
        "system", "table", "temporary", "test", "text", "throttled", "time", "timeout", "timestamp", "timezone",
        "token", "too", "transaction", "transient", "trigger", "type", "unable", "unauthorized", "unavailable",
        "unconfirmed", "under", "underage", "unexpected", "unique", "unknown", "unnamed", "unprocessable",
        "unreachable", "unreadable", "unsettled", "unsubscribed", "unsupported", "untrusted", "unverified",
        "up", "update", "updated", "upper", "url", "user", "username", "users", "utf8", "valid", "validation",
        "value", "values", "version", "visible", "was", "with", "withdrawn", "without", "write", "wrong",
        "year", "years", "zero", "zip", "zipcode", "zone",
    }
)  # fmt: skip
_WHOLE = frozenset({"too_long", "answer_too_long", "value_too_long", "field_too_long"})
_SEPARATORS = re.compile(r"[_.\-]+|(?<=[a-z])(?=[A-Z])")
_PIECES = re.compile(r"[^A-Za-z0-9]+")
_SHORTEST_PIECE = 3
# A number with so many digits fits no integer column.
_DIGITS = 21


def says_only_words(code: str) -> bool:
    """Return whether a code is made of words about errors only, such as `invalid_email` or `tooLong`."""
    return code in _WHOLE or all(word.lower() in _WORDS for word in _SEPARATORS.split(code))


class RowCodes:
    """The codes that one delivery keeps. Not for several threads.

    Args:
        is_own: whether a code is one of the destination's own, which can quote no row.
        fields: the names of the load's fields: no other name is kept beside a code.
    """

    def __init__(self, is_own: Callable[[str], bool], *, fields: Collection[str] = ()) -> None:
        self._is_own = is_own
        self._fields = frozenset(fields)
        self._foreign: set[str] = set()

    def guarded(self, outcomes: Outcomes, rows: pa.RecordBatch | None) -> Outcomes:
        """Return the outcomes with `other` instead of each code that might quote a row, and without such requests.

        Args:
            outcomes: of one batch, or of the rows of one request.
            rows: the values that were sent; None where they are not at hand.
        """
        requests = tuple(one for one in outcomes.requests if is_request_id(one[1]) and not _is_value(one[1], rows))
        outcomes = replace(outcomes, requests=requests)
        shown: dict[Outcome, Outcome] = {}
        for outcome, shared in outcomes.counts().items():
            kept = replace(outcome, field=outcome.field if outcome.field in self._fields else "")
            if not self._keeps(outcome, shared, rows):
                kept = replace(kept, code=OTHER_CODE)
                if outcome.status is RowStatus.PENDING:
                    # It cannot be asked for: the id may be a value of a row.
                    kept = replace(kept, status=RowStatus.UNCERTAIN)
            if kept != outcome:
                shown[outcome] = kept
        if not shown:
            return outcomes
        exceptions = {row: shown.get(outcome, outcome) for row, outcome in outcomes.exceptions.items()}
        return replace(outcomes, common=shown.get(outcomes.common, outcomes.common), exceptions=exceptions)

    def _keeps(self, outcome: Outcome, shared: int, rows: pa.RecordBatch | None) -> bool:
        code = outcome.code
        if outcome.status is RowStatus.PENDING:
            # The code of a pending row is the id of its request, with which the result is asked for.
            return is_request_id(code) and not _is_value(code, rows)
        if not code or code in {UNNAMED_CODE, OTHER_CODE}:
            return True
        if says_only_words(code) or self._is_own(code):
            return True
        if shared < SHARED_BY_ROWS or (code not in self._foreign and len(self._foreign) >= MAX_FOREIGN_CODES):
            return False
        if rows is not None and _quotes(code, rows):
            return False
        self._foreign.add(code)
        return True


def _is_value(text: str, rows: pa.RecordBatch | None) -> bool:
    """Return whether a text is a value of a row: its own text, or the digits of a number."""
    if rows is None:
        return False
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    for column in rows.columns:
        if pt.is_string(column.type) or pt.is_large_string(column.type):
            found = pc.index(pc.utf8_lower(column), pa.scalar(text.lower(), column.type))
        elif pt.is_integer(column.type) and text.isascii() and text.isdigit() and len(text) < _DIGITS:
            found = pc.index(column.cast(pa.decimal128(20)), pa.scalar(int(text), pa.decimal128(20)))
        else:
            continue
        if found.as_py() >= 0:
            return True
    return False


def _quotes(code: str, rows: pa.RecordBatch) -> bool:
    """Return whether a part of a code occurs in a value, or a value in the code, whatever the case."""
    pieces = [piece for piece in map(str.casefold, _PIECES.split(code)) if len(piece) >= _SHORTEST_PIECE]
    unknown = [piece for piece in pieces if piece not in _WORDS]
    whole = code.casefold()
    for column in rows.columns:
        for value in column.unique().to_pylist():
            text = str(value).casefold()
            if value is None or len(text) < _SHORTEST_PIECE:
                continue
            if text in whole or any(piece in text for piece in unknown):
                return True
    return False
