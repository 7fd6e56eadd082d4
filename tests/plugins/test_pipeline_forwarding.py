"""What the pipeline asks its host for: which bytes, in how many pieces, and in which order."""

import pytest

from lbcproxy.plugin import Close, Delay, Drop, Inject, Raw, Replace
from lbcproxy.plugins import pipeline as module
from lbcproxy.session import Delivery, Direction, End, EndCause, Message
from lbcproxy.testing import Trial
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import NetAddress, Version
from lbcproxy.wire.messages.keepalive import Ping, Pong
from tests.plugins.builders import NETWORK, PING, PONG, chain_of, piped, plugin

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
MIB = 1 << 20
MANY = [Raw(b"x")] * 6_000
"""More than half of the messages that may wait."""


def passed(host):
    """Return what the observers got: bytes received, bytes sent instead, and commands."""
    return [
        (each.raw, each.sent, [entry.command for entry in each.entries])
        for _, *deliveries in host.named("notify_delivered")
        for each in deliveries
    ]


def test_a_part_of_a_long_message_is_sent_before_it_is_read_and_then_reported():
    """The node need not wait until it is hashed."""
    pipeline, host = piped()
    block = frame(NETWORK.magic, "block", bytes(70_000))
    pipeline.receive(UP, PING + block[:100], 1)
    host.calls.clear()
    pipeline.receive(UP, block[100:60_000], 2)
    assert [each[:2] for each in host.calls] == [("send", UP), ("notify_delivered", UP)]
    assert host.named("send") == [[UP, block[100:60_000]]]
    assert passed(host) == [(block[100:60_000], None, [])]
    host.calls.clear()
    pipeline.inject("P", UP, [Raw(b"x")])
    assert host.calls == []  # it waits for the end of the block
    assert pipeline.is_waiting(UP)
    assert not pipeline.is_waiting(DOWN)
    assert pipeline.buffered_bytes == 1
    pipeline.receive(UP, block[60_000:], 3)
    assert host.named("send") == [[UP, block[60_000:] + b"x"]]
    assert not pipeline.is_waiting(UP)
    assert pipeline.buffered_bytes == 0


def test_an_injection_waits_for_a_long_message_that_was_sent_before_it_was_read():
    """From its header on, and not after its last byte."""
    pipeline, host = piped()
    block = frame(NETWORK.magic, "block", bytes(70_000))
    pipeline.receive(UP, PING, 1)
    pipeline.receive(UP, block[:100], 1)
    pipeline.receive(UP, block[100:], 1)
    pipeline.inject("P", UP, [Raw(b"x")])
    pipeline.receive(UP, block[:100], 1)
    pipeline.inject("P", UP, [Raw(b"y")])
    pipeline.receive(UP, block[100:], 1)
    pieces = [PING, block[:100], block[100:], b"x", block[:100], block[100:] + b"y"]
    assert host.named("send") == [[UP, each] for each in pieces]


def test_an_injection_waits_for_a_long_message_that_was_read_first():
    """Its header came in two reads, and its last byte with another message."""
    pipeline, host = piped()
    block = frame(NETWORK.magic, "block", bytes(70_000))
    pipeline.receive(UP, PING + block[:10], 1)
    pipeline.receive(UP, block[10:100], 1)
    pipeline.inject("P", UP, [Raw(b"x")])
    pipeline.receive(UP, block[100:], 1)
    pipeline.receive(UP, block[:100], 1)
    pipeline.receive(UP, block[100:] + PING, 1)
    pipeline.inject("P", UP, [Raw(b"y")])
    pieces = [PING, block[:100], block[100:] + b"x", block[:100], block[100:] + PING, b"y"]
    assert host.named("send") == [[UP, each] for each in pieces]


def test_whole_messages_that_nobody_asks_for_are_sent_as_one_piece():
    """An incomplete one at the end is held until it is complete."""
    pipeline, host = piped()
    pipeline.receive(UP, PING * 3, 1)
    assert host.named("send") == [[UP, PING * 3]]
    assert passed(host) == [(PING * 3, None, ["ping"] * 3)]
    host.calls.clear()
    pipeline.receive(UP, PING + PONG[:9], 1)
    assert host.named("send") == [[UP, PING]]
    pipeline.receive(UP, PONG[9:20], 1)
    assert len(host.calls) == 2  # there was nothing to send, and nothing to tell
    pipeline.receive(UP, PONG[20:], 1)
    assert host.named("send") == [[UP, PING], [UP, PONG]]
    assert [each[1] for each in passed(host)] == [None, None]


