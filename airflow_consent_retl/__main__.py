"""The command `python -m airflow_consent_retl VERB`: the functions of `hooks` and `reports`, for a shell."""

from __future__ import annotations

import argparse
import getpass
import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict

from airflow_consent_retl.errors import ConsentRetlError
from airflow_consent_retl.officer_verbs import add_officer_verbs, place_of


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m airflow_consent_retl", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--workspace", help="as for the loads")
    places.add_argument("--ledger-conn-id", help="as for the loads")

    adopt = verbs.add_parser("adopt", parents=[places], help="adopt the delivered states of a workspace after a loss")
    adopt.add_argument("syncs", nargs="*", help="names such as customers/webhook; default: all")
    adopt.add_argument("--gone", action="store_true", help="declare that no one of these syncs is there any more")
    adopt.add_argument("--unsigned", action="store_true", help="adopt also what has no signature of a known key")
    adopt.set_defaults(run=_adopt)

    times = verbs.add_parser("reset-times", parents=[places], help="bring times in the future back to the present")
    times.set_defaults(run=_reset_times)

    listed = verbs.add_parser("syncs", parents=[places], help="list the syncs with people, and their last runs")
    listed.set_defaults(run=_syncs)

    over = verbs.add_parser("hand-over", parents=[places], help="hand a sync over to another DAG or name")
    over.add_argument("sync", help="a name such as customers/webhook")
    over.add_argument("--dag", help="the id of the DAG that loads it from now on")
    over.add_argument("--to", help="its name from now on, for a model or destination with another name")
    over.set_defaults(run=_hand_over)

    _add_person(verbs, places)
    _add_forget(verbs, places)

    add_officer_verbs(verbs, places)
    _add_workspace_verbs(verbs, places)
    return parser


def _add_workspace_verbs(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], places: argparse.ArgumentParser
) -> None:
    checked = verbs.add_parser("verify", help="check who signed the manifests of a workspace; 1 if one is not true")
    checked.add_argument("manifest", nargs="?", help="the URI of one manifest; default: all of the workspace")
    checked.add_argument("--workspace", help="as for the loads")
    checked.add_argument("--signatures-only", action="store_true", help="do not read the files that manifests name")
    checked.set_defaults(run=_verify)

    lint = verbs.add_parser("lint", help="look for what a policy may not mean; ends with 1 if there is something")
    lint.add_argument("place", nargs="?", help="such as variable:consent_policy; default: the deployment's")
    lint.add_argument(
        "--snapshot", action="append", default=[], help="the output of an extraction as JSON, whose answers are read"
    )
    lint.set_defaults(run=_lint)

    overrides = verbs.add_parser("overrides", help="list what each DAG uses and overrides of the policy")
    overrides.add_argument("folder", nargs="?", help="a folder or file of DAGs; default: Airflow's DAGs folder")
    overrides.set_defaults(run=_overrides)

    pruned = verbs.add_parser("prune", parents=[places], help="delete what has reached the end of its retention")
    pruned.add_argument("--dry-run", action="store_true", help="delete nothing: show what would be deleted")
    pruned.add_argument("--conn-id", help="the connection of a warehouse with a staging schema")
    pruned.add_argument("--schema", help="the staging schema, whose old tables are dropped too")
    pruned.add_argument(
        "--exports", action="append", default=[], help="a folder of LoadToFilesOperator, for its older versions too"
    )
    pruned.set_defaults(run=_prune)


def _prune(given: argparse.Namespace) -> object:
    from airflow_consent_retl.destinations.files.pruning import prune_versions
    from airflow_consent_retl.hooks.pruning import prune

    found = prune(
        workspace=given.workspace,
        ledger_conn_id=given.ledger_conn_id,
        conn_id=given.conn_id,
        schema=given.schema,
        dry_run=given.dry_run,
    )
    for path in given.exports:
        found += prune_versions(path, dry_run=given.dry_run)
    return [asdict(one) for one in found]


def _add_person(verbs: argparse._SubParsersAction[argparse.ArgumentParser], places: argparse.ArgumentParser) -> None:
    """Add the verbs that are about one person."""
    person = verbs.add_parser("history", parents=[places], help="list everything that is recorded of one person")
    person.add_argument("id", help="the person's id, as the models have it")
    person.add_argument("--model", help="only this model's records")
    person.set_defaults(run=_history)

    proof = verbs.add_parser("evidence", parents=[places], help="write a bundle with all evidence about one person")
    proof.add_argument("id", help="the person's id, as the models have it")
    proof.add_argument("to", help="a new folder, or a new file that ends in .zip")
    proof.add_argument("--model", help="only this model's records")
    proof.add_argument("--reference", default="", help="a text for the page, such as the number of a request")
    proof.set_defaults(run=_evidence)


