"""Tests of announcements: when, in what batches, and what is left out (docs/peer-lbcd.md L)."""

import itertools
import time
from typing import Any

import msgspec
import pytest

from lbcproxy.peer.inventory import PeerInventory
from lbcproxy.wire.messages.handshake import VerAck
from lbcproxy.wire.messages.inventory import Inv, InventoryVector, InvType
from lbcproxy.wire.messages.transactions import Tx
from tests.memory import grown
from tests.peer.builders import CONFIG, Wired, connect, version

AT_ONCE = (InvType.BLOCK, InvType.WITNESS_BLOCK)
TRICKLED = tuple(kind for kind in InvType if kind not in AT_ONCE)


def thing(number: int, kind: int = InvType.TX) -> InventoryVector:
    """Something to announce, by a number."""
    return InventoryVector(kind, number.to_bytes(32, "little"))


def things(count: int) -> list[InventoryVector]:
    """As many different ones."""
    return [thing(number) for number in range(count)]


def ready(**changes: Any) -> Wired:
    """A peer after its handshake."""
    return connect(msgspec.structs.replace(CONFIG, **changes)).shake_hands()


def announced(wired: Wired) -> list[tuple[InventoryVector, ...]]:
    """What each `inv` that was sent holds."""
    return [each.inventory for each in wired.sent if isinstance(each, Inv)]


# When.


@pytest.mark.parametrize("kind", TRICKLED, ids=lambda kind: kind.name)
def test_what_is_not_a_block_waits_for_the_tick(kind: InvType):
    """The tick is 10 seconds after the handshake, not after the announcement."""
    wired = ready()
    wired.pass_time(4)
    wired.peer.queue_inventory(thing(1, kind))
    wired.pass_time(5.9, step=0.1)
    assert announced(wired) == []
    wired.pass_time(0.2, step=0.1)
    assert announced(wired) == [(thing(1, kind),)]


@pytest.mark.parametrize("kind", AT_ONCE, ids=lambda kind: kind.name)
def test_a_block_is_announced_at_once_and_alone(kind: InvType):
    """Blocks must travel fast; everything else keeps waiting."""
    wired = ready()
    wired.peer.queue_inventory(thing(1))
    wired.peer.queue_inventory(thing(2, kind))
    assert announced(wired) == [(thing(2, kind),)]
    wired.pass_time(10)
    assert announced(wired) == [(thing(2, kind),), (thing(1),)]


def test_a_block_is_announced_again_unless_it_is_known():
    """An announcement does not mean that the node has the block."""
    wired = ready()
    block = thing(1, InvType.BLOCK)
    wired.peer.queue_inventory(block)
    wired.peer.queue_inventory(block)
    wired.peer.add_known_inventory(block)
    wired.peer.queue_inventory(block)
    assert announced(wired) == [(block,), (block,)]


def test_an_empty_tick_sends_nothing():
    """Neither does one after which everything was filtered."""
    wired = ready()
    wired.pass_time(35)
    wired.peer.queue_inventory(thing(1))
    wired.peer.add_known_inventory(thing(1))
    wired.pass_time(10)
    assert wired.commands == []


def test_ticks_follow_each_other():
    """What is queued later goes out later, each thing once."""
    wired = ready()
    for number in range(3):
        wired.peer.queue_inventory(thing(number))
        wired.pass_time(10)
    assert announced(wired) == [(thing(0),), (thing(1),), (thing(2),)]


@pytest.mark.parametrize(("interval", "used"), [(3.0, 3), (0.5, 0.5), (0, 10), (-1, 10)])
def test_the_interval_can_be_set(interval: float, used: float):
    """One that is not positive means the default of ten seconds."""
    wired = ready(trickle_interval=interval)
    wired.peer.queue_inventory(thing(1))
    wired.pass_time(used - 0.1, step=0.1)
    assert announced(wired) == []
    wired.pass_time(0.2, step=0.1)
    assert announced(wired) == [(thing(1),)]