def test_bytes_are_parsed_at_the_time_they_arrived():
    """Each entry has it; what is injected has the host's time."""
    pipeline, host = piped()
    pipeline.receive(UP, PING, 5)
    pipeline.inject("P", DOWN, [Raw(PONG), Ping(2)], "why")
    entries = [e for _, *ds in host.named("notify_delivered") for d in ds for e in d.entries]
    assert [(each.time_ns, each.verdict) for each in entries] == [
        (5, "pass"),
        (7, "inject"),
        (7, "inject"),
    ]
    assert [each.trail for each in entries[1:]] == [("P: inject: why",)] * 2
    pipeline.inject("P", DOWN, [Raw(PONG)])
    [*_, last] = [e for _, *ds in host.named("notify_delivered") for d in ds for e in d.entries]
    assert last.trail == ("P: inject",)


def test_other_plugins_are_called_from_the_next_message_on():
    """Also for messages that would have passed in parts."""
    seen = []
    pipeline, host = piped(plugin(on_ping=lambda *_: Drop()))
    new = chain_of(plugin(on_block=lambda _, session, message: seen.append(message.length)))
    pipeline.receive(UP, PING, 1)
    pipeline.change(new)
    assert pipeline.chain is new
    pipeline.receive(UP, PING, 1)
    block = frame(NETWORK.magic, "block", bytes(70_000))
    pipeline.receive(UP, block, 1)
    assert seen == [70_000]
    assert host.named("send") == [[UP, b""], [UP, PING], [UP, block]]


def test_a_message_from_elsewhere_is_decided_about_too():
    """Mode `terminate` frames them itself."""
    pipeline, host = piped(plugin(on_ping=lambda *_: Drop()))
    for record in (Ping(1), Pong(2)):
        message = Message.of(record, UP, pipeline.core.codec_to(UP))
        entry = pipeline.core.inject(UP, 1, message, ()).entries[0]
        pipeline.offer(UP, Delivery(message.raw, (entry,)))
    raw = Message.of(Pong(2), UP, pipeline.core.codec_to(UP)).raw
    assert host.named("send") == [[UP, b""], [UP, raw]]
    assert passed(host)[0][1:] == (b"", ["ping"])


def test_a_direction_ends_once_after_everything_that_was_received():
    """An incomplete message is sent as it is."""
    pipeline, host = piped(plugin(on_ping=lambda *_: Delay(3)))
    pipeline.receive(UP, PING + PONG[:9], 1)
    pipeline.finish(UP, 2)
    assert host.calls == []
    pipeline.receive(DOWN, PONG[:9], 1)
    pipeline.finish(DOWN, 2)  # nothing waits there
    assert host.named("send") == [[DOWN, PONG[:9]]]
    assert host.named("finish") == [[DOWN]]
    host.calls.clear()
    [(seconds, due)] = host.timers
    assert seconds == 3
    due()
    assert host.named("send") == [[UP, PING + PONG[:9]]]
    assert host.named("finish") == [[UP]]
    pipeline.inject("P", UP, [Raw(b"x")])
    assert host.named("finish") == [[UP]]


def test_releasing_memory_forwards_what_is_incomplete():
    """In both directions, and the rest of the message follows in parts."""
    pipeline, host = piped(plugin(on_block=lambda *_: Drop()))
    block = frame(NETWORK.magic, "block", bytes(70_000))
    pipeline.receive(UP, PING + block[:100], 1)
    pipeline.receive(DOWN, block[:200], 1)
    pipeline.release_partial(2)
    assert host.named("send") == [[UP, PING], [UP, block[:100]], [DOWN, block[:200]]]
    pipeline.receive(UP, block[100:], 3)
    assert host.named("send")[-1] == [UP, block[100:]]


