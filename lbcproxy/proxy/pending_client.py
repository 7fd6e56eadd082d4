"""An entrance: a client's connection before it is known where the client is to be led.

Then it is handed over to a relay, which begins as with any other client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.logger import Logger

from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import Fault
from lbcproxy.peer import RelayPeer
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.proxy.relay import Relay
from lbcproxy.proxy.settings import (
    Answer,
    ProxySession,
    RelaySettings,
    Runtime,
    SessionOwner,
    no_answer,
)
from lbcproxy.session import End
from lbcproxy.session.end import STOPPED, STOPPED_AT_ONCE

__all__ = ["PATIENCE", "PendingClient"]

PATIENCE = 10.0
"""Seconds that a client has to say where it wants to go, and then to read why it may not."""


class PendingClient:
    """One session, which becomes a relay's; a subclass finds out where it leads.

    It calls `lead` or `refuse`. Of a client that is refused observers are not told, since there is
    no session to tell of: the log says it in one line.
    """

    log = Logger(observer=LOG_FILTER)

    def __init__(
        self, number: int, settings: RelaySettings, runtime: Runtime, owner: SessionOwner
    ) -> None:
        self.number = number
        self.settings = settings
        self.runtime = runtime
        self._owner = owner
        self._relay: Relay | None = None
        self._why = ""
        self._timer: Any = None
        self.client = RelayPeer(self)

    # What a subclass calls.

    def lead(
        self,
        upstream: Endpoint,
        *,
        early: bytes = b"",
        answer: Answer = no_answer,
        reached: Endpoint | None = None,
    ) -> None:
        """Hand the connection over; `early` is what the client has said already to the upstream.

        See `Relay` for the others.
        """
        if self._why:
            return
        self._stop_timer()
        self.log.info(
            "[#{session} {client}] wants to go to {upstream}",
            session=self.number,
            client=self.client.address,
            upstream=upstream,
        )
        settings = msgspec.structs.replace(self.settings, upstreams=(upstream,))
        self._relay = Relay(
            self.number, settings, self.runtime, self, answer=answer, reached=reached
        )
        self.client.hand_over(self._relay.client)
        if early:
            self._relay.client.dataReceived(early)

    def refuse(self, why: str) -> None:
        """End the connection, after what has been written, with one line in the log."""
        if self._why:
            return
        self._why = why
        self._stop_timer()
        self.log.warn(
            "[#{session} {client}] refused: {why}",
            session=self.number,
            client=self.client.address,
            why=why,
        )
        self.client.close()
        if self.client.is_open:
            self._timer = self.runtime.clock.callLater(PATIENCE, self.client.abort)

    # What the client's connection tells.

    def peer_connected(self, peer: RelayPeer) -> None:
        """Wait for what the client says, but not for ever."""
        self._timer = self.runtime.clock.callLater(
            PATIENCE, self.refuse, f"it has not said in {PATIENCE:g} s where it wants to go"
        )

    def peer_received(self, peer: RelayPeer, data: bytes) -> None:
        """Listen to what the client says."""

    def peer_finished(self, peer: RelayPeer) -> None:
        """End: there is nothing more to be heard."""
        self.refuse("it closed before it had said where it wants to go")

    def peer_closed(self, peer: RelayPeer, *, reset: bool) -> None:
        """Be forgotten."""
        self.refuse("it broke off before it had said where it wants to go")
        self._stop_timer()
        self._owner.session_ended(self)

    def peer_full(self, peer: RelayPeer) -> None:
        """Nothing: what it is told are a few bytes."""

    def peer_drained(self, peer: RelayPeer) -> None:
        """Nothing either."""

    # What the service asks.

    def plugins_changed(self) -> None:
        """Have the plugins as their files are now; before it is led they are asked nothing."""
        if self._relay is not None:
            self._relay.plugins_changed()

    def change_faults(self, faults: Sequence[Fault]) -> None:
        """Have other faults, from where it is led on."""
        self.settings = msgspec.structs.replace(self.settings, faults=tuple(faults))
        if self._relay is not None:
            self._relay.change_faults(faults)

    @property
    def held(self) -> int:
        """Bytes that the session holds; what a client says before is a kilobyte at most."""
        return 0 if self._relay is None else self._relay.held

    def reduce_memory(self) -> None:
        """Hold less."""
        if self._relay is not None:
            self._relay.reduce_memory()

    def stop(self, end: End = STOPPED) -> None:
        """End the session in order."""
        if self._relay is None:
            self.refuse(end.text)
        else:
            self._relay.stop(end)

    def abort(self) -> None:
        """End the session at once."""
        if self._relay is None:
            self._why = STOPPED_AT_ONCE.text
            self.client.abort()
        else:
            self._relay.abort()

    def session_ended(self, relay: ProxySession) -> None:
        """Pass on that the session is over."""
        self._owner.session_ended(self)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
