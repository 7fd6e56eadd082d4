"""What the dissector makes of conversations: packets, versions, beginnings, chains, verdicts."""

import os
from pathlib import Path

import pytest

from lbcproxy import networks
from lbcproxy.networks import Network, all_networks
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from tests.capture.changed_traffic import TALK, record
from tests.wireshark.captured import handshake, write
from tests.wireshark.judging import compared, dissected, run_tshark

pytestmark = pytest.mark.slow

LBRY = networks.get("lbry-regtest")
BITCOIN = networks.get("bitcoin-regtest")
PING = bytes(range(8))
KNOWN_TO_WIRESHARK = ("bitcoin-mainnet", "bitcoin-testnet3", "bitcoin-regtest")


def ping(network: Network = LBRY, payload: bytes = PING) -> bytes:
    """Return the frame of a ping."""
    return frame(network.magic, "ping", payload)


def inv(network: Network, count: int) -> bytes:
    """Return the frame of an inv of so many things."""
    things = tuple(InventoryVector(type=1, hash=bytes((n % 256,)) * 32) for n in range(count))
    return frame(network.magic, "inv", Codec(network).encode(Inv(inventory=things)))


def fields(folder: Path, capture: Path, *names: str, arguments: tuple[str, ...] = ()) -> list[str]:
    """Return some fields of each packet that has the first."""
    chosen = [word for name in names for word in ("-e", name)]
    shown = run_tshark(folder, capture, "-Y", names[0], "-T", "fields", *chosen, *arguments)
    return shown.splitlines()


def lines(folder: Path, capture: Path, *arguments: str) -> list[tuple[str, str]]:
    """Return protocol and words of the packets with messages, as the list has them."""
    custom = 'gui.column.format:"P","%p","I","%i"'
    shown = run_tshark(folder, capture, "-o", custom, "-Y", "lbry", *arguments)
    found = []
    for line in shown.splitlines():
        protocol, _, words = line.strip().partition(" ")
        found.append((protocol, words.strip()))
    return found


# Packets.


@pytest.mark.parametrize("size", [1, 7, 24, 1000])
def test_messages_are_put_together_from_any_packets(tmp_path: Path, size: int):
    """TCP knows no messages: they end anywhere, several in one packet, one in many."""
    data = b"".join(ping() + inv(LBRY, count) for count in (1, 2, 0, 30 if size > 1 else 3))
    parts = [data[place : place + size] for place in range(0, len(data), size)]
    path = write(tmp_path / "parts.pcapng", LBRY, [(70013, parts)], apart=True)
    assert compared(tmp_path, path) == 2 + 8


def test_a_message_may_have_many_packets(tmp_path: Path):
    """A block has; what follows in the last packet is read as well."""
    together = [inv(LBRY, 20_000) + ping() + ping()]
    path = write(tmp_path / "long.pcapng", LBRY, [(70013, together)])
    assert lines(tmp_path, path)[-1] == ("LBRY", "inv (20000), ping ×2")
    assert compared(tmp_path, path) == 5


def test_a_capture_may_begin_in_the_middle(tmp_path: Path):
    """Of a message, and of a conversation: from the next message on everything is read."""
    parts = [inv(LBRY, 300)[5_000:], ping() + inv(LBRY, 2)[:30], inv(LBRY, 2)[30:], ping()]
    path = write(tmp_path / "middle.pcapng", LBRY, [(70013, parts)], apart=True, greeted=False)
    assert lines(tmp_path, path) == [("LBRY", "ping"), ("LBRY", "inv (2)"), ("LBRY", "ping")]


def test_bytes_between_messages_are_shown_as_such(tmp_path: Path):
    """And cost no message, though a magic may be cut in two."""
    junk = b"\0" * 40 + LBRY.magic[:2]
    parts = [ping() + junk, ping()[:3], ping()[3:] + b"rest"]
    path = write(tmp_path / "junk.pcapng", LBRY, [(70013, parts)], apart=True)
    shown = ",".join(fields(tmp_path, path, "lbry.junk")).split(",")
    assert set(shown) == {"00" * 40, junk[40:].hex(), b"rest".hex()}
    assert compared(tmp_path, path) == 4
    [first, *_] = fields(tmp_path, path, "lbry.error")
    assert first == "no message begins here"


