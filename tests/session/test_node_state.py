"""Tests of what is known of a node from what it sent."""

import msgspec
import pytest

from lbcproxy.session import Message, NodeState, Stage
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame, unpack
from tests.session.frames import DOWN, NETWORK, NOW, UP, broken, ping, session, verack, version


def message(raw: bytes, error: str | None = None) -> Message:
    """A frame as the message that a session makes of it."""
    return Message(unpack(raw).command, UP, raw, Codec(NETWORK), error=error)


def after(*messages: Message) -> NodeState:
    """A side that has sent these."""
    side = NodeState()
    for each in messages:
        side.see(each)
    return side


@pytest.mark.parametrize(
    ("sent", "stage"),
    [
        ([], Stage.NEW),
        ([ping()], Stage.NEW),
        ([verack()], Stage.NEW),
        ([version()], Stage.VERSION_SEEN),
        ([version(), version()], Stage.VERSION_SEEN),
        ([version(), ping()], Stage.VERSION_SEEN),
        ([verack(), version()], Stage.VERSION_SEEN),
        ([version(), verack()], Stage.READY),
        ([version(), ping(), verack()], Stage.READY),
        ([version(), verack(), version(), verack()], Stage.READY),
    ],
)
def test_the_stage_follows_what_was_sent(sent: list[bytes], stage: Stage):
    """A tap knows how far a handshake is, and takes no offence at what nodes send."""
    assert after(*map(message, sent)).stage is stage


def test_the_first_version_counts():
    """Nodes refuse a second one, so it changes nothing between them."""
    side = after(message(version(70013)), message(version(209)))
    assert side.version is not None
    assert side.version.version == 70013


@pytest.mark.parametrize(
    "bad",
    [
        message(version()[: 24 + 30]),
        message(broken(version()), "checksum is 00000000, should be something else"),
    ],
)
def test_a_version_that_no_node_would_take_is_none(bad: Message):
    """Its numbers are worth nothing; the sound one after it counts."""
    side = after(bad)
    assert side.stage is Stage.NEW
    assert side.version is None
    side.see(message(version()))
    assert side.stage is Stage.VERSION_SEEN


@pytest.mark.parametrize(
    ("bad", "stage"),
    [
        (message(broken(verack()), "checksum is 00000000, should be 5df6e0e2"), Stage.VERSION_SEEN),
        (message(verack() + b"x", "1 bytes, at most 0 allowed for verack"), Stage.READY),
    ],
    ids=["checksum", "longer"],
)
def test_a_verack_that_no_node_would_take_is_none(bad: Message, stage: Stage):
    """Nodes drop what has a wrong checksum; Core takes one that is too long."""
    side = after(message(version()), bad)
    assert side.stage is stage
    side.see(message(verack()))
    assert side.stage is Stage.READY


def test_statistics_contain_what_the_node_said_about_itself():
    """The console and later the metrics show these."""
    side = after(message(version(user_agent=b"/LBRY:1/", services=13, relay=False)))
    statistics = side.statistics()
    assert statistics.stage is Stage.VERSION_SEEN
    assert statistics.version == 70013
    assert statistics.services == 13
    assert statistics.user_agent == b"/LBRY:1/"
    assert statistics.start_height == 300
    assert statistics.relay is False


def test_statistics_of_a_silent_node_are_empty():
    """Nothing known is None, not 0: a height of 0 is a height."""
    statistics = NodeState().statistics()
    assert statistics.stage is Stage.NEW
    assert statistics.version is statistics.services is statistics.user_agent is None
    assert statistics.start_height is statistics.relay is None
    assert (statistics.bytes, statistics.messages, statistics.commands) == (0, 0, {})


def test_messages_are_counted_by_command():
    """Bad ones too: they passed."""
    side = after(*[message(ping())] * 3, message(broken(ping()), "bad"), message(verack()))
    assert side.statistics().commands == {"ping": 4, "verack": 1}
    assert side.statistics().messages == 5


def test_statistics_do_not_change():
    """Whoever keeps a summary has the numbers of its moment."""
    side = after(message(ping()))
    statistics = side.statistics()
    side.see(message(ping()))
    assert statistics.commands == {"ping": 1}
    with pytest.raises(AttributeError):
        statistics.messages = 0  # type: ignore[misc]
    assert msgspec.structs.asdict(side.statistics())["messages"] == 2


def test_statistics_have_the_version_that_was_agreed():
    """It is that of both nodes; what each advertised is another number."""
    core = session()
    core.receive(UP, version(70013), NOW)
    assert core.client.statistics().protocol_version is None
    core.receive(DOWN, version(209), NOW)
    assert core.client.statistics().protocol_version == 209
    assert core.upstream.statistics().protocol_version == 209
    assert core.client.statistics().version == 70013


def test_statistics_of_a_node_whose_peer_is_not_ready():
    """It has said all, but the two cannot talk; before that, nothing changes."""
    ready = after(message(version()), message(verack())).statistics()
    assert ready.stage is Stage.READY
    assert ready.not_ready() == msgspec.structs.replace(ready, stage=Stage.VERACK_SEEN)
    early = after(message(version())).statistics()
    assert early.not_ready() == early


@pytest.mark.parametrize("one_by_one", [False, True])
def test_commands_that_a_node_makes_up_are_counted_together(one_by_one: bool):
    """It may make up millions; a hundred are kept by name."""
    core = session(buffered_commands=None if one_by_one else frozenset())
    for number in range(5000):
        core.receive(UP, frame(NETWORK.magic, f"zz{number}", b""), NOW)
    core.receive(UP, ping() + frame(NETWORK.magic, "feature", b""), NOW)
    core.receive(UP, frame(NETWORK.magic, "zz99", b""), NOW)
    known = core.client.statistics().commands
    assert len(known) == 103
    assert (known["(others)"], known["ping"], known["feature"]) == (4900, 1, 1)
    assert (known["zz98"], known["zz99"]) == (1, 2)
