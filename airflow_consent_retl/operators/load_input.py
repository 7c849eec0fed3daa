"""The verified input of a load: its permitted rows, where they are, and how consent is asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import ConfigurationError, PermanentError, PolicyError, RefusedError
from airflow_consent_retl.progress import short

if TYPE_CHECKING:
    from airflow_consent_retl.filtering.model_question import ModelAsker
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.operators.load import LoadOperator
    from airflow_consent_retl.workspace.base import Workspace


@dataclass(frozen=True, slots=True)
class LoadInput:
    """The verified input of a load.

    Args:
        permitted: the verified rows; with their key only, if the load's fields do not fit.
        place: where the rows are.
        asker: asks the model's source for consent; None: it is not asked again.
        unfit: the error about fields that do not fit; None: they fit.
    """

    permitted: PermittedRows
    place: Workspace
    asker: ModelAsker | None
    unfit: PermanentError | None = None

    def workspace_of(self, load: LoadOperator) -> str:
        """Return the URI of the workspace that keeps the delivered state of a load."""
        return load.workspace or self.permitted.manifest.workspace


def opened_input(load: LoadOperator, *, may_resume: bool = True) -> LoadInput:
    """Verify the permitted set of a load, and return what the load reads.

    Where the load's fields do not fit, the input has the key only: removals need nothing else.

    Args:
        load: with rendered parameters.
        may_resume: whether a permitted set of an earlier release is accepted, if its delivery is in progress.

    Raises:
        PermanentError: the input is refused.
        SourceUnavailableError, LedgerUnavailableError: another try may help.
    """
    from airflow_consent_retl.operators.load_warnings import warn_of_permitted

    is_proof = not (may_resume and _resumes_unsigned(load))
    try:
        load.sync_settings().check_supported(load.build_destination, load.fields)
        found = _opened(load, load.fields, fields_not_sent=load.fields_not_sent, is_proof=is_proof)
    except (ConfigurationError, PolicyError, RefusedError) as error:
        found = _with_key_only(load, error, is_proof=is_proof)
    load.check_permitted(found.permitted.counts)
    warn_of_permitted(found.permitted, knows_by_identifiers=load.knows_by_identifiers, log=load.log)
    return found


def _opened(
    load: LoadOperator,
    fields: Mapping[str, str] | None,
    *,
    fields_not_sent: Sequence[str] | None,
    is_proof: bool,
    unfit: PermanentError | None = None,
) -> LoadInput:
    from airflow_consent_retl.filtering.permitted import check_age
    from airflow_consent_retl.operators.bindings import use_of_load
    from airflow_consent_retl.operators.permitted_rows import verified_rows
    from airflow_consent_retl.operators.present_consent import asker_of

    permitted, place = verified_rows(
        load.permitted,
        destination=load.destination,
        fields=fields,
        fields_not_sent=fields_not_sent,
        policy=load.policy,
        max_age_s=load.max_age_s,
        log=load.log,
        asks_again=load.recheck_interval_s is not None,
        is_proof=is_proof,
        use_of=lambda sent: use_of_load(load, fields=sent),
        refuses_later_list=False,
    )
    manifest = permitted.manifest
    load.log.info(
        "`%s`: verified %s permitted rows in %s, decided at %s under policy %s",
        load.destination,
        f"{permitted.rows:,}",
        permitted.place,
        f"{manifest.decided_at:%F %T %Z}",
        short(manifest.policy_digest),
    )
    if load.recheck_interval_s is None:
        return LoadInput(permitted, place, None, unfit)
    asker = asker_of(manifest, destination=load.destination, policy=load.policy, workspace=load.workspace, log=load.log)
    if asker.check():
        return LoadInput(permitted, place, asker, unfit)
    # No consent is needed, so there is nothing to ask.
    check_age(manifest, destination=load.destination, max_age_s=load.max_age_s, now=datetime.now(UTC))
    return LoadInput(permitted, place, None, unfit)


def _with_key_only(load: LoadOperator, failure: PermanentError, *, is_proof: bool) -> LoadInput:
    """Open the permitted rows with their key only, for the removals of a load whose fields do not fit.

    Raises:
        PermanentError: `failure`, if the fields were not its reason or consent cannot be asked again.
    """
    from airflow_consent_retl.storage import open_permitted

    try:
        key = open_permitted(load.permitted, is_proof=is_proof).manifest.primary_key
        found = _opened(load, {key: key}, fields_not_sent=None, is_proof=is_proof, unfit=failure)
    except PermanentError:
        raise failure from None
    if found.asker is None:
        raise failure
    return found


def _resumes_unsigned(load: LoadOperator) -> bool:
    """Return whether the permitted set is of an earlier release, and the ledger has its delivery in progress."""
    from airflow_consent_retl.delivery.in_progress import is_in_progress
    from airflow_consent_retl.delivery.ledger.records import sync_name
    from airflow_consent_retl.hooks.ledgers import open_ledger
    from airflow_consent_retl.storage import open_permitted
    from airflow_consent_retl.storage.location import sync_folder
    from airflow_consent_retl.storage.signing import SignatureState

    opened = open_permitted(load.permitted, is_proof=False)
    if opened.folder.signature_state() is not SignatureState.UNSIGNED:
        return False
    # The unsigned manifest itself may name any workspace.
    name = sync_name(opened.manifest.model, load.destination)
    with open_ledger(load.workspace, load.ledger_conn_id) as ledger:
        return is_in_progress(ledger, sync_folder(load.workspace, name), name, opened.sha256)
