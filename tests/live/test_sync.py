"""Real nodes sync and relay through `lbcproxy run`, between two witnesses of every byte.

The chain of a scenario is A <- tap <- lbcproxy <- tap <- B: what the taps saw is what the proxy got
and gave, and the capture is held against it by us and by tshark.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.session import Direction, Entry
from lbcproxy.wire.hashes import display
from tests.live.payments import pay_and_mine
from tests.live.proxies import Client, Proxy, lbcproxy
from tests.nodes import KINDS, Node, NodeKind, wait_until
from tests.taps import Tap, TappedConnection
from tests.tools import tshark

pytestmark = pytest.mark.live

BLOCKS = 310
QUIET = 0.5
"""Seconds without a byte after which nodes are taken to have said what they had to say."""
THIRD_END = re.compile(r"\[#3 [^]]*\] end: ")
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT


class Nodes(NamedTuple):
    """The pair all scenarios share: A has mined the chain, B looks for A behind `door`."""

    kind: NodeKind
    a: Node
    b: Node
    door: Tap


@pytest.fixture(scope="module", params=KINDS)
def nodes(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Nodes]:
    """Node A with `BLOCKS` blocks, running, and node B, not yet started."""
    kind = KINDS[request.param]
    kind.programs()
    folder = tmp_path_factory.mktemp(request.param)
    a = Node(kind, folder / "a")
    door = Tap(a.port)
    b = Node(kind, folder / "b", connect=door.port)
    try:
        a.start()
        a.generate(BLOCKS)
        yield Nodes(kind, a, b, door)
    finally:
        b.stop()
        a.stop()
        door.close()


class Sync(NamedTuple):
    """What is left when B has synced from A through lbcproxy and lbcproxy has been stopped."""

    kind: NodeKind
    height: int
    """What B came to first."""
    relayed: dict[str, str]
    """The transactions sent on each node, by its name."""
    port: int
    """At which lbcproxy listened."""
    exit_code: int
    output: str
    capture: Path
    before: TappedConnection
    """What passed between B and lbcproxy."""
    behind: TappedConnection
    """What passed between lbcproxy and A."""


@pytest.fixture(scope="module")
def sync(nodes: Nodes, tmp_path_factory) -> Iterator[Sync]:
    """Sync B, relay a transaction each way and mine it, and stop lbcproxy."""
    kind, a, b, door = nodes
    backdoor = Tap(a.port)
    proxy = Proxy(kind.network, backdoor.port, tmp_path_factory.mktemp("proxy"))
    try:
        door.target = proxy.port
        b.start()
        wait_until("B has A's blocks", lambda: b.height >= BLOCKS, 60)
        height = b.height
        wait_until("both have the same tip", lambda: a.tip == b.tip)
        relayed = {
            "a": pay_and_mine(sender=a, receiver=b, height=5),
            "b": pay_and_mine(sender=b, receiver=a, height=6),
        }
        wait_until("the nodes are quiet", lambda: _quiet(door) and _quiet(backdoor))
        exit_code = proxy.stop()
        before, behind = door.connections[0], backdoor.connections[0]
        yield Sync(
            kind,
            height,
            relayed,
            proxy.port,
            exit_code,
            proxy.output,
            proxy.capture,
            before,
            behind,
        )
    finally:
        proxy.close()
        backdoor.close()


def _quiet(tap: Tap) -> bool:
    """Whether nothing has passed a tap for a while."""
    chunks = [
        each[-1:]
        for one in tap.connections
        for each in (one.to_target_chunks, one.to_client_chunks)
    ]
    last = max((time for chunk in chunks for time, _ in chunk), default=0.0)
    return time.monotonic() - last > QUIET


def _entries(sync: Sync) -> list[Entry]:
    return list(open_capture(sync.capture))


def _raw(entries: list[Entry], direction: Direction) -> bytes:
    return b"".join(entry.raw for entry in entries if entry.direction is direction)


def _followed(path: Path, stream: int) -> tuple[bytes, bytes]:
    """The bytes of a TCP stream as tshark follows it: from the client, from the server."""
    sides: tuple[list[str], list[str]] = ([], [])
    for line in tshark("-r", str(path), "-q", "-z", f"follow,tcp,raw,{stream}").splitlines():
        text = line.strip()
        if text and set(text) <= set("0123456789abcdef"):
            sides[line.startswith("\t")].append(text)
    return bytes.fromhex("".join(sides[0])), bytes.fromhex("".join(sides[1]))


def test_a_node_syncs_through_the_proxy(sync: Sync):
    """The main job: to the nodes it is as if there were nothing between them."""
    assert sync.height >= 300
    assert set(sync.relayed) == {"a", "b"}


def test_sigterm_ends_the_proxy_in_order(sync: Sync):
    """Services are stopped by SIGTERM; that is no failure, and nothing went wrong before it."""
    assert sync.exit_code == 0
    assert "proxy stopped" in sync.output
    assert "Traceback" not in sync.output


def test_what_came_in_on_one_side_went_out_on_the_other(sync: Sync):
    """Not a byte is added, left out or changed, whichever way."""
    assert len(sync.behind.to_client) > 100 * 300  # not an empty truth
    assert sync.behind.to_target == sync.before.to_target
    assert sync.behind.to_client == sync.before.to_client


def test_the_capture_holds_the_bytes_that_passed(sync: Sync):
    """A capture is evidence: the messages in it, in order, are the stream that the taps saw."""
    entries = _entries(sync)
    assert _raw(entries, UP) == sync.before.to_target
    assert _raw(entries, DOWN) == sync.before.to_client
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    assert {entry.session for entry in entries} == {1}
    assert all(entry.message is not None for entry in entries)


def test_the_capture_tells_what_happened(sync: Sync):
    """Messages are found and read: the blocks that were synced, the transactions both ways."""
    entries = _entries(sync)
    commands = Counter((entry.direction, entry.command) for entry in entries)
    assert commands[DOWN, "block"] >= 300
    for direction in Direction:
        assert commands[direction, "version"] == commands[direction, "verack"] == 1
        assert commands[direction, "tx"] == 1
    found = {
        entry.direction: display(entry.message.record.txid)
        for entry in entries
        if entry.command == "tx"
    }
    assert found == {DOWN: sync.relayed["a"], UP: sync.relayed["b"]}


def test_times_in_the_capture_rise(sync: Sync):
    """What a node answered follows what it was asked."""
    times = [entry.time_ns for entry in _entries(sync)]
    assert times == sorted(times)
    assert abs(time.time_ns() - times[-1]) < 600 * 10**9


def test_show_gives_the_same_list(sync: Sync):
    """What scripts get on the command line is what the library reads, and no error is in it."""
    lines = lbcproxy("show", "-T", "ndjson", "-x", sync.capture).splitlines()
    shown = [json.loads(line) for line in lines]
    assert [
        (each["number"], each["direction"], each["command"], each["payload"]) for each in shown
    ] == [
        (entry.number, entry.direction.value, entry.command, entry.payload.hex())
        for entry in _entries(sync)
    ]
    assert [each for each in shown if each["error"] is not None] == []
    assert all(each["verdict"] == "pass" and each["message"] is not None for each in shown)


def test_tshark_follows_the_same_bytes(sync: Sync):
    """Wireshark's reassembly, not ours, finds in the file what the taps saw."""
    assert _followed(sync.capture, 0) == (sync.before.to_target, sync.before.to_client)


