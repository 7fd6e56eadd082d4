"""Tests of peers under load: many messages at once, and nodes that mean us harm."""

import gc
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.task import Clock

from lbcproxy.peer import NonceCache, Peer, PeerConfig, Policy, Timeouts
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import VerAck
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.messages.keepalive import FeeFilter, Ping
from tests.memory import grown, most
from tests.nodes import wait_until
from tests.peer.builders import CONFIG, MAINNET, Callbacks, connect, encoded, version
from tests.proxy.loops import Loop
from tests.proxy.transports import WATERMARK
from tests.tools import REPOSITORY

MANY = 100_000
KIB, MIB = 1 << 10, 1 << 20


class Counting:
    """Callbacks that hold a node to its promise to count without a mistake."""

    def __init__(self) -> None:
        self.expected = 0
        self.wrong: list[int] = []
        self.errors: list[str] = []
        self.all_came: Deferred[None] = Deferred()
        self.awaited = MANY

    def on_read(self, peer: Peer, size: int, message: Any, error: str | None) -> None:
        if error is not None:
            self.errors.append(error)

    def on_feefilter(self, peer: Peer, record: FeeFilter) -> None:
        if record.min_fee != self.expected:
            self.wrong.append(record.min_fee)
        self.expected += 1
        if self.expected == self.awaited:
            self.all_came.callback(None)

    def again(self, number: int) -> Deferred[None]:
        """Wait for so many more, counted from 0."""
        self.expected, self.awaited, self.all_came = 0, number, Deferred()
        return self.all_came


class Pair:
    """Two peers of ours, connected to each other over loopback."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        nonces = NonceCache()
        config = PeerConfig(network=MAINNET, allow_self_connections=True)
        self.heard = (Counting(), Counting())
        options: dict[str, Any] = {"clock": loop.reactor, "nonces": nonces}
        self.server = Peer(config, inbound=True, callbacks=self.heard[0], **options)
        self.client = Peer(config, inbound=False, callbacks=self.heard[1], **options)
        self.peers = (self.server, self.client)
        self.port = loop.listen(lambda: self.server)
        where = self.port.getHost().port
        loop.call(
            connectProtocol, TCP4ClientEndpoint(loop.reactor, "127.0.0.1", where), self.client
        )
        for peer in self.peers:
            loop.call(peer.when_ready)

    def exchange(self, number: int) -> list[bool]:
        """Let both send so many at once, and return the results."""

        def begin() -> Deferred[Any]:
            come = [each.again(number) for each in self.heard]
            self.sent = [
                peer.queue_message(FeeFilter(count))
                for count in range(number)
                for peer in self.peers
            ]
            return DeferredList([*come, *self.sent])

        answers = self.loop.call(begin, seconds=180)  # 100,000 under a coverage tracer take long
        self.sent = []
        assert all(succeeded for succeeded, _ in answers)
        return [answer for _, answer in answers[2:]]

    def close(self) -> None:
        """Hang up."""
        self.loop.call(self.client.disconnect)
        for peer in self.peers:
            self.loop.call(peer.when_disconnected)
        self.loop.call(self.port.stopListening)


@pytest.fixture
def pair(loop: Loop) -> Iterator[Pair]:
    """Two peers that are ready."""
    pair = Pair(loop)
    yield pair
    pair.close()


def resident() -> int:
    """The memory of this process, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# Two peers.


@pytest.mark.slow
def test_a_hundred_thousand_messages_each_way_at_once(pair: Pair):
    """None is lost, none overtakes another, and everybody learns that each was sent."""
    assert pair.exchange(MANY) == [True] * (2 * MANY)
    for peer, heard in zip(pair.peers, pair.heard, strict=True):
        assert (heard.expected, heard.wrong, heard.errors) == (MANY, [], [])
        known = pair.loop.call(peer.snapshot)
        assert known.sent["feefilter"] == known.received["feefilter"] == (MANY, MANY * 32)
        assert known.queued_bytes == 0
        assert peer._tickets == {}
        assert not peer._effects
        assert not peer.core.pending
        assert peer.is_ready


@pytest.mark.slow
def test_an_exchange_leaves_nothing_in_memory(pair: Pair):
    """Eighteen thousand messages leave the room they needed, not a trace of each."""
    pair.exchange(3_000)  # what is made once is made now

    def talk() -> None:
        for _ in range(3):
            pair.exchange(3_000)

    assert grown(talk) < 18_000 * 25


# A handshake that never ends.


@pytest.mark.slow
def test_anyone_who_says_hello_a_byte_at_a_time_has_half_a_minute():
    """However alive the connection is; and what it costs us is what it said."""
    clock = Clock()
    greeting = encoded(version())
    wired = [connect(clock=clock, port=port) for port in range(1, 101)]

    def drip() -> None:
        for second in range(29):
            for each in wired:
                each.feed(greeting[second : second + 1])
            clock.advance(1)

    assert most(drip) < MIB
    assert not any(each.closed for each in wired)
    clock.advance(1)
    assert all(each.closed for each in wired)
    for each in wired:
        each.read()
        assert each.bytes_sent == b""
    assert clock.getDelayedCalls() == []


