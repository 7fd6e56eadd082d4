"""`lbcproxy diff`: what it prints, and its exit codes."""

import json

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from tests.replay.conversations import BLOCKS, DOWN, HEADERS, TALK, have, version, write

SAME, ERROR, USAGE, DAMAGED, DIVERGED = 0, 1, 2, 3, 4
OTHER = [TALK[0], (DOWN, version(2, height=6, agent=b"/node/")), *TALK[2:-1]]


@pytest.fixture
def files(tmp_path):
    """Two captures: the talk, and one of another height and without its last block."""
    return write(tmp_path / "one.pcapng", TALK), write(tmp_path / "other.pcapng", OTHER)


@pytest.mark.parametrize("name", ["lbcd-sync", "lbcd-probe"])
def test_a_capture_is_the_same_as_itself(lbcproxy, captures, name):
    """The real ones, malformed messages and all."""
    path = captures / f"{name}.pcap"
    ended = lbcproxy("diff", path, path)
    assert (ended.code, ended.err) == (SAME, "")
    assert ended.lines[:2] == [f"A  {path}", f"B  {path}"]
    assert ended.lines[2].startswith("no difference: A ")


def test_differences_are_listed_in_order(lbcproxy, files):
    """Both files are named, the sides are called as they are there."""
    ended = lbcproxy("diff", *files)
    assert (ended.code, ended.err) == (DIVERGED, "")
    assert ended.lines == [
        f"A  {files[0]}",
        f"B  {files[1]}",
        "2 differences: A 13 messages, B 12",
        "",
        "first: #1 <- version different",
        "    A  message 2 at 22:13:21.000  agent /node/, pver 70016, block 5",
        "    B  message 2 at 22:13:21.000  agent /node/, pver 70016, block 6",
        "        start_height  A  5",
        "                      B  6",
        "",
        "#1 <- block A only",
        f"    A  message 17 at 22:13:36.000  {BLOCKS[3].summary()}",
    ]


def test_the_same_as_an_object(lbcproxy, files):
    """On one line, with all that the text says."""
    ended = lbcproxy("diff", "-T", "json", *files)
    assert ended.code == DIVERGED
    [line] = ended.lines
    report = json.loads(line)
    assert report["same"] is False
    assert report["messages"] == {"recorded": 13, "live": 12}
    assert report["difference_count"] == 2
    assert report["differences"][0] == {
        "kind": "different",
        "session": 1,
        "direction": "to_client",
        "command": "version",
        "recorded": {
            "number": 2,
            "time": "2023-11-14T22:13:21.000000000Z",
            "summary": "agent /node/, pver 70016, block 5",
        },
        "live": {
            "number": 2,
            "time": "2023-11-14T22:13:21.000000000Z",
            "summary": "agent /node/, pver 70016, block 6",
        },
        "fields": [{"path": "start_height", "recorded": "5", "live": "6"}],
        "words": "",
    }


def test_what_is_ignored_does_not_count(lbcproxy, files):
    """Heights by a flag of their own, the rest by name."""
    assert lbcproxy("diff", *files, "--ignore-heights").code == DIVERGED
    ended = lbcproxy("diff", *files, "--ignore-heights", "--ignore", "block")
    assert ended.code == SAME
    assert "A 9 messages, B 9" in ended.out
    options = ("--ignore", "version.start_height", "--ignore", "block")
    assert lbcproxy("diff", *files, *options).code == SAME


def test_sessions_can_be_chosen(lbcproxy, captures, tmp_path):
    """Of real captures too: two light clients of the same node."""
    probe = captures / "lbcd-probe.pcap"
    ended = lbcproxy("diff", probe, probe, "--session", "3:5", "-T", "json")
    assert ended.code == DIVERGED
    first = json.loads(ended.out)["differences"][0]
    assert (first["session"], first["command"]) == (3, "version")
    [agent] = [each for each in first["fields"] if each["path"] == "user_agent"]
    assert (agent["recorded"], agent["live"]) == ("/dup/", "/reject/")
    assert lbcproxy("diff", probe, probe, "--session", "3:3").code == SAME


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--session", "3"), "--session: '3' is not N:M"),
        (("--session", "0:1"), "is not N:M"),
        (("--network", "x"), "--network"),
        (("--ignore", "tax"), "did you mean tx?"),
        (("--ignore", "version.agent"), "user_agent"),
    ],
)
def test_wrong_options_are_refused(lbcproxy, files, options, words):
    ended = lbcproxy("diff", *files, *options)
    assert ended.code == USAGE
    assert words in ended.err


def test_a_file_that_cannot_be_read_is_an_error(lbcproxy, files, tmp_path):
    ended = lbcproxy("diff", files[0], tmp_path / "nothing")
    assert ended.code == ERROR
    assert ended.err == f"lbcproxy: cannot read {tmp_path / 'nothing'}: No such file or directory\n"


def test_a_damaged_file_is_compared_up_to_the_damage(lbcproxy, files, tmp_path):
    """Then the damage is reported with its offset and exit code."""
    data = files[0].read_bytes()
    damaged = tmp_path / "damaged.pcapng"
    damaged.write_bytes(data + b"\xff" * 64 + data)
    ended = lbcproxy("diff", files[0], damaged)
    assert ended.code == DAMAGED
    assert "no difference: A 13 messages, B 13" in ended.out
    assert "note: a file is damaged" in ended.out
    assert "at byte" in ended.err


def test_two_formats_of_one_conversation_are_the_same(lbcproxy, captures, tmp_path):
    """Tcpdump's file and ours."""
    sync = captures / "lbcd-sync.pcap"
    own = tmp_path / "own.pcapng"
    lines = [(entry.direction, entry.raw) for entry in open_capture(sync)]
    write(own, lines, network=networks.get("lbry-regtest"))
    ended = lbcproxy("diff", sync, own)
    assert ended.code == SAME, ended.out


def test_text_of_the_network_cannot_harm_a_terminal(lbcproxy, tmp_path):
    """It is escaped."""
    evil = version(1, agent=b"\x1b[31m/x/")
    one = write(tmp_path / "one.pcapng", [(DOWN, evil)])
    other = write(tmp_path / "other.pcapng", [(DOWN, version(1)), (DOWN, have(HEADERS[0]))])
    ended = lbcproxy("diff", one, other)
    assert ended.code == DIVERGED
    assert "\x1b" not in ended.out
    assert "\\x1b[31m/x/" in ended.out
