"""Tests of overdue answers: requests, their answers, deadlines (docs/peer-lbcd.md S2 to S7)."""

from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred

from lbcproxy import networks
from lbcproxy.peer import StallMode, Timeouts
from lbcproxy.peer.liveness import ANSWERS, AnswerDeadlines
from lbcproxy.wire.messages.addresses import GetAddr
from lbcproxy.wire.messages.blocks import Block, MerkleBlock
from lbcproxy.wire.messages.headers import BlockHeader, GetBlocks, GetHeaders, Headers
from lbcproxy.wire.messages.inventory import GetData, Inv, InventoryVector, NotFound
from lbcproxy.wire.messages.keepalive import MemPool, Ping, Pong
from lbcproxy.wire.messages.transactions import Tx
from lbcproxy.wire.record import MessageRecord
from tests.peer.builders import CONFIG, Callbacks, Wired, connect, version
from tests.peer.log_capture import LogCapture

ZERO = bytes(32)
HEADER = BlockHeader(1, ZERO, ZERO, ZERO, 0, 0, 0)
WANTED = (InventoryVector(1, ZERO),)
REQUESTS: dict[str, MessageRecord] = {
    "mempool": MemPool(),
    "getblocks": GetBlocks(70013, (ZERO,), ZERO),
    "getdata": GetData(WANTED),
    "getheaders": GetHeaders(70013, (ZERO,), ZERO),
}
REPLIES: dict[str, MessageRecord] = {
    "inv": Inv(()),
    "block": Block(HEADER, ()),
    "merkleblock": MerkleBlock(HEADER, 0, (), b""),
    "tx": Tx(1, (), (), 0),
    "notfound": NotFound(WANTED),
    "headers": Headers(()),
}
ROWS = [(asked, answer) for asked in REQUESTS for answer in ANSWERS[asked]]
NO_ROWS = [
    (asked, answer) for asked in REQUESTS for answer in REPLIES if answer not in ANSWERS[asked]
]


def ready(callbacks: Callbacks | None = None, **changes: Any) -> Wired:
    """A peer after its handshake."""
    config = msgspec.structs.replace(CONFIG, **changes)
    return connect(config, callbacks=callbacks).shake_hands()


def ends_at(wired: Wired, most: float = 200.0) -> float | None:
    """Let time pass until the peer closes; the time when it did, or None if it did not."""
    while not wired.closed and wired.clock.seconds() < most:
        wired.pass_time(0.5, step=0.5)
    return wired.clock.seconds() if wired.closed else None


def test_the_table_is_that_of_the_reference():
    """Ping and getaddr are not in it: both were, and made false alarms."""
    assert ANSWERS == {
        "version": ("verack",),
        "mempool": ("inv",),
        "getblocks": ("inv",),
        "getdata": ("block", "merkleblock", "tx", "notfound"),
        "getheaders": ("headers",),
    }


@pytest.mark.parametrize("asked", REQUESTS)
def test_without_an_answer_the_node_is_left(asked: str):
    """At the first look, each 15 seconds, at or after the deadline."""
    wired = ready()
    wired.peer.send(REQUESTS[asked])
    assert ends_at(wired) == (90 if asked == "getheaders" else 30)
    assert wired.peer.core.closed.startswith("appears to be stalled or misbehaving")
    assert wired.peer.core.closed.endswith(f"{ANSWERS[asked][0]} timeout") or asked == "getdata"


@pytest.mark.parametrize(("asked", "end"), [("getdata", 45), ("getheaders", 105)])
def test_the_cut_comes_with_the_next_look(asked: str, end: int):
    """Up to 15 seconds after the deadline (S4)."""
    wired = ready()
    wired.pass_time(0.5)
    wired.peer.send(REQUESTS[asked])
    assert ends_at(wired) == end


@pytest.mark.parametrize(("asked", "answer"), ROWS)
def test_any_answer_of_the_group_will_do(asked: str, answer: str):
    """One block, transaction or notfound answers for everything requested."""
    wired = ready()
    wired.peer.send(REQUESTS[asked])
    wired.pass_time(29)
    wired.feed(REPLIES[answer])
    assert ends_at(wired) is None


