"""Tests of the proxy over real loopback TCP: what only sockets can show."""

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from lbcproxy.peer.connection import LARGE_READ
from lbcproxy.proxy import CannotListen, ProxyService, ProxySettings, Shared, parse_mode
from tests.nodes import free_port, wait_until
from tests.proxy.loops import Loop, break_off, connect, listening, read_to_end
from tests.proxy.transports import NETWORK, WATERMARK, Recording
from tests.tools import TIMEOUT


class Started:
    """A proxy that listens, its ports in the order of its modes."""

    def __init__(self, loop: Loop, *modes: str, shared: Shared | None = None) -> None:
        self.loop = loop
        self.observer = Recording()
        settings = ProxySettings(
            network=NETWORK,
            modes=tuple(map(parse_mode, modes)),
            dial_timeout=5,
            stream_above=65_536,
        )
        self.service = ProxyService(loop.reactor, settings, [self.observer], shared=shared)
        self.modes: list[Any] = loop.call(self.service.listen)
        self.ports = [mode.listen.port for mode in self.modes]

    def stop(self) -> None:
        """Stop it and wait until all is closed."""
        self.loop.call(self.service.stopService)
        assert self.service.sessions == ()


Start = Callable[..., Started]


@pytest.fixture
def start(loop: Loop) -> Iterator[Start]:
    """Start proxies; they are stopped in the end."""
    started: list[Started] = []

    def begin(*modes: str) -> Started:
        started.append(Started(loop, *modes))
        return started[-1]

    yield begin
    for each in started:
        each.stop()


def leading_to(server: socket.socket) -> str:
    """A mode that leads to a listening socket, at any port."""
    return f"reverse:127.0.0.1:{server.getsockname()[1]}@0"


def accepts(port: int) -> bool:
    """Whether somebody listens at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_several_listeners_lead_to_their_own_upstreams(start: Start):
    """One proxy may stand before several nodes at once."""
    with listening() as one, listening() as other:
        proxy = start(leading_to(one), leading_to(other))
        assert len(set(proxy.ports)) == 2
        with connect(proxy.ports[0], one) as (client, node):
            client.sendall(b"to one")
            assert node.recv(100) == b"to one"
        with connect(proxy.ports[1], other) as (client, node):
            node.sendall(b"from other")
            assert client.recv(100) == b"from other"


def test_port_0_picks_one_and_says_which(start: Start):
    """Tests and scripts need a free port, and have to learn it."""
    with listening() as server:
        proxy = start(leading_to(server))
        [mode] = proxy.modes
        assert mode.listen.port > 0
        assert str(mode) == f"reverse:{mode.leads_to}@127.0.0.1:{mode.listen.port}"
        assert accepts(mode.listen.port)
        server.accept()[0].close()


def test_a_busy_port_cannot_be_listened_at(loop: Loop):
    """The operator learns which address and why, and nothing stays half started."""
    free = free_port()
    with listening() as busy:
        port = busy.getsockname()[1]
        with pytest.raises(CannotListen) as caught:
            Started(loop, f"reverse:127.0.0.1:1@{free}", f"reverse:127.0.0.1:1@{port}")
    assert str(caught.value) == f"cannot listen at 127.0.0.1:{port}: Address already in use"
    assert not accepts(free)


def test_stopping_closes_listeners_and_sessions(loop: Loop):
    """When a stop is done, nothing of the proxy is left."""
    with listening() as server:
        proxy = Started(loop, leading_to(server))
        with connect(proxy.ports[0], server) as (client, node):
            client.sendall(b"last words")
            assert node.recv(4) == b"last"
            closers = [
                threading.Thread(target=lambda each=each: (read_to_end(each), each.close()))
                for each in (client, node)
            ]
            for closer in closers:
                closer.start()
            proxy.stop()
            for closer in closers:
                closer.join(TIMEOUT)
                assert not closer.is_alive()
        assert not accepts(proxy.ports[0])
        assert proxy.observer.events[-1] == ("ended", "proxy stopped")


def test_a_half_close_passes(start: Start):
    """A client may say all it has to say, close its side, and still be answered."""
    with listening() as server:
        proxy = start(leading_to(server))
        with connect(proxy.ports[0], server) as (client, node):
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert read_to_end(node) == b"question"
            node.sendall(b"answer")
            node.shutdown(socket.SHUT_WR)
            assert read_to_end(client) == b"answer"
        wait_until("the session is over", lambda: proxy.service.sessions == ())
        assert proxy.observer.events[-1] == ("ended", "client closed")


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_reset_passes(start: Start, who: str):
    """A crash on one side is a crash on the other, after what was sent before it."""
    with listening() as server:
        proxy = start(leading_to(server))
        with connect(proxy.ports[0], server) as (client, node):
            source, sink = (client, node) if who == "client" else (node, client)
            source.sendall(b"before")
            assert sink.recv(100) == b"before"
            break_off(source)
            with pytest.raises(ConnectionResetError):
                read_to_end(sink)
        wait_until("the session is over", lambda: proxy.service.sessions == ())
        assert proxy.observer.events[-1] == ("ended", f"{who} reset")


def test_a_client_of_a_refusing_upstream_is_reset(start: Start):
    """Clients are refused as without a proxy, as far as an accepted connection can be."""
    proxy = start(f"reverse:127.0.0.1:{free_port()}@0")
    address = ("127.0.0.1", proxy.ports[0])
    with (
        pytest.raises(ConnectionResetError),  # at the latest when it reads
        socket.create_connection(address, 20) as client,
    ):
        read_to_end(client)
    wait_until("the session is over", lambda: proxy.service.sessions == ())
    assert proxy.observer.events[-1][1] == "upstream unreachable: Connection refused"


def test_many_clients_have_sessions_of_their_own(start: Start):
    """What one client says must never reach another one's node."""
    with listening() as server:
        proxy = start(leading_to(server))
        pairs = []
        for _ in range(30):
            client = socket.create_connection(("127.0.0.1", proxy.ports[0]), TIMEOUT)
            pairs.append((client, server.accept()[0]))
        for number, (client, node) in enumerate(pairs):
            client.sendall(b"%d up" % number)
            node.sendall(b"%d down" % number)
        for number, (client, node) in enumerate(pairs):
            assert node.recv(100) == b"%d up" % number
            assert client.recv(100) == b"%d down" % number
        assert len(proxy.service.sessions) == 30
        for client, node in pairs:
            client.close()
            node.close()
        wait_until("all sessions are over", lambda: proxy.service.sessions == ())


