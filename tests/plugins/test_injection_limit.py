"""What plugins inject into a session is bounded, whatever they use, and a rejection is reported."""

import pytest

from lbcproxy.plugin import Delay, Drop, Inject, Plugin, Raw, Replace
from lbcproxy.plugins.delivery_queue import DeliveryQueue, QueuedDelivery
from lbcproxy.plugins.injection_limit import MAX_BYTES, MAX_MESSAGES, InjectionLimit
from lbcproxy.plugins.loader import PluginFile, PluginSpec
from lbcproxy.plugins.outcome import Outcome
from lbcproxy.plugins.pipeline import CLOSED
from lbcproxy.proxy import Plugins
from lbcproxy.session import Delivery, Direction
from lbcproxy.testing import Trial
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.keepalive import Ping
from tests.proxy.transports import NETWORK

UP, DOWN = Direction
MUCH = Raw(bytes(1 << 20))
PING = frame(NETWORK.magic, "ping", bytes(8))


class Answering(Plugin):
    """Answers each ping with the same verdicts."""

    def __init__(self, *verdicts):
        self.verdicts = list(verdicts)

    def on_ping(self, session, message):
        return self.verdicts


def kept_up() -> InjectionLimit:
    """Return the limit of a receiver that did not read for some time, and then did."""
    limit = InjectionLimit(DeliveryQueue())
    limit.sent([queued(100)], full=True)
    limit.sent([queued(100)], full=False)
    return limit


def queued(size: int) -> QueuedDelivery:
    """Return one injected message of a size."""
    return QueuedDelivery([Delivery(b"", (), bytes(size))], injected=1)


def test_the_limit_is_16_mib_and_10_000_messages():
    """Exactly that much may wait, of what is queued and of what was sent and not read."""
    size, messages = 16 * 1024 * 1024, 10_000
    for each in (InjectionLimit(DeliveryQueue()), kept_up()):
        each.check(size, messages, full=True)
        with pytest.raises(OverflowError, match="than is read: 16 MiB wait"):
            each.check(size + 1, 1, full=True)
        with pytest.raises(OverflowError, match="than is read: 10,000 messages wait"):
            each.check(1, messages + 1, full=True)


def test_what_is_queued_and_what_was_not_read_add_up():
    """The second no longer counts once the receiver keeps up."""
    queue = DeliveryQueue()
    limit = InjectionLimit(queue)
    queue.inject(queued(1000))
    limit.sent([queued(100), queued(10)], full=True)
    limit.sent([queued(1)], full=True)
    limit.check(MAX_BYTES - 1111, MAX_MESSAGES - 4, full=True)
    for size, messages in ((MAX_BYTES - 1110, 0), (0, MAX_MESSAGES - 3)):
        with pytest.raises(OverflowError):
            limit.check(size, messages, full=True)
    limit.check(MAX_BYTES - 1000, MAX_MESSAGES - 1, full=False)
    limit.check(MAX_BYTES - 1000, MAX_MESSAGES - 1, full=True)


WAYS = {
    "after": [Inject(*[MUCH] * 10)],
    "before": [Inject(*[MUCH] * 10, before=True)],
    "several": [Inject(*[MUCH] * 5), Inject(*[MUCH] * 5, before=True)],
    "in place": [Replace(*[MUCH] * 10)],
    "grown": [Replace(Raw(bytes(10 << 20)))],
    "late": [Delay(1000), Inject(*[MUCH] * 10)],
    "and dropped": [Drop(), Inject(*[MUCH] * 10)],
}


@pytest.mark.parametrize("verdicts", WAYS.values(), ids=WAYS)
def test_what_verdicts_put_in_is_bounded_in_bytes(verdicts):
    """20 pings once took 4 GB: nothing checked whether they were read."""
    plugin = Answering(*verdicts)
    trial = Trial(plugin)
    trial.full.add(UP)
    for number in range(20):
        trial.to_upstream(Ping(number))
    held = trial.pipeline.buffered_bytes + len(trial.bytes_to(UP))
    assert held <= MAX_BYTES + 20 * len(PING)
    assert held >= 10 << 20  # some of it passed
    assert len(trial.complaints) == 19
    assert all("more is injected than is read" in each for each in trial.complaints)
    assert all("plugin Answering: on_ping failed" in each for each in trial.complaints)
    if verdicts is not WAYS["late"]:
        assert trial.entries[-1].verdict == "pass"  # as that of any plugin that fails


@pytest.mark.parametrize("verdicts", WAYS.values(), ids=WAYS)
def test_many_at_once_are_bounded_before_any_is_sent(verdicts):
    """All that one read brought is decided about before it goes on."""
    trial = Trial(Answering(*verdicts))
    trial.to_upstream(PING * 20)
    assert trial.pipeline.buffered_bytes + len(trial.bytes_to(UP)) <= MAX_BYTES + 20 * len(PING)
    assert len(trial.complaints) == 19


