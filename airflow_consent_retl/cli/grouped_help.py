"""The help of the whole command: its verbs by group, drawn without rich."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter


class GroupedHelp(TyperGroup):
    """A command that lists its verbs under the titles of their groups."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write one section for each group, in the order in which the verbs were added."""
        width = max(map(len, self.commands))
        for title, verbs in groupby(self.commands.items(), lambda one: getattr(one[1], "rich_help_panel", "")):
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), verb.get_short_help_str(formatter.width - width - 6)) for name, verb in verbs]
                )