@pytest.mark.parametrize(("asked", "other"), NO_ROWS)
def test_another_message_is_not_an_answer(asked: str, other: str):
    """Whatever else the node sends, it has not answered this."""
    wired = ready()
    wired.peer.send(REQUESTS[asked])
    wired.pass_time(29)
    wired.feed(REPLIES[other], GetAddr())
    assert ends_at(wired) == (90 if asked == "getheaders" else 30)


@pytest.mark.parametrize("asked", REQUESTS)
def test_asking_again_gives_more_time(asked: str):
    """One deadline for each answer, that of the last request (S3)."""
    wired = ready()
    for _ in range(3):
        wired.peer.send(REQUESTS[asked])
        wired.pass_time(25)
    assert ends_at(wired, 300) == (150 if asked == "getheaders" else 90)


def test_two_requests_with_one_answer_share_the_deadline():
    """`mempool` and `getblocks` are both answered by `inv`."""
    wired = ready()
    wired.peer.send(MemPool())
    wired.pass_time(20)
    wired.peer.send(REQUESTS["getblocks"])
    wired.pass_time(20)
    wired.feed(Inv(()))
    assert ends_at(wired) is None


def test_other_requests_keep_their_deadline():
    """Headers that came do not excuse blocks that did not."""
    wired = ready()
    wired.peer.send(REQUESTS["getheaders"])
    wired.peer.send(REQUESTS["getdata"])
    wired.feed(Headers(()))
    assert ends_at(wired) == 30


@pytest.mark.parametrize("record", [Ping(5), GetAddr(), Pong(1), Inv(())], ids=lambda r: r.command)
def test_what_may_go_unanswered_is_not_a_stall(record: MessageRecord):
    """Scenario 44."""
    wired = ready()
    wired.peer.send(record)
    assert ends_at(wired) is None


def test_our_own_pings_are_no_stall():
    """A node that never answers one but speaks otherwise stays."""
    wired = ready()
    for _ in range(60):
        wired.pass_time(10)
        wired.feed(GetAddr())
    assert wired.commands.count("ping") == 5
    assert not wired.closed


def test_the_handshake_itself_is_not_a_request():
    """Its `version` has a time limit of its own; nothing is left behind by it."""
    wired = connect(inbound=False).shake_hands()
    assert ends_at(wired) is None


def test_a_version_of_the_user_s_wants_a_verack():
    """Which never comes: a second one ends the connection."""
    wired = ready()
    wired.peer.send(version(services=0))
    assert ends_at(wired) == 30


def test_the_time_begins_when_the_request_is_handed_to_the_transport():
    """What still waits in the queue was not requested yet."""
    wired = ready()
    wired.peer.core.sender.filled(0)
    wired.peer.send(REQUESTS["getdata"])
    wired.pass_time(14)
    wired.peer.drained()
    assert ends_at(wired) == 45


def test_a_request_queued_in_the_handshake_has_its_time_from_then_on():
    """It is sent after the handshake."""
    wired = connect(opened=False)
    wired.peer.send(REQUESTS["getdata"])
    wired.open().pass_time(20)
    wired.shake_hands()
    assert ends_at(wired) == 50


# What is not the node's fault.


def slow(seconds: float, done: "Deferred[None] | None" = None) -> Callbacks:
    """Callbacks whose `on_getaddr` takes its time, plain or until a Deferred fires."""

    async def on_getaddr(peer: Any, record: Any) -> None:
        assert done is not None
        await done

    def on_getaddr_plain(peer: Any, record: Any) -> None:
        peer._clock.advance(seconds)

    return Callbacks(on_getaddr=on_getaddr_plain if done is None else on_getaddr)


def test_the_time_in_an_async_callback_is_not_counted():
    """Nothing is read until then: the answer may wait in the kernel."""
    done: Deferred[None] = Deferred()
    wired = ready(slow(0, done))
    wired.peer.send(REQUESTS["getdata"])
    wired.pass_time(10)
    wired.feed(GetAddr())
    wired.pass_time(100)
    assert not wired.closed
    done.callback(None)
    wired.pass_time(19)
    assert not wired.closed
    assert 130 <= (ends_at(wired) or 0) < 146


