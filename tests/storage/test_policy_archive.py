"""The archive of policies notices that one of its files was deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.policy_archive import PolicyArchive
from airflow_consent_retl.storage.signing import Signer

AT = datetime(2026, 1, 1, tzinfo=UTC)
PLACE = "variable:officer"


def policy(name: str) -> dict[str, object]:
    return {"categories": [{"id": "C1", "name": name, "destinations": ["ads"]}]}


@pytest.mark.parametrize("which", [0, -1])
def test_a_period_that_was_deleted_is_noticed_also_the_newest(tmp_path: Path, which: int) -> None:
    archive = PolicyArchive(Folder.local(tmp_path), Signer(["archive" * 8]))
    for number, name in enumerate(("First", "Second")):
        archive.note_in_force(
            PLACE, parse_policy(policy(name)), at=AT + timedelta(days=number), change_of=lambda place: None
        )
    assert len(archive.periods(PLACE)) == 2
    sorted((tmp_path / "places").glob("*/*.json"))[which].unlink()

    with pytest.raises(RefusedError, match="someone deleted this proof"):
        archive.in_force(PLACE)
    with pytest.raises(RefusedError, match="someone deleted this proof"):
        archive.periods(PLACE)


def test_an_approval_that_was_deleted_is_noticed(tmp_path: Path) -> None:
    archive = PolicyArchive(Folder.local(tmp_path), Signer(["archive" * 8]))
    approved = parse_policy(policy("First"))
    archive.approve(approved, PLACE, by="officer", at=AT, note="")
    next((tmp_path / "approvals").glob("*/*.json")).unlink()

    with pytest.raises(RefusedError, match="someone deleted this proof"):
        archive.approvals(approved.digest, PLACE)


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=400), timedelta(days=20_000)])
def test_the_policy_in_force_is_the_last_one_whatever_clock_was_ahead_before(tmp_path: Path, ahead: timedelta) -> None:
    archive = PolicyArchive(Folder.local(tmp_path), Signer(["archive" * 8]))
    names, now = ["First", "Second", "Third", "Second"], datetime.now(UTC) - timedelta(hours=1)
    later = datetime.now(UTC) + ahead
    for number, name in enumerate(names):
        at = later if number == 0 else now + timedelta(minutes=number)
        for _ in range(2):
            archive.note_in_force(PLACE, parse_policy(policy(name)), at=at, change_of=lambda place: None)

        present = archive.in_force(PLACE)
        assert present is not None
        assert present.digest == parse_policy(policy(name)).digest
        assert not archive.lacks(PLACE, present.digest, at=at)

    assert not archive.lacks(PLACE, parse_policy(policy("First")).digest, at=later + timedelta(seconds=1))
    assert archive.lacks(PLACE, parse_policy(policy("Fourth")).digest, at=later)
    assert [one.digest for one in archive.periods(PLACE)] == [parse_policy(policy(name)).digest for name in names]
