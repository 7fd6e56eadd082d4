"""Our strict peer against a real lbcd: the probe of `lbcd-probe.pcap`, once more, on us.

In the capture a client talks to lbcd v0.22.119, on regtest, by way of 127.0.0.1. The same bytes
are said to a peer of ours that is what that node was; what it answers is held against what the
node did.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from lbcproxy.capture import open_capture
from lbcproxy.peer import PeerConfig, Policy
from lbcproxy.session import Direction, Entry
from lbcproxy.wire import Codec
from lbcproxy.wire.messages.handshake import Version
from lbcproxy.wire.messages.reject import Reject
from lbcproxy.wire.record import MessageRecord
from tests.peer.builders import NOW, REGTEST, Wired, connect

PROBE = Path(__file__).parents[2] / "captures" / "lbcd-probe.pcap"
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
SESSIONS = range(1, 6)
SERVICES = 77
HEIGHT = 306
AGENT = b"/btcwire:0.5.0/LBRY.GO:0.0.0-local.0+/"

# What lbcd's server answers, and its peer does not: nobody can who has no chain and no memory
# pool. A peer of ours has callbacks for that.
NEEDS_A_CHAIN = {
    "headers",  # to getheaders
    "inv",  # to getblocks and mempool, and of its own
    "block",  # to getdata
    "merkleblock",  # to getdata after filterload
    "tx",  # to getdata, and after a merkleblock
    "notfound",  # to getdata
    "getdata",  # to inv
    "cfcheckpt",  # to getcfcheckpt
    "cfheaders",  # to getcfheaders
    "cfilter",  # to getcfilters
    "reject tx",  # to a transaction that spends what it may not
}


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    """Everything in the capture."""
    return list(open_capture(PROBE))


def said(entries: list[Entry], session: int, direction: Direction) -> list[Entry]:
    """What was said one way in one of its connections."""
    return [each for each in entries if (each.session, each.direction) == (session, direction)]


def records(entries: list[Entry], session: int) -> list[MessageRecord]:
    """What the node said in one of the connections."""
    return [each.message.record for each in said(entries, session, DOWN)]


def probed(entries: list[Entry], session: int, *, pieces: int = 0) -> Wired:
    """Send a peer of ours what the client sent to the node, until it disconnects."""
    [shown] = [each for each in records(entries, session) if isinstance(each, Version)] or [None]
    config = PeerConfig(
        network=REGTEST,
        policy=Policy.STRICT,
        services=SERVICES,
        user_agent=AGENT,
        newest_block=lambda: (bytes(32), HEIGHT),
    )
    wired = connect(
        config,
        host="127.0.0.1",
        port=shown.addr_recv.port if shown else 1,
        wall=lambda: shown.timestamp if shown else NOW,
    )
    messages = [each.raw for each in said(entries, session, UP)]
    stream = b"".join(messages)
    if pieces:
        messages = [stream[begin : begin + pieces] for begin in range(0, len(stream), pieces)]
    for raw in messages:
        if wired.closed:
            break
        wired.feed(raw).read()
    return wired


def name(record: Any) -> str:
    """A message as the set above has it: by its command, a refusal by what is refused."""
    if isinstance(record, Reject):
        return f"reject {record.message.decode()}"
    return record.command


def comparable(record: Any) -> Any:
    """A record without what is random by its nature."""
    return msgspec.structs.replace(record, nonce=0) if isinstance(record, Version) else record


@pytest.mark.parametrize("pieces", [0, 1, 7, 100_000], ids=["messages", "1", "7", "at once"])
@pytest.mark.parametrize("session", SESSIONS)
def test_our_strict_peer_answers_as_lbcd_did(entries: list[Entry], session: int, pieces: int):
    """Field by field, but for the nonce, and in the same order; what needs a chain is left out."""
    wired = probed(entries, session, pieces=pieces)
    wanted = [each for each in records(entries, session) if name(each) not in NEEDS_A_CHAIN]
    got = wired.sent
    if session == 1:
        assert name(got[-1]) == "reject malformed"  # the cut version, which lbcd never came to
        got.pop()
    assert list(map(comparable, got)) == list(map(comparable, wanted))


def test_what_is_left_out_is_in_the_capture(entries: list[Entry]):
    """A name that lbcd never sent would hide what we send by mistake."""
    theirs = {name(each) for session in SESSIONS for each in records(entries, session)}
    assert theirs >= NEEDS_A_CHAIN
    assert theirs - NEEDS_A_CHAIN == {"version", "verack", "pong", "reject version"}


def test_the_version_is_the_nodes_byte_for_byte(entries: list[Entry]):
    """Below 70001 without the relay flag, the rest to the bit; but the nonce."""
    for session in (1, 2, 3, 5):
        theirs = said(entries, session, DOWN)[0].payload
        wired = probed(entries, session)
        [ours] = [each for each in wired.sent if isinstance(each, Version)]
        at = min(70013, wired.peer.core.remote.version.version)
        payload = Codec(REGTEST, at).encode(ours)
        assert len(payload) == len(theirs)
        assert payload[:72] + payload[80:] == theirs[:72] + theirs[80:]
        assert ours.relay is (None if session == 2 else True)


def test_a_ping_is_answered(entries: list[Entry]):
    """With its nonce."""
    commands = [each.command for each in said(entries, 1, UP)]
    assert "ping" in commands
    assert "pong" in probed(entries, 1).commands


def test_a_command_that_lbcd_does_not_know_is_forgiven(entries: list[Entry]):
    """On regtest, from 127.0.0.1: all after the client's `sendcmpct` was still heard."""
    wired = probed(entries, 1)
    reads = wired.callbacks.of("on_read")
    [strange] = [each for each in reads if each[1] is not None and each[1].command == "sendcmpct"]
    assert "unknown command" in strange[2]
    heard = [each.command for (each,) in wired.callbacks.of("on_message")]
    assert "sendcmpct" not in heard
    sent = [each.command for each in said(entries, 1, UP)]
    behind = sent[sent.index("sendcmpct") + 1 : -1]
    assert behind
    assert heard[-len(behind) :] == behind


