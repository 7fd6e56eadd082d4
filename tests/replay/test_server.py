"""The recorded node as clients meet it, over real connections: our `Peer`, and worse ones."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.task import Clock

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.peer import Peer, PeerConfig
from lbcproxy.proxy import CannotListen
from lbcproxy.replay import BadPolicy, ReplayServer, UnansweredPolicy, load
from lbcproxy.replay.as_server import server as server_module
from lbcproxy.replay.as_server import upstream
from lbcproxy.replay.as_server.request_types import REQUEST_TYPES
from lbcproxy.session import Direction, Message
from lbcproxy.session.events import Delivered, SessionEnded
from lbcproxy.transport.kind import Transport
from lbcproxy.wire import Codec, Framer
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.hashes import sha256d
from lbcproxy.wire.messages.handshake import SendAddrV2, VerAck, WtxidRelay
from lbcproxy.wire.messages.headers import GetBlocks, GetHeaders
from lbcproxy.wire.messages.inventory import GetData, InventoryVector, InvType, NotFound
from lbcproxy.wire.messages.keepalive import MemPool, Ping, SendHeaders
from tests.nodes import wait_until
from tests.peer.builders import Wire, encoded
from tests.peer.builders import version as greeting
from tests.replay.recordings import BITCOIN, asks, says, talk, version
from tests.tools import TIMEOUT

CAPTURES = Path(__file__).parent.parent.parent / "captures"
SYNC, PROBE = CAPTURES / "lbcd-sync.pcap", CAPTURES / "lbcd-probe.pcap"
NETWORK = networks.get("lbry-regtest")
GENESIS = sha256d(NETWORK.genesis)
NO_STOP = bytes(32)
STRANGE = (InventoryVector(InvType.BLOCK, b"?" * 32), InventoryVector(InvType.TX, b"!" * 32))


class Heard:
    """What a client of ours received."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.commands: list[str] = []

    def on_message(self, _: Peer, message: Any) -> None:
        self.commands.append(message.command)
        self.records.append(message.record)

    def of(self, command: str) -> list[Any]:
        """The records of a command."""
        pairs = zip(self.commands, self.records, strict=True)
        return [record for name, record in pairs if name == command]


class Client:
    """A peer of ours connected to a server, used from the test's thread."""

    def __init__(self, loop: Any, server: ReplayServer, **config: Any) -> None:
        self.loop, self.heard = loop, Heard()
        self.peer = Peer(
            PeerConfig(network=server.conversation.network, **config),
            inbound=False,
            clock=loop.reactor,
            callbacks=self.heard,
        )
        endpoint = TCP4ClientEndpoint(
            loop.reactor, "127.0.0.1", server.address.port, timeout=TIMEOUT
        )
        loop.call(connectProtocol, endpoint, self.peer)
        loop.call(self.peer.when_ready)

    def send(self, *records: Any) -> None:
        """Send messages."""
        self.loop.call(lambda: [self.peer.send(each) for each in records] and None)

    def waits(self, command: str, count: int = 1) -> list[Any]:
        """Wait until so many messages of a command came, and return them."""
        return wait_until(f"{count} {command}", lambda: self._enough(command, count))

    def _enough(self, command: str, count: int) -> list[Any] | None:
        found = self.heard.of(command)
        return found if len(found) >= count else None

    def close(self) -> None:
        """Hang up."""
        self.loop.call(self.peer.disconnect)
        self.loop.call(self.peer.when_disconnected)


@pytest.fixture
def serve(loop):
    """Begin to serve a capture; all is stopped in the end."""
    made = []

    def begin(path=SYNC, session=None, **options):
        conversation = load(path, session=session)
        server = ReplayServer(conversation, loop.reactor, **options)
        made.append(server)
        loop.call(server.listen)
        return server

    yield begin
    for server in made:
        loop.call(server.stop)
        assert server.clients == 0
        server.conversation.close()


