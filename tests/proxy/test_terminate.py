"""Tests of mode terminate over transports in memory: what each node gets, and what passes."""

import io
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lbcproxy import networks
from lbcproxy.capture import Recorder
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import SendAddrV2, VerAck
from lbcproxy.wire.messages.keepalive import Ping, Pong
from tests.peer.builders import version
from tests.proxy.termination import (
    CLIENT,
    INV,
    NODE,
    UNKNOWN,
    Scene,
    both_senders,
    encoded,
    frames,
    other_side,
)
from tests.proxy.transports import (
    NETWORK,
    WATERMARK,
    FakeTransport,
    Recording,
)

JUNK = b"junk" * 6
HUGE = frame(NETWORK.magic, "nobodyknows", bytes(WATERMARK + 1))


# The two handshakes.


def test_the_upstream_is_not_dialled_before_the_client_sent_its_version():
    """What the upstream is shown is the client's: it has to be known first."""
    scene = Scene()
    assert scene.dials == []
    scene.says("client", encoded(CLIENT)[:-1])
    assert scene.dials == []
    scene.says("client", encoded(CLIENT)[-1:])
    assert len(scene.dials) == 1


def test_the_client_gets_our_version_after_that_of_the_upstream_came():
    """What the client is shown is the upstream's: it has to wait for it."""
    scene = Scene().says("client", CLIENT)
    assert frames(scene.client) == []
    scene.answer()
    assert scene.commands("upstream") == ["version"]
    assert frames(scene.client) == []
    scene.says("upstream", NODE, VerAck())
    assert scene.commands("upstream") == ["version"]
    assert scene.commands("client") == ["version", "verack"]
    assert not scene.session.client.is_ready
    scene.says("client", VerAck()).settle()
    assert scene.commands("upstream") == ["version", "verack"]
    assert scene.session.client.is_ready
    assert scene.observer.verdicts == [
        "-> version drop",
        "-> version inject",
        "<- version drop",
        "<- version inject",
        "<- verack drop",
        "<- verack inject",
        "-> verack drop",
        "-> verack inject",
    ]


def test_each_is_shown_what_the_other_has_said_of_itself():
    """So that each decides as it would without us; the nonce is ours, or we would loop."""
    scene = Scene().says("client", CLIENT).answer().says("upstream", NODE)
    for side, other in (("upstream", CLIENT), ("client", NODE)):
        shown = scene.version_shown(side)
        for name in ("version", "services", "user_agent", "start_height", "relay"):
            assert getattr(shown, name) == getattr(other, name), (side, name)
        assert shown.nonce not in (CLIENT.nonce, NODE.nonce)


def test_both_are_shown_what_is_configured():
    """Every field may be set, whatever the nodes say."""
    scene = Scene(user_agent=b"/us:1/", services=8, protocol_version=70012, relay=True, height=4)
    scene.says("client", CLIENT).answer().says("upstream", NODE)
    for side in ("client", "upstream"):
        shown = scene.version_shown(side)
        assert (shown.user_agent, shown.services, shown.version) == (b"/us:1/", 8, 70012)
        assert (shown.relay, shown.start_height) == (True, 4)


def test_no_node_is_shown_a_version_that_we_do_not_know():
    """We could not read what a node of the future says to another."""
    scene = Scene().says("client", version(80000)).answer().says("upstream", version(70015))
    assert scene.version_shown("upstream").version == 70017
    assert scene.version_shown("client").version == 70015


def test_a_leg_reads_with_the_version_that_was_agreed_on_it():
    """An old upstream makes the client speak as one does to it: its pings have no nonce."""
    scene = Scene(pass_pings=True).greet(CLIENT, version(60000))
    scene.says("client", frame(NETWORK.magic, "ping", b"")).settle()
    assert scene.commands("upstream") == ["ping"]
    assert scene.session.client.is_open


