"""The other side of `bulk_crm.py`: it takes jobs, answers questions about them, and misbehaves on demand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from support.vendor_server import Asked, Reply


class BulkCrm:
    """Takes jobs, and processes each after some questions about it."""

    def __init__(self) -> None:
        self.url = ""
        self.numbers = itertools.count(1)
        self.jobs: dict[str, tuple[str, list[dict[str, Any]]]] = {}
        self.left: dict[str, int] = {}
        self.questions = 2
        self.refused: set[Any] = set()
        self.contacts: dict[Any, dict[str, Any]] = {}
        # Answers to the next questions, and what becomes of submissions from now on.
        self.faults: list[Reply] = []
        self.submissions: Callable[[Callable[[], Reply]], Reply] = lambda submit: submit()

    def __call__(self, asked: Asked) -> Reply:
        parts = asked.path.strip("/").split("/")
        if asked.method == "POST":
            return self.submissions(lambda: self._submitted(parts[0], asked.document["contacts"]))
        if self.faults:
            return self.faults.pop(0)
        _, rows = self.jobs[parts[1]]
        failed = [place for place, row in enumerate(rows) if row["id"] in self.refused]
        if len(parts) == 3:
            return self._errors(asked, rows, failed)
        self.left[parts[1]] -= 1
        if self.left[parts[1]] >= 0:
            return Reply(200, {"data": {"id": parts[1], "status": "processing"}})
        self.process(parts[1])
        return Reply(200, {"data": {"id": parts[1], "status": "complete", "failed_count": len(failed)}})

    def process(self, job_id: str) -> None:
        """Apply a job, but for the contacts that are refused."""
        kind, rows = self.jobs[job_id]
        for row in rows:
            if row["id"] in self.refused:
                continue
            if kind == "removals":
                self.contacts.pop(row["id"], None)
            else:
                self.contacts[row["id"]] = row

    def _submitted(self, kind: str, rows: list[dict[str, Any]]) -> Reply:
        job_id = f"job-{next(self.numbers)}"
        self.jobs[job_id] = kind, rows
        self.left[job_id] = self.questions
        return Reply(202, {"data": {"id": job_id}})

    def _errors(self, asked: Asked, rows: list[dict[str, Any]], failed: list[int]) -> Reply:
        page = int(asked.query.get("page[number]", ["0"])[0])
        errors = [{"pointer": f"/contacts/{place}/email", "code": f"bad_{rows[place]['id']}"} for place in failed]
        link = f"{self.url}{asked.path}?page[number]={page + 1}" if page + 1 < len(errors) else None
        return Reply(200, {"errors": errors[page : page + 1], "next": link})
