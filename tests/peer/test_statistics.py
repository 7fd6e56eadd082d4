"""Tests of what is counted, and of the snapshot (docs/peer-lbcd.md Q)."""

from typing import Any

import msgspec
import pytest

from lbcproxy.peer import Peer, PeerStatistics, Policy
from lbcproxy.peer.statistics import Counters, RemoteNode
from lbcproxy.session.command_counter import OTHERS
from lbcproxy.wire.messages.addresses import GetAddr
from lbcproxy.wire.messages.handshake import VerAck
from lbcproxy.wire.messages.inventory import GetData
from lbcproxy.wire.messages.keepalive import FeeFilter, MemPool, Ping, Pong
from tests.memory import grown
from tests.peer.builders import (
    BITCOIN,
    CONFIG,
    NOW,
    REGTEST,
    Callbacks,
    Wired,
    connect,
    encoded,
    version,
)


def counts(wired: Wired) -> tuple[int, int]:
    """Return the bytes that a peer has counted as sent and received."""
    snapshot = wired.peer.snapshot()
    return snapshot.bytes_sent, snapshot.bytes_received


# Before and after.


def test_before_the_connection_little_is_known():
    """What is unknown is None, not our own or zero (H2)."""
    snapshot = connect(opened=False).peer.snapshot()
    assert snapshot.id == 0
    assert snapshot.protocol_version == 70016
    unknown = (
        "services",
        "user_agent",
        "version",
        "starting_height",
        "last_block",
        "time_offset",
        "connected_at",
        "last_sent",
        "last_received",
        "ping_at",
        "ping_seconds",
    )
    assert {getattr(snapshot, name) for name in unknown} == {None}
    assert (snapshot.bytes_sent, snapshot.bytes_received, snapshot.queued_bytes) == (0, 0, 0)
    assert dict(snapshot.sent) == dict(snapshot.received) == {}


@pytest.mark.parametrize("inbound", [True, False])
def test_after_the_handshake_the_node_is_known(inbound: bool):
    """Both what it advertised and what was agreed (Q2)."""
    wired = connect(inbound=inbound, clock=None).shake_hands(
        80000, services=77, user_agent=b"/x/", start_height=5, timestamp=int(NOW) - 30
    )
    snapshot = wired.peer.snapshot()
    assert snapshot.id > 0
    assert snapshot.address == "10.0.0.1:9246"
    assert snapshot.inbound is inbound
    assert (snapshot.version, snapshot.protocol_version) == (80000, 70016)
    assert (snapshot.services, snapshot.user_agent) == (77, b"/x/")
    assert (snapshot.starting_height, snapshot.last_block) == (5, 5)
    assert snapshot.time_offset == -30
    assert snapshot.connected_at == NOW


def test_snapshots_stay_as_they_are():
    """Later changes do not show in them, and they cannot be changed (Q4)."""
    wired = connect().shake_hands()
    before = wired.peer.snapshot()
    kept = msgspec.structs.asdict(before) | {"sent": dict(before.sent)}
    wired.feed(Ping(1))
    wired.peer.update_last_block(1000)
    assert msgspec.structs.asdict(before) | {"sent": dict(before.sent)} == kept
    assert "pong" not in before.sent
    with pytest.raises(AttributeError):
        before.bytes_sent = 0  # type: ignore[misc]
    with pytest.raises(TypeError):
        before.sent["ping"] = (0, 0)  # type: ignore[index]


def test_a_snapshot_can_be_taken_at_any_time():
    """In each callback, while it connects, and after the end (A2)."""
    taken: list[PeerStatistics] = []

    def take(peer: Peer, *arguments: Any) -> None:
        taken.append(peer.snapshot())

    names = ("on_version", "on_verack", "on_ready", "on_read", "on_write", "on_disconnected")
    wired = connect(callbacks=Callbacks(**dict.fromkeys(names, take))).shake_hands()
    wired.wire.reset()
    assert wired.peer.snapshot() == taken[-1]
    assert taken[-1].address == "10.0.0.1:9246"
    assert len(taken) == 2 + 2 + 2 + 2


def test_a_snapshot_gives_a_dictionary_for_json():
    """For tools that print it."""
    wired = connect().shake_hands(user_agent=b"/\xff\n/")
    plain = wired.peer.snapshot().to_dict()
    assert msgspec.json.decode(msgspec.json.encode(plain)) == plain
    assert plain["user_agent"] == "/\\xff\\n/"
    assert plain["received"]["verack"] == [1, 24]
    assert set(plain) == set(PeerStatistics.__struct_fields__)