def test_a_length_that_cannot_be_is_not_waited_for(tmp_path: Path):
    """4 GB of payload would take all that follows."""
    giant = LBRY.magic + b"inv".ljust(12, b"\0") + b"\xff\xff\xff\xff" + bytes(4)
    path = write(tmp_path / "giant.pcapng", LBRY, [(70013, [giant, ping()])])
    words = "'inv' claims 4294967295 bytes, at most 33554432 allowed"
    assert fields(tmp_path, path, "lbry.error") == [words]
    assert compared(tmp_path, path) == 3


def test_without_reassembly_it_says_what_is_missing(tmp_path: Path):
    """Who turned TCP's reassembly off sees why there is not a message."""
    raw = inv(LBRY, 4)
    path = write(tmp_path / "off.pcapng", LBRY, [(70013, [raw[:50], raw[50:]])], apart=True)
    off = ("-o", "tcp.desegment_tcp_streams:FALSE")
    assert "streams are not reassembled" in fields(tmp_path, path, "lbry.error", arguments=off)[0]


# Versions.


def test_the_version_counts_from_after_the_second_handshake_on(tmp_path: Path):
    """Each connection has its own; a ping has no nonce below 60001, wherever it stands."""
    before, after = [ping()], [handshake(LBRY, 60000), ping(LBRY, b""), ping()]
    greeting = [handshake(LBRY, 60000)]
    path = write(tmp_path / "gate.pcapng", LBRY, [(60000, [ping(LBRY, b"")]), (70013, [ping()])])
    assert compared(tmp_path, path) == 6
    together = [b"".join(before + greeting + after[1:])]
    path = write(tmp_path / "one.pcapng", LBRY, [(70013, together)], greeted=False)
    assert compared(tmp_path, path) == 3  # nobody has answered: the network's version holds
    versions = fields(tmp_path, path, "lbry.protocol_version")
    assert versions == ["70013,70013,70013,70013"]


def test_any_order_of_looking_gives_the_same(tmp_path: Path):
    """A click on a packet shows it again: nothing may have changed by what came later."""
    sessions = [(version, [ping(), inv(LBRY, 3)]) for version in (209, 60000, 70013, 31402)]
    path = write(tmp_path / "many.pcapng", LBRY, sessions)
    once, twice = (run_tshark(tmp_path, path, "-O", "lbry", *more) for more in ((), ("-2",)))
    assert once == twice
    assert "protocol_version: 209" in once


# Chains.


@pytest.mark.parametrize("network", all_networks().values(), ids=lambda each: each.id)
def test_every_network_is_known(tmp_path: Path, network: Network):
    """Where a magic is not one network's alone, one says which."""
    path = write(tmp_path / "any.pcapng", network, [(70013, [ping(network)])])
    family = {"lbry": "LBRY", "bitcoin": "Bitcoin", "litecoin": "Litecoin"}[network.family]
    more = ("-o", f"lbry.shared:{family}", "-o", "lbry.bitcoin:TRUE")
    assert fields(tmp_path, path, "lbry.network", arguments=more) == [network.id] * 3
    assert {protocol for protocol, _ in lines(tmp_path, path, *more)} == {family}


@pytest.mark.parametrize("network_id", KNOWN_TO_WIRESHARK)
def test_bitcoin_is_left_to_wireshark(tmp_path: Path, network_id: str):
    """Not a word of what was shown before is another, and no field."""
    network = networks.get(network_id)
    frames = [ping(network), inv(network, 3), frame(network.magic, "sendaddrv2", b"")]
    path = write(tmp_path / "bitcoin.pcapng", network, [(70016, [*frames, inv(network, 5_000)])])
    for form in (["-V"], ["-T", "fields", "-e", "_ws.col.Info", "-e", "bitcoin.command"], []):
        with_plugin, without = (
            run_tshark(tmp_path, path, *form, plugin=plugin) for plugin in (True, False)
        )
        assert ("Bitcoin protocol" if "-V" in form else "ping, inv") in with_plugin
        assert with_plugin == without
    # Lua marks a packet that one of its dissectors was asked about, with an item nobody sees.
    marked, plain = (
        run_tshark(tmp_path, path, "-T", "json", plugin=plugin) for plugin in (True, False)
    )
    unmarked = [each for each in marked.splitlines() if "_ws.lua.fake" not in each]
    assert unmarked == plain.splitlines()


