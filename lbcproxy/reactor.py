"""The parts of a Twisted reactor that lbcproxy uses besides its clock, as a type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from lbcproxy.clock import Clock

__all__ = ["ListeningPort", "Reactor"]


class ListeningPort(Protocol):
    """A port that listens (Twisted's `IListeningPort`)."""

    def getHost(self) -> Any:  # noqa: N802  # Twisted's name
        """Return the address it listens at."""

    def stopListening(self) -> Any:  # noqa: N802  # Twisted's name
        """Stop listening; return a Deferred if that takes time."""


class Reactor(Clock, Protocol):
    """A Twisted reactor."""

    running: bool

    def callFromThread(  # noqa: N802  # Twisted's name
        self, call: Callable[..., object], /, *arguments: object
    ) -> object:
        """Call a function in the reactor's thread."""

    def callWhenRunning(  # noqa: N802  # Twisted's name
        self, call: Callable[..., object], /, *arguments: object
    ) -> object:
        """Call a function as soon as the reactor runs."""

    def run(self, *, installSignalHandlers: bool) -> None:  # noqa: N803  # Twisted's name
        """Run until `stop` is called."""

    def stop(self) -> None:
        """Stop."""

    def listenTCP(  # noqa: N802  # Twisted's name
        self, port: int, factory: Any, *, interface: str
    ) -> ListeningPort:
        """Listen at a TCP port."""

    def listenUNIX(  # noqa: N802  # Twisted's name
        self,
        address: str,
        factory: Any,
        *,
        mode: int,
        wantPID: bool,  # noqa: N803  # Twisted's name
    ) -> ListeningPort:
        """Listen at a UNIX socket."""
