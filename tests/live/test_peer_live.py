"""Our `Peer` and real nodes: what it announces, asks, tells and serves, by the nodes' own account.

Node A has a chain. Peers of ours connect to it, in each scenario as another kind of node; then
fresh nodes connect to listening peers of ours and get from them what A has sent.
"""

import itertools
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    connectProtocol,
)

from lbcproxy.peer import NonceCache, Peer, PeerConfig, Policy
from lbcproxy.session import Message
from lbcproxy.wire import Codec
from lbcproxy.wire.hashes import display, from_display
from lbcproxy.wire.messages.blocks import Block
from lbcproxy.wire.messages.bloom import FilterLoad
from lbcproxy.wire.messages.headers import GetBlocks, GetHeaders, Headers
from lbcproxy.wire.messages.inventory import GetData, Inv, InventoryVector, InvType
from lbcproxy.wire.messages.keepalive import Ping, SendHeaders
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from tests.nodes import KINDS, PAY_TO_ANYONE, SPEND, Node, NodeKind, wait_until
from tests.proxy.loops import Loop

pytestmark = pytest.mark.live

BLOCKS = 120
"""So many that there are 20 rewards old enough to be spent."""
FEE = 10_000
NO_HASH = bytes(32)
NETWORK_AND_WITNESS = 1 | 1 << 3
AGENT = "our-peer"


class Scenario(NamedTuple):
    """What kind of node our peer is."""

    policy: Policy
    protocol_version: int

    def config(self, kind: NodeKind, **others: Any) -> PeerConfig:
        """Return the config of a peer."""
        return PeerConfig(
            network=kind.network,
            policy=self.policy,
            protocol_version=self.protocol_version,
            services=NETWORK_AND_WITNESS,
            user_agent_name=AGENT,
            user_agent_version=f"{self.protocol_version}",
            user_agent_comments=(self.policy.value,),
            trickle_interval=0.1,
            **others,
        )


SCENARIOS = [
    Scenario(Policy.TOLERANT, 70013),
    Scenario(Policy.TOLERANT, 70016),
    Scenario(Policy.STRICT, 70013),
]


@pytest.fixture(scope="module", params=KINDS)
def a(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Node]:
    """A running node with a chain of its own."""
    kind = KINDS[request.param]
    kind.programs()
    node = Node(kind, tmp_path_factory.mktemp(f"peer-{request.param}"))
    try:
        node.start()
        node.generate(BLOCKS)
        yield node
    finally:
        node.stop()


@pytest.fixture(params=SCENARIOS, ids=lambda each: f"{each.policy.value}-{each.protocol_version}")
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """What kind of node our peer is."""
    return request.param


class Heard:
    """The callbacks of a peer: keeps its messages, and asks tests nothing."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.errors: list[str] = []

    def on_message(self, peer: Peer, message: Message) -> None:
        assert message.error is None
        self.messages.append(message)

    def on_read(self, peer: Peer, size: int, message: Message | None, error: str | None) -> None:
        if error is not None:
            self.errors.append(error)

    def of(self, command: str) -> list[Any]:
        """The records of a command that came."""
        return [each.record for each in self.messages if each.command == command]


class Talk:
    """A peer of ours that is connected to a node, used from the test's thread."""

    def __init__(self, loop: Loop, node: Node, config: PeerConfig) -> None:
        self.loop, self.node, self.heard = loop, node, Heard()
        self.peer = Peer(
            config,
            inbound=False,
            clock=loop.reactor,
            callbacks=self.heard,
            nonces=NonceCache(),
        )
        endpoint = TCP4ClientEndpoint(loop.reactor, "127.0.0.1", node.port, timeout=5)
        loop.call(connectProtocol, endpoint, self.peer)
        loop.call(self.peer.when_ready)

    def send(self, record: Any, **options: Any) -> None:
        """Send a message and wait until it went out."""
        sent = self.loop.call(lambda: self.peer.queue_message(record, **options))
        assert sent is True

    def wait(self, what: str, found: Callable[[], Any]) -> Any:
        """Wait for something to come."""
        return wait_until(f"the node sends {what}", found)

    def headers(self, known: str) -> tuple[Any, ...]:
        """Request the headers after a block."""
        before = len(self.heard.of("headers"))
        self.loop.call(lambda: self.peer.push_get_headers([from_display(known)], NO_HASH))
        self.wait("headers", lambda: len(self.heard.of("headers")) > before)
        return self.heard.of("headers")[before].headers

    def blocks(self, hashes: list[bytes]) -> dict[bytes, Message]:
        """Ask for blocks."""
        wanted = tuple(InventoryVector(InvType.WITNESS_BLOCK, each) for each in hashes)
        self.send(GetData(wanted))

        def come() -> dict[bytes, Message]:
            blocks = [each for each in list(self.heard.messages) if each.command == "block"]
            found = {each.record.header.hash: each for each in blocks}
            return found if set(hashes) <= found.keys() else {}

        return self.wait("the blocks", come)

    def info(self) -> dict[str, Any]:
        """What the node says of us."""
        return wait_until("the node lists us", lambda: _listed(self.node, self.peer))

    def close(self) -> None:
        """Hang up."""
        self.loop.call(self.peer.disconnect)
        self.loop.call(self.peer.when_disconnected)


