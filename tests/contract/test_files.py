"""The contract, kept by files of every format, below a real folder."""

from __future__ import annotations

import fcntl
import json
import os
import re
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.destinations.files.destination import FilesDestination
from airflow_consent_retl.destinations.files.options import FilesOptions, Format
from airflow_consent_retl.testing import DestinationContract, Person, StandIn

NO_ANSWER = "a folder on a disk gives no answer that could get lost or garbled"
# One cell of a line: in quotes, which a NULL never is, or not.
CELL = re.compile(rb'("[^"]*(?:""[^"]*)*"|[^",\r\n]*)(,|\r\n)')
NO_TEXT = ("duration", "month_day_nano_interval", "map", "list_view", "large_list_view", "run_end_encoded")
NO_PARQUET = ("month_day_nano_interval", "run_end_encoded")


class FilesStandIn(StandIn):
    impossible: ClassVar[Mapping[str, str]] = {
        "applied_then_timeout": NO_ANSWER,
        "unreadable_answer": NO_ANSWER,
        "swallowed_removal": "the destination writes each version itself, and nothing reports a removal to it",
        "partial_removal": "a version without somebody can always be written",
        "requests": "writes to a file are no requests that arrive anywhere",
        "secrets": "a folder on a disk is reached without a password",
        "repeated_id": "a version holds the rows it is sent, and the filter lets no id through twice",
    }
    file_format: ClassVar[Format]
    refused_types: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None
        self._pointer: bytes | None = None

    def destination(self) -> Destination:
        # Formulas are made harmless by default, which changes text for the sake of spreadsheets.
        return FilesDestination(
            FilesOptions(path=self._folder.as_uri(), format=self.file_format, escape_formulas=False)
        )

    def stored(self) -> Sequence[Person]:
        return [Person(row["id"], row["text"]) for row in self._rows()]

    def stored_values(self) -> Mapping[str, object]:
        return {row["id"]: row["value"] for row in self._rows()}

    def takes(self, kind: pa.DataType) -> bool:
        return not str(kind).startswith(self.refused_types)

    def unavailable(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._folder, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def refused(self) -> None:
        file = self._folder / "_current.json"
        self._pointer = file.read_bytes() if file.exists() else b""
        self._folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"somebody": "else's"}))

    def recover(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        file = self._folder / "_current.json"
        if self._pointer:
            file.write_bytes(self._pointer)
        elif self._pointer is not None:
            file.unlink()
        self._pointer = None

    def _rows(self) -> Iterator[dict[str, Any]]:
        file = self._folder / "_current.json"
        if not file.exists():
            return
        version = self._folder / json.loads(file.read_bytes())["current"]
        for part in json.loads((version / "_manifest.json").read_bytes())["files"]:
            yield from self.read(version / part["name"])

    @abstractmethod
    def read(self, part: Path) -> Iterator[dict[str, Any]]:
        """Yield the rows of a part."""


class ParquetStandIn(FilesStandIn):
    impossible: ClassVar[Mapping[str, str]] = {
        **FilesStandIn.impossible,
        "partial_failure": "Parquet holds every row that Arrow does, so that none is refused",
    }
    file_format = "parquet"
    refused_types = NO_PARQUET

    def read(self, part: Path) -> Iterator[dict[str, Any]]:
        table = pq.read_table(part)
        # Text that is not UTF-8 is kept as it is.
        texts = [(raw or b"").decode(errors="replace") for raw in table.column("text").cast(pa.binary()).to_pylist()]
        for text, row in zip(texts, table.drop_columns(["text"]).to_pylist(), strict=True):
            yield {**row, "text": text}


class TextStandIn(FilesStandIn):
    refused_types = (*NO_TEXT, "extension<arrow.bool8>")

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        raw = [person.text.encode() + (b"\xff" if person.id in refused else b"") for person in people]
        return self.rows(people).set_column(1, "text", pa.array(raw, pa.binary()).view(pa.string()))


class CsvStandIn(TextStandIn):
    file_format = "csv"

    def read(self, part: Path) -> Iterator[dict[str, Any]]:
        lines: list[list[str]] = [[]]
        for cell in CELL.finditer(part.read_bytes()):
            lines[-1].append(cell[1].decode())
            if cell[2] == b"\r\n":
                lines.append([])
        names = [name.strip('"') for name in lines[0]]
        for line in lines[1:-1]:
            row = dict(zip(names, line, strict=True))
            yield {**row, **{name: row[name][1:-1].replace('""', '"') for name in ("id", "text")}}


class JsonLinesStandIn(TextStandIn):
    file_format = "jsonl"

    def read(self, part: Path) -> Iterator[dict[str, Any]]:
        return map(json.loads, part.read_bytes().splitlines())


class TestParquet(DestinationContract):
    destination_class = FilesDestination

    @pytest.fixture
    def stand_in(self, tmp_path: Path) -> StandIn:
        return ParquetStandIn(tmp_path / "lake")


class TestCsv(DestinationContract):
    destination_class = FilesDestination

    @pytest.fixture
    def stand_in(self, tmp_path: Path) -> StandIn:
        return CsvStandIn(tmp_path / "lake")


class TestJsonLines(DestinationContract):
    destination_class = FilesDestination

    @pytest.fixture
    def stand_in(self, tmp_path: Path) -> StandIn:
        return JsonLinesStandIn(tmp_path / "lake")
