"""`lbcproxy replay`: replay a capture, with one subcommand for each way to do it."""

from __future__ import annotations

import click

from lbcproxy.cli.lazy_group import LazyGroup

__all__ = ["command"]

COMMANDS = {
    "server": "Act as the recorded node for anyone who connects.",
    "client": "Act as the recorded client of a live node, and report where its answers differ.",
    "offline": "Run a capture through plugins and faults, without a network.",
}


@click.command(
    name="replay",
    cls=LazyGroup,
    summaries=COMMANDS,
    module_of=lambda name: f"lbcproxy.cli.replay_{name}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
def command() -> None:
    """Replay a capture: as the node, as the client, or through plugins alone."""