def test_addrv2_is_agreed_on_by_the_nodes():
    """Both are nodes of today: each is offered what the other offers."""
    new = version(70016, services=9)
    scene = Scene().says("client", new).answer().says("upstream", new, SendAddrV2(), VerAck())
    scene.says("client", SendAddrV2(), VerAck())
    assert scene.commands("client") == ["version", "sendaddrv2", "verack"]
    assert scene.commands("upstream") == ["version", "sendaddrv2", "verack"]
    assert "-> sendaddrv2 pass" in scene.observer.verdicts
    addrv2 = frame(NETWORK.magic, "addrv2", b"\x01" + bytes(5) + b"\x01\x04" + bytes(6))
    scene.client.got = scene.client.waiting = b""
    scene.says("upstream", addrv2).settle()
    assert scene.client.got == addrv2


def test_messages_wait_until_both_have_shaken_hands():
    """A fast client's question may come before the upstream is ready; none is lost or early."""
    scene = Scene().says("client", CLIENT).answer().says("upstream", NODE)
    scene.says("client", VerAck(), INV, UNKNOWN)
    assert scene.commands("upstream") == ["version", "verack"]
    scene.says("upstream", VerAck())
    assert scene.commands("upstream") == ["version", "verack", "inv", "nobodyknows"]


# What passes.


@both_senders
def test_messages_pass_as_the_very_bytes(sender: str):
    """Known, opaque and unknown ones, and what they have too much."""
    scene = Scene().greet()
    trailing = frame(NETWORK.magic, "getaddr", b"")
    opaque = frame(NETWORK.magic, "sendpackages", b"\x00\xff")
    sent = [encoded(INV), trailing, opaque, UNKNOWN]
    scene.says(sender, *sent).settle()
    assert getattr(scene, other_side(sender)).got == b"".join(sent)
    assert getattr(scene, sender).got == b""
    assert [each.raw for each in scene.observer.deliveries] == sent
    assert {each.entries[0].verdict for each in scene.observer.deliveries} == {"pass"}
    assert {each.sent for each in scene.observer.deliveries} == {None}


@both_senders
def test_pings_are_answered_by_us(sender: str):
    """Each connection is measured and kept alive by itself."""
    scene = Scene().greet()
    scene.says(sender, Ping(nonce=77)).settle()
    [pong] = frames(getattr(scene, sender))
    assert pong.raw == encoded(Pong(77))
    assert getattr(scene, other_side(sender)).got == b""
    arrow, back = ("->", "<-") if sender == "client" else ("<-", "->")
    assert scene.observer.verdicts == [f"{arrow} ping drop", f"{back} pong inject"]
    dropped, injected = scene.observer.deliveries
    assert (dropped.raw, dropped.sent) == (encoded(Ping(nonce=77)), b"")
    assert (injected.raw, injected.sent) == (b"", encoded(Pong(77)))


@both_senders
def test_pings_pass_if_that_is_wanted(sender: str):
    """Then the answer is the node's own, and we send none."""
    scene = Scene(pass_pings=True).greet()
    scene.says(sender, Ping(nonce=77)).settle()
    assert getattr(scene, other_side(sender)).got == encoded(Ping(nonce=77))
    scene.says(other_side(sender), Pong(77)).settle()
    assert getattr(scene, sender).got == encoded(Pong(77))
    scene.clock.advance(200)
    scene.settle()
    assert "ping" not in [each.split()[1] for each in scene.observer.verdicts[2:]]


def test_we_ping_each_side_by_ourselves():
    """A leg whose node is silent must show that it lives; the pong is for us."""
    scene = Scene().greet()
    scene.clock.advance(120)
    scene.settle()
    assert scene.commands("client") == scene.commands("upstream") == ["ping"]
    ping: Any = Codec(NETWORK).decode("ping", frames(scene.client)[0].raw[24:])
    scene.upstream.got = b""
    scene.says("client", Pong(ping.nonce)).settle()
    assert scene.upstream.got == b""
    assert scene.session.client.snapshot().ping_seconds is not None


def test_what_the_other_node_cannot_receive_is_dropped_with_the_reason():
    """A message that the upstream's old version does not have would cost the connection."""
    scene = Scene(protocol_version=70013).greet(CLIENT, version(70011))
    scene.says("client", frame(NETWORK.magic, "sendheaders", b"")).settle()
    assert scene.upstream.got == b""
    [dropped] = scene.observer.deliveries
    assert (dropped.entries[0].verdict, dropped.sent) == ("drop", b"")
    assert "70012" in dropped.entries[0].trail[1]
    assert scene.session.client.is_open


# Memory.


