"""What is said to another SOCKS proxy, and a node reached through one."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import socks
from twisted.internet.error import ConnectError
from twisted.internet.error import ConnectionRefusedError as ConnectRefused

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.dial import reason_of
from lbcproxy.proxy import Destinations, ProxyService, ProxySettings, parse_mode
from lbcproxy.proxy.destinations import NotAllowed
from lbcproxy.proxy.socks_client import GREETING, SocksRequest
from tests.nodes import free_port, wait_until
from tests.proxy.loops import Loop, listening, read_to_end
from tests.proxy.transports import NETWORK, Recording
from tests.tools import TIMEOUT

YES = b"\5\0\0\1\x7f\0\0\1\x24\x1e"
ONION = "abcdefghij234567abcdefghij234567abcdefghij234567abcdefgh.onion"


@pytest.mark.parametrize(
    ("host", "request_"),
    [
        ("10.0.0.1", b"\5\1\0\1\x0a\0\0\1\x24\x1e"),
        ("::1", b"\5\1\0\4" + bytes(15) + b"\1\x24\x1e"),
        ("seed.example", b"\5\1\0\3\x0cseed.example\x24\x1e"),
    ],
)
@pytest.mark.parametrize("answer", [YES, YES[:3] + b"\4" + bytes(18), YES[:3] + b"\3\2ab\0\1"])
def test_a_host_is_asked_for_as_it_was_named(host, request_, answer):
    """In any split of what the proxy says."""
    stream = b"\5\0" + answer + b"early"
    for size in range(1, len(stream) + 1):
        talk = SocksRequest(Endpoint(host, 9246))
        said, rest = b"", b""
        for begin in range(0, len(stream), size):
            part = stream[begin : begin + size]
            if talk.rest is None:
                said += talk.feed(part)
                rest = talk.rest or b""
            else:
                rest += part
        assert (said, rest, talk.error) == (request_, b"early", None)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"\5\xff", ConnectError, "answers 05 ff to a greeting"),
        (b"\4\0", ConnectError, "answers 04 00"),
        (b"\5\0\5\5\0\1" + bytes(6), ConnectRefused, "Connection refused"),
        (b"\5\0\5\4\0\1" + bytes(6), ConnectError, "No route to host"),
        (b"\5\0\5\2\0\1" + bytes(6), NotAllowed, "does not allow it"),
        (b"\5\0\5\1\0\1" + bytes(6), ConnectError, "general failure"),
        (b"\5\0\5\xf0\0\1" + bytes(6), ConnectError, "onion service not found"),
        (b"\5\0\5\x55\0\1" + bytes(6), ConnectError, "code 55"),
        (b"\5\0\4\0\0\1" + bytes(6), ConnectError, "not a SOCKS 5 reply: 04 00"),
        (b"\5\0\5\0\0\7" + bytes(6), ConnectError, "not a SOCKS 5 reply"),
    ],
)
def test_a_refusal_raises_what_dialling_would_have_raised(answer, kind, words):
    """With the system's words where there is a code for them."""
    talk = SocksRequest(Endpoint("seed.example", 1))
    talk.feed(answer)
    assert isinstance(talk.error, kind)
    assert words in reason_of(talk.error)
    assert talk.rest is None


class Chain:
    """A SOCKS proxy of ours that leads through another one."""

    def __init__(self, loop: Loop, through: int, rules: Destinations) -> None:
        self.observer = Recording()
        settings = ProxySettings(
            network=NETWORK,
            modes=(parse_mode("socks5@0"),),
            dial_timeout=5,
            stream_above=None,
            socks_upstream=Endpoint("127.0.0.1", through) if through else None,
            destinations=rules,
        )
        self.service = ProxyService(loop.reactor, settings, [self.observer])
        [mode] = loop.call(self.service.listen)
        self.port: int = mode.listen.port


@pytest.fixture
def chain(loop: Loop) -> Iterator[Any]:
    """Make proxies, stopped in the end."""
    made: list[Chain] = []

    def make(through: int = 0, *, allow: str = "", deny: str = "") -> Chain:
        rules = Destinations.parse(tuple(allow.split()), tuple(deny.split()))
        made.append(Chain(loop, through, rules))
        return made[-1]

    yield make
    for each in made:
        loop.call(each.service.stopService)


