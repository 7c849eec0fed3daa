"""The Iterable destination, which is declared as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.declared.destination import DeclaredHttpDestination
from airflow_consent_retl.destinations.iterable.iterable_requests import iterable

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.declared.declaration import DestinationDeclaration


class IterableDestination(DeclaredHttpDestination):
    """Users of an Iterable project, on a list or without one.

    `users/bulkUpdate` stores users; `lists/subscribe` stores them and puts them on a list. A row is accepted if
    Iterable counts it as updated and names it in no list of failures. Users that Iterable forgot are rejected: no retry
    helps. Where Iterable drops a field that the project does not have, every row of the request is uncertain. A NULL is
    left out: Iterable keeps what it has. To remove a user who is not there counts as done.
    """

    @staticmethod
    def declared() -> DestinationDeclaration:
        """Return the declaration for users without a list."""
        return iterable("email", on_list=False)
