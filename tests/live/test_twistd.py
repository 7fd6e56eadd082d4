"""A service out of the wheel: two nodes sync through `twistd` while its config is changed.

The chain is A <- lbcproxy <- tap <- B. The tap makes the sync stand still in its middle, so that
what happens to the proxy then happens while blocks are under way.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lbcproxy.capture import open_capture
from tests.live.proxies import Client
from tests.nodes import KINDS, Node, NodeKind, wait_until
from tests.services import Service, streams
from tests.taps import Tap, TappedConnection
from tests.tools import tshark
from tests.wheels import CLEAN

pytestmark = pytest.mark.live

BLOCKS = 300
MIDDLE = 60_000
"""Bytes from A after which the sync stands still: all headers and some of the blocks."""


class Run(NamedTuple):
    """What is left when B has synced and the service has been stopped."""

    kind: NodeKind
    height_before: int
    """B's, while the config was changed."""
    added: int
    """The nonce that came back through the listener that was added."""
    refused: bool
    """Whether a client above the changed limit was sent away."""
    peers: list[int]
    """The ids of B's connections at the change and at the end."""
    exit_code: int
    folder: Path
    output: str
    tapped: list[TappedConnection]


@pytest.fixture(scope="module", params=KINDS)
def ran(request: pytest.FixtureRequest, installed, tmp_path_factory) -> Iterator[Run]:
    """Sync, change the config in the middle, sync on, stop."""
    kind = KINDS[request.param]
    kind.programs()
    folder = tmp_path_factory.mktemp(f"twistd-{request.param}")
    a = Node(kind, folder / "a")
    service = b = door = None
    try:
        a.start()
        a.generate(BLOCKS)
        proxy = {"name": "one", "listen": 0, "upstream": f"127.0.0.1:{a.port}"}
        config = {"network": kind.network.id, "record": "it.pcapng", "proxies": [proxy]}
        twistd = (installed / "twistd", "-n", "lbcproxy")
        service = Service(folder / "empty", config, twistd, CLEAN)
        door = Tap(service.ports[0], hold=MIDDLE)
        b = Node(kind, folder / "b", connect=door.port)
        b.start()
        wait_until("the sync is in its middle", lambda: _to_client(door) > MIDDLE)
        height, peers = b.height, _peers(b)

        more = [proxy, {**proxy, "name": "two"}]
        service.configure({**config, "max_sessions": 1, "proxies": more})
        service.hang_up()
        with Client(kind.network, service.ports[1]) as client:
            client.greet()
            added = client.ping(5)
        refused = _is_refused(kind, service.ports[0])

        door.go.set()
        wait_until("B has A's blocks", lambda: b.height >= BLOCKS, 60)
        tip = a.generate(3)[-1]
        wait_until("B has the new blocks", lambda: b.tip == tip)
        peers += _peers(b)
        exit_code = service.end()
        yield Run(
            kind,
            height,
            added,
            refused,
            peers,
            exit_code,
            service.folder,
            service.output,
            door.connections,
        )
    finally:
        for each in (b, a):
            if each is not None:
                each.stop()
        for one in (service, door):
            if one is not None:
                one.close()


def _to_client(door: Tap) -> int:
    return sum(len(each.to_client) for each in door.connections)


def _peers(node: Node) -> list[int]:
    found: list[dict[str, Any]] = node.control("getpeerinfo")
    return [each["id"] for each in found]


def _is_refused(kind: NodeKind, port: int) -> bool:
    with Client(kind.network, port) as client:
        return client.read_to_end() in ("closed", "reset")


def test_a_listener_is_added_in_the_middle_of_a_sync(ran: Run):
    """SIGHUP: it is there, and it leads to the node."""
    assert 0 <= ran.height_before < BLOCKS
    assert ran.added == 5
    assert ran.output.count("listening at") == 2


def test_no_session_is_dropped(ran: Run):
    """B has one connection all the time, and the proxy ends it when it is stopped, not before."""
    assert len(ran.tapped) == 1
    assert len(ran.peers) == 2
    assert len(set(ran.peers)) == 1
    ends = [line for line in ran.output.splitlines() if " end: " in line]
    assert ["#1 " in each and "end: proxy stopped" in each for each in ends] == [False, True]


def test_a_changed_limit_is_applied(ran: Run):
    """`max_sessions` is 1 now, and B has that one."""
    assert ran.refused
    assert "refused: there are 1 sessions already (max_sessions)" in ran.output


def test_sigterm_ends_it_in_order(ran: Run):
    """That is no failure, and nothing went wrong before it."""
    assert ran.exit_code == 0
    assert "Traceback" not in ran.output
    assert "Error" not in ran.output


def test_nothing_is_left_in_the_folder_but_the_capture(ran: Run):
    """It was empty but for the config; no pid file, no lock."""
    names = {path.name for path in ran.folder.iterdir()}
    assert names == {"config.yaml", "it.pcapng", "output.txt"}


def test_the_capture_is_whole(ran: Run):
    """It holds what the tap saw, to the last byte, before the change and after it."""
    [tapped] = ran.tapped
    found = streams(ran.folder / "it.pcapng")
    assert len(found) == 2
    assert found[tapped.port] == (tapped.to_target, tapped.to_client)


def test_the_capture_tells_what_happened(ran: Run):
    """Every message is read, and what the added listener passed is in the same file."""
    entries = list(open_capture(ran.folder / "it.pcapng"))
    assert [entry.error for entry in entries if entry.error is not None] == []
    blocks = Counter(entry.session for entry in entries if entry.command == "block")
    assert blocks == {1: BLOCKS + 3}
    assert {entry.session for entry in entries if entry.command == "ping"} >= {2}


def test_wireshark_reads_it_without_complaint(ran: Run):
    """No lost, repeated or overlapping segment."""
    path = ran.folder / "it.pcapng"
    assert tshark("-r", str(path), "-Y", "tcp.analysis.flags || _ws.malformed") == ""