@pytest.mark.slow
@pytest.mark.parametrize("inbound", [True, False], ids=["inbound", "outbound"])
def test_a_handshake_takes_at_most_64_kib(inbound: bool):
    """A header may claim 32 MiB; of a stranger we keep no more than the handshake can need."""
    wired = connect(inbound=inbound)
    claim = MAINNET.magic + b"version\0\0\0\0\0" + struct.pack("<I", 32 * MIB) + bytes(4)

    def flood() -> None:
        wired.feed(claim)
        for _ in range(1024):
            if wired.closed:
                return
            wired.feed(bytes(32 * KIB))

    assert most(flood) < MIB
    assert wired.closed
    assert wired.peer.snapshot().bytes_received < 128 * KIB


def test_a_flood_of_versions_gets_one_answer():
    """The second is refused, and nobody looks at the other ten thousand."""
    wired = connect(policy=Policy.STRICT).shake_hands()
    frames = encoded(version()) * 10_000
    assert most(lambda: wired.feed(frames)) < 5 * len(frames)
    assert wired.commands == ["reject"]
    assert wired.closed
    assert len(wired.callbacks.of("on_read")) == 1
    assert not wired.peer.core.receiver.pending  # not kept until the connection is gone
    wired.read()
    assert wired.calls_left == 0


def test_a_flood_of_versions_before_the_handshake_costs_no_more():
    """The same if it sends nothing else."""
    wired = connect(policy=Policy.STRICT)
    wired.feed(encoded(version()) * 10_000).read()
    assert wired.closed
    assert wired.commands.count("version") == 1
    assert len(wired.callbacks.of("on_version")) == 1
    assert wired.calls_left == 0


def test_a_flood_of_versions_waits_in_the_socket_while_a_callback_thinks():
    """What is not read cannot fill us."""
    thinking: Deferred[None] = Deferred()

    async def on_version(peer: Peer, record: Any) -> None:
        await thinking

    wired = connect(callbacks=Callbacks(on_version=on_version), policy=Policy.STRICT)
    segment = encoded(version()) * 100
    for _ in range(1_000):
        wired.wire.arrive(segment)
    assert wired.peer.snapshot().bytes_received == len(segment)
    thinking.callback(None)
    wired.read()
    assert wired.closed


# A node that never reads.


def test_what_waits_for_a_node_that_does_not_read_is_bounded():
    """Over `most_queued` it is given up, with everything that waits for it."""
    config = msgspec.structs.replace(CONFIG, most_queued=4 * MIB)
    wired = connect(config).shake_hands()
    piece = frame(MAINNET.magic, "nobodyknows", bytes(64 * KIB))
    outcomes: list[bool] = []
    queued = 0
    while not wired.closed:
        assert queued < 200
        wired.peer.forward("nobodyknows", bytes(piece))
        wired.peer.queue_message(FeeFilter(queued)).addCallback(outcomes.append)
        queued += 1
        assert wired.peer.snapshot().queued_bytes <= 4 * MIB
    assert queued <= 4 * MIB // len(piece) + 3
    assert wired.peer.snapshot().queued_bytes == 0
    assert len(outcomes) == queued
    assert outcomes[-1] is False
    assert len(wired.wire.waiting) <= 2 * WATERMARK
    assert "wait to be sent" in wired.peer.core.closed


def test_a_node_that_does_not_read_is_cut_when_its_time_is_up():
    """After 20 s of a full buffer; its neighbour has noticed nothing."""
    clock = Clock()
    deaf = connect(clock=clock, port=1).shake_hands()
    other = connect(clock=clock, port=2).shake_hands()
    deaf.peer.forward("nobodyknows", bytes(WATERMARK + 1))
    deaf.peer.send(FeeFilter(1))
    assert deaf.peer.full
    for second in range(19):
        clock.advance(1)
        deaf.feed(Ping(nonce=second + 1))  # it lives, and wants answers
        other.feed(Ping(nonce=second + 1)).read()
    assert not deaf.closed
    clock.advance(1)
    assert deaf.closed
    assert deaf.peer.core.closed == "the node does not read what is sent to it"
    assert deaf.peer.snapshot().queued_bytes == 0
    clock.advance(5)
    clock.advance(0)
    assert deaf.wire.aborted
    assert not deaf.wire.connected
    assert other.commands == ["pong"] * 19
    other.feed(Ping(nonce=99)).read()
    assert other.commands == ["pong"] * 20
    assert not other.closed


@pytest.mark.slow
def test_a_node_that_asks_and_never_reads_cannot_fill_us():
    """A million pings would queue a million pongs."""
    config = msgspec.structs.replace(CONFIG, most_queued=256 * KIB)
    wired = connect(config).shake_hands()
    pings = encoded(Ping(nonce=1)) * 1_000

    def flood() -> None:
        for _ in range(1_000):
            if wired.closed:
                return
            wired.feed(pings)

    assert most(flood) < 8 * MIB
    assert wired.closed
    assert wired.peer.snapshot().queued_bytes == 0


