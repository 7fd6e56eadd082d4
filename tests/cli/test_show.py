"""`lbcproxy show`: captures listed as they are, damaged and foreign ones too."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import defaultdict

import pytest

from tests.tools import TIMEOUT

CAPTURES = ("lbcd-sync", "lbcd-probe")
SERVER = 29300
LINE = re.compile(r"#(\d+) +(->|<-) (\S+) +(\d+)B(?:  |$)")


def streams(rows):
    """Gather (session, from client?, message) as one list of messages a direction."""
    found = defaultdict(list)
    for session, from_client, message in rows:
        found[session, from_client].append(message)
    return sorted((from_client, *messages) for (_, from_client), messages in found.items())


def truth(captures, name):
    """Return what tcpdump's capture really holds, a list a direction."""
    lists = json.loads((captures / f"{name}.truth.json").read_text())
    return sorted(
        (each["dst"] == SERVER, *map(tuple, each["messages"])) for each in lists if each["messages"]
    )


@pytest.mark.parametrize("name", CAPTURES)
def test_objects_are_exactly_the_messages_of_the_capture(lbcproxy, captures, name):
    """Every message of every connection, in order, byte for byte."""
    ended = lbcproxy("show", "-T", "ndjson", "-x", captures / f"{name}.pcap")
    assert (ended.code, ended.err) == (0, "")
    entries = [json.loads(line) for line in ended.lines]
    assert [entry["number"] for entry in entries] == list(range(1, len(entries) + 1))
    rows = []
    for entry in entries:
        digest = hashlib.sha256(bytes.fromhex(entry["payload"])).hexdigest()[:16]
        message = (entry["command"], entry["length"], digest)
        rows.append((entry["session"], entry["direction"] == "to_upstream", message))
    assert streams(rows) == truth(captures, name)


@pytest.mark.parametrize("name", CAPTURES)
def test_lines_are_exactly_the_messages_of_the_capture(lbcproxy, captures, name):
    """One line a message, with its command and size."""
    ended = lbcproxy("show", captures / f"{name}.pcap")
    assert (ended.code, ended.err) == (0, "")
    rows = []
    for line in ended.lines:
        found = LINE.match(line)
        assert found, line
        rows.append((int(found[1]), found[2] == "->", (found[3], int(found[4]))))
    want = [(side, *((each[0], each[1]) for each in rest)) for side, *rest in truth(captures, name)]
    assert streams(rows) == sorted(want)


def test_lines_and_objects_are_in_the_same_order(lbcproxy, captures):
    """The times rise, and the two forms tell one story."""
    path = captures / "lbcd-probe.pcap"
    lines = [LINE.match(line).group(2, 3, 4) for line in lbcproxy("show", path).lines]
    entries = [json.loads(line) for line in lbcproxy("show", "-T", "ndjson", path).lines]
    arrows = {"to_upstream": "->", "to_client": "<-"}
    objects = [(arrows[e["direction"]], e["command"], str(e["length"])) for e in entries]
    assert lines == objects
    assert [e["time"] for e in entries] == sorted(e["time"] for e in entries)


def test_messages_that_are_malformed_say_where_and_why(lbcproxy, captures):
    """The two of the probe, and no other message, have an error."""
    ended = lbcproxy("show", "-T", "ndjson", captures / "lbcd-probe.pcap")
    wrong = [entry for line in ended.lines if (entry := json.loads(line))["error"] is not None]
    assert [(entry["command"], entry["error"], entry["message"]) for entry in wrong] == [
        ("version", "services at byte 4: 8 bytes needed, 6 left", None),
        (
            "filterload",
            "payload at byte 0: needs protocol version 70001, 60002 was agreed",
            None,
        ),
    ]
    text = lbcproxy("show", captures / "lbcd-probe.pcap").out
    for entry in wrong:
        assert f"! {entry['error']}\n" in text


def test_every_message_of_the_sync_is_read(lbcproxy, captures):
    """A sync of two lbcd nodes has no error at all."""
    ended = lbcproxy("show", "-T", "ndjson", captures / "lbcd-sync.pcap")
    assert all(json.loads(line)["error"] is None for line in ended.lines)
    assert all(json.loads(line)["message"] is not None for line in ended.lines)


def test_trees_and_hexdumps_go_under_their_line(lbcproxy, captures):
    """`-V` and `-x` add lines, indented; the lines of messages stay."""
    plain = lbcproxy("show", captures / "lbcd-probe.pcap").lines
    ended = lbcproxy("show", "-V", "-x", captures / "lbcd-probe.pcap")
    assert [line for line in ended.lines if not line.startswith("    ")] == plain
    assert "    user_agent: /spv-probe:1.0/" in ended.lines
    assert any(line.startswith("    0000000000 7d 11 01 00 ") for line in ended.lines)


