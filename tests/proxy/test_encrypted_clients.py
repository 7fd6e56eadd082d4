"""Hostile nodes over real connections: one session ends, others and the program do not."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from lbcproxy.proxy import ProxyService, ProxySettings, parse_mode
from lbcproxy.transport.kind import Transport
from tests.live.proxies import Proxy
from tests.nodes import wait_until
from tests.proxy.encrypted import NETWORK, TransportRecording, ping
from tests.proxy.loops import Loop, listening
from tests.proxy.socket_nodes import SocketNode, pair


def no_terminator(node: SocketNode) -> None:
    """Send only garbage."""
    node.socket.sendall(bytes(5_000))


def bad_tag(node: SocketNode) -> None:
    """Damage the first message."""
    node.finish_handshake()
    node.socket.sendall(node.transport.packet(ping(1))[:-1] + b"?")


def too_much(node: SocketNode) -> None:
    """Claim 16 MiB, and begin to send them."""
    node.finish_handshake()
    claim = node.transport._writer._lengths.apply(2**24 - 1).to_bytes(3, "little")
    with contextlib.suppress(ConnectionError):
        node.socket.sendall(claim + bytes(8 << 20))


ATTACKS: dict[Callable[[SocketNode], None], str] = {
    no_terminator: "no terminator in ",
    bad_tag: "has a wrong tag",
    too_much: "too much waits in packets",
}


def is_alive(client: SocketNode, upstream: SocketNode) -> None:
    """Have both nodes of a session hear of each other."""
    client.send(ping(7))
    assert upstream.receive() == ping(7)
    upstream.send(ping(8))
    assert client.receive() == ping(8)


@pytest.mark.parametrize("who", ["client", "upstream"])
@pytest.mark.parametrize("attack", [no_terminator, bad_tag])
def test_only_the_session_of_a_hostile_node_ends(
    loop: Loop, attack: Callable[[SocketNode], None], who: str
):
    """At once, with what it did."""
    with listening() as server:
        observer = TransportRecording()
        settings = ProxySettings(
            network=NETWORK,
            modes=(parse_mode(f"reverse:127.0.0.1:{server.getsockname()[1]}@0"),),
            stream_above=65_536,
            client_transport=Transport.AUTO,
            upstream_transport=Transport.AUTO,
        )
        service = ProxyService(loop.reactor, settings, [observer])
        [mode] = loop.call(service.listen)
        with pair(mode.listen.port, server) as bystanders:
            for each in bystanders:
                each.finish_handshake()
            is_alive(*bystanders)
            with pair(mode.listen.port, server) as (client, upstream):
                hostile, victim = (client, upstream) if who == "client" else (upstream, client)
                attack(hostile)
                victim.wait_for_end()
                hostile.wait_for_end()
            wait_until("it is told", lambda: observer.whys)
            is_alive(*bystanders)
            assert len(service.sessions) == 1
        loop.call(service.stopService)
    assert observer.whys[0].startswith(f"{who}: encrypted transport: ")
    assert ATTACKS[attack] in observer.whys[0]


@pytest.mark.slow
def test_the_program_goes_on(tmp_path: Path):
    """It says what each hostile client did, and ends as if nothing had been."""
    with listening() as server:
        port = server.getsockname()[1]
        proxy = Proxy(
            NETWORK, port, tmp_path, "--memory", "1 MiB", "--key-log", str(tmp_path / "k")
        )
        try:
            with pair(proxy.port, server) as bystanders:
                for each in bystanders:
                    each.finish_handshake()
                for number, (attack, says) in enumerate(ATTACKS.items(), 2):
                    with pair(proxy.port, server) as (client, upstream):
                        attack(client)
                        upstream.wait_for_end()
                    wait_until("it is over", lambda number=number: _end(proxy, number))
                    assert says in _end(proxy, number)
                with socket.create_connection(("127.0.0.1", proxy.port)) as silent:
                    silent.sendall(bytes(64))
                    is_alive(*bystanders)
            wait_until("the session is over", lambda: _end(proxy, 1))
            assert proxy.stop() == 0
        finally:
            proxy.close()
    assert "Traceback" not in proxy.output


def _end(proxy: Proxy, session: int) -> str:
    """Return the line that says how a session ended, once there is one."""
    lines = [each for each in proxy.output.splitlines() if f"[#{session} " in each]
    return next((each for each in lines if "] end: " in each), "")
