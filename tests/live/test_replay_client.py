"""Recorded clients played against fresh nodes: one with the same chain, one with another.

Node A has a chain. What a light client and a fresh node say to it is recorded by a proxy. B gets
the same blocks, and is asked the same; C has mined a chain of its own.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.endpoint import Endpoint
from lbcproxy.replay import ComparisonReport, ReplayClient, load
from lbcproxy.wire.hashes import from_display
from lbcproxy.wire.messages.headers import GetHeaders
from lbcproxy.wire.messages.inventory import GetData, InventoryVector, InvType
from tests.live.proxies import Client, Proxy, command
from tests.nodes import KINDS, Node, wait_until
from tests.proxy.loops import Loop
from tests.tools import TIMEOUT

pytestmark = pytest.mark.live

BLOCKS, OTHER_BLOCKS = 30, 20
DIVERGED = 4


class Nodes(NamedTuple):
    """The three nodes, and what was recorded of the first."""

    a: Node
    same: Node
    other: Node
    light: Path
    """A light client: headers, three blocks, a ping."""
    sync: Path
    """A fresh node that syncs."""

    @property
    def first_block(self) -> str:
        """The id of the first block after the one that all have."""
        return str(self.a.control("getblockhash", 1))


@pytest.fixture(scope="module", params=KINDS)
def nodes(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Nodes]:
    """Running nodes."""
    kind = KINDS[request.param]
    kind.programs()
    folder = tmp_path_factory.mktemp(f"replay-{request.param}")
    a, same, other = (Node(kind, folder / name) for name in ("a", "same", "other"))
    try:
        for node in (a, same, other):
            node.start()
        a.generate(BLOCKS)
        other.generate(OTHER_BLOCKS)
        for height in range(1, BLOCKS + 1):
            block = a.control("getblock", a.control("getblockhash", height), 0)
            same.control("submitblock", block)
        assert same.tip == a.tip != other.tip
        yield Nodes(a, same, other, light_client(a, folder), fresh_node(a, folder))
    finally:
        for node in (a, same, other):
            node.stop()


def light_client(a: Node, folder: Path) -> Path:
    """Record what a light client asks."""
    proxy = Proxy(a.kind.network, a.port, folder / "light")
    try:
        with Client(a.kind.network, proxy.port) as client:
            client.greet()
            genesis = from_display(a.control("getblockhash", 0))
            client.send(GetHeaders(70013, (genesis,), bytes(32)))
            client.wait_for("headers")
            ids = [from_display(a.control("getblockhash", height)) for height in (1, 2, BLOCKS)]
            client.send(GetData(tuple(InventoryVector(InvType.BLOCK, each) for each in ids)))
            for _ in ids:
                client.wait_for("block")
            client.ping(77)
        assert proxy.stop() == 0
    finally:
        proxy.close()
    return proxy.capture


def fresh_node(a: Node, folder: Path) -> Path:
    """Record what a node of the same kind asks until it has all blocks."""
    proxy = Proxy(a.kind.network, a.port, folder / "sync")
    node = Node(a.kind, folder / "fresh", connect=proxy.port)
    try:
        node.start()
        wait_until("the fresh node has the chain", lambda: node.tip == a.tip)
        node.stop()
        assert proxy.stop() == 0
    finally:
        node.stop()
        proxy.close()
    return proxy.capture


def replay(capture: Path, node: Node, *options: object) -> subprocess.CompletedProcess[str]:
    """Play a capture's client against a node."""
    return command("replay", "client", capture, f"127.0.0.1:{node.port}", *options)


