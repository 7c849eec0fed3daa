"""The verbs for privacy officers: policies, their approvals, and whom a destination rejected."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]


def add_officer_verbs(verbs: Verbs, places: argparse.ArgumentParser) -> None:
    """Add the verbs to a command.

    Args:
        verbs: of the command.
        places: has the options that say where workspace and ledger are.
    """
    refused = verbs.add_parser("rejected", parents=[places], help="list whom a destination rejected, run by run")
    refused.add_argument("sync", help="a name such as customers/webhook")
    refused.add_argument("--ids", action="store_true", help="print the ids of the people of one run, and their codes")
    refused.add_argument("--delivery", type=int, help="the number of the run; default: the last one")
    refused.add_argument("--limit", type=int, help="the most ids to print; default: all")
    refused.set_defaults(run=_rejected)

    proposal = verbs.add_parser("proposal", help="compare the policy at a place with the one in force there")
    proposal.add_argument("place", nargs="?", help="such as variable:consent_policy; default: the deployment's")
    proposal.set_defaults(run=_proposal)

    approve = verbs.add_parser("approve", help="approve the policy that is at a place now")
    approve.add_argument("place", nargs="?", help="such as variable:consent_policy; default: the deployment's")
    approve.add_argument("--digest", required=True, help="the digest of the policy that was read")
    approve.add_argument("--by", required=True, help="the name of the person who approves it")
    approve.add_argument("--note", default="", help="a reason or a reference")
    approve.set_defaults(run=_approve)

    policies = verbs.add_parser("policy-history", help="list the policies that were in force at a place")
    policies.add_argument("place", nargs="?", help="such as variable:consent_policy; default: the deployment's")
    policies.set_defaults(run=_policy_history)


def _rejected(given: argparse.Namespace) -> object:
    from airflow_consent_retl.reports import rejected, rejected_runs

    if not given.ids:
        return [asdict(run) for run in rejected_runs(given.sync, workspace=given.workspace)]
    return asdict(rejected(given.sync, delivery=given.delivery, workspace=given.workspace, limit=given.limit))


def place_of(given: argparse.Namespace) -> str:
    """Return the policy's place that a person named, or the deployment's.

    Raises:
        ConfigurationError: there is neither.
    """
    from airflow_consent_retl.errors import ConfigurationError
    from airflow_consent_retl.hooks.central_policy import central_policy

    place: str | None = given.place or central_policy()
    if place is None:
        raise ConfigurationError("place: name one, or set `[consent_retl] policy` for the whole deployment")
    return place


def _proposal(given: argparse.Namespace) -> object:
    from airflow_consent_retl.hooks.approving import proposal

    found = proposal(place_of(given))
    return {**asdict(found), "needs_approval": found.needs_approval}


def _approve(given: argparse.Namespace) -> object:
    from airflow_consent_retl.hooks.approving import approve

    return asdict(approve(place_of(given), digest=given.digest, by=given.by, note=given.note))


def _policy_history(given: argparse.Namespace) -> object:
    from airflow_consent_retl.reports.policy_record import policy_record

    return [asdict(entry) for entry in policy_record(place_of(given))]
