"""The findings of a check: problems, warnings, and what is known only in a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from airflow_consent_retl.errors import ConsentRetlError, OptionsError, PolicyError
from airflow_consent_retl.hooks.outside_of_tasks import missing_in_words

Kind = Literal["problem", "warning", "unchecked"]


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """One finding.

    Args:
        kind: `problem`: a run would fail, or would be refused. `warning`: a run would warn of it. `unchecked`: it is
            known only in a run.
        dag: the DAG's id, or the file that is no DAG.
        task: the task's id; empty for a file.
        path: the parameter, the place in the policy, or the line of a file.
        message: the sentence with which the task would fail.
    """

    kind: Kind
    dag: str
    task: str
    path: str
    message: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The findings about DAGs, and how many DAGs and tasks of this package were checked."""

    dags: int
    tasks: int
    findings: tuple[CheckFinding, ...]

    @property
    def problems(self) -> tuple[CheckFinding, ...]:
        """The findings for which a run would fail."""
        return tuple(one for one in self.findings if one.kind == "problem")


@dataclass(slots=True)
class TaskFindings:
    """The findings about one task, while it is checked."""

    dag: str
    task: str
    found: list[CheckFinding] = field(default_factory=list)

    def note(self, kind: Kind, path: str, message: str) -> None:
        """Note a finding, once."""
        finding = CheckFinding(kind, self.dag, self.task, path, message)
        if finding not in self.found:
            self.found.append(finding)

    @contextmanager
    def at(self, path: str) -> Iterator[None]:
        """Note the error of a check, with every problem that it contains, and go on after it."""
        try:
            with missing_in_words():
                yield
        except PolicyError as error:
            for problem in error.problems:
                self.note("problem", problem.path, problem.message)
        except OptionsError as error:
            for problem in error.problems:
                self.note("problem", f"{path}.{problem.path}", problem.message)
        except ConsentRetlError as error:
            self.note("problem", path, str(error))