def recorded_blocks():
    """The blocks of the sync's capture, as it holds them."""
    blocks = [entry for entry in open_capture(SYNC) if entry.command == "block"]
    return {each.message.record.header.hash: each.message.record for each in blocks}


def test_our_peer_syncs_all_blocks_of_the_recorded_node(loop, serve):
    """Must-show: headers first, which the recorded client never asked for, then the blocks.

    In an order of our own, one by one, with the announcements of the recording between them.
    """
    server = serve()
    client = Client(loop, server)
    recorded = recorded_blocks()
    client.send(GetHeaders(70013, (GENESIS,), NO_STOP))
    [answer] = client.waits("headers")
    hashes = [header.hash for header in answer.headers]
    assert set(hashes) == set(recorded)
    assert len(hashes) == 306
    for each in reversed(hashes):
        client.send(GetData((InventoryVector(InvType.BLOCK, each),)))
    client.waits("block", 306)
    assert {each.header.hash: each for each in client.heard.of("block")} == recorded
    client.close()
    assert server.unknown == []


def test_our_peer_syncs_as_the_recorded_client_did(loop, serve):
    """By inventory; what is announced after it is asked for as it comes."""
    server = serve(idle=None)
    client = Client(loop, server)
    client.send(GetBlocks(70013, (GENESIS,), NO_STOP))
    [inv] = client.waits("inv")
    server.idle = 0.02  # not before: a slow client would be sent an announcement first
    client.send(GetData(inv.inventory))
    client.waits("block", 300)

    def announced(kind):
        invs = list(client.heard.of("inv"))[1:]
        return [thing for each in invs for thing in each.inventory if thing.type == kind]

    # The sixth block after the 300 is the recorded client's own.
    wait_until("all is announced", lambda: len(announced(InvType.BLOCK)) == 5)
    transactions = announced(InvType.TX)
    assert transactions
    client.send(GetData((*transactions, *announced(InvType.BLOCK))))
    client.waits("block", 305)
    wait_until(
        "the transactions",
        lambda: {each.txid for each in client.heard.of("tx")} >= {t.hash for t in transactions},
    )
    assert server.unknown == []
    client.close()


def test_the_handshake_is_the_recorded_node_s_own(loop, serve):
    """Its agent, services, height and version; nonce and time are of now."""
    server = serve(PROBE)
    recorded = server.answers.version
    client = Client(loop, server, services=4)
    known = loop.call(client.peer.snapshot)
    assert known.user_agent == recorded.user_agent
    assert known.services == recorded.services
    assert known.version == recorded.version == 70013
    assert known.starting_height == recorded.start_height == 306
    assert abs(known.time_offset) <= 2
    [version] = client.heard.of("version")
    assert version.nonce != recorded.nonce
    assert client.heard.commands[:2] == ["version", "verack"]
    client.close()


def test_what_the_node_offered_it_offers_again(loop):
    """Between `version` and `verack`, in its order, as far as the agreed version has it."""
    offered = [WtxidRelay(), SendAddrV2(), SendHeaders()]
    shake = [asks(version()), says(version()), *map(says, offered), says(VerAck()), asks(VerAck())]
    made = talk(shake=shake)
    server = ReplayServer(made, loop.reactor)
    loop.call(server.listen)
    for number, wanted in ((70016, ["wtxidrelay", "sendaddrv2", "sendheaders"]), (70011, [])):
        client = Client(loop, server, protocol_version=number)
        assert client.heard.commands == ["version", *wanted, "verack"]
        client.close()
    loop.call(server.stop)


def test_pings_are_answered_live(loop, serve):
    """With the nonce of now, whatever was recorded."""
    client = Client(loop, serve())
    client.send(Ping(0x1234))
    assert [each.nonce for each in client.waits("pong")] == [0x1234]
    client.close()


