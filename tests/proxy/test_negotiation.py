"""What nodes agree on between `version` and `verack` through terminate mode."""

from typing import Any

import pytest

from lbcproxy import networks
from lbcproxy.plugins.loader import PluginFile, parse_spec
from lbcproxy.proxy import Plugins
from lbcproxy.proxy.negotiation import MAX_VERACK_DELAY
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.addresses import GetAddr
from lbcproxy.wire.messages.compact_blocks import SendCmpct
from lbcproxy.wire.messages.handshake import SendAddrV2, SendTxRcncl, VerAck, WtxidRelay
from lbcproxy.wire.messages.inventory import GetData, Inv, InventoryVector
from lbcproxy.wire.messages.keepalive import FeeFilter, Ping, Pong, SendHeaders
from tests.peer.builders import version
from tests.proxy.termination import INV, Scene, both_senders, encoded, frames, other_side
from tests.proxy.transports import NETWORK

CORE = version(70016, services=0xC09, user_agent=b"/Satoshi:28.0.0/", start_height=200, nonce=2)
PEER = version(70016, services=9, user_agent=b"/python-p2p-tester:0.0.3/", nonce=1)
OFFERS = (WtxidRelay(), SendAddrV2(), SendTxRcncl(1, 77))
WTX = Inv((InventoryVector(5, bytes(31) + b"\1"),))
NEWS = frame(NETWORK.magic, "sendpackages", b"\1")


def met(node: Any = CORE, client: Any = PEER, **shown: Any) -> Scene:
    """A scene in which both nodes have said their `version`."""
    scene = Scene(**shown).says("client", client).answer().says("upstream", node)
    assert scene.commands("client") == ["version"]
    assert scene.commands("upstream") == ["version"]
    return scene


def trails(scene: Scene, command: str) -> list[tuple[str, tuple[str, ...]]]:
    """The verdicts and trails of a command."""
    entries = [entry for delivery in scene.observer.deliveries for entry in delivery.entries]
    return [(each.verdict, each.trail) for each in entries if each.command == command]


@both_senders
@pytest.mark.parametrize("offers", [OFFERS, OFFERS[:1], OFFERS[1:], ()], ids=len)
def test_each_is_offered_what_the_other_offers(sender: str, offers: Any):
    """In its order, before our `verack`, as the very bytes; nothing is made up."""
    scene = met()
    scene.says(sender, *offers, VerAck())
    assert scene.commands(other_side(sender)) == [
        "version",
        *[each.command for each in offers],
        "verack",
    ]
    assert scene.commands(sender) == ["version"]
    assert [each.raw for each in frames(getattr(scene, other_side(sender)))[1:-1]] == [
        encoded(each) for each in offers
    ]
    scene.says(other_side(sender), VerAck()).settle()
    assert scene.commands(sender) == ["version", "verack"]
    assert scene.session.client.is_ready
    assert scene.session.upstream.is_ready
    for each in offers:
        assert trails(scene, each.command) == [("pass", ())]


def test_cores_own_conversation_goes_through():
    """As `p2p_tx_download` begins: both agree on wtxids, and invs of type 5 are answered."""
    scene = Scene(pass_pings=True).says("client", PEER).answer()
    scene.says("upstream", CORE, WtxidRelay(), SendAddrV2(), VerAck())
    assert scene.commands("client") == ["version", "wtxidrelay", "sendaddrv2", "verack"]
    scene.says("client", WtxidRelay(), SendAddrV2(), VerAck(), GetAddr(), WTX, Ping(1)).settle()
    handshake = ["version", "wtxidrelay", "sendaddrv2", "verack"]
    assert scene.commands("upstream") == [*handshake, "getaddr", "inv", "ping"]
    scene.client.got = b""
    relayed = [SendCmpct(False, 2), Ping(5), FeeFilter(1000), GetData(WTX.inventory), Pong(1)]
    scene.says("upstream", *relayed).settle()
    assert scene.client.got == b"".join(map(encoded, relayed))


