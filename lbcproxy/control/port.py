"""Where the control API listens."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from lbcproxy.control.api import Api
from lbcproxy.control.http import make_site
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.peer.log import LOG_FILTER

__all__ = ["CannotControl", "ControlPort"]

ONLY_OURS = 0o600
LOG = Logger(namespace="lbcproxy.control", observer=LOG_FILTER)


class CannotControl(LbcproxyError):
    """The control API cannot listen; the text says where and why."""

    hint = "`control` takes another address, or null for none"


class ControlPort:
    """The listener of the API, which can be moved."""

    def __init__(self, reactor: Any, api: Api) -> None:
        self._reactor = reactor
        self._api = api
        self._port: Any = None
        self.address: Endpoint | str | None = None
        """Where it was told to listen."""

    @property
    def where(self) -> str:
        """Where it does, with the port that was picked."""
        if isinstance(self.address, Endpoint) and self._port is not None:
            return str(self.address._replace(port=self._port.getHost().port))
        return str(self.address)

    def open(self, address: Endpoint | str) -> None:
        """Listen; raises CannotControl."""
        site = make_site(self._api, local=isinstance(address, str))
        try:
            if isinstance(address, str):
                self._port = self._reactor.listenUNIX(address, site, mode=ONLY_OURS, wantPID=True)
            else:
                host = "127.0.0.1" if address.host == "localhost" else address.host
                self._port = self._reactor.listenTCP(address.port, site, interface=host)
        except CannotListenError as error:
            reason = getattr(error, "socketError", error)
            why = getattr(reason, "strerror", None) or str(reason)
            raise CannotControl(f"control: cannot listen at {address}: {why}") from None
        self.address = address

    def move(self, address: Endpoint | str | None) -> None:
        """Listen elsewhere, or nowhere; what cannot be is logged."""
        closed = self.close()
        if address is not None:
            closed.addCallback(lambda _: self._open_again(address))

    def _open_again(self, address: Endpoint | str) -> None:
        try:
            self.open(address)
        except CannotControl as error:
            LOG.error("{error}", error=error)
        else:
            self.say()

    def say(self) -> None:
        """Say where it listens, if it does."""
        if self.address is not None:
            LOG.info("control: listening at {where}", where=self.where)

    def close(self) -> Deferred[Any]:
        """Listen no more; fires when the port is free."""
        port, self._port, self.address = self._port, None, None
        return maybeDeferred(lambda: None) if port is None else maybeDeferred(port.stopListening)