@pytest.mark.parametrize(("policy", "heard"), [("notfound", [NotFound(STRANGE)]), ("silence", [])])
def test_unknown_requests_are_handled_as_configured(loop, serve, policy, heard):
    """Silence, or what the protocol has for it; all of them are noted."""
    server = serve(policy=UnansweredPolicy.parse(policy))
    client = Client(loop, server)
    client.send(GetData(STRANGE), MemPool(), Ping(5))
    client.waits("pong")
    assert client.heard.of("notfound") == heard
    assert [each.command for each in server.unknown] == ["getdata", "mempool"]
    assert server.unknown[0].record == GetData(STRANGE)
    client.close()


def test_several_clients_are_each_at_their_own_place(loop, serve):
    """And the server tells of each what became of its questions."""
    stats = {}
    server = serve(ended=lambda number, each: stats.setdefault(number, each))
    one, other = Client(loop, server), Client(loop, server)
    assert server.clients == 2
    one.send(GetBlocks(70013, (GENESIS,), NO_STOP), MemPool())
    one.waits("inv")
    other.send(GetBlocks(70013, (GENESIS,), NO_STOP))
    other.waits("inv")
    one.close()
    other.close()
    wait_until("both are gone", lambda: server.clients == 0)
    assert stats[1].answered == stats[2].answered == 1
    assert (stats[1].unknown, stats[2].unknown) == ({"mempool": 1}, {})
    assert stats[1].unsent > 10


def test_the_client_s_side_can_be_played(loop, serve):
    """Then who connects meets the one that had connected; it asks what it had asked."""
    server = serve(side=Direction.TO_UPSTREAM)
    client = Client(loop, server)
    assert loop.call(client.peer.snapshot).starting_height == 0
    [question] = client.waits("getblocks")
    assert question.locator == (GENESIS,)
    client.waits("getaddr")
    client.close()


def test_what_passes_is_shown(loop, serve):
    """Observers get the session as that of a proxy's."""
    seen = []

    class Watching:
        def session_started(self, info):
            seen.append(info)
            return self

        def handle(self, event):
            if isinstance(event, Delivered):
                for delivery in event.deliveries:
                    seen.extend((event.direction, each.command) for each in delivery.entries)
            if isinstance(event, SessionEnded):
                seen.append(event.summary.why)

    server = serve(observers=[Watching()])
    client = Client(loop, server)
    client.send(Ping(5))
    client.waits("pong")
    client.close()
    wait_until("it is gone", lambda: server.clients == 0)
    up, down = Direction.TO_UPSTREAM, Direction.TO_CLIENT
    info, *passed, why = seen
    assert info.listen == server.address
    assert passed[:2] == [(up, "version"), (down, "version")]
    assert (up, "ping") in passed
    assert (down, "pong") in passed
    assert why == "client closed"


def test_a_client_that_asks_nothing_more_is_led_on(loop, serve):
    """Announcements came by themselves, whatever the client did; at last all are said."""
    ended: list[Any] = []
    server = serve(idle=0.001, ended=lambda _, stats: ended.append(stats))
    client = Client(loop, server)
    [peer] = server._peers
    wait_until("all is said", lambda: peer.stats.unsent == 0)
    client.close()
    wait_until("it is gone", lambda: ended)
    assert str(ended[0]) == "0 requests answered"


# Bad clients.


def test_garbage_costs_its_sender_the_connection_and_nobody_else(loop, serve):
    """HTTP, another chain's magic, noise: it is named, and the others are served on."""
    server = serve(transport=Transport.V1)
    client = Client(loop, server)
    for data in (b"GET / HTTP/1.1\r\n\r\n" * 10, bytes.fromhex("f9beb4d9") * 64, b"\xfa" * 5000):
        with socket.create_connection(("127.0.0.1", server.address.port), TIMEOUT) as bad:
            bad.sendall(data)
            assert bad.recv(1000) in (b"",)
    client.send(Ping(5))
    client.waits("pong")
    assert server.clients == 1
    client.close()


