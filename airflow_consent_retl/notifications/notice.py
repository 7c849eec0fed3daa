"""A notice about a task or a run: plain text that fits a screen. It contains names, counts, digests and addresses."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.progress import LINE, by_count, listed, short

if TYPE_CHECKING:
    from airflow_consent_retl.signals.outcome import SyncOutcome

# A terminal of the usual size has 24 lines.
MOST_LINES: Final = 22
_SHOWN_FIRST = ("read", "permitted", "denied", "accepted", "rejected", "uncertain", "removed", "not_removed")


@dataclass(frozen=True, slots=True)
class NoticeReason:
    """The findings of conditions about one sync.

    Args:
        outcome: of the task.
        sentences: of the conditions that hold.
        page: the address of the sync's page; empty if Airflow's address is not known.
    """

    outcome: SyncOutcome
    sentences: Sequence[str]
    page: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """The content that a notifier sends. Templates of the wrapped notifiers reach it as `notice`.

    Args:
        dag_id: of the DAG.
        run_id: of its run.
        task_id: of the task; empty for a notice about a whole run.
        findings: one for each sync with a condition that holds.
    """

    dag_id: str
    run_id: str
    task_id: str
    findings: Sequence[NoticeReason]

    @property
    def subject(self) -> str:
        """One line: the sync, and what was found first."""
        first, more = self.findings[0], sum(len(finding.sentences) for finding in self.findings) - 1
        rest = f" (and {more:,} more)" if more else ""
        return (
            textwrap.shorten(f"{_name(first.outcome, self)}: {first.sentences[0]}", LINE - len(rest), placeholder="…")
            + rest
        )

    @property
    def text(self) -> str:
        """The notice, in at most 24 lines of 110 characters."""
        place = f"DAG {self.dag_id}, run {self.run_id}" + (f", task {self.task_id}" if self.task_id else "")
        lines, left = _wrapped(place), len(self.findings)
        for number, finding in enumerate(self.findings):
            block = ["", *_block(finding, _name(finding.outcome, self))]
            room = MOST_LINES - len(lines)
            if len(block) > room and number:
                break
            lines += block[:room]
            left -= 1
        return "\n".join([*lines, f"… and {left:,} more syncs"] if left else lines)

    @property
    def html(self) -> str:
        """The text for an e-mail in HTML."""
        return f"<pre>{escape(self.text)}</pre>"


def _name(outcome: SyncOutcome, notice: Notice) -> str:
    """Return the name of the sync, or of the task where its sync is not known."""
    return outcome.sync or outcome.task_id or notice.task_id or notice.dag_id


def _block(finding: NoticeReason, name: str) -> list[str]:
    outcome = finding.outcome
    counts = ", ".join(f"{name} {outcome.numbers[name]:,}" for name in _SHOWN_FIRST if name in outcome.numbers)
    details = [counts, _listed("denied because", outcome.denied_by_reason), _source(outcome), finding.page]
    return [
        *_wrapped(name),
        *(line for sentence in finding.sentences for line in _wrapped(f"- {sentence}", indent="  ")),
        *(line for detail in details if detail for line in _wrapped(f"  {detail}", indent="  ")),
    ]


def _source(outcome: SyncOutcome) -> str:
    time = f"data of {outcome.data_time:%F %T %Z}" if outcome.data_time else ""
    policy = f"policy {short(outcome.policy_digest)}" if outcome.policy_digest else ""
    return ", ".join(filter(None, (time, policy)))


def _listed(what: str, counts: Mapping[str, int], most: int = 3) -> str:
    shown = listed(by_count(counts)[:most])
    return f"{what} {shown}{', …' if len(counts) > most else ''}" if shown else ""


def _wrapped(line: str, *, indent: str = "") -> list[str]:
    return textwrap.wrap(line, LINE, subsequent_indent=indent, break_on_hyphens=False)
