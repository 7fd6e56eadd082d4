"""The plugins that come with lbcproxy, each in a session in memory."""

import ast
from pathlib import Path

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.plugin import Direction
from lbcproxy.resources import folder
from lbcproxy.session import Message
from lbcproxy.testing import Trial, load_plugin
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.addresses import Addr, AddressV2, AddrV2, TimedAddress
from lbcproxy.wire.messages.handshake import NetAddress, Version
from lbcproxy.wire.messages.inventory import GetData, Inv, InventoryVector
from lbcproxy.wire.messages.keepalive import FeeFilter, MemPool, Ping

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
CAPTURE = Path(__file__).parents[2] / "captures" / "lbcd-sync.pcap"
NOBODY = NetAddress(0, bytes(16), 0)
FILES = sorted(folder("plugins").glob("*.py"))


def trial(name, network="lbry-regtest", handshake=True, **settings):
    return Trial(*load_plugin(name, **settings), network=network, handshake=handshake)


def version(agent=b"/real:1/", height=0):
    return Version(70013, 1, 1_700_000_000, NOBODY, NOBODY, 7, agent, height, True)


@pytest.fixture(scope="module")
def captured():
    """Return the messages of a real conversation of two lbcd nodes."""
    entries = list(open_capture(CAPTURE))
    return {
        command: [each for each in entries if each.command == command]
        for command in {each.command for each in entries}
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_says_how_it_is_used(path):
    """A user's first template: what it does, and the line that starts it."""
    words = ast.get_docstring(ast.parse(path.read_text()))
    assert f"-s {path.stem}" in words or f'-s "{path.stem} ' in words
    assert "Usage: lbcproxy run" in words
    assert f"`{path.stem}`" in (path.parent / "README.md").read_text()
    assert len(path.read_text().splitlines()) <= 80


def test_drop_command():
    """In one direction, or both."""
    one = trial("drop_command", commands="mempool,ping", direction="to_upstream")
    assert one.to_upstream(MemPool()) == "drop"
    assert one.to_upstream(Ping(1)) == "drop"
    assert one.to_client(Ping(1)) == "pass"


def test_slow_inventory():
    """What follows it waits too."""
    slow = trial("slow_inventory", seconds=2)
    slow.to_client(Inv((InventoryVector(1, bytes(32)),)), Ping(1))
    assert slow.client_got == []
    slow.advance(2)
    assert [each.command for each in slow.client_got] == ["inv", "ping"]


def test_user_agent():
    """Both ways; all else of the version stays."""
    quiet = trial("user_agent", handshake=False, agent="/quiet:1/")
    quiet.to_upstream(version())
    quiet.to_client(version())
    for [got] in (quiet.upstream_got, quiet.client_got):
        assert got.record == version(b"/quiet:1/")
    assert quiet.entries[0].message.record.user_agent == b"/real:1/"


@pytest.mark.parametrize(("host", "kind"), [("10.0.0.5", 1), ("fe80::5", 2)])
def test_pin_addresses(host, kind):
    """Whoever learns an address learns ours."""
    pinned = trial("pin_addresses", host=host, port=9246)
    real = TimedAddress(1, 1, bytes(10) + b"\xff\xff\x01\x02\x03\x04", 8333)
    pinned.to_client(Addr((real, real)), AddrV2((AddressV2(1, 1, 1, b"\x01\x02\x03\x04", 8333),)))
    first, second = pinned.client_got
    [address] = first.to_dict()["addresses"]
    assert (address["ip"], address["port"]) == (host, 9246)
    assert second.record.addresses[0].network_id == kind
    hello = trial("pin_addresses", handshake=False, host=host, port=9246)
    hello.to_upstream(version())
    assert hello.upstream_got[0].record.addr_from.port == 9246


def test_black_hole(captured):
    """It is not announced, requested or sent."""
    tx = captured["tx"][0].message
    other = InventoryVector(1, bytes(32))
    it = InventoryVector(1, tx.record.txid)
    hole = trial("black_hole", txid=tx.record.txid[::-1].hex())
    assert hole.to_client(Inv((it,))) == "drop"
    assert hole.to_client(Inv((it, other))) == "rewrite"
    assert hole.to_upstream(GetData((it,))) == "drop"
    assert hole.to_client(tx.raw) == "drop"
    assert hole.to_client(captured["tx"][1].message.raw) == "pass"
    assert [each.record for each in hole.client_got[:1]] == [Inv((other,))]


def test_withhold_block(captured):
    """It is sent later, byte for byte; everything else passes."""
    block = captured["block"][0].message
    held = trial("withhold_block", seconds=30)
    assert held.to_client(block.raw) == "drop"
    assert held.to_client(Ping(1)) == "pass"
    held.advance(29)
    assert [each.command for each in held.client_got] == ["ping"]
    held.advance(1)
    assert held.client_got[-1].raw == block.raw
    assert held.entries[-1].verdict == "inject"
    assert held.entries[-1].trail == ("WithholdBlock: inject: withheld for 30 s",)
    one = trial("withhold_block", block_hash="00" * 32)
    assert one.to_client(block.raw) == "pass"


def test_log_claims(captured, capsys):
    """A line for each, and a table at the end; nothing is changed."""
    names = trial("log_claims")
    for entry in captured["tx"] + captured["block"]:
        assert names.to_client(entry.message.raw) == "pass"
    lines = len(capsys.readouterr().out.splitlines())
    names.end()
    table = capsys.readouterr().out
    assert lines > 100
    assert sum(int(row.split()[0]) for row in table.splitlines()) == lines


def test_eclipse(captured):
    """Up to the height that was said; then nothing of blocks, and all else."""
    dark = trial("eclipse", handshake=False, after=1)
    dark.to_upstream(version())
    dark.to_client(version(height=2))
    for entry in captured["block"][:5]:
        dark.to_client(entry.message.raw)
    assert [each.command for each in dark.client_got] == ["version", "block", "block", "block"]
    block, tx = InventoryVector(2, bytes(32)), InventoryVector(1, bytes(32))
    assert dark.to_client(Inv((block,))) == "drop"
    assert dark.to_client(Inv((block, tx))) == "rewrite"
    assert dark.to_client(Ping(1)) == "pass"
    assert dark.to_upstream(Inv((block,))) == "pass"


def test_fee_filter():
    """Another number."""
    dear = trial("fee_filter", min_fee=100_000)
    dear.to_client(FeeFilter(1000))
    assert dear.client_got[0].record == FeeFilter(100_000)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("checksum", "checksum"),
        ("truncate", "bytes needed"),
        ("trailing", "9 bytes, at most 8 allowed"),
    ],
)
def test_malform(how, words):
    """The next node sees what is wrong; each second passes unharmed."""
    bad = trial("malform", commands="ping", how=how, each=2)
    bad.to_upstream(Ping(1), Ping(2))
    first, second = bad.upstream_got
    assert first.error is None
    assert words in second.error
    assert bad.entries[1].verdict == "rewrite"


@pytest.mark.parametrize("how", ["magic", "length"])
def test_malformed_headers(how):
    """What follows cannot be found by its offset."""
    bad = trial("malform", commands="ping", how=how)
    bad.to_upstream(Ping(1))
    [raw] = {bad.bytes_to(UP)}
    sound = frame(networks.get("lbry-regtest").magic, "ping", (1).to_bytes(8, "little"))
    assert raw != sound
    assert len(raw) == len(sound)
    assert Message("ping", UP, sound, Codec(networks.get("lbry-regtest"))).error is None