@both_senders
def test_a_slow_side_pauses_the_other(sender: str):
    """What a node does not read must not pile up with us."""
    scene = Scene().greet()
    source, sink = getattr(scene, sender), getattr(scene, other_side(sender))
    scene.says(sender, HUGE)
    assert not source.reading
    scene.says(sender, *[INV] * 3)
    assert len(source.incoming) == 1
    assert sink.reading
    scene.settle()
    assert source.reading
    assert sink.got == HUGE + encoded(INV) * 3


@both_senders
def test_a_side_that_is_full_again_at_once_keeps_the_other_paused(sender: str):
    """What had waited with us may be more than the node can take."""
    scene = Scene().greet()
    source, sink = getattr(scene, sender), getattr(scene, other_side(sender))
    scene.says(sender, HUGE, HUGE, HUGE)
    assert not source.reading
    sink.read()
    assert len(sink.waiting) == len(HUGE)
    assert not source.reading
    scene.settle()
    assert source.reading
    assert sink.got == HUGE * 3


@both_senders
def test_a_side_that_never_reads_ends_both(sender: str):
    """It has 20 s, and 5 more to read the rest; it is named, not the node that had to wait."""
    scene = Scene().greet()
    scene.says(sender, HUGE)
    for _ in range(26):
        scene.clock.advance(1)
        getattr(scene, sender).read()
    scene.clock.advance(0)
    scene.settle()
    scene.assert_over()
    assert scene.why == f"{other_side(sender)}: the node does not read what is sent to it"


def test_bytes_of_both_sides_are_counted():
    """The summary says how much each node has sent."""
    scene = Scene().greet()
    scene.says("client", INV, UNKNOWN)
    scene.says("upstream", INV)
    scene.session.stop()
    scene.settle()
    [summary] = scene.observer.summaries
    shaken = len(encoded(VerAck()))
    assert summary.client.bytes == shaken + len(encoded(CLIENT) + encoded(INV) + UNKNOWN)
    assert summary.upstream.bytes == shaken + len(encoded(NODE) + encoded(INV))
    assert summary.client.commands == {"version": 1, "verack": 1, "inv": 1, "nobodyknows": 1}
    assert summary.client.user_agent == b"/client:1/"
    assert summary.upstream.user_agent == b"/node:2/"


def test_the_summary_has_what_each_side_agreed_on():
    """With us, not with each other: it may differ."""
    scene = Scene(protocol_version=70013).greet(CLIENT, version(70001))
    scene.session.stop()
    scene.settle()
    [summary] = scene.observer.summaries
    assert summary.protocol_version == summary.client.protocol_version == 70013
    assert summary.upstream.protocol_version == 70001


def test_the_summary_has_no_version_without_a_handshake():
    """The client has only said what it speaks."""
    scene = Scene().says("client", CLIENT)
    scene.session.stop()
    scene.settle()
    [summary] = scene.observer.summaries
    assert summary.protocol_version is None
    assert summary.client.protocol_version is None
    assert summary.client.version == 70013


# Ends.


@both_senders
def test_a_side_that_closes_ends_both(sender: str):
    """Neither node is connected any more."""
    scene = Scene().greet()
    getattr(scene, sender).finish()
    scene.settle()
    scene.assert_over()
    assert scene.why == f"{sender}: closed by the node"


@both_senders
def test_a_side_that_breaks_off_ends_both(sender: str):
    """The same of a reset."""
    scene = Scene().greet()
    getattr(scene, sender).reset()
    scene.settle()
    scene.assert_over()
    assert scene.why == f"{sender}: connection lost"


@pytest.mark.parametrize(
    "raw",
    [
        frame(NETWORK.magic, "inv", b"\xff"),
        frame(NETWORK.magic, "pong", bytes(7)),
        frame(NETWORK.magic, "ping", b""),
        encoded(INV)[:20] + b"abcd" + encoded(INV)[24:],
    ],
    ids=["inv", "short pong", "empty ping", "checksum"],
)
@pytest.mark.parametrize("number", [70013, 70016])
@both_senders
def test_a_malformed_message_is_left_out(sender: str, number: int, raw: bytes):
    """As Core does: it is reported with its error, and no `reject` is sent."""
    both = version(number, services=9)
    scene = Scene(protocol_version=number).greet(both, both)
    scene.says(sender, raw, INV).settle()
    assert scene.commands(sender) == []
    assert scene.commands(other_side(sender)) == ["inv"]
    first = scene.observer.deliveries[0].entries[0]
    assert (first.verdict, bool(first.message.error)) == ("drop", True)
    assert scene.ended == []


