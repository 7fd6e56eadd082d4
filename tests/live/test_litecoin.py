"""Litecoin Core syncs through `lbcproxy run`, with transactions in extension blocks (MWEB)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.session import Entry
from lbcproxy.wire import Codec
from tests.engines import BOTH, require_native
from tests.live.proxies import Proxy
from tests.nodes import free_port, wait_until
from tests.tools import TIMEOUT, program

pytestmark = pytest.mark.live

NETWORK = networks.get("litecoin-regtest")
BEFORE_MWEB = 431
"""Blocks; the next one is the first that may have an extension block."""
LOGIN = ("-rpcuser=u", "-rpcpassword=p")


class Node:
    """A litecoind, its files in a folder of its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        advice = "apt-get install litecoind"
        node, self._control = program("litecoind", advice), program("litecoin-cli", advice)
        folder.mkdir()
        self.port, self._rpc = free_port(), free_port()
        self._own = ("-regtest", f"-datadir={folder}", f"-rpcport={self._rpc}", *LOGIN)
        self._process = subprocess.Popen(
            [node, *self._own, f"-bind=127.0.0.1:{self.port}", "-fallbackfee=0.001", *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, *words: str) -> Any:
        """Have it do something, and return its answer."""
        command = [self._control, *self._own, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
        text = done.stdout.strip()
        return json.loads(text) if text[:1] in ("{", "[") or text.isdigit() else text

    def answers(self) -> bool:
        """Whether it is there already."""
        try:
            self.ask("getblockcount")
        except subprocess.CalledProcessError:
            return False
        return True

    def stop(self) -> None:
        """Let it shut down, and end it if it does not."""
        self._process.terminate()
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Entry]]:
    """What passed while one node came to the chain of another and heard of a transaction."""
    require_native()
    folder = tmp_path_factory.mktemp("litecoin")
    proxy = b = None
    a = Node(folder / "a", "-listen=1")
    try:
        wait_until("a answers", a.answers, 60)
        a.ask("createwallet", "w")
        own, inside = a.ask("getnewaddress"), a.ask("getnewaddress", "x", "mweb")
        a.ask("generatetoaddress", str(BEFORE_MWEB), own)
        a.ask("sendtoaddress", inside, "10")
        a.ask("generatetoaddress", "2", own)
        proxy = Proxy(NETWORK, a.port, tmp_path_factory.mktemp("proxy"))
        b = Node(folder / "b", f"-connect=127.0.0.1:{proxy.port}")
        wait_until("b answers", b.answers, 60)
        _is_where(b, a)
        a.ask("sendtoaddress", a.ask("getnewaddress", "y", "mweb"), "1")
        wait_until("b hears of it", lambda: b.ask("getrawmempool"), 60)
        a.ask("generatetoaddress", "2", own)
        _is_where(b, a)
        assert proxy.stop() == 0
        yield list(open_capture(proxy.capture))
    finally:
        for each in (b, a):
            if each is not None:
                each.stop()
        if proxy is not None:
            proxy.close()


def _is_where(one: Node, other: Node) -> None:
    """Wait until a node has the chain of another, and says that it has all."""
    height = other.ask("getblockcount")
    wait_until("it has the chain", lambda: one.ask("getblockcount") == height, 60)
    wait_until("it is done", lambda: not one.ask("getblockchaininfo")["initialblockdownload"], 60)


def test_all_of_it_is_read(entries: list[Entry]):
    """No message is malformed, and none is passed over."""
    assert [each for each in entries if each.error is not None or each.message is None] == []
    left = {
        each.command
        for each in entries
        if each.message is not None
        and each.message.record is not None
        and each.message.record.trailing
    }
    assert left == set()
    assert len([each for each in entries if each.command == "block"]) >= BEFORE_MWEB + 2
    known = {each.message.codec.network.id for each in entries if each.message is not None}
    assert known == {NETWORK.id}


def test_extension_blocks_and_what_happens_in_them_are_kept(entries: list[Entry]):
    """Byte by byte, by both engines."""
    found = {"tx": 0, "block": 0}
    for entry in entries:
        if entry.command not in found or entry.message is None:
            continue
        for engine in BOTH:
            codec = Codec(NETWORK, engine=engine)
            record: Any = codec.decode(entry.command, entry.payload)
            assert codec.encode(record) == entry.payload
            assert record.trailing == b""
        found[entry.command] += record.mweb is not None
    assert found["block"] >= 1
    assert found["tx"] >= 1
