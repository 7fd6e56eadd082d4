"""`lbcproxy replay`: a capture played again, one command a way of playing."""

from __future__ import annotations

import importlib

import click

__all__ = ["command"]

COMMANDS = {
    "server": "Be the recorded node for whoever connects.",
    "client": "Be the recorded client of a real node, and tell what it answers differently.",
    "offline": "Put a capture through plugins and faults, without a network.",
}


class _Commands(click.Group):
    """Imports a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"lbcproxy.cli.replay_{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    name="replay", cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}
)
def command() -> None:
    """Play a capture again: as the node, as the client, or through plugins alone."""
