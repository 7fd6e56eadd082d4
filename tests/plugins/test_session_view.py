"""What a plugin can read of its session, and ask of it."""

import pytest

from lbcproxy.plugin import Direction, Raw
from lbcproxy.plugins.session_view import LiveSession
from lbcproxy.session import End, EndCause, Stage
from lbcproxy.testing import Trial
from tests.plugins.builders import PING, piped, plugin

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT


def test_a_session_tells_its_number_network_and_nodes():
    """As they are at the moment."""
    found = []
    trial = Trial(plugin(on_start=lambda _, session: found.append(session)), handshake=False)
    [session] = found
    assert repr(session) == "<LiveSession 1>"
    assert (session.number, session.network) == (1, "lbry-regtest")
    assert session.info is trial.pipeline.info
    assert (session.protocol_version, session.client.protocol_version) == (None, None)
    assert session.client.version is None
    assert session.client.stage is not Stage.READY
    trial._shake_hands(70002)
    assert session.protocol_version == 70002
    client, upstream = session.client, session.upstream
    assert (client.version.user_agent, upstream.version.user_agent) == (b"/client/", b"/upstream/")
    assert (client.stage, client.protocol_version) == (Stage.READY, 70002)
    before = client.bytes
    trial.to_upstream(PING, b"junk and more of it")
    assert client.bytes == before + 32 + 19
    assert (client.commands["ping"], upstream.commands["ping"]) == (1, 0)
    trial.to_upstream(PING)
    assert client.junk_bytes == 19
    statistics = client.statistics()
    assert (statistics.bytes, statistics.junk_bytes) == (client.bytes, 19)


def test_a_session_passes_on_what_a_plugin_asks_for():
    """With the plugin's name."""
    pipeline, host = piped()
    session = LiveSession(pipeline, pipeline.core, "P")
    session.close("enough")
    session.close()
    assert host.named("close") == [
        [End(EndCause.PLUGIN, detail="enough", name="P")],
        [End(EndCause.PLUGIN, detail="", name="P")],
    ]
    session.later(5, lambda: 1 / 0)
    [(seconds, due)] = host.timers
    assert seconds == 5
    due()
    assert host.complaints == ["plugin P: a function called later failed: division by zero"]
    assert isinstance(host.errors[0], ZeroDivisionError)
    session.inject("to_client", Raw(b"x"), Raw(b"y"), why="w")
    assert host.named("send") == [[DOWN, b"xy"]]
    [[_, *deliveries]] = host.named("notify_delivered")
    assert [each.entries[0].trail for each in deliveries] == [("P: inject: w",)] * 2
    session.inject(UP, Raw(b"z"))
    assert host.named("notify_delivered")[-1][1].entries[0].trail == ("P: inject",)
    with pytest.raises(ValueError, match="sideways"):
        session.inject("sideways", Raw(b"x"))


def test_a_hook_waits_on_the_clock_of_its_host():
    """So tests need not wait."""
    trial = Trial()
    session = LiveSession(trial.pipeline, trial.pipeline.core, "P")
    fired = []
    session.sleep(3).addCallback(fired.append)
    trial.advance(2.9)
    assert fired == []
    trial.advance(0.2)
    assert fired == [None]