def test_tshark_finds_the_tcp_in_order(sync: Sync):
    """No lost, repeated or overlapping segment: the TCP we make up has no flaw to explain."""
    assert tshark("-r", str(sync.capture), "-Y", "tcp.analysis.flags || _ws.malformed") == ""


def test_tshark_reads_the_same_messages(sync: Sync):
    """Wireshark's own dissector of Bitcoin finds the same commands, in the same order."""
    if sync.kind.network.family != "bitcoin":
        pytest.skip("Wireshark 4.0 knows the magics of Bitcoin alone")
    arguments = ["-r", str(sync.capture), "-d", f"tcp.port=={sync.port},bitcoin"]
    arguments += ["-Y", "bitcoin", "-T", "fields", "-e", "tcp.dstport", "-e", "bitcoin.command"]
    found: dict[Direction, list[str]] = {UP: [], DOWN: []}
    for line in tshark(*arguments).splitlines():
        port, _, commands = line.partition("\t")
        found[UP if int(port) == sync.port else DOWN] += commands.split(",")
    entries = _entries(sync)
    assert found == {
        direction: [entry.command for entry in entries if entry.direction is direction]
        for direction in Direction
    }


def test_both_legs_hold_the_same_and_count_once(sync: Sync, nodes: Nodes, tmp_path: Path):
    """With `--legs both` Wireshark sees two connections, and a reader each message once."""
    kind, a, b, _ = nodes
    proxy = Proxy(kind.network, a.port, tmp_path, "--legs", "both")
    try:
        b.control("node", "connect", f"127.0.0.1:{proxy.port}", "temp")
        wait_until("they shook hands", lambda: proxy.output.count(" verack ") == 2)
        tip = a.generate(3)[-1]
        wait_until("B has the new blocks", lambda: b.tip == tip)
        assert proxy.stop() == 0
    finally:
        proxy.close()
    entries = list(open_capture(proxy.capture))
    assert {entry.session for entry in entries} == {1}
    assert [entry.error for entry in entries if entry.error is not None] == []
    blocks = [entry.raw for entry in entries if entry.command == "block"]
    assert len(blocks) == len(set(blocks)) == 3
    passed = (_raw(entries, UP), _raw(entries, DOWN))
    assert _followed(proxy.capture, 0) == passed
    assert _followed(proxy.capture, 1) == passed
    assert tshark("-r", str(proxy.capture), "-Y", "tcp.analysis.flags || _ws.malformed") == ""