def _add_forget(verbs: argparse._SubParsersAction[argparse.ArgumentParser], places: argparse.ArgumentParser) -> None:
    forgetting = verbs.add_parser("forget", parents=[places], help="forget people, or take them off the list again")
    forgetting.add_argument("ids", nargs="*", help="ids of people; without any, unfinished requests are resumed")
    forgetting.add_argument("--file", help="a file with one id on each line")
    forgetting.add_argument("--sql", help="a query with the ids")
    forgetting.add_argument("--conn-id", help="the connection of the query")
    forgetting.add_argument("--id-column", default="id", help="the column of the ids in its result; default: id")
    forgetting.add_argument("--loads", help="module:name of a mapping as `loads` of ForgetOperator")
    forgetting.add_argument("--model", action="append", dest="models", help="only in this model; may be repeated")
    forgetting.add_argument("--objection", action="store_true", help="leave rows at rest until their retention")
    forgetting.add_argument("--exempt", action="append", default=[], help="destination=reason; may be repeated")
    forgetting.add_argument("--lift", action="store_true", help="take the people off the list: they consented anew")
    forgetting.set_defaults(run=_forget)


def _verify(given: argparse.Namespace) -> object:
    from airflow_consent_retl.reports.signature_check import verify

    checked = verify(given.manifest, workspace=given.workspace, files=not given.signatures_only)
    given.code = 0 if all(one.is_true for one in checked) else 1
    return [asdict(one) for one in checked]


def _reset_times(given: argparse.Namespace) -> object:
    from airflow_consent_retl.hooks.upkeep import reset_times

    return reset_times(workspace=given.workspace, ledger_conn_id=given.ledger_conn_id)


def _adopt(given: argparse.Namespace) -> object:
    from airflow_consent_retl.hooks.upkeep import adopt

    adopted = adopt(
        workspace=given.workspace,
        ledger_conn_id=given.ledger_conn_id,
        syncs=given.syncs or None,
        gone=given.gone,
        unsigned=given.unsigned,
    )
    return [asdict(one) for one in adopted]


def _syncs(given: argparse.Namespace) -> object:
    from airflow_consent_retl.hooks.upkeep import syncs

    return [
        {
            "sync": one.sync,
            "people": 0 if one.current is None else one.current.rows,
            "target": one.target,
            "dag": one.dag,
            "served_at": one.served_at,
            "decided_at": one.decided_at,
            "is_in_progress": one.open_delivery is not None,
        }
        for one in syncs(workspace=given.workspace, ledger_conn_id=given.ledger_conn_id)
    ]


def _hand_over(given: argparse.Namespace) -> object:
    from airflow_consent_retl.hooks.upkeep import hand_over

    places = {"workspace": given.workspace, "ledger_conn_id": given.ledger_conn_id}
    hand_over(given.sync, dag=given.dag, to=given.to, **places)
    return {"sync": given.to or given.sync, "dag": given.dag}


def _evidence(given: argparse.Namespace) -> object:
    from airflow_consent_retl.reports.evidence import evidence

    written = evidence(
        given.id,
        given.to,
        workspace=given.workspace,
        ledger_conn_id=given.ledger_conn_id,
        model=given.model,
        reference=given.reference,
    )
    return {"evidence": str(written)}


def _history(given: argparse.Namespace) -> object:
    from airflow_consent_retl.reports.person_history import person_history

    found = person_history(given.id, workspace=given.workspace, ledger_conn_id=given.ledger_conn_id, model=given.model)
    return asdict(found)


def _lint(given: argparse.Namespace) -> object:
    from airflow_consent_retl.reports.policy_review import lint

    found = lint(place_of(given), snapshots=[json.loads(snapshot) for snapshot in given.snapshot])
    given.code = int(bool(found))
    return [asdict(finding) for finding in found]


def _overrides(given: argparse.Namespace) -> object:
    from airflow_consent_retl.dag_overrides import overrides

    # DAG files, and Airflow about them, may print, and the result is alone on the output.
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            found = overrides(given.folder)
    finally:
        os.dup2(output, 1)
        os.close(output)
    return asdict(found)


def _forget(given: argparse.Namespace) -> object:
    from airflow_consent_retl.operators.forget import forget, lift, named_loads

    ids = {
        "ids": given.ids or None,
        "file": given.file,
        "sql": given.sql,
        "conn_id": given.conn_id,
        "id_column": given.id_column,
    }
    by = getpass.getuser()
    if given.lift:
        return {"lifted": lift(**ids, workspace=given.workspace, by=by)}
    return forget(
        **ids,
        loads=named_loads(given.loads),
        models=given.models,
        erase=not given.objection,
        exempt=dict(one.split("=", 1) if "=" in one else (one, "") for one in given.exempt),
        workspace=given.workspace,
        ledger_conn_id=given.ledger_conn_id,
        by=by,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb, print its result as JSON, and return the exit code."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    try:
        result = given.run(given)
    except ConsentRetlError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    print(json.dumps(result, indent=2, default=str))  # noqa: T201 - a command's output
    return int(getattr(given, "code", 0))


if __name__ == "__main__":
    sys.exit(main())