def _listed(node: Node, peer: Peer) -> dict[str, Any] | None:
    """What a node's `getpeerinfo` says of a peer, found by its port."""
    ours = str(peer.local_address)
    found = [each for each in node.control("getpeerinfo") or () if each["addr"] == ours]
    return found[0] if found else None


@pytest.fixture
def talk(loop: Loop, a: Node, scenario: Scenario) -> Iterator[Talk]:
    """A peer of ours that is connected to node A, its handshake done."""
    newest = 7
    config = scenario.config(a.kind, newest_block=lambda: (NO_HASH, newest))
    talk = Talk(loop, a, config)
    yield talk
    assert talk.heard.errors == []
    assert talk.peer.is_ready
    talk.close()


# We connect to a node.


def test_a_node_knows_us_as_we_announced_ourselves(talk: Talk, scenario: Scenario):
    """Its own account is the witness: agent, version, services, height, relay, direction."""
    info = talk.info()
    assert info["subver"] == talk.peer.config.full_user_agent().decode()
    assert f"{AGENT}:{scenario.protocol_version}({scenario.policy.value})" in info["subver"]
    assert info["version"] == scenario.protocol_version
    assert int(info["services"]) == NETWORK_AND_WITNESS
    assert info["startingheight"] == 7
    assert info["relaytxes"] is True
    assert info["inbound"] is True
    assert abs(info["timeoffset"]) <= 2


def test_we_know_a_node_as_it_announced_itself(talk: Talk, a: Node, scenario: Scenario):
    """The same the other way."""
    known = talk.loop.call(talk.peer.snapshot)
    assert known.starting_height == a.height
    assert known.services & NETWORK_AND_WITNESS == NETWORK_AND_WITNESS
    assert a.kind.node in known.user_agent.decode().lower() or b"LBRY" in known.user_agent
    assert known.protocol_version == min(scenario.protocol_version, known.version)
    assert known.inbound is False
    assert abs(known.time_offset) <= 2
    info = talk.info()
    assert known.bytes_received <= int(info["bytessent"])
    assert known.bytes_sent <= int(info["bytesrecv"])


def test_a_node_that_wants_no_transactions_is_known_for_it(loop: Loop, a: Node, scenario: Scenario):
    """The relay flag of `version` is the node's to obey."""
    talk = Talk(loop, a, scenario.config(a.kind, relay=False))
    assert talk.info()["relaytxes"] is False
    talk.close()


