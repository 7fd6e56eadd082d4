"""What a recorded client does next: when it speaks, what is fresh, what it waits for."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lbcproxy.replay import STEP, ComparisonReport, IgnoredFields, Pace, load, parse_pace
from lbcproxy.replay.as_client.script import ClientScript
from lbcproxy.session import Entry
from lbcproxy.wire.messages.handshake import VerAck
from lbcproxy.wire.messages.headers import Headers
from lbcproxy.wire.messages.keepalive import FeeFilter, Ping, Pong
from tests.replay.conversations import (
    BLOCKS,
    DOWN,
    HEADERS,
    START,
    TALK,
    UP,
    header,
    missing,
    raw_of,
    version,
    write,
)

FAREWELL = 1_000
"""The nonces that are made begin here."""


class Stage:
    """A script, and the node it is played to."""

    def __init__(self, path: Path, *ignore: str, **options: Any) -> None:
        self.conversation = load(path)
        nonces = iter(range(FAREWELL, 2 * FAREWELL))
        self.script = ClientScript(
            self.conversation, IgnoredFields(ignore), nonce=lambda: next(nonces), **options
        )
        self.now = 0.0
        self.sent: list[Entry] = []
        self.script.begin(self.now)
        self.continue_unsolicited()

    @property
    def time_ns(self) -> int:
        return START + round(self.now * 1e9)

    @property
    def commands(self) -> list[str]:
        """What was sent so far."""
        return [each.command for each in self.sent]

    def say(self, *said: Any) -> list[str]:
        """Have the node say something; return what is sent then."""
        for each in said:
            self.hear(raw_of((DOWN, each)))
        return self.continue_unsolicited()

    def hear(self, data: bytes) -> None:
        self.script.receive(data, self.now, self.time_ns)

    def continue_unsolicited(self) -> list[str]:
        """Send what is to be sent."""
        before = len(self.sent)
        while deliveries := self.script.send(self.now, self.time_ns):
            self.sent += [entry for each in deliveries for entry in each.entries]
        return self.commands[before:]

    def wait(self) -> list[str]:
        """Let time pass until the script wants to be woken."""
        deadline = self.script.deadline(self.now)
        assert deadline is not None
        self.now = deadline
        return self.continue_unsolicited()

    def part(self) -> ComparisonReport:
        """Answer the farewell, and return the report."""
        ping = self.sent[-1].message
        assert ping is not None
        assert isinstance(ping.record, Ping)
        assert self.say(Pong(ping.record.nonce)) == []
        assert self.script.done
        return self.script.report()

    def handshake(self) -> list[str]:
        """Do the node's part of it."""
        return self.say(version(9, height=5, agent=b"/node/"), VerAck())


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("script") / "talk.pcapng", TALK)


@pytest.fixture
def play() -> Iterator[Callable[..., Stage]]:
    """Make stages, and let go of them in the end."""
    stages: list[Stage] = []

    def make(*arguments: Any, **options: Any) -> Stage:
        stages.append(Stage(*arguments, **options))
        return stages[-1]

    yield make
    for each in stages:
        each.conversation.close()


@pytest.fixture
def stage(path, play) -> Stage:
    return play(path)


def answers(*, after: int = 0) -> Iterator[Any]:
    """What the recorded node says, in order."""
    return (said for direction, said in TALK[after:] if direction is DOWN)


def test_each_message_is_sent_when_the_answers_before_it_are_there(stage):
    """And not before."""
    assert stage.commands == ["version"]
    assert stage.say(version(9, height=5, agent=b"/node/")) == []
    assert stage.say(VerAck()) == ["verack", "getheaders"]
    assert stage.say(Ping(5)) == ["pong"]
    assert stage.say(Headers(HEADERS)) == ["getdata"]
    assert stage.say(*BLOCKS[1:3]) == []
    assert stage.say(BLOCKS[0]) == ["ping"]
    ping = stage.sent[-1].message.record
    assert stage.say(TALK[14][1]) == []
    assert stage.say(Pong(ping.nonce)) == ["getdata"]
    assert stage.say(BLOCKS[3]) == ["ping"]
    report = stage.part()
    assert report.same, str(report)
    assert (report.recorded, report.live) == (13, 13)


