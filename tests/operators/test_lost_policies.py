"""A history of policies that was lost, or is older, releases no one: records and ledger name the last policy."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.crm_sync import CONSENT, SQL, CrmSync
from support.log_lines import task_fails, unwrapped
from support.postgres import Postgres, postgres

from airflow_consent_retl.consent import parse_policy, policy_document
from airflow_consent_retl.hooks.approving import approve
from airflow_consent_retl.hooks.upkeep import adopt, hand_over
from airflow_consent_retl.operators import PruneOperator
from airflow_consent_retl.storage.location import open_folder, policy_folder
from airflow_consent_retl.storage.policy_history import PolicyHistory
from airflow_consent_retl.storage.records.documents import DecisionRecords

# Each case with one kind of ledger; `make test-long` has the other.
pytestmark = pytest.mark.diagonal("crm")
__all__ = ["postgres"]

ADS: dict[str, Any] = {"id": "C0004", "name": "Advertising", "destinations": ["crm"]}
STRICT = {"unmapped_destinations": "permit", "categories": [ADS]}
OTHER = {"id": "C0002", "name": "Analytics", "destinations": ["lake"]}
# Each one permits everybody, in a way of its own.
FELL_OUT = {"unmapped_destinations": "permit", "categories": [{**ADS, "destinations": ["lake"]}]}
DISABLED = {"unmapped_destinations": "permit", "categories": [{**ADS, "enabled": False}, OTHER]}
EXEMPT = {**STRICT, "categories": [{**ADS, "regime": "exempt", "reason": "own use", "owner": "law"}]}
LOOSER = {"fell out": FELL_OUT, "disabled": DISABLED, "exempt": EXEMPT}
REFUSED = r"required `C0004` at the last run|max_released_ratio is 0.05 by default"
YES = tuple(range(1, 31))
NO = tuple(range(31, 61))


class Officer(CrmSync):
    """A sync whose policy changes."""

    def run(self, policy: dict[str, Any] | str) -> list[int]:
        """Extract, filter and load under a policy, and return who is there."""
        permitted = self.permitted(policy=policy, consent=CONSENT)
        self.load(permitted, policy)
        return self.there()

    def load(self, permitted: Any, policy: dict[str, Any] | str, **options: Any) -> None:
        """Load a permitted set."""
        self.load_of()(
            task_id="load",
            permitted=permitted,
            destination="crm",
            policy=policy,
            ledger_conn_id=self.ledger_conn_id,
            workspace=self.workspace,
            **options,
        ).execute({})

    @property
    def history(self) -> Path:
        """The folder of the sync's policies."""
        return self.folder / "policies" / "people" / "crm"

    def lose(self, *names: str) -> None:
        """Delete folders of the workspace."""
        for name in names:
            shutil.rmtree(self.folder / name, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def crm(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Officer:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        with server.connect() as connection:
            # Each test has a ledger of its own.
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        monkeypatch.setenv("AIRFLOW_CONN_THE_LEDGER", server.airflow_connection())
    made = Officer(tmp_path, monkeypatch, ledger_conn_id=None if request.param == "sqlite" else "the_ledger")
    made.people(*YES, no=NO)
    return made


def emptied(crm: Officer) -> None:
    crm.lose("policies")


def emptied_of_this_sync(crm: Officer) -> None:
    shutil.rmtree(crm.history)


def without_its_newest_policy(crm: Officer) -> None:
    max(crm.history.iterdir()).unlink()


def restored_as_documented_before(crm: Officer) -> None:
    """Restore what earlier releases documented as the parts of a backup."""
    crm.lose("policies", "records", "source_sizes", "snapshots", "permitted")


LOSSES: list[Callable[[Officer], None]] = [emptied, emptied_of_this_sync, without_its_newest_policy]


@pytest.mark.diagonal("lose")
@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("looser", LOOSER.values(), ids=list(LOOSER))
def test_a_filter_compares_with_the_policy_that_its_last_record_names(
    crm: Officer, lose: Callable[[Officer], None], looser: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    # The policy before the last is the next one: an older history would find no difference.
    crm.permitted(policy=looser)
    crm.run(STRICT)
    lose(crm)
    capfd.readouterr()

    for _ in range(2):
        with task_fails(match=REFUSED):
            crm.run(looser)

    assert crm.there() == list(YES)
    logged = unwrapped(capfd.readouterr().out)
    assert "emptied, or restored from an older backup. The archive of policies has it" in logged


@pytest.mark.parametrize("lose", LOSSES)
def test_a_history_is_whole_again_after_the_next_run(crm: Officer, lose: Callable[[Officer], None]) -> None:
    crm.run(STRICT)
    lose(crm)

    crm.run({**STRICT, "categories": [{**ADS, "name": "Other name"}]})
    crm.run(STRICT)

    with task_fails(match=REFUSED):
        crm.run(FELL_OUT)
    assert crm.there() == list(YES)


def test_a_filter_whose_last_policy_is_nowhere_refuses(crm: Officer) -> None:
    crm.run(STRICT)
    crm.lose("policies", "policy_archive")

    for _ in range(2):
        with task_fails(match=r"The archive of policies does not have it either") as refused:
            crm.run(EXEMPT)

    assert "run the filter once under that policy" in unwrapped(str(refused.value))
    assert crm.run(STRICT) == list(YES)
    with task_fails(match=REFUSED):
        crm.run(EXEMPT)
    assert crm.there() == list(YES)


@pytest.mark.parametrize("looser", LOOSER.values(), ids=list(LOOSER))
def test_a_load_refuses_where_the_ledger_knows_another_policy_than_the_history(
    crm: Officer, looser: dict[str, Any]
) -> None:
    crm.run(STRICT)
    restored_as_documented_before(crm)

    for _ in range(2):
        with task_fails(match=r"sync `people/crm` was delivered under policy sha256:.*and run the filter again"):
            crm.run(looser)

    assert crm.there() == list(YES)


def test_a_dry_run_refuses_it_too(crm: Officer) -> None:
    crm.run(STRICT)
    restored_as_documented_before(crm)

    with task_fails(match="could not count the people that the present one releases"):
        crm.load(crm.permitted(policy=EXEMPT), EXEMPT, dry_run=True)


def test_a_filter_that_moved_to_another_workspace_has_no_history(crm: Officer) -> None:
    crm.run(STRICT)
    own = crm.workspace
    crm.workspace = (crm.path / "elsewhere").as_uri()
    elsewhere = crm.permitted(policy=EXEMPT)
    crm.workspace = own

    with task_fails(match="was delivered under policy"):
        crm.load(elsewhere, EXEMPT)

    assert crm.there() == list(YES)


def test_an_adopted_history_is_compared_with_the_archives_policy(crm: Officer) -> None:
    crm.run(STRICT)
    restored_as_documented_before(crm)
    with task_fails(match="was delivered under policy"):
        crm.run(EXEMPT)

    adopt(ledger_conn_id=crm.ledger_conn_id)

    with task_fails(match=REFUSED):
        crm.run(EXEMPT)
    assert crm.run(STRICT) == list(YES)


def test_a_loss_of_everything_may_be_accepted_and_is_noticed_the_next_time(
    crm: Officer, caplog: pytest.LogCaptureFixture
) -> None:
    crm.run(STRICT)
    crm.lose("policies", "policy_archive")

    with caplog.at_level(logging.WARNING):
        adopt(ledger_conn_id=crm.ledger_conn_id)
    assert "its policy is compared with no other one" in unwrapped(caplog.text)
    assert crm.run(EXEMPT) == [*YES, *NO]

    assert crm.run(STRICT) == list(YES)
    emptied(crm)
    with task_fails(match=REFUSED):
        crm.run(EXEMPT)


def test_the_same_policy_needs_no_history(crm: Officer) -> None:
    crm.run(STRICT)
    restored_as_documented_before(crm)

    assert crm.run(STRICT) == list(YES)
    with task_fails(match=REFUSED):
        crm.run(EXEMPT)


@pytest.mark.parametrize("looser", LOOSER.values(), ids=list(LOOSER))
def test_a_policy_that_was_recorded_under_a_clock_that_was_ahead_is_not_the_last_one_for_ever(
    crm: Officer, looser: dict[str, Any]
) -> None:
    history = PolicyHistory(policy_folder(crm.workspace, "people", "crm"))
    history.add(parse_policy(looser), at=datetime.now(UTC) + timedelta(days=400))
    assert crm.run(STRICT) == list(YES)

    with task_fails(match=REFUSED):
        crm.run(looser)

    assert crm.there() == list(YES)


def unsigned(crm: Officer, policy: dict[str, Any], *, day: int) -> None:
    """Write an entry as an earlier release wrote it."""
    read = parse_policy(policy)
    crm.history.mkdir(parents=True, exist_ok=True)
    entry = {"digest": read.digest, "since": "", "policy": policy_document(read)}
    (crm.history / f"203001{day:02d}t000000000000.json").write_text(json.dumps(entry, indent=2))


@pytest.mark.parametrize("looser", LOOSER.values(), ids=list(LOOSER))
def test_a_history_of_an_earlier_release_counts_and_the_next_run_signs_its_last_policy(
    crm: Officer, looser: dict[str, Any]
) -> None:
    unsigned(crm, looser, day=1)
    unsigned(crm, STRICT, day=2)
    with task_fails(match=REFUSED):
        crm.run(looser)

    assert crm.run(STRICT) == list(YES)

    assert len(list(crm.history.iterdir())) == 3
    with task_fails(match=REFUSED):
        crm.run(looser)
    # Whoever may write files adds one: then nothing would be compared.
    unsigned(crm, looser, day=3)
    with task_fails(match="is not signed"):
        crm.run(looser)
    assert crm.there() == list(YES)


@pytest.mark.parametrize("looser", LOOSER.values(), ids=list(LOOSER))
def test_an_unsigned_policy_counts_only_if_it_is_the_one_of_the_last_record(
    crm: Officer, looser: dict[str, Any]
) -> None:
    crm.run(STRICT)
    crm.lose("policies")
    unsigned(crm, STRICT, day=1)
    unsigned(crm, looser, day=2)

    for _ in range(2):
        with task_fails(match=REFUSED):
            crm.run(looser)

    assert crm.there() == list(YES)


def test_a_sync_keeps_its_signed_policies_under_a_new_name(crm: Officer) -> None:
    crm.run(STRICT)
    hand_over("people/crm", to="persons/crm", ledger_conn_id=crm.ledger_conn_id)

    with task_fails(match=REFUSED):
        crm.permitted(policy=FELL_OUT, model="persons")

    shutil.copytree(crm.history, crm.folder / "policies" / "others" / "crm")
    with task_fails(match="is a copy of people/crm/"):
        crm.permitted(policy=FELL_OUT, model="others")


def test_a_run_that_was_recorded_after_a_later_one_is_not_the_last(crm: Officer) -> None:
    renamed = {**STRICT, "categories": [{**ADS, "name": "Other name"}]}
    crm.run(STRICT)
    crm.permitted(policy=renamed)
    crm.run(STRICT)
    # As if the second run had been slower than the third one, and the third had not seen it.
    max(crm.history.iterdir()).unlink()
    (stream,) = (crm.folder / "records" / "decisions" / "people").iterdir()
    records = open_folder(stream.as_uri())
    second, third = (DecisionRecords.from_json(records.read_document(f"0000000{number}.json")) for number in (2, 3))
    for number, document in enumerate((third, second), start=2):
        changed = document.model_copy(update={"number": number, "state": third.state, "people": third.people})
        records.put_document(f"0000000{number}.json", changed.to_json())

    assert crm.run({**STRICT, "categories": [{**ADS, "name": "Third name"}]}) == list(YES)


def test_policies_may_take_turns(crm: Officer, capfd: pytest.CaptureFixture[str]) -> None:
    renamed = {**STRICT, "categories": [{**ADS, "name": "Other name"}]}
    for policy in (STRICT, renamed, STRICT, renamed, renamed):
        assert crm.run(policy) == list(YES)

    assert len(list(crm.history.iterdir())) == 4
    assert "older backup" not in capfd.readouterr().out


def test_prune_keeps_what_the_next_filter_compares_with(crm: Officer, monkeypatch: pytest.MonkeyPatch) -> None:
    crm.run(STRICT)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__SNAPSHOT_DAYS", "1")
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__EVIDENCE_DAYS", "1")
    PruneOperator(task_id="prune", workspace=crm.workspace, ledger_conn_id=crm.ledger_conn_id).execute({})
    emptied(crm)

    with task_fails(match=REFUSED):
        crm.run(EXEMPT)


class TestArchive:
    """Policies that need an approval, in an archive that is older than the last run's record."""

    PLACE = "variable:consent_policy"

    @pytest.fixture
    def office(self, crm: Officer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        monkeypatch.setenv("AIRFLOW__CONSENT_RETL__APPROVAL_REQUIRED", "True")

        def filtered(policy: dict[str, Any], *, approved: bool = False) -> Any:
            monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(policy))
            if approved:
                approve(self.PLACE, digest=parse_policy(policy).digest, by="Ida Officer")
            return crm.permitted(policy=self.PLACE, sql=SQL)

        return filtered

    @pytest.fixture
    def older(self, crm: Officer, office: Callable[..., Any]) -> Path:
        """A backup of the archive, from the time of a policy that permitted everyone."""
        office(EXEMPT, approved=True)
        backup = Path(shutil.copytree(crm.folder / "policy_archive", crm.path / "older"))
        office(STRICT)
        return backup

    def restore(self, crm: Officer, backup: Path) -> None:
        crm.lose("policy_archive")
        shutil.copytree(backup, crm.folder / "policy_archive")

    def test_a_filter_refuses_the_policy_that_was_replaced(
        self, crm: Officer, office: Callable[..., Any], older: Path
    ) -> None:
        with task_fails(match=REFUSED):
            # The present archive has it wait.
            office(EXEMPT, approved=True)
        self.restore(crm, older)

        for _ in range(2):
            with task_fails(match=r"the policy archive does not show it.*approve again what has to be in force"):
                office(EXEMPT)

    def test_an_emptied_archive_is_refused_also_when_runs_filled_it_again(
        self, crm: Officer, office: Callable[..., Any], older: Path
    ) -> None:
        crm.lose("policy_archive")
        shutil.copytree(older / "approvals", crm.folder / "policy_archive" / "approvals")

        for policy in (STRICT, EXEMPT):
            with task_fails(match=r"the policy archive does not show it|was never approved"):
                office(policy)

    def test_a_new_approval_puts_a_policy_in_force_again(
        self, crm: Officer, office: Callable[..., Any], older: Path
    ) -> None:
        self.restore(crm, older)

        assert office(STRICT, approved=True)["permitted"]["crm"] == len(YES)
        assert office(STRICT)["permitted"]["crm"] == len(YES)

    def test_the_newest_backup_is_whole(self, crm: Officer, office: Callable[..., Any], older: Path) -> None:
        newest = Path(shutil.copytree(crm.folder / "policy_archive", crm.path / "newest"))
        crm.lose("policy_archive")
        shutil.copytree(newest, crm.folder / "policy_archive")

        assert office(STRICT)["permitted"]["crm"] == len(YES)

    def test_without_approvals_a_run_warns(
        self,
        crm: Officer,
        office: Callable[..., Any],
        older: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        self.restore(crm, older)
        monkeypatch.setenv("AIRFLOW__CONSENT_RETL__APPROVAL_REQUIRED", "False")

        office({**STRICT, "categories": [{**ADS, "name": "Other name"}]})

        assert "the policy archive does not show it" in unwrapped(capfd.readouterr().out)
