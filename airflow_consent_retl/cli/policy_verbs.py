"""The verbs for privacy officers: what a policy means, its approvals, its history, and what DAGs make of it."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from airflow_consent_retl.cli.shown import Result, Table
from airflow_consent_retl.cli.verb import PolicyFile, VerbGroup

VERBS = VerbGroup("Policies")

Place = Annotated[
    str | None,
    typer.Argument(metavar="PLACE", help="Such as variable:consent_policy; default: the deployment's."),
]


def place_of(place: str | None, policy_file: str | None = None) -> str:
    """Return the policy's place that a person named, or the deployment's.

    Raises:
        ConfigurationError: there is neither, or two places are named.
    """
    from airflow_consent_retl.errors import ConfigurationError
    from airflow_consent_retl.hooks.central_policy import central_policy

    if place is not None and policy_file is not None:
        raise ConfigurationError("name the policy once: by its place or by --policy-file")
    found = f"file:{policy_file}" if policy_file is not None else place or central_policy()
    if found is None:
        raise ConfigurationError("place: name one, or set `[consent_retl] policy` for the whole deployment")
    return found


@VERBS.verb("lint", example="variable:consent_policy", finds=True)
def lint(
    place: Place = None,
    policy_file: PolicyFile = None,
    snapshot: Annotated[
        list[str] | None,
        typer.Option(metavar="JSON", help="The output of an extraction, whose answers are read; may be repeated."),
    ] = None,
) -> Result:
    """Look for what a policy may not mean. Ends with 1 if there is something."""
    from airflow_consent_retl.reports.policy_review import lint as review

    found = review(place_of(place, policy_file), snapshots=[json.loads(one) for one in snapshot or ()])
    return Result([asdict(finding) for finding in found], code=int(bool(found)), empty="nothing was found")


@VERBS.verb("diff", example="variable:consent_policy file:policy.json --markdown")
def diff(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="A place, such as variable:consent_policy.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="Another place, such as file:policy.json.")],
) -> Result:
    """Compare two policies in words: what differs, and what may permit more than before."""
    from airflow_consent_retl.consent import opened, policy_differences
    from airflow_consent_retl.hooks.policies import read_policy

    old, new = (read_policy(place).policy for place in (before, after))
    differences, opens = policy_differences(old, new), opened(old, new)
    document = {"before": old.digest, "after": new.digest, "differences": differences, "opens": opens}
    rows = [("differs", one) for one in differences] + [("may permit more", one) for one in opens]
    return Result(document, [Table(("kind", "what"), rows)] if rows else ["the two policies are the same"])


@VERBS.verb("proposal", example="variable:consent_policy")
def proposal(place: Place = None) -> Result:
    """Compare the policy at a place with the one in force there."""
    from airflow_consent_retl.hooks.approving import proposal as compare

    found = compare(place_of(place))
    return Result({**asdict(found), "needs_approval": found.needs_approval})


@VERBS.verb("approve", example='--digest sha256:… --by "Ida Officer" --note "case 12"')
def approve(
    digest: Annotated[str, typer.Option(help="The digest of the policy that was read.")],
    by: Annotated[str, typer.Option(help="The name of the person who approves it.")],
    place: Place = None,
    note: Annotated[str, typer.Option(help="A reason or a reference.")] = "",
) -> Result:
    """Approve the policy that is at a place now."""
    from airflow_consent_retl.hooks.approving import approve as approve_policy

    return Result(asdict(approve_policy(place_of(place), digest=digest, by=by, note=note)))


@VERBS.verb("policy-history", example="variable:consent_policy")
def policy_history(place: Place = None) -> Result:
    """List the policies that were in force at a place: since when, what changed, who approved it."""
    from airflow_consent_retl.reports.policy_record import policy_record

    return Result([asdict(entry) for entry in policy_record(place_of(place))], empty="no policy is recorded")


@VERBS.verb("overrides", example="dags")
def overrides(
    folder: Annotated[
        str | None, typer.Argument(metavar="FOLDER", help="A folder or file of DAGs; default: Airflow's DAGs folder.")
    ] = None,
) -> Result:
    """List what each DAG uses of the policy, and what it overrides."""
    from airflow_consent_retl.dag_overrides import overrides as used

    return Result(asdict(used(folder)))
