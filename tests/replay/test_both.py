"""A recorded client played against its own recorded node, over loopback."""

from pathlib import Path

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.endpoint import Endpoint
from lbcproxy.replay import ComparisonReport, ReplayClient, ReplayServer, load
from tests.nodes import wait_until
from tests.proxy.loops import Loop
from tests.replay.conversations import DOWN, write
from tests.tools import TIMEOUT

CAPTURES = Path(__file__).parent.parent.parent / "captures"
SYNC = CAPTURES / "lbcd-sync.pcap"


def played(loop: Loop, client: Path, node: Path) -> ComparisonReport:
    """Play one capture's client against another's node."""

    async def play() -> ComparisonReport:
        with load(client) as asking, load(node) as answering:
            server = ReplayServer(answering, loop.reactor, listen=Endpoint("127.0.0.1", 0))
            where = server.listen()
            try:
                replay = ReplayClient(loop.reactor, asking, where, timeout=TIMEOUT)
                return await replay.run(deadline=TIMEOUT)
            finally:
                await server.stop()

    report = loop.call(play)
    assert isinstance(report, ComparisonReport)
    wait_until("the server has looked at all", lambda: not loop.call(loop.reactor.getDelayedCalls))
    return report


def test_a_real_conversation_with_itself_has_no_divergence(loop: Loop):
    """400 messages of two lbcd nodes, blocks, transactions and claims in them."""
    report = played(loop, SYNC, SYNC)
    assert report.same, str(report)
    assert (report.recorded, report.live) == (398, 398)


@pytest.mark.parametrize("number", [9, 100, 350])
def test_a_change_in_what_the_node_says_is_found(loop: Loop, tmp_path: Path, number: int):
    """One byte of one of its blocks or transactions, wherever that is."""
    lines = [(entry.direction, entry.raw) for entry in open_capture(SYNC)]
    entry = next(
        each
        for each in open_capture(SYNC)
        if each.number >= number and each.direction is DOWN and each.command in ("block", "tx")
    )
    lines[entry.number - 1] = (DOWN, entry.message.replace(trailing=b"?").raw)
    node = write(tmp_path / "node.pcapng", lines, network=networks.get("lbry-regtest"))
    report = played(loop, SYNC, node)
    first = report.differences[0]
    assert first.direction is DOWN
    assert (first.kind, first.command) == ("different", entry.command)
    assert first.recorded is not None
    assert first.recorded.number == entry.number
    assert [(each.path, each.live) for each in first.fields] == [("trailing", "3f")]
