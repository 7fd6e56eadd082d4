"""Other ways in than a node that is pointed at us: SOCKS 5, upstreams that come and go, redirects.

The nodes are unmodified, and what is recorded is held against what a tap saw behind the proxy.
"""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.session import Direction
from tests.live.proxies import Client, Proxy, lbcproxy
from tests.nodes import BTCD26, KINDS, Node, free_port, wait_until
from tests.services import messages
from tests.taps import Tap
from tests.tools import REPOSITORY, TIMEOUT, program

pytestmark = pytest.mark.live

BLOCKS = 110
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT


@pytest.fixture(scope="module", params=KINDS)
def a(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Node]:
    """A node with a chain."""
    node = Node(KINDS[request.param], tmp_path_factory.mktemp(request.param))
    try:
        node.start()
        node.generate(BLOCKS)
        yield node
    finally:
        node.stop()


@pytest.mark.parametrize("flags", [(), ("--torisolation",)], ids=["anybody", "password"])
def test_a_node_with_a_socks_proxy_syncs_through_us(a: Node, tmp_path: Path, flags):
    """Every connection that a node makes is seen without touching its peers; the whole of it."""
    tap = Tap(a.port)
    proxy = Proxy(a.kind.network, (), tmp_path / "proxy", kind="socks5")
    socks = f"--proxy=127.0.0.1:{proxy.port}"
    b = Node(a.kind, tmp_path / "b", connect=tap.port, flags=(socks, *flags))
    try:
        b.start()
        wait_until("B has A's blocks", lambda: b.height >= BLOCKS, 60)
        wait_until("both have the same tip", lambda: a.tip == b.tip)
        b.stop()
        wait_until("the session is over", lambda: "] end: client" in proxy.output)
        assert proxy.stop() == 0
    finally:
        b.stop()
        proxy.close()
        tap.close()
    [behind] = tap.connections
    [(up, down)] = messages(proxy.capture).values()
    assert (b"".join(up), b"".join(down)) == (behind.to_target, behind.to_client)
    entries = list(open_capture(proxy.capture))
    commands = Counter((entry.direction, entry.command) for entry in entries)
    assert commands[DOWN, "block"] == BLOCKS
    assert commands[UP, "verack"] == commands[DOWN, "verack"] == 1
    assert all(entry.message is not None for entry in entries)
    assert f"wants to go to 127.0.0.1:{tap.port}" in proxy.output
    assert f"upstream connect 127.0.0.1:{tap.port}" in proxy.output
    assert f"127.0.0.1:{tap.port}" in lbcproxy("info", proxy.capture)


def test_a_client_gets_its_session_when_a_node_is_back(tmp_path: Path):
    """It waits while the node restarts; the capture says to which of two upstreams it came."""
    kind, nobody = KINDS["btcd"], free_port()
    node = Node(kind, tmp_path / "node")
    proxy = Proxy(kind.network, (nobody, node.port), tmp_path / "proxy", "--dial-retry", "60")
    try:
        node.start()
        with Client(kind.network, proxy.port) as client:
            client.greet()
            node.stop()
            assert client.read_to_end() == "closed"
        with Client(kind.network, proxy.port) as client:
            again = f"upstream 127.0.0.1:{node.port}: Connection refused; trying again"
            wait_until("the proxy tries again", lambda: again in proxy.output)
            node.start()
            client.greet()
            assert client.ping(7) == 7
        wait_until("the session is over", lambda: "[#2 " in proxy.output.rpartition("] end: ")[0])
        assert proxy.stop() == 0
    finally:
        node.stop()
        proxy.close()
    reports = open_capture(proxy.capture)
    upstreams: list[str | None] = []
    reports.on_session_ended = lambda report: upstreams.append(report.upstream)
    # btcd writes header and payload one by one: whoever leaves may have only the first.
    wrong = [entry.error for entry in reports if entry.error is not None]
    assert [error for error in wrong if "cut off" not in error] == []
    assert upstreams == [f"127.0.0.1:{node.port}"] * 2
    assert f"upstream connect 127.0.0.1:{node.port}" in proxy.output


@pytest.mark.parametrize("firewall", ["iptables", "nft"])
def test_redirected_connections_are_led_where_they_were_to_go(firewall: str, tmp_path: Path):
    """Neither node knows of us. In a network of its own, where a firewall's rules harm nobody."""
    advice = f"install {'nftables' if firewall == 'nft' else 'iptables'}"
    program(firewall, advice)
    for kind in (KINDS["btcd"], BTCD26):
        kind.programs()
    alone = ["unshare", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("a network of one's own needs root and unshare")
    done = subprocess.run(
        [*alone, sys.executable, "-m", "tests.live.redirected", firewall, str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
