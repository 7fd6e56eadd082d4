"""What plugins do to a session: every verdict, in order, and every way to fail."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcproxy.plugin import Close, Delay, Direction, Drop, Inject, Plugin, Raw, Replace
from lbcproxy.plugins.pipeline import CLOSED, MAX_BUFFERED_BYTES
from lbcproxy.testing import Trial
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.messages.keepalive import Ping, Pong

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
INV = Inv((InventoryVector(1, bytes(32)),))


def plugin(**hooks):
    """Make a plugin of functions."""
    return type("Tried", (Plugin,), hooks)()


def answering(*answers, command="ping"):
    """Make a plugin that gives verdicts in turn, then lets all pass."""
    left = list(answers)
    hook = {f"on_{command}": lambda self, session, message: left.pop(0) if left else None}
    return plugin(**hook)


def commands(messages):
    return [each.command for each in messages]


def nonces(messages):
    return [each.record.nonce for each in messages]


def test_none_lets_a_message_pass_as_it_came():
    """Byte for byte."""
    trial = Trial(answering(None))
    assert trial.to_upstream(Ping(1)) == "pass"
    assert trial.entries[-1].trail == ()
    assert nonces(trial.upstream_got) == [1]


def test_a_dropped_message_is_not_missed_by_its_neighbours():
    """And it is said who dropped it, and why."""
    trial = Trial(answering(Drop("quiet")))
    assert trial.to_upstream(Ping(1)) == "drop"
    assert trial.to_upstream(Ping(2), Pong(3)) == "pass"
    assert nonces(trial.upstream_got) == [2, 3]
    assert trial.entries[0].trail == ("Tried: drop: quiet",)


def test_a_replaced_message_is_framed_again():
    """Length and checksum are right; several come in order."""
    new = answering(Replace(Ping(7), Pong(8), why="better"))
    trial = Trial(new)
    assert trial.to_upstream(Ping(1)) == "rewrite"
    assert [(each.command, each.error) for each in trial.upstream_got] == [
        ("ping", None),
        ("pong", None),
    ]
    [entry] = trial.entries
    assert entry.trail == ("Tried: rewrite ping 8 B -> ping 8 B, pong 8 B: better",)
    assert entry.message.record.nonce == 1


def test_a_message_changed_in_a_field_keeps_the_rest():
    """`message.replace` is the usual way."""

    def on_ping(self, session, message):
        return Replace(message.replace(nonce=message.record.nonce + 1))

    trial = Trial(plugin(on_ping=on_ping))
    assert trial.to_client(Ping(41)) == "rewrite"
    assert nonces(trial.client_got) == [42]


def test_raw_bytes_go_out_as_they_are():
    """Malformed on purpose."""
    bad = bytearray(frame(Trial().network.magic, "ping", bytes(8)))
    bad[20] ^= 1
    trial = Trial(answering(Replace(Raw(bytes(bad)))))
    trial.to_upstream(Ping(1))
    assert trial.bytes_to(UP) == bytes(bad)
    assert "raw B" in trial.entries[0].trail[0]


def test_a_delayed_message_holds_what_is_after_it_in_its_direction_alone():
    """Order is kept; the other direction goes on."""
    trial = Trial(answering(Delay(2, "later")))
    assert trial.to_upstream(Ping(1), Ping(2), Pong(3)) == "held"
    trial.to_client(Pong(9))
    assert nonces(trial.client_got) == [9]
    trial.advance(1.9)
    assert trial.upstream_got == []
    trial.advance(0.2)
    assert nonces(trial.upstream_got) == [1, 2, 3]
    delayed = next(each for each in trial.entries if each.verdict == "delay")
    assert delayed.trail == ("Tried: delay 2 s: later",)


def test_an_injection_comes_after_or_before_the_message():
    """Each is an entry of its own."""
    trial = Trial(answering(Inject(Pong(2)), Inject(Pong(3), before=True)))
    trial.to_upstream(Ping(1), Ping(4))
    assert nonces(trial.upstream_got) == [1, 2, 3, 4]
    assert [each.verdict for each in trial.entries] == ["pass", "inject", "inject", "pass"]
    assert trial.entries[0].trail == ("Tried: inject pong 8 B ->",)


def test_an_injection_into_the_other_direction():
    """An answer in a node's place."""

    def on_ping(self, session, message):
        return [Drop("answered"), Inject(Pong(message.record.nonce), direction=DOWN)]

    trial = Trial(plugin(on_ping=on_ping))
    trial.to_upstream(Ping(5))
    assert trial.upstream_got == []
    assert nonces(trial.client_got) == [5]


