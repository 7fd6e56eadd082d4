"""`lbcproxy demo`: the main job with no set-up, which checks itself."""

import re
import subprocess
import sys

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.cli.demo import _compare
from lbcproxy.errors import LbcproxyError
from tests.tools import TIMEOUT

# The demo with a recorder that writes one byte otherwise, as a defect or a bad disk would.
ALTERED = """
from lbcproxy.capture import CaptureFile
from lbcproxy.cli.main import main

write = CaptureFile.write
CaptureFile.write = lambda self, data: write(self, data.replace(b"clip-164-1", b"clip-164-X"))
main(["demo"])
"""


def run(arguments, folder):
    """Run Python in a folder and return how it ended."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


@pytest.mark.slow
def test_demo_shows_records_and_ends_by_itself(tmp_path, captures):
    """Exit code 0, every message shown, the recording equal to the capture that was played."""
    done = run(["-m", "lbcproxy", "demo"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if re.match(r"#1 +(->|<-) ", line)]
    assert len(lines) == 400
    [path] = (tmp_path / "captures").iterdir()
    assert f"\n    captures/{path.name}\n" in done.stdout
    assert f"lbcproxy show captures/{path.name} " in done.stdout
    assert "400 messages of two real LBRY nodes passed through the proxy" in done.stdout
    recorded = [(entry.direction, entry.raw) for entry in open_capture(path)]
    played = [(entry.direction, entry.raw) for entry in open_capture(captures / "lbcd-sync.pcap")]
    assert recorded == played


@pytest.mark.slow
def test_demo_encrypts_both_connections(tmp_path, captures):
    """If it is asked to; what is shown and recorded is the same."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    done = run(["-m", "lbcproxy", "demo", "--transport", "v2", "-w", "my.pcapng"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if re.match(r"#1 +(->|<-) ", line)]
    assert len(lines) == 400
    assert all(line.endswith("  v2") for line in lines)
    assert "400 messages of two real LBRY nodes passed encrypted through the" in done.stdout
    recorded = [entry.raw for entry in open_capture(tmp_path / "my.pcapng")]
    assert recorded == [entry.raw for entry in open_capture(captures / "lbcd-sync.pcap")]


@pytest.mark.slow
def test_demo_suggests_next_steps(tmp_path):
    """The command it suggests works as printed."""
    run(["-m", "lbcproxy", "demo", "-w", "my.pcapng"], tmp_path)
    shown = run(["-m", "lbcproxy", "show", "my.pcapng"], tmp_path)
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) == 400
    assert not (tmp_path / "captures").exists()


@pytest.mark.slow
def test_demo_can_continue_a_recording(tmp_path):
    """A file that is there is continued; only what was added is compared."""
    for sessions in (1, 2):
        done = run(["-m", "lbcproxy", "demo", "-w", "my.pcapng"], tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(list(open_capture(tmp_path / "my.pcapng"))) == 400 * sessions


@pytest.mark.slow
def test_demo_does_not_overwrite_other_files(tmp_path):
    """A slip of the keyboard must not cost a file."""
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader")
    done = run(["-m", "lbcproxy", "demo", "-w", "letter.txt"], tmp_path)
    assert done.returncode == 1
    assert "letter.txt exists and is not a pcapng: it is not overwritten" in done.stderr
    assert path.read_text() == "Dear reader"


@pytest.mark.slow
def test_demo_fails_loudly_if_the_recording_is_not_what_was_played(tmp_path):
    """One byte of one message is enough."""
    done = run(["-c", ALTERED], tmp_path)
    assert done.returncode == 1
    assert "THE RECORDING DIFFERS from what was played: it has 400 messages" in done.stderr
    assert "byte for byte" not in done.stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda played: played[:-1],
            "instead of 399, and the first difference is at message 400",
        ),
        (lambda played: [played[1], played[0], *played[2:]], "first difference is at message 1,"),
        (lambda played: played[:200] + played[201:], "400 messages instead of 399"),
    ],
)
def test_the_comparison_finds(captures, change, words):
    """Missing messages, a changed order, and it says from where on."""
    path = captures / "lbcd-sync.pcap"
    played = list(open_capture(path))
    _compare(played, path, False)
    with pytest.raises(LbcproxyError, match=words):
        _compare(change(played), path, False)


@pytest.mark.slow
def test_demo_writes_text_to_standard_error_if_it_records_to_a_pipe(tmp_path):
    """As with `run -w -`: what comes out is a capture and nothing else."""
    done = subprocess.run(
        [sys.executable, "-m", "lbcproxy", "demo", "-w", "-"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
    )
    path = tmp_path / "piped.pcapng"
    path.write_bytes(done.stdout)
    assert len(list(open_capture(path))) == 400
