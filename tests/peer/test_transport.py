"""Peers over an encrypted connection (BIP324)."""

from __future__ import annotations

import msgspec
import pytest

pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")

from lbcproxy.peer import Policy, Transport
from lbcproxy.session import EndCause
from lbcproxy.transport.v2 import V2Transport
from lbcproxy.wire.messages.keepalive import Ping, Pong
from tests.peer.builders import CONFIG, Wired, connect
from tests.peer.conversations import talk

MAGIC = CONFIG.network.magic
V2 = msgspec.structs.replace(CONFIG, transport=Transport.V2)
AUTO = msgspec.structs.replace(CONFIG, transport=Transport.AUTO)
V1 = msgspec.structs.replace(CONFIG, transport=Transport.V1)


def joined(inbound, outbound) -> tuple[Wired, Wired]:
    """Return an inbound and an outbound peer that have talked to each other."""
    one = connect(inbound, inbound=True, port=50_000)
    other = connect(outbound, inbound=False, host="10.0.0.2")
    talk(one, other)
    return one, other


@pytest.mark.parametrize("policy", [Policy.STRICT, Policy.TOLERANT], ids=lambda each: each.value)
@pytest.mark.parametrize("inbound", [V2, AUTO], ids=["v2", "auto"])
def test_two_peers_encrypt(inbound, policy):
    """All of it: the magic is nowhere on the wire. Both know the same session id."""
    configs = (msgspec.structs.replace(each, policy=policy) for each in (inbound, V2))
    one, other = joined(*configs)
    assert one.peer.is_ready
    assert other.peer.is_ready
    wires = b"".join(side.bytes_sent for side in (one, other))
    for side in (one, other):
        side.wire.got = b""
    one.peer.send(Ping(nonce=77))
    talk(one, other)
    assert Ping(nonce=77) in [each[-1] for each in other.callbacks.of("on_ping")]
    assert Pong(nonce=77) in [each[-1] for each in one.callbacks.of("on_pong")]
    assert one.peer.session_id == other.peer.session_id is not None
    assert one.peer.logged_secret == other.peer.logged_secret is not None
    wires += b"".join(side.bytes_sent for side in (one, other))
    assert MAGIC not in wires
    assert len(wires) > 2 * 64


def test_who_accepts_both_is_called_without_encryption():
    """Nothing is different then; there is no session id."""
    one, other = joined(AUTO, V1)
    assert one.peer.is_ready
    assert one.peer.session_id is other.peer.session_id is None
    assert one.peer.logged_secret is other.peer.logged_secret is None
    assert other.bytes_sent.startswith(MAGIC)


def test_who_only_encrypts_refuses_others():
    """With a reason."""
    one, other = joined(V2, V1)
    assert not other.peer.is_ready
    assert one.peer.core.closed == "encrypted transport: the other side speaks v1"
    assert one.peer.core.cause is EndCause.PROTOCOL


def test_a_node_of_another_network():
    """Is not understood: its terminator does not come, and the handshake times out."""
    node = V2Transport(b"\xf9\xbe\xb4\xd9", initiating=False)
    wired = connect(V2, inbound=False)
    wired.read()
    node.receive(wired.bytes_sent)
    wired.feed(node.public_key + node.terminator() + node.packet(b""))
    wired.pass_time(CONFIG.timeouts.negotiate + 1)
    assert wired.closed
    assert not wired.peer.is_ready


def test_a_changed_packet_ends_the_connection():
    """With its place."""
    node = V2Transport(MAGIC, initiating=False)
    wired = connect(V2, inbound=False)
    wired.read()
    node.receive(wired.bytes_sent)
    bad = bytearray(node.public_key + node.terminator() + node.packet(b""))
    bad[-1] ^= 1
    wired.feed(bytes(bad))
    assert wired.closed
    assert "packet 1, at byte 80 of the stream, has a wrong tag" in wired.peer.core.closed


def test_bytes_in_any_portions():
    """One by one, the handshake is the same."""
    one = connect(AUTO, inbound=True, port=50_000)
    other = connect(V2, inbound=False, host="10.0.0.2")
    talk(one, other, portion=1)
    assert one.peer.is_ready
    assert other.peer.is_ready
