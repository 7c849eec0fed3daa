"""The command `consent-retl VERB`, also `python -m airflow_consent_retl VERB`: it finds the verbs and runs one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import typer

from airflow_consent_retl.cli.grouped_help import GroupedHelp

if TYPE_CHECKING:
    from airflow_consent_retl.cli.verb import VerbGroup

# One module for each group, in the order of the help. Each has its verbs in `VERBS`.
GROUPS = (
    "discover_verb",
    "check_verb",
    "planning_verbs",
    "sync_verbs",
    "report_verb",
    "person_verbs",
    "policy_verbs",
    "dbt_verbs",
    "migration_verbs",
    "workspace_verbs",
)
_HELP = """Load model results into destinations, for people who consented: the commands around it.

Each verb explains itself: consent-retl VERB --help. Each prints aligned text, and JSON with --json.

Variables and connections are read from Airflow's secrets backend, the environment (AIRFLOW_VAR_<KEY>,
AIRFLOW_CONN_<CONN_ID>), and Airflow's database where this process reaches it.

Exit codes: 0 fine, 1 findings, 2 wrong use or not possible.
"""


def command() -> typer.Typer:
    """Return the command with all its verbs."""
    app = typer.Typer(
        cls=GroupedHelp,
        name="consent-retl",
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,
        # Rich takes as long to load as all the rest.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in GROUPS:
        verbs: VerbGroup = import_module(f"airflow_consent_retl.cli.{name}").VERBS
        verbs.add_to(app)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb, print its result, and return the exit code."""
    logging.basicConfig(level=logging.WARNING)
    try:
        command()(args=None if arguments is None else list(arguments), prog_name="consent-retl")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def entry() -> None:
    """Run as the installed script does."""
    sys.exit(main())
