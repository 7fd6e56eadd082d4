"""A client's connection before its destination is known.

Once it is known, the connection is handed over to a relay, which starts as for any other client.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from twisted.logger import Logger

from lbcproxy.clock import DelayedCall
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

__all__ = ["DESTINATION_TIMEOUT", "PendingClient"]

DESTINATION_TIMEOUT = 10.0
"""Seconds that a client has to name its destination, and then to read why it is refused."""


class PendingClient:
    """A session whose destination is not known yet.

    A subclass finds it out, and calls `lead` or `refuse`. A client that is refused never has a
    session that observers see: only the log has a line about it.
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
        self._refused = ""
        self._timer: DelayedCall | None = None
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
        """Hand the connection over to a relay.

        Args:
            upstream: The destination.
            early: What the client has already sent to the upstream.
            answer: See `Relay`.
            reached: See `Relay`.
        """
        if self._refused:
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

    def refuse(self, reason: str) -> None:
        """Log a reason and close the connection, after what has been written."""
        if self._refused:
            return
        self._refused = reason
        self._stop_timer()
        self.log.warn(
            "[#{session} {client}] refused: {why}",
            session=self.number,
            client=self.client.address,
            why=reason,
        )
        self.client.close()
        if self.client.is_open:
            self._timer = self.runtime.clock.callLater(DESTINATION_TIMEOUT, self.client.abort)

    # Events of the client's connection.

    def peer_connected(self, peer: RelayPeer) -> None:
        """Start the timeout for the destination."""
        self._timer = self.runtime.clock.callLater(
            DESTINATION_TIMEOUT,
            self.refuse,
            f"it has not said in {DESTINATION_TIMEOUT:g} s where it wants to go",
        )

    def peer_received(self, peer: RelayPeer, data: bytes) -> None:
        """Ignore bytes; a subclass reads the destination from them."""

    def peer_finished(self, peer: RelayPeer) -> None:
        """Refuse the client: it cannot name a destination any more."""
        self.refuse("it closed before it had said where it wants to go")

    def peer_closed(self, peer: RelayPeer, *, reset: bool) -> None:
        """Notify the owner that the session has ended."""
        self.refuse("it disconnected before it had said where it wants to go")
        self._stop_timer()
        self._owner.session_ended(self)

    def peer_full(self, peer: RelayPeer) -> None:
        """Do nothing: we only send a few bytes."""

    def peer_drained(self, peer: RelayPeer) -> None:
        """Do nothing."""

    # What the service calls.

    def plugins_changed(self) -> None:
        """Use the plugins as they have been reloaded. Before there is a relay there are none."""
        if self._relay is not None:
            self._relay.plugins_changed()

    def change_faults(self, faults: Sequence[Fault]) -> None:
        """Replace the faults, or those of the relay to come."""
        self.settings = msgspec.structs.replace(self.settings, faults=tuple(faults))
        if self._relay is not None:
            self._relay.change_faults(faults)

    @property
    def held(self) -> int:
        """Bytes that the relay buffers. Before there is one they are a kilobyte at most."""
        return 0 if self._relay is None else self._relay.held

    def reduce_memory(self) -> None:
        """Buffer less, if there is a relay."""
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
            self._refused = STOPPED_AT_ONCE.text
            self.client.abort()
        else:
            self._relay.abort()

    def session_ended(self, relay: ProxySession) -> None:
        """Notify the owner that the session is over."""
        self._owner.session_ended(self)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
