"""A recorded client played against its own recorded node, over loopback."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.endpoint import Endpoint
from lbcproxy.replay import ComparisonReport, ReplayClient, ReplayFailed, ReplayServer, load
from lbcproxy.session import LegTransport, Observer, SessionInfo
from lbcproxy.session.events import Delivered, SessionEvent, TransportsAgreed
from lbcproxy.transport.kind import Transport
from tests.nodes import wait_until
from tests.proxy.loops import Loop
from tests.replay.conversations import DOWN, write
from tests.tools import TIMEOUT

CAPTURES = Path(__file__).parent.parent.parent / "captures"
SYNC = CAPTURES / "lbcd-sync.pcap"


def played(
    loop: Loop,
    client: Path,
    node: Path,
    *,
    of_client: Transport = Transport.V1,
    of_node: Transport = Transport.AUTO,
    observers: Sequence[Observer] = (),
) -> ComparisonReport:
    """Play one capture's client against another's node."""

    async def play() -> ComparisonReport:
        with load(client) as asking, load(node) as answering:
            server = ReplayServer(
                answering,
                loop.reactor,
                listen=Endpoint("127.0.0.1", 0),
                transport=of_node,
                observers=observers,
            )
            where = server.listen()
            try:
                replay = ReplayClient(
                    loop.reactor,
                    asking,
                    where,
                    timeout=TIMEOUT,
                    transport=of_client,
                    observers=observers,
                )
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


class Transports:
    """Keeps the transports of sessions, and of each message that is delivered."""

    def __init__(self) -> None:
        self.agreed: list[LegTransport] = []
        self.delivered: set[LegTransport] = set()

    def session_started(self, _info: SessionInfo) -> "Transports":
        """Return itself."""
        return self

    def handle(self, event: SessionEvent) -> None:
        """Keep what an event says of transports."""
        if isinstance(event, TransportsAgreed):
            self.agreed += [event.info.client_transport, event.info.upstream_transport]
        if isinstance(event, Delivered):
            self.delivered.add(event.info.transport_from(event.direction))


@pytest.mark.parametrize("of_node", [Transport.V2, Transport.AUTO])
@pytest.mark.parametrize("of_client", [Transport.V2, Transport.AUTO])
def test_a_recorded_conversation_is_replayed_encrypted(
    loop: Loop, of_client: Transport, of_node: Transport
):
    """By choice; both observers are told of the same session id, before any message."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    seen = Transports()
    report = played(loop, SYNC, SYNC, of_client=of_client, of_node=of_node, observers=[seen])
    assert report.same, str(report)
    assert (report.recorded, report.live) == (398, 398)
    assert len(seen.agreed) == 4
    assert seen.delivered == set(seen.agreed)
    [agreed] = seen.delivered
    assert agreed.kind is Transport.V2
    assert len(agreed.session_id) == 32


def test_a_node_that_cannot_encrypt(loop: Loop):
    """Is an error in words, or is spoken to without encryption if that was left open."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    seen = Transports()
    v1 = {"of_node": Transport.V1, "observers": [seen]}
    with pytest.raises(ReplayFailed, match=r":\d+: it does not encrypt \(BIP324\)$"):
        played(loop, SYNC, SYNC, of_client=Transport.V2, **v1)
    report = played(loop, SYNC, SYNC, of_client=Transport.AUTO, **v1)
    assert report.same, str(report)
    assert seen.agreed == []


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
