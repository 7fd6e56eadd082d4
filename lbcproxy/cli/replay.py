"""`lbcproxy replay`: a capture played again."""

from __future__ import annotations

import importlib

import click

__all__ = ["command"]

KINDS = {
    "client": "Play the client of a capture against a real node, and say what differs.",
}


class _Kinds(click.Group):
    """Imports a kind's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(KINDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in KINDS:
            return None
        command = importlib.import_module(f"lbcproxy.cli.replay_{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(KINDS.items()))


@click.command(name="replay", cls=_Kinds, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Play a capture again."""