def test_a_session_is_closed_after_the_message():
    """With the reason."""
    trial = Trial(answering(Close("enough")))
    trial.to_upstream(Ping(1))
    assert nonces(trial.upstream_got) == [1]
    assert trial.closed == "enough"


def test_an_injection_waits_for_the_end_of_a_long_message():
    """What passes in parts may not be broken."""
    kept = []
    trial = Trial(plugin(on_start=lambda self, session: kept.append(session)))
    block = frame(trial.network.magic, "block", bytes(200_000))
    for begin in range(0, len(block), 50_000):
        trial.to_client(block[begin : begin + 50_000])
        kept[0].inject(DOWN, Pong(begin))
    assert trial.bytes_to(DOWN)[: len(block)] == block
    assert commands(trial.client_got) == ["block", *["pong"] * 5]


def test_several_plugins_see_what_those_before_them_left():
    """And the trail has all of them in order."""
    first = type("First", (Plugin,), {"on_ping": lambda s, _, m: Replace(m.replace(nonce=2))})()
    seen = []

    def on_ping(self, session, message):
        seen.append(message.record.nonce)
        return Drop("no 2") if message.record.nonce == 2 else None

    second = type("Second", (Plugin,), {"on_ping": on_ping})()
    third = type("Third", (Plugin,), {"on_ping": lambda s, _, m: seen.append("never")})()
    trial = Trial(first, second, third)
    assert trial.to_upstream(Ping(1)) == "drop"
    assert seen == [2]
    assert trial.entries[0].trail == (
        "First: rewrite ping 8 B -> ping 8 B",
        "Second: drop: no 2",
    )


def test_both_hooks_of_a_message_are_asked():
    """The command's first, then the one for all; unless it is gone by then."""
    asked = []
    hooks = {
        "on_ping": lambda self, session, message: asked.append("ping"),
        "on_message": lambda self, session, message: asked.append(message.command),
    }
    trial = Trial(plugin(**hooks))
    asked.clear()  # the handshake
    trial.to_upstream(Ping(1), INV)
    assert asked == ["ping", "ping", "inv"]


def test_what_is_malformed_reaches_on_error():
    """As `message.error`, not as an exception."""
    seen = []
    trial = Trial(plugin(on_error=lambda self, session, message: seen.append(message.error)))
    bad = bytearray(frame(trial.network.magic, "ping", bytes(8)))
    bad[20] ^= 1
    trial.to_upstream(bytes(bad), Ping(1), frame(trial.network.magic, "inv", b"\xfe"))
    assert len(seen) == 2
    assert "checksum" in seen[0]
    assert len(trial.entries) == 3


def test_plugins_get_each_event_of_a_session_once():
    """Start, handshake, end."""
    calls = []
    hooks = {
        "on_start": lambda self, session: calls.append(("start", str(session.info.client))),
        "on_handshake": lambda self, session: calls.append(session.upstream.version.user_agent),
        "on_end": lambda self, session, why: calls.append(why),
    }
    trial = Trial(plugin(**hooks))
    trial.end("over")
    assert calls == [("start", "10.0.0.1:50000"), b"/upstream/", "over"]


def test_what_nobody_asks_for_is_neither_buffered_nor_decoded():
    """A run of others passes in one piece, a long message in parts."""
    trial = Trial(answering(Drop()))
    trial.to_client(frame(trial.network.magic, "block", bytes(100_000))[:90_000])
    assert len(trial.bytes_to(DOWN)) == 90_000


def test_what_is_asked_for_is_given_whole_however_long():
    """Known before its first byte."""
    sizes = []
    trial = Trial(plugin(on_block=lambda self, session, message: sizes.append(message.length)))
    block = frame(trial.network.magic, "block", bytes(100_000))
    trial.to_client(block[:90_000])
    assert trial.bytes_to(DOWN) == b""
    trial.to_client(block[90_000:])
    assert trial.bytes_to(DOWN) == block
    assert sizes == [100_000]


# Hooks that wait.


def test_a_hook_that_waits_holds_its_direction():
    """And decides in its time."""

    async def on_ping(self, session, message):
        await session.sleep(1)
        return Drop() if message.record.nonce == 1 else None

    trial = Trial(plugin(on_ping=on_ping))
    assert trial.to_upstream(Ping(1), Pong(2), Ping(3)) == "held"
    trial.advance(1)
    assert nonces(trial.upstream_got) == [2]
    trial.advance(1)
    assert nonces(trial.upstream_got) == [2, 3]


