"""The modes of the proxy, one per file. The files are discovered, not listed.

Each exports `MODE`, a `ModeKind`. It determines how the mode is written on the command line and in
the config, and what help and errors say about it.
"""

from __future__ import annotations

import functools
from typing import Protocol

import msgspec

from lbcproxy.discover import entries
from lbcproxy.proxy.settings import ProxySession, RelaySettings, Runtime, SessionOwner

__all__ = ["MakeSession", "ModeKind", "all_modes"]


class MakeSession(Protocol):
    """Makes the session of a new client; usually a class."""

    def __call__(
        self, number: int, settings: RelaySettings, runtime: Runtime, owner: SessionOwner, /
    ) -> ProxySession:
        """Return the session."""


class ModeKind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of mode: how clients connect, and who chooses their upstream."""

    name: str
    help: str
    """What it does, in one sentence."""
    upstream: bool
    """Whether the operator names the upstreams. Otherwise each client chooses its destination."""
    changes: bool = False
    """Whether the bytes sent on one leg may differ from those received on the other."""
    make: MakeSession


@functools.cache
def all_modes() -> dict[str, ModeKind]:
    """Return every mode by its name."""
    found = entries("lbcproxy.proxy.modes", "MODE", ModeKind)
    return {mode.name: mode for mode in found}
