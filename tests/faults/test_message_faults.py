"""Faults by message: each in a session in memory, and the same seed gives the same."""

from pathlib import Path
from random import Random

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.faults import (
    BadFault,
    Fault,
    MessageFaultHook,
    message_faults,
    parse_fault,
    random_of,
)
from lbcproxy.plugin import Direction
from lbcproxy.session import LegTransport, Transports
from lbcproxy.testing import Trial
from lbcproxy.transport.kind import Transport
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.messages.keepalive import Ping, Pong

CAPTURES = Path(__file__).parents[2] / "captures"
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
ENCRYPTED = Transports(*[LegTransport(Transport.V2, bytes(32))] * 2)


def trial(text, seed=1):
    """Make a session with a fault."""
    fault = parse_fault(text)
    made = Trial(clocked := Late(fault, Random(seed)), handshake=False)
    clocked.clock = made.clock
    return made


class Late(MessageFaultHook):
    """A meeting whose clock is the trial's, which comes later."""

    clock = None

    def __init__(self, fault, random):
        super().__init__(fault, random, lambda: 0.0 if self.clock is None else self.clock.seconds())


def nonces(messages):
    return [each.record.nonce for each in messages]


def sent(text, count=6, seed=1):
    """Send pings through a fault; return the trial."""
    made = trial(text, seed)
    made.to_upstream(*(Ping(number) for number in range(count)))
    return made


def test_drop():
    """With its filter and direction, after so many, and as likely as it says."""
    assert nonces(sent("drop").upstream_got) == []
    assert nonces(sent("drop after_messages=4").upstream_got) == [0, 1, 2, 3]
    assert nonces(sent("drop filter='ping.nonce > 3'").upstream_got) == [0, 1, 2, 3]
    assert len(sent("drop stream=downstream").upstream_got) == 6
    assert len(sent("drop probability=0").upstream_got) == 6
    some = len(sent("drop probability=0.5", 400).upstream_got)
    assert 150 < some < 250
    assert len(sent("drop toxicity=0").upstream_got) == 6


def test_each_says_what_it_did():
    """As plugins do; by its name."""
    made = sent("drop name=lossy", 1)
    assert made.entries[0].trail == ("Late: drop",)
    assert made.entries[0].verdict == "drop"


def test_duplicate():
    """So many times more."""
    assert nonces(sent("duplicate times=2", 2).upstream_got) == [0, 0, 0, 1, 1, 1]


def test_reorder():
    """Pairs change places."""
    assert nonces(sent("reorder", 5).upstream_got) == [1, 0, 3, 2]


def test_delay():
    """Order is kept."""
    made = sent("delay delay=2 filter='ping.nonce == 1'", 3)
    assert nonces(made.upstream_got) == [0]
    made.advance(2)
    assert nonces(made.upstream_got) == [0, 1, 2]
    jittery = sent("delay delay=2 jitter=1", 1)
    jittery.advance(3)
    assert nonces(jittery.upstream_got) == [0]


def test_replay():
    """An earlier message is sent again after each."""
    got = nonces(sent("replay of=2", 4).upstream_got)
    assert len(got) == 7
    assert got[:3] == [0, 1, 0]
    assert sorted(set(got)) == [0, 1, 2, 3]


def test_stall():
    """After the Nth nothing more, for a time or for ever."""
    made = sent("stall after_messages=2 seconds=60", 4)
    assert nonces(made.upstream_got) == [0, 1]
    made.advance(60)
    assert nonces(made.upstream_got) == [0, 1, 2, 3]
    ever = sent("stall", 1)
    ever.advance(86_400 * 365)
    assert ever.upstream_got == []


@pytest.mark.parametrize(
    ("how", "words"),
    [("checksum", "checksum"), ("truncate", "bytes needed"), ("bit", None), ("field", None)],
)
def test_corrupt(how, words):
    """Each other than what was sent; framed soundly where it is the payload."""
    made = sent(f"corrupt how={how} field=nonce", 1)
    [got] = made.upstream_got
    if words is not None:
        assert words in got.error
    else:
        assert got.error is None
        assert got.record.nonce != 0
    assert made.entries[0].verdict == "rewrite"


