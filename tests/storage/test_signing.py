"""Signatures: what they prove, and what a changed secret does to them."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import pytest

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.location import signer, subject_key
from airflow_consent_retl.storage.signing import Signature, SignatureState, SignedDocument, Signer, signed

OLD, NEW, FOREIGN = "old secret " * 4, "new secret " * 4, "foreign secret " * 4
DOCUMENT = json.dumps({"kind": "permitted", "run": "d r t", "groups": [{"rows": 3}]}, indent=2).encode()
CONFIGURED_KEY = "AIRFLOW__CONSENT_RETL__DIGEST_KEY"
PREVIOUS_KEYS = "AIRFLOW__CONSENT_RETL__DIGEST_KEY_PREVIOUS"


def state(document: bytes, *secrets: str) -> SignatureState:
    return SignedDocument.read(document).state(Signer(secrets))


def test_bytes_that_were_signed_are_known_again_and_others_are_not() -> None:
    signer = Signer([NEW])
    signature = signer.sign(b"content", purpose="records")

    assert signer.state(b"content", signature, purpose="records") is SignatureState.SIGNED
    assert signer.state(b"Content", signature, purpose="records") is SignatureState.FALSE
    assert signer.state(b"content", Signature(signature.key_id, "0" * 64), purpose="records") is SignatureState.FALSE


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    signer = Signer([NEW])

    assert signer.state(b"x", signer.sign(b"x", purpose="records"), purpose="manifest") is SignatureState.FALSE


def test_the_signature_is_hmac_sha_256_under_a_key_derived_for_the_purpose() -> None:
    key = hmac.digest(hashlib.sha256(NEW.encode()).digest(), b"airflow-consent-retl signature v1:records", "sha256")

    assert Signer([NEW]).sign(b"x", purpose="records").value == hmac.new(key, b"x", "sha256").hexdigest()


def test_after_a_rotation_old_signatures_are_true_and_new_ones_use_the_new_secret() -> None:
    before, after = Signer([OLD]), Signer([NEW, OLD])
    signature = before.sign(b"x", purpose="records")

    assert after.state(b"x", signature, purpose="records") is SignatureState.SIGNED
    assert after.sign(b"x", purpose="records").key_id == Signer([NEW]).key_id != before.key_id
    assert before.state(b"x", after.sign(b"x", purpose="records"), purpose="records") is SignatureState.UNKNOWN_KEY


def test_there_is_no_signer_without_a_secret_or_with_a_short_one() -> None:
    with pytest.raises(ConfigurationError, match="no secret"):
        Signer([])
    with pytest.raises(ConfigurationError, match="has 5 characters, it needs 32"):
        Signer([NEW, "short"])


def test_a_signed_document_gives_its_bytes_back_and_stays_json() -> None:
    document = signed(DOCUMENT, Signer([NEW]), place="file:///w/manifest.json")

    assert SignedDocument.read(document).body == DOCUMENT
    assert json.loads(document)["signature"]["key_id"] == Signer([NEW]).key_id
    assert state(document, NEW) is SignatureState.SIGNED


@pytest.mark.parametrize("document", [b"{}", b'{"a": 1}', signed(DOCUMENT, Signer([NEW]))])
def test_a_document_that_could_be_read_in_two_ways_is_not_signed(document: bytes) -> None:
    with pytest.raises(ValueError, match="can be signed"):
        signed(document, Signer([NEW]))


def test_a_copy_of_a_signed_document_elsewhere_is_known_as_one() -> None:
    document = SignedDocument.read(signed(DOCUMENT, Signer([NEW]), place="file:///w/a"))

    assert document.state(Signer([NEW]), place="file:///w/a") is SignatureState.SIGNED
    assert document.state(Signer([NEW]), place="file:///w/b") is SignatureState.MOVED
    moved = signed(DOCUMENT, Signer([NEW]), place="file:///w/a").replace(b"/w/a", b"/w/b")
    assert state(moved, NEW) is SignatureState.FALSE


def test_what_was_changed_in_a_signed_document_shows() -> None:
    document = signed(DOCUMENT, Signer([NEW]))

    assert state(document.replace(b'"rows": 3', b'"rows": 4'), NEW) is SignatureState.FALSE
    assert state(document.replace(b'"kind"', b'"groups": [],\n  "kind"', 1), NEW) is SignatureState.FALSE
    assert state(document.replace(b'",\n', b'", \n', 1), NEW) is SignatureState.FALSE
    assert state(document, FOREIGN) is SignatureState.UNKNOWN_KEY


@pytest.mark.parametrize(
    "document",
    [
        DOCUMENT,
        signed(DOCUMENT, Signer([NEW])) + b"\n",
        signed(DOCUMENT, Signer([NEW])).replace(b"HMAC-SHA-256", b"none"),
        signed(DOCUMENT, Signer([NEW])).replace(b'"algorithm"', b'"a": 1, "algorithm"'),
        signed(DOCUMENT, Signer([NEW])).replace(b'"place": ""', b'"place": []'),
        DOCUMENT.removesuffix(b"\n}") + b',\n  "signature": {\n}',
        b"",
        b"\xff",
    ],
)
def test_what_has_no_signature_of_the_one_form_is_unsigned(document: bytes) -> None:
    assert state(document, NEW) is SignatureState.UNSIGNED
    assert SignedDocument.read(document).body == document


# The deployment's secrets


def test_the_configured_secret_signs_and_the_previous_ones_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    old, older = "o" * 40, "r" * 40
    monkeypatch.setenv(CONFIGURED_KEY, NEW)
    monkeypatch.setenv(PREVIOUS_KEYS, f"{old}\n{older}")

    assert signer().key_id == Signer([NEW]).key_id
    for secret in (old, older):
        assert SignedDocument.read(signed(DOCUMENT, Signer([secret]))).state(signer()) is SignatureState.SIGNED
    key = subject_key(None)
    assert [one.key_id for one in (key, *key.earlier)] == [Signer([secret]).key_id for secret in (NEW, old, older)]


def test_digests_of_an_earlier_secret_are_made_with_that_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "o" * 40
    monkeypatch.setenv(CONFIGURED_KEY, old)
    digest = subject_key(None).digest_of_text("tenant")
    monkeypatch.setenv(CONFIGURED_KEY, NEW)
    monkeypatch.setenv(PREVIOUS_KEYS, old)

    assert subject_key(None).digest_of_text("tenant") != digest
    assert subject_key(None).of(Signer([old]).key_id).digest_of_text("tenant") == digest
    with pytest.raises(ConfigurationError, match=r"add the old secret to `\[consent_retl\] digest_key_previous`"):
        subject_key(None).of(Signer([FOREIGN]).key_id)


def test_without_a_configured_secret_the_key_file_of_the_default_workspace_signs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))

    own = signer()

    assert own.key_id == signer().key_id
    assert own.key_id == Signer([(tmp_path / "consent_retl" / "digest.key").read_text()]).key_id


def test_a_key_file_may_name_earlier_secrets_after_the_present_one(tmp_path: Path) -> None:
    (tmp_path / "digest.key").write_text("n" * 64 + "\n" + "o" * 64 + "\n")

    key = subject_key(tmp_path.as_uri())
    assert [one.key_id for one in (key, *key.earlier)] == [Signer([letter * 64]).key_id for letter in ("n", "o")]
