"""The captures in tests/cases, each with its right value, and tshark's beside it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.capture.session_report import SessionReport
from lbcproxy.session import UNKNOWN_SIZE, Entry
from tests.tools import CASES, TIMEOUT
from tests.wireshark.judging import dissected, run_tshark

# The file, messages, sessions; tshark's messages and conversations where they differ.
RIGHT = [
    ("own_reuse.pcapng", 18, 6, None),
    ("reuse_fin_gap0.0.pcap", 30, 2, None),
    ("short20.pcap", 60, 20, None),
    # Without a SYN tshark goes on in the old conversation, and loses what does not fit its numbers.
    ("reuse_nosyn_gap30.pcap", 30, 2, (23, 1)),
    # It takes the 3,000,000,000 numbers ahead for some behind.
    ("hole3G.pcap", 35, 1, (25, 1)),
    ("gre.pcap", 15, 1, None),
    ("pppoe.pcap", 15, 1, None),
    ("rejnohash.pcap", 6, 1, None),
]


def read(path: Path) -> tuple[list[Entry], list[SessionReport]]:
    """The entries and sessions of a capture."""
    reports: list[SessionReport] = []
    capture = open_capture(path, "lbry-regtest")
    capture.on_session_ended = reports.append
    return list(capture), reports


@pytest.mark.parametrize(("name", "messages", "sessions", "tshark"), RIGHT)
def test_a_case_is_read_right(name: str, messages: int, sessions: int, tshark: object):
    """Each was read wrongly once."""
    entries, reports = read(CASES / name)
    assert sum(entry.message is not None for entry in entries) == messages
    assert len(reports) == sessions
    assert all(report.ended_ns >= report.begun_ns for report in reports)
    assert [entry for entry in entries if entry.message is None and not entry.missing] == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "messages", "sessions", "tshark"), RIGHT)
def test_tshark_agrees_or_it_is_said_where_not(
    tmp_path: Path, name: str, messages: int, sessions: int, tshark: tuple[int, int] | None
):
    """An independent judge of messages and conversations."""
    shown = dissected(tmp_path, CASES / name)
    table = run_tshark(tmp_path, CASES / name, "-q", "-z", "conv,tcp")
    conversations = sum("<->" in line for line in table.splitlines())
    assert (len(shown), conversations) == (tshark or (messages, sessions))


def test_a_hole_above_half_the_sequence_space_is_a_gap_of_unknown_size(tmp_path: Path):
    """Sequence numbers do not tell it from one below; reading goes on after it anyway."""
    entries, _ = read(CASES / "hole3G.pcap")
    [gap] = [entry for entry in entries if entry.missing]
    assert gap.missing == UNKNOWN_SIZE
    assert gap.error is not None
    assert "unknown number" in gap.error
    text = lbcproxy("info", "--network", "lbry-regtest", CASES / "hole3G.pcap").stdout
    assert re.search(r"gaps +1 of unknown size", text)


def lbcproxy(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    command = [sys.executable, "-m", "lbcproxy", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["pcapng", "pcap", "ndjson"])
def test_a_gap_of_unknown_size_stays_one_in_other_formats(tmp_path: Path, suffix: str):
    """Each format has its own way to say so."""
    out = tmp_path / f"out.{suffix}"
    done = lbcproxy("convert", "--network", "lbry-regtest", CASES / "hole3G.pcap", out)
    assert done.returncode == 0, done.stderr
    entries, _ = read(out)
    assert sum(entry.message is not None for entry in entries) == 35
    assert [entry.missing for entry in entries if entry.missing] == [UNKNOWN_SIZE]


def test_info_says_the_same_as_data():
    """For programs: how many, and the bytes of those whose size is known."""
    done = lbcproxy("info", "-T", "json", "--network", "lbry-regtest", CASES / "hole3G.pcap")
    shown = json.loads(done.stdout)
    assert (shown["gap_count"], shown["gaps_of_unknown_size"], shown["missing"]) == (1, 1, 0)
