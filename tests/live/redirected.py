"""Mode `transparent` behind a real firewall: `python -m tests.live.redirected FIREWALL FOLDER`.

To be run in a network namespace of its own, since it writes rules that redirect connections.
"""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lbcproxy.capture import open_capture
from tests.live.proxies import Proxy
from tests.nodes import BTCD26, ENCRYPTS, KINDS, Node, NodeKind, wait_until
from tests.proxy.loops import listening, read_to_end
from tests.services import messages
from tests.taps import Tap
from tests.tools import TIMEOUT

GROUP = 4242
"""The group of a proxy whose own connections are not redirected."""
BLOCKS = 30
BTCD = KINDS["btcd"]


def run(command: str) -> None:
    """Run a command of the system."""
    subprocess.run(command.split(), check=True)


def redirect(firewall: str, host: str, port: int, to: int, *, all_of_them: bool = False) -> None:
    """Have connections to an address led to another port of this machine."""
    v6 = ":" in host
    if firewall == "iptables":
        others = "" if all_of_them else f"-m owner ! --gid-owner {GROUP}"
        rule = f"-t nat -A OUTPUT -p tcp -d {host} --dport {port} {others} -j REDIRECT"
        run(f"ip{'6' * v6}tables {rule} --to-ports {to}")
        return
    others = "" if all_of_them else f"meta skgid != {GROUP}"
    run("nft add table inet lbc")
    run("nft add chain inet lbc out { type nat hook output priority -100 ; }")
    where = f"ip{'6' * v6} daddr {host} tcp dport {port}"
    run(f"nft add rule inet lbc out {others} {where} redirect to :{to}")


@contextlib.contextmanager
def proxy(folder: Path, **options: object) -> Iterator[Proxy]:
    """A transparent proxy."""
    made = Proxy(BTCD.network, (), folder, kind="transparent", **options)
    try:
        yield made
        assert made.stop() == 0
        assert "Traceback" not in made.output
    finally:
        made.close()


def synced(firewall: str, folder: Path, kind: NodeKind, port: int, a: Node, *flags: str) -> Proxy:
    """Have a second node sync with the first one through a proxy that neither knows of.

    `port` is where the second node connects to. The proxy has ended when this returns.
    """
    b = Node(kind, folder / "b", connect=port, flags=flags)
    with proxy(folder / "sync", group=GROUP) as between:
        redirect(firewall, "127.0.0.1", port, between.port)
        try:
            a.start()
            a.generate(BLOCKS)
            b.start()
            wait_until("B has A's blocks", lambda: b.height >= BLOCKS, 60)
            b.stop()
            wait_until("the session is over", lambda: "] end: client" in between.output)
        finally:
            b.stop()
            a.stop()
    return between


def a_node_syncs(firewall: str, folder: Path) -> None:
    """Two btcd nodes; what is recorded is what a tap saw."""
    a = Node(BTCD, folder / "a")
    tap = Tap(a.port)
    try:
        between = synced(firewall, folder, BTCD, tap.port, a)
    finally:
        tap.close()
    assert f"upstream connect 127.0.0.1:{tap.port}" in between.output
    [behind] = tap.connections
    [(up, down)] = messages(between.capture).values()
    assert (b"".join(up), b"".join(down)) == (behind.to_target, behind.to_client)
    assert len(down) > BLOCKS


def nodes_that_encrypt_sync(firewall: str, folder: Path) -> None:
    """Two btcd nodes with an encrypted connection."""
    a = Node(BTCD26, folder / "a", flags=(ENCRYPTS,))
    between = synced(firewall, folder, BTCD26, a.port, a, ENCRYPTS)
    entries = list(open_capture(between.capture))
    assert sum(entry.command == "block" for entry in entries) == BLOCKS
    assert all(entry.message is not None for entry in entries)
    assert "client v2" in between.output


def both_kinds_of_address_are_kept(firewall: str, folder: Path) -> None:
    """One listener takes IPv6, and IPv4 as IPv6 has it inside."""
    with proxy(folder / "both", group=GROUP, listen="[::]:0") as between:
        for host, text in (("::1", "[::1]"), ("127.0.0.1", "127.0.0.1")):
            with listening(host) as server:
                port = server.getsockname()[1]
                redirect(firewall, host, port, between.port)
                client = socket.create_connection((host, port), TIMEOUT)
                with client, server.accept()[0] as node:
                    node.sendall(b"here")
                    assert client.recv(4) == b"here"
            asked = f"wants to go to {text}:{port}\n"
            wait_until("it is logged", lambda asked=asked: asked in between.output)


def who_comes_by_itself_is_refused(folder: Path) -> None:
    """There is nowhere to lead it."""
    with proxy(folder / "direct") as between:
        with socket.create_connection(("127.0.0.1", between.port), TIMEOUT) as client:
            assert read_to_end(client) == b""
        wait_until("it is logged", lambda: "refused: " in between.output)
        assert "refused: it came to 127.0.0.1:" in between.output, between.output


def a_rule_that_has_us_too_ends_the_session(firewall: str, folder: Path) -> None:
    """Our own connection comes back to us: that is noticed, not repeated until nothing is left."""
    with listening() as server, proxy(folder / "circle") as between:
        port = server.getsockname()[1]
        redirect(firewall, "127.0.0.1", port, between.port, all_of_them=True)
        client = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        with client, contextlib.suppress(ConnectionError):
            assert read_to_end(client) == b""
        wait_until("it is noticed", lambda: "the upstream is this proxy itself" in between.output)
        assert between.output.count("client connect") <= 3


def main() -> None:
    """Run all of it."""
    firewall, folder = sys.argv[1], Path(sys.argv[2])
    run("ip link set lo up")
    a_node_syncs(firewall, folder)
    nodes_that_encrypt_sync(firewall, folder / "encrypted")
    who_comes_by_itself_is_refused(folder)
    both_kinds_of_address_are_kept(firewall, folder)
    a_rule_that_has_us_too_ends_the_session(firewall, folder)


if __name__ == "__main__":
    main()