@pytest.mark.parametrize("name", ["light", "sync"])
def test_against_the_same_chain_nothing_differs(nodes: Nodes, name: str, tmp_path: Path):
    """Whatever the client was; the live conversation is the same as a capture too."""
    capture, out = getattr(nodes, name), tmp_path / "out.pcapng"
    done = replay(capture, nodes.same, "-w", out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no difference" in done.stdout
    assert done.stderr == ""
    again = command("diff", capture, out)
    assert again.returncode == 0, again.stdout
    sent, got = ([(e.direction, e.command) for e in open_capture(each)] for each in (capture, out))
    asked = {command for _, command in sent}
    assert {"version", "verack", "block"} < asked
    assert asked <= {command for _, command in got} | {"ping", "pong", "addr", "addrv2"}


@pytest.mark.parametrize("name", ["light", "sync"])
def test_against_another_chain_the_first_difference_is_named(nodes: Nodes, name: str):
    """The handshake has another height; if that is ignored, the first answer is the difference."""
    capture = getattr(nodes, name)
    options = ("--timeout", "2", "-T", "json")
    done = replay(capture, nodes.other, *options)
    assert done.returncode == DIVERGED, done.stdout + done.stderr
    first = json.loads(done.stdout)["differences"][0]
    assert (first["kind"], first["command"]) == ("different", "version")
    [height] = [each for each in first["fields"] if each["path"] == "start_height"]
    assert (height["recorded"], height["live"]) == (str(BLOCKS), str(OTHER_BLOCKS))

    done = replay(capture, nodes.other, *options, "--ignore-heights")
    assert done.returncode == DIVERGED, done.stdout + done.stderr
    report = json.loads(done.stdout)
    first = report["differences"][0]
    assert first["direction"] == "to_client"
    assert first["command"] in ("headers", "inv")
    recorded = [
        entry for entry in open_capture(capture) if entry.number == first["recorded"]["number"]
    ]
    assert [entry.command for entry in recorded] == [first["command"]]
    assert nodes.first_block in json.dumps(first["fields"])


def test_the_report_is_read_at_two_in_the_morning(nodes: Nodes):
    """What, where, and both values, in lines."""
    done = replay(nodes.light, nodes.other, "--ignore-heights")
    assert done.returncode == DIVERGED
    lines = done.stdout.splitlines()
    assert "first: #1 <- headers different" in lines
    [theirs] = [place for place, line in enumerate(lines) if "headers[0].hash" in line]
    assert lines[theirs].endswith(f"recorded  {nodes.first_block}")
    own = str(nodes.other.control("getblockhash", 1))
    assert lines[theirs + 1].endswith(f"live      {own}")
    assert any(line.startswith("#1 <- block recorded only") for line in lines)


def test_it_is_a_library_too(nodes: Nodes, loop: Loop):
    """As the pytest plugin uses it: start, wait, look at the differences."""

    async def play(port: int) -> ComparisonReport:
        with load(nodes.light) as conversation:
            address = Endpoint("127.0.0.1", port)
            return await ReplayClient(loop.reactor, conversation, address).run(deadline=15)

    report = loop.call(play, nodes.same.port)
    assert report.differences == (), str(report)
    report = loop.call(play, nodes.other.port)
    assert [each.command for each in report.differences][:2] == ["version", "headers"]
    missing = [each for each in report.differences if each.kind == "missing"]
    assert {each.command for each in missing} == {"block"}


@pytest.mark.parametrize("pace", ["recorded", "50x"])
def test_at_recorded_times_nothing_differs_either(nodes: Nodes, pace: str):
    """Nobody waits for an answer, and still all come."""
    done = replay(nodes.light, nodes.same, "--pace", pace)
    assert done.returncode == 0, done.stdout + done.stderr


def test_step_by_step_each_line_of_the_input_sends_a_message(nodes: Nodes):
    """The end of the input ends the replay; what was shown is what was recorded."""
    arguments = ["replay", "client", nodes.light, f"127.0.0.1:{nodes.same.port}", "--pace", "step"]
    done = subprocess.run(
        [sys.executable, "-m", "lbcproxy", *map(str, arguments)],
        input="\n" * 3,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    shown = [line.split()[2] for line in done.stderr.splitlines() if "Enter sends it" in line]
    assert shown == ["version", "verack", "getheaders", "getdata"]
    assert "of the client's messages were not sent" in done.stdout
