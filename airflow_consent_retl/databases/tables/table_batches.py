"""The delivery of a batch to a table: one transaction, retries after transient errors, halves after a refused row.

Contains no SQL; the table writer does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from airflow_consent_retl.databases.tables.writer import (
    BusyError,
    ConnectionLostError,
    RowRefusedError,
    TableWriter,
    UnprovenError,
)
from airflow_consent_retl.errors import DestinationUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.databases.tables.table_name import TableName

_TRIES = 5
_LONGEST_PAUSE_S = 5.0


class Batches:
    """Applies batches to one table.

    Args:
        table: for messages.
        before_transaction: called before each transaction; its errors end the batch at once.
    """

    def __init__(self, table: TableName, *, before_transaction: Callable[[], None]) -> None:
        self._table = table
        self._before_transaction = before_transaction

    def apply(
        self,
        work: Callable[[Sequence[int]], None],
        positions: list[int],
        refused: dict[int, str],
        columns: dict[int, str] | None = None,
    ) -> dict[int, str]:
        """Apply the rows, add refused rows to `refused`, and return the rows whose outcome is unknown.

        Args:
            work: applies the rows at some positions in one transaction; may be repeated.
            positions: of the rows in their batch.
            refused: code by position.
            columns: gets the names of the columns with refused values, by position, where the database says them.

        Raises:
            DestinationUnavailableError: nothing of the batch was applied.
            LeaseLostError: from `before_transaction`; a part of the batch may have been applied.
        """
        pieces = [positions] if positions else []
        touched, unavailable = False, ""
        named = {} if columns is None else columns
        unseen: dict[int, str] = {}
        while pieces and not unavailable:
            piece = pieces.pop()
            try:
                self._tried(work, piece)
                touched = True
            except RowRefusedError as error:
                if len(piece) == 1:
                    refused[piece[0]] = error.code
                    named[piece[0]] = error.column
                else:
                    middle = len(piece) // 2
                    pieces += [piece[middle:], piece[:middle]]
            except UnprovenError as error:
                (unseen if error.applied == "unknown" else refused).update(error.codes)
                if error.applied != "nothing":
                    touched = True
                elif rest := [row for row in piece if row not in error.codes]:
                    pieces.append(rest)
            except BusyError as error:
                unavailable = error.code
                pieces.append(piece)
            except ConnectionLostError as error:
                touched = touched or error.in_commit
                unavailable = "connection_lost"
                pieces.append(piece)
        if unavailable and not touched:
            raise DestinationUnavailableError(
                f"table `{self._table}`: {_TRIES} tries failed, nothing of the batch was applied ({unavailable})"
            )
        return unseen | {row: unavailable for piece in pieces for row in piece}

    def holds(self, writer: TableWriter, position: int) -> bool:
        """Return whether a person whose removal was refused is in the table; True if that is unknown."""
        self._before_transaction()
        try:
            return writer.holds(position)
        except RowRefusedError:
            # The column cannot hold the key, so no row has it.
            return False
        except (BusyError, ConnectionLostError):
            return True

    def _tried(self, work: Callable[[Sequence[int]], None], piece: Sequence[int]) -> None:
        unknown = False
        for attempt in Retrying(
            retry=retry_if_exception_type((BusyError, ConnectionLostError)),
            stop=stop_after_attempt(_TRIES),
            wait=wait_random_exponential(multiplier=0.1, max=_LONGEST_PAUSE_S),
            reraise=True,
        ):
            with attempt:
                self._before_transaction()
                try:
                    work(piece)
                except BusyError:
                    if unknown:
                        raise ConnectionLostError(in_commit=True) from None
                    raise
                except ConnectionLostError as error:
                    unknown = unknown or error.in_commit
                    raise ConnectionLostError(in_commit=unknown) from None