TOO_LONG = pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("feefilter", bytes(8)),
        ("mempool", b""),
        ("sendheaders", b""),
        ("getaddr", b""),
        ("getcfcheckpt", bytes(33)),
    ],
)


@TOO_LONG
@both_senders
def test_bytes_after_the_fields_pass_as_core_takes_them(sender: str, command: str, fields: bytes):
    """Core reads the fields and ignores the rest; the message passes unchanged."""
    scene = Scene().greet()
    raw = frame(NETWORK.magic, command, fields + b"more")
    scene.says(sender, raw, INV).settle()
    assert getattr(scene, other_side(sender)).got == raw + encoded(INV)
    first = scene.observer.deliveries[0].entries[0]
    assert (first.verdict, first.message.raw) == ("pass", raw)
    assert "bytes, at most" in first.message.error  # as every other mode shows it
    assert scene.ended == []


@both_senders
def test_bytes_after_the_fields_are_left_out_for_another_version(sender: str):
    """Such a message is encoded again, as any other."""
    new, old = version(70015), version(60000)
    scene = Scene(pass_pings=True, protocol_version=70015)
    scene.greet(*((new, old) if sender == "client" else (old, new)))
    scene.says(sender, frame(NETWORK.magic, "ping", bytes(8) + b"more")).settle()
    assert getattr(scene, other_side(sender)).got == frame(NETWORK.magic, "ping", b"")
    assert scene.observer.deliveries[0].entries[0].verdict == "rewrite"


@both_senders
def test_a_ping_with_bytes_after_its_nonce_is_answered(sender: str):
    """Its sender would give up the connection otherwise."""
    scene = Scene().greet()
    scene.says(sender, frame(NETWORK.magic, "ping", bytes(8) + b"more")).settle()
    [pong] = frames(getattr(scene, sender))
    assert pong.raw == encoded(Pong(0))
    assert getattr(scene, other_side(sender)).got == b""


@both_senders
def test_a_ping_with_bytes_after_its_nonce_passes_with_pings(sender: str):
    """Unchanged, with `--pass-pings`."""
    scene = Scene(pass_pings=True).greet()
    raw = frame(NETWORK.magic, "ping", bytes(8) + b"more")
    scene.says(sender, raw).settle()
    assert getattr(scene, other_side(sender)).got == raw


@pytest.mark.parametrize("number", [70013, 70016])
@both_senders
def test_bytes_of_no_message_end_both(sender: str, number: int):
    """As with a node; a `reject` says why where the sender's version has it."""
    both = version(number, services=9)
    scene = Scene(protocol_version=number).greet(both, both)
    scene.says(sender, JUNK).settle()
    rejected = ["reject"] if number < 70016 else []
    assert scene.commands(sender) == rejected
    assert scene.commands(other_side(sender)) == []
    scene.assert_over()
    assert scene.why.startswith(f"{sender}: can't read message")


@both_senders
def test_a_message_that_costs_its_sender_the_connection_does_not_pass(sender: str):
    """What we refuse we do not hand on."""
    scene = Scene(services=1).greet()
    scene.says(sender, frame(NETWORK.magic, "filterclear", b"")).settle()
    assert scene.commands(other_side(sender)) == []
    scene.assert_over()
    assert [each.split(" ", 1)[1] for each in scene.observer.verdicts] == ["filterclear drop"]


@both_senders
def test_what_comes_when_the_other_is_closing_is_said_to_be_dropped(sender: str):
    """A capture must not report a message as passed if no node ever got it."""
    scene = Scene().greet()
    other = other_side(sender)
    scene.says(other, JUNK)  # its last words are not read yet
    scene.observer.deliveries.clear()
    scene.says(sender, INV)
    assert [each.split(" ", 1)[1] for each in scene.observer.verdicts] == ["inv drop"]
    scene.settle()
    scene.assert_over()


