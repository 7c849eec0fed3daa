"""The history of a sync's policies shows whether a run decided under a policy at a time, or was replaced since."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_consent_retl.consent import ConsentPolicy, parse_policy
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.policy_history import PolicyHistory
from airflow_consent_retl.storage.signing import Signer

DAY = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def policy(name: str) -> ConsentPolicy:
    return parse_policy({"categories": [{"id": "C1", "name": name, "destinations": ["ads"]}]})


def history_of(path: Path, names: str) -> PolicyHistory:
    """Return a history of days, each with the policy of a letter; `-` is none, `!` a declared loss."""
    history = PolicyHistory(Folder.local(path))
    for day, name in enumerate(names):
        at = DAY + timedelta(days=day)
        if name == "!":
            history.declare_whole(at=at)
        elif name != "-":
            history.add(policy(name), at=at)
    return history


@pytest.mark.parametrize(
    ("names", "decided_under", "on_day", "is_lost"),
    [
        ("A", "A", 0, False),
        ("A", "A", 5, False),
        ("AB", "A", 0.5, False),
        ("AB", "B", 7, False),
        # Emptied; without its newest; restored from a time when the policy was another one.
        ("", "A", 3, True),
        ("A", "B", 3, True),
        ("ABA", "B", 3, True),
        ("ABAB", "A", 9, True),
        # Emptied and filled again: by runs under the same policy first, and by runs under another one.
        ("----A", "A", 3, False),
        ("----B", "A", 3, True),
        ("----BA", "A", 3, False),
        # A person accepted the loss, before or after the run.
        ("!---B", "A", 3, True),
        ("----!B", "A", 3, False),
    ],
)
def test_a_history_lacks_the_policy_of_a_run_that_it_does_not_show(
    tmp_path: Path, names: str, decided_under: str, on_day: float, is_lost: bool
) -> None:
    history = history_of(tmp_path, names)

    assert history.lacks(policy(decided_under).digest, at=DAY + timedelta(days=on_day)) is is_lost


def test_the_latest_policy_is_unknown_after_a_loss_was_accepted(tmp_path: Path) -> None:
    history = history_of(tmp_path, "A!")
    assert history.latest() is None

    history.add(policy("B"), at=DAY + timedelta(days=2))

    latest = history.latest()
    assert latest is not None
    assert latest.digest == policy("B").digest


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=400), timedelta(days=20_000)])
def test_the_last_policy_is_the_newest_whatever_clock_was_ahead_before(tmp_path: Path, ahead: timedelta) -> None:
    history, now = PolicyHistory(Folder.local(tmp_path)), datetime.now(UTC) - HOUR
    history.add(policy("A"), at=now + HOUR + ahead)

    for minutes, name in enumerate("BCAC"):
        at = now + timedelta(minutes=minutes)
        history.add(policy(name), at=at)

        assert history.latest() == policy(name)
        assert not history.lacks(policy(name).digest, at=at)


MAPPING = {"C1": {"format": "BooleanColumn", "column": "ok"}}


def test_the_latest_mapping_is_that_of_the_newest_entry_also_under_another_name(tmp_path: Path) -> None:
    history, other = signed_history(tmp_path), signed_history(tmp_path, "persons/crm")
    history.add(policy("A"), at=DAY)
    assert history.latest_mapping() is None

    history.add(policy("A"), at=DAY + HOUR, consent=MAPPING)
    history.copy_to(other)

    assert history.latest_mapping() == other.latest_mapping() == (MAPPING, DAY + HOUR)
    other.declare_whole(at=DAY + 2 * HOUR)
    assert other.latest_mapping() is None


def signed_history(path: Path, sync: str = "people/crm") -> PolicyHistory:
    """Return the history of a sync in a deployment that signs."""
    signer = Signer(["history" * 8])
    return PolicyHistory(Folder.local(path / "policies" / sync, lambda: signer))


def changed(history: PolicyHistory, entry: Path) -> None:
    entry.write_bytes(entry.read_bytes().replace(b'"name": "A"', b'"name": "B"'))


def without_signature(history: PolicyHistory, entry: Path) -> None:
    document = json.loads(entry.read_bytes())
    del document["signature"]
    entry.write_text(json.dumps(document, indent=2))


def again(history: PolicyHistory, entry: Path) -> None:
    shutil.copy(entry, entry.with_name("20300101t000000000000.json"))


def of_another_sync(history: PolicyHistory, entry: Path) -> None:
    other = signed_history(entry.parents[3], "people/lake")
    other.add(policy("A"), at=DAY + timedelta(days=9))
    (found,) = Path(other.folder.path).iterdir()
    shutil.copy(found, entry.parent)


def of_another_secret(history: PolicyHistory, entry: Path) -> None:
    entry.unlink()
    stranger = Signer(["stranger" * 8])
    PolicyHistory(Folder.local(entry.parent, lambda: stranger)).add(policy("A"), at=DAY + timedelta(days=9))
    (written,) = set(entry.parent.iterdir()) - {entry.with_name("20260101t000000000000.json")}
    document = json.loads(written.read_bytes())
    # A stranger can name any key.
    document["signature"]["key_id"] = Signer(["history" * 8]).key_id
    written.write_text(json.dumps(document, indent=2))


@pytest.mark.parametrize("forge", [changed, without_signature, again, of_another_sync, of_another_secret])
def test_an_entry_that_the_deployment_did_not_write_here_is_refused(
    tmp_path: Path, forge: Callable[[PolicyHistory, Path], None]
) -> None:
    history = signed_history(tmp_path)
    history.add(policy("B"), at=DAY)
    history.add(policy("A"), at=DAY + timedelta(days=1))
    assert history.is_signed
    newest = max(Path(history.folder.path).iterdir())

    forge(history, newest)

    with pytest.raises(RefusedError, match=r"false signature|is not signed|is a copy of people/"):
        history.latest()


def test_entries_without_a_signature_count_as_the_beginning_of_a_history_only(tmp_path: Path) -> None:
    history, before = signed_history(tmp_path), PolicyHistory(Folder.local(tmp_path / "policies" / "people" / "crm"))
    before.add(policy("A"), at=DAY)
    before.add(policy("B"), at=DAY + timedelta(days=1))
    assert history.latest() == policy("B")
    assert not history.is_signed

    history.add(policy("B"), at=DAY + timedelta(days=2))

    assert history.is_signed
    assert not history.lacks(policy("A").digest, at=DAY + timedelta(hours=1))
    before.add(policy("A"), at=DAY + timedelta(days=3))
    with pytest.raises(RefusedError, match="is not signed"):
        history.latest()


def test_a_run_that_began_earlier_and_ended_later_does_not_have_the_newest_policy(tmp_path: Path) -> None:
    history = PolicyHistory(Folder.local(tmp_path))
    history.add(policy("A"), at=DAY)
    history.add(policy("C"), at=DAY + 2 * HOUR)

    history.add(policy("B"), at=DAY + HOUR)

    assert history.latest() == policy("C")
    assert not history.lacks(policy("B").digest, at=DAY + HOUR)
    assert not history.lacks(policy("C").digest, at=DAY + 2 * HOUR)
