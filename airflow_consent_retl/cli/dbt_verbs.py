"""The verbs for a dbt project: an extract of its manifest for DAGs, exposures and tests that are written back."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airflow_consent_retl.cli.dag_files import Dags, tasks_of
from airflow_consent_retl.cli.shown import Result
from airflow_consent_retl.cli.verb import PolicyFile, VerbGroup

if TYPE_CHECKING:
    from airflow_consent_retl.dbt.written import WrittenFile

VERBS = VerbGroup("dbt")

Project = Annotated[
    str,
    typer.Option("--manifest", metavar="PATH", help="A manifest.json, or the folder of a dbt project."),
]
Check = Annotated[bool, typer.Option("--check", help="Write nothing, and end with 1 if a file would change.")]


@VERBS.verb("dbt-extract", example="--manifest shop --output dags/shop_models.json", finds=True)
def dbt_extract(
    output: Annotated[str, typer.Option("--output", metavar="PATH", help="The file to write.")],
    manifest: Project = ".",
    check: Check = False,
) -> Result:
    """Write what a dbt project says about its syncs into a small file, which DAGs read in place of the manifest.

    Every model whose `meta` declares a sync is checked, and all problems are reported at once.
    """
    from airflow_consent_retl.dbt.extract_file import extract_text
    from airflow_consent_retl.dbt.manifest_file import read_manifest
    from airflow_consent_retl.dbt.written import write_files

    text = extract_text(read_manifest(manifest))
    return _written(write_files({Path(output): text}, dry_run=check), check)


@VERBS.verb("dbt-exposures", example="dags --manifest shop --output shop/models/consent_retl_exposures.yml", finds=True)
def dbt_exposures(
    file: Dags,
    output: Annotated[str, typer.Option("--output", metavar="PATH", help="The YAML file to write.")],
    manifest: Project = ".",
    owner: Annotated[str | None, typer.Option(help="The owner's name; default: the owner of each task.")] = None,
    owner_email: Annotated[str | None, typer.Option(help="The owner's address.")] = None,
    check: Check = False,
) -> Result:
    """Write an exposure for each sync of DAG files that reads relations of a dbt project.

    The file is replaced as a whole. Other files, and the exposures in them, are not touched.
    """
    from airflow_consent_retl.dbt.exposures import exposed_syncs, exposures_text
    from airflow_consent_retl.dbt.manifest_file import read_manifest
    from airflow_consent_retl.dbt.written import write_files
    from airflow_consent_retl.operators.load import LoadOperator

    read = read_manifest(manifest)
    # An abstract class stands for its subclasses.
    syncs = exposed_syncs(tasks_of(file, None, LoadOperator, "load"), read)
    text = exposures_text(syncs, read, file=output, owner=owner, owner_email=owner_email)
    return _written(write_files({Path(output): text}, dry_run=check), check, exposures=len(syncs))


@VERBS.verb("dbt-tests", example="--project shop --policy-file policy.json --max-null-share 0.2", finds=True)
def dbt_tests(
    project: Annotated[str, typer.Option("--project", metavar="PATH", help="The folder of the dbt project.")] = ".",
    policy_file: PolicyFile = None,
    max_null_share: Annotated[
        float | None, typer.Option(help="The largest share of NULL in a column with consent, 0 to 1.")
    ] = None,
    check: Check = False,
) -> Result:
    """Write dbt tests that the columns with consent are what the policy and the mapping expect.

    It writes macros/consent_retl_columns.sql, and tests/consent_retl/ with a test for each model that maps consent. The
    policy is the deployment's, where it has one: a model without a column for a category that its destinations need is
    refused.
    """
    from airflow_consent_retl.dbt.data_tests import data_test_files, own_test_files
    from airflow_consent_retl.dbt.manifest_file import read_manifest
    from airflow_consent_retl.dbt.written import write_files
    from airflow_consent_retl.hooks.central_policy import central_policy
    from airflow_consent_retl.hooks.policies import read_policy

    place = f"file:{policy_file}" if policy_file is not None else central_policy()
    policy = None if place is None else read_policy(place).policy
    folder = Path(project)
    texts = data_test_files(read_manifest(folder), folder, policy=policy, max_null_share=max_null_share)
    return _written(write_files(texts, stale=own_test_files(folder), dry_run=check), check)


def _written(files: list["WrittenFile"], check: bool, **counts: int) -> Result:
    rows = [{**asdict(one), **counts} for one in files]
    changes = any(one.state != "unchanged" for one in files)
    return Result(rows, code=int(check and changes), empty="nothing is written")
