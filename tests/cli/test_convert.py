"""`lbcproxy convert`: formats by suffix or name, pipes, what cannot be held, damage."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.capture.changed_traffic import TALK, record
from tests.capture.roundtrip import core_messages, entries_of
from tests.tools import CASES, TIMEOUT

REGTEST = "lbry-regtest"
SYNC = "lbcd-sync.pcap"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["x.pcapng", "x.pcap", "x.cap", "x.ndjson", "x.jsonl", "x.pcapng.gz", "x.ndjson.zst"]
)
def test_the_suffix_chooses_the_format(lbcproxy, captures, tmp_path, name):
    """And one sentence says what was written."""
    done = lbcproxy("convert", captures / SYNC, tmp_path / name)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"Wrote 400 messages of 1 sessions to {tmp_path / name}.\n"
    assert entries_of(tmp_path / name) == entries_of(captures / SYNC)
    shown = lbcproxy("show", tmp_path / name)
    assert shown.out == lbcproxy("show", captures / SYNC).out
    assert (
        f"  format    {'pcap' if 'cap' in name else 'ndjson'}"
        in lbcproxy("info", tmp_path / name).out
    )


@pytest.mark.parametrize("name", ["x.pcapng", "x.pcap", "x.ndjson", "core"])
def test_a_gap_is_not_a_message(lbcproxy, tmp_path, name):
    """It is not counted as one that was written."""
    form = ("-F", "core") if name == "core" else ()
    done = lbcproxy("convert", CASES / "hole3G.pcap", tmp_path / name, *form)
    assert done.code == 0
    assert done.out == f"Wrote 35 messages of 1 sessions to {tmp_path / name}.\n"


def test_dropped_messages_are_not_in_a_core_folder(lbcproxy, captures, tmp_path):
    """A message that was dropped, or put in, is counted where it is written."""
    lbcproxy("convert", captures / "btcd-changed.pcapng", tmp_path / "x.ndjson")
    lines = (tmp_path / "x.ndjson").read_text().splitlines(keepends=True)
    turned = [line.replace('"verdict":"pass"', '"verdict":"drop","sent":""') for line in lines]
    kept = [new for new in turned if "to_client" not in new]
    (tmp_path / "y.ndjson").write_text("".join(kept))
    done = lbcproxy("convert", tmp_path / "y.ndjson", tmp_path / "core", "-F", "core")
    assert done.code == 0, done
    shown = lbcproxy("show", tmp_path / "core", "--network", "bitcoin-regtest")
    assert done.out.startswith(f"Wrote {len(shown.lines)} messages of 1 sessions")


def test_the_format_can_be_given(lbcproxy, captures, tmp_path):
    """Whatever the file is called."""
    out = tmp_path / "x.txt"
    assert lbcproxy("convert", captures / SYNC, out, "-F", "pcapng").code == 0
    assert out.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    done = lbcproxy("convert", captures / SYNC, tmp_path / "y.txt")
    assert done.code == 2
    assert "y.txt is not that of a format that can be written (.cap, .dmp, .jsonl" in done.err
    assert "choose -F, one of core, ndjson, pcap, pcapng" in done.err
    assert lbcproxy("convert", captures / SYNC, out, "-F", "docx").code == 2


def test_a_core_folder_can_be_written_and_read(lbcproxy, captures, tmp_path):
    """What it cannot hold is said in a line each; reading needs the network."""
    out = tmp_path / "message_capture"
    done = lbcproxy("convert", captures / SYNC, out, "-F", "core")
    assert done.code == 0
    assert done.err.splitlines() == [
        "lbcproxy: core cannot hold addresses of the node's own: 1",
        "lbcproxy: core cannot hold nanoseconds of times: 400",
        "lbcproxy: core cannot hold networks: say --network: 1",
    ]
    assert sorted(each.name for each in out.rglob("*.dat")) == ["msgs_recv.dat", "msgs_sent.dat"]
    for command in ("show", "info"):
        assert lbcproxy(command, "--network", REGTEST, out).code == 0
    without = lbcproxy("convert", out, tmp_path / "x.pcapng")
    assert without.code == 2
    assert (
        "files of Bitcoin Core do not name a network; say --network, one of bitcoin-mainnet"
        in without.err
    )
    assert sorted(each.name for each in tmp_path.iterdir()) == ["message_capture"]
    back = tmp_path / "x.pcapng"
    assert lbcproxy("convert", out, back, "--network", REGTEST).code == 0
    assert core_messages(back, REGTEST) == core_messages(captures / SYNC, REGTEST)


def test_unsupported_content_is_reported(lbcproxy, tmp_path):
    """With how often."""
    path = record(tmp_path / "changed.pcapng", TALK)
    done = lbcproxy("convert", path, tmp_path / "x.pcap")
    changed = sum(each.verdict != "pass" for each in TALK)
    assert f"lbcproxy: pcap cannot hold verdicts and what decided them: {changed}\n" in done.err
    assert lbcproxy("convert", path, tmp_path / "x.ndjson").err == ""


def test_an_existing_file_is_overwritten_only_with_force(lbcproxy, captures, tmp_path):
    """A typing error costs no capture."""
    out = tmp_path / "x.pcapng"
    out.write_bytes(b"mine")
    done = lbcproxy("convert", captures / SYNC, out)
    assert (done.code, out.read_bytes()) == (1, b"mine")
    assert done.err == f"lbcproxy: {out} exists; --force overwrites it\n"
    assert lbcproxy("convert", captures / SYNC, out, "--force").code == 0
    before = entries_of(out)
    assert lbcproxy("convert", out, out, "--force", "--in-place").code == 0
    assert entries_of(out) == before
    folder = tmp_path / "core"
    folder.mkdir()
    (folder / "mine.txt").touch()
    assert lbcproxy("convert", captures / SYNC, folder).code == 1
    assert [each.name for each in folder.iterdir()] == ["mine.txt"]
    assert lbcproxy("convert", captures / SYNC, folder, "--force").code == 0
    assert lbcproxy("convert", captures / SYNC, folder, "--force").code == 0
    # Beside what was there, and not after what it had written before.
    assert core_messages(folder, REGTEST) == core_messages(captures / SYNC, REGTEST)


def test_a_damaged_file_is_converted_up_to_the_damage(lbcproxy, captures, tmp_path):
    """Exit code 3, as everywhere."""
    damaged = tmp_path / "cut.pcap"
    damaged.write_bytes((captures / SYNC).read_bytes()[:100_000])
    for name in ("x.pcapng", "x.ndjson.gz", "core/"):
        done = (
            lbcproxy("convert", damaged, tmp_path / name, "-F", "core")
            if name == "core/"
            else (lbcproxy("convert", damaged, tmp_path / name))
        )
        assert done.code == 3
        assert "the last packet is cut" in done.err
        assert "at byte 99" in done.err
        found = core_messages(tmp_path / name, REGTEST)
        assert found == core_messages(damaged_as(captures, tmp_path), REGTEST)


def damaged_as(captures: Path, tmp_path: Path) -> Path:
    """The same content up to the damage, as a complete file."""
    data = (captures / SYNC).read_bytes()[:100_000]
    place = 24
    while place + 16 <= len(data):
        size = 16 + int.from_bytes(data[place + 8 : place + 12], "little")
        if place + size > len(data):
            break
        place += size
    path = tmp_path / "good.pcap"
    path.write_bytes(data[:place])
    return path


def test_a_file_that_is_not_a_capture_leaves_no_output(lbcproxy, tmp_path):
    """A wrong file is not a damaged one."""
    other = tmp_path / "letter.txt"
    other.write_text("Dear all,\n" * 10)
    done = lbcproxy("convert", other, tmp_path / "x.pcapng")
    assert done.code == 1
    assert (
        "not a capture: it begins with 44656172; known formats: core, ndjson, pcap, pcapng"
        in done.err
    )
    missing = lbcproxy("convert", tmp_path / "missing", tmp_path / "x.pcapng")
    assert (missing.code, "cannot read" in missing.err) == (1, True)
    (tmp_path / "empty").touch()
    empty = lbcproxy("convert", tmp_path / "empty", tmp_path / "x.pcapng")
    assert (empty.code, empty.err) == (1, "lbcproxy: empty file\n")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["empty", "letter.txt"]


def test_an_unwritable_target_is_reported(lbcproxy, captures, tmp_path):
    """The folder is not there."""
    done = lbcproxy("convert", captures / SYNC, tmp_path / "no" / "x.pcapng")
    assert done.code == 1
    assert "cannot write" in done.err


@pytest.mark.slow
def test_pipes(captures, tmp_path):
    """From the standard input, to the standard output; what is said goes to the other."""
    run = [sys.executable, "-m", "lbcproxy"]
    first = subprocess.run(
        [*run, "convert", "-", "-", "-F", "ndjson"],
        input=(captures / SYNC).read_bytes(),
        capture_output=True,
        check=True,
        timeout=TIMEOUT,
    )
    assert first.stderr == b""
    (tmp_path / "x.ndjson").write_bytes(first.stdout)
    assert entries_of(tmp_path / "x.ndjson") == entries_of(captures / SYNC)
    shown = subprocess.run(
        f'"{sys.executable}" -m lbcproxy show "{captures / SYNC}" -T ndjson -x | '
        f'"{sys.executable}" -m lbcproxy convert - - -F pcapng --network {REGTEST} | '
        f'"{sys.executable}" -m lbcproxy convert - "{tmp_path / "y.pcapng"}"',
        shell=True,
        capture_output=True,
        check=True,
        timeout=TIMEOUT,
    )
    assert shown.stderr == b""
    assert entries_of(tmp_path / "y.pcapng") == entries_of(captures / SYNC)


def test_standard_output_needs_a_format(lbcproxy, captures):
    """There is no suffix, and a folder cannot be written to it."""
    for more in ([], ["-F", "core"]):
        done = lbcproxy("convert", captures / SYNC, "-", *more)
        assert done.code == 2
        assert "choose -F pcapng, pcap or ndjson" in done.err


@pytest.mark.parametrize("name", ["x.pcapng", "x.pcap", "x.ndjson.gz"])
def test_the_output_is_readable_only_by_its_owner(lbcproxy, captures, tmp_path, name):
    """As what is recorded; a file that is written over keeps its mode."""
    path = tmp_path / name
    assert lbcproxy("convert", captures / SYNC, path).code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    assert lbcproxy("convert", captures / SYNC, path, "--force").code == 0
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.pcapng", "x.ndjson.gz", "x.pcapng.zst", "core"])
def test_a_full_disk_is_reported_and_leaves_no_output(captures, tmp_path, name):
    """Simulated by a limit on the size of files."""
    out = tmp_path / "out" / name
    out.parent.mkdir()
    form = ["-F", "core"] if name == "core" else []
    program = (
        "import resource, sys\n"
        "from lbcproxy.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "main(sys.argv[1:])\n"
    )
    arguments = ["convert", str(captures / SYNC), str(out), *form]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == f"lbcproxy: cannot write {out}: File too large"
    assert not list(out.parent.iterdir())


def test_a_full_device_is_reported(lbcproxy, captures):
    """As a file is."""
    done = lbcproxy("convert", captures / SYNC, "/dev/full", "-F", "pcapng")
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("lbcproxy: cannot write /dev/full: No space left on device\n")