def test_an_upstream_that_refuses_ends_the_client():
    """With the system's words for it, and no word of ours to the client."""
    scene = Scene().says("client", CLIENT)
    scene.dials[-1][1].errback(Failure(Refused(111)))
    scene.settle()
    scene.assert_over()
    assert scene.client.got == b""
    assert scene.why.startswith("upstream unreachable: ")


def test_a_client_that_goes_while_we_dial_ends_the_dial():
    """Otherwise a connection would be made for a client that is gone."""
    scene = Scene().says("client", CLIENT)
    scene.client.reset()
    scene.settle()
    assert scene.dials[-1][1].called
    scene.assert_over()
    assert scene.why == "client: connection lost, waiting for the upstream"


def test_a_client_that_never_sends_its_version_is_ended():
    """Within the 30 s of any handshake; no upstream was dialled."""
    scene = Scene()
    scene.clock.advance(30)
    scene.settle()
    assert scene.dials == []
    scene.assert_over()
    assert scene.why == "client: protocol negotiation timeout"


@pytest.mark.parametrize("said", [0, 1, 2], ids=["nothing", "version", "version and a wish"])
def test_an_upstream_that_never_shakes_hands_ends_both(said: int):
    """Its time is limited as everybody's, and nothing is left on the clock."""
    scene = Scene().says("client", CLIENT)
    scene.clock.advance(1)
    scene.answer()
    scene.says("upstream", *[NODE, SendAddrV2()][:said])
    if said:
        scene.says("client", VerAck())
    for _ in range(40):
        scene.clock.advance(1)
        scene.settle()
    scene.assert_over()


def test_an_upstream_that_never_answers_the_dial_ends_both():
    """A dial takes as long as it is let; the client's handshake does not."""
    scene = Scene().says("client", CLIENT)
    scene.clock.advance(30)
    scene.settle()
    assert scene.dials[-1][1].called
    scene.assert_over()


def test_the_node_that_was_waited_for_is_named():
    """The client has done its part; that it waited in vain is not its fault."""
    scene = Scene().says("client", CLIENT).answer()
    scene.clock.advance(30)
    scene.settle()
    assert scene.why == "client: protocol negotiation timeout, waiting for the upstream"


def test_stop_ends_both_in_order():
    """What was written is read by the nodes, then the connections close."""
    scene = Scene().greet()
    scene.says("client", INV)
    scene.session.stop()
    assert scene.upstream.waiting == encoded(INV)
    assert scene.ended == []
    scene.settle()
    assert scene.upstream.got == encoded(INV)
    assert not scene.client.aborted
    assert not scene.upstream.aborted
    scene.assert_over()
    assert scene.why == "proxy stopped"


def test_stop_does_not_wait_for_a_side_that_does_not_read():
    """It has 5 s."""
    scene = Scene().greet()
    scene.says("client", HUGE)
    scene.session.stop()
    scene.client.read()
    scene.clock.advance(5)
    scene.clock.advance(0)
    scene.assert_over()


def test_abort_ends_both_at_once():
    """The second Ctrl-C does not wait."""
    scene = Scene().greet()
    scene.says("client", HUGE)
    scene.session.abort()
    scene.clock.advance(0)
    assert scene.client.aborted
    assert scene.upstream.aborted
    scene.assert_over()


@pytest.mark.parametrize("how", ["stop", "abort"])
@pytest.mark.parametrize("when", ["connected", "dialling", "waiting", "half", "again"])
def test_a_session_may_be_ended_at_any_time(how: str, when: str):
    """In whatever state it is, nothing is left."""
    scene = Scene()
    if when != "connected":
        scene.says("client", CLIENT)
    if when in ("waiting", "half"):
        scene.answer()
    if when == "half":
        scene.says("upstream", NODE)
    if when == "again":
        scene.session.stop()
    getattr(scene.session, how)()
    scene.settle()
    scene.assert_over()


def test_sessions_do_not_know_of_each_other():
    """What happens to one costs the others nothing."""
    clock = Clock()
    one, two, three = (Scene(number=number, clock=clock) for number in (1, 2, 3))
    for scene in (one, two):
        scene.greet()
    three.says("client", CLIENT)
    one.says("client", JUNK).settle()
    assert one.ended == [one.session]
    two.says("client", INV).settle()
    assert two.upstream.got == encoded(INV)
    three.answer()
    three.says("upstream", NODE, VerAck()).says("client", VerAck())
    assert three.session.client.is_ready
    for scene in (two, three):
        scene.session.stop()
        scene.settle()
    assert clock.getDelayedCalls() == []


