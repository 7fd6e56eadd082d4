"""A client of a node, built on `lbcproxy.peer`: connect, do the handshake, ask, disconnect.

It doubles as an example. `Probe` connects and asks one question after the other. Its peer calls
a `MessageListener`, which passes each message on to the question that is waiting.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypedDict, TypeVar, cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.networks import Network
from lbcproxy.peer import (
    NonceCache,
    Peer,
    PeerClosed,
    PeerConfig,
    PeerStatistics,
    StallMode,
    Timeouts,
    Transport,
)
from lbcproxy.peer.dial import (
    CONNECT_ERRORS,
    client_endpoint,
    connect,
    reason_of,
    transports_to_try,
)
from lbcproxy.reactor import Reactor
from lbcproxy.session import Message
from lbcproxy.text import printable
from lbcproxy.wire import BadRecord
from lbcproxy.wire.addresses import address_text
from lbcproxy.wire.hashes import display, sha256d
from lbcproxy.wire.messages.addresses import Addr, AddressV2, AddrV2, GetAddr, TimedAddress
from lbcproxy.wire.messages.handshake import Service
from lbcproxy.wire.messages.headers import Headers
from lbcproxy.wire.messages.inventory import Inv, InvType
from lbcproxy.wire.messages.keepalive import MemPool, Ping, Pong

__all__ = ["QUESTIONS", "Probe", "ProbeFailed", "ProbeReport"]

QUESTIONS = ("headers", "ping", "addresses", "mempool")
"""What can be asked, in order. `mempool` is last, because some nodes disconnect on it."""
MAX_COLLECTED = 1_000_000
"""Addresses or transactions of one answer; what a node sends beyond that is ignored."""
R = TypeVar("R")

TRANSACTIONS = (InvType.TX, InvType.WTX, InvType.WITNESS_TX)


class ProbeFailed(LbcproxyError):
    """The handshake failed; the text names the node and the reason."""


class NoAnswer(Exception):
    """A question was not answered; the text says why."""


class ProbeAnswer(TypedDict, total=False):
    """The answer to a question, as `--json` prints it; `error` alone if there is none."""

    error: str
    ms: float
    count: int
    first: str
    last: str
    addresses: list[str]
    transactions: list[str]


class ProbeReport(msgspec.Struct):
    """What a node said about itself, and what it answered."""

    node: PeerStatistics
    connect_ms: float
    handshake_ms: float
    session_id: bytes | None = None
    """32 bytes that the node can show too, if the connection is encrypted."""
    answers: dict[str, ProbeAnswer] = {}
    """By question."""

    @property
    def complete(self) -> bool:
        """Whether every question was answered."""
        return not any("error" in answer for answer in self.answers.values())


class MessageListener:
    """The callbacks of the peer: passes each message to a function."""

    def __init__(self) -> None:
        self.receive: Callable[[object], None] | None = None

    def on_message(self, peer: Peer, message: Message) -> None:
        """Pass a message on."""
        if self.receive is not None:
            self.receive(message.record)


class Probe:
    """One connection to a node.

    Args:
        reactor: Twisted's reactor, or a clock that can also connect.
        network: The network of the node.
        address: Where the node listens.
        timeout: The time limit for each step, in seconds.
        transport: How the connection carries messages: V1, V2, or AUTO for V2 and then V1 if the
            node cannot encrypt.

    Raises:
        MissingLibrary: V2 was asked for, and the library for it is not installed.
    """

    def __init__(
        self,
        reactor: Reactor,
        network: Network,
        address: Endpoint,
        timeout: float,
        transport: Transport = Transport.V1,
    ) -> None:
        self._reactor = reactor
        self._network = network
        self._address = address
        self._timeout = timeout
        self._listener = MessageListener()
        self._stopped = False
        self._transports = transports_to_try(transport)
        self.peer = self._new_peer(self._transports[0])

    def _new_peer(self, transport: Transport) -> Peer:
        timeout = self._timeout
        config = PeerConfig(
            network=self._network,
            transport=transport,
            user_agent_name="probe",
            relay=False,
            stall=StallMode.OFF,  # each step has a timeout
            timeouts=Timeouts(negotiate=timeout + 1, idle=timeout + 300),
        )
        return Peer(
            config,
            inbound=False,
            clock=self._reactor,
            callbacks=self._listener,
            address=str(self._address),
            nonces=NonceCache(),
        )

    def stop(self) -> None:
        """Disconnect; `run` then raises ProbeFailed, or returns what it has."""
        self._stopped = True
        self.peer.disconnect()

    def abort(self) -> None:
        """Abort the connection."""
        self._stopped = True
        self.peer.abort()

    async def run(self, questions: tuple[str, ...] = ()) -> ProbeReport:
        """Connect, do the handshake, ask questions, and disconnect.

        Args:
            questions: Some of `QUESTIONS`.

        Raises:
            ProbeFailed: There is no connection, or the handshake failed.
        """
        try:
            connect_ms, handshake_ms = await self._open()
            report = ProbeReport(
                self.peer.snapshot(), connect_ms, handshake_ms, self.peer.session_id
            )
            for question in QUESTIONS:
                if question in questions:
                    report.answers[question] = await self._answer(question)
            return report
        finally:
            self.peer.disconnect()

    async def _open(self) -> tuple[float, float]:
        """Connect and do the handshake; return how long each took, in milliseconds."""
        while True:
            start = self._reactor.seconds()
            await self._connect()
            connected = self._reactor.seconds()
            try:
                await self._handshake()
            except ProbeFailed:
                _, *others = self._transports
                if not others or self._stopped or self.peer.session_id is not None:
                    raise
                self._transports = tuple(others)
                self.peer.abort()
                self.peer = self._new_peer(others[0])
                continue
            ready = self._reactor.seconds()
            return _ms(connected - start), _ms(ready - connected)

    async def _connect(self) -> None:
        endpoint = client_endpoint(self._reactor, self._address, self._timeout + 1)
        try:
            await self._in_time(connect(endpoint, self.peer))  # includes resolving a name
        except (TooLate, ConnectingCancelledError):
            raise self._failed(f"no connection in {self._timeout:g} s") from None
        except CONNECT_ERRORS as error:
            raise self._failed(reason_of(error)) from None

    async def _handshake(self) -> None:
        try:
            await self._in_time(self.peer.when_ready())
        except PeerClosed as error:
            failed = self._failed(f"no handshake: {printable(str(error))}")
            failed.hint = f"is it a node of {self._network.id}?"
            if self.peer.config.transport is Transport.V2:
                failed.hint = f"is it a node of {self._network.id} that encrypts (BIP324)?"
            raise failed from None
        except TooLate:
            raise self._failed(f"no handshake in {self._timeout:g} s") from None

    def _in_time(self, waiting: Deferred[R]) -> Deferred[R]:
        return waiting.addTimeout(self._timeout, cast("IReactorTime", self._reactor))

    def _failed(self, reason: str) -> ProbeFailed:
        return ProbeFailed(f"{printable(str(self._address))}: {reason}")

    # The questions.

    async def _answer(self, question: str) -> ProbeAnswer:
        """Ask a question, and return the answer or why there is none."""
        ask = {
            "headers": self._ask_headers,
            "ping": self._ask_ping,
            "addresses": self._ask_addresses,
            "mempool": self._ask_mempool,
        }[question]
        try:
            return await ask()
        except NoAnswer as error:
            return {"error": str(error)}
        except BadRecord as error:
            return {"error": f"cannot be asked: {error}"}

    async def _ask_headers(self) -> ProbeAnswer:
        self.peer.push_get_headers([sha256d(self._network.genesis)], bytes(32))
        received = await self._first(Headers)
        hashes = [display(each.hash) for each in received.headers]
        answer: ProbeAnswer = {"count": len(hashes)}
        if hashes:
            answer |= {"first": hashes[0], "last": hashes[-1]}
        return answer

    async def _ask_ping(self) -> ProbeAnswer:
        ping = Ping(secrets.randbits(64))
        start = self._reactor.seconds()
        await self.peer.queue_message(ping)
        await self._first(Pong, lambda pong: pong.nonce == ping.nonce)
        return {"ms": _ms(self._reactor.seconds() - start)}

    async def _ask_addresses(self) -> ProbeAnswer:
        """Collect addresses until the timeout, since an answer may take several messages."""
        found: list[str] = []

        def collect(record: object) -> bool:
            if isinstance(record, Addr | AddrV2):
                found.extend(map(_address_of, record.addresses))
            return len(found) >= MAX_COLLECTED

        self.peer.send(GetAddr())
        try:
            await self._first(object, collect)
        except NoAnswer:
            if not found:
                raise
        return {"count": len(found), "addresses": found}

    async def _ask_mempool(self) -> ProbeAnswer:
        """Collect transactions until the pong to a ping that is sent after the first of them.

        An answer may take several messages. The pong to a ping sent with the request does not mean
        that there are none: Core answers with its next announcements, some seconds later.
        """
        found: list[str] = []
        awaited: int | None = secrets.randbits(64)

        def collect(record: object) -> bool:
            nonlocal awaited
            hashes = _transactions_of(record)
            if hashes and not found:
                awaited = secrets.randbits(64)
                self.peer.send(Ping(awaited))
            found.extend(hashes)
            if isinstance(record, Pong) and record.nonce == awaited:
                awaited = None
                return bool(found)
            return len(found) >= MAX_COLLECTED

        await self.peer.queue_message(MemPool())
        self.peer.send(Ping(awaited))
        try:
            await self._first(object, collect)
        except NoAnswer as error:
            if found:
                raise NoAnswer(f"{len(found):,} transactions, then {error}") from None
            if not (self.peer.snapshot().services or 0) & Service.BLOOM:
                raise NoAnswer(f"{error}; without BLOOM a node refuses this question") from None
            if awaited is not None or not self.peer.is_connected:
                raise
        return {"count": len(found), "transactions": found}

    async def _first(self, kind: type[R], wanted: Callable[[R], bool] = lambda _: True) -> R:
        """Wait for the first record of a type that is wanted; raises NoAnswer."""
        found: Deferred[R] = Deferred()

        def receive(record: object) -> None:
            if not found.called and isinstance(record, kind) and wanted(record):
                found.callback(record)

        def disconnected(reason: str) -> None:
            if not found.called:
                found.errback(Failure(NoAnswer(printable(reason))))

        end = self.peer.when_disconnected()
        end.addCallbacks(disconnected, lambda _: None)
        self._listener.receive = receive
        try:
            return await self._in_time(found)
        except TooLate:
            raise NoAnswer(f"no answer in {self._timeout:g} s") from None
        finally:
            self._listener.receive = None
            end.cancel()


def _transactions_of(record: object) -> list[str]:
    if not isinstance(record, Inv):
        return []
    return [display(each.hash) for each in record.inventory if each.type in TRANSACTIONS]


def _address_of(entry: TimedAddress | AddressV2) -> str:
    if isinstance(entry, TimedAddress):
        return printable(str(Endpoint(entry.to_dict()["ip"], entry.port)))
    host = address_text(entry.network_id, entry.addr)
    host = host or f"network-{entry.network_id}-{entry.addr.hex()}"
    return printable(str(Endpoint(host, entry.port)))


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
