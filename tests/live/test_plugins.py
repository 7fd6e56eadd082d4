"""Plugins between two live nodes: what they do is done, said, and taken by the nodes."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.session import Direction, Entry
from lbcproxy.wire import Codec
from lbcproxy.wire.hashes import display, from_display
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from tests.live.payments import FEE
from tests.live.proxies import Proxy, lbcproxy
from tests.nodes import BTCD26, ENCRYPTS, KINDS, PAY_TO_ANYONE, SPEND, Node, wait_until
from tests.tools import tshark

pytestmark = pytest.mark.live

BLOCKS = 110
AGENT = "/seen/through:1.0/"


class Changed(NamedTuple):
    """What is left when two nodes have talked through plugins."""

    txid: str
    mempool_of_b: list[str]
    a_sees: dict[str, Any]
    b_sees: dict[str, Any]
    capture: Any
    output: str
    entries: list[Entry]


NODES = {**{name: (kind, ()) for name, kind in KINDS.items()}, "btcd26": (BTCD26, (ENCRYPTS,))}


@pytest.fixture(scope="module", params=NODES)
def changed(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Changed]:
    """Sync B from A, announce a transaction on A that a plugin withholds, mine it, stop."""
    kind, flags = NODES[request.param]
    kind.programs()
    folder = tmp_path_factory.mktemp(f"plugins-{request.param}")
    a = Node(kind, folder / "a", flags=flags)
    proxy = b = None
    try:
        a.start()
        a.generate(BLOCKS)
        plugins = ["-s", "black_hole", "-s", f"user_agent agent={AGENT}"]
        proxy = Proxy(kind.network, a.port, folder / "proxy", *plugins)
        b = Node(kind, folder / "b", connect=proxy.port, flags=flags)
        b.start()
        wait_until("B has A's blocks", lambda: b.height >= BLOCKS, 60)
        txid, value = a.coinbase(5)
        spent = TxIn(prev_hash=from_display(txid), prev_index=0, script_sig=SPEND, sequence=1)
        tx = Tx(1, (spent,), (TxOut(value - FEE, PAY_TO_ANYONE),), 0)
        a.control("sendrawtransaction", Codec(kind.network).encode(tx).hex())
        wait_until("the plugin has dropped it", lambda: "into the black hole" in proxy.output)
        mempool = b.mempool
        a.generate(1)
        wait_until("B has the block with it", lambda: b.tip == a.tip)
        [a_sees] = a.control("getpeerinfo")
        [b_sees] = b.control("getpeerinfo")
        assert all(each.get("v2_connection", False) is bool(flags) for each in (a_sees, b_sees))
        assert proxy.stop() == 0
        entries = list(open_capture(proxy.capture))
        shown = display(tx.txid)
        yield Changed(shown, mempool, a_sees, b_sees, proxy.capture, proxy.output, entries)
    finally:
        if b is not None:
            b.stop()
        if proxy is not None:
            proxy.close()
        a.stop()


def test_what_is_withheld_never_arrives(changed: Changed):
    """B hears of the transaction only from the block."""
    assert changed.mempool_of_b == []


def test_the_capture_says_who_withheld_it_and_why(changed: Changed):
    """The announcement stands in it as it came."""
    [dropped] = [each for each in changed.entries if each.verdict == "drop"]
    assert dropped.command == "inv"
    assert dropped.direction is Direction.TO_CLIENT
    assert dropped.trail == ("black_hole: drop: into the black hole",)
    assert changed.txid in str(dropped.message.to_dict())


def test_a_rewritten_message_is_taken_by_the_nodes(changed: Changed):
    """Each sees the user agent of the plugin."""
    assert (changed.a_sees["subver"], changed.b_sees["subver"]) == (AGENT, AGENT)
    rewritten = [each for each in changed.entries if each.verdict == "rewrite"]
    assert [each.command for each in rewritten] == ["version", "version"]
    assert all("user_agent: rewrite version" in each.trail[0] for each in rewritten)


def test_the_line_and_ndjson_say_it_too(changed: Changed):
    """On the screen while it happens, and of the file afterwards."""
    assert "black_hole" in changed.output
    listed = lbcproxy("show", "-T", "ndjson", changed.capture)
    assert '"verdict":"drop"' in listed.replace(" ", "")
    assert "into the black hole" in listed


def test_wireshark_shows_the_verdict(changed: Changed):
    """As a comment of the packet."""
    comments = tshark("-r", str(changed.capture), "-T", "fields", "-e", "frame.comment")
    assert "verdict=drop" in comments
    assert "verdict=rewrite" in comments


def test_the_same_plugins_decide_the_same_offline(changed: Changed):
    """Over the capture, as it came in."""
    plugins = ["-s", "black_hole", "-s", f"user_agent agent={AGENT}"]
    shown = lbcproxy("show", "-T", "ndjson", *plugins, changed.capture)
    offline = [json.loads(line) for line in shown.splitlines()]
    keys = ("direction", "command", "verdict", "trail")
    assert [[each[key] for key in keys] for each in offline] == [
        [each.direction, each.command, each.verdict, list(each.trail)] for each in changed.entries
    ]
