"""Where Wireshark looks for plugins in Lua, and our file there.

Wireshark says so itself (`tshark -G folders`); without it, it is where Wireshark 4 and later looks
on Linux and macOS.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lbcproxy.errors import LbcproxyError
from lbcproxy.wireshark.plugin import MARK, dissector

__all__ = ["FILE_NAME", "NotOurs", "install", "plugin_folder", "uninstall"]

FILE_NAME = "lbcproxy.lua"
USUAL = Path(".local", "lib", "wireshark", "plugins")
"""In the home folder."""
ENTRIES = ("Personal Lua Plugins", "Personal Plugins")
"""How `-G folders` calls it, since 4.0 and before."""
TIMEOUT = 20.0
"""Seconds for a program to say where it looks."""


class NotOurs(LbcproxyError):
    """A file of our name that we have not made."""

    hint = "move it away, or choose another folder with --folder"


def plugin_folder() -> Path:
    """Return the folder from which the user's Wireshark loads Lua plugins."""
    for name in ("tshark", "wireshark"):
        program = shutil.which(name)
        if program is not None and (said := _told(program)) is not None:
            return said
    return Path.home() / USUAL


def _told(program: str) -> Path | None:
    """Ask a program of Wireshark's; None if it does not tell."""
    try:
        done = subprocess.run(  # noqa: S603  # found on the user's own path
            [program, "-G", "folders"],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    folders = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    for entry in ENTRIES:
        if entry in folders:
            return Path(folders[entry].strip())
    return None


def install(folder: Path) -> Path:
    """Put the plugin into a folder, in place of an older one of ours, and return its path.

    Raises NotOurs if somebody else's file has its name, OSError if it cannot be written.
    """
    path = _ours(folder)
    folder.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{FILE_NAME}.{os.getpid()}")  # Wireshark may be starting
    new.write_text(dissector(), encoding="ascii")
    new.replace(path)
    return path


def uninstall(folder: Path) -> Path | None:
    """Take the plugin out of a folder and return the path it had; None if it is not there.

    Raises NotOurs if somebody else's file has its name.
    """
    path = _ours(folder)
    if not path.exists():
        return None
    path.unlink()
    return path


def _ours(folder: Path) -> Path:
    """Return the path of our file, and make sure that it is ours if there is one."""
    path = folder / FILE_NAME
    if path.exists() and not path.read_bytes().startswith(MARK.encode()):
        raise NotOurs(f"{path} is not made by lbcproxy, and is left as it is")
    return path