@pytest.mark.slow
def test_anyone_who_reads_gets_all_of_it():
    """The bound is of what nobody reads."""
    trial = Trial(Answering(Inject(*[MUCH] * 10)))
    for number in range(20):
        trial.to_upstream(Ping(number))
    assert trial.complaints == []
    assert len(trial.bytes_to(UP)) == 20 * (len(PING) + 10 * len(MUCH.raw))
    trial.full.add(UP)
    for number in range(3):
        trial.to_upstream(Ping(number))
    assert len(trial.complaints) == 2
    trial.full.discard(UP)
    trial.to_upstream(Ping(1))
    assert len(trial.complaints) == 2


def test_messages_are_bounded_as_well_as_bytes():
    """A million without a byte take memory too."""
    trial = Trial(Answering(Inject(*[Raw(b"x")] * 3_000)))
    trial.full.add(UP)
    for number in range(20):
        trial.to_upstream(Ping(number))
    injected = sum(each.verdict == "inject" for each in trial.entries)
    assert injected == MAX_MESSAGES // 3_000 * 3_000
    assert f"{MAX_MESSAGES:,} messages wait" in trial.complaints[-1]


def test_a_refused_verdict_drops_where_the_policy_is_closed():
    """As with all that fails."""
    trial = Trial(Answering(Inject(*[MUCH] * 20)), policy=CLOSED)
    assert trial.to_upstream(Ping(1)) == "drop"
    assert trial.bytes_to(UP) == b""
    trial = Trial(Answering(Inject(*[MUCH] * 20)))
    assert trial.to_upstream(Ping(1)) == "pass"
    [passed] = trial.upstream_got
    assert passed.record == Ping(1)


def test_the_other_direction_is_bounded_too():
    """By its own receiver."""
    trial = Trial(Answering(Inject(*[MUCH] * 10, direction=DOWN)))
    trial.full.add(DOWN)
    for number in range(20):
        trial.to_upstream(Ping(number))
    assert len(trial.bytes_to(DOWN)) <= MAX_BYTES
    assert len(trial.complaints) == 19


def test_what_waits_for_the_end_of_a_long_message_counts():
    """Nothing may come between its parts, and it may come slowly."""

    class OnTheWay(Plugin):
        def on_start(self, session):
            self.session = session

    plugin = OnTheWay()
    trial = Trial(plugin)
    block = frame(NETWORK.magic, "block", bytes(100_000))
    trial.pipeline.receive(UP, block[:70_000], 1)
    for _ in range(16):
        plugin.session.inject(UP, MUCH)
    with pytest.raises(OverflowError):
        plugin.session.inject(UP, MUCH)
    trial.pipeline.receive(UP, block[70_000:], 1)
    assert trial.bytes_to(UP) == block + 16 * MUCH.raw
    assert trial.pipeline.buffered_bytes == 0


def test_a_node_that_does_not_read_holds_no_more_than_that(tmp_path, make_scene):
    """In a session with a socket's buffer; pings continue."""
    path = tmp_path / "answers.py"
    path.write_text(
        "from lbcproxy.plugin import *\n"
        "from lbcproxy.wire.envelope import frame\n"
        f"MUCH = Raw(frame({NETWORK.magic!r}, 'much', bytes(1 << 20)))\n"
        "class P(Plugin):\n"
        "  def on_ping(self, session, message):\n"
        "    return [Inject(*[MUCH] * 8, direction='to_client'), Inject(*[MUCH] * 8)]\n"
    )
    scene = make_scene(plugins=Plugins((PluginFile(PluginSpec(str(path))),))).answer()
    for _ in range(20):
        scene.client.resumeProducing()
        scene.client.arrive(PING)
    assert len(scene.client.waiting) <= MAX_BYTES
    assert len(scene.upstream.waiting) <= MAX_BYTES + 20 * len(PING)
    assert scene.relay.held <= MAX_BYTES
    scene.upstream.read()
    assert scene.upstream.got.count(PING) == 20


def test_more_than_can_ever_wait_is_refused_before_anything_is_made_of_it(monkeypatch):
    """200,000 messages took a second to frame, and a stop of the program waited for it."""
    made = []
    monkeypatch.setattr(Outcome, "_apply", lambda *args: made.append(args))
    trial = Trial(Answering(*[Inject(Raw(b"x"))] * (MAX_MESSAGES + 1)))
    trial.to_upstream(PING)
    assert made == []
    assert len(trial.complaints) == 1
    assert trial.entries[-1].verdict == "pass"