@pytest.mark.parametrize("how", ["magic", "length"])
def test_corrupt_headers(how):
    """Another header, the same payload."""
    made = sent(f"corrupt how={how}", 1)
    raw, real = made.bytes_to(UP), made.entries[0].message.raw
    assert raw != real
    assert raw[24:] == real[24:]


def test_a_field_of_many_kinds_is_changed():
    """Lists lose their last; what there is not is left alone."""
    made = trial("corrupt how=field field=inventory")
    things = tuple(InventoryVector(1, bytes([number]) * 32) for number in range(3))
    made.to_client(Inv(things), Ping(1))
    assert [each.command for each in made.client_got] == ["inv", "ping"]
    assert made.client_got[0].record == Inv(things[:2])


def test_the_schedule():
    """From and for so many seconds."""
    made = trial("drop from_seconds=10 for_seconds=5")
    for second in range(20):
        made.to_upstream(Ping(second))
        made.advance(1)
    assert nonces(made.upstream_got) == [*range(10), *range(15, 20)]


def test_a_fault_asks_only_for_what_it_can_meet():
    """The rest passes as if there were none."""
    asked = MessageFaultHook(parse_fault("drop filter='inv or tx'"), Random(1), lambda: 0.0)
    assert asked.asks_for() == {"inv", "tx"}
    assert MessageFaultHook(parse_fault("drop"), Random(1), lambda: 0.0).asks_for() is None


@pytest.mark.parametrize("kind", sorted(message_faults()))
def test_the_same_seed_gives_the_same_over_the_same_capture(kind):
    """Message by message; another seed gives something else."""
    text = f"{kind} probability=0.3 " + ("how=bit" if kind == "corrupt" else "")
    text += {"stall": "seconds=1", "delay": "delay=1 jitter=1"}.get(kind, "")
    fault = parse_fault(text)
    runs = []
    for seed in (7, 7, 8):
        made = Trial(Late(fault, random_of(seed, 1, fault)), handshake=False)
        made.pipeline.core.transports = ENCRYPTED
        for entry in open_capture(CAPTURES / "lbcd-sync.pcap"):
            send = made.to_upstream if entry.direction is UP else made.to_client
            send(entry.raw)
        made.advance(10_000)
        runs.append(
            (
                [(each.command, each.verdict, each.trail) for each in made.entries],
                made.bytes_to(UP),
                made.bytes_to(DOWN),
            )
        )
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    trails = [trail for *_, trail in runs[0][0] if trail]
    assert trails
    assert "no effect" not in str(trails)


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("drp", "type", "did you mean drop?"),
        ("drop often", "often", "is not NAME=VALUE"),
        ("drop probability=2", "probability", "<= 1"),
        ("drop filter='pign'", "filter", "did you mean ping?"),
        ("drop after_bytes=5", "after_bytes", "has after_messages"),
        ("duplicate times=0", "attributes.times", ">= 1"),
        ("duplicate tims=1", "attributes.tims", "did you mean times?"),
        ("corrupt how=badly", "attributes.how", "Invalid enum value"),
        ("latency latency=5 probability=0.5", "probability", "acts on bytes"),
        ("latency latency=5 stream=both", "stream", "make two of it"),
        ("handshake garbage=-1", "attributes.garbage", "0 to 1,048,576 bytes"),
        ("handshake close=soon", "attributes.close", "Invalid enum value"),
        ("handshake filter=ping", "filter", "acts once, when a leg is encrypted"),
        ("handshake from_seconds=1", "from_seconds", "acts once"),
        ("tag bit=3", "attributes.bit", "has no such attribute"),
        ("packet_length length=16777216", "attributes.length", "<= 16777215"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, path, words):
    """As in the config."""
    with pytest.raises(BadFault) as caught:
        parse_fault(text)
    assert caught.value.path == path
    assert words in caught.value.what


def test_a_fault_by_byte_may_be_written_so_too():
    """One way to write all of them."""
    fault = parse_fault("latency latency=300 jitter=5 stream=upstream")
    assert fault == Fault(
        type="latency", stream="upstream", attributes={"latency": 300, "jitter": 5}
    )
    assert not fault.by_message
    assert str(parse_fault("drop filter=inv probability=0.5")).startswith("drop_both (")


def test_pongs_pass():
    """What a fault does not meet is not touched."""
    made = trial("drop filter=ping")
    made.to_client(Pong(3))
    assert nonces(made.client_got) == [3]
