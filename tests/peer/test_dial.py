"""Tests of connecting: which names are looked up, and why there is no connection."""

import errno
import re
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, DNSLookupError, NoRouteError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TooLate
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport

import lbcproxy
from lbcproxy.endpoint import Endpoint
from lbcproxy.peer import dial as module
from lbcproxy.peer.dial import (
    CONNECT_ERRORS,
    client_endpoint,
    connect,
    never_looked_up,
    reason_of,
    transports_to_try,
)
from lbcproxy.transport.curve import MissingLibrary
from lbcproxy.transport.kind import Transport


def missing() -> None:
    """Do what `require_libraries` does where there are none."""
    raise MissingLibrary("coincurve")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Refused(errno.ECONNREFUSED), "Connection refused"),
        (NoRouteError(errno.EHOSTUNREACH), "No route to host"),
        (DNSLookupError("no results for hostname lookup: nowhere"), "no such host"),
        (TooLate(), "no answer in time"),
        (ConnectError(string="what\x1b[2J\nhappened"), r"what\x1b[2J\nhappened"),
        (CancelledError(), "CancelledError"),
    ],
)
def test_why_there_is_no_connection(error: Exception, words: str):
    """The system's words where it has some; nothing that acts on a terminal."""
    assert isinstance(error, CONNECT_ERRORS)
    assert words in reason_of(error)
    assert "\x1b" not in reason_of(error)


SPECIAL = ["abc.onion", "ABC.ONION.", "onion", "x.b32.i2p", "no.such.invalid", "invalid."]


@pytest.mark.parametrize("host", SPECIAL)
def test_names_that_are_nobodys_are_never_looked_up(host):
    """The resolver's operator would learn whom we want to reach (RFC 7686, RFC 6761)."""
    reactor = MemoryReactorClock()
    reactor.nameResolver = None  # whoever asks it fails otherwise
    failures = []
    client_endpoint(reactor, Endpoint(host, 8333), 5.0).connect(None).addErrback(failures.append)
    [failure] = failures
    assert failure.check(DNSLookupError)
    assert isinstance(failure.value, CONNECT_ERRORS)
    last = host.rstrip(".").lower().rpartition(".")[2]
    assert reason_of(failure.value) == f"names in .{last} are not looked up"


@pytest.mark.parametrize("host", ["onion.example", "invalidx", "1.2.3.4", "::1", "localhost"])
def test_other_names_are(host):
    """It is the last part that counts."""
    assert never_looked_up(host) == ""


def test_nobody_looks_names_up_in_another_way():
    """The rule holds wherever we connect: upstreams, probe, replay, SOCKS."""
    package = Path(lbcproxy.__file__).parent
    ways = re.compile(r"HostnameEndpoint\(|getaddrinfo\(|gethostby|create_connection\(")
    found = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if ways.search(path.read_text())
    ]
    assert sorted(found) == ["peer/dial.py", "pytest_plugin/network.py"]


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("1.2.3.4", TCP4ClientEndpoint),
        ("::1", TCP6ClientEndpoint),
        ("fe80::1", TCP6ClientEndpoint),
        ("localhost", HostnameEndpoint),
        ("1.example", HostnameEndpoint),
    ],
)
def test_an_ip_address_is_not_looked_up(host, kind):
    """A name is, within the same time."""
    reactor = MemoryReactorClock()
    endpoint = client_endpoint(reactor, Endpoint(host, 8333), 5.0)
    assert type(endpoint) is kind
    assert endpoint._timeout == 5.0
    assert endpoint._port == 8333
    if kind is not HostnameEndpoint:
        endpoint.connect(Factory())
        [(given, port, _, timeout, _)] = reactor.tcpClients
        assert (given, port, timeout) == (host, 8333, 5.0)


def test_a_connected_peer_is_the_one_that_was_given():
    """And Twisted logs nothing of it."""
    reactor, peer = MemoryReactorClock(), Protocol()
    connected = connect(client_endpoint(reactor, Endpoint("1.2.3.4", 8333), 5.0), peer)
    [(_, _, factory, _, _)] = reactor.tcpClients
    assert not factory._wrappedFactory.noisy
    factory.doStart()
    factory.buildProtocol(None).makeConnection(StringTransport())
    assert connected.result is peer


@pytest.mark.parametrize(
    ("asked", "installed", "tried"),
    [
        (Transport.V1, False, (Transport.V1,)),
        (Transport.V1, True, (Transport.V1,)),
        (Transport.V2, True, (Transport.V2,)),
        (Transport.AUTO, True, (Transport.V2, Transport.V1)),
        (Transport.AUTO, False, (Transport.V1,)),
    ],
)
def test_the_transports_that_a_node_is_tried_with(monkeypatch, asked, installed, tried):
    """What is asked for, as far as the libraries for it are there."""
    monkeypatch.setattr(module, "require_libraries", lambda: None if installed else missing())
    assert transports_to_try(asked) == tried


def test_what_cannot_be_tried_is_an_error(monkeypatch):
    """A caller that asks for encryption is not given a connection without it."""
    monkeypatch.setattr(module, "require_libraries", missing)
    with pytest.raises(MissingLibrary):
        transports_to_try(Transport.V2)


def test_a_reason_ends_without_a_full_stop_and_is_never_empty():
    """It stands in the middle of a sentence."""
    assert (
        reason_of(ConnectError(string="it failed."))
        == "An error occurred while connecting: it failed"
    )
    assert reason_of(OSError("no.")) == "no"
    assert reason_of(OSError()) == "OSError"
    assert reason_of(None) == "None"
