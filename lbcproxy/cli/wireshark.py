"""`lbcproxy wireshark-plugin`: print or install the Wireshark dissector."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command(name="wireshark-plugin", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--install",
    "action",
    flag_value="install",
    help="Install it in the plugin folder of Wireshark.",
)
@click.option("--uninstall", "action", flag_value="uninstall", help="Remove it from there.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Use this folder instead of the one that Wireshark reports.",
)
def command(action: str | None, folder: Path | None) -> None:
    """Print the Lua dissector for LBRY's and Bitcoin's messages in Wireshark and tshark.

    It is generated from the message declarations, so Wireshark shows every message that lbcproxy
    can decode. docs/wireshark.md describes what it shows and how to filter.
    """
    from lbcproxy.wireshark import dissector, install, plugin_folder, uninstall

    if action is None:
        if folder is not None:
            raise click.UsageError("--folder needs --install or --uninstall")
        click.echo(dissector(), nl=False)
        return
    folder = folder or plugin_folder()
    if action == "install":
        click.echo(f"installed {install(folder)}: Wireshark and tshark load it when they start")
        return
    removed = uninstall(folder)
    click.echo(f"nothing to remove in {folder}" if removed is None else f"removed {removed}")
