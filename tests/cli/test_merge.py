"""`lbcproxy merge`: several captures as one."""

import pytest

from tests.capture.recordings import record_pings
from tests.capture.roundtrip import entries_of
from tests.tools import CASES


def test_the_new_number_of_each_session_is_listed(lbcproxy, captures, tmp_path):
    """A line for each; -q leaves them out."""
    one, other = captures / "lbcd-probe.pcap", captures / "lbcd-sync.pcap"
    out = tmp_path / "all.pcapng"
    ended = lbcproxy("merge", one, other, "-w", out)
    assert (ended.code, ended.err) == (0, "")
    assert ended.lines == [
        f"{other} #1 is #1",
        *(f"{one} #{number} is #{number + 1}" for number in range(1, 6)),
        f"Wrote 504 messages of 6 sessions to {out}.",
    ]
    assert len(entries_of(out)) == 504
    quiet = lbcproxy("merge", "-q", "--force", one, other, "-w", out)
    assert quiet.lines == ended.lines[-1:]


def test_networks_side_by_side(lbcproxy, tmp_path):
    """In formats that name them; in others it is an error that names them."""
    one = record_pings(tmp_path / "one.pcapng", 1, [10, 30], "bitcoin-regtest")
    other = record_pings(tmp_path / "other.pcapng", 1, [20, 40], "lbry-mainnet")
    for suffix in ("pcapng", "ndjson", "ndjson.gz"):
        out = tmp_path / f"all.{suffix}"
        assert lbcproxy("merge", one, other, "-w", out).code == 0
        assert {each["network"] for each in entries_of(out)} == {"bitcoin-regtest", "lbry-mainnet"}
    out = tmp_path / "all.pcap"
    ended = lbcproxy("merge", "-q", one, other, "-w", out)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "lbcproxy: pcap does not name networks, and there are "
        f"bitcoin-regtest in {one}, lbry-mainnet in {other}: write pcapng or ndjson\n"
    )
    assert not out.exists()
    assert lbcproxy("merge", one, one, "-w", out).code == 0


def test_damage_is_reported_after_the_rest(lbcproxy, captures, tmp_path):
    """Exit code 3; the good file is included completely."""
    path, out = tmp_path / "cut.pcap", tmp_path / "all.pcapng"
    whole = (captures / "lbcd-sync.pcap").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    ended = lbcproxy("merge", "-q", path, captures / "lbcd-probe.pcap", "-w", out)
    assert ended.code == 3
    assert ended.err.startswith(f"lbcproxy: {path}: ")
    assert ended.out.startswith("Wrote ")
    assert sum(each["session"] > 1 for each in entries_of(out)) == 104


@pytest.mark.parametrize("bad", ["empty", "absent"])
def test_a_file_that_is_not_a_capture_leaves_no_output(lbcproxy, captures, tmp_path, bad):
    """All files are looked at first."""
    (tmp_path / "empty").write_bytes(b"")
    out = tmp_path / "all.pcapng"
    ended = lbcproxy("merge", captures / "lbcd-sync.pcap", tmp_path / bad, "-w", out)
    assert (ended.code, ended.out) == (1, "")
    assert not out.exists()


def test_a_file_that_exists_is_kept(lbcproxy, captures, tmp_path):
    """Without --force; and where it goes has to be said."""
    out = tmp_path / "all.pcapng"
    out.write_text("mine")
    ended = lbcproxy("merge", captures / "lbcd-sync.pcap", "-w", out)
    assert ended.code == 1
    assert "--force overwrites it" in ended.err
    assert out.read_text() == "mine"
    assert lbcproxy("merge", captures / "lbcd-sync.pcap").code == 2
    assert lbcproxy("merge", "-w", out).code == 2


def test_parts_of_a_recording(lbcproxy, tmp_path):
    """Each is listed with its session, and a missing file is reported by name."""
    paths = [CASES / "rotated" / name for name in ("a-2.pcapng", "a.pcapng", "a-4.pcapng")]
    out = tmp_path / "all.pcapng"
    ended = lbcproxy("merge", *paths, "-w", out)
    assert ended.code == 0
    assert ended.lines == [
        *(f"{paths[number]} #1 is #1" for number in (1, 0, 2)),
        f"Wrote 87 messages of 1 sessions to {out}.",  # beside two gaps
    ]
    assert ended.err == ("lbcproxy: a-3.pcapng is not among the files: its messages are missing\n")
