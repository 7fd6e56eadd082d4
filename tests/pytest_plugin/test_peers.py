"""Scripted peers and replayed clients: what they do, and how they fail a test."""

from __future__ import annotations

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.transport.frames import FrameTransport
from tests.pytest_plugin.projects import outcome

NETWORK = 'pytestmark = pytest.mark.capture(network="lbry-regtest", timeout=60)\n'


def script(body: str, fixture: str = "scripted_peer") -> str:
    """Write an async test of asyncio whose client is connected to the peer."""
    lines = "\n".join(f"            {line}" for line in body.splitlines())
    return (
        f"{NETWORK}def test_it({fixture}):\n"
        "    peer = scripted_peer\n"
        "    async def main():\n"
        "        async with await lightclient.LightClient.connect(*peer.address) as client:\n"
        f"{lines}\n"
        "    asyncio.run(main())\n"
    )


def test_a_script_of_questions_and_answers(project):
    """The use of it."""
    project.tests(
        script(
            """\
asked = asyncio.create_task(client.headers())
request = await peer.expect("getheaders", hash_stop=bytes(32))
assert request.locator == (lightclient.double_sha(lightclient.GENESIS),)
peer.send("headers", headers=())
assert await asked == []
await client.close()
assert await peer.when_disconnected() == "closed by the node"
assert [each.command for each in peer.received] == ["version", "verack", "getheaders"]
assert peer.received[0].record.user_agent == b"/lightclient/"
"""
        )
    )
    assert outcome(project.run()) == {"passed": 1}


def test_what_came_early_can_be_expected_later(project):
    """Expectations are of a command, each of its next message."""
    project.tests(
        script(
            """\
first = asyncio.create_task(client.headers(b"\\1" * 32))
second = asyncio.create_task(client.headers(b"\\2" * 32))
await asyncio.sleep(0)
assert (await peer.expect("getheaders")).locator == (b"\\1" * 32,)
assert (await peer.expect("version")).user_agent == b"/lightclient/"
assert (await peer.expect("getheaders")).locator == (b"\\2" * 32,)
first.cancel(), second.cancel()
"""
        )
    )
    assert outcome(project.run()) == {"passed": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (
            'await peer.expect("getheaders", timeout=0.05)',
            ["*Unmet: expected getheaders: it did not arrive within 0.05 s", "*received version*"],
        ),
        (
            'await client.close()\nawait peer.expect("getheaders")',
            ["*Unmet: expected getheaders: *", "*the connection ended: closed by the node*"],
        ),
        (
            'asyncio.create_task(client.headers())\nawait peer.expect("getheaders", version=7)',
            ["*Unmet: getheaders differs", "*version  expected  7", "*received  70013"],
        ),
        (
            'peer.expect("getheaders")',
            ["expected but never awaited: getheaders"],
        ),
        (
            'peer.expect("getheaders")\nawait client.close()\nawait peer.when_disconnected()',
            ["expected but never awaited: getheaders"],  # the same if it has failed meanwhile
        ),
        ('peer.expect("getheader")', ["*ValueError: 'getheader' has no record*"]),
        ('peer.expect("ping", nonsense=1)', ["*TypeError: ping has no field nonsense"]),
        ('peer.expect("ping").result()', ["*RuntimeError: await it: *"]),
        ('peer.send("ping", nonce=-1)', ["*BadRecord: *nonce*"]),
        (
            "await client.close()\nawait peer.when_disconnected()\npeer.send('ping', nonce=1)",
            ["*Unmet: the connection has ended: closed by the node"],
        ),
    ],
    ids=[
        *("late", "gone", "other fields", "forgotten", "forgotten and gone"),
        *("unknown", "no field", "would hang", "bad", "nobody there"),
    ],
)
def test_what_is_not_met_fails_the_test(project, body, lines):
    """With what did come."""
    project.tests(script(body))
    result = project.run()
    assert outcome(result) == {"failed": 1}
    result.stdout.fnmatch_lines(lines)


def test_a_plain_test_waits_with_result(project):
    """No loop anywhere: the client runs in a thread."""
    project.tests(
        NETWORK
        + """
from concurrent.futures import ThreadPoolExecutor

def test_it(scripted_peer):
    with ThreadPoolExecutor() as threads:
        chain = threads.submit(lightclient.fetch_chain, scripted_peer.host, scripted_peer.port)
        scripted_peer.expect("getheaders").result()
        scripted_peer.send("headers", headers=())
        assert chain.result() == []
"""
    )
    assert outcome(project.run()) == {"passed": 1}


def test_a_peer_may_misbehave_and_be_left(project):
    """What the client does about it is what is tested."""
    project.tests(
        script(
            """\
asked = asyncio.create_task(client.headers())
await peer.expect("getheaders")
peer.send_bytes(b"no message of any network, and long enough")
with pytest.raises(ConnectionError, match="does not speak"):
    await asked
"""
        )
        + """
def test_leave(scripted_peer):
    async def main():
        async with await lightclient.LightClient.connect(*scripted_peer.address) as client:
            scripted_peer.disconnect()
            with pytest.raises(ConnectionError, match="closed"):
                await client.headers()
    asyncio.run(main())
"""
    )
    assert outcome(project.run()) == {"passed": 2}


