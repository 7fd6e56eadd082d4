"""Hosts without an IP address in files that need one: they are distinguished and named again."""

import struct
from pathlib import Path

import msgspec
import pytest

from lbcproxy.capture import open_capture
from lbcproxy.capture.formats._core_records import HEADER
from lbcproxy.capture.reader import events as all_events
from lbcproxy.capture.writing.recorder import Recorder
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction, Session, SessionInfo
from lbcproxy.session.events import SessionStarted, UpstreamConnected
from lbcproxy.wire.envelope import frame
from tests.capture.fake_sessions import NETWORK, FakeSessions
from tests.capture.roundtrip import FORMATS, converted
from tests.tools import REPOSITORY

ONION = "abcdefghij234567abcdefghij234567abcdefghij234567abcdefgh.onion"
NAMES = [
    ONION,
    "expyuzz4wqqyqhjn.onion",
    "udhdrtrcetjm5sxzskjyr5ztpeszydbh4dpl3pl4utgqqw2v4jna.b32.i2p",
    "fc32:17ea:e415:c3bf:9808:149d:b5a2:c9aa",  # CJDNS
    "2001:db8::1",
    "10.0.0.9",
    "node.example",
    "node_1",
    "0.0.0.0",
]


def messages_of(path: Path, network: str) -> list[tuple[str, str, int, bytes]]:
    return [
        (each.direction.value, each.command, each.time_ns // 1_000, each.payload)
        for each in open_capture(path, network)
    ]


def ends(path: Path, network: str) -> set[tuple[Endpoint, Endpoint]]:
    """Between whom the sessions of a capture are, as it tells."""
    found = all_events(open_capture(path, network))
    return {(e.info.client, e.info.listen) for e in found if isinstance(e, SessionStarted)}


def core_folder(tmp_path: Path, host: str) -> Path:
    """What a node would leave of a peer at the default port that it has connected to."""
    name = str(Endpoint(host, 8333)).replace(":", "_")
    folder = tmp_path / "message_capture" / name
    folder.mkdir(parents=True)
    version = struct.pack("<iQq", 70016, 0, 0) + bytes(66)
    for file, first in (("msgs_sent.dat", 0), ("msgs_recv.dat", 5)):
        data = b""
        for step, (command, payload) in enumerate(
            [("version", version), ("verack", b""), *[("ping", bytes([n] * 8)) for n in range(5)]]
        ):
            micros = 1_700_000_000_000_000 + step * 10 + first
            data += HEADER.pack(micros, command.encode(), len(payload)) + payload
        (folder / file).write_bytes(data)
    return folder.parent


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("host", NAMES)
def test_messages_and_names_of_any_peer_come_back(tmp_path: Path, host: str, name: str):
    """Peers on Tor at the default port lost most of their messages on the way to a pcapng."""
    folder = core_folder(tmp_path, host)
    wanted = messages_of(folder, "bitcoin-mainnet")
    assert len(wanted) == 14
    out = converted(folder, tmp_path / "out", name, "bitcoin-mainnet")
    assert messages_of(out, "bitcoin-mainnet") == wanted
    if "pcap" not in name or "pcapng" in name:
        node = Endpoint("0.0.0.0", 8333)  # what Core's files know of the node
        assert ends(out, "bitcoin-mainnet") == {(node, Endpoint(host, 8333))}


def test_the_case_of_the_report(tmp_path: Path):
    """A folder of an onion peer: 14 messages, through every format and back."""
    path = REPOSITORY / "tests" / "cases" / "core_onion"
    wanted = messages_of(path, "bitcoin-mainnet")
    assert len(wanted) == 14
    for number, name in enumerate(FORMATS):
        out = converted(path, tmp_path / str(number), name, "bitcoin-mainnet")
        assert messages_of(out, "bitcoin-mainnet") == wanted, name
        back = converted(out, tmp_path / f"{number}-back", "core/", "bitcoin-mainnet")
        assert messages_of(back, "bitcoin-mainnet") == wanted, name
        if "pcapng" in name or "pcap" not in name:
            assert [each.name for each in back.iterdir()] == [f"{ONION}_8333"]


ODD = [
    Endpoint("/run/node.sock", 0),
    Endpoint("", 0),
    Endpoint("a host with spaces", 65535),
    Endpoint("a:b:c", 7),
    Endpoint("[odd", 7),
    Endpoint("host@x", 7),
    Endpoint("::ffff:10.0.0.1", 7),
    Endpoint("fe80::1%eth0", 7),
    Endpoint("x" * 300, 7),
]


@pytest.mark.parametrize("client", ODD)
@pytest.mark.parametrize("listen", [*ODD, Endpoint("10.0.0.2", 9246)])
@pytest.mark.parametrize("name", ["x.pcapng", "x.ndjson", "x.pcap"])
def test_any_two_ends_come_back(tmp_path: Path, client: Endpoint, listen: Endpoint, name: str):
    """UNIX sockets, transports of tests, both ends alike: each session is read."""
    path = tmp_path / "live.pcapng"
    with path.open("wb") as file:
        play = FakeSessions(Recorder(file.write, network=NETWORK.id))
        for number in (1, 2):
            info = SessionInfo(
                number=number, network=NETWORK.id, client=client, listen=listen, upstream=listen
            )
            play.sessions[number] = Session(number, NETWORK), info
            play.observer.started(info, play.tick())
        for number in (1, 2):
            for direction in Direction:
                raw = frame(NETWORK.magic, "ping", bytes([number] * 8))
                play.receive(number, raw, direction)
    out = converted(path, tmp_path / "out", name)
    for each in (path, out):
        assert len(list(open_capture(each))) == 4
        capture = open_capture(each)
        for _ in capture:
            pass
        assert capture.sessions == 2
        if each.suffix != ".pcap":
            assert ends(each, NETWORK.id) == {(client, listen)}


def test_an_upstream_that_is_named_keeps_its_name_on_both_legs(tmp_path: Path):
    """Mode socks5 gets a host by name; its upstream leg is read as a connection to it."""
    path = tmp_path / "socks.pcapng"
    upstream = Endpoint(ONION, 9246)
    with path.open("wb") as file:
        play = FakeSessions(Recorder(file.write, network=NETWORK.id, legs="both", changes=True))
        for number in (1, 2):
            info = SessionInfo(
                number=number,
                network=NETWORK.id,
                client=Endpoint("10.0.0.1", 1000 + number),
                listen=Endpoint("10.0.0.2", 1080),
                upstream=upstream,
            )
            play.observer.started(info, play.tick())
            info = msgspec.structs.replace(info, local=Endpoint("10.0.0.2", 5000))
            play.sessions[number] = Session(number, NETWORK), info
            play.observer.upstream_connected(info, play.tick())
        for number in (1, 2):
            for direction in Direction:
                play.receive(number, frame(NETWORK.magic, "ping", bytes([number] * 8)), direction)
    assert len(list(open_capture(path))) == 4
    found = list(all_events(open_capture(path)))
    locals_ = {each.info.local for each in found if isinstance(each, UpstreamConnected)}
    assert locals_ == {Endpoint("10.0.0.2", 5000)}
    reports = []
    capture = open_capture(path)
    capture.on_session_ended = reports.append
    for _ in capture:
        pass
    assert {each.upstream for each in reports} == {str(upstream)}
    assert {each.server for each in reports} == {upstream}


def test_nonsense_for_names_is_passed_over(tmp_path: Path):
    """The fields of a note are whatever a file says."""
    for value in (7, "x:1", ["x"], ["x", -1], ["x", 70_000], [7, 7], {"x": 1}, None, ["x", 1, 2]):
        path = tmp_path / "crafted.pcapng"
        with path.open("wb") as file:
            play = FakeSessions(Recorder(file.write, network=NETWORK.id))
            play.start(1, host="node.example", connected=False)
            play.receive(1, frame(NETWORK.magic, "ping", bytes(8)))
        data = path.read_bytes()
        good = msgspec.json.encode(["node.example", 1001])
        assert good in data
        path.write_bytes(data.replace(good, msgspec.json.encode(value)[:22].ljust(len(good))))
        assert len(list(open_capture(path))) == 1
