"""A group of commands whose modules are imported only when they are needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import click

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group that knows the names and summaries of its commands without importing them.

    Importing all of them would load Twisted just to print the help.

    Args:
        summaries: One line of help for each command, by name.
        module_of: Returns the name of the module that defines a command, as its `command`.
        attributes: What `click.Group` takes.
    """

    def __init__(
        self,
        *,
        summaries: Mapping[str, str],
        module_of: Callable[[str], str],
        **attributes: Any,
    ) -> None:
        super().__init__(**attributes)
        self._summaries = summaries
        self._module_of = module_of

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the help."""
        return list(self._summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self._summaries:
            return None
        command = importlib.import_module(self._module_of(cmd_name)).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names and summaries."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command in the arguments; raises UsageError, which lists the commands."""
        if args and args[0] not in self._summaries:
            known = ", ".join(self._summaries)
            raise click.UsageError(f"no command {args[0]!r}; the commands are {known}", ctx)
        return super().resolve_command(ctx, args)