def connect(proxy: Chain, host: str, port: int) -> socks.socksocket:
    client = socks.socksocket()
    client.set_proxy(socks.SOCKS5, "127.0.0.1", proxy.port, True)
    client.settimeout(TIMEOUT)
    try:
        client.connect((host, port))
    except Exception:
        client.close()
        raise
    return client


def test_a_node_is_reached_through_two_proxies(chain):
    """What passes is seen by the first as if there were no second."""
    first = chain(chain().port)
    with listening() as server:
        port = server.getsockname()[1]
        with connect(first, "localhost", port) as client, server.accept()[0] as node:
            client.sendall(b"question")
            assert node.recv(100) == b"question"
            node.sendall(b"answer")
            assert client.recv(100) == b"answer"
            client.shutdown(socket.SHUT_WR)
            assert read_to_end(node) == b""
        wait_until("the session is over", lambda: first.service.sessions == ())
    assert first.observer.summaries[-1].info.upstream == Endpoint("localhost", port)


def test_an_onion_name_is_passed_on_as_it_is(chain):
    """Which no resolver of ours has ever heard."""
    with listening() as tor:
        first = chain(tor.getsockname()[1])
        with socket.create_connection(("127.0.0.1", first.port), TIMEOUT) as client:
            name = ONION.encode()
            ask = b"\5\1\0\3" + bytes((len(name),)) + name + b"\x20\x8d"
            client.sendall(b"\5\1\0" + ask)
            with tor.accept()[0] as heard:
                heard.settimeout(TIMEOUT)
                assert _exactly(heard, len(GREETING)) == GREETING
                heard.sendall(b"\5\0")
                assert _exactly(heard, len(ask)) == ask
                heard.sendall(b"\5\0\0\1" + bytes(6) + b"first words")
                client.settimeout(TIMEOUT)
                assert _exactly(client, 2 + 10)[:4] == b"\5\0\5\0"
                assert _exactly(client, 11) == b"first words"


@pytest.mark.parametrize(
    ("bounds", "host", "code"),
    [
        ({"deny": "loopback"}, "127.0.0.1", "0x02"),
        ({"deny": "loopback"}, "localhost", "0x02"),
        ({"deny": "loopback"}, "::ffff:127.0.0.1", "0x02"),
        ({"allow": "10.0.0.0/8"}, "localhost", "0x02"),
        ({"allow": "other.example"}, "localhost", "0x02"),
        ({"allow": "localhost", "deny": "127.0.0.0/8 ::1"}, "localhost", "0x02"),
        ({}, "abc.onion", "0x04"),
    ],
)
def test_a_client_hears_that_it_may_not_go_there(chain, bounds, host, code):
    """By the code that RFC 1928 has for rules."""
    with listening() as server, pytest.raises(socks.ProxyError, match=code):
        connect(chain(**bounds), host, server.getsockname()[1])


@pytest.mark.parametrize("bounds", [{"allow": "localhost"}, {"allow": "loopback"}])
def test_a_client_may_go_where_it_is_allowed(chain, bounds):
    """By name, or by the address that the name has."""
    with listening() as server:
        connect(chain(**bounds), "localhost", server.getsockname()[1]).close()


def test_a_proxy_that_is_not_there_is_named(chain):
    """The client hears of a failure, and the log says whose it is."""
    first = chain(free_port())
    with pytest.raises(socks.ProxyError, match="0x01"):
        connect(first, ONION, 8333)
    wait_until("the session is over", lambda: first.service.sessions == ())
    assert "the SOCKS proxy 127.0.0.1:" in first.observer.summaries[-1].end.text


def test_a_proxy_that_hangs_up_is_a_failed_connection(chain):
    """At any point of the talk."""
    with listening() as tor:
        first = chain(tor.getsockname()[1])
        with socket.create_connection(("127.0.0.1", first.port), TIMEOUT) as client:
            client.sendall(b"\5\1\0\5\1\0\1\x0a\0\0\1\0\1")
            with tor.accept()[0] as heard:
                _exactly(heard, len(GREETING))
            assert read_to_end(client)[:4] == b"\5\0\5\1"


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        assert part, data
        data += part
    return data
