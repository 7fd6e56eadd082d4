"""The time before a relay: clients that say where they want to go, or do not."""

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher

from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import parse_fault
from lbcproxy.plugins.loader import PluginFile, parse_spec
from lbcproxy.proxy import Plugins
from lbcproxy.proxy.modes import all_modes
from lbcproxy.proxy.modes.transparent import SO_ORIGINAL_DST, redirected_from
from lbcproxy.proxy.pending_client import DESTINATION_TIMEOUT
from lbcproxy.session import Direction
from lbcproxy.transport.kind import Transport
from lbcproxy.wire.envelope import frame
from tests.proxy.packets import check_wires, speaking
from tests.proxy.socks_requests import NO_ADDRESS, NO_AUTH, REQUESTS, TO_IPV4
from tests.proxy.transports import NETWORK, FakeTransport, Recording, a_dial, settings_of

PING, PONG = (frame(NETWORK.magic, each, bytes(8)) for each in ("ping", "pong"))
TARGET = Endpoint("10.0.0.1", 9246)
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
AUTO = dict.fromkeys(("client_transport", "upstream_transport"), Transport.AUTO)
GRANTED = b"\5\0\0\1\12\0\0\2\0\2"
"""The reply to a client: our address on the upstream leg."""


class Redirected:
    """A socket that knows where it was to go, or does not."""

    def __init__(self, answer: bytes | OSError) -> None:
        self.answer = answer
        self.asked: list[tuple[int, ...]] = []

    def getsockopt(self, *arguments: int) -> bytes:
        self.asked.append(arguments)
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


class HandledTransport(FakeTransport):
    """A transport with such a socket."""

    handle: Redirected

    def getHandle(self) -> Redirected:
        return self.handle