def test_ipv6_on_both_sides(start: Start):
    """Nodes live on IPv6 too."""
    try:
        with listening("::1") as server:
            proxy = start(f"reverse:[::1]:{server.getsockname()[1]}@[::1]:0")
            with connect(proxy.ports[0], server, "::1") as (client, node):
                client.sendall(b"six")
                assert node.recv(100) == b"six"
    except OSError as error:
        if error.errno is None:
            raise
        pytest.skip(f"no IPv6 here: {error}")


@pytest.mark.slow
def test_a_node_that_reads_slowly_slows_the_sender_down(start: Start):
    """50 MB for a node that reads nothing wait with their sender, not in our memory."""
    part = hashlib.sha256(b"").digest() * 32_768
    parts = 50
    with listening() as server:
        proxy = start(leading_to(server))
        with connect(proxy.ports[0], server) as (client, node):
            sent = 0

            def send() -> None:
                nonlocal sent
                for _ in range(parts):
                    client.sendall(part)
                    sent += len(part)
                client.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            [relay] = proxy.service.sessions
            wait_until("the upstream is full", lambda: relay.upstream.full)
            stalled = -1
            while stalled != sent:  # the kernels' buffers are filled, then nothing goes on
                stalled = sent
                sender.join(0.3)
            assert sender.is_alive()
            assert sent < parts * len(part)
            assert _waiting(proxy, relay) <= WATERMARK + LARGE_READ
            digest, length = hashlib.sha256(), 0
            while data := node.recv(1 << 20):
                digest.update(data)
                length += len(data)
                if length % 7 == 0:
                    assert _waiting(proxy, relay) <= WATERMARK + LARGE_READ
            sender.join(TIMEOUT)
            assert length == parts * len(part)
            assert digest.digest() == hashlib.sha256(part * parts).digest()


def _waiting(proxy: Started, relay: Any) -> int:
    """How many bytes wait in our memory to be sent to the upstream."""

    def count() -> int:
        wire = relay.upstream.transport
        return len(wire.dataBuffer) - wire.offset + wire._tempDataLen

    return int(proxy.loop.call(count))


def test_proxies_may_be_chained(loop: Loop):
    """One leads to the other, in one process with one account of connections."""
    shared = Shared()
    with listening() as server:
        second = Started(loop, leading_to(server), shared=shared)
        first = Started(loop, f"reverse:localhost:{second.ports[0]}@0", shared=shared)
        with connect(first.ports[0], server) as (client, node):
            client.sendall(b"through both")
            assert node.recv(100) == b"through both"
        first.stop()
        second.stop()
    assert shared.loop_guard._holders == shared.loop_guard._before == {}


def test_a_proxy_that_leads_to_itself_does_not_flood(loop: Loop):
    """Two sessions, or three; not as many as there are ports."""
    port = free_port()
    proxy = Started(loop, f"reverse:localhost:{port}@{port}")
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), TIMEOUT) as client:
        assert client.recv(10) == b""
    wait_until("all have ended", lambda: proxy.service.sessions == ())
    assert 2 <= len(proxy.observer.summaries) <= 4
    assert "the upstream is this proxy itself" in proxy.observer.whys
    proxy.stop()