@pytest.mark.parametrize(("policy", "passes"), [("open", True), (CLOSED, False)])
def test_a_hook_that_waits_for_ever_is_named_and_passed_over(policy, passes):
    """By the policy."""

    async def on_ping(self, session, message):
        await session.sleep(1e9)

    trial = Trial(plugin(on_ping=on_ping), policy=policy, limit=5)
    trial.to_upstream(Ping(1), Pong(2))
    trial.advance(5)
    assert nonces(trial.upstream_got) == ([1, 2] if passes else [2])
    [complaint] = trial.complaints
    assert complaint.startswith("plugin Tried: on_ping failed: no answer in 5 s")


def test_nothing_happens_after_the_end_of_a_session():
    """A hook that still waits is given up in silence."""

    async def on_ping(self, session, message):
        await session.sleep(100)

    trial = Trial(plugin(on_ping=on_ping))
    trial.to_upstream(Ping(1))
    trial.pipeline.cut(1)
    trial.end()
    trial.advance(200)
    assert trial.bytes_to(UP) == b""
    assert trial.complaints == []
    [entry] = trial.entries
    assert (entry.verdict, entry.trail) == ("drop", ("the session broke off",))


def test_an_end_waits_for_what_is_held():
    """A node that says goodbye has all of its messages delivered."""
    trial = Trial(answering(Delay(3)))
    trial.to_upstream(Ping(1))
    trial.pipeline.finish(UP, 1)
    assert trial.ended == set()
    trial.advance(3)
    assert nonces(trial.upstream_got) == [1]
    assert trial.ended == {UP}


# Hooks that fail.


@pytest.mark.parametrize(("policy", "passes"), [("open", True), (CLOSED, False)])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ZeroDivisionError("oops"), "oops"),
        ("drop", "'drop' is not a verdict"),
        (Drop, "is not a verdict"),
        ([None, 7], "7 is not a verdict"),
        ([Drop(), Drop()], "exclude each other"),
        (Replace(Ping(2**70)), "nonce"),
    ],
)
def test_a_plugin_that_fails_is_named_and_the_others_go_on(policy, passes, answer, words):
    """Raising, nonsense, verdicts that cannot be, records that cannot be encoded."""

    def on_ping(self, session, message):
        if isinstance(answer, Exception):
            raise answer
        return answer

    seen = []
    other = type("Other", (Plugin,), {"on_pong": lambda s, _, m: seen.append(m.record.nonce)})()
    trial = Trial(plugin(on_ping=on_ping), other, policy=policy)
    trial.to_upstream(Ping(1), Pong(2))
    assert nonces(trial.upstream_got) == ([1, 2] if passes else [2])
    assert seen == [2]
    [complaint] = trial.complaints
    assert complaint.startswith("plugin Tried: on_ping failed: ")
    assert words in complaint


