"""Connects the upstream leg of a session, again if the first connection turns out to be useless."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer import RelayPeer
from lbcproxy.peer.dial import CONNECT_ERRORS, connect
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.proxy.settings import Answer, RelaySettings, Runtime, no_answer

__all__ = ["DialOwner", "UpstreamDial"]


class DialOwner(Protocol):
    """The session that dials."""

    number: int

    def upstream_joined(self) -> None:
        """The upstream leg is connected."""

    def upstream_unreachable(self, error: BaseException) -> None:
        """The upstream leg cannot be connected, or dialling was cancelled."""


class UpstreamDial:
    """Dials for one session.

    Args:
        owner: Is told what comes of it.
        settings: Where to dial.
        runtime: Makes the endpoint.
        answer: Returns what the client is sent when dialling is over for the first time.
    """

    log = Logger(namespace="lbcproxy.proxy.relay.Relay", observer=LOG_FILTER)

    def __init__(
        self, owner: DialOwner, settings: RelaySettings, runtime: Runtime, answer: Answer
    ) -> None:
        self._owner = owner
        self._answer = answer
        self._runtime = runtime
        self._endpoint = runtime.dial(settings.upstreams)
        self._dialling: Deferred[Any] | None = None
        self.local: Endpoint | None = None
        """Our address on the upstream leg, once it is connected."""

    @property
    def is_dialling(self) -> bool:
        """Whether it is not known yet what comes of it."""
        return self._dialling is not None

    @property
    def leads_to(self) -> Endpoint:
        """The upstream that is connected or being tried."""
        return self._endpoint.leads_to

    def start(self, peer: RelayPeer) -> None:
        """Connect a peer to the first upstream that answers."""
        self._dialling = connect(self._endpoint, peer)
        self._dialling.addCallbacks(self._joined, self._failed)

    def again(self, peer: RelayPeer) -> None:
        """Connect another peer to the upstream that answered."""
        self.local = None
        self._endpoint = self._runtime.dial((self.leads_to,))
        self.start(peer)

    def answer(self, outcome: Endpoint | BaseException) -> bytes:
        """Return what the client is sent when dialling is over; nothing the second time."""
        answer, self._answer = self._answer, no_answer
        return answer(outcome)

    def cancel(self) -> None:
        """Give up, if it is not known yet what comes of it."""
        if self._dialling is not None:
            self._dialling.cancel()

    def _joined(self, peer: RelayPeer) -> None:
        self._dialling = None
        self.local = peer.local_address
        self._owner.upstream_joined()

    def _failed(self, failure: Failure) -> None:
        self._dialling = None
        if not failure.check(*CONNECT_ERRORS):
            self.log.failure("session {number}: cannot dial", failure, number=self._owner.number)
        assert failure.value is not None
        self._owner.upstream_unreachable(failure.value)
