"""Mode `socks5` over loopback, with a SOCKS client that others have written (PySocks)."""

import socket
from collections.abc import Callable, Iterator

import pytest
import socks
from twisted.logger import globalLogPublisher

from lbcproxy.proxy import ProxyService, ProxySettings, parse_mode
from tests.nodes import free_port, wait_until
from tests.proxy.loops import Loop, listening, read_to_end
from tests.proxy.socks_requests import NO_ADDRESS, NO_AUTH, to_name
from tests.proxy.transports import NETWORK, Recording
from tests.tools import TIMEOUT

Make = Callable[..., socks.socksocket]


MAX_SESSIONS = 5


class Proxy:
    """A running SOCKS proxy."""

    def __init__(self, loop: Loop) -> None:
        self.observer = Recording()
        settings = ProxySettings(
            network=NETWORK,
            modes=(parse_mode("socks5@0"),),
            dial_timeout=5,
            stream_above=None,
            max_sessions=MAX_SESSIONS,
        )
        self.service = ProxyService(loop.reactor, settings, [self.observer])
        [mode] = loop.call(self.service.listen)
        self.port: int = mode.listen.port


@pytest.fixture
def proxy(loop: Loop) -> Iterator[Proxy]:
    """The same, stopped in the end."""
    proxy = Proxy(loop)
    yield proxy
    loop.call(proxy.service.stopService)
    assert proxy.service.sessions == ()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Make]:
    """Make clients of it; `rdns` has names looked up by the proxy."""
    made: list[socks.socksocket] = []

    def make(*, rdns: bool = True, user: str | None = None) -> socks.socksocket:
        each = socks.socksocket()
        each.set_proxy(
            socks.SOCKS5, "127.0.0.1", proxy.port, rdns, user, None if user is None else "secret"
        )
        each.settimeout(TIMEOUT)
        made.append(each)
        return each

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("user", [None, "somebody"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("rdns", [False, True])
def test_a_client_comes_where_it_wants(proxy: Proxy, client: Make, user, host, rdns):
    """By name or address, with any name and password or none."""
    with listening() as server:
        each = client(rdns=rdns, user=user)
        port = server.getsockname()[1]
        each.connect((host, port))
        with server.accept()[0] as node:
            assert each.get_proxy_sockname() == node.getpeername()
            each.sendall(b"question")
            assert node.recv(100) == b"question"
            node.sendall(b"answer")
            assert each.recv(100) == b"answer"
            each.shutdown(socket.SHUT_WR)
            assert read_to_end(node) == b""
        assert read_to_end(each) == b""
    wait_until("the session is over", lambda: proxy.service.sessions == ())
    info = proxy.observer.summaries[-1].info
    assert info.upstream == (host if rdns else "127.0.0.1", port)


def test_an_ipv6_address_is_understood(client: Make):
    """Where the machine has one."""
    with listening("::1") as server:
        each = client(rdns=False)
        each.connect(("::1", server.getsockname()[1]))
        with server.accept()[0] as node:
            node.sendall(b"here")
            assert each.recv(4) == b"here"


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("127.0.0.1", "0x05: Connection refused"),
        ("no.such.invalid", "0x04: Host unreachable"),
    ],
)
def test_a_client_hears_why_it_does_not(client: Make, host: str, words: str):
    """The code is the one for what happened."""
    with pytest.raises(socks.ProxyError) as caught:
        client().connect((host, free_port()))
    assert words in str(caught.value)


@pytest.mark.parametrize("name", [b"a..b", b"x" * 255, b"-", b"_a.invalid", b"xn--a.invalid"])
def test_a_name_that_cannot_be_is_not_found(proxy: Proxy, name: bytes):
    """However Twisted reports it, it is not a bug of ours."""
    failures: list[object] = []

    def observe(event) -> None:
        failures.extend(filter(None, [event.get("log_failure")]))

    globalLogPublisher.addObserver(observe)
    with socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT) as raw:
        raw.sendall(NO_AUTH + to_name(name))
        assert read_to_end(raw) == b"\5\0" + b"\5\4" + NO_ADDRESS
    globalLogPublisher.removeObserver(observe)
    assert failures == []


def test_a_client_that_asks_for_bind_gets_an_error(proxy: Proxy):
    """Only CONNECT is understood."""
    with socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT) as raw:
        raw.sendall(NO_AUTH + b"\5\2\0\1\x7f\0\0\1\0\1")
        assert read_to_end(raw) == b"\5\0" + b"\5\7" + NO_ADDRESS


def test_clients_that_say_nothing_are_counted(proxy: Proxy):
    """They hold a place each, of which there are so many."""
    silent = [
        socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT) for _ in range(MAX_SESSIONS)
    ]
    wait_until("all are there", lambda: len(proxy.service.sessions) == MAX_SESSIONS)
    with socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT) as another:
        assert read_to_end(another) == b""
    for each in silent:
        each.close()
    wait_until("all are gone", lambda: proxy.service.sessions == ())
