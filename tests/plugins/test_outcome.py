"""What the verdicts of all plugins make of one message."""

import pytest

from lbcproxy import networks
from lbcproxy.plugin import Close, Delay, Drop, Inject, Raw, Replace
from lbcproxy.plugins.outcome import Outcome
from lbcproxy.plugins.packet_verdicts import DamagePacket, InjectDecoys, NoEffect
from lbcproxy.session import Damaged, Decoy, Delivery, Direction, End, EndCause, Entry, Message
from lbcproxy.transport.damage import WrongTag
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.messages.keepalive import Ping

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
CODEC = Codec(networks.get("lbry-regtest"), 70013, "auto")
PING = Message.of(Ping(1), UP, CODEC)
SIZE = 32
"""Bytes of a ping on the wire."""


class Tried(Outcome):
    """An outcome that records what its limit was asked for."""

    def __init__(self, *verdicts):
        self.checked = []
        self.directions = []
        super().__init__(PING, self._framed, lambda *asked: self.checked.append(asked))
        if verdicts:
            self.apply("P", verdicts, PING)

    def _framed(self, sendable, direction):
        self.directions.append(direction)
        return sendable


def parts(deliveries):
    """Return what is sent, in order: bytes as they are, others as None."""
    return [each.sent for each in deliveries]


def delivered(outcome):
    """Return the deliveries of an outcome."""
    entry = Entry(number=1, time_ns=0, session=1, direction=UP, message=PING)
    return outcome.deliveries(
        entry, lambda each, trail: Delivery(b"", (), each.raw + trail.encode())
    )


def test_without_a_verdict_the_message_passes_as_it_is():
    """Nothing is injected, and the limit is not asked."""
    outcome = Tried()
    assert (outcome.verdict, outcome.trail, outcome.delay, outcome.close) == ("pass", [], 0, None)
    assert (outcome.injected, outcome.injected_bytes) == (0, 0)
    [delivery] = delivered(outcome)
    assert (delivery.raw, delivery.sent) == (PING.raw, None)
    assert (delivery.entries[0].verdict, delivery.entries[0].trail) == ("pass", ())


def test_a_dropped_message_is_sent_as_nothing():
    """Its entry says who dropped it."""
    outcome = Tried(Drop("why"))
    assert (outcome.verdict, outcome.trail, outcome.checked) == ("drop", ["P: drop: why"], [])
    [delivery] = delivered(outcome)
    assert (delivery.raw, delivery.sent) == (PING.raw, b"")
    assert (delivery.entries[0].verdict, delivery.entries[0].trail) == ("drop", ("P: drop: why",))


def test_replacing_a_message_injects_what_is_added_to_it():
    """Messages beyond the first, and bytes beyond its own."""
    outcome = Tried(Replace(Raw(bytes(40)), PING))
    assert (outcome.verdict, outcome.directions) == ("rewrite", [UP, UP])
    assert outcome.trail == ["P: rewrite ping 8 B -> 40 raw B, ping 8 B"]
    assert (outcome.injected, outcome.injected_bytes) == (1, 40)
    assert outcome.checked == [(UP, 40, 1)]
    assert parts(delivered(outcome)) == [bytes(40) + PING.raw]
    smaller = Tried(Replace(Raw(b"x")))
    assert (smaller.injected, smaller.injected_bytes, smaller.checked) == (0, 0, [])
    longer = Tried(Replace(Raw(bytes(SIZE + 1))))
    assert (longer.injected, longer.checked) == (0, [(UP, 1, 0)])


def test_a_message_replaced_by_itself_is_not_changed():
    """Its bytes are sent as they came."""
    outcome = Tried(Replace(PING))
    assert outcome.verdict == "pass"
    assert parts(delivered(outcome)) == [None]


def test_delays_add_up():
    """Those of several verdicts, and of several plugins."""
    outcome = Tried(Delay(1.5), Delay(2, "b"))
    outcome.apply("Q", [Delay(4)], PING)
    assert (outcome.verdict, outcome.delay) == ("delay", 7.5)
    assert outcome.trail == ["P: delay 1.5 s", "P: delay 2 s: b", "Q: delay 4 s"]


def test_decoys_are_sent_before_the_message():
    """They count as injected, though nobody reads them."""
    outcome = Tried(InjectDecoys(Decoy(2_000), Decoy(2_000)))
    assert (outcome.verdict, outcome.trail) == ("pass", ["P: inject 2 decoys of 2,000 B"])
    assert (outcome.injected, outcome.injected_bytes) == (2, 4_000)
    assert outcome.checked == [(UP, 4_000, 2)]
    *decoys, delivery = delivered(outcome)
    assert [(each.raw, each.packet) for each in decoys] == [(b"", Decoy(2_000))] * 2
    assert (delivery.raw, delivery.sent, delivery.packet) == (PING.raw, None, None)