@pytest.mark.parametrize("relay", [True, False])
@both_senders
def test_whether_transactions_are_wanted_is_passed_on(sender: str, relay: bool):
    """`p2p_blocksonly` and `p2p_leak_tx` live on it."""
    said = {"client": PEER, "upstream": CORE}
    said[sender] = version(70016, services=9, relay=relay)
    scene = met(said["upstream"], said["client"])
    assert scene.version_shown(other_side(sender)).relay is relay


@both_senders
def test_what_is_new_to_us_is_offered_in_time_too(sender: str):
    """Nodes of today ignore what they do not know there; what they know may be late after."""
    scene = met().says(sender, NEWS, VerAck())
    assert scene.commands(other_side(sender)) == ["version", "sendpackages", "verack"]


@both_senders
def test_what_may_come_later_comes_later(sender: str):
    """`sendheaders` and `sendcmpct` cost btcd its handshake if they come before `verack`."""
    scene = met().says(sender, SendHeaders(), SendCmpct(True, 2), VerAck())
    assert scene.commands(other_side(sender)) == ["version", "verack"]
    scene.says(other_side(sender), VerAck()).settle()
    later = ["version", "verack", "sendheaders", "sendcmpct"]
    assert scene.commands(other_side(sender)) == later


@both_senders
def test_an_old_node_is_offered_nothing_it_may_not_know(sender: str):
    """To lbcd it would be the end; the capture says why it went no further."""
    old = version(70015)
    node, client = (old, PEER) if sender == "client" else (CORE, old)
    scene = met(node, client, protocol_version=70016)
    scene.says(sender, *OFFERS, NEWS, VerAck())
    assert scene.commands(other_side(sender)) == ["version", "verack"]
    reason = "needs protocol version 70016, 70015 was agreed"
    assert trails(scene, "wtxidrelay") == [("drop", ("terminate", reason))]


@both_senders
def test_a_node_that_is_slow_does_not_hold_up_the_other(sender: str):
    """After the timeout our `verack` is sent, and later offers are dropped."""
    scene = met().says(sender, VerAck())
    scene.clock.advance(MAX_VERACK_DELAY - 0.1)
    assert scene.commands(sender) == ["version"]
    assert not getattr(scene.session, sender).is_ready
    scene.clock.advance(0.1)
    assert scene.commands(sender) == ["version", "verack"]
    assert getattr(scene.session, sender).is_ready
    scene.says(other_side(sender), WtxidRelay(), VerAck(), INV).settle()
    assert scene.commands(sender) == ["version", "verack", "inv"]
    assert trails(scene, "wtxidrelay") == [("drop", ("terminate", "came after our verack"))]


@both_senders
def test_nothing_is_forwarded_before_verack(sender: str):
    """Core ends the connection for it; the other may have been quick."""
    scene = met().says(sender, VerAck(), INV, GetAddr(), FeeFilter(1)).settle()
    assert scene.commands(other_side(sender)) == ["version", "verack"]
    assert scene.commands(sender) == ["version"]
    scene.says(other_side(sender), VerAck()).settle()
    after = scene.commands(other_side(sender))
    assert after == ["version", "verack", "inv", "getaddr", "feefilter"]


@both_senders
@pytest.mark.parametrize("early", [INV, Ping(1), Pong(1), FeeFilter(1), PEER], ids=repr)
def test_what_nodes_ignore_before_verack_goes_nowhere(sender: str, early: Any):
    """It ends nothing either."""
    scene = met().says(sender, early, VerAck()).says(other_side(sender), VerAck()).settle()
    assert scene.session.client.is_ready
    assert scene.session.upstream.is_ready
    assert scene.commands(other_side(sender)) == ["version", "verack"]
    assert scene.commands(sender) == ["version", "verack"]
    if early.command != "version":
        assert trails(scene, early.command) == [("drop", ("terminate", "came before verack"))]