def test_announcements_go_after_messages_that_wait():
    """A batch has no precedence over what was queued before it."""
    wired = ready()
    wired.peer.queue_inventory(thing(1))
    wired.peer.core.sender.filled(wired.clock.seconds())
    wired.peer.send(VerAck())
    wired.pass_time(10)
    wired.peer.drained()
    assert wired.commands == ["verack", "inv"]


# How many.


@pytest.mark.parametrize(
    ("count", "batches"),
    [
        (1, [1]),
        (999, [999]),
        (1000, [1000]),
        (1001, [1000, 1]),
        (2500, [1000, 1000, 500]),
    ],
)
def test_a_tick_sends_all_that_waits_a_thousand_a_message(count: int, batches: list[int]):
    """Order is kept over the batches."""
    wired = ready()
    for each in things(count):
        wired.peer.queue_inventory(each)
    wired.pass_time(10)
    assert [len(batch) for batch in announced(wired)] == batches
    assert list(itertools.chain(*announced(wired))) == things(count)


# What is known.


def test_an_equal_thing_in_another_object_is_recognised():
    """Lbcd compares pointers and announces it anyway (L7)."""
    wired = ready()
    known = thing(7)
    wired.peer.add_known_inventory(known)
    equal = InventoryVector(1, bytes(bytearray(known.hash)))
    assert equal is not known
    assert equal.hash is not known.hash
    wired.peer.queue_inventory(equal)
    wired.pass_time(10)
    assert announced(wired) == []


def test_what_becomes_known_before_the_tick_is_not_announced():
    """The node may have announced it to us by then."""
    wired = ready()
    for each in things(3):
        wired.peer.queue_inventory(each)
    wired.peer.add_known_inventory(thing(1))
    wired.pass_time(10)
    assert announced(wired) == [(thing(0), thing(2))]


def test_a_duplicate_within_a_tick_is_announced_once():
    """In the place of the first."""
    wired = ready()
    for number in (1, 2, 1, 3, 2):
        wired.peer.queue_inventory(thing(number))
    wired.pass_time(10)
    assert announced(wired) == [(thing(1), thing(2), thing(3))]


def test_what_was_announced_is_known():
    """Two ticks do not announce the same."""
    wired = ready()
    for _ in range(2):
        wired.peer.queue_inventory(thing(1))
        wired.pass_time(10)
    assert announced(wired) == [(thing(1),)]


def test_a_thousand_things_are_remembered():
    """With the 1,001st the one not seen for longest may be announced again."""
    wired = ready()
    for each in things(1001):
        wired.peer.add_known_inventory(each)
    for number in (0, 1, 1000):
        wired.peer.queue_inventory(thing(number))
    wired.pass_time(10)
    assert announced(wired) == [(thing(0),)]


def test_asking_keeps_a_thing_in_memory():
    """Being looked up counts as being seen (L6)."""
    wired = ready()
    for each in things(1000):
        wired.peer.add_known_inventory(each)
    wired.peer.queue_inventory(thing(0))
    wired.peer.add_known_inventory(thing(1000))
    for number in (0, 1):
        wired.peer.queue_inventory(thing(number))
    wired.pass_time(10)
    assert announced(wired) == [(thing(1),)]


def test_a_transaction_with_and_without_witness_are_two_things():
    """The same hash under another kind is another thing (L8)."""
    wired = ready()
    wired.peer.add_known_inventory(thing(1, InvType.TX))
    wired.peer.queue_inventory(thing(1, InvType.WITNESS_TX))
    wired.pass_time(10)
    assert announced(wired) == [(thing(1, InvType.WITNESS_TX),)]


def test_what_arrives_is_not_taken_as_known():
    """The user of the peer decides what the node knows (L5)."""
    wired = ready()
    wired.feed(Inv((thing(1),)), Tx(1, (), (), 0))
    wired.peer.queue_inventory(thing(1))
    wired.pass_time(10)
    assert announced(wired) == [(thing(1),)]