def test_peers_connect_to_code_that_listens(project):
    """Two of them to each other, and to nobody."""
    project.tests(
        NETWORK
        + """
def test_it(make_scripted_peer):
    node, client = make_scripted_peer(services=1), make_scripted_peer(user_agent=b"/me:1/")
    client.connect(node.host, node.port).result()
    assert client.expect("version").result().services == 1
    assert node.expect("version").result().user_agent == b"/me:1/"
    node.when_ready().result()
    client.send("ping", nonce=7)
    assert client.expect("pong").result().nonce == 7

def test_nobody(scripted_peer):
    scripted_peer.connect("127.0.0.1", 1).result()
"""
    )
    result = project.run()
    assert outcome(result) == {"passed": 1, "failed": 1}
    result.stdout.fnmatch_lines(["*Unmet: 127.0.0.1:1: Connection refused"])


CLIENT = """
@pytest.mark.capture
def test_chain(recorded_node):
    lightclient.fetch_chain(*recorded_node.address)

@pytest.mark.capture("captures/test_it/test_chain.pcapng", timeout=5)
def test_same(replayed_client, make_scripted_peer):
    peer = make_scripted_peer({config})
    running = replayed_client.run(peer.host, peer.port)
    peer.expect("getheaders").result()
    peer.send("headers", headers=())
    {end}
"""
NODE = "user_agent=b'/LBRY.GO:1/', protocol_version=70013, newest_block=lambda: (bytes(32), 300)"


@pytest.mark.slow
def test_a_recorded_client_fails_the_test_if_the_node_is_another(project, upstream):
    """The report says what is different."""
    project.config(network="lbry-regtest", upstream=upstream.address)
    project.tests(CLIENT.format(config=NODE, end="running.result()"))
    result = project.run("--record-mode=once")
    assert outcome(result) == {"passed": 1, "failed": 1}
    result.stdout.fnmatch_lines(
        [
            "*Diverged: * differences: recorded *",
            "*<- headers*",
            "*capture: captures/test_it/test_chain.pcapng",
        ]
    )


def test_a_recorded_client_is_content_with_the_recorded_node(project, upstream):
    """Nothing differs, however often."""
    project.config(network="lbry-regtest", upstream=upstream.address)
    project.tests(
        """
        @pytest.mark.capture("captures/chain.pcapng")
        def test_chain(recorded_node):
            lightclient.fetch_chain(*recorded_node.address)

        @pytest.mark.capture("captures/chain.pcapng")
        def test_same(replayed_client, replayed_node):
            for _ in range(2):
                report = replayed_client.run(*replayed_node.address).result()
                assert report.same and report.matched > 3
        """
    )
    assert outcome(project.run("--record-mode=once")) == {"passed": 2}


def test_a_report_that_nobody_looks_at_fails_the_test(project, upstream):
    """It may be bad."""
    project.config(network="lbry-regtest", upstream=upstream.address)
    project.tests(CLIENT.format(config=NODE, end="pass"))
    result = project.run("--record-mode=once")
    assert outcome(result) == {"passed": 1, "failed": 1}
    result.stdout.fnmatch_lines(["a replayed client was never awaited*"])


@pytest.mark.slow
def test_a_report_alone_if_it_is_asked_for(project, upstream):
    """Anyone who compares by himself."""
    project.config(network="lbry-regtest", upstream=upstream.address)
    end = "assert not running.result().same"
    source = CLIENT.format(config=NODE, end=end)
    project.tests(source.replace("peer.port)", "peer.port, check=False)"))
    assert outcome(project.run("--record-mode=once")) == {"passed": 2}


ENCRYPTED = """
@pytest.mark.capture("captures/sync.pcap")
def test_replay(replayed_client, {node}):
    report = replayed_client.run(*{node}.address).result()
    assert report.same and report.matched > 300

def test_script(make_scripted_peer):
    one, other = make_scripted_peer(), make_scripted_peer()
    one.connect(*other.address).result()
    one.send("ping", nonce=7)
    assert other.expect("ping").result().nonce == 7
"""


@pytest.mark.parametrize("transport", ["v1", "v2", "auto"])
def test_every_connection_can_be_encrypted(project, monkeypatch, transport):
    """By one setting."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    agreed = []
    made = FrameTransport.__init__
    monkeypatch.setattr(
        FrameTransport,
        "__init__",
        lambda self, *given, **named: agreed.append(self) or made(self, *given, **named),
    )
    project.config(network="lbry-regtest", transport=transport)
    project.tests(ENCRYPTED.format(node="replayed_node"))
    assert outcome(project.run()) == {"passed": 2}
    ids = [each.session_id for each in agreed if each.session_id is not None]
    pairs = {"v1": 0, "v2": 2, "auto": 1}[transport]  # a peer that connects has to be asked to
    assert len(set(ids)) == pairs
    assert len(ids) == 2 * pairs


def test_an_encrypted_connection_is_recorded(project, upstream):
    """Its capture is replayed with and without encryption."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    project.tests(
        """
        @pytest.mark.capture("captures/new.pcapng")
        def test_it(recorded_node, make_scripted_peer):
            make_scripted_peer().connect(*recorded_node.address).result()
        """
    )
    for transport, mode in (("v2", "once"), ("v2", "none"), ("v1", "none")):
        project.config(network="lbry-regtest", transport=transport, upstream=upstream.address)
        assert outcome(project.run(f"--record-mode={mode}")) == {"passed": 1}
    path = project.path / "captures" / "new.pcapng"
    assert [each.command for each in open_capture(path)][:3] == ["version", "version", "verack"]


def test_a_transport_that_is_none(project):
    """Is a wrong setting."""
    project.config(network="lbry-regtest", transport="opaque")
    project.tests(ENCRYPTED.format(node="replayed_node"))
    result = project.run()
    result.stdout.fnmatch_lines(["*transport 'opaque' is not among auto, v1, v2*"])
