"""`lbcproxy cut`: a part of a capture, in any format that can be written."""

import subprocess
import sys

import pytest

from lbcproxy.capture.formats import read_packets
from lbcproxy.text import any_time
from tests.capture.roundtrip import entries_of, matching_entries, without_numbers


@pytest.mark.parametrize("suffix", [".pcapng", ".ndjson", ".pcapng.gz", ".ndjson.zst", ".pcap"])
def test_the_suffix_chooses_the_format(lbcproxy, captures, tmp_path, suffix):
    """What is left is the same in each."""
    path, out = captures / "lbcd-probe.pcap", tmp_path / f"left{suffix}"
    ended = lbcproxy("cut", path, out, "version", "or", "tx")
    assert ended.code == 0
    assert ended.out == (f"Wrote 32 messages of 5 sessions to {out}; left out 72 messages.\n")
    left = matching_entries(path, lambda entry: entry.command in ("version", "tx"))
    assert [each["raw"] for each in entries_of(out)] == [each["raw"] for each in left]
    if suffix != ".pcap":
        assert without_numbers(entries_of(out)) == left
        assert ended.err == ""


@pytest.mark.parametrize(
    ("options", "sessions"),
    [(("--session", "2"), {2}), (("--session", "1,4-5"), {1, 4, 5}), (("--session", "99"), set())],
)
def test_sessions_are_chosen(lbcproxy, captures, tmp_path, options, sessions):
    """By number, and by range."""
    path, out = captures / "lbcd-probe.pcap", tmp_path / "left.pcapng"
    ended = lbcproxy("cut", path, out, *options)
    assert ended.code == 0
    assert without_numbers(entries_of(out)) == matching_entries(
        path, lambda e: e.session in sessions
    )


@pytest.mark.parametrize("relative", [True, False])
def test_a_time_is_chosen(lbcproxy, captures, tmp_path, relative):
    """As ISO 8601 in UTC, or as seconds from the beginning."""
    path, out = captures / "lbcd-probe.pcap", tmp_path / "left.pcapng"
    with path.open("rb") as file:
        begin = next(iter(read_packets(file))).time_ns
    first, last = any_time("2026-11-23T07:44:04.5"), any_time("2026-11-23T07:44:07Z")
    bounds = ("2026-11-23T07:44:04.5", "2026-11-23T07:44:07Z")
    if relative:
        bounds = ("+9.5", "+12")
        first, last = begin + 9_500_000_000, begin + 12_000_000_000
    ended = lbcproxy("cut", path, out, "--from", bounds[0], "--to", bounds[1])
    assert ended.code == 0
    left = matching_entries(path, lambda entry: first <= entry.time_ns <= last)
    assert len(left) > 10
    assert without_numbers(entries_of(out)) == left


def test_invalid_options_are_reported_before_anything_is_read(lbcproxy, captures, tmp_path):
    """Exit code 2, and no file."""
    path, out = captures / "lbcd-probe.pcap", tmp_path / "left.pcapng"
    for arguments, words in (
        (("--session", "one"), "'one' is not a session number"),
        (("--session", "7-3"), "'7-3' is not a range"),
        (
            ("--from", "yesterday"),
            "expected a time such as 2026-11-23T08:30:00, or +12.5 (seconds",
        ),
        (("--to", "+soon"), "expected a time such as"),
        (("--network", "nowhere"), "--network"),
    ):
        ended = lbcproxy("cut", path, out, *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert words in ended.err
    ended = lbcproxy("cut", path, tmp_path / "left.txt")
    assert ended.code == 2
    assert "is not that of a format" in ended.err
    ended = lbcproxy("cut", path, out, "nosuchcommand")
    assert ended.code in (1, 2)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_kept(lbcproxy, captures, tmp_path):
    """Without --force; without --in-place where it is the capture itself."""
    path = tmp_path / "own.pcapng"
    assert lbcproxy("cut", captures / "lbcd-probe.pcap", path).code == 0
    before = path.read_bytes()
    ended = lbcproxy("cut", captures / "lbcd-probe.pcap", path, "tx")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"lbcproxy: {path} exists; --force overwrites it\n"
    assert path.read_bytes() == before
    assert lbcproxy("cut", "--force", path, path, "tx").code == 1
    assert path.read_bytes() == before
    assert lbcproxy("cut", "--force", "--in-place", path, path, "tx").code == 0
    assert {each["command"] for each in entries_of(path)} == {"tx"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["cut", "anonymise"])
def test_a_damaged_file_is_written_up_to_the_damage(lbcproxy, captures, tmp_path, name):
    """Exit code 3, and where the damage is."""
    whole = (captures / "lbcd-sync.pcap").read_bytes()
    path, out = tmp_path / "cut.pcap", tmp_path / "left.pcapng"
    path.write_bytes(whole[: len(whole) // 2])
    ended = lbcproxy(name, path, out)
    assert ended.code == 3
    assert ended.err.startswith(f"lbcproxy: {path}: ")
    assert "(at byte " in ended.err
    assert ended.out.startswith("Wrote ")
    assert 100 < len(entries_of(out)) < 400


@pytest.mark.parametrize("name", ["cut", "anonymise"])
def test_a_file_that_is_not_a_capture_leaves_no_output(lbcproxy, tmp_path, name):
    """Empty, text, or not there."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("nothing to see")
    out = tmp_path / "left.pcapng"
    for source, words in (
        ("empty", "empty file"),
        ("text", "not a capture"),
        ("absent", "cannot read"),
    ):
        ended = lbcproxy(name, tmp_path / source, out)
        assert (ended.code, ended.out) == (1, "")
        assert words in ended.err
        assert not out.exists()


def test_a_pipe_in_and_out(captures):
    """Bytes on the standard output, words on the standard error."""
    done = subprocess.run(
        f"cat {captures}/lbcd-sync.pcap | {sys.executable} -m lbcproxy cut - - -F pcapng tx"
        f" | {sys.executable} -m lbcproxy show /dev/stdin",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 32
    assert done.stderr == "Wrote 32 messages of 1 sessions to -; left out 368 messages.\n"


@pytest.mark.slow
def test_every_prefix_of_a_file_can_be_cut(lbcproxy, captures, tmp_path):
    """Up to the damage; the result is complete."""
    whole = (captures / "lbcd-probe.pcap").read_bytes()
    path, out = tmp_path / "cut.pcap", tmp_path / "left.pcapng"
    most = 0
    for size in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:size])
        ended = lbcproxy("cut", "--force", path, out)
        assert ended.code in ((0, 3) if size >= 24 else (1, 3))
        if ended.code != 1:
            count = len(entries_of(out))
            assert count >= most
            most = count
    assert most > 50
