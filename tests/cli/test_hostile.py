"""The author of a capture, or a peer, cannot control the terminal of its reader."""

import json
import re
import struct
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.cli.sanitizer import sanitize
from lbcproxy.endpoint import Endpoint
from lbcproxy.text import printable
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import HEADER_SIZE, frame
from lbcproxy.wire.messages.handshake import NetAddress, Version
from lbcproxy.wire.messages.reject import Reject

NETWORK = networks.get("lbry-regtest")
EVIL = "\n#1 EVIL\r\x1b[31m\x1b]0;title\x07\x9b2J\u202etxet\u2066\x00\x7f\x85\u2028end"
"""A line of its own, a colour, a title, C1 controls, text turned around."""
ALLOWED = {"\n", "\t"}
MARK = re.compile(r"^ *#1 EVIL", re.MULTILINE)


def wrong_in(text: str) -> list[str]:
    """Return what of an output a terminal would act on, and lines that a file has made up."""
    bad = [
        hex(ord(each))
        for each in text
        if each not in ALLOWED and unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp", "Cs")
    ]
    return bad + MARK.findall(text)


def payloads() -> list[tuple[str, bytes]]:
    """Messages of a peer who writes what it likes wherever it may."""
    codec, text = Codec(NETWORK), EVIL.encode("utf-8", "surrogatepass")
    nobody = NetAddress(0, bytes(16), 0)
    version = Version(70013, 1, 1, nobody, nobody, 5, text[:200], 3, True)
    script = b"\xb5" + bytes((len(text),)) + text + b"\x01v\x6d\x75\x51"
    output = struct.pack("<q", 5) + bytes((len(script),)) + script
    tx = b"\1\0\0\0\1" + bytes(36) + b"\0" + b"\xff" * 4 + b"\1" + output + bytes(4)
    return [
        ("version", codec.encode(version)),
        ("reject", codec.encode(Reject(text[:12], 0x10, text))),
        ("reject", codec.encode(Reject(b"tx", 0x10, text, bytes(32)))[:-3]),
        ("tx", tx),
        ("\x1b[31m\n#1 EVIL", b""),
        ("ping", b"\x1b[31m\n"),
    ]


def lines() -> list[dict[str, Any]]:
    """A session as ndjson says it."""
    hour = "2026-11-23T07:{:02}:00.000000000Z"
    said: list[dict[str, Any]] = [
        {
            "event": "section",
            "network": NETWORK.id,
            "legs": "client",
            "changes": False,
            "metadata": {"os": EVIL, EVIL: EVIL, "proxy": EVIL},
            "comments": [EVIL],
        },
        {
            "event": "started",
            "time": hour.format(1),
            "session": 1,
            "network": NETWORK.id,
            "client": "10.0.0.1:5",
            "listen": "10.0.0.2:29246",
            "upstream": "10.0.0.3:29246",
        },
    ]
    for number, (command, payload) in enumerate(payloads(), 1):
        raw = frame(NETWORK.magic, command.encode("latin-1")[:12].decode("latin-1"), payload)
        said.append(
            {
                "number": number,
                "time": hour.format(1 + number),
                "session": 1,
                "direction": "to_upstream" if number % 2 else "to_client",
                "command": command,
                "length": len(payload),
                "payload": payload.hex(),
                "header": raw[:HEADER_SIZE].hex(),
                "verdict": "drop" if number > 2 else "pass",
                "trail": [f"guard{EVIL}: drop: {EVIL}"] if number > 2 else [],
            }
        )
    end = {"cause": "plugin", "by": "client", "name": EVIL, "detail": EVIL}
    said.append({"event": "ending", "time": hour.format(30), "session": 1, "end": end})
    said.append({"event": "reset", "time": hour.format(31), "session": 1, "direction": "to_client"})
    said.append({"event": "lost", "time": hour.format(32), "messages": 3, "bytes": 9, "why": EVIL})
    return said


def write(path: Path, said: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in said))
    return path