def test_chosen_fields_are_separated_by_tabs(lbcproxy, captures):
    """For spreadsheets and shell scripts; lists are joined by commas."""
    options = ("-T", "fields", "-e", "number", "-e", "command", "-e", "message.user_agent")
    ended = lbcproxy("show", *options, "-e", "claims.name", captures / "lbcd-probe.pcap")
    rows = [line.split("\t") for line in ended.lines]
    assert rows[0] == ["1", "version", "/spv-probe:1.0/", ""]
    [tx] = [row for row in rows if row[0] == "27"]
    assert tx[1] == "tx"
    assert tx[3].startswith("clip-151-1,clip-")


def test_claims_and_addresses_are_in_the_tree(lbcproxy, captures):
    """Readable, because that is what LBRY developers look for."""
    ended = lbcproxy("show", "-V", captures / "lbcd-sync.pcap")
    assert "                name: clip-140-1" in ended.lines
    assert any(line.strip().startswith("claim_id: ") for line in ended.lines)
    assert any(line.strip().startswith("address: ") for line in ended.lines)


def test_a_damaged_file_is_shown_up_to_the_damage(lbcproxy, captures, tmp_path):
    """Exit code 3 and the place, after everything before the damage."""
    whole = (captures / "lbcd-sync.pcap").read_bytes()
    path = tmp_path / "cut.pcap"
    path.write_bytes(whole[: len(whole) // 2])
    ended = lbcproxy("show", path)
    assert ended.code == 3
    lines = lbcproxy("show", captures / "lbcd-sync.pcap").lines
    assert len(ended.lines) > 300
    assert ended.lines[:300] == lines[:300]
    assert re.fullmatch(
        r"lbcproxy: the last packet is cut: [\d,]+ of [\d,]+ bytes "
        r"\(at byte [\d,]+ of the file\)\n",
        ended.err,
    )


def test_an_unknown_network_names_the_candidates(lbcproxy, captures):
    """A usage error: nothing is printed."""
    ended = lbcproxy("show", "--network", "lbry-nope", captures / "lbcd-sync.pcap")
    assert (ended.code, ended.out) == (2, "")
    assert "no network 'lbry-nope'; known: bitcoin-mainnet, " in ended.err
    assert "lbry-mainnet, lbry-testnet, lbry-regtest, lbry-simnet, lbry-signet" in ended.err


def test_a_magic_of_two_chains_is_not_guessed(lbcproxy, captures, tmp_path):
    """LBRY simnet and Bitcoin simnet share one, with different headers."""
    shared = (captures / "lbcd-probe.pcap").read_bytes()
    path = tmp_path / "simnet.pcap"
    path.write_bytes(shared.replace(bytes.fromhex("fae4aad1"), bytes.fromhex("161c1412")))
    ended = lbcproxy("show", path)
    assert (ended.code, ended.out) == (2, "")
    assert "magic 161c1412 is that of bitcoin-simnet and lbry-simnet: say --network" in ended.err
    assert len(lbcproxy("show", "--network", "lbry-simnet", path).lines) == 104


def test_a_capture_of_other_traffic_says_so(lbcproxy, captures, tmp_path):
    """No connection begins with a known magic."""
    other = (captures / "lbcd-probe.pcap").read_bytes()
    path = tmp_path / "other.pcap"
    path.write_bytes(other.replace(bytes.fromhex("fae4aad1"), b"\xde\xad\xbe\xef"))
    ended = lbcproxy("show", path)
    assert (ended.code, ended.out) == (2, "")
    assert "none of its 5 connections begins with the magic of a known network" in ended.err


def test_a_file_that_is_not_there_is_an_error(lbcproxy, tmp_path):
    """Exit code 1, with the system's own words."""
    ended = lbcproxy("show", tmp_path / "nothere.pcap")
    assert (ended.code, ended.out) == (1, "")
    assert (
        ended.err == f"lbcproxy: cannot read {tmp_path}/nothere.pcap: No such file or directory\n"
    )


def test_a_file_that_is_not_a_capture_is_an_error(lbcproxy, tmp_path):
    """It says what it begins with and what would be understood."""
    path = tmp_path / "text.pcap"
    path.write_text("this is text")
    ended = lbcproxy("show", path)
    assert ended.code == 1
    assert (
        "not a capture: it begins with 74686973; known formats: core, ndjson, pcap, pcapng"
        in ended.err
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("-T", "fields"), "-T fields needs at least one -e PATH"),
        (("-e", "command"), "-e needs -T fields"),
        (("-T", "xml"), "'xml' is not one of"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(lbcproxy, captures, options, text):
    """Said before anything is read."""
    ended = lbcproxy("show", *options, captures / "lbcd-sync.pcap")
    assert (ended.code, ended.out) == (2, "")
    assert text in ended.err


def test_a_terminal_with_another_character_set_works(captures, tmp_path):
    """A node's user agent may be in any script; what cannot be written is escaped."""
    raw = (captures / "lbcd-probe.pcap").read_bytes()
    path = tmp_path / "agent.pcap"
    path.write_bytes(raw.replace(b"/spv-probe:1.0/", "/sp-\u4e2d\u6587:1.0/".encode()))
    done = subprocess.run(
        [sys.executable, "-m", "lbcproxy", "show", str(path)],
        env={**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0
    assert b"agent /sp-\\u4e2d\\u6587:1.0/" in done.stdout
