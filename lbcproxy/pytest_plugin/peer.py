"""A peer that does what a test says: it expects messages, and sends them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer import NonceCache, Peer, PeerConfig
from lbcproxy.peer.dial import CONNECT_ERRORS, client_endpoint, connect, reason_of
from lbcproxy.pytest_plugin.future import Answer
from lbcproxy.pytest_plugin.loop import Loop
from lbcproxy.pytest_plugin.mismatch import field_lines
from lbcproxy.replay.comparing.fields import differing
from lbcproxy.session import Message
from lbcproxy.text import printable
from lbcproxy.wire import Codec
from lbcproxy.wire.record import MessageRecord
from lbcproxy.wire.registry import record_of

__all__ = ["ScriptedPeer", "Unmet"]

MOST_NAMED = 30


class Unmet(AssertionError):
    """The code under test did not do what a scripted peer expected of it."""


class ScriptedPeer:
    """One end of a connection, moved by a test: it shakes hands and answers pings by itself.

    It listens from when its address is asked for, or connects. One client at a time: another may
    come when the one before has left. All methods may be called from any thread.
    """

    def __init__(self, loop: Loop, config: PeerConfig, timeout: float) -> None:
        self._loop = loop
        self._script = _Script(loop.reactor, config, timeout)
        self._codec = Codec(config.network)
        self._timeout = timeout
        self._address: Endpoint | None = None
        self._answers: list[Answer[Any]] = []

    def __repr__(self) -> str:
        return f"<ScriptedPeer {self._address or 'not listening'}>"

    # Where it is.

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

    def connect(self, host: str, port: int) -> Answer[None]:
        """Connect to code that listens; there when the handshake is done."""
        where = Endpoint(host, port)
        return self._wait(f"a handshake with {where}", self._script.connect, where)

    # What it does.

    def expect(self, command: str, timeout: float | None = None, **fields: Any) -> Answer[Any]:
        """Wait for the next message of a command that was not expected before; gives its record.

        Messages of other commands stay, to be expected later. With fields, the message must have
        them. Fails with `Unmet`, an AssertionError, if the message has others, if none comes in
        time, or if the connection ends before. Raises ValueError for a command without a record,
        TypeError for a field it has not.
        """
        record = record_of(command)
        if record is None:
            raise ValueError(f"{command!r} is no command that can be read, so none to expect")
        if strange := sorted(fields.keys() - set(record.__struct_fields__)):
            raise TypeError(f"{command} has no field {', '.join(strange)}")
        seconds = self._timeout if timeout is None else timeout
        return self._wait(command, self._script.expect, command, seconds, fields)

    def send(self, message: MessageRecord | str, **fields: Any) -> None:
        """Send a record, or one of a command made of its fields, when the handshake is done.

        Raises ValueError for a command without a record, TypeError for wrong fields,
        `wire.BadRecord` for what cannot be encoded, Unmet if the connection has ended.
        """
        if isinstance(message, str):
            kind = record_of(message)
            if kind is None:
                raise ValueError(f"{message!r} is no command with a record: use send_bytes")
            message = kind(**fields)
        self._codec.encode(message)  # what is wrong with it is told here
        self._loop.call(self._script.do, lambda peer: peer.send(message, witness=True))

    def send_bytes(self, data: bytes) -> None:
        """Write bytes as they are, right or wrong, at once behind what was sent before."""
        self._loop.call(self._script.do, lambda peer: peer.write(data))

    def disconnect(self) -> None:
        """End the connection."""
        self._loop.call(self._script.do, lambda peer: peer.disconnect("the script says so"))

    def when_ready(self) -> Answer[None]:
        """Wait for the handshake."""
        return self._wait("the handshake", self._script.ready, self._timeout)

    def when_disconnected(self) -> Answer[str]:
        """Wait for the end of the connection; gives why."""
        return self._wait("the end of the connection", self._script.gone, self._timeout)

    @property
    def received(self) -> Sequence[Message]:
        """All messages that came, expected or not, in order."""
        messages: list[Message] = self._loop.call(lambda: list(self._script.received))
        return messages

    # What the plugin asks for.

    def problem(self) -> str:
        """Return what the test expected and never looked at."""
        forgotten = [repr(each) for each in self._answers if not each.asked]
        if not forgotten:
            return ""
        return (
            f"expected and never waited for: {', '.join(forgotten)}\n"
            "await what expect() gives, or call its result()"
        )

    def words(self) -> str:
        """Return what came."""
        return f"scripted peer: {self._loop.call(self._script.story)}"

    def finish(self, *, passed: bool) -> str:
        """End."""
        self._loop.call(self._script.stop)
        return ""

    def _wait(self, what: str, function: Callable[..., Any], *arguments: Any) -> Answer[Any]:
        answer = self._loop.start(what, function, *arguments)
        self._answers.append(answer)
        return answer


class _Waiting:
    """Somebody who waits: for a command, for the handshake, or for the end."""

    def __init__(self, what: str, fields: dict[str, Any]) -> None:
        self.what = what
        self.fields = fields
        self.done: Deferred[Any] = Deferred()
        self.alarm: Any = None


READY, GONE = "(ready)", "(gone)"


class _Script(Factory):
    """What happens in the loop's thread; it is the callbacks of its peers."""

    noisy = False

    def __init__(self, reactor: Any, config: PeerConfig, timeout: float) -> None:
        self._reactor = reactor
        self._config = config
        self._timeout = timeout
        self._port: Any = None
        self._peer: Peer | None = None
        self._ended = ""
        self._pending: list[Callable[[Peer], object]] = []
        self._waiting: list[_Waiting] = []
        self._unexpected: deque[Message] = deque()
        self.received: list[Message] = []

    # Connections.

    def listen(self) -> Endpoint:
        """Begin to take clients."""
        self._port = self._reactor.listenTCP(0, self, interface="127.0.0.1")
        return Endpoint("127.0.0.1", self._port.getHost().port)

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Take a client, if there is none."""
        return None if self._peer is not None else self._new(inbound=True)

    async def connect(self, where: Endpoint) -> None:
        """Connect and shake hands."""
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
        """End everything; who still waits does not any more."""
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
            nonces=NonceCache(),  # the code under test may be of this process
        )
        self._ended = ""
        pending, self._pending = self._pending, []
        for each in pending:
            each(peer)
        return peer

    # What the test says.

    def do(self, what: Callable[[Peer], object]) -> None:
        """Do something with the connection; if nobody ever came, when somebody does."""
        if self._peer is not None:
            what(self._peer)
        elif self._ended:
            raise Unmet(f"the connection has ended: {self._ended}")
        else:
            self._pending.append(what)

    def expect(self, command: str, seconds: float, fields: dict[str, Any]) -> Deferred[Any]:
        """Wait for a message."""
        waiting = _Waiting(command, fields)
        for message in self._unexpected:
            if message.command == command:
                self._unexpected.remove(message)
                self._meet(waiting, message)
                return waiting.done
        return self._wait(waiting, seconds)

    def ready(self, seconds: float) -> Deferred[Any]:
        """Wait for the handshake."""
        waiting = _Waiting(READY, {})
        if self._peer is not None and self._peer.is_ready:
            waiting.done.callback(None)
            return waiting.done
        return self._wait(waiting, seconds)

    def gone(self, seconds: float) -> Deferred[Any]:
        """Wait for the end."""
        waiting = _Waiting(GONE, {})
        if self._ended:
            waiting.done.callback(self._ended)
            return waiting.done
        return self._wait(waiting, seconds)

    def story(self) -> str:
        """Return what came, and whether anybody is there."""
        names = [printable(each.command) for each in self.received]
        more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
        came = f"received {', '.join(names[:MOST_NAMED])}{more}" if names else "received nothing"
        if self._peer is not None:
            return came
        return f"{came}; the connection ended: {self._ended}" if self._ended else "nobody connected"

    # What the peer tells.

    def on_message(self, peer: Peer, message: Message) -> None:
        """Return it to who waits for it, or keep it."""
        self.received.append(message)
        for each in self._waiting:
            if each.what == message.command:
                self._take(each)
                self._meet(each, message)
                return
        self._unexpected.append(message)

    def on_ready(self, peer: Peer) -> None:
        """Tell who waits for it."""
        self._tell(READY, None)

    def on_disconnected(self, peer: Peer, why: str) -> None:
        """Tell everybody."""
        if peer is self._peer:
            self._peer = None
            self._ended = why
            self._tell(GONE, why)
            for each in list(self._waiting):
                self._fail(each, f"the connection ended before: {why}")

    def _wait(self, waiting: _Waiting, seconds: float) -> Deferred[Any]:
        self._waiting.append(waiting)
        waiting.alarm = self._reactor.callLater(
            seconds, self._fail, waiting, f"it did not come within {seconds:g} s"
        )
        return waiting.done

    def _take(self, waiting: _Waiting) -> None:
        self._waiting.remove(waiting)
        if waiting.alarm.active():
            waiting.alarm.cancel()

    def _tell(self, what: str, value: object) -> None:
        for each in [each for each in self._waiting if each.what == what]:
            self._take(each)
            each.done.callback(value)

    def _fail(self, waiting: _Waiting, why: str) -> None:
        self._take(waiting)
        what = {READY: "a handshake", GONE: "the end of the connection"}.get(
            waiting.what, waiting.what
        )
        waiting.done.errback(Failure(Unmet(f"expected {what}: {why}\n{self.story()}")))

    def _meet(self, waiting: _Waiting, message: Message) -> None:
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
