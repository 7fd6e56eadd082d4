"""The connection around a replayed client: made, played on, and parted from in every way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.python.failure import Failure

from lbcproxy.capture import Recorder, open_capture
from lbcproxy.replay import (
    STEP,
    Conversation,
    Diff,
    IgnoredFields,
    ReplayFailed,
    load,
)
from lbcproxy.session import Direction
from lbcproxy.transport.frames import AcceptingTransport
from lbcproxy.transport.kind import Transport
from lbcproxy.wire.messages.handshake import VerAck
from lbcproxy.wire.messages.headers import Headers
from lbcproxy.wire.messages.keepalive import Ping
from tests.proxy.transports import Recording
from tests.replay.conversations import (
    BLOCKS,
    DOWN,
    HEADERS,
    NETWORK,
    TALK,
    UP,
    Line,
    raw_of,
    version,
    write,
)
from tests.replay.plays import Play


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("client") / "talk.pcapng", TALK)


@pytest.fixture
def conversation(path) -> Iterator[Conversation]:
    with load(path) as found:
        yield found


@pytest.fixture
def play(conversation) -> Play:
    return Play(conversation)


def test_a_conversation_is_played_to_its_end(play):
    """Then the connection is closed, and the report given."""
    play.begin()
    assert play.outcome == []
    play.through()
    report = play.part()
    assert report.same, str(report)
    assert play.wire.calls[-1] == "close"
    assert not play.wire.aborted


def test_what_is_missing_is_waited_for(play):
    """Its timer is the only thing that wakes the replay."""
    play.begin()
    play.received()
    play.say(version(2, 5, b"/node/"), VerAck())
    play.reactor.advance(9.9)
    assert play.received() == []
    play.reactor.advance(0.1)
    assert play.received() == ["getdata"]
    play.say(*BLOCKS[:3], TALK[14][1])
    play.received()
    play.say(BLOCKS[3])
    [difference] = play.part().differences
    assert difference.command == "headers"


def test_a_refused_connection_is_an_error_in_words(play):
    play.start()
    play.reactor.tcpClients[0][2].clientConnectionFailed(None, Failure(Refused(osError=111)))
    [failure] = play.outcome
    assert isinstance(failure.value, ReplayFailed)
    assert str(failure.value) == "10.0.0.1:18444: Connection refused"


def test_a_connection_that_does_not_come_about_is_not_waited_for_for_ever(play):
    play.start()
    play.reactor.advance(10)
    [failure] = play.outcome
    assert str(failure.value) == "10.0.0.1:18444: no connection in 10 s"


@pytest.mark.parametrize(
    ("end", "words"),
    [("finish", "the node closed the connection"), ("reset", "the node reset the connection")],
)
def test_a_node_that_leaves_early_is_a_divergence(play, end, words):
    play.begin()
    play.received()
    play.say(version(2, 5, b"/node/"), VerAck())
    getattr(play.wire, end)()
    report = play.part()
    [difference] = [each for each in report.differences if each.kind == "closed"]
    assert difference.words.startswith(f"{words} after message 5, getheaders;")


def test_a_node_that_reads_nothing_is_not_flooded(tmp_path):
    """What is sent waits until the node has read what waits."""
    lines: list[Line] = [*TALK[:4], *((UP, BLOCKS[0]) for _ in range(2_000))]
    with load(write(tmp_path / "flood.pcapng", lines)) as conversation:
        play = Play(conversation)
        play.begin()
        play.received()
        play.wire.arrive(b"".join(raw_of((DOWN, each[1])) for each in TALK[1:3]))
        assert len(play.wire.waiting) < 70_000
        sent = 0
        while blocks := play.received().count("block"):
            sent += blocks
        assert sent == 2_000
        assert play.part().same


def test_a_stop_ends_it_where_it_is(play):
    play.begin()
    play.received()
    play.client.stop()
    report = play.part()
    assert report.notices == ("5 of the client's messages were not sent",)


def test_a_stop_before_the_connection_ends_it_too(play):
    play.start()
    play.client.stop()
    [report] = play.outcome
    assert report.notices == ("6 of the client's messages were not sent",)


def test_a_deadline_ends_it(play):
    """For tests that must not hang."""
    play.begin(deadline=3.0)
    play.received()
    play.reactor.advance(3)
    assert play.part().notices


def test_a_node_that_does_not_read_the_last_words_is_cut_off(play):
    play.begin()
    play.through()
    assert play.wire.connected
    play.client.stop()
    play.wire.waiting = b"left"
    play.reactor.advance(5)
    play.reactor.advance(0)
    assert play.wire.aborted
    assert play.outcome


def test_step_by_step_it_asks_before_each_message(conversation):
    """Once for each, whatever the node says in the meantime."""
    shown: list[str] = []
    play = Play(conversation, pace=STEP, ask=lambda message: shown.append(message.command))
    play.begin()
    assert play.received() == []
    assert shown == ["version"]
    play.client.step()
    assert play.received() == ["version"]
    play.say(version(2, 5, b"/node/"), VerAck(), Ping(3))
    assert shown == ["version", "verack"]
    play.client.stop()
    play.part()


def test_the_live_conversation_can_be_recorded_and_compared_again(conversation, path, tmp_path):
    """The comparison of both captures says the same as the report."""
    out = tmp_path / "out.pcapng"
    recording = Recording()
    with out.open("wb") as file:
        play = Play(conversation, observers=[Recorder(file.write, network=NETWORK.id), recording])
        play.begin()
        play.received()
        play.say(version(2, 6, b"/node/"), VerAck())
        play.say(Headers(HEADERS[:3]))
        play.say(*BLOCKS[:3], TALK[14][1])
        play.received()
        play.say(BLOCKS[3])
        report = play.part()
    assert report.count == 2
    again = Diff(open_capture(path), open_capture(out), IgnoredFields()).run()
    assert again.differences == report.differences
    assert recording.events[0] == ("started",)
    assert recording.summaries[0].why == "played to the end"
    assert {entry.direction for entry in open_capture(out)} == set(Direction)


def test_a_defect_is_not_a_divergence(conversation):
    """What an observer raises comes out of `run`."""
    play = Play(conversation, observers=[Recording(fails_at="started")])
    play.begin()
    [failure] = play.outcome
    assert isinstance(failure.value, RuntimeError)
    play.reactor.advance(0)
    assert not play.wire.connected
    assert not play.reactor.getDelayedCalls()


# Encrypted connections.


class EncryptedPlay(Play):
    """A replay to a node that encrypts, if it is asked to begin."""

    def __init__(self, conversation: Conversation, **options: Any) -> None:
        super().__init__(conversation, **{"transport": Transport.V2, **options})
        self.node = AcceptingTransport(NETWORK.magic)
        self.recording = Recording()

    def encrypt(self) -> bytes:
        """Read what came, and answer; return the frames."""
        self.wire.read()
        data, self.wire.got = self.wire.got, b""
        received = self.node.receive(data)
        self.wire.arrive(received.output)
        return received.frames


@pytest.fixture
def encrypted(conversation) -> EncryptedPlay:
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    return EncryptedPlay(conversation)


def test_nothing_is_said_before_the_keys_are_agreed(encrypted):
    """Then all of it is encrypted."""
    encrypted.begin()
    assert encrypted.client.script.position == 0
    assert encrypted.encrypt() == b""
    assert encrypted.client.script.position > 0
    assert b"version" in encrypted.encrypt()
    encrypted.client.stop()
    encrypted.part()


def test_a_packet_that_cannot_be_decrypted_ends_the_replay(encrypted):
    """The report says why."""
    encrypted.begin()
    encrypted.encrypt()
    encrypted.encrypt()
    packet = bytearray(encrypted.node.send(raw_of((DOWN, version(2, 5)))))
    packet[-1] ^= 1
    encrypted.wire.arrive(bytes(packet))
    report = encrypted.part()
    assert "encrypted transport: packet 2, at byte " in str(report)


@pytest.mark.parametrize("how", ["closes", "resets", "is silent"])
@pytest.mark.parametrize("transport", ["v2", "auto"])
def test_a_node_that_does_not_encrypt(conversation, how: str, transport: str):
    """Is tried again without encryption if that was left open."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    play = Play(conversation, transport=Transport(transport))
    play.begin()
    if how == "closes":
        play.wire.finish()
        play.wire.read()
    elif how == "resets":
        play.wire.reset()
    else:
        play.reactor.advance(9.9)
        assert play.outcome == []
        assert len(play.reactor.tcpClients) == 1
        play.reactor.advance(0.1)
        play.reactor.advance(0)
    if transport == "auto":
        assert play.outcome == []
        play.accept()
        play.through()
        assert play.part().same
    else:
        [failure] = play.outcome
        assert isinstance(failure.value, ReplayFailed)
        assert str(failure.value) == "10.0.0.1:18444: it does not encrypt (BIP324)"
        assert not play.reactor.getDelayedCalls()


def test_a_replay_is_stopped_while_it_waits_for_the_keys(encrypted):
    """Its report is empty, and nothing is tried again."""
    encrypted.begin()
    encrypted.client.stop()
    report = encrypted.part()
    assert report.live == 0
    assert len(encrypted.reactor.tcpClients) == 1