@pytest.mark.parametrize("choice", [("-o", "lbry.bitcoin:TRUE"), ("-d", "tcp.port==9,lbry")])
def test_bitcoin_is_ours_if_one_says_so(tmp_path: Path, choice: tuple[str, str]):
    """By a preference, or for some port: Decode As."""
    path = write(tmp_path / "bitcoin.pcapng", BITCOIN, [(70016, [inv(BITCOIN, 3)])])
    assert lines(tmp_path, path, *choice)[-1] == ("Bitcoin", "inv (3)")
    assert compared(tmp_path, path, *choice) == 3


def test_networks_with_the_same_magic_are_distinguished_by_port(tmp_path: Path):
    """And is not guessed where no port tells."""
    simnet = networks.get("lbry-simnet")
    path = write(tmp_path / "simnet.pcapng", simnet, [(70013, [ping(simnet)])], port=simnet.port)
    assert set(fields(tmp_path, path, "lbry.network")) == {"lbry-simnet"}
    path = write(tmp_path / "other.pcapng", simnet, [(70013, [ping(simnet)])])
    assert fields(tmp_path, path, "lbry.network") == []


# Verdicts and filters.


def test_verdicts_stand_with_their_messages(tmp_path: Path):
    """What a proxy did, in the list, in the tree, and to filter by."""
    path = record(tmp_path / "changed.pcapng", TALK)
    words = [words for _, words in lines(tmp_path, path)]
    assert words[:4] == ["ping [drop]", "ping [inject]", "ping [drop]", "ping [inject]"]
    assert words.count("inv (1) [rewrite]") == words.count("ping [rewrite]") == 2
    shown = dissected(tmp_path, path)
    by_verdict = {kind: sum(each.verdict == kind for each in shown) for kind in ("drop", "rewrite")}
    assert by_verdict == {"drop": 3, "rewrite": 4}
    assert sum(each.verdict is None for each in shown) == sum(
        2 for each in TALK if each.verdict == "pass"
    )
    tree = run_tshark(tmp_path, path, "-Y", 'lbry.verdict == "drop"', "-O", "lbry")
    assert "[Expert Info (Note/Comment): #1 ping verdict=drop by " in tree


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("lbry.inv.inventory.count > 2", 1),
        ('lbry.inv.inventory.type == "TX"', 2),
        ("lbry.ping.nonce == 0x0706050403020100", 1),
        ('lbry.inv.inventory.hash contains "0202"', 1),
        ('lbry.command == "ping" && lbry.length == 8', 1),
        ("lbry.version.version == 70013 && !lbry.verack", 2),
        ('lbry.version.user_agent contains "x"', 0),
    ],
)
def test_filters_find_messages(tmp_path: Path, wanted: str, found: int):
    """The ones of docs/wireshark.md, and the like."""
    parts = [ping(), inv(LBRY, 3), inv(LBRY, 2)]
    path = write(tmp_path / "some.pcapng", LBRY, [(70013, parts)], apart=True)
    assert len(run_tshark(tmp_path, path, "-Y", wanted).splitlines()) == found


# Hostile messages.


def test_messages_made_to_take_long_do_not(tmp_path: Path):
    """Counts that nobody keeps, as many fields as fit: seconds pass, and the rest is reported."""
    witness = b"\xfe\x20\xa1\x07\0" + b"\0" * 500_000
    head = b"\1\0\0\0\0\1" + b"\2" + (bytes(36) + b"\0" + bytes(4)) * 2
    many = head + b"\1" + bytes(9) + witness * 2 + bytes(4)
    cancel = bytes(28) + b"\xfe" + (8_000_000).to_bytes(4, "little") + bytes(32_000_000)
    alert = b"\xfe" + len(cancel).to_bytes(4, "little") + cancel + b"\0"
    frames = [
        frame(LBRY.magic, "inv", b"\xfd\x50\xc3"),
        frame(LBRY.magic, "block", bytes(112) + b"\xfe\0\x35\x0c\0"),
        frame(LBRY.magic, "tx", many),
        frame(LBRY.magic, "alert", alert),
        ping(),
    ]
    path = write(tmp_path / "hostile.pcapng", LBRY, [(70013, frames)])
    before = os.times().children_user
    shown = run_tshark(tmp_path, path, "-O", "lbry", "-Y", "lbry")
    assert os.times().children_user - before < 20  # seconds of processor; 4 as a rule
    assert "of which " in shown
    assert "inventory[0].type at byte 3: 4 bytes needed, 0 left" in shown
    assert "transactions[0].version at byte 117: 4 bytes needed, 0 left" in shown
    assert "nonce: " in shown