@pytest.fixture(params=KINDS)
def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    """A node of its own for a test that kills it.

    A killed btcd loses the blocks that it had not written yet, so that the chain of a shared node
    would be shorter afterwards.
    """
    kind = KINDS[request.param]
    kind.programs()
    node = Node(kind, tmp_path / "node")
    try:
        node.start()
        yield node
    finally:
        node.stop()


def test_a_node_that_dies_takes_its_sessions_with_it_and_nothing_more(mortal: Node, tmp_path: Path):
    """Clients see their node's end as without a proxy; the proxy serves on when it is back."""
    a, kind = mortal, mortal.kind
    proxy = Proxy(kind.network, a.port, tmp_path / "proxy", "--dial-timeout", "5")
    try:
        with Client(kind.network, proxy.port) as client:
            client.greet()
            assert client.ping(1) == 1
            a.kill()
            assert client.read_to_end() in ("closed", "reset")
        with pytest.raises(ConnectionResetError), Client(kind.network, proxy.port) as refused:
            refused.wait_for("version")
        a.start()
        with Client(kind.network, proxy.port) as again:
            again.greet()
            assert again.ping(2) == 2
        wait_until("the third session is over", lambda: THIRD_END.search(proxy.output))
        assert proxy.stop() == 0
    finally:
        proxy.close()
    assert "Traceback" not in proxy.output
    assert "upstream unreachable" in proxy.output
    pings = [
        (entry.session, entry.message.record.nonce)
        for entry in open_capture(proxy.capture)
        if entry.command == "ping" and entry.direction is UP
    ]
    assert pings == [(1, 1), (3, 2)]
    assert tshark("-r", str(proxy.capture), "-Y", "tcp.analysis.flags || _ws.malformed") == ""
