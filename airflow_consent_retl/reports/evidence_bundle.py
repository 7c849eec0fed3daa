"""The evidence about one person: a bundle with a page for people, documents for machines, and a signed manifest."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from airflow_consent_retl.consent import policy_document
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.reports.consent_receipts import receipts
from airflow_consent_retl.reports.history_of_person import person_history
from airflow_consent_retl.reports.presence import present_places
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.location import policy_archive, signer, subject_key
from airflow_consent_retl.storage.manifest import MANIFEST_NAME, Document, Part, sha256_hex
from airflow_consent_retl.storage.signing import signed

if TYPE_CHECKING:
    from jinja2 import Template

    from airflow_consent_retl.consent import ConsentPolicy
    from airflow_consent_retl.reports.history_of_person import PersonHistory

_WORDS: Final = {"permitted": "permitted", "denied": "denied", "not_in_model": "not in the model"}


class EvidenceManifest(Document):
    """What a bundle contains, and which records it was made of."""

    kind: Literal["evidence"] = "evidence"
    version: Literal[1] = 1
    made_at: datetime
    person: str
    reference: str
    decisions: int
    deliveries: int
    policies: tuple[str, ...]
    # Policies that events name and that are not kept.
    unknown_policies: tuple[str, ...]
    files: tuple[Part, ...]


def evidence(
    subject: str | int,
    to: str | Path,
    *,
    workspace: str | None = None,
    ledger_conn_id: str | None = None,
    model: str | None = None,
    reference: str = "",
) -> Path:
    """Write the evidence about one person, and return its path. Every record that could have the person is verified.

    Runs without the person by the index of the records, which is signed and verified, are not opened.

    Args:
        subject: an id, as the models have it. The bundle contains a keyed digest of it.
        to: a new folder, or a new file that ends in `.zip`. Only its owner can read it.
        workspace, ledger_conn_id: as for the loads.
        model: only this model's records.
        reference: a text for the page and the manifest, such as the number of a request.

    Raises:
        ConfigurationError: `to` exists already; and as `person_history`.
        RefusedError, LedgerUnavailableError: as `person_history`.
    """
    path = Path(to).absolute()
    if path.exists():
        raise ConfigurationError(
            f"{path} exists already: evidence is never overwritten; name a new folder or .zip file"
        )
    made_at = datetime.now(UTC)
    history = person_history(subject, workspace=workspace, ledger_conn_id=ledger_conn_id, model=model, verify=True)
    person = subject_key(workspace).digest_of_text(f"evidence:{subject}")
    policies, unknown = _policies(history)
    contents = _contents(history, policies, person=person, made_at=made_at, reference=reference)
    contents["SHA256SUMS"] = "".join(f"{sha256_hex(one)}  {name}\n" for name, one in contents.items()).encode()
    manifest = EvidenceManifest(
        made_at=made_at,
        person=person,
        reference=reference,
        decisions=len(history.decisions),
        deliveries=len(history.deliveries),
        policies=tuple(policies),
        unknown_policies=tuple(unknown),
        files=tuple(
            Part(name=name, sha256=sha256_hex(one), rows=0, size_bytes=len(one)) for name, one in contents.items()
        ),
    )
    # For any place: a bundle is made to be handed over.
    contents[MANIFEST_NAME] = signed(manifest.to_json(), signer())
    _write(path, contents)
    return path


def _contents(
    history: PersonHistory,
    policies: Mapping[str, ConsentPolicy],
    *,
    person: str,
    made_at: datetime,
    reference: str,
) -> dict[str, bytes]:
    names = {digest: f"policy-{digest.removeprefix('sha256:')[:16]}.json" for digest in policies}
    receipt = receipts(history.decisions, history.deliveries, policies, person=person, made_at=made_at)
    documents: dict[str, Any] = {
        "history.json": asdict(history),
        "consent-receipt.jsonld": receipt,
        **{names[digest]: policy_document(policy) for digest, policy in policies.items()},
    }
    page = _page(history, policies, names, person=person, made_at=made_at, reference=reference)
    return {
        "index.html": page.encode(),
        **{name: json.dumps(one, indent=2, default=_text).encode() for name, one in documents.items()},
    }


def _page(
    history: PersonHistory,
    policies: Mapping[str, ConsentPolicy],
    names: Mapping[str, str],
    *,
    person: str,
    made_at: datetime,
    reference: str,
) -> str:
    destinations = sorted(
        {one.destination for one in history.decisions} | {one.destination for one in history.deliveries}
    )
    return _template().render(
        made_at=made_at,
        person=person,
        reference=reference,
        present=present_places(history),
        decisions=history.decisions,
        runs=history.runs,
        deliveries=history.deliveries,
        requests=history.requests,
        suppressions=history.suppressions,
        words=_WORDS,
        policies=[
            {
                "digest": digest,
                "file": names[digest],
                "needs": [f"{name}: {policy.needs_of(name) or 'no consent'}" for name in destinations],
            }
            for digest, policy in policies.items()
        ],
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_shown)
    return environment.from_string(files(__package__).joinpath("evidence_page.html").read_text())


def _policies(history: PersonHistory) -> tuple[dict[str, ConsentPolicy], list[str]]:
    """Return the policies that events and the last runs name, by digest, and the digests of those that are not kept."""
    digests = dict.fromkeys(
        [
            *(one.policy_digest for one in history.decisions),
            *(one.policy_digest for one in history.deliveries),
            *(one.last_policy_digest for one in history.runs),
        ]
    )
    archive, known, unknown = policy_archive(), {}, []
    for digest in filter(None, digests):
        try:
            known[digest] = archive.policy(digest)
        except RefusedError:
            unknown.append(digest)
    return known, unknown


def _write(path: Path, contents: Mapping[str, bytes]) -> None:
    if path.suffix == ".zip":
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, content in contents.items():
                bundle.writestr(name, content)
        contents, folder = {path.name: packed.getvalue()}, Folder.local(path.parent)
    else:
        folder = Folder.local(path)
    for name, content in contents.items():
        with folder.create(name, is_durable=True) as file:
            file.write(content)


def _shown(value: object) -> object:
    """Return what the page shows for a value."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%F %T}"
    return "" if value is None else value


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
