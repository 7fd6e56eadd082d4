"""Real nodes sync from a recorded one: from `lbcproxy replay server`, its node long stopped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.wire.messages.handshake import VerAck
from tests.live.proxies import Program, Proxy
from tests.nodes import KINDS, Node, NodeKind, wait_until
from tests.replay.conversations import DOWN, NETWORK, UP, Line, write
from tests.replay.recordings import compact_block, version

pytestmark = pytest.mark.live

BLOCKS = (60, 90, 120)
"""How many there are when the recording begins, when D leaves, and in the end."""
LISTENING = re.compile(r"listening at \S+:(\d+), as ")


class Replay(Program):
    """A running `lbcproxy replay server`."""

    def __init__(self, capture: Path, folder: Path, *options: str) -> None:
        command = ["replay", "server", str(capture), *options]
        super().__init__(command, folder / "replay.txt", LISTENING)


class Recorded(NamedTuple):
    """What is left of a sync when all nodes have stopped."""

    kind: NodeKind
    capture: Path
    tip: str
    d: Path
    """The folder of a node that has the first blocks only."""


@pytest.fixture(scope="module", params=KINDS)
def recorded(request: pytest.FixtureRequest, tmp_path_factory) -> Recorded:
    """B synced from A through lbcproxy, which recorded it; A went on mining in the meantime."""
    kind = KINDS[request.param]
    kind.programs()
    folder = tmp_path_factory.mktemp(request.param)
    first, second, last = BLOCKS
    a = Node(kind, folder / "a")
    proxy = Proxy(kind.network, a.port, folder / "proxy")
    b = Node(kind, folder / "b", connect=proxy.port)
    d = Node(kind, folder / "d", connect=a.port)
    try:
        a.start()
        a.generate(first)
        b.start()
        wait_until("B has A's blocks", lambda: b.height >= first, 60)
        a.generate(second - first)
        d.start()
        wait_until("D has A's blocks", lambda: d.height >= second, 60)
        d.stop()
        a.generate(last - second)
        wait_until("B has them all", lambda: b.tip == a.tip, 60)
        tip = a.tip
        b.stop()
        assert proxy.stop() == 0
    finally:
        for node in (a, b, d):
            node.stop()
        proxy.close()
    return Recorded(kind, proxy.capture, tip, folder / "d")


@pytest.mark.parametrize("node", ["fresh", "with a part of the chain"])
def test_a_node_syncs_from_the_recorded_one(recorded: Recorded, tmp_path: Path, node: str):
    """To the same last block. The locator of the second was never asked in the recording."""
    replay = Replay(recorded.capture, tmp_path)
    folder = tmp_path / "c" if node == "fresh" else recorded.d
    c = Node(recorded.kind, folder, connect=replay.port)
    try:
        c.start()
        wait_until("it has all blocks", lambda: c.tip == recorded.tip, 60)
        assert c.height == BLOCKS[-1]
        [peer] = c.control("getpeerinfo")
        assert peer["addr"] == f"127.0.0.1:{replay.port}"
        assert peer["startingheight"] == BLOCKS[0]
        c.stop()
        wait_until("it has left", lambda: "] replayed: " in replay.output)
        assert replay.stop() == 0
    finally:
        c.stop()
        replay.close()
    assert "client connect" in replay.output
    assert "unknown" not in replay.output
    assert "Traceback" not in replay.output


def test_several_nodes_sync_at_once(recorded: Recorded, tmp_path: Path):
    """Each at its own place in the conversation."""
    replay = Replay(recorded.capture, tmp_path, "--quiet")
    nodes = [Node(recorded.kind, tmp_path / name, connect=replay.port) for name in "cde"]
    try:
        for node in nodes:
            node.start()
        for node in nodes:
            wait_until("it has all blocks", lambda: node.tip == recorded.tip, 60)  # noqa: B023
    finally:
        for node in nodes:
            node.stop()
        replay.close()


def test_a_node_syncs_from_compact_blocks_alone(recorded: Recorded, tmp_path: Path):
    """The recording holds no block: each is put together of short ids and transactions."""
    if recorded.kind.network is not NETWORK:
        pytest.skip("compact blocks are written for Bitcoin's regtest here")
    blocks = {
        entry.message.record.header.hash: entry.message.record
        for entry in open_capture(recorded.capture)
        if entry.command == "block" and entry.message is not None
    }
    lines: list[Line] = [(UP, version(height=0)), (DOWN, version(height=len(blocks)))]
    lines += [(DOWN, VerAck()), (UP, VerAck())]
    for number, block in enumerate(blocks.values()):
        if number % 2:
            lines += [(DOWN, tx) for tx in block.transactions]
        prefilled = () if number % 2 else (0,)
        lines.append((DOWN, compact_block(block, prefilled)))
    replay = Replay(write(tmp_path / "compact.pcapng", lines), tmp_path)
    c = Node(recorded.kind, tmp_path / "c", connect=replay.port)
    try:
        c.start()
        wait_until("it has all blocks", lambda: c.tip == recorded.tip, 60)
        c.stop()
        wait_until("it has left", lambda: "] replayed: " in replay.output)
        assert replay.stop() == 0
    finally:
        c.stop()
        replay.close()
    assert "Traceback" not in replay.output