def fill_with_small_messages() -> tuple[int, int, str]:
    """Queue until the peer gives up; return the most memory, the number of messages and why."""
    config = msgspec.structs.replace(CONFIG, most_queued=16 * MIB)
    wired = connect(config).shake_hands()
    wired.peer.forward("nobodyknows", bytes(WATERMARK + 1))
    outcomes: list[Any] = []

    def flood() -> None:
        for number in range(16 * MIB // 32):
            if wired.closed:
                return
            outcomes.append(wired.peer.queue_message(FeeFilter(number)))

    peak = most(flood)
    assert wired.closed
    return peak, len(outcomes), wired.peer.core.closed


@pytest.mark.slow
def test_small_messages_that_wait_are_counted_with_the_memory_they_take():
    """A ping is 32 bytes on the wire and 450 in memory: the bound is one of memory.

    It is measured in a process of its own. Python makes room in each Deferred for the attributes
    that any Deferred ever had, so what one takes depends on what ran before.
    """
    program = "import json; from tests.peer.test_flood import fill_with_small_messages as fill"
    ran = subprocess.run(
        [sys.executable, "-c", f"{program}; print(json.dumps(fill()))"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        check=True,
    )
    peak, messages, reason = json.loads(ran.stdout)
    assert peak < 24 * MIB  # the end of all comes at the same time
    assert messages > 16 * MIB // 500
    assert f"{messages} messages" in reason


@pytest.mark.slow
def test_a_deaf_node_over_tcp_holds_nobody_up(loop: Loop, pair: Pair):
    """The kernel's buffers are full, ours are bounded, and two other peers are not affected."""
    config = PeerConfig(network=MAINNET, most_queued=2 * MIB, timeouts=Timeouts(close=0.5))
    peer = Peer(config, clock=loop.reactor, nonces=NonceCache())
    port = loop.listen(lambda: peer)
    with socket.create_connection(("127.0.0.1", port.getHost().port), 10) as deaf:
        deaf.sendall(encoded(version()) + encoded(VerAck()))
        loop.call(peer.when_ready)
        piece = frame(MAINNET.magic, "nobodyknows", bytes(MIB))
        gone = loop.call(lambda: [peer.when_disconnected()])[0]
        before = resident()
        for _ in range(100):
            loop.call(peer.forward, "nobodyknows", piece)
            if not peer.is_connected:
                break
        assert not peer.is_connected
        assert pair.exchange(100) == [True] * 200
        assert resident() - before < 64 * MIB
        assert peer.snapshot().queued_bytes == 0
        wait_until("the deaf one is cut off", lambda: gone.called)
    loop.call(port.stopListening)


# Claims.


@pytest.mark.slow
def test_a_claim_of_32_mib_costs_what_has_arrived():
    """Two hundred nodes may announce 6.4 GB; memory is for bytes that are there."""
    claim = MAINNET.magic + b"nobodyknows\0" + struct.pack("<I", 32 * MIB) + bytes(4)
    wired = [connect(port=port).shake_hands() for port in range(1, 201)]
    arrived = bytes(10 * KIB)

    def promise() -> None:
        for each in wired:
            each.feed(claim, arrived)

    assert most(promise) < 3 * len(wired) * len(arrived)
    assert not any(each.closed for each in wired)
    for each in wired:
        each.peer.disconnect()
        each.read()
        assert each.calls_left == 0


def test_a_node_that_takes_its_time_over_32_mib_is_not_waited_for():
    """Bytes alone are not a sign of life: without a complete message the timeout applies."""
    wired = connect().shake_hands()
    claim = MAINNET.magic + b"nobodyknows\0" + struct.pack("<I", 32 * MIB) + bytes(4)
    wired.feed(claim)
    for _ in range(31):
        wired.clock.advance(10)
        if wired.closed:
            break
        wired.feed(bytes(1000)).wire.read()
    assert wired.closed
    assert "no answer for 300 s" in wired.peer.core.closed


# Inventory.


@pytest.mark.slow
def test_ten_million_things_announced_to_us_leave_nothing():
    """Two hundred messages of 50,000, as large as they may be."""
    things = tuple(InventoryVector(1, number.to_bytes(32, "little")) for number in range(50_000))
    wired = connect().shake_hands()
    raw = encoded(Inv(things))
    wired.feed(raw)
    wired.callbacks.calls.clear()
    gc.collect()
    before = resident()
    for _ in range(200):
        wired.wire.arrive(raw)
        assert len(wired.callbacks.of("on_inv")) == 1
        wired.callbacks.calls.clear()
    assert resident() - before < 64 * MIB
    assert wired.peer.snapshot().received["inv"][0] == 201
    assert not wired.closed


@pytest.mark.slow
def test_what_we_have_to_announce_is_bounded():
    """The oldest announcements are dropped: here 1,000 are kept."""
    config = msgspec.structs.replace(CONFIG, most_inventory=1_000)
    wired = connect(config).shake_hands()
    hashes = [number.to_bytes(32, "little") for number in range(100_000)]

    def announce() -> None:
        for each in hashes:
            wired.peer.queue_inventory(InventoryVector(1, each))

    assert most(announce) < MIB
    wired.pass_time(10)
    assert [len(each.inventory) for each in wired.sent] == [1_000]