class Scene:
    """A client that has connected; owner and endpoint as in `transports.Scene`."""

    def __init__(self, kind: str, handle: Redirected | None = None, **others: Any) -> None:
        self.clock = Clock()
        self.observer = Recording()
        self.ended: list[Any] = []
        self.dials: list[tuple[Endpoint, ...]] = []
        self.factory: Any = None
        self.dialling: Deferred[Any] | None = None
        usual: dict[str, Any] = {"stream_above": None, "linger": 60, "upstreams": ()}
        settings, runtime = settings_of(self, (), **usual, **others, dial=self.dial)
        self.session = all_modes()[kind].make(1, settings, runtime, self)
        self.client = HandledTransport(self.clock, self.session.client)
        if handle is not None:
            self.client.handle = handle
        self.session.client.makeConnection(self.client)

    leads_to = TARGET

    def dial(self, upstreams: tuple[Endpoint, ...]) -> "Scene":
        self.dials.append(upstreams)
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        self.factory, self.dialling = factory, a_dial()
        return self.dialling

    def session_ended(self, session: Any) -> None:
        self.ended.append(session)

    def answer(self) -> FakeTransport:
        """Have the upstream accept."""
        peer = self.factory.buildProtocol(None)
        upstream = FakeTransport(self.clock, peer, 2)
        peer.makeConnection(upstream)
        self.dialling.callback(peer)
        return upstream

    def refuse(self, error: BaseException) -> None:
        """Have the upstream refuse."""
        self.dialling.errback(error)

    @property
    def over(self) -> bool:
        """Whether all is gone and nothing waits."""
        return self.ended == [self.session] and not self.clock.getDelayedCalls()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The lines that are logged during the test."""
    found: list[str] = []

    def observe(event: Any) -> None:
        found.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


def test_a_client_is_led_where_it_asks_for(lines):
    """Then it is a session as any other, and the SOCKS exchange is not part of it."""
    scene = Scene("socks5")
    scene.client.arrive(NO_AUTH)
    scene.client.read()
    assert scene.client.got == b"\5\0"
    scene.client.arrive(TO_IPV4)
    assert scene.dials == [(TARGET,)]
    scene.client.read()
    assert scene.client.got == b"\5\0"  # there is no connection yet
    upstream = scene.answer()
    scene.client.arrive(PING)
    upstream.arrive(PONG)
    upstream.read()
    scene.client.read()
    assert upstream.got == PING
    assert scene.client.got == b"\5\0" + GRANTED + PONG
    assert scene.observer.passed_bytes(UP) == PING
    assert scene.observer.passed_bytes(DOWN) == PONG
    assert lines == ["[#1 10.0.0.1:1] wants to go to 10.0.0.1:9246"]
    scene.client.finish()
    upstream.finish()
    for each in (scene.client, upstream):
        each.read()
    assert scene.observer.summaries[0].info.upstream == TARGET
    assert scene.observer.summaries[0].info.client == Endpoint("10.0.0.1", 1)
    assert scene.over


def test_faults_act_from_where_a_client_is_led_on():  # v1 only: they delay a handshake
    """Those of the moment; what is said in SOCKS does not meet them."""
    scene = Scene("socks5", faults=(parse_fault("latency latency=9"),))
    scene.session.change_faults([parse_fault("latency latency=2000 stream=upstream")])
    scene.client.arrive(NO_AUTH)
    scene.client.arrive(TO_IPV4)
    upstream = scene.answer()
    scene.client.read()
    assert scene.client.got == b"\5\0" + GRANTED
    scene.client.arrive(PING)
    scene.clock.advance(1.9)
    upstream.read()
    assert upstream.got == b""
    scene.session.change_faults([])
    upstream.arrive(PONG)
    for _ in range(3):
        scene.clock.advance(0.2)
        upstream.read()
        scene.client.read()
    assert upstream.got == PING
    assert scene.client.got == b"\5\0" + GRANTED + PONG


def test_a_session_that_has_been_led_has_the_plugins_as_they_are_now(tmp_path, transport):
    """A file that changes, changes open sessions."""
    path = tmp_path / "quiet.py"
    text = (
        "from lbcproxy.plugin import *\n"
        "class Quiet(Plugin):\n  def on_{}(self, s, m): return Drop()\n"
    )
    path.write_text(text.format("pong"))
    loaded = PluginFile(parse_spec(str(path)))
    scene = Scene("socks5", plugins=Plugins((loaded,)), **AUTO)
    scene.session.plugins_changed()  # before there is anything to ask about
    scene.client.arrive(NO_AUTH)
    scene.client.arrive(TO_IPV4)
    upstream = speaking(transport, scene.answer(), initiating=False)
    scene.client.read()
    client = speaking(transport, scene.client, initiating=True, read=len(scene.client.got))
    client.arrive(PING)
    upstream.read()
    path.write_text(text.format("ping"))
    loaded.reload()
    scene.session.plugins_changed()
    client.arrive(PING, PONG)
    upstream.read()
    assert upstream.got == PING + PONG
    check_wires(client, upstream)


@pytest.mark.parametrize("wait", [False, True])
def test_what_a_client_says_early_is_not_lost(wait: bool):
    """With the request, or before the answer to it."""
    scene = Scene("socks5")
    scene.client.arrive(*([REQUESTS["anybody"], PING] if wait else [REQUESTS["anybody"] + PING]))
    upstream = scene.answer()
    upstream.read()
    assert upstream.got == PING
    assert scene.observer.passed_bytes(UP) == PING


def test_an_upstream_that_refuses_is_reported_as_such():
    """With the code for it, and a close in order: a reset could overtake it."""
    scene = Scene("socks5")
    scene.client.arrive(REQUESTS["early"])
    scene.refuse(Refused(errno.ECONNREFUSED))
    scene.client.read()
    assert scene.client.got == b"\5\0\5\5" + NO_ADDRESS
    assert not scene.client.aborted
    assert not scene.client.connected
    assert scene.observer.events[-2:] == [
        ("reset", DOWN),
        ("ended", "upstream unreachable: Connection refused"),
    ]
    assert scene.over


def test_a_client_that_leaves_while_we_dial_ends_it():
    """Nothing is sent and nothing is reported after that."""
    scene = Scene("socks5")
    scene.client.arrive(REQUESTS["anybody"])
    scene.client.reset()
    assert scene.observer.whys == ["client reset"]
    assert scene.over


def test_a_stop_while_we_dial_is_reported():
    """The client hears that it failed, in time."""
    scene = Scene("socks5")
    scene.client.arrive(REQUESTS["anybody"])
    scene.session.stop()
    scene.client.read()
    assert scene.client.got == b"\5\0\5\1" + NO_ADDRESS
    assert scene.observer.whys == ["proxy stopped"]
    assert scene.over


SILENT = {"nothing": b"", "half a greeting": b"\5", "half a request": NO_AUTH + TO_IPV4[:5]}


@pytest.mark.parametrize("said", SILENT.values(), ids=SILENT)
def test_a_client_that_says_too_little_is_ended(said: bytes, lines):
    """After the timeout, whatever it has sent, with one line in the log."""
    scene = Scene("socks5")
    scene.client.arrive(said)
    scene.clock.advance(DESTINATION_TIMEOUT - 0.1)
    assert lines == []
    scene.clock.advance(0.1)
    scene.client.read()
    assert lines == ["[#1 10.0.0.1:1] refused: it has not said in 10 s where it wants to go"]
    assert scene.observer.events == []
    assert scene.over


def test_a_client_that_says_a_byte_now_and_then_is_ended():
    """The time is for all of it."""
    scene = Scene("socks5")
    for byte in b"\5\xff" + bytes(255):
        scene.client.arrive(bytes((byte,)))
        scene.clock.advance(DESTINATION_TIMEOUT / 20)
        scene.client.read()
    assert scene.over


def test_a_client_that_speaks_otherwise_is_ended_at_once(lines):
    """Even if it does not read."""
    scene = Scene("socks5")
    scene.client.arrive(REQUESTS["no method"] * 100)
    assert len(lines) == 1
    assert "no supported authentication method" in lines[0]
    assert scene.client.connected
    scene.clock.advance(DESTINATION_TIMEOUT)
    assert scene.client.aborted
    scene.clock.advance(0)
    assert len(lines) == 1
    assert scene.over


@pytest.mark.parametrize("way", ["finish", "reset"])
def test_a_client_that_leaves_before_it_asks_is_forgotten(way: str, lines):
    """With one line."""
    scene = Scene("socks5")
    getattr(scene.client, way)()
    scene.client.read()
    assert [line.partition("refused: ")[2][:3] for line in lines] == ["it "]
    assert scene.over


def test_a_stop_ends_a_client_that_has_not_asked_yet():
    """In order, or at once."""
    for end in ("stop", "abort"):
        scene = Scene("socks5")
        getattr(scene.session, end)()
        scene.client.read()
        scene.clock.advance(0)
        assert scene.over
        assert scene.session.held == 0


IPV4 = struct.pack("=H", socket.AF_INET) + b"\x24\x1e\12\0\0\1" + bytes(8)
IPV6 = struct.pack("=H", socket.AF_INET6) + b"\x24\x1e" + bytes(4) + bytes(15) + b"\1" + bytes(4)


@pytest.mark.parametrize(
    ("local", "asked", "answer", "wanted"),
    [
        ("127.0.0.1", (socket.SOL_IP, SO_ORIGINAL_DST, 16), IPV4, TARGET),
        ("::ffff:127.0.0.1", (socket.SOL_IP, SO_ORIGINAL_DST, 16), IPV4, TARGET),
        ("::1", (socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28), IPV6, Endpoint("::1", 9246)),
    ],
)
def test_linux_knows_where_a_connection_was_to_go(local, asked, answer, wanted):
    """By one option for each kind of address."""
    handle = Redirected(answer)
    assert redirected_from(handle, Endpoint(local, 1)) == wanted
    assert handle.asked == [asked]


def test_a_redirected_client_is_led_where_it_was_to_go():
    """It gets no reply, since it does not know of the proxy."""
    scene = Scene("transparent", Redirected(IPV4))
    assert scene.dials == [(TARGET,)]
    upstream = scene.answer()
    scene.client.arrive(PING)
    upstream.read()
    scene.client.read()
    assert (upstream.got, scene.client.got) == (PING, b"")


def test_an_upstream_that_refuses_a_redirected_client_is_a_reset():
    """As it would be without us."""
    scene = Scene("transparent", Redirected(IPV4))
    scene.refuse(Refused(errno.ECONNREFUSED))
    scene.clock.advance(0)
    assert scene.client.aborted
    assert scene.over


OURSELVES = struct.pack("=H", socket.AF_INET) + b"\0\1\12\0\0\2" + bytes(8)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (OURSELVES, "it came to 10.0.0.2:1 itself, and was not redirected by a firewall"),
        (
            OSError(errno.ENOENT, "No such file or directory"),
            "no redirection by a firewall (No such file",
        ),
    ],
)
def test_a_client_that_was_not_redirected_is_refused(answer, words: str, lines):
    """There is nowhere to lead it but to ourselves."""
    scene = Scene("transparent", Redirected(answer))
    scene.client.read()
    assert scene.dials == []
    assert len(lines) == 1
    assert words in lines[0]
    assert scene.over
