"""`lbcproxy probe`: in memory against a node that is the test, and once against a real listener."""

import json
import re
import signal
import subprocess
import sys
from errno import ECONNREFUSED

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from lbcproxy import networks
from lbcproxy.cli import prober
from lbcproxy.cli.probe import as_lines, as_object
from lbcproxy.cli.prober import Probe, ProbeFailed
from lbcproxy.endpoint import Endpoint
from lbcproxy.peer import NonceCache, Peer, PeerConfig, Transport
from lbcproxy.transport.curve import MissingLibrary
from lbcproxy.wire import Framer
from lbcproxy.wire.hashes import display
from lbcproxy.wire.messages.addresses import Addr, AddressV2, TimedAddress
from lbcproxy.wire.messages.handshake import Service, VerAck
from lbcproxy.wire.messages.headers import Headers
from lbcproxy.wire.messages.inventory import Inv, InventoryVector, InvType
from lbcproxy.wire.messages.keepalive import Ping, Pong
from tests.nodes import free_port
from tests.peer.builders import REGTEST, Wire, encoded, version
from tests.proxy.loops import listening
from tests.tools import REPOSITORY, TIMEOUT

TX = InventoryVector(InvType.TX, bytes(range(32)))


class Scene:
    """A probe, its reactor in memory, and the node at the other end."""

    def __init__(self, *questions, host="10.0.0.1", timeout=10.0, transport=Transport.V1):
        self.clock = MemoryReactorClock()
        self.probe = Probe(self.clock, REGTEST, Endpoint(host, 9246), timeout, transport)
        self.results = []
        Deferred.fromCoroutine(self.probe.run(questions)).addBoth(self.results.append)

    def connect(self):
        """Let the connection be there."""
        factory = self.clock.tcpClients[-1][2]
        protocol = factory.buildProtocol(None)
        self.wire = Wire(self.clock, protocol)
        protocol.makeConnection(self.wire)
        return self

    def shake_hands(self, number=70013, **fields):
        """Make the node send `version` and `verack`."""
        return self.connect().say(version(number, **fields), VerAck())

    def pong(self):
        """Let the node answer the pings it got since it last did anything of the kind."""
        pings = [each for each in self.heard() if each.command == "ping"]
        assert pings
        return self.say(*(Pong(int.from_bytes(each.raw[24:], "little")) for each in pings))

    def say(self, *records):
        """Let the node send messages."""
        for each in records:
            self.wire.arrive(encoded(each, 70013, network=REGTEST))
        return self

    def heard(self):
        """Return the frames the probe has sent since it was last asked."""
        self.wire.read()
        data, self.wire.got = self.wire.got, b""
        return list(Framer(REGTEST).feed(data))

    def wait(self, seconds):
        """Let time pass."""
        self.clock.pump([seconds / 10] * 11)
        return self

    def report(self):
        """Return the report; there must be one."""
        [result] = self.results
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def error(self):
        """Return why there is none."""
        [failure] = self.results
        assert failure.check(ProbeFailed)
        return str(failure.value)


def lines(scene):
    """Return what is printed of a scene's report."""
    return as_lines(as_object(scene.report(), "lbry-regtest"))


def test_without_questions_it_does_the_handshake_and_disconnects():
    """The report describes the node, and nothing else is sent."""
    scene = Scene().shake_hands(services=0b1101, user_agent=b"/node:1.0/", start_height=1234)
    report = scene.report()
    assert report.complete
    assert [each.command for each in scene.heard()] == ["version", "verack"]
    assert not scene.wire.connected
    said = lines(scene)
    assert "address     10.0.0.1:9246" in said
    assert "user agent  /node:1.0/" in said
    assert "version     70013, agreed on 70013" in said
    assert "services    NETWORK BLOOM WITNESS (13)" in said
    assert "height      1,234" in said


