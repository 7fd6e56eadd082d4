"""Record the captures of `captures/` that are of live btcd nodes: `script/record-captures`.

Beside each recording stands what two taps saw of the same bytes, cut into messages by a few lines
here that use nothing of lbcproxy.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lbcproxy.wire.hashes import display, from_display, sha256d
from lbcproxy.wire.messages.addresses import GetAddr
from lbcproxy.wire.messages.bloom import FilterClear, FilterLoad
from lbcproxy.wire.messages.cfilters import GetCFCheckpt, GetCFHeaders, GetCFilters
from lbcproxy.wire.messages.headers import GetBlocks, GetHeaders
from lbcproxy.wire.messages.inventory import GetData, InventoryVector
from lbcproxy.wire.messages.keepalive import MemPool
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from tests.live.payments import FEE
from tests.live.proxies import Client, Proxy
from tests.nodes import ANYONE, KINDS, PAY_TO_ANYONE, SPEND, Node, wait_until
from tests.taps import Tap, TappedConnection

KIND = KINDS["btcd"]
BLOCKS = 445
"""Enough for segwit to be active on btcd's regtest."""
AGENT = "/seen/through:1.0/"
WITNESS_PROGRAM = b"\x00\x20" + hashlib.sha256(ANYONE).digest()
"""Pays to whoever shows OP_TRUE as a witness script (BIP141)."""
TX, BLOCK, FILTERED, WITNESS = 1, 2, 3, 1 << 30
BASIC = 0
"""The kind of compact filter (BIP158)."""
ALL = bytes(32)


class Scene:
    """Node A with a chain, lbcproxy forwarding to it, and a tap on either side of that."""

    def __init__(self, folder: Path, name: str, blocks: int, *options: str) -> None:
        self.folder = folder
        self.name = name
        self.a = Node(KIND, folder / "a")
        self.b: Node | None = None
        self.a.start()
        self.a.generate(blocks)
        self.behind = Tap(self.a.port)
        self.proxy = Proxy(KIND.network, self.behind.port, folder / "proxy", *options)
        self.before = Tap(self.proxy.port)

    def connect_b(self) -> Node:
        """Start node B, which has A behind lbcproxy, and wait until it has A's blocks."""
        self.b = Node(KIND, self.folder / "b", connect=self.before.port)
        self.b.start()
        wait_until("B has A's blocks", self.same_tip, 120)
        return self.b

    def same_tip(self) -> bool:
        """Whether both nodes have the same blocks."""
        return self.b is not None and self.a.tip == self.b.tip

    def pay(self, sender: Node, tx: Tx) -> None:
        """Have a node send a transaction, and wait until the other has it too."""
        assert self.b is not None
        other = self.b if sender is self.a else self.a
        raw = tx.to_bytes(witness=True)
        assert sender.control("sendrawtransaction", raw.hex()) == display(tx.txid)
        wait_until("the other has it", lambda: display(tx.txid) in other.mempool)

    def mine(self, node: Node) -> None:
        """Have a node mine a block, and wait until the other has it."""
        node.generate(1)
        wait_until("the other has the block", self.same_tip)

    def end(self, into: Path) -> None:
        """Stop all, and keep the recording and what the taps saw."""
        code = self.proxy.stop()
        assert code == 0, self.proxy.output
        shutil.copy(self.proxy.capture, into / f"{self.name}.pcapng")
        seen = [
            each
            for one, behind in zip(self.before.connections, self.behind.connections, strict=True)
            for each in _truth(one, behind)
        ]
        lines = ",\n".join(json.dumps(each) for each in seen)
        (into / f"{self.name}.truth.json").write_text(f"[{lines}]\n")
        self.close()

    def close(self) -> None:
        """End what still runs."""
        self.proxy.close()
        for node in (self.b, self.a):
            if node is not None:
                node.stop()
        self.before.close()
        self.behind.close()


def _truth(client: TappedConnection, upstream: TappedConnection) -> list[dict[str, Any]]:
    """Say what each node sent: from the client's tap what it did, from the upstream's likewise."""
    return [
        {"from": "client", "bytes": len(client.to_target), "messages": _cut(client.to_target)},
        {
            "from": "upstream",
            "bytes": len(upstream.to_client),
            "messages": _cut(upstream.to_client),
        },
    ]