def test_an_observer_that_fails_costs_the_traffic_nothing():
    """Recording is not worth a connection."""
    scene = Scene(before=[Recording(fails_at="passed")]).greet()
    scene.says("client", INV).settle()
    assert scene.upstream.got == encoded(INV)


@both_senders
def test_junk_is_reported(sender: str):
    """A recording without the rubbish that ended the session would not explain its end."""
    scene = Scene().greet()
    scene.says(sender, b"rubbish" * 10).settle()
    assert b"".join(each.raw for each in scene.observer.deliveries) == b"rubbish" * 10


@pytest.mark.parametrize("when", ["handshake", "behind it"])
@both_senders
def test_another_networks_messages_end_with_advice(sender: str, when: str):
    """The operator may have named the wrong network; the error names the right one."""
    scene = Scene()
    if when != "handshake":
        scene.greet()
    elif sender == "upstream":
        scene.says("client", CLIENT).answer()
    foreign = networks.get("bitcoin-mainnet")
    scene.says(sender, frame(foreign.magic, "verack", b"")).settle()
    scene.assert_over()
    advice = (
        "f9beb4d9 is not the network's magic fae4aad1; "
        "it is that of bitcoin-mainnet: use --network bitcoin-mainnet"
    )
    assert scene.why.startswith(f"{sender}: ")
    assert scene.why.endswith(advice)
    assert advice in [each.entries[0].why for each in scene.observer.deliveries if each.entries]


def test_rubbish_that_is_forgiven_is_not_why_a_session_ends_later(
    monkeypatch: pytest.MonkeyPatch,
):
    """A neighbour on regtest may send what it likes; the advice is for what ends it."""
    near = IPv4Address("TCP", "127.0.0.1", 1)
    monkeypatch.setattr(FakeTransport, "getPeer", lambda _: near)
    scene = Scene().greet()
    foreign = networks.get("bitcoin-mainnet")
    scene.says("client", frame(foreign.magic, "verack", b"")).settle()
    assert scene.ended == []
    scene.client.finish()
    scene.settle()
    assert scene.why == "client: closed by the node"


def test_a_session_and_its_recording_leave_no_garbage():
    """A recorder writes each message with what became of it, and closes both legs."""
    file = io.BytesIO()
    recorder = Recorder(file.write, network=NETWORK.id, changes=True)
    scene = Scene(before=[recorder]).greet()
    scene.says("client", INV, Ping(nonce=1)).settle()
    scene.session.stop()
    scene.settle()
    scene.assert_over()
    assert recorder.is_idle


@pytest.mark.parametrize("number", [0, 100, 208])
def test_the_upstream_hears_nothing_of_a_client_that_is_too_old(number: int):
    """It would be shown a version that the client never said, or be blamed for the end."""
    scene = Scene().says("client", version(number))
    scene.settle()
    assert scene.dials == []
    assert scene.why == "client: protocol version must be 209 or greater"
    scene.assert_over()


def test_the_upstream_hears_of_the_oldest_client_that_is_taken():
    """One version above those that are too old."""
    scene = Scene().says("client", version(209))
    assert len(scene.dials) == 1


def test_what_waits_for_a_handshake_is_bounded():
    """A client that has its handshake may not fill us while the upstream keeps back its verack."""
    scene = Scene()
    scene.says("client", CLIENT).answer()
    scene.says("upstream", NODE)
    scene.says("client", VerAck()).settle()
    assert not scene.session.client.is_ready
    scene.clock.advance(10)
    scene.settle()
    assert scene.session.client.is_ready
    assert not scene.session.upstream.is_ready
    block = frame(NETWORK.magic, "nobodyknows", bytes(10_000))
    for _ in range(50):
        scene.says("client", block)
    assert not scene.client.reading
    assert 65_536 < scene.session.held < 100_000
    scene.says("upstream", VerAck()).settle()
    assert scene.client.reading
    assert scene.commands("upstream").count("nobodyknows") == 50
    assert scene.session.held == 0