def test_a_node_gives_the_headers_of_all_its_blocks(talk: Talk, a: Node):
    """Their hashes, as we compute them, are the ids that it knows them by."""
    height = a.height
    headers = talk.headers(a.control("getblockhash", 0))
    assert len(headers) == height
    ids = [display(each.hash) for each in headers]
    for number in (1, 2, height // 2, height):
        assert ids[number - 1] == a.control("getblockhash", number)
    assert [each.prev_block for each in headers[1:]] == [each.hash for each in headers[:-1]]


def test_a_node_gives_its_blocks(talk: Talk, a: Node):
    """With witnesses; the bytes are what its control program shows."""
    heights = (1, 50, BLOCKS)
    ids = [a.control("getblockhash", height) for height in heights]
    blocks = talk.blocks([from_display(each) for each in ids])
    for each in ids:
        message = blocks[from_display(each)]
        assert message.payload.hex() == a.control("getblock", each, 0)
        assert isinstance(message.record, Block)
        assert message.record.trailing == b""


def test_a_node_announces_a_new_block_as_we_wish(talk: Talk, a: Node):
    """By `inv`, and by `headers` when we have asked for that."""
    talk.info()
    [first] = a.generate(1)
    talk.wait(
        "inv",
        lambda: any(
            display(thing.hash) == first for inv in talk.heard.of("inv") for thing in inv.inventory
        ),
    )
    talk.send(SendHeaders())
    _answered(talk)
    [second] = a.generate(1)
    talk.wait(
        "headers",
        lambda: any(
            display(header.hash) == second
            for message in talk.heard.of("headers")
            for header in message.headers
        ),
    )


def test_a_node_takes_our_transaction(talk: Talk, a: Node):
    """It is in its memory pool."""
    transaction = _payment(a)
    talk.send(transaction, witness=True)
    txid = display(transaction.txid)
    wait_until("the node has our transaction", lambda: txid in a.mempool)


def test_a_node_asks_for_the_transaction_we_announce(loop: Loop, a: Node, scenario: Scenario):
    """What we have queued for the next trickle it wants, and gets from our callback."""
    transaction = _payment(a)
    talk = Talk(loop, a, scenario.config(a.kind))

    def serve(peer: Peer, record: GetData) -> None:
        assert [each.hash for each in record.inventory] == [transaction.txid]
        peer.queue_message(transaction, witness=True)

    talk.heard.on_getdata = serve  # type: ignore[attr-defined]
    thing = InventoryVector(InvType.TX, transaction.txid)
    loop.call(lambda: talk.peer.queue_inventory(thing))
    txid = display(transaction.txid)
    wait_until("the node has our transaction", lambda: txid in a.mempool)
    talk.close()


def test_a_node_announces_its_own_transaction_and_gives_it(talk: Talk, a: Node):
    """What it heard from its wallet we hear from it."""
    talk.info()
    transaction = _payment(a)
    raw = Codec(a.kind.network).encode(transaction)
    assert a.control("sendrawtransaction", raw.hex()) == display(transaction.txid)
    talk.wait(
        "inv",
        lambda: any(
            thing.hash == transaction.txid
            for inv in talk.heard.of("inv")
            for thing in inv.inventory
        ),
    )
    talk.send(GetData((InventoryVector(InvType.WITNESS_TX, transaction.txid),)))
    talk.wait("the transaction", lambda: talk.heard.of("tx"))
    assert [each.txid for each in talk.heard.of("tx")] == [transaction.txid]


def test_pings_are_answered_both_ways(talk: Talk, a: Node):
    """Ours by the node, the node's by us; both know how long it took."""
    _answered(talk)
    assert 0 <= talk.loop.call(talk.peer.snapshot).ping_seconds < 5
    a.control("ping")
    wait_until("our pong came", lambda: float(talk.info()["pingtime"]) > 0)
    known = talk.loop.call(talk.peer.snapshot)
    assert known.received["ping"][0] == known.sent["pong"][0] >= 1


def test_a_node_forgets_us_when_we_hang_up(loop: Loop, a: Node, scenario: Scenario):
    """Nothing of us is left with it."""
    talk = Talk(loop, a, scenario.config(a.kind))
    talk.info()
    talk.close()
    wait_until("the node's list is empty", lambda: not a.control("getpeerinfo"))
    assert not talk.peer.is_connected


# A node without bloom filters.


class Bloomless(Node):
    """A node that is configured to offer no bloom filters."""

    def start(self) -> None:
        """Say so in its settings, which are its control program's as well but for then."""
        self._own = self._settings.with_name("own.conf")
        self._own.write_text("[Application Options]\nnopeerbloomfilters=1\n")
        self._empty, self._settings = self._settings, self._own
        super().start()

    def _ask(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        self._settings = self._empty
        try:
            return super()._ask(*arguments)
        finally:
            self._settings = self._own


def test_a_node_without_bloom_filters_hangs_up_on_who_sends_one(
    loop: Loop, a: Node, tmp_path: Path
):
    """As our own peers do: the node's behaviour is the measure."""
    node = Bloomless(a.kind, tmp_path)
    try:
        node.start()
        for scenario in SCENARIOS:
            talk = Talk(loop, node, scenario.config(a.kind))
            assert talk.loop.call(talk.peer.snapshot).services & 1 << 2 == 0
            talk.send(FilterLoad(filter=bytes(8), hash_funcs=1, tweak=0, flags=0))
            loop.call(talk.peer.when_disconnected)
            assert not talk.peer.is_connected
    finally:
        node.stop()


# Nodes connect to us.


class Chain:
    """What A has sent: serves it to other nodes, as the callbacks of their peers."""

    def __init__(self, genesis: str, headers: tuple[Any, ...], blocks: dict[bytes, Message]):
        self.headers, self.blocks = headers, blocks
        self.hashes = [from_display(genesis), *(each.hash for each in headers)]
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.peers: list[Peer] = []

    def behind(self, locator: tuple[bytes, ...]) -> int:
        """The height after the last block that is known on both sides."""
        known = [self.hashes.index(each) for each in locator if each in self.hashes]
        return max(known, default=0) + 1

    def on_read(self, peer: Peer, size: int, message: Message | None, error: str | None) -> None:
        if error is not None:
            self.errors.append(error)

    def on_ready(self, peer: Peer) -> None:
        self.peers.append(peer)

    def on_getheaders(self, peer: Peer, record: GetHeaders) -> None:
        self.asked.append("getheaders")
        peer.send(Headers(self.headers[self.behind(record.locator) - 1 :][:2000]))

    def on_getblocks(self, peer: Peer, record: GetBlocks) -> None:
        self.asked.append("getblocks")
        hashes = self.hashes[self.behind(record.locator) :][:500]
        if hashes:
            peer.send(Inv(tuple(InventoryVector(InvType.BLOCK, each) for each in hashes)))

    def on_getdata(self, peer: Peer, record: GetData) -> None:
        self.asked.append("getdata")
        for thing in record.inventory:
            block = self.blocks[thing.hash].record
            assert block is not None
            peer.send(block, witness=thing.type == InvType.WITNESS_BLOCK)


@pytest.fixture(scope="module")
def chain(loop: Loop, a: Node) -> Chain:
    """All headers and blocks of A, fetched by a peer of ours."""
    talk = Talk(loop, a, SCENARIOS[0].config(a.kind))
    genesis = a.control("getblockhash", 0)
    headers = talk.headers(genesis)
    blocks = talk.blocks([each.hash for each in headers])
    talk.close()
    return Chain(genesis, headers, blocks)


def test_a_fresh_node_syncs_from_our_peer(
    loop: Loop, a: Node, chain: Chain, scenario: Scenario, tmp_path: Path
):
    """It connects to us, asks us, and comes to the same tip; it knows us as we are."""
    height = len(chain.headers)
    config = scenario.config(a.kind, newest_block=lambda: (chain.hashes[-1], height))
    served = Chain(display(chain.hashes[0]), chain.headers, chain.blocks)

    options: dict[str, Any] = {"clock": loop.reactor, "callbacks": served}
    listening = loop.listen(lambda: Peer(config, nonces=NonceCache(), **options))
    node = Node(a.kind, tmp_path, connect=listening.getHost().port)
    try:
        node.start()
        wait_until("the fresh node has our blocks", lambda: node.height >= height)
        assert height >= 20
        assert from_display(node.tip) == chain.hashes[-1]
        [info] = node.control("getpeerinfo")
        assert info["addr"] == f"127.0.0.1:{listening.getHost().port}"
        assert info["subver"] == config.full_user_agent().decode()
        assert info["version"] == scenario.protocol_version
        assert int(info["services"]) == NETWORK_AND_WITNESS
        assert info["startingheight"] == height
        assert info["relaytxes"] is True
        assert info["inbound"] is False
        [peer] = served.peers
        known = loop.call(peer.snapshot)
        assert (known.inbound, known.starting_height) == (True, 0)
        assert known.sent["block"][0] == height
        assert {"getblocks", "getheaders"} & set(served.asked)
        assert served.errors == []
        loop.call(peer.disconnect)
        loop.call(peer.when_disconnected)
    finally:
        loop.call(listening.stopListening)
        for each in served.peers:
            loop.call(each.disconnect)
            loop.call(each.when_disconnected)
        node.stop()


# What the tests have in common.

_rewards: dict[Node, Iterator[int]] = {}


def _payment(node: Node) -> Tx:
    """Spend a block's reward, each time another."""
    heights = _rewards.setdefault(node, itertools.count(1))
    txid, value = node.coinbase(next(heights))
    spent = TxIn(prev_hash=from_display(txid), prev_index=0, script_sig=SPEND, sequence=0xFFFFFFFF)
    paid = TxOut(value=value - FEE, script_pubkey=PAY_TO_ANYONE)
    return Tx(version=1, inputs=(spent,), outputs=(paid,), lock_time=0)


def _answered(talk: Talk) -> None:
    """Wait until the node has answered a ping of ours, and so dealt with all before it."""
    talk.send(Ping(nonce=0x6C62))
    wait_until(
        "the node answers our ping",
        lambda: (
            (known := talk.loop.call(talk.peer.snapshot)).ping_nonce == 0
            and known.ping_seconds is not None
        ),
    )