# Around the handshake and the end.


def test_what_is_queued_before_the_handshake_is_announced_after_it():
    """Blocks as soon as it is done, the rest with the first tick; lbcd drops both."""
    wired = connect(opened=False)
    wired.peer.queue_inventory(thing(1))
    wired.peer.queue_inventory(thing(2, InvType.BLOCK))
    wired.open().feed(version())
    wired.peer.queue_inventory(thing(3, InvType.BLOCK))
    assert announced(wired) == []
    wired.feed(VerAck())
    assert wired.commands == ["version", "verack", "inv", "inv"]
    wired.pass_time(10)
    assert announced(wired) == [
        (thing(2, InvType.BLOCK),),
        (thing(3, InvType.BLOCK),),
        (thing(1),),
    ]


def test_after_the_end_nothing_is_kept():
    """What waited is discarded, and what comes is not accepted."""
    wired = ready()
    wired.peer.queue_inventory(thing(1))
    wired.peer.disconnect()
    wired.peer.queue_inventory(thing(2))
    wired.peer.queue_inventory(thing(3, InvType.BLOCK))
    wired.peer.add_known_inventory(thing(4))
    wired.pass_time(30)
    assert announced(wired) == []
    assert len(wired.peer.core.inventory) == 0


# How much may wait.


def test_of_too_much_that_waits_the_oldest_is_let_go():
    """And counted."""
    wired = ready(most_inventory=3)
    for each in things(5):
        wired.peer.queue_inventory(each)
    assert wired.peer.core.inventory.dropped == 2
    wired.pass_time(10)
    assert announced(wired) == [(thing(2), thing(3), thing(4))]


def test_a_duplicate_pushes_nothing_out():
    """A duplicate of what waits does not drop anything."""
    wired = ready(most_inventory=3)
    for number in (0, 1, 2, 2, 2, 1):
        wired.peer.queue_inventory(thing(number))
    wired.pass_time(10)
    assert announced(wired) == [(thing(0), thing(1), thing(2))]
    assert wired.peer.core.inventory.dropped == 0


def test_with_no_place_nothing_waits():
    """A bound of zero is one too."""
    wired = ready(most_inventory=0)
    wired.peer.queue_inventory(thing(1))
    wired.pass_time(10)
    assert announced(wired) == []


@pytest.mark.slow
def test_a_flood_of_announcements_stays_within_its_bound():
    """Memory follows `most_inventory`, not what was queued."""
    inventory = PeerInventory(5_000)

    def flood() -> None:
        for number in range(200_000):
            inventory.queue(thing(number))

    size = grown(flood)
    assert len(inventory) == 5_000
    assert inventory.dropped == 195_000
    assert size < 5_000 * 500


@pytest.mark.slow
def test_a_flood_costs_the_same_for_each_announcement():
    """The time for one does not grow with how many may wait.

    With a plain dict it is 25 times as long; what is here is within twice, on a busy machine too.
    """

    def seconds(most: int) -> float:
        inventory = PeerInventory(most)
        flood = things(most + 80_000)
        for each in flood[:most]:
            inventory.queue(each)
        begin = time.process_time()
        for each in flood[most:]:
            inventory.queue(each)
        return time.process_time() - begin

    few = min(seconds(1_000) for _ in range(3))
    many = min(seconds(100_000) for _ in range(2))
    assert many < few * 8


def test_what_has_been_announced_no_longer_waits():
    """It takes no memory and no place."""
    inventory = PeerInventory(3)
    assert (len(inventory), inventory.dropped) == (0, 0)
    for each in things(3):
        assert inventory.queue(each) is None
    assert len(inventory) == 3
    assert inventory.trickle() == [Inv(tuple(things(3)))]
    assert len(inventory) == 0
    assert inventory.trickle() == []
    for each in things(7):
        inventory.queue(each)
    assert (len(inventory), inventory.dropped) == (3, 1)
    inventory.clear()
    assert len(inventory) == 0
