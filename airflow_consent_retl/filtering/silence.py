"""The checks of all rows of a run: silence under `opt_out` stops it, and a region that no row has is logged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import Regime, SubjectStatus, dead_regions, silent_categories
from airflow_consent_retl.errors import ConfigurationError, GuardError
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    from airflow_consent_retl.consent import CategoryId, ConsentPlan, ConsentPolicy, Signature
    from airflow_consent_retl.filtering.decided import DecidedSignatures
    from airflow_consent_retl.progress import TaskLog


class SilentCategories:
    """The categories under `opt_out` for which none of the rows seen so far has an answer."""

    def __init__(self) -> None:
        # None: no row was seen.
        self._found: tuple[CategoryId, ...] | None = None

    @property
    def found(self) -> tuple[CategoryId, ...]:
        """The categories. Without rows, none."""
        return self._found or ()

    def see(self, plan: ConsentPlan, signature: Signature) -> None:
        """Add what a row says."""
        if self._found != ():
            silent = silent_categories(plan, [(SubjectStatus.IDENTIFIED, signature, 1)])
            self._found = tuple(one for one in silent if self._found is None or one in self._found)


def check_accepted(policy: ConsentPolicy, accept_silence: Sequence[str]) -> None:
    """Check the categories whose silence a DAG accepts.

    Raises:
        ConfigurationError: the policy has no such category, or it is not `opt_out` anywhere.
    """
    if isinstance(accept_silence, str):
        raise ConfigurationError("accept_silence: expected a list of category ids, found text")
    for category_id in accept_silence:
        category = policy.category(category_id)
        if category is None:
            near = suggestion(category_id, [known.id for known in policy.categories])
            raise ConfigurationError(f"accept_silence: category `{category_id}` is not in the policy{near}")
        if Regime.OPT_OUT not in category.regimes:
            raise ConfigurationError(
                f"accept_silence: category `{category_id}` is not opt_out, so silence permits no one: remove it"
            )


def check_absence(
    plan: ConsentPlan, decided: DecidedSignatures, log: TaskLog, *, accept_silence: Sequence[str]
) -> None:
    """Check what no row of a run says.

    Args:
        plan: the plan of the run.
        decided: its signatures.
        log: gets a warning for each accepted silence, and for regions that no row has.
        accept_silence: the categories for which no row has to have an answer.

    Raises:
        GuardError: no row has an answer to another opt-out category.
    """
    regions = dead_regions(plan, decided.signatures())
    if regions:
        log.warning(
            "no row has region %s, which the policy names: compare its spelling with column `%s`; a row of any other "
            "region gets the strictest regime of each category",
            ", ".join(f"`{region}`" for region in regions),
            _column_of_region(plan),
        )
    refused = refused_silence(silent_categories(plan, decided.signatures()), log, accept_silence=accept_silence)
    if refused:
        raise GuardError(f"nothing was published: {refused}")


def refused_silence(silent: Collection[str], log: TaskLog, *, accept_silence: Collection[str]) -> str:
    """Return a sentence where silence is not accepted; otherwise an empty text.

    Args:
        silent: the categories under `opt_out` for which no row has an answer.
        log: gets a warning for each accepted one.
        accept_silence: the categories for which no row has to have an answer.
    """
    for category in silent:
        if category in accept_silence:
            log.warning("category `%s` is opt_out and no row has an answer to it: accepted by accept_silence", category)
    return _sentence([category for category in silent if category not in accept_silence])


def check_asked_again(silent: Collection[str], *, destination: str, accept_silence: Collection[str]) -> None:
    """Check what no row says when consent is asked again, before people are sent.

    Args:
        silent: the categories under `opt_out` for which no row has an answer.
        destination: of the people.
        accept_silence: the categories for which no row has to have an answer.

    Raises:
        GuardError: one of the others is silent, so that the answer does not show who withdrew since the filter.
    """
    refused = _sentence([category for category in silent if category not in accept_silence])
    if refused:
        raise GuardError(f"`{destination}` is not sent any more people: asked again, {refused}")


def _sentence(silent: Collection[str]) -> str:
    if not silent:
        return ""
    named = ", ".join(f"`{category}`" for category in silent)
    return (
        f"no row has any answer to {named}, which is opt_out, so that every person would be permitted: check the "
        "column, the path and the key in `consent`. If no one has answered yet, name the category in `accept_silence`"
    )


def _column_of_region(plan: ConsentPlan) -> str:
    place = plan.circumstances.region
    signal = None if place is None else plan.signals[place]
    return "" if signal is None else signal.column
