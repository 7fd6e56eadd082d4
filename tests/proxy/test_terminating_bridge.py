"""Plugins, faults by message and interception where each side does the handshake with us."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lbcproxy.faults import parse_fault
from lbcproxy.plugins.loader import PluginFile, parse_spec
from lbcproxy.proxy import Plugins
from lbcproxy.proxy.terminating_bridge import OTHER_SIDE_GONE
from lbcproxy.session import Direction
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.messages.keepalive import FeeFilter
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from tests.peer.builders import version
from tests.proxy.packets import raw_got
from tests.proxy.termination import CLIENT, INV, NODE, UNKNOWN, Scene, encoded
from tests.proxy.transports import NETWORK

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
OTHER = Inv((InventoryVector(1, bytes(31) + b"\1"),))
FEE = FeeFilter(1000)
SPENT = TxIn(bytes(32), 0, b"", 0, (b"\x51",))
TX = Tx(2, (SPENT,), (TxOut(1, b"\x51"),), 0)


@pytest.fixture
def make_scene(transport: str) -> Iterator[Callable[..., Scene]]:
    """Make a scene whose nodes speak either transport; encrypted wires hold no frame."""
    made = []

    def make(**settings: Any) -> Scene:
        made.append(Scene(settings=settings, transport=transport))
        return made[-1]

    yield make
    for each in made:
        each.check_wires()


@pytest.fixture
def scene_with(tmp_path, make_scene):
    """Make a scene whose session has a plugin, of the body of its class."""

    def make(body: str, *, policy: str = "open", **others: Any) -> Scene:
        path = tmp_path / "tried.py"
        path.write_text(
            "from lbcproxy.plugin import *\n"
            "from lbcproxy.wire.messages.inventory import Inv\n"
            "from lbcproxy.wire.messages.keepalive import FeeFilter\n"
            f"class Tried(Plugin):\n  {body}\n"
        )
        plugins = Plugins((PluginFile(parse_spec(str(path))),), policy=policy)
        return make_scene(plugins=plugins, **others)

    return make


def decided(scene: Scene) -> list[tuple[str, str, tuple[str, ...]]]:
    """Command, verdict and trail of all entries since the handshake."""
    return [
        (entry.command, entry.verdict, entry.trail)
        for delivery in scene.observer.deliveries
        for entry in delivery.entries
    ]


@pytest.mark.parametrize("sender", ["client", "upstream"])
def test_a_dropped_message_does_not_go_on(scene_with, sender):
    """What comes after it passes, and the entry names the plugin that dropped it."""
    other = "upstream" if sender == "client" else "client"
    scene = scene_with("def on_inv(self, s, m): return Drop('quiet')").greet()
    scene.says(sender, INV, UNKNOWN).settle()
    assert getattr(scene, other).got == UNKNOWN
    assert decided(scene) == [
        ("inv", "drop", ("tried: drop: quiet",)),
        ("nobodyknows", "pass", ()),
    ]


def test_a_replaced_message_goes_out_in_its_place(scene_with):
    """Several, and bytes that are not a message too."""
    body = (
        "def on_inv(self, s, m): return Replace(m.replace(inventory=()), FeeFilter(5), Raw(b'x'))"
    )
    scene = scene_with(body).greet()
    scene.says("client", INV, FEE).settle()
    made = encoded(Inv(())) + encoded(FeeFilter(5))
    assert scene.upstream.got == made + raw_got(scene.upstream, b"x" + encoded(FEE))
    [(command, verdict, trail), _] = decided(scene)
    assert (command, verdict) == ("inv", "rewrite")
    assert trail[0].startswith("tried: rewrite inv 37 B -> inv 1 B, feefilter 8 B")


def test_what_a_plugin_sends_is_encoded_for_its_receiver(scene_with):
    """A node that reads no witness is not sent one, nor one of an old version new fields."""
    scene = scene_with("def on_tx(self, s, m): return Replace(m.replace(lock_time=9))")
    scene.greet(CLIENT, NODE)  # of the two the client has no witness service
    scene.says("client", frame(NETWORK.magic, "tx", TX.to_bytes(witness=True)))
    scene.says("upstream", frame(NETWORK.magic, "tx", TX.to_bytes(witness=True))).settle()
    changed = Tx(2, (SPENT,), TX.outputs, 9)
    assert scene.upstream.got == frame(NETWORK.magic, "tx", changed.to_bytes(witness=True))
    assert scene.client.got == frame(NETWORK.magic, "tx", changed.to_bytes(witness=False))


def test_what_passes_plugins_is_bridged_as_ever(scene_with):
    """Both are said."""
    scene = scene_with("def on_tx(self, s, m): return Delay(1)").greet()
    scene.says("upstream", frame(NETWORK.magic, "tx", TX.to_bytes(witness=True))).settle()
    assert scene.client.got == b""
    scene.clock.advance(1)
    scene.settle()
    assert scene.client.got == frame(NETWORK.magic, "tx", TX.to_bytes(witness=False))
    [(_, verdict, trail)] = decided(scene)
    assert verdict == "rewrite"
    assert trail == ("tried: delay 1 s", "terminate", "for a node without witness")


def test_what_is_delayed_holds_what_comes_after_it(scene_with):
    """In its direction."""
    scene = scene_with("def on_inv(self, s, m): return Delay(2)").greet()
    scene.says("client", INV, FEE)
    scene.says("upstream", FEE).settle()
    assert scene.client.got == encoded(FEE)
    assert scene.upstream.got == b""
    assert scene.session.held == len(encoded(INV) + encoded(FEE))
    scene.clock.advance(2)
    scene.settle()
    assert scene.upstream.got == encoded(INV) + encoded(FEE)
    assert scene.session.held == 0


def test_what_is_held_at_the_end_is_said_to_have_gone_nowhere(scene_with):
    """A leg that closes ends the session."""
    scene = scene_with("def on_inv(self, s, m): return Delay(60)").greet()
    scene.says("client", INV).settle()
    scene.upstream.finish()
    scene.settle()
    scene.assert_over()
    assert decided(scene)[0][:2] == ("inv", "drop")
    assert "the session broke off" in decided(scene)[0][2]


def test_plugins_hear_of_start_handshake_and_end(scene_with):
    """And may inject; a node that has not shaken hands gets it when it has."""
    body = (
        "said = []\n"
        "  def on_start(self, s):\n"
        "    self.said.append('start'); s.inject('to_upstream', FeeFilter(1))\n"
        "  def on_handshake(self, s):\n"
        "    self.said.append(s.client.version.user_agent)\n"
        "    s.inject('to_client', FeeFilter(2)); s.inject('to_upstream', FeeFilter(3))\n"
        "  def on_version(self, s, m): self.said.append('never')\n"
        "  def on_ping(self, s, m): self.said.append('never')\n"
        "  def on_end(self, s, why): self.said.append(why)\n"
    )
    scene = scene_with(body)
    scene.says("client", CLIENT)
    scene.answer()
    scene.says("upstream", NODE)
    scene.says("client", frame(NETWORK.magic, "verack", b""))
    scene.says("upstream", frame(NETWORK.magic, "verack", b"")).settle()
    assert scene.client.got.endswith(encoded(FeeFilter(2)))
    assert scene.upstream.got.endswith(encoded(FeeFilter(3)))
    [hooks] = scene.session._bridge._pipeline.chain.plugins
    scene.client.finish()
    scene.settle()
    assert hooks.plugin.said == ["start", CLIENT.user_agent, "client: closed by the node"]


def test_a_plugin_closes_both_in_order(scene_with):
    """Behind its message."""
    scene = scene_with("def on_inv(self, s, m): return Close('enough')").greet()
    scene.says("client", INV, FEE).settle()
    assert scene.upstream.got == encoded(INV)
    assert scene.why == "enough"
    scene.assert_over()


@pytest.mark.parametrize(("policy", "passes"), [("open", True), ("closed", False)])
def test_a_plugin_that_fails_is_named_and_the_policy_holds(scene_with, policy, passes):
    """Traffic goes on."""
    scene = scene_with("def on_inv(self, s, m): return 1 / 0", policy=policy).greet()
    scene.says("client", INV, FEE).settle()
    assert scene.upstream.got == (encoded(INV) if passes else b"") + encoded(FEE)


def test_a_sender_is_not_read_while_too_much_waits(scene_with):
    """And read on when it has gone."""
    scene = scene_with("def on_message(self, s, m): return Delay(5)").greet()
    long = frame(NETWORK.magic, "nobodyknows", bytes(3_000_000))
    for _ in range(6):
        scene.says("client", long)
    assert not scene.client.reading
    for _ in range(8):
        scene.clock.advance(5)
        scene.settle()
    assert scene.client.reading
    assert scene.upstream.got == long * 6


def test_faults_by_message_come_and_go(make_scene):
    """Those by byte have nothing to act on here, and are refused by the config."""
    scene = make_scene(faults=(parse_fault("drop filter=feefilter"),)).greet()
    scene.says("client", INV, FEE).settle()
    assert scene.upstream.got == encoded(INV)
    scene.session.change_faults([parse_fault("duplicate filter=feefilter stream=upstream")])
    scene.says("client", FEE).settle()
    assert scene.upstream.got == encoded(INV) + encoded(FEE) * 2


def test_a_message_to_a_side_that_is_gone_is_dropped(scene_with):
    """The upstream has gone while a plugin had it."""
    scene = scene_with("def on_inv(self, s, m): return Delay(1)").greet()
    scene.says("client", INV).settle()
    scene.session.upstream.core.close("gone")
    scene.clock.advance(1)
    scene.settle()
    assert decided(scene)[0] == ("inv", "drop", ("tried: delay 1 s", "terminate", OTHER_SIDE_GONE))


def test_the_codec_of_a_leg_is_what_was_agreed_on_it(scene_with):
    """A plugin's record is encoded for the version of its receiver."""
    scene = scene_with("def on_inv(self, s, m): return None").greet(CLIENT, version(70002))
    core = scene.session._core
    assert core.codec_to(UP).protocol_version == 70002
    assert core.codec_to(DOWN).encoding == "base"
