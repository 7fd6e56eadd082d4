"""A peer that a test controls: it expects messages, and sends them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from lbcproxy.clock import DelayedCall
from lbcproxy.endpoint import Endpoint
from lbcproxy.peer import NonceCache, Peer, PeerConfig
from lbcproxy.peer.dial import CONNECT_ERRORS, client_endpoint, connect, reason_of
from lbcproxy.pytest_plugin.future import PendingResult
from lbcproxy.pytest_plugin.loop import Loop
from lbcproxy.pytest_plugin.mismatch import field_lines
from lbcproxy.reactor import ListeningPort, Reactor
from lbcproxy.replay.comparing.fields import differing
from lbcproxy.session import Message
from lbcproxy.text import printable
from lbcproxy.wire import Codec
from lbcproxy.wire.construct_types import FieldValue
from lbcproxy.wire.record import MessageRecord
from lbcproxy.wire.registry import record_of

__all__ = ["ScriptedPeer", "Unmet"]

MAX_NAMED = 30


class Unmet(AssertionError):
    """The code under test did not do what a scripted peer expected."""


class ScriptedPeer:
    """One end of a connection that a test controls. Handshake and pongs are automatic.

    It starts to listen when its address is read, or it connects. It accepts one client at a time;
    another may connect after that one has left. All methods may be called from any thread.
    """

    def __init__(self, loop: Loop, config: PeerConfig, timeout: float) -> None:
        self._loop = loop
        self._script = _Script(loop.reactor, config, timeout)
        self._codec = Codec(config.network)
        self._timeout = timeout
        self._address: Endpoint | None = None
        self._answers: list[PendingResult[FieldValue]] = []

    def __repr__(self) -> str:
        return f"<ScriptedPeer {self._address or 'not listening'}>"

    # Addresses and connecting.

    @property
    def address(self) -> Endpoint:
        """Host and port at which it listens, as a tuple that prints as HOST:PORT."""
        if self._address is None:
            self._address = self._loop.call(self._script.listen)
        return self._address

    @property
    def host(self) -> str:
        """The host to connect to."""
        return self.address.host

    @property
    def port(self) -> int:
        """The port to connect to."""
        return self.address.port

    def connect(self, host: str, port: int) -> PendingResult[None]:
        """Connect to the code under test; the result arrives after the handshake."""
        where = Endpoint(host, port)
        return self._wait(f"a handshake with {where}", self._script.connect, where)

    # The script.

    def expect(
        self, command: str, timeout: float | None = None, **fields: FieldValue
    ) -> PendingResult[FieldValue]:
        """Wait for the next message of a command that has not been expected before.

        Messages of other commands are kept and can be expected later.

        Args:
            command: The command.
            timeout: Seconds to wait; None for the timeout of the settings.
            fields: Values that the message must have.

        Returns:
            The record. Fails with `Unmet`, an AssertionError, if a field has another value, the
            message does not arrive in time, or the connection ends first.

        Raises:
            ValueError: For a command without a record.
            TypeError: For a field that the command does not have.
        """
        record = record_of(command)
        if record is None:
            raise ValueError(f"{command!r} has no record, so it cannot be expected")
        if strange := sorted(fields.keys() - set(record.__struct_fields__)):
            raise TypeError(f"{command} has no field {', '.join(strange)}")
        seconds = self._timeout if timeout is None else timeout
        return self._wait(command, self._script.expect, command, seconds, fields)

    def send(self, message: MessageRecord | str, **fields: FieldValue) -> None:
        """Send a message after the handshake.

        Args:
            message: A record, or a command.
            fields: The fields of the command's record.

        Raises:
            ValueError: For a command without a record.
            TypeError: For wrong fields.
            wire.BadRecord: If the record cannot be encoded.
            Unmet: If the connection has ended.
        """
        if isinstance(message, str):
            kind = record_of(message)
            if kind is None:
                raise ValueError(f"{message!r} has no record: use send_bytes")
            message = kind(**fields)
        self._codec.encode(message)  # raises in the test's thread
        self._loop.call(self._script.do, lambda peer: peer.send(message, witness=True))

    def send_bytes(self, data: bytes) -> None:
        """Write raw bytes, valid or not, directly after what was sent before."""
        self._loop.call(self._script.do, lambda peer: peer.write(data))

    def disconnect(self) -> None:
        """Close the connection."""
        self._loop.call(self._script.do, lambda peer: peer.disconnect("the script says so"))

    def when_ready(self) -> PendingResult[None]:
        """Wait for the handshake."""
        return self._wait("the handshake", self._script.ready, self._timeout)

    def when_disconnected(self) -> PendingResult[str]:
        """Wait for the end of the connection; the result is the reason."""
        return self._wait("the end of the connection", self._script.gone, self._timeout)

    @property
    def received(self) -> Sequence[Message]:
        """All received messages, expected or not, in order."""
        messages: list[Message] = self._loop.call(lambda: list(self._script.received))
        return messages

    # Called by the plugin.

    def problem(self) -> str:
        """Return an error if the test never awaited an expectation."""
        forgotten = [each.what for each in self._answers if not each.is_awaited]
        if not forgotten:
            return ""
        return (
            f"expected but never awaited: {', '.join(forgotten)}\n"
            "await what expect() returns, or call its result()"
        )

    def details(self) -> str:
        """Return the received commands."""
        return f"scripted peer: {self._loop.call(self._script.story)}"

    def finish(self, *, passed: bool) -> str:
        """Stop the peer."""
        self._loop.call(self._script.stop)
        return ""

    def _wait(
        self, what: str, function: Callable[..., object], *arguments: object
    ) -> PendingResult[FieldValue]:
        answer = self._loop.start(what, function, *arguments)
        self._answers.append(answer)
        return answer


class _Expectation:
    """A wait for a command, the handshake, or the end of the connection."""

    def __init__(self, what: str, fields: dict[str, FieldValue]) -> None:
        self.what = what
        self.fields = fields
        self.done: Deferred[object] = Deferred()
        self.timer: DelayedCall | None = None


READY, GONE = "(ready)", "(gone)"


class _Script(Factory):
    """The part in the loop's thread; the callbacks of its peers."""

    noisy = False

    def __init__(self, reactor: Reactor, config: PeerConfig, timeout: float) -> None:
        self._reactor = reactor
        self._config = config
        self._timeout = timeout
        self._port: ListeningPort | None = None
        self._peer: Peer | None = None
        self._ended = ""
        self._pending: list[Callable[[Peer], object]] = []
        self._waiting: list[_Expectation] = []
        self._unexpected: deque[Message] = deque()
        self.received: list[Message] = []

    # Connections.

    def listen(self) -> Endpoint:
        """Start listening."""
        self._port = self._reactor.listenTCP(0, self, interface="127.0.0.1")
        return Endpoint("127.0.0.1", self._port.getHost().port)

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Accept a client if there is none."""
        return None if self._peer is not None else self._new(inbound=True)

    async def connect(self, where: Endpoint) -> None:
        """Connect, and wait for the handshake."""
        if self._peer is not None:
            raise Unmet(f"connected already, with {self._peer.address}")
        peer = self._new(inbound=False)
        try:
            await connect(client_endpoint(self._reactor, where, self._timeout), peer)
        except CONNECT_ERRORS as error:
            peer.disconnect("no connection")
            raise Unmet(f"{where}: {reason_of(error)}") from None
        await self.ready(self._timeout)

    async def stop(self) -> None:
        """Stop listening, close the connection, and fail all waits."""
        for each in list(self._waiting):
            self._fail(each, "the test is over")
        if self._port is not None:
            await self._port.stopListening()
        peer = self._peer
        if peer is not None:
            gone = peer.when_disconnected()
            peer.disconnect("the test is over")
            peer.abort()
            await gone

    def _new(self, *, inbound: bool) -> Peer:
        peer = self._peer = Peer(
            self._config,
            inbound=inbound,
            clock=self._reactor,
            callbacks=self,
            nonces=NonceCache(),  # the code under test may be in this process
        )
        self._ended = ""
        pending, self._pending = self._pending, []
        for each in pending:
            each(peer)
        return peer

    # Calls of the test.

    def do(self, what: Callable[[Peer], object]) -> None:
        """Call a function with the connection, once there is one."""
        if self._peer is not None:
            what(self._peer)
        elif self._ended:
            raise Unmet(f"the connection has ended: {self._ended}")
        else:
            self._pending.append(what)

    def expect(
        self, command: str, seconds: float, fields: dict[str, FieldValue]
    ) -> Deferred[object]:
        """Wait for a message."""
        waiting = _Expectation(command, fields)
        for message in self._unexpected:
            if message.command == command:
                self._unexpected.remove(message)
                self._meet(waiting, message)
                return waiting.done
        return self._wait(waiting, seconds)

    def ready(self, seconds: float) -> Deferred[object]:
        """Wait for the handshake."""
        waiting = _Expectation(READY, {})
        if self._peer is not None and self._peer.is_ready:
            waiting.done.callback(None)
            return waiting.done
        return self._wait(waiting, seconds)

    def gone(self, seconds: float) -> Deferred[object]:
        """Wait for the end."""
        waiting = _Expectation(GONE, {})
        if self._ended:
            waiting.done.callback(self._ended)
            return waiting.done
        return self._wait(waiting, seconds)

    def story(self) -> str:
        """Return what was received, and the state of the connection."""
        names = [printable(each.command) for each in self.received]
        more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
        came = f"received {', '.join(names[:MAX_NAMED])}{more}" if names else "received nothing"
        if self._peer is not None:
            return came
        return f"{came}; the connection ended: {self._ended}" if self._ended else "nobody connected"

    # Callbacks of the peer.

    def on_message(self, peer: Peer, message: Message) -> None:
        """Complete the wait for a message, or keep the message."""
        self.received.append(message)
        for each in self._waiting:
            if each.what == message.command:
                self._take(each)
                self._meet(each, message)
                return
        self._unexpected.append(message)

    def on_ready(self, peer: Peer) -> None:
        """Complete the waits for the handshake."""
        self._tell(READY, None)

    def on_disconnected(self, peer: Peer, why: str) -> None:
        """Complete the waits for the end, and fail all others."""
        if peer is self._peer:
            self._peer = None
            self._ended = why
            self._tell(GONE, why)
            for each in list(self._waiting):
                self._fail(each, f"the connection ended before: {why}")

    def _wait(self, waiting: _Expectation, seconds: float) -> Deferred[object]:
        self._waiting.append(waiting)
        waiting.timer = self._reactor.callLater(
            seconds, self._fail, waiting, f"it did not arrive within {seconds:g} s"
        )
        return waiting.done

    def _take(self, waiting: _Expectation) -> None:
        self._waiting.remove(waiting)
        if waiting.timer is not None and waiting.timer.active():
            waiting.timer.cancel()

    def _tell(self, what: str, value: object) -> None:
        for each in [each for each in self._waiting if each.what == what]:
            self._take(each)
            each.done.callback(value)

    def _fail(self, waiting: _Expectation, why: str) -> None:
        self._take(waiting)
        what = {READY: "a handshake", GONE: "the end of the connection"}.get(
            waiting.what, waiting.what
        )
        waiting.done.errback(Failure(Unmet(f"expected {what}: {why}\n{self.story()}")))

    def _meet(self, waiting: _Expectation, message: Message) -> None:
        record = message.record
        if record is None:
            waiting.done.errback(Failure(Unmet(f"expected {waiting.what}: {message.error}")))
            return
        wanted = msgspec.structs.replace(record, **waiting.fields)
        if wanted == record:
            waiting.done.callback(record)
            return
        fields = list(differing(wanted.to_dict(), record.to_dict()))
        lines = "\n".join(f"  {line}" for line in field_lines(fields, ("expected", "received")))
        waiting.done.errback(Failure(Unmet(f"{waiting.what} differs\n{lines}")))