@pytest.fixture
def in_memory():
    """A client on a transport in memory, its handshake done: server, clock, peer, wire."""
    clock = Clock()
    with load(SYNC) as conversation:
        server = ReplayServer(conversation, clock, idle=None)
        peer = server.new_peer()
        assert peer is not None
        wire = Wire(clock, peer, 1)
        peer.makeConnection(wire)
        wire.arrive(encoded(greeting(), network=NETWORK) + encoded(VerAck(), network=NETWORK))
        assert peer.is_ready
        yield server, clock, peer, wire
        peer.disconnect()
        for _ in range(5):
            wire.read()
            clock.advance(60)
        assert server.clients == 0
        assert clock.getDelayedCalls() == []


def test_anyone_who_asks_much_and_reads_nothing_is_waited_for(in_memory):
    """No more is read of it while it does not read, and none of what it wants is kept ready."""
    _, clock, peer, wire = in_memory
    things = tuple(InventoryVector(InvType.BLOCK, each) for each in recorded_blocks())
    question = encoded(GetData(things), network=NETWORK)
    for _ in range(30):
        wire.arrive(question)
        assert peer.core.sender.outbox.size < 1 << 21
        assert peer.core.receiver.buffered_bytes <= len(question)
    assert len(wire.incoming) > 5
    while wire.waiting or wire.incoming:
        wire.read()
        wire.deliver()
        clock.advance(0.01)
    frames = Framer(NETWORK).feed(wire.got)
    assert [each.command for each in frames].count("block") == 30 * len(things)


def test_long_messages_go_out_one_after_another(loop):
    """Each is read from the file when those before it are on their way."""
    block = frame(NETWORK.magic, "block", bytes(1_500_000))
    node = Direction.TO_CLIENT
    long = [Message("block", node, block, Codec(NETWORK))] * 8
    conversation = talk(*long, network=NETWORK)
    server = ReplayServer(conversation, loop.reactor)
    loop.call(server.listen)
    client = Client(loop, server)
    wait_until("all came", lambda: client.peer.core.counters.bytes_received > 8 * len(block))
    client.close()
    loop.call(server.stop)
    conversation.close()


def test_anyone_who_reads_nothing_at_all_is_let_go(in_memory):
    """After the peer's time for it."""
    server, clock, _, wire = in_memory
    things = tuple(InventoryVector(InvType.BLOCK, each) for each in recorded_blocks())
    for _ in range(40):
        wire.arrive(encoded(GetData(things), network=NETWORK))
    assert server.clients == 1
    for _ in range(40):
        clock.advance(1)
    assert server.clients == 0


def test_stopping_lets_go_of_all_clients(loop, serve):
    """In order: each is notified by a close."""
    server = serve()
    client = Client(loop, server)
    loop.call(server.stop)
    assert loop.call(client.peer.when_disconnected) == "closed by the node"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.address.port), TIMEOUT)


def test_a_port_in_use_is_named(loop, serve):
    """With the system's words."""
    server = serve()
    second = ReplayServer(server.conversation, loop.reactor, listen=server.address)
    with pytest.raises(CannotListen, match=f"{server.address}: Address already in use"):
        loop.call(second.listen)


@pytest.mark.parametrize("text", ["", "loud", "pass", "pass:", "pass:9246", "pass:h:99999"])
def test_a_policy_that_means_nothing_is_refused(text):
    """At once, not with the first question."""
    with pytest.raises(BadPolicy):
        UnansweredPolicy.parse(text)


def test_too_many_clients_are_refused(loop, serve, monkeypatch):
    """And those that are there are served on."""
    monkeypatch.setattr(server_module, "MAX_CLIENTS", 1)
    server = serve()
    client = Client(loop, server)
    with socket.create_connection(("127.0.0.1", server.address.port), TIMEOUT) as other:
        assert other.recv(1000) == b""
    client.send(Ping(5))
    client.waits("pong")
    client.close()