def test_text_from_the_node_is_escaped():
    """A user agent cannot act on the terminal, in lines or in JSON."""
    scene = Scene().shake_hands(user_agent=b"/\x1b[2Jevil\n/")
    shown = as_object(scene.report(), "lbry-regtest")
    assert shown["user_agent"] == r"/\x1b[2Jevil\n/"
    assert r"user agent  /\x1b[2Jevil\n/" in as_lines(shown)
    assert json.loads(json.dumps(shown)) == shown


def test_the_round_trip_is_measured_by_the_pong_to_our_ping():
    """A pong with another nonce is none."""
    scene = Scene("ping").shake_hands()
    [sent] = [each for each in scene.heard() if each.command == "ping"]
    nonce = int.from_bytes(sent.raw[24:], "little")
    scene.clock.advance(0.25)
    scene.say(Pong(nonce ^ 1), Ping(5))
    assert scene.results == []
    scene.clock.advance(0.25)
    scene.say(Pong(nonce))
    assert scene.report().answers == {"ping": {"ms": 500.0}}
    assert "ping        500.0 ms" in lines(scene)


def test_addresses_are_collected_for_the_whole_time():
    """They come in several messages; IPv6 is written in brackets."""
    scene = Scene("addresses").shake_hands()
    four = bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 7])
    scene.say(Addr((TimedAddress(1, 1, four, 9246),)))
    scene.wait(5)
    scene.say(Addr((TimedAddress(1, 1, bytes(15) + b"\x01", 1),)))
    assert scene.results == []
    scene.wait(6)
    found = ["10.0.0.7:9246", "[::1]:1"]
    assert scene.report().answers["addresses"] == {"count": 2, "addresses": found}
    assert lines(scene)[-3:] == ["addresses   2", *(f"            {each}" for each in found)]


def test_transactions_of_the_mempool_are_counted():
    """An announced block is not an answer."""
    scene = Scene("mempool").shake_hands(services=5).pong()
    scene.say(Inv((InventoryVector(InvType.BLOCK, bytes(32)), TX))).pong()
    found = {"count": 1, "transactions": [display(TX.hash)]}
    assert scene.report().answers["mempool"] == found


def test_a_mempool_that_comes_in_several_messages_is_counted_to_its_end():
    """An `inv` holds 50,000; the pong to a ping sent after the first one comes after the last."""
    full = Inv(tuple(InventoryVector(InvType.TX, bytes([each]) * 32) for each in (1, 2)))
    scene = Scene("mempool").shake_hands(services=5).pong()
    scene.say(full)
    scene.say(full, Inv((TX,)))
    assert scene.results == []
    scene.pong()
    assert scene.report().answers["mempool"]["count"] == 5


def test_a_mempool_whose_end_does_not_come_is_not_counted():
    """A number that is too small would be taken for the right one."""
    scene = Scene("mempool", timeout=3).shake_hands(services=5)
    scene.say(Inv((TX,))).wait(3.5)
    error = "1 transactions, then no answer in 3 s"
    assert scene.report().answers == {"mempool": {"error": error}}


def test_an_empty_mempool_is_an_answer():
    """The node lives and has announced nothing in all that time; some announce seconds later."""
    scene = Scene("mempool", timeout=3).shake_hands(services=5)
    scene.say(Pong(0)).pong()
    assert scene.results == []
    scene.wait(3.5)
    assert scene.report().answers == {"mempool": {"count": 0, "transactions": []}}
    assert scene.report().complete
    assert "mempool     0" in lines(scene)


def test_silence_is_not_an_empty_mempool():
    """A node that does not even answer a ping has said nothing of its mempool."""
    scene = Scene("mempool", timeout=3).shake_hands(services=5)
    scene.wait(3.5)
    assert scene.report().answers == {"mempool": {"error": "no answer in 3 s"}}


def test_a_node_without_bloom_that_ignores_mempool():
    """That it tells no transactions does not mean that it has none."""
    scene = Scene("mempool", timeout=3).shake_hands(services=1).pong()
    scene.wait(3.5)
    error = "no answer in 3 s; without BLOOM a node refuses this question"
    assert scene.report().answers == {"mempool": {"error": error}}


