"""`lbcproxy anonymise`: a capture that may be given away."""

import pytest

from tests.capture.roundtrip import entries_of
from tests.capture.tools.private_recording import PRIVATE, record_private


@pytest.mark.parametrize("suffix", [".pcapng", ".pcap"])
def test_no_identifying_data_is_left_in_the_file(lbcproxy, tmp_path, suffix):
    """Nor in what is printed."""
    path, out = record_private(tmp_path / "known.pcapng"), tmp_path / f"unknown{suffix}"
    ended = lbcproxy("anonymise", path, out)
    assert ended.code == 0
    data = out.read_bytes()
    assert [each for each in PRIVATE if each in data] == []
    assert [each for each in PRIVATE if each in ended.out.encode()] == []


def test_no_identifying_data_is_left_in_ndjson(lbcproxy, tmp_path):
    """Where bytes are written in hexadecimal."""
    path, out = record_private(tmp_path / "known.pcapng"), tmp_path / "unknown.ndjson"
    assert lbcproxy("anonymise", path, out).code == 0
    text = out.read_text().lower()
    assert [each for each in PRIVATE if each.hex() in text] == []
    assert [each for each in PRIVATE if each.decode("latin-1").lower() in text] == []
    assert len(entries_of(out)) == len(entries_of(path)) - 6


def test_a_summary_says_what_was_changed(lbcproxy, captures, tmp_path):
    """Changed, left out, kept: how many of each kind."""
    out = tmp_path / "unknown.pcapng"
    ended = lbcproxy("anonymise", captures / "lbcd-probe.pcap", out)
    assert (ended.code, ended.err) == (0, "")
    kept = "block messages 2, filteradd messages 1, filterload messages 2"
    assert ended.lines == [
        f"Wrote 101 messages to {out}.",
        "  changed   addresses in messages 3, nonces 12, user agents 10",
        "  left out  alert messages 1, messages that cannot be read 2, words of reject 1",
        f"  as it was {kept}, loopback and unspecified addresses 20, tx messages 21",
    ]


def test_a_seed_gives_the_same_values(lbcproxy, captures, tmp_path):
    """Without one, each run gives others."""
    files = [tmp_path / f"{name}.pcapng" for name in "abcd"]
    for out, seed in zip(files, (["--seed", "x"], ["--seed", "x"], [], []), strict=True):
        assert lbcproxy("anonymise", *seed, captures / "lbcd-probe.pcap", out).code == 0
    one, same, other, another = (each.read_bytes() for each in files)
    assert one == same
    assert len({one, other, another}) == 3