def test_a_session_that_breaks_off_drops_what_waits():
    """What is queued and what is incomplete; observers are notified of nothing else."""
    pipeline, host = piped(plugin(on_ping=lambda *_: Delay(3)))
    pipeline.receive(UP, PING + PONG[:9], 1)
    pipeline.cut(2)
    assert [each[:2] for each in host.calls] == [("notify_delivered", UP)]
    assert passed(host) == [(PING, b"", ["ping"]), (PONG[:9], b"", [""])]
    assert pipeline.buffered_bytes == 0


def test_plugins_are_notified_of_the_handshake_once():
    """With the message that completes it."""
    notified = []
    trial = Trial(plugin(on_handshake=lambda self, session: notified.append(1)), handshake=False)
    trial.pipeline.check_handshake()
    assert notified == []
    trial._shake_hands(70013)
    assert notified == [1]
    trial.pipeline.check_handshake()
    trial.to_upstream(Ping(1))
    assert notified == [1]


def test_a_session_is_closed_after_the_messages_that_are_sent_with_it():
    """By the first plugin that asked for it."""
    answers = [Delay(1), Close("first"), Close("second")]
    pipeline, host = piped(plugin(on_ping=lambda *_: answers.pop(0)))
    pipeline.receive(UP, PING * 3, 1)
    host.timers[0][1]()
    assert [each[0] for each in host.calls] == ["send", "notify_delivered", "close"]
    assert host.named("close") == [[End(EndCause.PLUGIN, detail="first", name="Tried")]]


def test_what_was_injected_into_a_full_direction_counts_until_it_is_read():
    """Also if it was queued while the receiver still read."""
    pipeline, host = piped(plugin(on_ping=lambda *_: Inject(*MANY)))
    pipeline.receive(UP, PING, 1)
    pipeline.receive(UP, PING, 1)
    assert host.complaints == []
    host.full.add(UP)
    pipeline.receive(UP, PING, 1)
    pipeline.receive(UP, PING, 1)
    assert len(host.complaints) == 1
    assert "more is injected than is read" in host.complaints[0]


def test_an_answer_that_is_too_much_by_the_time_it_is_decided_is_reported():
    """The message itself passes as decided."""

    async def on_ping(self, session, message):
        await session.sleep(1)

    trial = Trial(
        plugin(on_ping=lambda *_: Inject(*MANY, direction=DOWN)),
        plugin(on_ping=on_ping),
    )
    trial.full.add(DOWN)
    trial.to_upstream(Ping(1))
    trial.pipeline.inject("Other", DOWN, MANY)
    trial.advance(1)
    assert len(trial.upstream_got) == 1
    [complaint] = trial.complaints
    assert complaint.startswith("Tried: inject 1 raw B, ")
    assert complaint.endswith(" <-: more is injected than is read: 10,000 messages wait")


@pytest.mark.parametrize(
    ("first", "second", "held"),
    [(0, 0, []), (1, 0, [True, False]), (0, 1, [True])],
)
def test_16_mib_may_wait_in_a_direction(first, second, held):
    """One byte more, and the sender is not read until at most 8 MiB are left."""
    answers = [Delay(1), Delay(2)]
    pipeline, host = piped(
        plugin(on_ping=lambda *_: answers.pop(0) if answers else None, on_tx=lambda *_: None)
    )
    for more in (first, second):
        half = frame(NETWORK.magic, "tx", bytes(8 * MIB - len(PING) - 24 + more))
        pipeline.receive(UP, PING + half, 1)
    assert pipeline.buffered_bytes == 16 * MIB + first + second
    assert host.named("hold") == [[UP, True]] * bool(held)
    host.timers[0][1]()
    assert pipeline.buffered_bytes == 8 * MIB + second
    assert host.named("hold") == [[UP, each] for each in held]
    host.timers[1][1]()
    pipeline.receive(UP, PING, 1)
    assert host.named("hold") == [[UP, True], [UP, False]] * bool(held)


@pytest.mark.parametrize(
    ("first", "second", "held"),
    [
        (50, 48, []),
        (50, 49, [True, False]),
        (49, 50, [True]),
    ],
)
def test_so_many_deliveries_may_wait_in_a_direction(monkeypatch, first, second, held):
    """One more, and the sender is not read until at most half of them are left."""
    assert module.MAX_QUEUED == 10_000
    monkeypatch.setattr(module, "MAX_QUEUED", 100)
    answers = [Delay(1), Delay(2)]
    pipeline, host = piped(plugin(on_ping=lambda *_: answers.pop(0)))
    for count in (first, second):
        pipeline.receive(UP, PING, 1)
        for _ in range(count):
            pipeline.receive(UP, PONG, 1)
    assert host.named("hold") == [[UP, True]] * bool(held)
    host.timers[0][1]()
    assert host.named("hold") == [[UP, each] for each in held]