def test_heights_never_fall():
    """A node does not forget blocks (A5)."""
    wired = connect().shake_hands(start_height=100)
    seen = []
    for height in (99, 101, 100, 101, 102, -1):
        wired.peer.update_last_block(height)
        seen.append(wired.peer.snapshot().last_block)
    assert seen == [100, 101, 101, 101, 102, 102]
    assert wired.peer.snapshot().starting_height == 100


def test_the_block_announced_last_is_as_it_was_said():
    """It may be reset to None (A5)."""
    peer = connect().shake_hands().peer
    assert peer.core.remote.last_announced is None
    peer.update_last_announced(bytes(32))
    assert peer.core.remote.last_announced == bytes(32)
    peer.update_last_announced(None)
    assert peer.core.remote.last_announced is None


# Bytes.


def test_bytes_are_those_on_the_wire():
    """Both ways, the handshake and headers included (Q3)."""
    wired = connect(inbound=False)
    fed = b""
    for raw in (
        encoded(version()),
        encoded(VerAck()) + encoded(Ping(1))[:10],
        encoded(Ping(1))[10:] + encoded(GetAddr()),
        encoded(GetAddr())[:23],
    ):
        fed += raw
        wired.feed(raw)
        assert counts(wired) == (len(wired.bytes_sent), len(fed))
    wired.peer.send(GetData(()))
    wired.pass_time(130)
    assert counts(wired) == (len(wired.bytes_sent), len(fed))


MALFORMED = {
    "bad checksum": encoded(GetAddr())[:20] + bytes(4),
    "unknown": encoded(GetAddr()).replace(b"getaddr", b"strange"),
    "another network": encoded(GetAddr(), network=BITCOIN),
    "cut payload": encoded(Ping(1), 60001)[:16] + bytes(4) + encoded(GetAddr())[20:24],
    "too long": encoded(GetAddr())[:16] + b"\xff\xff\xff\x7f" + bytes(4),
    "rubbish": b"GET / HTTP/1.1\r\n\r\n" * 5,
}


@pytest.mark.parametrize("policy", [Policy.STRICT, Policy.TOLERANT], ids=lambda each: each.value)
@pytest.mark.parametrize("handshake", ["before", "behind"])
@pytest.mark.parametrize("what", MALFORMED)
def test_bytes_are_those_on_the_wire_with_errors_too(what: str, handshake: str, policy: Policy):
    """What could not be read was received anyway, and a reject was sent (M4)."""
    wired = connect(policy=policy)
    fed = 0
    if handshake == "behind":
        hello = encoded(version()) + encoded(VerAck())
        wired.feed(hello)
        fed = len(hello)
    wired.feed(MALFORMED[what])
    assert counts(wired) == (len(wired.bytes_sent), fed + len(MALFORMED[what]))


def test_forgiven_errors_are_counted():
    """On regtest the connection continues."""
    config = msgspec.structs.replace(CONFIG, network=REGTEST)
    wired = connect(config, host="127.0.0.1").shake_hands()
    before = counts(wired)[1]
    raw = encoded(GetAddr(), network=REGTEST)
    wired.feed(raw[:20] + bytes(4), raw)
    assert counts(wired)[1] - before == 48
    assert wired.peer.snapshot().received["getaddr"] == (2, 48)


def test_what_was_not_sent_is_not_counted():
    """What a disconnect discards was never sent."""
    wired = connect().shake_hands()
    before = counts(wired)[0]
    wired.peer.core.sender.filled(0)
    wired.peer.send(GetAddr())
    assert wired.peer.snapshot().queued_bytes == 24
    wired.peer.disconnect()
    assert counts(wired)[0] == before
    assert wired.peer.snapshot().queued_bytes == 0
    assert "getaddr" not in wired.peer.snapshot().sent


def test_a_disconnect_amid_writes_counts_what_went_out():
    """Whatever was under way then."""
    callbacks = Callbacks(on_write=lambda peer, size, record: peer.disconnect())
    wired = connect(callbacks=callbacks).feed(version())
    assert wired.closed
    assert counts(wired)[0] == len(wired.bytes_sent)


# By command, and when.


