"""Each fault by byte on a real conversation of two lbcd nodes, through a real proxy."""

import socket
import threading
from pathlib import Path

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.faults import Fault, byte_faults
from lbcproxy.proxy import ProxyService, ProxySettings, parse_mode
from lbcproxy.session import Direction
from lbcproxy.transport.kind import Transport
from tests.proxy.encrypted_sockets import EncryptedSocket, connect_over
from tests.proxy.loops import listening
from tests.proxy.transports import Recording
from tests.tools import TIMEOUT

CAPTURE = Path(__file__).parents[2] / "captures" / "lbcd-sync.pcap"
WHOLE = {
    "latency": {"latency": 30, "jitter": 10},
    "bandwidth": {"rate": 3000},
    "slicer": {"average_size": 2000, "size_variation": 500, "delay": 100},
    "slow_close": {"delay": 50},
}
CUT = {
    "limit_data": {"bytes": 5000},
    "timeout": {"timeout": 100},
    "reset_peer": {"timeout": 50},
}
HANDSHAKE = 64 + 16 + 20
"""Bytes of the handshake of an encrypted leg."""


@pytest.fixture(scope="module")
def streams():
    """Return the bytes of the conversation, to the upstream and back."""
    found = dict.fromkeys(Direction, b"")
    for entry in open_capture(CAPTURE):
        found[entry.direction] += entry.raw
    return found[Direction.TO_UPSTREAM], found[Direction.TO_CLIENT]


def test_there_are_all_of_them():
    """A new one has to be added here."""
    assert {*WHOLE, *CUT} == set(byte_faults())


def passed(loop, transport, streams, *faults, ends=True):
    """Have the conversation pass through a proxy with faults; return what arrived, and the log.

    The nodes end it when they have said all, unless something else is to.
    """
    up, down = streams
    observer = Recording()
    with listening() as server:
        mode = parse_mode(f"reverse:127.0.0.1:{server.getsockname()[1]}@0")
        settings = ProxySettings(
            network=networks.get("lbry-regtest"),
            modes=(mode,),
            stream_above=65_536,
            faults=tuple(faults),
            seed=7,
            client_transport=Transport.AUTO,
            upstream_transport=Transport.AUTO,
        )
        service = ProxyService(loop.reactor, settings, [observer])
        [mode] = loop.call(service.listen)
        try:
            with connect_over(transport, mode.listen.port, server) as (client, node):
                arrived = {}
                sides = ((client, up, "client"), (node, down, "node"))
                threads = [
                    threading.Thread(target=_talk, args=(*side, arrived, ends), daemon=True)
                    for side in sides
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(TIMEOUT)
                    assert not thread.is_alive()
        finally:
            loop.call(service.stopService)
    observer.on_wire = arrived["client on the wire"]
    return arrived["node"], arrived["client"], observer


def _talk(own, data, name, arrived, ends):
    """Send everything; keep what comes until the end, or the reset, of the other."""
    got = b""
    sender = threading.Thread(target=_send, args=(own, data, ends), daemon=True)
    sender.start()
    try:
        while more := own.recv(1 << 16):
            got += more
    except ConnectionError:
        got += b"RESET"
    sender.join(TIMEOUT)
    own.close()
    arrived[f"{name} on the wire"] = own.received if isinstance(own, EncryptedSocket) else len(got)
    arrived[name] = got


def _send(own, data, ends):
    try:
        own.sendall(data)
        if ends:
            own.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_what_only_slows_down_keeps_every_byte_in_order(loop, streams, transport, kind):
    """Both ways."""
    faults = [
        Fault(type=kind, stream=stream, attributes=WHOLE[kind])
        for stream in ("upstream", "downstream")
    ]
    up, down, observer = passed(loop, transport, streams, *faults)
    assert (up, down) == streams
    assert len(observer.summaries) == 1


def test_all_that_slow_down_together(loop, streams, transport):
    """One after the other."""
    faults = [Fault(type=kind, attributes=values) for kind, values in WHOLE.items()]
    up, down, _ = passed(loop, transport, streams, *faults)
    assert (up, down) == streams


@pytest.mark.parametrize("kind", sorted(CUT))
def test_what_ends_a_session_says_so(loop, streams, transport, kind):
    """And nothing arrives after it; an encrypted leg has had its handshake."""
    after = HANDSHAKE if transport == "v2" and kind != "limit_data" else 0
    cut = Fault(type=kind, attributes=CUT[kind], after_bytes=after)
    up, down, observer = passed(loop, transport, streams, cut, ends=False)
    if kind == "limit_data":
        assert observer.on_wire == 5000
        assert down == streams[1][: len(down)]
    elif kind == "timeout":
        assert down == b""
    else:
        assert down.endswith(b"RESET")
    assert streams[0].startswith(up.removesuffix(b"RESET"))
    [why] = observer.whys
    assert f"fault {kind}_downstream" in why