NEW, OLD = 70013, 60000


def version_shown(shown, *, to, client=NEW, upstream=NEW):
    """Return a trial whose node in one direction is shown another version, and its two versions."""

    def on_version(self, session, message):
        return Replace(message.replace(version=shown)) if message.direction is to else None

    trial = Trial(plugin(on_version=on_version), handshake=False)
    core = trial.pipeline.core
    trial.to_upstream(version(client))
    assert core.protocol_version is None  # before the other version nothing is agreed on
    trial.to_client(version(upstream))
    return core.client.protocol_version, core.upstream.protocol_version


def version(number):
    """Return a `version` message."""
    unknown = NetAddress(0, bytes(16), 0)
    return Version(number, 1, 0, unknown, unknown, 1, b"/x/", 0, True)


@pytest.mark.parametrize(
    ("shown", "to", "client", "upstream", "agreed"),
    [
        (OLD, DOWN, NEW, NEW, (OLD, NEW)),
        (OLD, UP, NEW, NEW, (NEW, OLD)),
        (NEW, UP, OLD, NEW, (OLD, NEW)),
        (NEW, DOWN, NEW, OLD, (NEW, OLD)),
        (NEW, UP, NEW, OLD, (OLD, OLD)),
        (-1, DOWN, NEW, OLD, (NEW, OLD)),
        (-1, UP, OLD, NEW, (OLD, NEW)),
        (OLD, DOWN, -1, NEW, (OLD, NEW)),
        (OLD, UP, NEW, -1, (NEW, OLD)),
    ],
)
def test_the_version_of_each_leg_is_the_lower_of_what_both_ends_know(
    shown, to, client, upstream, agreed
):
    """A negative version is a huge one, as nodes read it."""
    assert version_shown(shown, to=to, client=client, upstream=upstream) == agreed


def test_versions_stay_as_negotiated_if_no_node_is_shown_another():
    """Nothing is set a second time, and a version that is bytes is not known."""
    for answer in (None, Raw(b"x")):
        trial = Trial(
            plugin(on_version=lambda *_, answer=answer: answer and Replace(answer)), handshake=False
        )
        core = trial.pipeline.core
        trial.to_upstream(version(NEW))
        trial.to_client(version(OLD))
        before = core.codec_to(UP)
        assert core.protocol_version == OLD
        trial.pipeline._note_version(UP, [])
        assert core.codec_to(UP) is before


def test_a_message_is_encoded_again_only_for_a_receiver_of_another_version():
    """What cannot be decoded is sent as it came."""
    pipeline, host = piped(plugin(on_ping=lambda *_: None))
    core = pipeline.core
    whole = Message.of(Ping(1), DOWN, core.codec_to(DOWN))
    bad = Message("ping", DOWN, frame(NETWORK.magic, "ping", bytes(3)), core.codec_to(DOWN))
    assert pipeline._framed(whole, UP) is whole
    core.set_versions(NEW, 60001)
    assert pipeline._framed(whole, UP).codec.protocol_version == 60001
    assert pipeline._framed(whole, UP).record == Ping(1)
    assert pipeline._framed(bad, UP) is bad
    assert pipeline._framed(Ping(2), UP).codec.protocol_version == 60001
    raw = Raw(b"x")
    assert pipeline._framed(raw, UP) is raw
    assert host.calls == []


def test_each_injected_message_counts_once():
    """10,000 may wait."""
    pipeline, host = piped(plugin(on_ping=lambda *_: Delay(1)))
    pipeline.receive(UP, PING, 1)
    pipeline.inject("P", UP, [Raw(b"x")] * 9_999)
    pipeline.inject("P", UP, [Raw(b"x")])
    with pytest.raises(OverflowError, match="10,000 messages wait"):
        pipeline.inject("P", UP, [Raw(b"x")])
    host.timers[0][1]()
    assert host.named("send") == [[UP, PING + 10_000 * b"x"]]
