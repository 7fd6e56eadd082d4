"""Plugins in a relay: over transports in memory, with ends, resets, back-pressure and observers."""

import pytest

from lbcproxy.plugins.loader import PluginFile, PluginSpec
from lbcproxy.proxy import Plugins
from lbcproxy.session import Direction
from lbcproxy.wire.envelope import frame
from tests.proxy.packets import raw_got, v1_only
from tests.proxy.transports import NETWORK

UP = Direction.TO_UPSTREAM
PING, PONG = (frame(NETWORK.magic, name, bytes(8)) for name in ("ping", "pong"))
VERACK = frame(NETWORK.magic, "verack", b"")
SLOW = """
class Slow(Plugin):
    def on_ping(self, session, message):
        return Delay(5)
"""


@pytest.fixture
def scene_with(tmp_path, make_scene):
    """Make a scene whose session has a plugin, over either transport."""

    def make(text, **others):
        path = tmp_path / "tried.py"
        path.write_text("from lbcproxy.plugin import *\n" + text)
        plugins = Plugins((PluginFile(PluginSpec(str(path))),))
        scene = make_scene(plugins=plugins, **others)
        scene.path = path
        return scene

    return make


def test_what_no_plugin_asks_for_passes_at_once(scene_with):
    """In the order it came."""
    scene = scene_with(SLOW)
    scene.answer()
    scene.client.arrive(PONG + VERACK, PONG)
    scene.upstream.read()
    assert scene.upstream.got == PONG + VERACK + PONG
    assert scene.observer.passed_bytes(UP) == PONG + VERACK + PONG


@v1_only("junk: an encrypted leg has none")
def test_junk_passes_at_once(scene_with):
    """In the order it came."""
    scene = scene_with(SLOW)
    scene.answer()
    scene.client.arrive(PONG + b"junk", PONG)
    scene.upstream.read()
    assert scene.upstream.got == PONG + b"junk" + PONG
    assert scene.observer.passed_bytes(UP) == PONG + b"junk" + PONG


def test_what_plugins_send_before_the_upstream_is_there_waits_for_it(scene_with):
    """As what the client has sent."""
    scene = scene_with(
        "from lbcproxy.wire.messages.keepalive import Pong\n"
        "class P(Plugin):\n  def on_start(self, s):\n    s.inject('to_upstream', Pong(0))\n"
    )
    scene.client.arrive(PING)
    scene.answer()
    scene.upstream.read()
    assert scene.upstream.got == PONG + PING


def test_bytes_that_plugins_send_before_the_upstream_is_there_wait_too(scene_with):
    """Whatever they are."""
    scene = scene_with(
        "class P(Plugin):\n  def on_start(self, s):\n    s.inject('to_upstream', Raw(b'hello '))\n"
    )
    scene.answer()
    scene.client.arrive(PONG)
    scene.upstream.read()
    assert scene.upstream.got.startswith(raw_got(scene.upstream, b"hello "))


def test_an_orderly_end_waits_for_what_is_held(scene_with):
    """The client closes; the upstream still gets all, then the FIN."""
    scene = scene_with(SLOW)
    scene.answer()
    scene.client.arrive(PING + PONG)
    scene.client.finish()
    assert not scene.upstream.write_ending
    scene.clock.advance(5)
    scene.upstream.read()
    assert scene.upstream.got == PING + PONG
    assert scene.upstream.fin_sent


def test_a_reset_gives_up_what_is_held(scene_with):
    """And the record says that it went nowhere."""
    scene = scene_with(SLOW)
    scene.answer()
    scene.client.arrive(PING)
    scene.client.reset()
    scene.clock.advance(60)
    scene.upstream.read()
    assert scene.upstream.got == b""
    [delivery] = [each for each in scene.observer.deliveries if each.entries]
    assert delivery.sent == b""
    assert delivery.entries[0].verdict == "drop"
    assert len(scene.ended) == 1


def test_a_plugin_closes_both_legs_in_order(scene_with):
    """Behind its message."""
    scene = scene_with("class P(Plugin):\n  def on_ping(self, s, m): return Close('enough')\n")
    scene.answer()
    scene.client.arrive(PING)
    scene.upstream.read()
    scene.client.read()
    assert scene.upstream.got == PING
    assert scene.observer.whys == ["enough"]


def test_what_plugins_hold_counts_as_held(scene_with):
    """One budget for all."""
    scene = scene_with(SLOW)
    scene.answer()
    scene.client.arrive(PING, PONG)
    assert scene.relay.held == len(PING + PONG)
    scene.clock.advance(5)
    assert scene.relay.held == 0


def test_a_changed_plugin_begins_with_the_next_message(scene_with):
    """The session is kept."""
    scene = scene_with(SLOW)
    scene.answer()
    [loaded] = scene.relay._settings.plugins.loaded
    scene.path.write_text(
        "from lbcproxy.plugin import *\n"
        "class Slow(Plugin):\n  def on_pong(self, s, m): return Drop('now')\n"
    )
    loaded.reload()
    scene.relay.plugins_changed()
    scene.client.arrive(PING, PONG)
    scene.upstream.read()
    assert scene.upstream.got == PING


def test_a_message_without_a_payload_is_injected(scene_with):
    """Its frame is a header and nothing else."""
    scene = scene_with(
        "from lbcproxy.wire.messages.handshake import VerAck\n"
        "class P(Plugin):\n  def on_ping(self, s, m): return Inject(VerAck())\n"
    )
    scene.answer()
    scene.client.arrive(PING)
    scene.upstream.read()
    assert scene.upstream.got == PING + VERACK