def test_a_node_too_old_for_a_question():
    """It cannot be asked, which is different from silence of the node."""
    scene = Scene("ping", "mempool").shake_hands(number=60000)
    answers = scene.report().answers
    assert answers["ping"]["error"].startswith("cannot be asked: ")
    assert answers["mempool"]["error"].startswith("cannot be asked: ")


@pytest.mark.parametrize("question", ["addresses", "mempool"])
def test_collected_items_are_bounded(monkeypatch, question):
    """A node that never stops costs time, not memory without end."""
    monkeypatch.setattr(prober, "MAX_COLLECTED", 4)
    scene = Scene(question).shake_hands(services=5)
    four = bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 7])
    for _ in range(4):
        assert scene.results == []
        scene.say(Addr((TimedAddress(1, 1, four, 9246),)), Inv((TX,)))
    assert scene.report().answers[question]["count"] == 4


def test_a_question_without_an_answer_does_not_stop_the_others():
    """It is said in its place, and the report is not complete."""
    scene = Scene("headers", "ping", "mempool", timeout=3).shake_hands()
    scene.wait(3.5)
    scene.wait(3.5)
    scene.say(Inv((TX,))).pong()
    report = scene.report()
    assert report.answers["headers"] == {"error": "no answer in 3 s"}
    assert report.answers["ping"] == {"error": "no answer in 3 s"}
    assert report.answers["mempool"]["count"] == 1
    assert not report.complete
    assert "headers     no answer in 3 s" in lines(scene)


def test_no_headers_are_an_answer():
    """A node that knows none says so."""
    scene = Scene("headers").shake_hands().say(Headers(()))
    assert scene.report().answers == {"headers": {"count": 0}}
    assert scene.report().complete


def test_a_node_without_bloom_that_hangs_up_on_mempool():
    """The likely reason is reported."""
    scene = Scene("mempool").shake_hands(services=1)
    scene.wire.finish()
    scene.wire.read()
    error = "closed by the node; without BLOOM a node refuses this question"
    assert scene.report().answers == {"mempool": {"error": error}}


def test_a_node_that_disconnects_between_questions():
    """The rest is not waited for."""
    scene = Scene("headers", "ping").shake_hands()
    scene.wire.reset()
    assert scene.report().answers == {
        "headers": {"error": "connection lost"},
        "ping": {"error": "connection lost"},
    }


def test_a_silent_node():
    """It has the whole timeout, not more."""
    scene = Scene(timeout=2.5).connect()
    scene.clock.advance(2.4)
    assert scene.results == []
    scene.clock.advance(0.2)
    assert scene.error() == "10.0.0.1:9246: no handshake in 2.5 s"


def test_a_node_that_closes_before_the_handshake():
    """As one of another network does; the hint says which was tried."""
    scene = Scene().connect()
    scene.wire.finish()
    scene.wire.read()
    assert scene.error() == "10.0.0.1:9246: no handshake: closed by the node"
    assert scene.results[0].value.hint == "is it a node of lbry-regtest?"


def test_nobody_answers_the_connection():
    """No longer than the timeout either."""
    scene = Scene(timeout=4)
    scene.clock.advance(4.1)
    assert scene.error() == "10.0.0.1:9246: no connection in 4 s"


def test_a_refused_connection_over_ipv6():
    """The address is written as it was given."""
    scene = Scene(host="::1")
    scene.clock.tcpClients[0][2].clientConnectionFailed(None, Failure(Refused(ECONNREFUSED)))
    assert scene.error() == "[::1]:9246: Connection refused"


# As a program.


def command(*arguments, network="lbry-regtest"):
    """Return a command line."""
    return [sys.executable, "-m", "lbcproxy", "probe", "--network", network, *arguments]


