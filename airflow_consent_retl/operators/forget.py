"""The operator and the function that forget people: they are suppressed, removed everywhere, and erased at rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_consent_retl.errors import ConfigurationError, PermanentError, RefusedError, TransientError
from airflow_consent_retl.near import suggestion
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator, dag_of, holder_of, task_of
from airflow_consent_retl.operators.links import SENDING_LINKS
from airflow_consent_retl.operators.parsed_tasks import refuse
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.records import SyncName
    from airflow_consent_retl.errors import Problem
    from airflow_consent_retl.operators.forgetting import Forgetting
    from airflow_consent_retl.operators.load import LoadOperator
    from airflow_consent_retl.operators.removing_load import RemovingLoad
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.forget_requests import ForgetRequest, ForgetRequests
    from airflow_consent_retl.storage.forgotten import ForgottenPeople
    from airflow_consent_retl.storage.suppression import ForgottenList

_log = module_log(__name__)


class ForgetOperator(ConsentRetlOperator):
    """Forget people: suppress them, remove them at every destination, and erase their rows at rest.

    It puts the people on the suppression list of the workspace, by keyed digest: no filter permits them any more, and
    no load sends them, whatever a later model says. Then it takes the lease of each sync in turn, and has the
    destination remove those who are, or may be, there. Last, it deletes the rows of snapshots and permitted sets that
    have a row of them, and files that no sync needs. Decision logs and records name people by keyed digest only, and
    stay as proof.

    What became of each person at each destination is kept in the workspace, by keyed digest. A try that was killed is
    resumed by the next one; run again when nothing is left, it does nothing. Without ids, it resumes all requests
    that are not finished.

    Reads: the delivered states, snapshots and permitted sets. Writes: the suppression list and requests, the
    delivered states, the ledger; it deletes rows at rest. Contacts: the destinations from which someone has to be
    removed, and the warehouses of the workspace's rows.

    Args:
        ids: the ids of the people. They are part of the DAG then, which Airflow stores and shows: prefer `sql`.
        file: instead, a path or a URI of object storage with one id on each line. Templated.
        sql: instead, a query with the ids. Templated.
        conn_id: the connection of `sql`. Templated.
        id_column: the column of the ids in the result of `sql`. Templated.
        loads: the loads that can remove people, by the name of their destination or of their sync, such as
            `customers/webhook`: each with its own parameters, as for `PropagateWithdrawalsOperator`.
        models: the models to forget them in; None: all of the workspace, also later ones. Templated.
        erase: whether rows at rest are deleted. False, for an objection: they stay until their retention.
        exempt: the destinations or syncs that keep the people, each with the reason, such as
            `{"billing": "commercial law: ten years"}`.
        settle_s: seconds for which a request that was never answered may still take effect.
        confirm_interval_s: most seconds between two questions to a destination that processes later; the first ones
            come after 1, 2, 4 … seconds.
        confirm_timeout_s: seconds after which a try stops waiting for it.
        lease_ttl_s: seconds after which a worker that does not renew its lease counts as dead.
        lease_wait_s: seconds to wait for a running load.
        ledger_conn_id: as for the loads. Templated.
        workspace: as for the loads. Templated.

    Returns:
        For each request: its id, the numbers of `people` and of those `suppressed` anew, people by status for each
        destination and in all, the snapshots and permitted sets erased, and whether it is `complete`.

    Raises:
        AirflowFailException: not retried: an id is given in no or in several ways, people are at a sync without a load,
            or a destination refused to remove some. The other destinations are served all the same.
        SyncBusyError, DestinationUnavailableError, SourceUnavailableError, LedgerUnavailableError: retried.
    """

    template_fields: Sequence[str] = (
        "file",
        "sql",
        "conn_id",
        "id_column",
        "models",
        "ledger_conn_id",
        "workspace",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}
    ui_color = "#ead1dc"
    operator_extra_links = SENDING_LINKS
    # Set where no task runs.
    caller: str | None = None
    caller_log: TaskLog | None = None

    def __init__(
        self,
        *,
        ids: Sequence[str | int] | None = None,
        file: str | None = None,
        sql: str | None = None,
        conn_id: str | None = None,
        id_column: str = "id",
        loads: Mapping[str, Callable[..., LoadOperator]] | None = None,
        models: Sequence[str] | None = None,
        erase: bool = True,
        exempt: Mapping[str, str] | None = None,
        settle_s: float = 3600,
        confirm_interval_s: float = 30,
        confirm_timeout_s: float = 3600,
        lease_ttl_s: float = 60,
        lease_wait_s: float = 30,
        ledger_conn_id: str | None = None,
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ids = ids
        self.file = file
        self.sql = sql
        self.conn_id = conn_id
        self.id_column = id_column
        self.loads = loads
        self.models = models
        self.erase = erase
        self.exempt = exempt
        self.settle_s = settle_s
        self.confirm_interval_s = confirm_interval_s
        self.confirm_timeout_s = confirm_timeout_s
        self.lease_ttl_s = lease_ttl_s
        self.lease_wait_s = lease_wait_s
        self.ledger_conn_id = ledger_conn_id
        self.workspace = workspace
        refuse(self.wrong_options())

    def wrong_options(self) -> list[Problem]:
        """Return every error in the parameters and loads, as far as their values are known; contacts nothing."""
        from airflow_consent_retl.operators.removing_load import wrong_loads

        loads = (self.loads or {}).items()
        return super().wrong_options() + wrong_loads({f"loads[{name!r}]": load for name, load in loads})

    @property
    def _messages(self) -> TaskLog:
        return self.log if self.caller_log is None else self.caller_log

    def run(self, context: Context) -> list[dict[str, Any]]:
        """Forget the people of the request, or of all unfinished requests; report counts, and fail if some are left."""
        from airflow_consent_retl.hooks.forgotten_list import suppression_list
        from airflow_consent_retl.hooks.ledgers import open_ledger
        from airflow_consent_retl.operators.people_ids import read_ids

        listed = suppression_list(self.workspace)
        ids = read_ids(ids=self.ids, file=self.file, sql=self.sql, conn_id=self.conn_id, id_column=self.id_column)
        with open_ledger(self.workspace, self.ledger_conn_id) as ledger:
            self._check_names(ledger)
            requests = listed.requests()
            if ids is None:
                wanted = [request for request in requests.all() if not requests.is_complete(request)]
                self._messages.info("%s requests are not finished", f"{len(wanted):,}")
            else:
                wanted = [self._begun(listed, requests, ids, self.caller or holder_of(context))]
            failures: list[PermanentError | TransientError] = []
            reports = [
                self._serve(request, listed, requests, ledger, context, failures, is_new=ids is not None)
                for request in wanted
            ]
        if failures:
            # A retry is worth it if one failure is transient, even if the others are permanent.
            raise next((failure for failure in failures if isinstance(failure, TransientError)), failures[0])
        return reports

    def _begun(self, listed: ForgottenList, requests: ForgetRequests, ids: Sequence[str], by: str) -> ForgetRequest:
        if any(not reason.strip() for reason in (self.exempt or {}).values()):
            raise ConfigurationError("exempt: each destination that keeps people needs a reason")
        people = listed.people(ids)
        return requests.begin(
            [person[0] for person in people],
            key_id=listed.key_id,
            by=by,
            erase=self.erase,
            models=self.models,
            exempt=self.exempt or {},
        )

    def _serve(
        self,
        request: ForgetRequest,
        listed: ForgottenList,
        requests: ForgetRequests,
        ledger: Ledger,
        context: Context,
        failures: list[PermanentError | TransientError],
        *,
        is_new: bool,
    ) -> dict[str, Any]:
        """Remove and erase the people of one request; what fails is added to `failures`."""
        from airflow_consent_retl.operators.forget_summary import report_request

        suppressed = 0
        if is_new or not requests.were_suppressed(request):
            suppressed = self._suppress(request, listed, requests, ledger, context)
        # Whoever was taken off the list since gave consent anew.
        people = listed.named(listed.still_listed(request.digests), key_id=request.key_id)
        forgetting = self._forgetting(request, people, requests, ledger, context)
        for sync in forgetting.syncs():
            try:
                forgetting.remove(sync)
            except (PermanentError, TransientError) as failure:
                self._messages.warning("`%s`: %s", sync, failure)
                failures.append(failure)
        try:
            self._erase(request, people, requests)
        except (PermanentError, TransientError) as failure:
            self._messages.warning("at rest: %s", failure)
            failures.append(failure)
        return report_request(request, requests, suppressed, log=self._messages)

    def _suppress(
        self,
        request: ForgetRequest,
        listed: ForgottenList,
        requests: ForgetRequests,
        ledger: Ledger,
        context: Context,
    ) -> int:
        """Note who is at a destination, then put all people on the list, and return the number of new ones.

        INVARIANT: it comes before the first removal: otherwise a load could send a person who was just removed.
        """
        from airflow_consent_retl.delivery.pairing import check_acts
        from airflow_consent_retl.storage.location import open_folder, workspace_root

        people = listed.named(request.digests, key_id=request.key_id)
        forgetting = self._forgetting(request, people, requests, ledger, context)
        for sync in forgetting.syncs():
            forgetting.note_found(sync)
        suppressed = listed.forget(
            [(digest,) for digest in request.digests], models=request.models, by=request.by, key_id=request.key_id
        )
        # The ledger notices from now on if an older list takes the place of this one.
        check_acts(ledger, open_folder(workspace_root(self.workspace)))
        requests.note_suppressed(request)
        return suppressed

    def _forgetting(
        self,
        request: ForgetRequest,
        people: ForgottenPeople,
        requests: ForgetRequests,
        ledger: Ledger,
        context: Context,
    ) -> Forgetting:
        from airflow_consent_retl.operators.forgetting import Forgetting, ForgettingSettings

        return Forgetting(
            request=request,
            people=people,
            requests=requests,
            ledger=ledger,
            workspace=self.workspace,
            load_of=lambda sync: self._load_of(sync, context),
            settings=ForgettingSettings(
                settle_s=self.settle_s,
                confirm_interval_s=self.confirm_interval_s,
                confirm_timeout_s=self.confirm_timeout_s,
                lease_ttl_s=self.lease_ttl_s,
                lease_wait_s=self.lease_wait_s,
            ),
            holder=self.caller or holder_of(context),
            dag=dag_of(context),
            task=task_of(context),
            log=self._messages,
        )

    def _load_of(self, sync: SyncName, context: Context) -> RemovingLoad | None:
        from airflow_consent_retl.delivery.ledger.records import model_and_destination
        from airflow_consent_retl.operators.removing_load import removing_load

        _, destination = model_and_destination(sync)
        loads = self.loads or {}
        load = loads.get(sync, loads.get(destination))
        if load is None:
            return None
        return removing_load(load, destination=destination, policy=None, task=self, context=context)

    def _check_names(self, ledger: Ledger) -> None:
        from airflow_consent_retl.delivery.ledger.records import model_and_destination

        syncs = [one.sync for one in ledger.syncs()]
        known = {*syncs, *(model_and_destination(sync)[1] for sync in syncs)}
        for parameter, names in (("loads", self.loads or {}), ("exempt", self.exempt or {})):
            for name in names:
                if near := suggestion(name, known) if name not in known else "":
                    raise ConfigurationError(f"{parameter}: the ledger has no destination and no sync `{name}`{near}")

    def _erase(self, request: ForgetRequest, people: ForgottenPeople, requests: ForgetRequests) -> None:
        from airflow_consent_retl.hooks.erasing import erase_at_rest
        from airflow_consent_retl.storage.forget_requests import ErasedAtRest
        from airflow_consent_retl.storage.location import open_folder, workspace_root

        if not request.erase:
            return
        erased = erase_at_rest(
            open_folder(workspace_root(self.workspace)),
            lambda model: people if request.is_about(model) else None,
            log=self._messages,
        )
        before = requests.at_rest(request) or ErasedAtRest(at=datetime.now(UTC))
        requests.note_at_rest(
            request,
            ErasedAtRest(
                at=datetime.now(UTC),
                snapshots=before.snapshots + erased.snapshots,
                permitted=before.permitted + erased.permitted,
                is_complete=not erased.unreadable,
            ),
        )
        if erased.unreadable:
            raise RefusedError(
                f"{erased.unreadable:,} snapshots or permitted sets cannot be read, and may have rows of these people: "
                "delete their folders"
            )


def forget(*, by: str = "forget", **options: Any) -> list[dict[str, Any]]:
    """Forget people without a DAG.

    Args:
        by: a description of the caller, which is kept.
        options: the parameters of `ForgetOperator`; its result is returned.

    Raises:
        PermanentError: a person has to change something, or some people are left at a destination.
        TransientError: another call may succeed.
    """
    operator = ForgetOperator(task_id="forget", **options)
    operator.caller, operator.caller_log = by, _log
    reports: list[dict[str, Any]] = operator.run({})
    return reports


def lift(
    *,
    ids: Sequence[str | int] | None = None,
    file: str | None = None,
    sql: str | None = None,
    conn_id: str | None = None,
    id_column: str = "id",
    workspace: str | None = None,
    by: str = "lift",
) -> int:
    """Take people off the suppression list who gave consent anew, and return how many were on it.

    From the next filter on, their consent decides. Who did it, and when, is kept. Parameters as in `ForgetOperator`.

    Raises:
        ConfigurationError: there is no id, or the list cannot be read.
    """
    from airflow_consent_retl.hooks.forgotten_list import suppression_list
    from airflow_consent_retl.operators.people_ids import read_ids

    found = read_ids(ids=ids, file=file, sql=sql, conn_id=conn_id, id_column=id_column)
    if found is None:
        raise ConfigurationError("name the people who consented anew: ids, a file, or a query")
    listed = suppression_list(workspace)
    return listed.lift(listed.people(found), by=by)


def named_loads(name: str | None) -> Mapping[str, Callable[..., LoadOperator]] | None:
    """Return the loads that `module:name` names; None for None.

    Raises:
        ConfigurationError: there is no such module, or it has no mapping of this name.
    """
    if name is None:
        return None
    module, _, attribute = name.partition(":")
    try:
        loads = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        loads = None
    if not isinstance(loads, Mapping):
        raise ConfigurationError(f"loads: `{name}` is no `module:name` of a mapping from destinations to loads")
    return loads