def test_a_command_that_its_version_does_not_have_is_forgiven(entries: list[Entry]):
    """`filterload` at 60002: lbcd stayed, until the client went."""
    wired = probed(entries, 2)
    assert wired.commands == ["version", "verack"]
    assert not wired.closed
    errors = [each[2] for each in wired.callbacks.of("on_read") if each[2]]
    assert errors == ["payload at byte 0: needs protocol version 70001, 60002 was agreed"]


def test_a_second_version_is_refused(entries: list[Entry]):
    """As a duplicate, and the connection ends after it."""
    wired = probed(entries, 3)
    assert wired.sent[-1] == Reject(b"version", 0x12, b"duplicate version message")
    assert wired.closed
    assert not wired.wire.connected


def test_a_version_that_is_too_old_is_not_worth_a_byte(entries: list[Entry]):
    """Version 100 has no `reject`; lbcd closed without a word, and so do we."""
    assert said(entries, 4, DOWN) == []
    wired = probed(entries, 4)
    assert wired.bytes_sent == b""
    assert wired.closed


def test_a_cut_version_ends_the_connection(entries: list[Entry]):
    """What ends too early is not forgiven, not even on regtest (docs/peer-lbcd.md M3).

    lbcd had hung up before it came: on `headers` that its chain had not asked for.
    """
    cut = said(entries, 1, UP)[-1]
    assert (cut.command, cut.error) == ("version", "services at byte 4: 8 bytes needed, 6 left")
    wired = probed(entries, 1)
    assert wired.closed
    last: Any = wired.sent[-1]
    assert (last.message, last.code) == (b"malformed", 1)
    assert wired.callbacks.of("on_disconnected")


def test_what_needs_no_answer_gets_none(entries: list[Entry]):
    """A client's `reject`, `notfound`, `merkleblock` and `alert`: heard, and the peer stays."""
    wired = probed(entries, 5)
    assert wired.commands == ["version", "verack"]
    assert not wired.closed
    heard = [each.command for (each,) in wired.callbacks.of("on_message")]
    assert heard == [each.command for each in said(entries, 5, UP)]


@pytest.mark.parametrize("session", SESSIONS)
def test_nothing_is_left_when_the_client_has_gone(entries: list[Entry], session: int):
    """No delayed call, no queued byte."""
    wired = probed(entries, session)
    wired.wire.finish()
    wired.read()
    assert not wired.wire.connected
    assert wired.calls_left == 0
    assert wired.peer.snapshot().queued_bytes == 0
