"""Which hooks are called with what, and what is reported of those that fail or block."""

import inspect
import time

import pytest

from lbcproxy.plugin import Drop, Replace
from lbcproxy.plugins.hook_caller import HookCaller
from lbcproxy.plugins.pipeline import CLOSED
from lbcproxy.session import Direction
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.keepalive import Ping
from tests.plugins.builders import NETWORK, PING, PONG, RecordingHost, chain_of, piped, plugin

UP = Direction.TO_UPSTREAM
BAD = frame(NETWORK.magic, "ping", bytes(3))


def sent(host):
    """Return all bytes that were sent upstream."""
    return b"".join(data for direction, data in host.named("send") if direction is UP)


def test_an_event_goes_to_every_plugin_that_has_a_hook_for_it():
    """In order; one without the hook, or whose hook fails, is passed over."""
    calls = []

    def fails(self, session):
        raise ValueError("no")

    async def waits(self, session, why):
        calls.append(why)

    first = plugin(on_start=lambda self, session: calls.append(session.number))
    last = plugin(on_start=lambda self, session: calls.append(2), on_end=waits)
    pipeline, host = piped(plugin(), plugin(on_start=fails), first, last)
    pipeline._plugins.event("start")
    assert calls == [1, 2]
    assert host.complaints == ["plugin Tried: fails failed: no"]
    assert isinstance(host.errors[0], ValueError)
    pipeline.end("over")
    assert calls == [1, 2, "over"]


def test_an_async_hook_is_given_the_limit_of_its_plugin():
    """None is the limit of all plugins."""

    async def on_ping(self, session, message):
        return None

    async def on_start(self, session):
        return None

    patient = plugin(hook_timeout=60.0, on_ping=on_ping, on_start=on_start)
    pipeline, host = piped(plugin(on_ping=on_ping), patient)
    pipeline.receive(UP, PING, 1)
    assert host.limits == [None, 60.0]
    pipeline._plugins.event("start")
    assert host.limits == [None, 60.0, 60.0]


def test_what_is_not_asked_for_is_not_decided_about():
    """A malformed message is asked for by `on_error` alone."""
    seen = []
    errors = plugin(on_error=lambda self, session, message: seen.append(message.error))
    pings = plugin(on_ping=lambda self, session, message: seen.append("ping"))
    for each, expected in ((errors, [True, False]), (pings, [True, True])):
        pipeline, _ = piped(each)
        pipeline.receive(UP, BAD, 1)
        pipeline.receive(UP, PING, 1)
        pipeline.receive(UP, PONG, 1)
        assert len(seen) == sum(expected)
        seen.clear()


@pytest.mark.parametrize(("policy", "asked"), [("open", ["failed", "other"]), (CLOSED, ["failed"])])
def test_after_a_failure_only_the_next_plugin_is_asked(policy, asked):
    """The failed one has no further say; where it drops the message nobody has."""
    seen = []

    def on_ping(self, session, message):
        seen.append("failed")
        raise ValueError("no")

    failing = plugin(on_ping=on_ping, on_message=lambda *_: seen.append("never"))
    other = plugin(on_ping=lambda *_: seen.append("other"))
    pipeline, host = piped(failing, other, policy=policy)
    pipeline.receive(UP, PING, 1)
    assert seen == asked
    assert sent(host) == (b"" if policy == CLOSED else PING)
    [(_, delivery)] = host.named("notify_delivered")
    trail = ("Tried: drop: on_ping failed",) if policy == CLOSED else ()
    assert delivery.entries[0].trail == trail


def test_a_hook_is_not_asked_about_what_the_plugin_has_replaced():
    """And the next plugin is asked about what took its place, not about raw bytes."""
    seen = []
    first = plugin(
        on_ping=lambda self, session, message: Replace(Ping(2), Ping(3)),
        on_message=lambda self, session, message: seen.append("never"),
    )
    second = plugin(on_ping=lambda self, session, message: seen.append(message.record.nonce))
    pipeline, _ = piped(first, second)
    pipeline.receive(UP, PING, 1)
    assert seen == [2, 3]


@pytest.mark.parametrize("nothing", [None, [], (), [None, None]])
def test_a_hook_may_return_nothing_in_several_ways(nothing):
    """The message passes, and no plugin is named."""
    pipeline, host = piped(plugin(on_ping=lambda *_: nothing))
    pipeline.receive(UP, PING, 1)
    assert (sent(host), host.complaints) == (PING, [])
    pipeline, host = piped(plugin(on_ping=lambda *_: (None, Drop())))
    pipeline.receive(UP, PING, 1)
    assert sent(host) == b""


def test_a_coroutine_that_nobody_can_wait_for_is_closed():
    """Python would warn of it later, at a place that says nothing."""
    made = []

    async def later():
        return Drop()

    def on_ping(self, session, message):
        made.append(later())
        return made[-1]

    pipeline, host = piped(plugin(on_ping=on_ping))
    pipeline.receive(UP, PING, 1)
    assert "async def" in host.complaints[0]
    assert inspect.getcoroutinestate(made[0]) == inspect.CORO_CLOSED


@pytest.fixture
def work(monkeypatch):
    """Return a function that lets a hook take so many seconds."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def work(seconds):
        now[0] += seconds

    return work


@pytest.mark.parametrize(("taken", "named"), [(0.25, False), (0.5, True)])
def test_a_hook_may_block_for_a_quarter_of_a_second(work, taken, named):
    """One that takes longer is reported: it blocks all sessions."""
    pipeline, host = piped(plugin(on_ping=lambda *_: work(taken)))
    pipeline.receive(UP, PING, 1)
    words = "plugin Tried: <lambda> took 0.5 s, and blocked all sessions"
    assert host.complaints == [words] * named
    assert host.errors == [None] * named


def test_a_hook_that_waits_blocks_nobody(work):
    """It may take longer."""

    async def on_ping(self, session, message):
        work(8)

    pipeline, host = piped(plugin(on_ping=on_ping))
    pipeline.receive(UP, PING, 1)
    assert (host.complaints, sent(host)) == ([], PING)


def test_a_policy_is_open_or_closed():
    """Anything else is an error at once, not at the first failure."""
    with pytest.raises(ValueError, match="ajar"):
        HookCaller(chain_of(), RecordingHost(), lambda hooks: None, "ajar")
