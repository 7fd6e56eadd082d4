"""A message that cannot be read to its end, as every way of looking shows it."""

import json
from pathlib import Path

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.plugin import Plugin
from lbcproxy.testing import Trial
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.reject import Reject
from tests.wireshark.captured import write

FILE = Path(__file__).parents[1] / "cases" / "rejnohash.pcap"
REASON = "error parsing message"
NETWORK = networks.get("lbry-regtest")


def test_the_line_shows_the_decoded_part_and_the_error(lbcproxy):
    """The reason of a reject is what one looks for, and old nodes send it without the hash."""
    for arguments in ([], ["-V"]):
        ended = lbcproxy("show", *arguments, FILE, "reject")
        lines = [line for line in ended.lines if line.startswith("#")]
        assert len(lines) == 2
        for line in lines:
            assert f"reason {REASON}" in line
            assert "! hash at byte" in line
        assert ended.lines.count(f"    reason: {REASON}") == (2 if arguments else 0)


def test_ndjson_has_partial_where_message_is_null(lbcproxy):
    """And nothing new where it is not."""
    objects = list(map(json.loads, lbcproxy("show", "-T", "ndjson", FILE).lines))
    for each in objects:
        assert ("partial" in each) == (each["command"] == "reject")
        if "partial" in each:
            assert each["message"] is None
            assert each["partial"]["reason"] == REASON
            assert "hash" not in each["partial"]
    fields = lbcproxy("show", "-T", "fields", "-e", "partial.reason", FILE, "reject")
    assert fields.lines == [REASON, REASON]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('reject.reason =~ "parsing"', 2),
        ("reject.code == 1 and error", 2),
        ('reject.hash == "' + "00" * 32 + '"', 0),
        ('reject.hash != "' + "00" * 32 + '"', 0),
        ('reject and not reject.hash == "' + "00" * 32 + '"', 2),
    ],
)
def test_filters_match_decoded_parts(lbcproxy, text, count):
    """What was not is absent."""
    assert len(lbcproxy("show", FILE, text).lines) == count


def test_a_message_below_its_version_shows_its_contents(lbcproxy, tmp_path):
    """Beside the note that the two have agreed on less."""
    payload = Codec(NETWORK).encode(Reject(b"version", 0x11, b"too old"))
    path = write(
        tmp_path / "early.pcapng", NETWORK, [(60000, [frame(NETWORK.magic, "reject", payload)])]
    )
    [line] = [each for each in lbcproxy("show", path).lines if "reject" in each]
    assert "reason too old" in line
    assert "needs protocol version 70002" in line
    entry = next(each for each in open_capture(path) if each.command == "reject")
    assert entry.message.record is None
    assert entry.message.partial.reason == b"too old"


def test_a_plugin_can_use_the_decoded_part():
    """`record` stays None: nothing that decides by it decides otherwise."""
    seen = []

    class Looks(Plugin):
        def on_error(self, session, message):
            seen.append((message.record, message.partial.reason, message.to_dict()))

    payload = Codec(NETWORK).encode(Reject(b"tx", 0x10, b"dust", bytes(32)))[:-32]
    assert Trial(Looks()).to_upstream(frame(NETWORK.magic, "reject", payload)) == "pass"
    assert seen == [(None, b"dust", None)]


def test_decode_prints_the_decoded_part_before_the_error(lbcproxy):
    """And fails as before."""
    payload = Codec(NETWORK).encode(Reject(b"tx", 0x10, b"dust", bytes(32)))[:-1].hex()
    ended = lbcproxy("decode", "--network", NETWORK.id, "reject", payload)
    assert ended.code != 0
    assert json.loads(ended.out)["reason"] == "dust"
    assert "hash at byte" in ended.err
    tree = lbcproxy("decode", "--network", NETWORK.id, "-V", "reject", payload)
    assert "reason: dust" in tree.lines