def strings(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of the texts in a value."""
    if isinstance(value, str):
        return [place]
    if not isinstance(value, dict | list):
        return []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for key, each in items for found in strings(each, (*place, key))]


def with_evil(value: Any, place: tuple[Any, ...]) -> Any:
    """Return a value in which something evil is appended to one text."""
    if not place:
        return value + EVIL
    key, *rest = place
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[key] = with_evil(value[key], tuple(rest))
    return copied


@pytest.fixture
def hostile(tmp_path: Path, lbcproxy) -> list[Path]:
    """Captures of all formats, of which each text that can be hostile is."""
    folder = tmp_path / "made"
    folder.mkdir()
    source = write(folder / "a.ndjson", lines())
    made = [source]
    for suffix in ("pcapng", "pcap"):
        target = folder / f"a.{suffix}"
        assert lbcproxy("convert", source, target).code == 0
        made.append(target)
    own = made[1].read_bytes()
    comment = EVIL.encode()
    block = struct.pack("<HH", 1, len(comment)) + comment + bytes(-len(comment) % 4)
    section = struct.unpack("<I", own[4:8])[0]
    options = own[24 : section - 8] + b""
    body = own[8:24] + block * 2 + options + bytes(4)
    size = struct.pack("<I", 12 + len(body))
    commented = folder / "commented.pcapng"
    commented.write_bytes(own[:4] + size + body + size + own[section:])
    core = folder / "core" / "10.0.0.9\x1b[31m\n#1 EVIL\u202e"
    core.mkdir(parents=True)
    record = struct.pack("<Q12sI", 1, b"ping", 8) + bytes(8)
    for name in ("msgs_recv.dat", "msgs_sent.dat"):
        (core / name).write_bytes(record)
    return [*made, commented, core]


def commands(path: Path, out: Path) -> list[list[object]]:
    """Every command that reads a capture, in every way."""
    network = ["--network", NETWORK.id] if path.is_dir() else []
    looks = [[], ["-V"], ["-x"], ["-T", "ndjson"], ["-T", "ndjson", "-x"]]
    looks += [["-T", "fields", *[part for key in KEYS for part in ("-e", key)]]]
    return [
        *(["show", *look, *network, path] for look in looks),
        ["info", *network, path],
        ["info", "-T", "json", *network, path],
        ["info", "--quick", *network, path],
        ["diff", *network, path, path],
        ["diff", "-T", "json", *network, path, path],
        ["cut", *network, path, out / "cut.pcapng", "ping or version"],
        ["convert", *network, path, out / "converted.ndjson"],
        ["convert", *network, path, out / "converted.pcap"],
        ["merge", *network, out / "merged.pcapng", path, path],
        ["anonymise", *network, path, out / "anonymous.pcapng"],
        ["repair", path, "-o", out / "repaired"],
        ["replay", "offline", *network, path, "-s", "slow-inventory"],
    ]


KEYS = ("command", "message", "error", "verdict", "trail", "claims", "partial")


def test_nothing_in_a_capture_acts_on_the_terminal(hostile, lbcproxy, tmp_path):
    """Whatever it contains, and whatever is done with it."""
    seen = 0
    for number, path in enumerate(hostile):
        for place, command in enumerate(commands(path, tmp_path / f"{number}")):
            out = tmp_path / f"{number}"
            out.mkdir(exist_ok=True)
            ended = lbcproxy(*command)
            assert wrong_in(ended.out) == [], (command, ended.out)
            assert wrong_in(ended.err) == [], (command, ended.err)
            seen += "EVIL" in ended.out + ended.err
            del place
    assert seen > 20  # escaped it is there to be seen


@pytest.mark.slow
def test_no_text_of_a_line_of_ndjson_does(lbcproxy, tmp_path):
    """Each text in turn, those too that make the file a wrong one."""
    said = lines()
    for number, line in enumerate(said):
        for place in strings(line):
            changed = [*said[:number], with_evil(line, place), *said[number + 1 :]]
            path = write(tmp_path / "x.ndjson", changed)
            for command in (["info", path], ["show", path]):
                ended = lbcproxy(*command)
                assert wrong_in(ended.out + ended.err) == [], (command, number, place)


def test_no_name_of_a_file_does(lbcproxy, tmp_path):
    """Nor what somebody types, whose words are said again."""
    path = tmp_path / "a\x1b[31m\n#1 EVIL\u202e.pcapng"
    for command in (["show", path], ["info", path], ["show", tmp_path, EVIL], ["decode", EVIL]):
        ended = lbcproxy(*command)
        assert ended.code != 0
        assert [each for each in wrong_in(ended.err) if each != "#1 EVIL"] == []
    path.write_bytes(b"")
    ended = lbcproxy("info", path)
    assert [each for each in wrong_in(ended.out + ended.err) if each != "#1 EVIL"] == []


@pytest.mark.parametrize("host", ["a\x1b[31m", "a\nb", "a\u202eb", "a\x85", "\x00", "a\tb"])
def test_an_endpoint_refuses_control_characters(host):
    """However it is made."""
    for make in (lambda: Endpoint(host, 1), lambda: Endpoint.parse(f"{host}:1")):
        with pytest.raises(ValueError):  # noqa: PT011  # the words differ
            make()
    assert Endpoint("exämple.org", 1) == ("exämple.org", 1)


def test_output_is_sanitized_except_for_our_own_colours():
    """Parts of a line are made printable where it is built; this catches everything else."""
    assert sanitize("a\n\tb é") == "a\n\tb é"
    assert sanitize("a\x1b[31mb\r\x07") == r"a\x1b[31mb\r\x07"
    assert sanitize("\x1b[1;31mred\x1b[0m", styles=True) == "\x1b[1;31mred\x1b[0m"
    assert sanitize("\x1b[8mhidden\x1b[2J\u202e", styles=True) == r"\x1b[8mhidden\x1b[2J\u202e"
    assert wrong_in(sanitize(EVIL)) == ["#1 EVIL"]
    assert wrong_in(printable(EVIL)) == []


def test_the_evil_is_in_the_files(hostile):
    """Otherwise the tests above would show nothing."""
    entries = list(open_capture(hostile[1]))
    assert any(EVIL in " ".join(each.trail) for each in entries)
    assert any(each.message.record and EVIL.encode()[:100] in each.raw for each in entries)