def test_a_damaged_packet_has_the_message_that_is_left():
    """If it is the one that came, with the contents that it came in."""
    damage = WrongTag(5)
    entry = Entry(number=1, time_ns=0, session=1, direction=UP, message=PING)
    for verdicts, expected in (
        ([DamagePacket(damage)], Damaged(damage, b"contents")),
        ([Replace(Raw(b"x")), DamagePacket(damage)], Damaged(damage)),
    ):
        outcome = Tried(*verdicts)
        assert outcome.verdict == "rewrite"
        assert outcome.trail[-1].endswith(": bit 5 of its tag is wrong")
        [delivery] = outcome.deliveries(entry, delivered, b"contents")
        assert delivery.packet == expected
    [dropped] = delivered(Tried(DamagePacket(damage), Drop()))
    assert (dropped.sent, dropped.packet) == (b"", None)


def test_a_verdict_without_effect_is_a_note():
    """A fault that does not fit the connection says so."""
    outcome = Tried(NoEffect("the leg is not encrypted"))
    assert outcome.verdict == "pass"
    assert outcome.trail == ["P: no effect: the leg is not encrypted"]
    assert parts(delivered(outcome)) == [None]


def test_injections_surround_the_message_or_go_the_other_way():
    """The trail of each says what led to it."""
    outcome = Tried(
        Inject(Raw(b"a"), PING),
        Inject(Raw(b"b"), before=True, direction=UP),
        Inject(Raw(b"cc"), direction=DOWN, before=True, why="w"),
    )
    assert (outcome.verdict, outcome.directions) == ("pass", [UP, UP, UP, DOWN])
    notes = ["P: inject 1 raw B, ping 8 B ->", "P: inject 1 raw B ->", "P: inject 2 raw B <-: w"]
    assert outcome.trail == notes
    joined = "; ".join(notes).encode()
    assert parts(delivered(outcome)) == [b"b" + joined, None, b"a" + joined, PING.raw + joined]
    assert [each.raw for each in outcome.across] == [b"cc"]
    assert (outcome.injected, outcome.injected_bytes) == (3, 2 + SIZE)
    assert outcome.checked == [(UP, 2 + SIZE, 3), (DOWN, 2, 1)]


def test_messages_without_bytes_are_counted_too():
    """The limit is of messages as well as of bytes."""
    assert Tried(Inject(Raw(b""))).checked == [(UP, 0, 1)]
    assert Tried(Inject(Raw(b""), direction=DOWN)).checked == [(DOWN, 0, 1)]


def test_closing_names_the_plugin():
    """The message itself passes."""
    outcome = Tried(Close("enough"))
    assert outcome.close == End(EndCause.PLUGIN, detail="enough", name="P")
    assert (outcome.verdict, outcome.trail) == ("pass", ["P: close: enough"])


def test_a_message_that_replaced_another_is_found_by_identity():
    """Only the one that the plugin was called with, of several that are equal."""
    same = [Message.of(Ping(2), UP, CODEC) for _ in range(3)]
    outcome = Tried(Replace(*same))
    outcome.apply("Q", [Replace(Raw(b"x"), Raw(b"y"))], same[1])
    assert outcome.messages[0] is same[0]
    assert [each.raw for each in outcome.messages[1:3]] == [b"x", b"y"]
    assert outcome.messages[3] is same[2]


@pytest.mark.parametrize(
    ("verdicts", "error", "words"),
    [
        ([Delay(1), Drop(), Drop()], ValueError, "exclude each other"),
        ([Inject(Raw(b"x"), direction=DOWN), Replace(Raw(b"x")), Drop()], ValueError, "exclude"),
        ([Inject(*[Raw(b"")] * 10_001)], OverflowError, "read: 10,000 messages wait"),
        ([Replace(*[Raw(b"")] * 10_000), Inject(Raw(b""))], OverflowError, "10,000"),
        ([Delay(0)] * 10_001, OverflowError, "10,000"),
    ],
)
def test_verdicts_apply_all_or_none(verdicts, error, words):
    """What was decided before stays as it was."""
    outcome = Tried(Inject(Raw(b"1")), Inject(Raw(b"2"), direction=DOWN), Delay(3))
    before = {
        name: list(value) if isinstance(value, list) else value
        for name, value in vars(outcome).items()
        if name not in ("checked", "directions")
    }
    with pytest.raises(error, match=words):
        outcome.apply("Q", verdicts, PING)
    assert {name: getattr(outcome, name) for name in before} == before


def test_a_refused_injection_undoes_the_other_verdicts():
    """The limit is checked last, with everything that is injected."""

    def refuse(*_):
        raise OverflowError

    outcome = Outcome(PING, lambda sendable, _: sendable, refuse)
    with pytest.raises(OverflowError):
        outcome.apply("P", [Delay(1), Inject(Raw(b"x"))], PING)
    assert (outcome.delay, outcome.after, outcome.trail) == (0, [], [])


@pytest.mark.parametrize(
    "verdicts",
    [[Inject(*[Raw(b"")] * 10_000)], [Delay(0)] * 10_000, [Replace(*[Raw(b"")] * 9_999), Delay(1)]],
)
def test_ten_thousand_at_once_are_few_enough(verdicts):
    """The limit itself is reached, not passed."""
    assert Tried(*verdicts).trail


def test_a_plugin_that_failed_drops_the_message():
    """If the policy says so: what had replaced it goes too."""
    outcome = Tried(Replace(Raw(b"x"), Raw(b"y")))
    outcome.fail("Q", "on_ping failed")
    assert (outcome.verdict, outcome.messages) == ("drop", [])
    assert outcome.trail[1:] == ["Q: drop: on_ping failed"]