def _cut(stream: bytes) -> list[tuple[str, int, str]]:
    messages, place = [], 0
    while place < len(stream):
        name, length = struct.unpack_from("<4x12sI", stream, place)
        payload = stream[place + 24 : place + 24 + length]
        assert len(payload) == length
        digest = hashlib.sha256(payload).hexdigest()[:16]
        messages.append((name.rstrip(b"\0").decode(), length, digest))
        place += 24 + length
    return messages


def _spending(txid: str, value: int, script: bytes, *, sequence: int = 0xFFFFFFFF) -> Tx:
    """Spend the first output of a transaction, which pays to anyone, to a script."""
    spent = TxIn(from_display(txid), 0, SPEND, sequence)
    return Tx(2, (spent,), (TxOut(value - FEE, script),), 0)


def sync(scene: Scene) -> None:
    """B syncs from A; transactions pass both ways, one with a witness; both mine."""
    b = scene.connect_b()
    scene.pay(scene.a, _spending(*scene.a.coinbase(5), PAY_TO_ANYONE))
    scene.mine(b)
    scene.pay(b, _spending(*b.coinbase(6), PAY_TO_ANYONE))
    funding = _spending(*scene.a.coinbase(7), WITNESS_PROGRAM)
    scene.pay(scene.a, funding)
    scene.mine(scene.a)
    spent = TxIn(funding.txid, 0, b"", 0xFFFFFFFE, (ANYONE,))
    value = funding.outputs[0].value - FEE
    scene.pay(b, Tx(2, (spent,), (TxOut(value, WITNESS_PROGRAM),), 100))
    scene.mine(scene.a)


def changed(scene: Scene) -> None:
    """Plugins withhold a transaction from B and show each node another user agent."""
    scene.connect_b()
    tx = _spending(*scene.a.coinbase(5), PAY_TO_ANYONE)
    scene.a.control("sendrawtransaction", tx.to_bytes(witness=True).hex())
    wait_until("the plugin has dropped it", lambda: "into the black hole" in scene.proxy.output)
    scene.mine(scene.a)


def light_client(scene: Scene) -> None:
    """A light client asks for all that a node serves, once, and waits for each answer."""
    tips = scene.a.control("getbestblockhash")
    tip = from_display(str(tips))
    blocks = [from_display(str(scene.a.control("getblockhash", each))) for each in (1, 2, 3)]
    tx = _spending(*scene.a.coinbase(5), PAY_TO_ANYONE)
    scene.a.control("sendrawtransaction", tx.to_bytes(witness=True).hex())
    genesis = sha256d(KIND.network.genesis)
    asked: tuple[tuple[Any, str], ...] = (
        (GetHeaders(70013, (genesis,), ALL), "headers"),
        (GetHeaders(70013, (blocks[1],), tip), "headers"),
        (GetBlocks(70013, (blocks[2],), ALL), "inv"),
        (GetData((InventoryVector(BLOCK, blocks[0]),)), "block"),
        (GetData((InventoryVector(BLOCK | WITNESS, blocks[1]),)), "block"),
        (MemPool(), "inv"),
        (GetData((InventoryVector(TX, tx.txid),)), "tx"),
        (GetData((InventoryVector(TX, bytes(31) + b"\1"),)), "notfound"),
        (GetCFHeaders(BASIC, 0, blocks[2]), "cfheaders"),
        (GetCFilters(BASIC, 2, blocks[1]), "cfilter"),
        (GetCFCheckpt(BASIC, tip), "cfcheckpt"),
        (FilterLoad(b"\xff" * 8, 2, 0, 0), ""),
        (GetData((InventoryVector(FILTERED, blocks[2]),)), "merkleblock"),
        (FilterClear(), ""),
        (GetAddr(), ""),
    )
    with Client(KIND.network, scene.before.port) as client:
        client.greet()
        for request, answer in asked:
            client.send(request)
            if answer:
                client.wait_for(answer)
        assert client.ping(0x706F6E67) == 0x706F6E67


RECORDINGS: tuple[tuple[str, int, Callable[[Scene], None], tuple[str, ...]], ...] = (
    ("btcd-sync", BLOCKS, sync, ()),
    ("btcd-changed", 110, changed, ("-s", "black_hole", "-s", f"user_agent agent={AGENT}")),
    ("btcd-light-client", 120, light_client, ()),
)


def main(into: Path) -> None:
    """Make all of them in a folder."""
    for name, blocks, play, options in RECORDINGS:
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(Path(folder), name, blocks, *options)
            try:
                play(scene)
                scene.end(into)
            finally:
                scene.close()
        size = (into / f"{name}.pcapng").stat().st_size
        sys.stdout.write(f"{name}.pcapng: {size:,} bytes\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