def test_messages_are_counted_by_command():
    """With their bytes, headers included."""
    wired = connect().shake_hands()
    wired.feed(Ping(1), Ping(2), GetAddr())
    wired.peer.send(MemPool())
    snapshot = wired.peer.snapshot()
    assert snapshot.received["ping"] == (2, 64)
    assert snapshot.received["getaddr"] == (1, 24)
    assert snapshot.received["verack"] == (1, 24)
    assert snapshot.sent["pong"] == (2, 64)
    assert snapshot.sent["mempool"] == (1, 24)
    assert set(snapshot.sent) == {"version", "verack", "pong", "mempool"}
    assert sum(size for _, size in snapshot.sent.values()) == snapshot.bytes_sent
    assert sum(size for _, size in snapshot.received.values()) == snapshot.bytes_received


@pytest.mark.slow
def test_made_up_commands_take_no_memory():
    """A node may send a new one with each 24 bytes; a hundred are named, the rest are others."""
    counters = Counters()

    def flood() -> None:
        for number in range(50_000):
            counters.received(f"x{number}", 24, 0.0)

    size = grown(flood)
    counters.received("ping", 32, 0.0)
    counters.received("x5", 24, 0.0)
    counters.sent("x99999", 30, 0.0)
    received = counters.received_by_command()
    assert size < 100_000
    assert len(received) == 102
    assert received[OTHERS] == (49_900, 49_900 * 24)
    assert received["ping"] == (1, 32)
    assert received["x5"] == (2, 48)
    assert counters.sent_by_command() == {OTHERS: (1, 30)}


def test_times_are_those_of_the_last_messages():
    """Of the handshake too, which lbcd leaves at 1970 (Q3)."""
    wired = connect()
    wired.pass_time(1)
    assert wired.peer.snapshot().last_received is None
    wired.feed(version())
    wired.pass_time(1)
    wired.feed(VerAck())
    snapshot = wired.peer.snapshot()
    assert (snapshot.last_sent, snapshot.last_received) == (NOW + 1, NOW + 2)
    wired.pass_time(1)
    wired.feed(FeeFilter(1))
    wired.pass_time(1)
    wired.peer.send(GetAddr())
    snapshot = wired.peer.snapshot()
    assert (snapshot.last_sent, snapshot.last_received) == (NOW + 4, NOW + 3)
    assert snapshot.connected_at == NOW


def test_pings_are_in_the_snapshot():
    """Nonce while it waits, when it went out, how long it took."""
    wired = connect().shake_hands()
    assert wired.peer.snapshot().ping_at is None
    wired.peer.send(Ping(7))
    assert wired.peer.snapshot().ping_nonce == 7
    wired.pass_time(2)
    wired.feed(Pong(7))
    snapshot = wired.peer.snapshot()
    assert (snapshot.ping_nonce, snapshot.ping_at, snapshot.ping_seconds) == (0, NOW, 2)


def test_a_node_is_not_known_before_its_version():
    """Then it has an id, a height, and a clock."""
    node = RemoteNode()
    assert (node.id, node.version, node.services, node.wants_headers) == (0, None, 0, False)
    assert (node.time_offset, node.last_block, node.last_announced) == (None, None, None)
    node.introduce(version(timestamp=int(NOW) + 5, services=9, start_height=7), 3, NOW + 0.9)
    assert (node.id, node.services, node.time_offset, node.last_block) == (3, 9, 5, 7)
    node.received("ping")
    assert not node.wants_headers
    node.received("sendheaders")
    node.received("ping")
    assert node.wants_headers


def test_counters_count_both_directions_apart():
    """The copies that they return do not change."""
    counters = Counters()
    assert (counters.bytes_sent, counters.bytes_received) == (0, 0)
    assert (counters.last_sent, counters.last_received) == (None, None)
    counters.sent("ping", 32, 1.0)
    before = counters.sent_by_command()
    counters.sent("ping", 32, 2.0)
    counters.sent("tx", 100, 3.0)
    counters.received("pong", 32, 4.0)
    counters.received("pong", 33, 5.0)
    assert before == {"ping": (1, 32)}
    assert counters.sent_by_command() == {"ping": (2, 64), "tx": (1, 100)}
    assert counters.received_by_command() == {"pong": (2, 65)}
    assert (counters.bytes_sent, counters.last_sent, counters.last_received) == (164, 3, 5)