def test_a_plugin_that_blocks_is_timed_named_and_asked_no_more(monkeypatch):
    """It cannot be interrupted; it can be left out."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def on_ping(self, session, message):
        now[0] += 1

    trial = Trial(plugin(on_ping=on_ping))
    for nonce in range(5):
        trial.to_upstream(Ping(nonce))
    assert now == [3.0]
    assert len(trial.complaints) == 4
    assert "took 1.0 s" in trial.complaints[0]
    assert trial.complaints[-1] == "plugin Tried: is disabled"
    assert nonces(trial.upstream_got) == list(range(5))


def test_a_plugin_that_floods_is_bounded():
    """What nobody reads is not kept without end."""

    def on_ping(self, session, message):
        for _ in range(1000):
            session.inject(UP, Raw(bytes(1 << 20)))

    trial = Trial(plugin(on_ping=on_ping))
    trial.full.add(UP)
    trial.to_upstream(Ping(1))
    assert len(trial.bytes_to(UP)) < MAX_BUFFERED_BYTES + (2 << 20)
    assert "more is injected than is read" in trial.complaints[0]


def test_answers_that_nobody_reads_are_bounded():
    """A node that asks and does not read would have us keep all answers."""

    def on_ping(self, session, message):
        return [Drop(), Inject(Raw(bytes(1 << 20)), direction=DOWN)]

    trial = Trial(plugin(on_ping=on_ping))
    trial.full.add(DOWN)
    trial.to_upstream(*map(Ping, range(40)))
    assert len(trial.bytes_to(DOWN)) <= MAX_BUFFERED_BYTES
    assert "more is injected than is read" in trial.complaints[0]
    trial.full.clear()
    trial.to_upstream(Ping(1))
    assert len(trial.bytes_to(DOWN)) > 16 << 20


@pytest.mark.slow
def test_injections_of_a_long_session_are_no_flood():
    """Only what waits counts."""
    kept = []
    hooks = {
        "on_start": lambda self, session: kept.append(session),
        "on_ping": lambda self, session, message: Delay(1),
    }
    trial = Trial(plugin(**hooks))
    for _ in range(40):
        trial.to_upstream(Ping(1))
        kept[0].inject(UP, Raw(bytes(1 << 20)))
        trial.advance(1)
    assert len(trial.bytes_to(UP)) == 40 * ((1 << 20) + 32)


def test_what_a_plugin_wanted_later_is_named_if_it_fails():
    """Only the log can report it."""
    hooks = {"on_start": lambda self, session: session.later(5, lambda: 1 / 0)}
    trial = Trial(plugin(**hooks))
    trial.advance(5)
    assert trial.complaints[0].startswith("plugin Tried: a function called later failed: division")


def test_a_plain_hook_that_gives_a_coroutine_is_named():
    """It would wait for ever."""

    async def later():
        return Drop()

    trial = Trial(plugin(on_ping=lambda self, session, message: later()))
    assert trial.to_upstream(Ping(1)) == "pass"
    assert "async def" in trial.complaints[0]


# Everything else stays as it was.


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_all_but_what_was_decided_about_is_byte_exact_and_in_order(data):
    """Whatever passes, however it is split."""
    magic = Trial().network.magic
    pieces = data.draw(
        st.lists(
            st.one_of(
                st.integers(0, 2**64 - 1).map(
                    lambda nonce: frame(magic, "ping", nonce.to_bytes(8, "little"))
                ),
                st.binary(max_size=60).map(lambda payload: frame(magic, "tx", payload)),
                st.binary(max_size=30).map(lambda payload: frame(magic, "zebra", payload)),
                st.just(frame(magic, "block", bytes(70_000))),
                st.binary(min_size=1, max_size=9).map(lambda junk: b"\x00" + junk),
            ),
            max_size=12,
        )
    )
    count = [0]

    def on_ping(self, session, message):
        count[0] += 1
        if count[0] % 3 == 0:
            return Drop("each third")
        return Replace(message.replace(nonce=0)) if count[0] % 3 == 1 else None

    expected, number = [], 0
    for piece in pieces:
        if piece[4:8] == b"ping" and piece.startswith(magic):
            number += 1
            if number % 3 == 0:
                continue
            piece = frame(magic, "ping", bytes(8)) if number % 3 == 1 else piece
        expected.append(piece)
    trial = Trial(plugin(on_ping=on_ping))
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        trial.to_upstream(stream[begin:end])
    trial.end()
    assert trial.bytes_to(UP) == b"".join(expected)
    passed = [each for each in trial.entries if each.message is None or each.message.raw]
    assert all(each.verdict in ("pass", "drop", "rewrite") for each in passed)


def test_a_record_is_encoded_for_the_agreed_version():
    """An old node's ping has no nonce."""
    trial = Trial(answering(Inject(Ping(None)), command="pong"), protocol_version=60000)
    trial.to_upstream(frame(trial.network.magic, "pong", bytes(8)))
    assert trial.upstream_got[-1].length == 0


def test_each_leg_has_the_version_that_its_ends_agree_on():
    """A plugin shows the client an old node: what goes to it is encoded for that."""

    def on_version(self, session, message):
        if message.direction is DOWN:
            return Replace(message.replace(version=60000))
        return None

    hooks = {
        "on_version": on_version,
        "on_pong": lambda self, session, message: [
            Inject(Ping(None), direction=DOWN),
            Inject(Ping(5), direction=UP),
        ],
    }
    trial = Trial(plugin(**hooks))
    trial.to_client(Pong(1))
    assert [each.length for each in trial.client_got if each.command == "ping"] == [0]
    assert [each.record.nonce for each in trial.upstream_got] == [5]
    trial.to_upstream(frame(trial.network.magic, "ping", b""))
    assert trial.entries[-1].message.error is None  # the client speaks the old version
    assert (trial._core.client.protocol_version, trial._core.upstream.protocol_version) == (
        60000,
        trial.network.protocol_version,
    )


def test_the_old_name_of_the_addresses_warns():
    """`session.facts` still works, and says that it is `session.info`."""
    found = []
    trial = Trial(plugin(on_ping=lambda self, session, _: found.append(session)))
    trial.to_upstream(Ping(1))
    [session] = found
    with pytest.warns(DeprecationWarning, match=r"session\.facts is now session\.info") as warned:
        assert session.facts is session.info
    assert warned[0].filename == __file__
