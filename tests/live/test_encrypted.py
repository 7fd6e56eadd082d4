"""Real nodes that encrypt, or do not, through `lbcproxy run`: by their own account, and taps'.

Nodes of one kind are shared by the tests that need one with a chain.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.session import Direction, Entry
from tests.live import litecoin
from tests.live.payments import pay_and_mine
from tests.live.picky import Picky
from tests.live.proxies import Proxy, lbcproxy
from tests.nodes import BTCD26, ENCRYPTS, KINDS, Node, NodeKind, free_port, wait_until
from tests.taps import Tap

pytestmark = pytest.mark.live

BLOCKS = 300
NETWORK = BTCD26.network
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
V1, V2 = KINDS["btcd"], BTCD26
CUT = (" cut off, ", "cannot be decrypted: in packet ")
"""What is said of a message that its node has not sent to its end."""
_heights = itertools.count(1)
"""Blocks whose reward is spent: each only once, since the tests share the chain."""


def flags_of(kind: NodeKind) -> tuple[str, ...]:
    """Return the flags with which nodes of a kind encrypt, if they can."""
    return (ENCRYPTS,) if kind is BTCD26 else ()


def _with_chain(kind: NodeKind, folder: Path) -> Iterator[Node]:
    kind.programs()
    node = Node(kind, folder, flags=flags_of(kind))
    try:
        node.start()
        node.generate(BLOCKS)
        yield node
    finally:
        node.stop()


@pytest.fixture(scope="module")
def encrypting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with a chain that can encrypt."""
    yield from _with_chain(BTCD26, tmp_path_factory.mktemp("encrypting"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with a chain that cannot."""
    yield from _with_chain(KINDS["btcd"], tmp_path_factory.mktemp("plain"))


def synced(node: Node, other: Node) -> None:
    """Wait until a node has the chain of another."""
    wait_until("it has the blocks", lambda: node.height >= other.height, 60)
    wait_until("both have the same tip", lambda: node.tip == other.tip)


def says(node: Node, *expected: bool) -> None:
    """Wait until a node says of its connections whether they are encrypted."""

    def listed() -> bool:
        peers = node.control("getpeerinfo") or ()
        return [bool(each.get("v2_connection")) for each in peers] == list(expected)

    wait_until(f"it says of its connections {expected}", listed, 10)


def read(capture: Path) -> list[Entry]:
    """Return all whole messages of a capture; there must be no junk, and nothing wrong.

    btcd writes header and payload one by one: who leaves may have written only the first.
    """
    entries = list(open_capture(capture))
    wrong = [each.error or "" for each in entries if each.message is None or each.error]
    assert [error for error in wrong if not any(each in error for each in CUT)] == []
    return [each for each in entries if each.message is not None and each.error is None]


@pytest.mark.parametrize("kind", ["reverse", "socks5"])
def test_two_nodes_that_encrypt(encrypting: Node, tmp_path: Path, kind: str):
    """Both say so; they sync and pay each other, and every message is read."""
    a = encrypting
    reverse = kind == "reverse"
    proxy = Proxy(NETWORK, a.port if reverse else (), tmp_path / "proxy", kind=kind)
    way = () if reverse else (f"--proxy=127.0.0.1:{proxy.port}",)
    door = proxy.port if reverse else a.port
    b = Node(BTCD26, tmp_path / "b", connect=door, flags=(ENCRYPTS, *way))
    try:
        b.start()
        synced(b, a)
        says(a, True)
        says(b, True)
        paid = [pay_and_mine(a, b, next(_heights)), pay_and_mine(b, a, next(_heights))]
        b.stop()
        wait_until("the session is over", lambda: "] end: client" in proxy.output)
        assert proxy.stop() == 0
    finally:
        b.stop()
        proxy.close()
    entries = read(proxy.capture)
    commands = Counter((entry.direction, entry.command) for entry in entries)
    assert commands[DOWN, "block"] >= BLOCKS
    assert commands[UP, "verack"] == commands[DOWN, "verack"] == 1
    assert commands[DOWN, "tx"] >= 1
    assert commands[UP, "tx"] >= 1
    assert len(paid) == 2


@pytest.mark.parametrize(
    ("client", "options"),
    [
        (V2, ()),
        (V2, ("--client-transport", "v2", "--upstream-transport", "v1")),
        (V1, ()),
        (V1, ("--client-transport", "v1", "--upstream-transport", "v2")),
    ],
    ids=["v2 falls back", "v2 to v1", "v1 follows", "v1 to v2"],
)
def test_nodes_of_which_one_encrypts(
    request: pytest.FixtureRequest, tmp_path: Path, client: NodeKind, options: tuple[str, ...]
):
    """Each speaks as it can, with the other one. Blocks and transactions go both ways."""
    a: Node = request.getfixturevalue("plain" if client is V2 else "encrypting")
    proxy = Proxy(NETWORK, a.port, tmp_path / "proxy", *options)
    b = Node(client, tmp_path / "b", connect=proxy.port, flags=flags_of(client))
    try:
        b.start()
        synced(b, a)
        says(a, a.kind is V2 and "v2" in options)
        says(b, client is V2)
        pay_and_mine(a, b, next(_heights))
        pay_and_mine(b, a, next(_heights))
        b.stop()
        wait_until("the session is over", lambda: "] end: client" in proxy.output)
        assert proxy.stop() == 0
    finally:
        b.stop()
        proxy.close()
    commands = Counter((entry.direction, entry.command) for entry in read(proxy.capture))
    assert commands[DOWN, "block"] >= BLOCKS
    falls_back = client is V2 and not options
    assert ("connecting again without" in proxy.output) is falls_back


@pytest.mark.parametrize("habit", ["close", "reset", "silence"])
def test_a_node_that_cannot_encrypt_is_reached_in_time(plain: Node, tmp_path: Path, habit: str):
    """Whatever it does when it gets a key: the client is served within the time for dialling.

    It is the second of two upstreams; nobody listens at the first.
    """
    picky = Picky(plain.port, NETWORK.magic, habit)
    upstreams = (free_port(), picky.port)
    proxy = Proxy(NETWORK, upstreams, tmp_path / "proxy", "--dial-timeout", "6")
    b = Node(BTCD26, tmp_path / "b", connect=proxy.port, flags=(ENCRYPTS,))
    began = time.monotonic()
    try:
        b.start()
        synced(b, plain)
        says(b, True)
        assert (picky.refused, len(picky.served)) == (1, 1)
        assert picky.served[0] - began < 6
        assert proxy.stop() == 0
    finally:
        b.stop()
        proxy.close()
        picky.close()
    read(proxy.capture)


def test_nodes_that_cannot_encrypt_do_so_by_two_proxies(tmp_path: Path):
    """Between the proxies nothing of what they say can be seen."""
    network = networks.get("litecoin-regtest")
    a = litecoin.Node(tmp_path / "a", "-listen=1")
    b: litecoin.Node | None = None
    proxies: list[Proxy] = []
    taps: list[Tap] = []
    try:
        wait_until("a answers", a.answers, 60)
        a.ask("createwallet", "w")
        a.ask("generatetoaddress", str(BLOCKS), a.ask("getnewaddress"))
        to_v1 = ("--client-transport", "v2", "--upstream-transport", "v1")
        proxies.append(Proxy(network, a.port, tmp_path / "p2", *to_v1))
        taps.append(Tap(proxies[0].port))
        to_v2 = ("--client-transport", "v1", "--upstream-transport", "v2")
        proxies.append(Proxy(network, taps[0].port, tmp_path / "p1", *to_v2))
        b = litecoin.Node(tmp_path / "b", f"-connect=127.0.0.1:{proxies[1].port}")
        wait_until("b answers", b.answers, 60)
        litecoin.is_where(b, a)
        a.ask("sendtoaddress", a.ask("getnewaddress"), "1")
        wait_until("b hears of it", lambda: b.ask("getrawmempool"), 60)
        b.stop()
        for proxy in proxies:
            wait_until("the session is over", lambda proxy=proxy: "] end: " in proxy.output)
            assert proxy.stop() == 0
    finally:
        for each in (b, a):
            if each is not None:
                each.stop()
        for one in (*proxies, *taps):
            one.close()
    [between] = taps[0].connections
    for seen in (between.to_target, between.to_client):
        assert len(seen) > 1_000
        assert network.magic not in seen
    second, first = (read(proxy.capture) for proxy in proxies)
    assert _messages(first) == _messages(second)
    assert Counter(each.command for each in first)["block"] == BLOCKS


def _messages(entries: list[Entry]) -> dict[Direction, list[bytes]]:
    return {
        direction: [each.raw for each in entries if each.direction is direction]
        for direction in Direction
    }


def test_a_key_log_reads_what_was_recorded_unread(encrypting: Node, tmp_path: Path):
    """Message for message: one proxy has the keys, the other has the bytes of the same leg."""
    keys = tmp_path / "keys.txt"
    opaque = Proxy(NETWORK, encrypting.port, tmp_path / "opaque", "--transport", "opaque")
    reading = Proxy(NETWORK, opaque.port, tmp_path / "reading", "--key-log", str(keys))
    b = Node(BTCD26, tmp_path / "b", connect=reading.port, flags=(ENCRYPTS,))
    try:
        b.start()
        synced(b, encrypting)
        pay_and_mine(encrypting, b, next(_heights))
        b.stop()
        for proxy in (reading, opaque):
            wait_until("the session is over", lambda proxy=proxy: "] end: " in proxy.output)
            assert proxy.stop() == 0
    finally:
        b.stop()
        reading.close()
        opaque.close()
    assert keys.stat().st_mode & 0o777 == 0o600
    assert all(each.message is None for each in open_capture(opaque.capture, network=NETWORK))
    decrypted = tmp_path / "decrypted.pcapng"
    lbcproxy(*("decrypt", opaque.capture, "--keys", keys, "-w", decrypted, "--network", NETWORK.id))
    entries = read(reading.capture)
    assert _messages(read(decrypted)) == _messages(entries)
    assert Counter(each.command for each in entries)["block"] >= BLOCKS


def test_lbcd_is_reached_by_a_client_that_encrypts(tmp_path: Path):
    """It cannot, so it is dialled again. No registry has it: this needs it by name."""
    kind = KINDS["lbcd"]
    kind.programs()
    node = Node(kind, tmp_path / "lbcd")
    proxy: Any = None
    try:
        node.start()
        proxy = Proxy(kind.network, node.port, tmp_path / "proxy", "--dial-timeout", "6")
        address = f"127.0.0.1:{proxy.port}"
        options = ("--transport", "v2", "--network", kind.network.id, "--json")
        assert "session_id" in lbcproxy("probe", address, *options)
        wait_until("the session is over", lambda: "] end: " in proxy.output)
        assert proxy.stop() == 0
    finally:
        node.stop()
        if proxy is not None:
            proxy.close()
    assert "connecting again without" in proxy.output
    assert Counter(each.command for each in read(proxy.capture))["verack"] == 2
