"""The parameters that a destination is built from, without an Airflow task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.checked_options import CheckedOptions

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.contract.pruned import Pruned


class DestinationSpec(CheckedOptions, ABC):
    """The checked parameters of a destination: a frozen dataclass that knows how to build it.

    Its rules are declared: see `CheckedOptions`. They are checked when the DAG file is parsed, by `consent-retl check`,
    and when the destination is built.

    An operator makes one from its own parameters, so the names and defaults are the same. The operator's module
    imports it, so importing it must be cheap: `build` imports the destination.

    Attributes:
        templated: the parameters in which Airflow renders templates.
        internal: the parameters that the operator does not offer: for tests, and for those who build destinations
            themselves.
        reads_templates: whether the checks take templates that are not rendered for the values that they will be.
    """

    internal: ClassVar[frozenset[str]] = frozenset()
    reads_templates: ClassVar[bool] = False

    @abstractmethod
    def build(self) -> Destination:
        """Return a new destination, not yet opened. It may read an Airflow connection; it contacts nothing.

        Raises:
            ConfigurationError: the parameters or the connection are wrong.
        """

    @classmethod
    def prune_place(cls, place: str, *, dry_run: bool) -> list[Pruned]:
        """Delete what the deployment's policy does not keep at a place that loads noted, and return it.

        By default nothing: only a destination that keeps older versions has such places.

        Args:
            place: the operator's `versions_place`.
            dry_run: delete nothing, and return what would be deleted.

        Raises:
            DestinationError: nothing of a load is there.
            DestinationUnavailableError: it does not answer, or a load is running.
        """
        return []
