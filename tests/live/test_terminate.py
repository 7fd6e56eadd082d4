"""Terminate mode between two live nodes: each talks to us, and they sync anyway."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.session import Direction
from lbcproxy.wire import Codec
from lbcproxy.wire.hashes import from_display
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from tests.live.payments import FEE, pay_and_mine
from tests.live.proxies import Proxy
from tests.nodes import KINDS, PAY_TO_ANYONE, SPEND, Node, wait_until
from tests.tools import tshark

pytestmark = pytest.mark.live

BLOCKS = 110
AGENT = "/between-you-and-me:1.0/"


class Terminated(NamedTuple):
    """What is left when two nodes have synced through terminate mode."""

    kind: Any
    a_sees: dict[str, Any]
    b_sees: dict[str, Any]
    capture: Any
    output: str
    exit_code: int


@pytest.fixture(scope="module", params=KINDS)
def terminated(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Terminated]:
    """Sync B from A through `terminate`, relay a transaction each way, stop."""
    kind = KINDS[request.param]
    kind.programs()
    folder = tmp_path_factory.mktemp(f"terminate-{request.param}")
    a = Node(kind, folder / "a")
    proxy = b = None
    try:
        a.start()
        a.generate(BLOCKS)
        proxy = Proxy(
            kind.network, a.port, folder / "proxy", "--user-agent", AGENT, kind="terminate"
        )
        b = Node(kind, folder / "b", connect=proxy.port)
        b.start()
        wait_until("B has A's blocks", lambda: b.height >= BLOCKS, 60)
        wait_until("both have the same tip", lambda: a.tip == b.tip)
        pay_and_mine(sender=a, receiver=b, height=5)
        pay_and_mine(sender=b, receiver=a, height=6)
        [a_sees] = a.control("getpeerinfo")
        [b_sees] = b.control("getpeerinfo")
        exit_code = proxy.stop()
        yield Terminated(kind, a_sees, b_sees, proxy.capture, proxy.output, exit_code)
    finally:
        if b is not None:
            b.stop()
        if proxy is not None:
            proxy.close()
        a.stop()


def test_each_node_sees_the_configured_user_agent(terminated: Terminated):
    """What each side is shown is ours to set."""
    assert terminated.a_sees["subver"] == AGENT
    assert terminated.b_sees["subver"] == AGENT


def test_what_is_not_configured_is_the_other_sides_own(terminated: Terminated):
    """Nodes judge each other by services and height: they must be true."""
    assert int(terminated.b_sees["services"]) & 1
    assert terminated.b_sees["startingheight"] == BLOCKS
    assert terminated.a_sees["startingheight"] == 0


def test_the_program_ends_in_order(terminated: Terminated):
    """The traffic ended it, not a defect."""
    assert terminated.exit_code == 0
    assert "Traceback" not in terminated.output


def test_the_capture_tells_what_was_ours(terminated: Terminated):
    """Handshakes are dropped and injected on each side; the rest passes."""
    entries = list(open_capture(terminated.capture))
    assert all(entry.error is None for entry in entries)
    verdicts = Counter((entry.command, entry.verdict) for entry in entries)
    assert verdicts["version", "drop"] == verdicts["version", "inject"] == 2
    assert verdicts["verack", "drop"] == verdicts["verack", "inject"] == 2
    assert verdicts["block", "pass"] >= BLOCKS
    assert not any(command == "block" and verdict != "pass" for command, verdict in verdicts)
    assert {entry.trail for entry in entries if entry.verdict == "inject"} == {("terminate",)}
    agents = {
        entry.direction: entry.message.record.user_agent.decode()
        for entry in entries
        if entry.command == "version" and entry.verdict == "inject"
    }
    assert agents == dict.fromkeys(Direction, AGENT)


def test_what_the_nodes_offered_each_other_went_through(terminated: Terminated):
    """Before `verack`: btcd speaks 70016 and offers `sendaddrv2`, lbcd does not."""
    entries = list(open_capture(terminated.capture))
    offers = [entry for entry in entries if entry.command == "sendaddrv2"]
    assert {entry.verdict for entry in offers} <= {"pass"}
    assert len(offers) == (2 if terminated.kind.node == "btcd" else 0)
    for offer in offers:
        numbers = [
            entry.number
            for entry in entries
            if (entry.command, entry.direction, entry.verdict)
            == ("verack", offer.direction, "inject")
        ]
        assert offer.number < min(numbers)


def test_wireshark_reads_both_legs_without_complaint(terminated: Terminated):
    """Two connections, gap-free."""
    assert tshark("-r", str(terminated.capture), "-Y", "tcp.analysis.flags") == ""
    streams = tshark("-r", str(terminated.capture), "-T", "fields", "-e", "tcp.stream").split()
    assert set(streams) == {"0", "1"}


@pytest.mark.parametrize("name", KINDS)
def test_plugins_decide_between_two_that_talk_to_us(name: str, tmp_path):
    """A transaction is withheld, and nobody misses it but in the block."""
    kind = KINDS[name]
    kind.programs()
    a = Node(kind, tmp_path / "a")
    proxy = b = None
    try:
        a.start()
        a.generate(BLOCKS)
        options = ("-s", "black_hole", "--fault", "duplicate filter=mempool")
        proxy = Proxy(kind.network, a.port, tmp_path / "proxy", *options, kind="terminate")
        b = Node(kind, tmp_path / "b", connect=proxy.port)
        b.start()
        wait_until("B has A's blocks", lambda: b.height >= BLOCKS, 60)
        txid, value = a.coinbase(5)
        spent = TxIn(prev_hash=from_display(txid), prev_index=0, script_sig=SPEND, sequence=1)
        tx = Tx(1, (spent,), (TxOut(value - FEE, PAY_TO_ANYONE),), 0)
        a.control("sendrawtransaction", Codec(kind.network).encode(tx).hex())
        wait_until("the plugin has dropped it", lambda: "into the black hole" in proxy.output)
        assert b.mempool == []
        a.generate(1)
        wait_until("B has the block with it", lambda: b.tip == a.tip)
        assert proxy.stop() == 0
        [dropped] = [
            entry
            for entry in open_capture(proxy.capture)
            if entry.trail == ("black_hole: drop: into the black hole",)
        ]
        assert (dropped.command, dropped.direction) == ("inv", Direction.TO_CLIENT)
    finally:
        if b is not None:
            b.stop()
        if proxy is not None:
            proxy.close()
        a.stop()
