"""The declaration of a verb: its help, its options for the form of the result, its exit code, its errors."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from airflow_consent_retl.cli.shown import Form, Result, render, with_commands
from airflow_consent_retl.errors import ConsentRetlError
from airflow_consent_retl.progress import fitted

Workspace = Annotated[
    str | None,
    typer.Option("--workspace", metavar="URI", help="As for the loads; default: the deployment's."),
]
LedgerConnId = Annotated[
    str | None,
    typer.Option("--ledger-conn-id", metavar="CONN_ID", help="As for the loads; default: the deployment's."),
]
PolicyFile = Annotated[
    str | None,
    typer.Option("--policy-file", metavar="PATH", help="Read the policy from this file, in place of the deployment's."),
]

_JSON = typer.Option("--json", help="Print the result as JSON.", show_default=False)
_MARKDOWN = typer.Option("--markdown", help="Print tables as Markdown, for a pull request.", show_default=False)
_FOUND = "0 fine, 1 findings, 2 wrong use or not possible"
_PLAIN = "0 fine, 2 wrong use or not possible"


@dataclass(frozen=True, slots=True)
class VerbGroup:
    """The verbs of one file, under one title of the help."""

    title: str
    verbs: list[tuple[str, Callable[..., None], str]] = field(default_factory=list)

    def verb(
        self, name: str, *, example: str, finds: bool = False
    ) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        """Declare a verb: its function's parameters become arguments and options, its docstring the help.

        Args:
            name: of the verb.
            example: what may be typed after the verb's name.
            finds: whether it may end with 1.
        """

        def declare(function: Callable[..., Result]) -> Callable[..., Result]:
            command = f"consent-retl {name} {example}".rstrip()
            codes = _FOUND if finds else _PLAIN
            text = f"{inspect.getdoc(function)}\n\nExample: {command}\n\nExit codes: {codes}"
            self.verbs.append((name, _command(function), text))
            return function

        return declare

    def add_to(self, app: typer.Typer) -> None:
        """Add the verbs to the command."""
        for name, command, text in self.verbs:
            app.command(name, help=text, short_help=text.partition("\n")[0], rich_help_panel=self.title)(command)


def _command(function: Callable[..., Result]) -> Callable[..., None]:
    """Return a function that runs a verb and prints its result in the form that the options name."""

    def command(**given: Any) -> None:
        form = Form.JSON if given.pop("as_json") else Form.MARKDOWN if given.pop("markdown") else Form.PLAIN
        given.pop("markdown", None)
        try:
            result = _run(function, given)
        except _RefusedError as refused:
            message = str(refused)
            print(with_commands(fitted(message), message), file=sys.stderr)  # noqa: T201 - a command's output
            raise typer.Exit(2) from None
        print(render(result, form))  # noqa: T201 - a command's output
        raise typer.Exit(result.code)

    signature = inspect.signature(function, eval_str=True)
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option])
        for name, option in (("as_json", _JSON), ("markdown", _MARKDOWN))
    ]
    given = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in signature.parameters.values()]
    command.__signature__ = inspect.Signature([*given, *options])  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


class _RefusedError(Exception):
    """The message for a person why a verb could not be done."""


def _run(function: Callable[..., Result], given: dict[str, Any]) -> Result:
    """Run a verb as Airflow's own commands run, and return its result.

    Raises:
        _RefusedError: it could not be done.
    """
    with _result_alone():
        from airflow_consent_retl.hooks.outside_of_tasks import missing_in_words, reading_airflow

        with reading_airflow():
            try:
                with missing_in_words():
                    return function(**given)
            except ConsentRetlError as error:
                raise _RefusedError(f"{type(error).__name__}: {error}") from None


@contextmanager
def _result_alone() -> Iterator[None]:
    """Send whatever prints meanwhile, such as DAG files and Airflow about them, to the error output."""
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(output, 1)
        os.close(output)
