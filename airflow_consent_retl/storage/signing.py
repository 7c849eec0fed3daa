"""Signatures of what the package writes: HMAC-SHA-256 under keys that are derived from `[consent_retl] digest_key`.

A signature proves that the deployment wrote these bytes: a digest beside them proves only that they did not change.
Each purpose has a derived key of its own, so a signature for one purpose is no signature for another one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.secret import Secret

ALGORITHM: Final = "HMAC-SHA-256"
MANIFEST: Final = "manifest"
_CONTEXT = b"airflow-consent-retl signature v1:"
_FIELD = "signature"


class SignatureState(StrEnum):
    """The result of a check."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    # Of a key that the deployment does not have: it may be true.
    UNKNOWN_KEY = "unknown_key"
    # The bytes are not those that were signed, or another secret made it.
    FALSE = "false"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature in hex, and the id of its key."""

    key_id: str
    value: str

    def to_document(self) -> dict[str, str]:
        """Return the form in which documents contain it."""
        return {"algorithm": ALGORITHM, "key_id": self.key_id, "value": self.value}


class Signer:
    """Signs with the newest of a deployment's secrets, and checks signatures of all of them.

    Args:
        secrets: the present one first, then those that it replaced.

    Raises:
        ConfigurationError: there is none, or one is shorter than 32 characters.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets:
            raise ConfigurationError("there is no secret to sign with: set `[consent_retl] digest_key`")
        known = [Secret(secret) for secret in secrets]
        self.key_id = known[0].key_id
        self._keys = {secret.key_id: secret.key for secret in known}

    def sign(self, content: bytes, *, purpose: str) -> Signature:
        """Return the signature of some bytes.

        Args:
            content: everything that the signature has to prove, such as the run and the destination.
            purpose: the kind of the content.
        """
        return Signature(self.key_id, self._value(self.key_id, content, purpose))

    def state(self, content: bytes, signature: Signature, *, purpose: str) -> SignatureState:
        """Return whether a signature of some bytes is true; arguments as in `sign`."""
        if signature.key_id not in self._keys:
            return SignatureState.UNKNOWN_KEY
        value = self._value(signature.key_id, content, purpose)
        return SignatureState.SIGNED if hmac.compare_digest(value, signature.value) else SignatureState.FALSE

    def _value(self, key_id: str, content: bytes, purpose: str) -> str:
        derived = hmac.digest(self._keys[key_id], _CONTEXT + purpose.encode(), hashlib.sha256)
        return hmac.new(derived, content, hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class SignedDocument:
    """A JSON document: the bytes that are signed, and their signature.

    Args:
        body: without the signature.
        signature: None: it has none.
        is_exact: the document has the one form that `signed` writes; in any other one, two readers might differ.
    """

    body: bytes
    signature: Signature | None
    is_exact: bool = True

    @classmethod
    def read(cls, document: bytes) -> SignedDocument:
        """Split a document. One that is no JSON object has no signature."""
        try:
            parsed = json.loads(document)
        except (ValueError, RecursionError):
            return cls(document, None)
        if not isinstance(parsed, dict) or _FIELD not in parsed:
            return cls(document, None)
        is_exact = _encoded(parsed) == document
        found = parsed.pop(_FIELD)
        is_exact = is_exact and isinstance(found, dict) and found.keys() == {"algorithm", "key_id", "value"}
        if not is_exact or found["algorithm"] != ALGORITHM:
            return cls(_encoded(parsed), Signature("", ""), is_exact=False)
        return cls(_encoded(parsed), Signature(str(found["key_id"]), str(found["value"])))

    def state(self, signer: Signer, *, purpose: str = MANIFEST) -> SignatureState:
        """Return whether the deployment signed this document."""
        if self.signature is None:
            return SignatureState.UNSIGNED
        return signer.state(self.body, self.signature, purpose=purpose) if self.is_exact else SignatureState.FALSE


def signed(document: bytes, signer: Signer, *, purpose: str = MANIFEST) -> bytes:
    """Return a JSON object with the signature of everything else in it, in place of one that it has."""
    parsed = json.loads(document)
    parsed.pop(_FIELD, None)
    return _encoded(parsed | {_FIELD: signer.sign(_encoded(parsed), purpose=purpose).to_document()})


def _encoded(parsed: dict[str, Any]) -> bytes:
    return json.dumps(parsed, sort_keys=True, indent=2).encode()
