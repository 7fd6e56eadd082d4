"""`lbcproxy wireshark-plugin`: the dissector for Wireshark, printed or installed."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command(name="wireshark-plugin", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--install", "wish", flag_value="install", help="Put it where Wireshark finds it.")
@click.option("--uninstall", "wish", flag_value="uninstall", help="Remove it from there.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Another folder of plugins than the one Wireshark names.",
)
def command(wish: str | None, folder: Path | None) -> None:
    """Print the dissector of LBRY's messages for Wireshark and tshark, in Lua.

    It is made from the records: whatever lbcproxy can read, Wireshark then shows.

    docs/wireshark.md says what it shows and how to filter.
    """
    from lbcproxy.wireshark import dissector, install, plugin_folder, uninstall

    if wish is None:
        if folder is not None:
            raise click.UsageError("--folder goes with --install or --uninstall")
        click.echo(dissector(), nl=False)
        return
    folder = folder or plugin_folder()
    if wish == "install":
        click.echo(f"installed {install(folder)}: Wireshark and tshark load it when they start")
        return
    removed = uninstall(folder)
    click.echo(f"nothing to remove in {folder}" if removed is None else f"removed {removed}")
