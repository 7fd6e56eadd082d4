"""Tests of addresses, locator requests and rejects (docs/peer-lbcd.md Y)."""

import math
from collections import Counter
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from lbcproxy.peer import Policy
from lbcproxy.peer.send_helpers import choose_addresses
from lbcproxy.wire.errors import BadRecord
from lbcproxy.wire.messages.addresses import Addr, AddressV2, AddrV2, GetAddr, TimedAddress
from lbcproxy.wire.messages.handshake import SendAddrV2, VerAck
from lbcproxy.wire.messages.headers import GetBlocks, GetHeaders
from lbcproxy.wire.messages.reject import Reject
from tests.peer.builders import BITCOIN, CONFIG, Callbacks, Wired, connect, version
from tests.peer.log_capture import LogCapture

A, B, C, ZERO = (bytes([number]) * 32 for number in (1, 2, 3, 0))


def ready(number: int = 70013, callbacks: Callbacks | None = None) -> Wired:
    """A peer after its handshake."""
    return connect(callbacks=callbacks).shake_hands(number)


def addresses(count: int) -> list[TimedAddress]:
    """As many different addresses, of which the port is the number."""
    return [TimedAddress(0, 1, number.to_bytes(16), number) for number in range(count)]


def new_addresses(count: int) -> list[AddressV2]:
    """The same for `addrv2`."""
    return [AddressV2(0, 1, 1, number.to_bytes(4), number) for number in range(count)]


# Addresses.


def test_no_addresses_send_nothing():
    """An empty `addr` is useless."""
    wired = ready()
    assert wired.peer.push_addr([]) == ()
    assert wired.commands == []


@pytest.mark.parametrize("count", [1, 2, 999, 1000])
def test_up_to_a_thousand_addresses_go_out_in_order(count: int):
    """In one message."""
    wired = ready()
    given = addresses(count)
    assert wired.peer.push_addr(given) == tuple(given)
    assert wired.sent == [Addr(tuple(given))]


@pytest.mark.parametrize("count", [1001, 5000])
def test_of_more_a_thousand_are_chosen(count: int):
    """None twice, and what was given stays as it was (btcd's choice for addrv2 does not)."""
    wired = ready()
    given = addresses(count)
    chosen = wired.peer.push_addr(given)
    assert wired.sent == [Addr(chosen)]
    assert len(set(chosen)) == 1000
    assert set(chosen) <= set(given)
    assert given == addresses(count)
    assert wired.peer.push_addr(given) != chosen