def test_nonces_and_the_time_are_fresh_and_all_else_is_as_recorded(stage):
    """Byte for byte."""
    stage.handshake()
    stage.say(*answers(after=5))
    stage.say(Pong(FAREWELL + 1))
    own = stage.sent[0].message.record
    assert own == version(FAREWELL, time=START // 1_000_000_000)
    sent = [each.raw for each in stage.sent if each.command not in ("version", "ping", "pong")]
    recorded = [
        raw_of(line)
        for line in TALK
        if line[0] is UP and line[1].command not in ("version", "ping", "pong")
    ]
    assert sent == recorded[: len(sent)]
    assert len(sent) == 4
    pings = [each.message.record.nonce for each in stage.sent if each.command == "ping"]
    assert pings == [FAREWELL + 1, FAREWELL + 2]


def test_pings_of_the_node_are_answered_and_recorded_pongs_are_not_sent(stage):
    """However many there are."""
    stage.handshake()
    assert stage.say(Ping(70), Ping(71)) == ["pong", "pong"]
    assert [each.message.record.nonce for each in stage.sent[-2:]] == [70, 71]
    assert stage.say(Headers(HEADERS)) == ["getdata"]


def test_a_pong_that_nobody_asked_for_is_sent(tmp_path, play):
    """A client that misbehaved does so again."""
    talk = [*TALK[:4], (UP, Pong(99)), (DOWN, FeeFilter(1))]
    stage = play(write(tmp_path / "odd.pcapng", talk))
    assert stage.handshake() == ["verack", "pong"]
    assert stage.say(FeeFilter(1)) == ["ping"]
    assert stage.part().same


# What differs.


def test_an_answer_that_does_not_come_is_waited_for_and_then_given_up(stage):
    """It goes on without."""
    stage.handshake()
    assert stage.script.deadline(stage.now) == 10.0
    stage.now = 9.9
    assert stage.continue_unsolicited() == []
    assert stage.wait() == ["getdata"]
    assert stage.now == 10.0
    assert stage.say(*BLOCKS[:3]) == ["ping"]
    stage.say(Pong(stage.sent[-1].message.record.nonce), TALK[14][1], BLOCKS[3])
    [difference] = stage.part().differences
    assert (difference.kind, difference.command) == ("missing", "headers")
    assert difference.recorded.number == 6


def test_what_came_too_late_is_said_to_be_late(stage):
    """Not to be missing."""
    stage.handshake()
    stage.wait()
    stage.say(Headers(HEADERS), *BLOCKS[:3])
    stage.say(Pong(stage.sent[-1].message.record.nonce), TALK[14][1], BLOCKS[3])
    [difference] = stage.part().differences
    assert (difference.kind, difference.command) == ("late", "headers")


def test_time_begins_again_with_each_thing_that_comes(stage):
    """A long answer may take long, if it goes on coming."""
    stage.handshake()
    stage.say(Headers(HEADERS))
    for block in BLOCKS[:2]:
        stage.now += 9
        assert stage.say(block) == []
    assert stage.script.deadline(stage.now) == 28.0


def test_another_answer_is_an_answer(stage):
    """Anyone who gets other headers need not wait for the recorded ones."""
    stage.handshake()
    others = tuple(header(number) for number in range(11, 14))
    assert stage.say(Headers(others)) == ["getdata"]
    assert stage.say(missing(*HEADERS[:3])) == ["ping"]
    stage.say(Pong(stage.sent[-1].message.record.nonce), TALK[14][1], BLOCKS[3])
    reported = [(each.kind, each.command) for each in stage.part().differences]
    assert reported[0] == ("different", "headers")
    assert reported.count(("missing", "block")) == 3
    assert reported.count(("extra", "notfound")) == 1


def test_what_is_ignored_is_not_waited_for(path, play):
    """Nor reported."""
    stage = play(path, "headers")
    stage.handshake()
    assert stage.commands[-2:] == ["getheaders", "getdata"]


def test_what_is_said_too_much_is_reported(stage):
    """All that comes before the last pong counts."""
    stage.handshake()
    stage.say(Headers(HEADERS), *BLOCKS[:3])
    stage.say(Pong(stage.sent[-1].message.record.nonce), TALK[14][1], BLOCKS[3], FeeFilter(3))
    [difference] = stage.part().differences
    assert (difference.kind, difference.command) == ("extra", "feefilter")


def test_a_node_that_answers_no_pings_is_reported(stage):
    """It is waited for once for each."""
    stage.handshake()
    stage.say(Headers(HEADERS), *BLOCKS[:3])
    assert stage.say(TALK[14][1]) == []
    assert stage.wait() == ["getdata"]
    stage.say(BLOCKS[3])
    assert stage.commands[-1] == "ping"
    stage.wait()
    assert stage.script.done
    [difference] = stage.script.report().differences
    assert (difference.kind, difference.command) == ("missing", "pong")


def test_a_node_that_closes_early_is_reported_with_the_message_it_closed_after(stage):
    """And how much was left."""
    stage.handshake()
    stage.say(Headers(HEADERS))
    stage.script.closed(stage.time_ns, "the node closed the connection")
    [difference] = [each for each in stage.script.report().differences if each.kind == "closed"]
    assert difference.words == (
        "the node closed the connection after message 9, getdata; of the messages recorded after"
        " it 2 were not sent, 6 did not arrive"
    )


def test_a_node_that_closes_when_all_is_said_has_said_all(stage):
    """The recorded one may have done so too."""
    stage.handshake()
    stage.say(Headers(HEADERS), *BLOCKS[:3])
    stage.say(Pong(stage.sent[-1].message.record.nonce), TALK[14][1], BLOCKS[3])
    stage.script.closed(stage.time_ns, "the node closed the connection")
    assert stage.script.report().same


def test_a_stop_leaves_the_rest(stage):
    """What was played is compared."""
    stage.handshake()
    stage.script.stop()
    report = stage.script.report()
    assert report.notices == ("3 of the client's messages were not sent",)


# Paces.


def test_at_recorded_times_nothing_is_waited_for(path, play):
    """One second of ours is as many as the pace says."""
    stage = play(path, pace=Pace(2.0), timeout=1.0)
    times = {}
    while not stage.script.done:
        for command in stage.wait():
            times.setdefault(command, stage.now)
    assert times == {"verack": 1.5, "getheaders": 2.0, "getdata": 4.0, "ping": 6.0}
    report = stage.script.report()
    assert report.differences[0].command == "version"


def test_step_by_step_each_message_waits_for_a_word(path, play):
    """It is shown before it is sent."""
    stage = play(path, pace=STEP)
    for command in ("version", "verack", "getheaders", "getdata"):
        assert stage.script.next_step.command == command
        assert stage.continue_unsolicited() == []
        assert stage.script.deadline(stage.now) is None
        stage.script.step()
        assert stage.continue_unsolicited() == [command]
    assert stage.say(Ping(5)) == ["pong"]


@pytest.mark.parametrize(
    ("text", "pace"),
    [("recorded", Pace(1.0)), ("2", Pace(2.0)), ("0.5x", Pace(0.5)), ("step", STEP)],
)
def test_paces_are_read(text, pace):
    assert parse_pace(text) == pace


@pytest.mark.parametrize("text", ["", "fast", "0", "-1", "1e999", "x"])
def test_what_is_not_a_pace_is_refused(text):
    with pytest.raises(ValueError, match="is not a pace"):
        parse_pace(text)


# Whatever the node's timing.


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1 << 32))
def test_the_recorded_answers_are_no_divergence_however_they_come(path, seed):
    """Cut anywhere, any time later, with pings between them: each when it has been asked for."""
    chance = random.Random(seed)
    stage = Stage(path)
    left = [turn for turn in stage.conversation.turns if turn.command not in ("ping", "pong")]
    answered: set[int] = set()
    asked = 0
    while not stage.script.done:
        own = sum(each.command not in ("ping", "pong") for each in stage.sent) - asked
        stream = b""
        while left and (own or left[0].direction is DOWN):
            turn = left.pop(0)
            own -= turn.direction is UP
            asked += turn.direction is UP
            if turn.direction is DOWN:
                stream += stage.conversation.raw(turn)
            if chance.random() < 0.2:
                stream += raw_of((DOWN, Ping(chance.getrandbits(64))))
        pings = {e.message.record.nonce for e in stage.sent if e.command == "ping"}
        stream += b"".join(raw_of((DOWN, Pong(nonce))) for nonce in pings - answered)
        answered |= pings
        while stream:
            cut = chance.randint(1, len(stream))
            stage.now += chance.uniform(0, 9)
            stage.hear(stream[:cut])
            stream = stream[cut:]
        stage.continue_unsolicited()
    assert stage.script.report().same
    stage.conversation.close()