def run(*arguments, **options):
    """Run it to its end."""
    return subprocess.run(
        command(*arguments, **options),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


@pytest.mark.slow
def test_it_probes_a_real_listener():
    """The example that listens answers, as lines and as one JSON object."""
    port = str(free_port())
    listen = [sys.executable, "examples/listen.py", "lbry-regtest", port]
    with subprocess.Popen(listen, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as listener:
        try:
            assert "listening" in listener.stdout.readline()
            asked = (f"127.0.0.1:{port}", "--headers", "--ping")
            done, as_json = run(*asked), run(*asked, "--json")
        finally:
            listener.kill()
    assert (done.returncode, done.stderr) == (0, "")
    assert "headers     3" in done.stdout.splitlines()
    assert as_json.returncode == 0
    [line] = as_json.stdout.splitlines()
    found = json.loads(line)
    assert found["network"] == "lbry-regtest"
    assert found["headers"]["count"] == 3
    assert found["ping"]["ms"] > 0


@pytest.mark.slow
def test_a_refused_port():
    """One line on stderr, nothing on stdout."""
    port = free_port()
    done = run(f"127.0.0.1:{port}", "--json")
    words = f"lbcproxy: 127.0.0.1:{port}: Connection refused\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", words)


@pytest.mark.slow
@pytest.mark.parametrize("silent_at", ["version", "getheaders", "mempool"])
def test_it_is_ended_by_ctrl_c(silent_at):
    """Even while a node keeps silent, in the handshake or when it was asked something."""
    with listening() as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        questions = {
            "version": (),
            "getheaders": ("--headers", "--ping"),
            "mempool": ("--mempool",),
        }
        words = command(address, *questions[silent_at])
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(TIMEOUT)
                framer, heard = Framer(REGTEST), []
                while silent_at not in heard:
                    heard += [each.command for each in framer.feed(connection.recv(65536))]
                    if heard == ["version"] and silent_at != "version":
                        records = (version(services=5), VerAck())
                        connection.sendall(
                            b"".join(encoded(each, network=REGTEST) for each in records)
                        )
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
            process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")


class AnsweringNode:
    """The callbacks of a `Peer` of ours that tells addresses and a mempool, in several messages."""

    ADDRESSES = (
        AddressV2(1, 1, 1, bytes([10, 0, 0, 7]), 8333),
        AddressV2(1, 1, 2, bytes(15) + b"\x01", 1),
        AddressV2(1, 1, 4, bytes(range(32)), 9735),
        AddressV2(1, 1, 99, b"\xab\xcd", 7),
    )
    TRANSACTIONS = 120_001

    def on_getaddr(self, peer, record):
        """Tell addresses of all kinds."""
        assert peer.push_addrv2(self.ADDRESSES[:3])
        assert peer.push_addrv2(self.ADDRESSES[3:])

    def on_mempool(self, peer, record):
        """Tell more than two messages can hold."""
        things = [
            InventoryVector(InvType.TX, number.to_bytes(32, "little"))
            for number in range(self.TRANSACTIONS)
        ]
        for start in range(0, len(things), 50_000):
            peer.send(Inv(tuple(things[start : start + 50_000])))


@pytest.fixture
def answering(loop):
    """Listen as a node of protocol version 70016, and return the port."""
    config = PeerConfig(
        network=networks.get("bitcoin-regtest"), services=Service.NETWORK | Service.BLOOM
    )
    assert config.highest_version == 70016
    options = {"clock": loop.reactor, "callbacks": AnsweringNode(), "nonces": NonceCache()}
    port = loop.listen(lambda: Peer(config, inbound=True, **options))
    yield port.getHost().port
    loop.call(port.stopListening)


@pytest.mark.slow
def test_addrv2_and_a_large_mempool_over_tcp(answering):
    """A node of today tells addresses of every network, and its mempool in three messages."""
    asked = ("--addresses", "--mempool", "--json", "--timeout", "2")
    done = run(f"127.0.0.1:{answering}", *asked, network="bitcoin-regtest")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["protocol_version"] == 70016
    assert found["addresses"]["count"] == 4
    four, six, tor, unknown = found["addresses"]["addresses"]
    assert (four, six, unknown) == ("10.0.0.7:8333", "[::1]:1", "network-99-abcd:7")
    assert re.fullmatch(r"[a-z2-7]{56}\.onion:9735", tor)
    assert found["mempool"]["count"] == AnsweringNode.TRANSACTIONS
    assert len(set(found["mempool"]["transactions"])) == AnsweringNode.TRANSACTIONS


@pytest.mark.parametrize(
    "arguments",
    [
        ("--network", "lbry-regtest", "host"),
        ("--network", "lbry-regtest", ":9246"),
        ("--network", "lbry-regtest", "host:0"),
        ("--network", "lbry-regtest", "--timeout", "0", "host:1"),
        ("--network", "nowhere", "host:1"),
        ("host:1",),
    ],
)
def test_wrong_usage(lbcproxy, arguments):
    """Nothing is connected."""
    assert lbcproxy("probe", *arguments).code == 2


def test_a_version_that_ends_early_is_printed_too():
    """Old nodes say neither user agent nor height (the fields are optional)."""
    shown = dict.fromkeys(("user_agent", "height"), None) | {
        "address": "127.0.0.1:1",
        "network": "lbry-regtest",
        "version": 106,
        "protocol_version": 106,
        "services": 0,
        "service_names": [],
        "time_offset": 0,
        "connect_ms": 1.0,
        "handshake_ms": 1.0,
    }
    lines = as_lines(shown)
    assert lines[2].split() == ["user", "agent", "none"]
    assert lines[5].split() == ["height", "not", "said"]


@pytest.mark.parametrize("how", ["closes", "resets", "is silent"])
def test_a_node_that_cannot_encrypt_is_asked_again(how):
    """With `--transport auto`: it closes, or takes our key for a message and waits."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    scene = Scene(transport=Transport.AUTO).connect()
    assert len(scene.wire.waiting) == 64
    if how == "closes":
        scene.wire.finish()
        scene.wire.read()
    elif how == "resets":
        scene.wire.reset()
    else:
        scene.clock.advance(9.9)
        assert len(scene.clock.tcpClients) == 1
        scene.clock.advance(0.2)
    assert len(scene.clock.tcpClients) == 2
    assert scene.results == []
    scene.shake_hands()
    assert "user agent  /node:1.0/" in lines(scene)
    assert as_object(scene.report(), "lbry-regtest")["transport"] == "v1"


def test_a_node_that_is_to_encrypt_is_asked_once():
    """With `--transport v2`; the hint says what may be wrong."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    scene = Scene(transport=Transport.V2).connect()
    scene.wire.finish()
    scene.wire.read()
    assert scene.error() == "10.0.0.1:9246: no handshake: closed by the node"
    assert scene.results[0].value.hint == "is it a node of lbry-regtest that encrypts (BIP324)?"
    assert len(scene.clock.tcpClients) == 1


def test_a_probe_that_is_stopped_asks_nobody_again():
    """Ctrl-C is not a node that cannot encrypt."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    scene = Scene(transport=Transport.AUTO).connect()
    scene.probe.stop()
    scene.wire.read()
    assert scene.error()
    assert len(scene.clock.tcpClients) == 1


@pytest.mark.parametrize("transport", [Transport.AUTO, Transport.V2])
def test_without_the_library(transport, monkeypatch):
    """Nothing is encrypted, and who asked for it is told what to install."""

    def missing():
        raise MissingLibrary("coincurve")

    monkeypatch.setattr("lbcproxy.transport.curve._library", missing)
    if transport is Transport.V2:
        with pytest.raises(MissingLibrary, match="install lbcproxy with its extra bip324"):
            Scene(transport=transport)
    else:
        assert Scene(transport=transport).shake_hands().report().session_id is None