def test_the_time_in_earlier_callbacks_is_not_forgotten():
    """Lbcd's allowance is reset with each look; here all time in callbacks counts (S5)."""
    wired = ready(slow(12))
    wired.peer.send(REQUESTS["getdata"])
    for _ in range(5):
        wired.pass_time(1)
        wired.feed(GetAddr())
    # 65 s have passed, 60 of them in callbacks: 25 s are left, to 90 s.
    assert wired.clock.seconds() == 65
    assert 90 <= (ends_at(wired) or 0) < 106


def test_an_answer_after_a_slow_callback_is_in_time():
    """It waited in our own queue."""
    done: Deferred[None] = Deferred()
    wired = ready(slow(0, done))
    wired.peer.send(REQUESTS["getdata"])
    wired.feed(GetAddr(), REPLIES["tx"])
    wired.pass_time(200)
    done.callback(None)
    assert ends_at(wired, 300) is None


def test_what_is_asked_in_a_slow_callback_has_its_time_after_it():
    """No less, and no more: the time before the request does not count."""
    done: Deferred[None] = Deferred()
    wired = ready(slow(0, done))
    wired.feed(GetAddr())
    wired.pass_time(60)
    wired.peer.send(REQUESTS["getdata"])
    wired.pass_time(10)
    done.callback(None)
    wired.pass_time(29)
    assert not wired.closed
    assert 100 <= (ends_at(wired) or 0) < 116


def test_the_time_of_a_pause_is_not_counted():
    """The same as of a callback: we do not read."""
    wired = ready()
    wired.peer.send(REQUESTS["getdata"])
    wired.peer.pause("busy")
    wired.pass_time(100)
    wired.peer.resume("busy")
    wired.pass_time(29)
    assert not wired.closed
    assert 130 <= (ends_at(wired) or 0) < 146


# What is done about it.


def test_log_says_so_once_and_waits_on():
    """For a recorder, which must not end what it watches (S7)."""
    wired = ready(stall=StallMode.LOG)
    with LogCapture() as log:
        wired.peer.send(REQUESTS["getheaders"])
        wired.peer.send(MemPool())
        assert ends_at(wired) is None
        wired.peer.send(MemPool())
        wired.pass_time(50)
    said = [line for line in log.lines if "stalled" in line]
    assert [line.partition(" appears")[2] for line in said] == [
        " to be stalled or misbehaving, inv timeout",
        " to be stalled or misbehaving, headers timeout",
        " to be stalled or misbehaving, inv timeout",
    ]


def test_off_does_nothing():
    """It neither logs nor disconnects (S6)."""
    wired = ready(stall=StallMode.OFF)
    with LogCapture() as log:
        for request in REQUESTS.values():
            wired.peer.send(request)
        assert ends_at(wired) is None
    assert [line for line in log.lines if "stalled" in line] == []


def test_the_times_can_be_set():
    """All three."""
    times = Timeouts(stall_tick=1, answer=3, headers=7)
    for asked, end in (("getdata", 3), ("getheaders", 7)):
        wired = ready(timeouts=times)
        wired.peer.send(REQUESTS[asked])
        assert ends_at(wired) == end


def test_all_that_is_late_is_named():
    """In one look, each once; then it is not waited for any more."""
    stall = AnswerDeadlines(Timeouts())
    stall.sent("getdata", 0)
    stall.sent("getheaders", 0)
    assert stall.overdue(29.9) == []
    assert stall.overdue(30) == ["block", "merkleblock", "notfound", "tx"]
    assert stall.overdue(89.9) == []
    assert stall.overdue(90) == ["headers"]
    assert stall.overdue(1000) == []


def test_networks_differ_in_nothing_here():
    """On regtest a stall is a stall too: only malformed messages are forgiven there."""
    wired = ready(network=networks.get("lbry-regtest"))
    wired.peer.send(MemPool())
    assert ends_at(wired) == 30
