"""`lbcproxy decrypt` and `show --keys`: captured encrypted connections."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.transport.key_log import format_line
from tests.transport.conversations import dump, encrypted

SYNC = "lbcd-sync.pcap"
MAGIC = networks.get("lbry-regtest").magic


@pytest.fixture
def dumped(captures, tmp_path):
    """Write the dump of an encrypted conversation and its key log; return both."""
    entries = open_capture(captures / SYNC)
    frames = [(each.direction, each.message.raw) for each in entries if each.message is not None]
    parts, logged = encrypted(frames, MAGIC, garbage=b"noise", decoys=True)
    keys = tmp_path / "keys.log"
    keys.write_text(f"# written by a test\n{format_line(logged)}")
    return dump(tmp_path / "dump.pcap", parts), keys


def test_a_dump_is_decrypted(lbcproxy, captures, tmp_path, dumped):
    """And then it is a capture like any other."""
    path, keys = dumped
    plain = tmp_path / "plain.pcapng"
    done = lbcproxy("decrypt", path, "--keys", keys, "-w", plain)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"Wrote 400 messages of 1 sessions to {plain}.\n"
    wanted = lbcproxy("show", captures / SYNC).lines
    shown = [line.partition("  v2")[0] for line in lbcproxy("show", plain).lines]
    assert len(shown) == 400
    assert sorted(shown) == sorted(wanted)
    assert "errors    none" in lbcproxy("info", plain).out


def test_what_is_decrypted_says_how_it_came(lbcproxy, tmp_path, dumped):
    """In the capture, and at once: v2, the session id, decoys and long types."""
    path, keys = dumped
    plain = tmp_path / "plain.pcapng"
    lbcproxy("decrypt", path, "--keys", keys, "-w", plain)
    at_once = lbcproxy("show", path, "--keys", keys).lines
    assert lbcproxy("show", plain).lines == at_once
    assert "  v2: long type, 1 decoys before it" in "\n".join(at_once)
    assert all("  v2: " in line for line in at_once)
    [shown] = map(json.loads, lbcproxy("info", "-T", "json", plain).lines)
    [session] = shown["sessions"]
    assert session["transports"]["client"] == session["transports"]["upstream"]
    assert len(session["transports"]["client"]["session_id"]) == 64
    assert len(lbcproxy("show", path, "--keys", keys, "transport == 'v2'").lines) == 400


def test_show_decrypts(lbcproxy, dumped):
    """With the key log; without it nothing of a known network is found."""
    path, keys = dumped
    shown = lbcproxy("show", path, "--keys", keys, "version")
    assert shown.code == 0
    assert len(shown.lines) == 2
    without = lbcproxy("show", path)
    assert (without.code, without.out) == (2, "")
    assert "none of its 1 connections" in without.err


def test_bad_key_logs(lbcproxy, tmp_path, dumped):
    """A line that cannot be read is named, and the others are used; an empty log is an error."""
    path, keys = dumped
    text = keys.read_text()
    keys.write_text(text + text[text.index("BIP") : -5])
    shown = lbcproxy("show", path, "--keys", keys, "ping")
    assert shown.code == 0
    assert f"{keys}, line 3: not the line of a key log; ignored" in shown.err
    keys.write_text("")
    for command in (("show", path), ("decrypt", path, "-w", tmp_path / "x.pcapng")):
        done = lbcproxy(*command, "--keys", keys)
        assert done.code == 1
        assert f"{keys} has no key" in done.err
    done = lbcproxy("show", path, "--keys", tmp_path / "absent")
    assert done.code == 1
    assert "absent: No such file" in done.err
    assert not (tmp_path / "x.pcapng").exists()


def test_without_the_library(lbcproxy, monkeypatch, dumped):
    """It says what to install; a dump whose secret is not in the log does not need it."""
    path, keys = dumped
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.hashes", None)
    for name in ("keys", "packets", "ciphers"):
        monkeypatch.delitem(sys.modules, f"lbcproxy.transport.{name}", raising=False)
    done = lbcproxy("show", path, "--keys", keys)
    assert done.code == 1
    assert "needs cryptography: install lbcproxy with its extra bip324" in done.err
