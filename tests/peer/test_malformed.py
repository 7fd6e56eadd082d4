"""Tests of malformed and forbidden messages after the handshake (docs/peer-lbcd.md B19, M)."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from lbcproxy.peer import Policy
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.addresses import GetAddr
from lbcproxy.wire.messages.handshake import VerAck
from lbcproxy.wire.messages.keepalive import Ping, Pong
from lbcproxy.wire.messages.reject import Alert, Reject, RejectCode
from tests.memory import most
from tests.peer.builders import CONFIG, REGTEST, Callbacks, Wired, connect, encoded, version

STRICT, TOLERANT = Policy.STRICT, Policy.TOLERANT
BOTH = pytest.mark.parametrize("policy", [STRICT, TOLERANT], ids=lambda policy: policy.value)
EITHER_WAY = pytest.mark.parametrize("inbound", [True, False], ids=["inbound", "outbound"])
MAGIC = CONFIG.network.magic
MAX = 32 * 1024 * 1024


def header(command: bytes, length: int, checksum: bytes = bytes(4), magic: bytes = MAGIC) -> bytes:
    """Any 24 bytes."""
    return magic + command.ljust(12, b"\0") + length.to_bytes(4, "little") + checksum


def bad_checksum(magic: bytes) -> bytes:
    raw = frame(magic, "ping", bytes(8))
    return raw[:20] + b"abcd" + raw[24:]


# What is wrong, the words of the error, whether payload is missing, whether lbcd alone minds.
KINDS: dict[str, tuple[Any, str, bool, bool]] = {
    "unknown command": (lambda magic: frame(magic, "nonsense", b"12"), "unknown", False, True),
    "bad checksum": (bad_checksum, "checksum is", False, False),
    "foreign magic": (lambda magic: frame(b"\1\2\3\4", "ping", bytes(8)), "magic", False, False),
    "foreign header": (lambda magic: header(b"ping", 8, magic=b"\1\2\3\4"), "magic", False, False),
    "non-ASCII command": (lambda magic: frame(magic, "p\xffng", b""), "unknown", False, True),
    "over its maximum": (lambda magic: frame(magic, "ping", bytes(9)), "at most 8", False, False),
    "1001 addresses": (
        lambda magic: frame(magic, "addr", b"\xfd\xe9\x03" + bytes(30 * 1001)),
        "at most",
        False,
        False,
    ),
    "over 32 MiB": (lambda magic: header(b"block", MAX + 1, magic=magic), "claims", False, False),
    "verack with payload": (lambda magic: frame(magic, "verack", b"1"), "at most 0", False, False),
    "cut in a field": (lambda magic: frame(magic, "ping", bytes(7)), "7 left", True, False),
    "cut before a field": (lambda magic: frame(magic, "ping", b""), "0 left", True, False),
    "count without end": (
        lambda magic: frame(magic, "inv", b"\xff" * 9),
        "at most 50000",
        False,
        False,
    ),
    "non-canonical count": (
        lambda magic: frame(magic, "inv", b"\xfd\1\0"),
        "shortest",
        False,
        False,
    ),
}
PLACES = [("mainnet", "127.0.0.1"), ("regtest", "localhost"), ("regtest", "127.0.0.1")]
PLACES += [("regtest", "127.0.0.2"), ("regtest", "::1")]


TOO_LONG = ("over its maximum", "verack with payload")
"""What a tolerant peer takes, as Core does, which ignores what follows the fields."""


@pytest.mark.parametrize(("place", "host"), PLACES)
@pytest.mark.parametrize(
    ("kind", "policy"),
    [
        *((kind, STRICT) for kind in KINDS),
        *((kind, TOLERANT) for kind in KINDS if kind not in TOO_LONG),
    ],
)
def test_what_is_malformed_ends_the_connection_but_for_a_neighbour_on_regtest(
    kind: str, place: str, host: str, policy: Policy
):
    """One reject with the whole reason, after it nothing; lbcd's test tools are forgiven (M1-M3).

    What is cut short is forgiven nobody; an empty `ping`, which lbcd takes for a close, neither.
    A tolerant peer leaves every frame out that it cannot read, as Core does.
    """
    make, words, cut_short, strictly = KINDS[kind]
    network = REGTEST if place == "regtest" else CONFIG.network
    config = msgspec.structs.replace(CONFIG, network=network, policy=policy)
    address = "localhost:9246" if host == "localhost" else ""
    wired = connect(config, host="127.0.0.1" if address else host, address=address)
    wired.shake_hands()
    before = wired.peer.snapshot()
    raw = make(network.magic)
    wired.feed(raw)
    forgiven = place == "regtest" and host in ("localhost", "127.0.0.1") and not cut_short
    ignored = policy is TOLERANT and (strictly or words not in ("magic", "claims"))
    after = wired.peer.snapshot()
    assert after.bytes_received == before.bytes_received + len(raw)
    if kind == "foreign header" and forgiven:
        raw = b""  # nobody can say yet where it ends
    else:
        (size, _, error), *more = wired.callbacks.of("on_read")
        assert more == []
        assert words in error
        assert size == len(raw)
    if forgiven or ignored:
        assert not wired.closed
        assert wired.sent == []
        wired.feed(Ping(1) if raw else bytes(0))
        assert wired.sent == ([Pong(1)] if raw else [])
        return
    assert wired.closed
    (reject,) = wired.sent
    assert isinstance(reject, Reject)
    assert (reject.message, reject.code, reject.hash) == (b"malformed", RejectCode.MALFORMED, None)
    assert reject.reason.decode() == f"can't read message from {wired.peer.address}: {error}"
    assert str(wired.peer.address).encode() in reject.reason
    assert after.bytes_sent == before.bytes_sent + len(wired.bytes_sent)
    wired.read()
    assert not wired.wire.connected


@pytest.mark.parametrize("number", [209, 70001, 70002])
def test_there_is_no_reject_below_version_70002(number: int):
    """The connection ends anyway, and what waits is given up (M5)."""
    wired = connect(policy=STRICT).shake_hands(number)
    wired.peer.send(Alert(bytes(1 << 17), b""))
    wired.peer.send(GetAddr())
    wired.feed(frame(MAGIC, "nonsense", b""))
    assert wired.commands == ["alert", *(["getaddr", "reject"] if number == 70002 else [])]
    assert wired.closed


@pytest.mark.parametrize("number", [70013, 70015, 70016, 70017])
@BOTH
def test_nodes_without_reject_are_sent_none(number: int, policy: Policy):
    """Core took it out before 70016; to lbcd it is the same at every version."""
    config = msgspec.structs.replace(CONFIG, protocol_version=70017)
    wired = connect(config, policy=policy).shake_hands(number)
    wired.feed(frame(b"\1\2\3\4", "ping", bytes(8)))
    assert wired.closed
    none = policy is TOLERANT and number >= 70016
    assert wired.commands == ([] if none else ["reject"])


@pytest.mark.parametrize("record", [version(), VerAck()], ids=["version", "verack"])
def test_a_second_handshake_message_means_nothing_to_a_tolerant_peer(record: Any):
    """Core ignores it; no callback is called twice."""
    wired = connect(policy=TOLERANT).shake_hands().feed(record, Ping(1))
    assert not wired.closed
    assert wired.sent == [Pong(1)]
    assert wired.callbacks.of(f"on_{record.command}") == []


@pytest.mark.parametrize("number", [70001, 70002, 70013])
@pytest.mark.parametrize("record", [version(), VerAck()], ids=["version", "verack"])
def test_a_second_handshake_message_is_rejected_as_a_duplicate(record: Any, number: int):
    """Flushed, and then the end; no callback is called twice (B19)."""
    wired = connect(policy=STRICT).shake_hands(number)
    wired.feed(record, Ping(1))
    words = f"duplicate {record.command} message".encode()
    expected = [Reject(record.command.encode(), RejectCode.DUPLICATE, words)]
    assert wired.sent == (expected if number >= 70002 else [])
    assert wired.closed
    assert wired.callbacks.names("on_write", "on_disconnected") == ["on_read"]


def test_a_flood_of_versions_is_answered_once():
    """However many come in one segment."""
    wired = connect(policy=STRICT).shake_hands()
    wired.feed(*[version()] * 1000)
    assert wired.commands == ["reject"]
    assert len(wired.callbacks.of("on_read")) == 1


def test_a_flood_of_versions_in_the_handshake_is_answered_once():
    """The second one ends it."""
    wired = connect(policy=STRICT).feed(*[version()] * 1000)
    assert wired.commands == ["version", "verack", "reject"]
    assert len(wired.callbacks.of("on_version")) == 1


@pytest.mark.parametrize(
    ("fatal", "policy"),
    [
        (frame(b"\1\2\3\4", "ping", bytes(8)), STRICT),
        (frame(b"\1\2\3\4", "ping", bytes(8)), TOLERANT),
        (bad_checksum(MAGIC), STRICT),
        (encoded(version()), STRICT),
    ],
    ids=["magic", "magic, tolerant", "checksum", "duplicate"],
)
def test_nothing_is_read_after_what_is_fatal(fatal: bytes, policy: Policy):
    """Neither in the same segment nor in a later one."""
    wired = connect(policy=policy).shake_hands()
    wired.feed(Ping(1), fatal, Ping(2))
    wired.wire.reading = True
    wired.feed(Ping(3))
    assert wired.callbacks.of("on_ping") == [(Ping(1),)]
    assert len(wired.callbacks.of("on_read")) == 2


@BOTH
def test_junk_after_a_message_that_is_still_handled_is_found(policy: Policy):
    """It need not be followed by anything to be fatal, however the bytes were cut."""
    waiting: Deferred[None] = Deferred()
    callbacks = Callbacks(on_ping=lambda peer, record: waiting)
    wired = connect(policy=policy, callbacks=callbacks).shake_hands()
    wired.feed(encoded(Ping(1)) + b"junk")
    assert not wired.closed
    waiting.callback(None)
    assert wired.closed


# Any split.


def seen(wired: Wired) -> tuple[Any, ...]:
    """What a peer did: what it reported, sent and counted."""
    calls = [
        (name, *(each for each in rest if isinstance(each, int | str | None)))
        for name, *rest in wired.calls
    ]
    snapshot = wired.peer.snapshot()
    return calls, [each.command for each in wired.sent], snapshot.bytes_received, wired.closed


STREAM = encoded(version()) + encoded(VerAck()) + encoded(Ping(1)) + encoded(Pong(2))
STREAM += frame(MAGIC, "nonsense", b"123") + encoded(Ping(3))


@EITHER_WAY
@BOTH
def test_one_segment_and_single_bytes_are_the_same(policy: Policy, inbound: bool):
    """TCP knows no messages."""
    whole = connect(policy=policy, inbound=inbound).feed(STREAM)
    bits = connect(policy=policy, inbound=inbound)
    for byte in STREAM[: whole.peer.snapshot().bytes_received]:
        bits.feed(bytes([byte]))
    first, second = seen(whole), seen(bits)
    if policy is STRICT:  # closed before the last ping, of which a whole segment counts
        assert (first[:2], first[3]) == (second[:2], second[3])
    else:
        assert first == second
        assert whole.commands[-2:] == ["pong", "pong"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, len(STREAM) - 1), max_size=12),
    st.booleans(),
    st.sampled_from([STRICT, TOLERANT]),
)
def test_any_split_is_the_same(cuts: list[int], inbound: bool, policy: Policy):
    """What the peer does follows from the bytes alone."""
    whole = connect(policy=policy, inbound=inbound).feed(STREAM)
    parts = connect(policy=policy, inbound=inbound)
    places = [0, *sorted(set(cuts)), len(STREAM)]
    for begin, end in itertools.pairwise(places):
        parts.feed(STREAM[begin:end])
    first, second = seen(whole), seen(parts)
    assert (first[:2], first[3]) == (second[:2], second[3])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.booleans(), st.booleans(), st.sampled_from([STRICT, TOLERANT]))
def test_no_bytes_do_harm(data: bytes, inbound: bool, ready: bool, policy: Policy):
    """Whatever arrives, the peer continues or closes cleanly, and nothing is left."""
    config = msgspec.structs.replace(CONFIG, policy=policy, network=REGTEST)
    wired = connect(config, inbound=inbound, host="127.0.0.1")
    if ready:
        wired.shake_hands()
    for piece in (data, REGTEST.magic + data, data):
        wired.feed(piece)
    wired.end()
    assert wired.calls_left == 0
    assert not wired.peer.is_open


# Headers that promise much.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "length", "fatal"),
    [
        (b"block", 1 << 31, True),
        (b"block", (1 << 32) - 1, True),
        (b"block", MAX + 1, True),
        (b"block", MAX, False),
        (b"ping", MAX, False),
    ],
)
def test_no_memory_is_taken_for_a_promise(command: bytes, length: int, fatal: bool):
    """Only bytes that did arrive are held; a header over 32 MiB is fatal by itself."""
    wired = connect().shake_hands()
    assert most(lambda: wired.feed(header(command, length))) < 1 << 20
    assert wired.closed is fatal


@pytest.mark.parametrize(
    ("command", "known"),
    [
        (b"ping\0\0\0\0\0\0\0\0", True),
        (b"ping\0x", False),
        (b"ping        ", False),
        (b"pi\0ng", False),
        (b"abcdefghijkl", False),
        (b"", False),
        (b"p\xc3\xafng", False),
        (b"PING", False),
    ],
)
@BOTH
def test_a_command_is_taken_by_its_exact_bytes(command: bytes, known: bool, policy: Policy):
    """Nothing is trimmed but the NULs at the end; what is not a command is unknown and harmless."""
    payload = bytes(8)
    raw = frame(MAGIC, "ping", payload)
    raw = raw[:4] + command.ljust(12, b"\0") + raw[16:]
    wired = connect(policy=policy).shake_hands().feed(raw)
    assert len(wired.callbacks.of("on_ping")) == int(known)
    assert wired.closed is (not known and policy is STRICT)
    if not known:
        assert wired.callbacks.of("on_message") == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["inv", "getdata", "notfound", "addr", "headers", "getblocks"])
def test_a_huge_count_in_a_small_payload_costs_nothing(command: str):
    """2^64-1 entries are refused by the count alone."""
    raw = frame(MAGIC, command, b"\xff" * 9 if command != "getblocks" else bytes(4) + b"\xff" * 9)
    wired = connect().shake_hands()
    assert most(lambda: wired.feed(raw)) < 1 << 20
    assert not wired.closed
    ((_, _, error),) = wired.callbacks.of("on_read")
    assert "at most" in error


def test_trailing_bytes_are_taken_and_kept():
    """Under the cap of its command a message may have more; it can be forwarded as it came (M7)."""
    raw = frame(MAGIC, "getblocks", bytes(4) + b"\0" + bytes(32) + b"more")
    wired = connect().shake_hands().feed(raw)
    assert not wired.closed
    ((message,),) = wired.callbacks.of("on_message")
    assert message.raw == raw
    assert message.record.trailing == b"more"


@pytest.mark.parametrize("number", [70013, 70016])
def test_a_tolerant_peer_takes_a_message_without_what_follows_its_fields(number: int):
    """As Core does; the message that `on_read` gets is what was received, and has the error."""
    config = msgspec.structs.replace(CONFIG, policy=TOLERANT, protocol_version=number)
    wired = connect(config).shake_hands(number)
    raw = frame(MAGIC, "ping", bytes(8) + b"more")
    wired.feed(raw)
    assert wired.sent == [Pong(0)]
    ((message,),) = wired.callbacks.of("on_message")
    assert message.record == Ping(0)
    ((size, read, error),) = wired.callbacks.of("on_read")
    assert (size, read.raw, error) == (len(raw), raw, None)
    assert read.error == "12 bytes, at most 8 allowed for ping"


def test_what_cannot_be_read_reaches_no_callback_but_on_read():
    """A user sees it there, with its bytes."""
    raw = frame(MAGIC, "nonsense", b"12")
    wired = connect().shake_hands().feed(raw, GetAddr())
    (first, second) = wired.callbacks.of("on_read")
    assert (first[0], first[1].raw, first[2]) == (26, raw, "unknown command 'nonsense'")
    assert second[2] is None
    assert wired.callbacks.names("on_read") == ["on_message", "on_getaddr"]


def test_unknown_commands_without_end_do_not_fill_the_memory():
    """A tolerant peer counts by command, of which a node can make up millions."""
    wired = connect().shake_hands()
    wired.feed(*[frame(MAGIC, f"made-up{number}", b"") for number in range(5000)])
    assert not wired.closed
    assert len(wired.peer.snapshot().received) < 200


def test_a_reject_is_taken_as_any_message():
    """It is never answered."""
    wired = connect().shake_hands().feed(Reject(b"tx", 0x10, b"bad", bytes(32)))
    assert len(wired.callbacks.of("on_reject")) == 1
    assert wired.sent == []