@pytest.mark.parametrize("early", [INV, VerAck(), WtxidRelay(), NEWS], ids=repr)
def test_what_comes_before_version_goes_nowhere(early: Any):
    """Core waits for the `version`."""
    scene = Scene().says("client", early, PEER).answer().says("upstream", CORE)
    assert scene.commands("upstream") == ["version"]
    assert scene.commands("client") == ["version"]
    assert scene.ended == []


@both_senders
def test_a_late_offer_ends_the_session_as_a_node_would(sender: str):
    """`wtxidrelay` and `sendaddrv2` cost the connection after `verack`."""
    scene = Scene().greet(PEER, CORE)
    scene.says(sender, WtxidRelay()).settle()
    scene.assert_over()
    assert scene.why == f"{sender}: wtxidrelay after verack"
    assert scene.commands(sender) == []


@both_senders
def test_a_late_sendtxrcncl_is_for_the_node_to_judge(sender: str):
    """Core ends the connection for it only where reconciliation is switched on."""
    scene = Scene().greet(PEER, CORE)
    scene.says(sender, SendTxRcncl(1, 77)).settle()
    assert scene.commands(other_side(sender)) == ["sendtxrcncl"]


def plugged(tmp_path: Any, transport: str, body: str) -> Scene:
    """A scene with a plugin, whose nodes speak either transport."""
    path = tmp_path / "tried.py"
    path.write_text(f"from lbcproxy.plugin import *\nclass Tried(Plugin):\n  {body}\n")
    plugins = Plugins((PluginFile(parse_spec(str(path))),))
    return Scene(settings={"plugins": plugins}, transport=transport)


def test_a_plugin_may_take_an_offer_out(tmp_path: Any, transport: str):
    """The plugin is called for what one node sends the other."""
    scene = plugged(tmp_path, transport, "def on_wtxidrelay(self, s, m): return Drop('no')")
    scene.says("client", PEER).answer().says("upstream", CORE, *OFFERS[:2], VerAck()).settle()
    assert scene.commands("client") == ["version", "sendaddrv2", "verack"]


def test_a_plugin_that_holds_an_offer_holds_our_verack(tmp_path: Any, transport: str):
    """Or the offer would be too late."""
    scene = plugged(tmp_path, transport, "def on_wtxidrelay(self, s, m): return Delay(2)")
    scene.says("client", PEER).answer().says("upstream", CORE, *OFFERS[:2], VerAck()).settle()
    assert scene.commands("client") == ["version"]
    scene.clock.advance(2)
    scene.settle()
    assert scene.commands("client") == ["version", "wtxidrelay", "sendaddrv2", "verack"]


@pytest.mark.parametrize("when", ["offered", "verack"])
@pytest.mark.parametrize("how", ["stop", "abort"])
def test_a_session_may_end_while_a_verack_is_held(how: str, when: str):
    """Nothing is left, and nothing more is said."""
    scene = met().says("client", *OFFERS, *([VerAck()] if when == "verack" else []))
    getattr(scene.session, how)()
    scene.settle()
    scene.assert_over()
    assert "verack" not in scene.commands("client")


def test_a_short_handshake_timeout_shortens_the_wait():
    """A slow node must not cost the session its handshake."""
    scene = Scene(settings={"handshake_timeout": 4.0}).says("client", PEER).answer()
    scene.says("upstream", CORE)
    scene.clock.advance(2)
    assert scene.commands("client") == scene.commands("upstream") == ["version", "verack"]


def test_the_highest_version_is_that_of_the_newest_offer():
    """BIP434's `feature` came with 70017; it is forwarded to nodes of that version."""
    newest = version(70017, services=9)
    scene = met(newest, newest)
    feature = frame(NETWORK.magic, "feature", b"\1a\0")
    scene.says("client", feature, VerAck())
    assert scene.commands("upstream") == ["version", "feature", "verack"]
    assert networks.get("bitcoin-regtest").protocol_version <= 70017
