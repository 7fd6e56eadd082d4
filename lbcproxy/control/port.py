"""The port at which the control API listens."""

from __future__ import annotations

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from lbcproxy.control.api import Api
from lbcproxy.control.http import make_site
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.reactor import ListeningPort, Reactor

__all__ = ["CannotControl", "ControlPort"]

OWNER_ONLY = 0o600
LOG = Logger(namespace="lbcproxy.control", observer=LOG_FILTER)


class CannotControl(LbcproxyError):
    """The control API cannot listen; the text says where and why."""

    hint = "`control` takes another address, or null for none"


class ControlPort:
    """The listener of the control API, which can move to another address."""

    def __init__(self, reactor: Reactor, api: Api) -> None:
        self._reactor = reactor
        self._api = api
        self._port: ListeningPort | None = None
        self.address: Endpoint | str | None = None
        """The address that was configured; None if it does not listen."""

    @property
    def listening(self) -> str:
        """The actual address, with the port that was picked."""
        if isinstance(self.address, Endpoint) and self._port is not None:
            return str(self.address._replace(port=self._port.getHost().port))
        return str(self.address)

    def open(self, address: Endpoint | str) -> None:
        """Listen at an address, or at the path of a UNIX socket; raises CannotControl."""
        site = make_site(self._api, local=isinstance(address, str))
        try:
            if isinstance(address, str):
                self._port = self._reactor.listenUNIX(address, site, mode=OWNER_ONLY, wantPID=True)
            else:
                host = "127.0.0.1" if address.host == "localhost" else address.host
                self._port = self._reactor.listenTCP(address.port, site, interface=host)
        except CannotListenError as error:
            cause = getattr(error, "socketError", error)
            reason = getattr(cause, "strerror", None) or str(cause)
            raise CannotControl(f"control: cannot listen at {address}: {reason}") from None
        self.address = address

    def move(self, address: Endpoint | str | None) -> None:
        """Listen at another address, or at none; a failure is logged."""
        closed = self.close()
        if address is not None:
            closed.addCallback(lambda _: self._reopen(address))

    def _reopen(self, address: Endpoint | str) -> None:
        try:
            self.open(address)
        except CannotControl as error:
            LOG.error("{error}", error=error)
        else:
            self.log_address()

    def log_address(self) -> None:
        """Log where it listens, if it does."""
        if self.address is not None:
            LOG.info("control: listening at {where}", where=self.listening)

    def close(self) -> Deferred[None]:
        """Stop listening; the Deferred fires when the port is free."""
        port, self._port, self.address = self._port, None, None
        if port is None:
            return maybeDeferred(lambda: None)
        return maybeDeferred(port.stopListening)