@pytest.mark.slow
def test_the_choice_is_fair():
    """Each address has the same chance, at each place (chi-square, far out in its tail)."""
    given, runs = addresses(1250), 400
    often: Counter[int] = Counter()
    first: Counter[int] = Counter()
    for _ in range(runs):
        chosen = choose_addresses(given)
        often.update(each.port for each in chosen)
        first[chosen[0].port // 125] += 1
    # Chosen or not, 4 of 5: the variance of a count is runs * 0.8 * 0.2.
    expected = runs * 0.8
    chi = sum((often[port] - expected) ** 2 for port in range(1250)) / (expected * 0.2)
    assert abs(chi - 1250) < 7 * math.sqrt(2 * 1250)
    chi = sum((first[tenth] - runs / 10) ** 2 for tenth in range(10)) / (runs / 10)
    assert chi < 50


def test_addresses_pushed_in_the_handshake_go_out_after_it():
    """As any message."""
    wired = connect()
    wired.peer.push_addr(addresses(2))
    wired.feed(version(), VerAck())
    assert wired.commands == ["version", "verack", "addr"]


def test_addresses_that_cannot_be_sent_are_still_reported():
    """After the end nothing is sent, but the choice is still returned (Y1)."""
    wired = ready()
    wired.peer.disconnect()
    assert len(wired.peer.push_addr(addresses(3))) == 3
    assert wired.commands == []


def modern(*offers: Any, policy: Policy = Policy.TOLERANT) -> Wired:
    """A peer of 70016 whose node has offered something in the handshake."""
    config = msgspec.structs.replace(CONFIG, network=BITCOIN, policy=policy)
    wired = connect(config)
    wired.feed(version(70016), *offers, VerAck()).read()
    wired.wire.got = b""
    return wired


def test_addrv2_is_sent_if_the_node_has_asked_for_it():
    """By `sendaddrv2`, between `version` and `verack` (BIP155)."""
    wired = modern(SendAddrV2())
    given = new_addresses(3)
    assert wired.peer.push_addrv2(given) == tuple(given)
    assert wired.sent == [AddrV2(tuple(given))]


def test_addrv2_is_not_sent_to_an_older_node_that_asks():
    """What was agreed on has no `addrv2` (BIP155)."""
    config = msgspec.structs.replace(CONFIG, network=BITCOIN)
    wired = connect(config).feed(version(70013), SendAddrV2(), VerAck())
    assert wired.peer.is_ready
    assert wired.peer.push_addrv2(new_addresses(3)) == ()


def test_addrv2_is_not_sent_unasked():
    """The node would not understand it."""
    wired = modern()
    assert wired.peer.push_addrv2(new_addresses(3)) == ()
    assert wired.commands == []


def test_a_strict_peer_never_sends_addrv2():
    """Lbcd does not know it; the offer ends the handshake."""
    wired = modern(SendAddrV2(), policy=Policy.STRICT)
    assert wired.peer.push_addrv2(new_addresses(3)) == ()
    assert wired.closed


def test_of_more_addrv2_a_thousand_are_chosen():
    """None twice, none lost, the input untouched: btcd overwrites in place of exchanging."""
    wired = modern(SendAddrV2())
    given = new_addresses(3000)
    chosen = wired.peer.push_addrv2(given)
    assert len(set(chosen)) == 1000
    assert set(chosen) <= set(given)
    assert given == new_addresses(3000)


def test_no_addrv2_send_nothing():
    """As with `addr`."""
    wired = modern(SendAddrV2())
    assert wired.peer.push_addrv2([]) == ()
    assert wired.commands == []


# Requests.

BOTH = pytest.mark.parametrize(
    ("push", "kind"),
    [("push_get_blocks", GetBlocks), ("push_get_headers", GetHeaders)],
    ids=["getblocks", "getheaders"],
)


@BOTH
def test_a_request_is_asked(push: str, kind: Any):
    """With the version that was agreed; lbcd writes its highest into one and 0 into the other."""
    wired = ready(70012)
    assert getattr(wired.peer, push)([A, B], C) is True
    assert wired.sent == [kind(70012, (A, B), C)]


@BOTH
@pytest.mark.parametrize(
    ("requests", "asked"),
    [
        ("A,A", [True, False]),
        ("A,B,A", [True, True, True]),
        ("A,A,A,B,B", [True, False, False, True, False]),
        ("A,A!", [True, True]),
        ("A!,A,A", [True, True, False]),
        (",", [True, True]),
        ("A,,A", [True, True, True]),
        ("AB,AC", [True, False]),
        ("AB,BA", [True, True]),
    ],
)
def test_a_request_repeated_at_once_is_not_asked(
    push: str, kind: Any, requests: str, asked: list[bool]
):
    """By value of where it begins and where it stops; without a locator there is no memory (Y2)."""
    wired = ready()
    hashes = {"A": A, "B": B, "C": C}
    given = []
    with LogCapture() as log:
        for request in requests.split(","):
            locator = [bytes(bytearray(hashes[name])) for name in request.rstrip("!")]
            stop = C if request.endswith("!") else ZERO
            given.append(getattr(wired.peer, push)(locator, stop))
    assert given == asked
    assert wired.commands == [kind.command] * sum(asked)
    filtered = [line for line in log.traced if "the same request" in line]
    assert len(filtered) == asked.count(False)


@BOTH
def test_a_locator_may_be_changed_afterwards(push: str, kind: Any):
    """What was asked is what it was then."""
    wired = connect()
    locator = [A, B]
    getattr(wired.peer, push)(locator, ZERO)
    locator[:] = [C]
    wired.feed(version(), VerAck())
    assert wired.sent[-1] == kind(70016, (A, B), ZERO)
    assert getattr(wired.peer, push)([A], ZERO) is False


@BOTH
def test_five_hundred_hashes_may_be_asked_with(push: str, kind: Any):
    """One more is a mistake of ours: nothing is sent, and nothing remembered."""
    wired = ready()
    ask = getattr(wired.peer, push)
    assert ask([A] * 500, ZERO) is True
    with pytest.raises(ValueError, match="501 hashes, at most 500"):
        ask([B] * 501, ZERO)
    assert len(wired.sent) == 1
    assert ask([A], ZERO) is False


def test_the_two_requests_are_remembered_apart():
    """To ask for blocks is not to ask for headers."""
    wired = ready()
    assert wired.peer.push_get_blocks([A], ZERO)
    assert wired.peer.push_get_headers([A], ZERO)
    assert not wired.peer.push_get_blocks([A], ZERO)
    assert wired.commands == ["getblocks", "getheaders"]


def test_a_new_connection_has_asked_nothing():
    """A peer is one connection; the next one starts without a memory."""
    for _ in range(2):
        assert ready().peer.push_get_blocks([A], ZERO)


# Refusals.


@pytest.mark.parametrize(
    ("command", "given", "sent"),
    [
        ("tx", A, A),
        ("block", A, A),
        ("tx", None, ZERO),
        ("block", None, ZERO),
        ("inv", None, None),
        ("inv", A, None),
    ],
)
def test_a_reject_has_a_hash_if_its_command_has(
    command: str, given: bytes | None, sent: bytes | None
):
    """Where it is missing that is our user's mistake, which is warned of (Y3)."""
    wired = ready()
    with LogCapture() as log:
        done = wired.peer.push_reject(command, 0x10, "because", given)
    assert wired.sent == [Reject(command.encode(), 0x10, b"because", sent)]
    assert done.result is True
    warned = [line for level, _, line in log.entries if level == "warn"]
    assert len(warned) == (sent is not None and given is None)


@pytest.mark.parametrize(("number", "sent"), [(70001, False), (70002, True)])
def test_a_reject_needs_version_70002(number: int, sent: bool):
    """Below that nothing is sent, without an error."""
    wired = ready(number)
    assert wired.peer.push_reject("inv", 1, "no").result is sent
    assert wired.commands == ["reject"] * sent
    assert not wired.closed


def test_a_reject_after_the_end_is_not_sent():
    """And nobody waits for it."""
    wired = ready()
    wired.peer.disconnect()
    assert wired.peer.push_reject("inv", 1, "no").result is False


@pytest.mark.parametrize(("command", "reason"), [("tx", "\ud800"), ("\ud800", "no")])
def test_text_that_cannot_be_written_fails_the_deferred_alone(command: str, reason: str):
    """As any message that cannot be encoded: nothing is raised, and the connection continues."""
    wired = connect().shake_hands()
    failed = wired.peer.push_reject(command, 0x10, reason)
    assert isinstance(failed.result, Failure)
    failed.addErrback(lambda failure: failure.trap(BadRecord))
    assert wired.sent == []
    assert not wired.closed


def test_a_reject_pushed_before_the_handshake_is_sent_after_it():
    """Unless the node turns out to have no `reject`, which its Deferred reports."""
    for number in (70002, 70001):
        wired = connect()
        done = wired.peer.push_reject("inv", 1, "no")
        assert not done.called
        wired.feed(version(number), VerAck())
        if number == 70002:
            assert done.result is True
        else:
            failures: list[Any] = []
            done.addErrback(failures.append)
            assert failures[0].check(BadRecord)
        assert not wired.closed


def test_a_callback_may_wait_for_a_reject():
    """In lbcd some of those waits never end."""
    outcome: list[bool] = []

    async def on_getaddr(peer: Any, record: Any) -> None:
        outcome.append(await peer.push_reject("getaddr", 0x10, "not now"))
        peer.disconnect()

    wired = ready(callbacks=Callbacks(on_getaddr=on_getaddr))
    wired.feed(GetAddr())
    assert outcome == [True]
    assert wired.commands == ["reject"]
    wired.read()
    assert not wired.wire.connected


def test_to_wait_for_a_reject_in_on_version_ends_with_the_handshake_s_time():
    """Messages wait for the handshake, that for the callback, which should return the reject."""
    outcome: list[bool] = []

    async def on_version(peer: Any, record: Any) -> None:
        outcome.append(await peer.push_reject("version", 0x40, "not you"))

    wired = connect(callbacks=Callbacks(on_version=on_version)).feed(version())
    wired.pass_time(29)
    assert outcome == []
    wired.pass_time(1)
    assert outcome == [False]
    assert wired.calls_left == 0


def test_all_pushes_work_in_any_callback():
    """Callbacks may use their own peer (scenario 55 and 6)."""

    def on_getaddr(peer: Any, record: Any) -> None:
        peer.push_addr(addresses(2))
        peer.push_get_blocks([A], ZERO)
        peer.push_get_headers([A], ZERO)
        done: Deferred[bool] = peer.push_reject("getaddr", 0x10, "not now")
        done.addCallback(lambda sent: peer.push_reject("getaddr", 0x10, "again"))

    wired = ready(callbacks=Callbacks(on_getaddr=on_getaddr))
    wired.feed(GetAddr())
    assert wired.commands == ["addr", "getblocks", "getheaders", "reject", "reject"]
