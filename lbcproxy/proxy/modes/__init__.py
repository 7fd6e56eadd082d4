"""The modes of the proxy, one a file; the files are found, not listed.

Each exports `MODE`, a `ModeKind`. That value determines how the mode is written, in flags and in
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
    """A mode: how clients come in, and who decides where they are led."""

    name: str
    help: str
    """What it does, in a sentence."""
    upstream: bool
    """Whether the operator says where it leads; otherwise each client does."""
    changes: bool = False
    """Whether what goes out on one leg may differ from what came in on the other."""
    make: MakeSession


@functools.cache
def all_modes() -> dict[str, ModeKind]:
    """Return every mode by its name."""
    found = entries("lbcproxy.proxy.modes", "MODE", ModeKind)
    return {mode.name: mode for mode in found}
