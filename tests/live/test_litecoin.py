"""Litecoin Core syncs through `lbcproxy run`, with transactions in extension blocks (MWEB)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.session import Entry
from lbcproxy.wire import Codec
from tests.engines import BOTH, require_native
from tests.live.litecoin import Node, is_where
from tests.live.proxies import Proxy
from tests.nodes import wait_until

pytestmark = pytest.mark.live

NETWORK = networks.get("litecoin-regtest")
BEFORE_MWEB = 431
"""Blocks; the next one is the first that may have an extension block."""


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
        is_where(b, a)
        a.ask("sendtoaddress", a.ask("getnewaddress", "y", "mweb"), "1")
        wait_until("b hears of it", lambda: b.ask("getrawmempool"), 60)
        a.ask("generatetoaddress", "2", own)
        is_where(b, a)
        assert proxy.stop() == 0
        yield list(open_capture(proxy.capture))
    finally:
        for each in (b, a):
            if each is not None:
                each.stop()
        if proxy is not None:
            proxy.close()


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
