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
from typing import Final

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.secret import Secret

ALGORITHM: Final = "HMAC-SHA-256"
MANIFEST: Final = "manifest"
_CONTEXT = b"airflow-consent-retl signature v1:"
# JSON has no line end inside of a text, so this is a member of the outermost object.
_MARKER = b',\n  "signature": '
_END = b"\n}"


class SignatureState(StrEnum):
    """The result of a check."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    # Of a key that the deployment does not have: it may be true.
    UNKNOWN_KEY = "unknown_key"
    # The deployment signed it for another place: this is a copy.
    MOVED = "moved"
    # The bytes are not those that were signed, or another secret made it.
    FALSE = "false"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature in hex, and the id of its key."""

    key_id: str
    value: str


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
    """A JSON document and its signature.

    Args:
        body: the bytes of the document without its signature.
        place: the URI for which it was signed; empty: for any.
        signature: None: it has none.
    """

    body: bytes
    place: str = ""
    signature: Signature | None = None

    @classmethod
    def read(cls, document: bytes) -> SignedDocument:
        """Split a document as `signed` wrote it. One of any other form has no signature."""
        head, marker, tail = document.rpartition(_MARKER)
        found = _parsed(tail.removesuffix(_END)) if marker and tail.endswith(_END) else None
        if found is None:
            return cls(document)
        return cls(head + _END, found["place"], Signature(found["key_id"], found["value"]))

    def state(self, signer: Signer, *, place: str | None = None, purpose: str = MANIFEST) -> SignatureState:
        """Return whether the deployment signed this document.

        Args:
            signer: of the deployment.
            place: the URI at which the document was found; None: any place will do.
            purpose: as in `signed`.
        """
        if self.signature is None:
            return SignatureState.UNSIGNED
        state = signer.state(_content(self.body, self.place), self.signature, purpose=purpose)
        is_copy = place is not None and self.place not in ("", place)
        return SignatureState.MOVED if state is SignatureState.SIGNED and is_copy else state

    def doubt(self, state: SignatureState, signer: Signer) -> str:
        """Return in words what is wrong with a document of this state."""
        if self.signature is None:
            return "is not signed, so an earlier release or a stranger wrote it"
        if state is SignatureState.UNKNOWN_KEY:
            return (
                f"was signed with key {self.signature.key_id}, which this deployment does not know (its own is "
                f"{signer.key_id}); set `[consent_retl] digest_key` alike for all workers, and add a secret that was "
                "replaced to `digest_key_previous`"
            )
        if state is SignatureState.MOVED:
            return f"is a copy of {self.place}"
        return "has a false signature, so someone else changed or wrote it"


def signed(document: bytes, signer: Signer, *, place: str = "", purpose: str = MANIFEST) -> bytes:
    """Return a JSON object with a signature of its bytes as its last member.

    Args:
        document: a JSON object that is not empty, indented by 2, without a signature.
        signer: of the deployment.
        place: the URI of the document, which is signed too: a copy elsewhere is known as one.
        purpose: the kind of the document.

    Raises:
        ValueError: the document has another form.
    """
    if not document.endswith(_END) or _MARKER in document:
        raise ValueError("only a JSON object indented by 2, without a signature, can be signed")
    signature = signer.sign(_content(document, place), purpose=purpose)
    member = {"algorithm": ALGORITHM, "key_id": signature.key_id, "place": place, "value": signature.value}
    return document.removesuffix(_END) + _MARKER + json.dumps(member).encode() + _END


def _content(body: bytes, place: str) -> bytes:
    """Return the bytes that are signed; no URI contains a NUL."""
    return place.encode() + b"\0" + body


def _parsed(member: bytes) -> dict[str, str] | None:
    try:
        found = json.loads(member)
    except (ValueError, RecursionError):
        return None
    is_signature = (
        isinstance(found, dict)
        and found.keys() == {"algorithm", "key_id", "place", "value"}
        and all(isinstance(text, str) for text in found.values())
        and found["algorithm"] == ALGORITHM
    )
    return found if is_signature else None