@pytest.mark.slow
def test_made_up_questions_are_not_remembered(in_memory, monkeypatch):
    """A client can make up as many as it likes: what is kept of them is bounded."""
    monkeypatch.setattr(server_module, "MAX_UNKNOWN_BYTES", 1 << 20)
    server, _, peer, wire = in_memory
    for number in range(10):
        hashes = (number.to_bytes(16, "big") + each.to_bytes(16, "big") for each in range(10_000))
        things = tuple(InventoryVector(InvType.TX, each) for each in hashes)
        wire.arrive(encoded(GetData(things), network=NETWORK))
        wire.arrive(encoded(GetHeaders(1, (things[1].hash,), NO_STOP), network=NETWORK))
    assert peer.stats.unknown == {"getdata": 100_000, "getheaders": 10}
    assert [each.command for each in server.unknown] == ["getdata", "getheaders"] * 2
    assert len(peer._cursor._times) == 0


@given(st.lists(st.tuples(st.sampled_from(sorted(REQUEST_TYPES)), st.binary(max_size=80))))
def test_whatever_is_asked_nothing_breaks(questions):
    """Payloads of any bytes, for all that is a question: refused by the peer, or dealt with."""
    clock = Clock()
    with talk() as conversation:
        server = ReplayServer(conversation, clock)
        peer = server.new_peer()
        assert peer is not None
        wire = Wire(clock, peer, 1)
        peer.makeConnection(wire)
        wire.arrive(encoded(greeting(70016), network=BITCOIN), encoded(VerAck(), network=BITCOIN))
        for command, payload in questions:
            wire.arrive(frame(BITCOIN.magic, command, payload))
        assert "raised" not in peer.core.closed
        peer.disconnect()
        wire.read()
        clock.advance(60)


# A live node after it.


def test_what_is_not_known_is_asked_of_a_live_node_and_cache(loop, serve, tmp_path):
    """The answers are the client's, then everybody's, then the new capture's."""
    live = serve(SYNC, policy=UnansweredPolicy.parse("notfound"))
    path = tmp_path / "more.pcapng"
    server = serve(
        PROBE, session=3, policy=UnansweredPolicy.parse(f"pass:{live.address}"), save_to=path
    )
    wanted = list(recorded_blocks())[:40]
    question = GetData(tuple(InventoryVector(InvType.BLOCK, each) for each in wanted))
    first = Client(loop, server)
    first.send(question, GetData(STRANGE[:1]), Ping(1))
    assert {each.header.hash for each in first.waits("block", 40)} == set(wanted)
    assert first.waits("notfound") == [NotFound(STRANGE[:1])]
    assert server.unknown == []
    first.close()
    wait_until("it is saved", path.exists)
    loop.call(live.stop)
    second = Client(loop, server)
    second.send(question)
    second.waits("block", 40)
    second.close()
    again = serve(path)
    third = Client(loop, again)
    third.send(question)
    third.waits("block", 40)
    assert again.unknown == []
    third.close()
    assert [each.name for each in tmp_path.iterdir()] == ["more.pcapng"]


@pytest.mark.parametrize("reachable", [True, False])
def test_a_live_node_that_does_not_answer_is_not_waited_for_long(
    loop, serve, tmp_path, monkeypatch, reachable
):
    """Nor one that is not there; the client is served on, and nothing is saved."""
    monkeypatch.setattr(upstream, "ANSWER_TIMEOUT", 0.1)
    live = serve(SYNC)
    if not reachable:
        loop.call(live.stop)
    path = tmp_path / "more.pcapng"
    server = serve(policy=UnansweredPolicy.parse(f"pass:{live.address}"), save_to=path)
    client = Client(loop, server)
    client.send(GetData(STRANGE), MemPool(), GetBlocks(70013, (GENESIS,), NO_STOP))
    client.waits("inv")
    client.close()
    wait_until("it is gone", lambda: not server.clients)
    assert [each.command for each in server.unknown] == ["getdata", "mempool"]
    assert [each.command for each in live.unknown] == ["getdata", "mempool"] * reachable
    assert not path.exists()
