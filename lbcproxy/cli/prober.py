"""A program that speaks to a node with `lbcproxy.peer`: connect, shake hands, ask, leave.

It is written to be read. `Probe` makes the connection and asks one question after the other; an
`Ear`, the peer's callbacks, gives each message to the question that waits.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.error import ConnectingCancelledError
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
)
from lbcproxy.peer.dial import EXPECTED, client_endpoint, connect, reason_of
from lbcproxy.session import Message
from lbcproxy.text import printable
from lbcproxy.wire import BadRecord
from lbcproxy.wire.addresses import address_text
from lbcproxy.wire.hashes import display, sha256d
from lbcproxy.wire.messages.addresses import Addr, AddrV2, GetAddr
from lbcproxy.wire.messages.handshake import Service
from lbcproxy.wire.messages.headers import Headers
from lbcproxy.wire.messages.inventory import Inv, InvType
from lbcproxy.wire.messages.keepalive import MemPool, Ping, Pong

__all__ = ["QUESTIONS", "Probe", "ProbeFailed", "Report"]

QUESTIONS = ("headers", "ping", "addresses", "mempool")
"""In the order they are asked: `mempool` last, since some nodes hang up on it."""
MOST_GATHERED = 1_000_000
"""Addresses or transactions of one answer; a node that tells more is not listened to."""
TRANSACTIONS = (InvType.TX, InvType.WTX, InvType.WITNESS_TX)


class ProbeFailed(LbcproxyError):
    """There was no handshake; the text says with whom and why."""


class NoAnswer(Exception):
    """A question has no answer; the text says why."""


class Report(msgspec.Struct):
    """Who is there, and what was answered."""

    known: PeerStatistics
    connect_ms: float
    handshake_ms: float
    answers: dict[str, dict[str, Any]] = {}
    """By question; one that has no answer has only an `error`."""

    @property
    def complete(self) -> bool:
        """Whether every question was answered."""
        return not any("error" in answer for answer in self.answers.values())


class Ear:
    """The callbacks: gives each message to whoever waits."""

    def __init__(self) -> None:
        self.listener: Callable[[Any], None] | None = None

    def on_message(self, peer: Peer, message: Message) -> None:
        """Pass on what came."""
        if self.listener is not None:
            self.listener(message.record)


class Probe:
    """One connection to a node. `timeout` is for each step, in seconds of `reactor`."""

    def __init__(self, reactor: Any, network: Network, address: Endpoint, timeout: float) -> None:
        self._reactor = reactor
        self._network = network
        self._address = address
        self._timeout = timeout
        self._late = f"no answer in {timeout:g} s"
        self._ear = Ear()
        config = PeerConfig(
            network=network,
            user_agent_name="probe",
            relay=False,
            stall=StallMode.OFF,  # we have a timeout of our own
            timeouts=Timeouts(negotiate=timeout + 1, idle=timeout + 300),
        )
        self.peer = Peer(
            config,
            inbound=False,
            clock=reactor,
            callbacks=self._ear,
            address=str(address),
            nonces=NonceCache(),
        )

    async def run(self, questions: tuple[str, ...] = ()) -> Report:
        """Connect, shake hands, ask, and leave; raises ProbeFailed without a handshake."""
        try:
            start = self._reactor.seconds()
            await self._connect()
            connected = self._reactor.seconds()
            await self._shake_hands()
            ready = self._reactor.seconds()
            report = Report(
                self.peer.snapshot(), _ms(connected - start), _ms(ready - connected), {}
            )
            for question in QUESTIONS:
                if question in questions:
                    report.answers[question] = await self._answer(question)
            return report
        finally:
            self.peer.disconnect()

    async def _connect(self) -> None:
        endpoint = client_endpoint(self._reactor, self._address, self._timeout + 1)
        connecting = connect(endpoint, self.peer)
        connecting.addTimeout(self._timeout, self._reactor)  # of a name's look-up as well
        try:
            await connecting
        except (TooLate, ConnectingCancelledError):
            raise self._failed(f"no connection in {self._timeout:g} s") from None
        except EXPECTED as error:
            raise self._failed(reason_of(error)) from None

    async def _shake_hands(self) -> None:
        waiting = self.peer.when_ready().addTimeout(self._timeout, self._reactor)
        try:
            await waiting
        except PeerClosed as error:
            failed = self._failed(f"no handshake: {printable(str(error))}")
            failed.hint = f"is it a node of {self._network.id}?"
            raise failed from None
        except TooLate:
            raise self._failed(f"no handshake in {self._timeout:g} s") from None

    def _failed(self, why: str) -> ProbeFailed:
        return ProbeFailed(f"{printable(str(self._address))}: {why}")

    # The questions.

    async def _answer(self, question: str) -> dict[str, Any]:
        """Give the answer to a question, or why there is none."""
        try:
            answer: dict[str, Any] = await getattr(self, f"_ask_{question}")()
        except NoAnswer as error:
            return {"error": str(error)}
        except BadRecord as error:
            return {"error": f"cannot be asked: {error}"}
        return answer

    async def _ask_headers(self) -> dict[str, Any]:
        self.peer.push_get_headers([sha256d(self._network.genesis)], bytes(32))
        came: Headers = await self._first(lambda each: isinstance(each, Headers))
        hashes = [display(each.hash) for each in came.headers]
        ends = {"first": hashes[0], "last": hashes[-1]} if hashes else {}
        return {"count": len(hashes), **ends}

    async def _ask_ping(self) -> dict[str, Any]:
        ping = Ping(secrets.randbits(64))
        start = self._reactor.seconds()
        await self.peer.queue_message(ping)
        await self._first(lambda each: isinstance(each, Pong) and each.nonce == ping.nonce)
        return {"ms": _ms(self._reactor.seconds() - start)}

    async def _ask_addresses(self) -> dict[str, Any]:
        """Collect for as long as there is time: answers come in several messages."""
        found: list[str] = []

        def take(record: Any) -> bool:
            if isinstance(record, Addr | AddrV2):
                found.extend(map(_address_of, record.addresses))
            return len(found) >= MOST_GATHERED

        self.peer.send(GetAddr())
        try:
            await self._first(take)
        except NoAnswer:
            if not found:
                raise
        return {"count": len(found), "addresses": found}

    async def _ask_mempool(self) -> dict[str, Any]:
        """Gather until the pong to a ping that is sent when the first transactions come.

        They may fill several messages. The pong to a ping sent with the question does not tell that
        there are none: Core answers with its next announcements, some seconds later.
        """
        found: list[str] = []
        awaited: int | None = secrets.randbits(64)

        def take(record: Any) -> bool:
            nonlocal awaited
            hashes = _transactions_of(record)
            if hashes and not found:
                awaited = secrets.randbits(64)
                self.peer.send(Ping(awaited))
            found.extend(hashes)
            if isinstance(record, Pong) and record.nonce == awaited:
                awaited = None
                return bool(found)
            return len(found) >= MOST_GATHERED

        await self.peer.queue_message(MemPool())
        self.peer.send(Ping(awaited))
        try:
            await self._first(take)
        except NoAnswer as error:
            if found:
                raise NoAnswer(f"{len(found):,} transactions, then {error}") from None
            if not (self.peer.snapshot().services or 0) & Service.BLOOM:
                raise NoAnswer(f"{error}; without BLOOM a node refuses this question") from None
            if awaited is not None or not self.peer.is_connected:
                raise
        return {"count": len(found), "transactions": found}

    async def _first(self, wanted: Callable[[Any], bool]) -> Any:
        """Wait for the first message that is wanted; raises NoAnswer."""
        waiting: Deferred[Any] = Deferred()

        def listen(record: Any) -> None:
            if not waiting.called and wanted(record):
                waiting.callback(record)

        def ended(why: str) -> None:
            if not waiting.called:
                waiting.errback(Failure(NoAnswer(printable(why))))

        end = self.peer.when_disconnected()
        end.addCallbacks(ended, lambda _: None)
        self._ear.listener = listen
        waiting.addTimeout(self._timeout, self._reactor)
        try:
            return await waiting
        except TooLate:
            raise NoAnswer(self._late) from None
        finally:
            self._ear.listener = None
            end.cancel()


def _transactions_of(record: Any) -> list[str]:
    if not isinstance(record, Inv):
        return []
    return [display(each.hash) for each in record.inventory if each.type in TRANSACTIONS]


def _address_of(entry: Any) -> str:
    fields = entry.to_dict()
    if "network_id" not in fields:
        return printable(str(Endpoint(fields["ip"], entry.port)))
    host = address_text(entry.network_id, entry.addr)
    host = host or f"network-{entry.network_id}-{entry.addr.hex()}"
    return printable(str(Endpoint(host, entry.port)))


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
