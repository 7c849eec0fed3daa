"""The history of a sync's policies shows whether a run decided under a policy at a time, or was replaced since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_consent_retl.consent import ConsentPolicy, parse_policy
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.policy_history import PolicyHistory

DAY = datetime(2026, 1, 1, tzinfo=UTC)


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
    history = PolicyHistory(Folder.local(tmp_path))
    history.add(policy("A"), at=DAY + ahead)

    for minutes, name in enumerate("BCAC"):
        at = DAY + timedelta(minutes=minutes)
        history.add(policy(name), at=at)

        assert history.latest() == policy(name)
        assert not history.lacks(policy(name).digest, at=at)
