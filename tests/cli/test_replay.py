"""`lbcproxy replay`: the recorded node as a program, and captures put through plugins."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from tests.live.proxies import Client
from tests.nodes import free_port, wait_until
from tests.proxy.loops import listening
from tests.tools import TIMEOUT

REPLAY = [sys.executable, "-m", "lbcproxy", "replay"]
NETWORK = networks.get("lbry-regtest")
LISTENING = re.compile(r"^\S+ lbry-regtest: listening at 127\.0\.0\.1:(\d+), as /", re.MULTILINE)


class Program:
    """A running `lbcproxy replay server`."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self._output = folder / "output.txt"
        command = [*REPLAY, "server", *map(str, arguments)]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        found = wait_until("it listens", lambda: LISTENING.search(self.output))
        self.port = int(found[1])

    @property
    def output(self) -> str:
        """All that it has printed."""
        return self._output.read_text()


@pytest.fixture
def serve(tmp_path, captures):
    """Start the program on the capture of a sync; it is ended with the test."""
    made = []

    def begin(*arguments, path=captures / "lbcd-sync.pcap"):
        made.append(Program(tmp_path, path, *arguments))
        return made[-1]

    yield begin
    for program in made:
        program.process.kill()
        program.process.wait()


@pytest.mark.slow
def test_a_client_is_served_and_shown(serve):
    """Its messages as lines like those of `run`; --once ends when it has left."""
    program = serve("--once")
    with Client(NETWORK, program.port) as client:
        client.greet()
    assert program.process.wait(TIMEOUT) == 0
    lines = program.output.splitlines()
    assert "client connect" in lines[1]
    assert lines[2].startswith("#1   -> version ")
    assert lines[3].startswith("#1   <- version ")
    assert "agent /btcwire:0.5.0/LBRY.GO:0.0.0-local.0+/" in lines[3]
    assert re.search(
        r"\[#1 127\.0\.0\.1:\d+\] replayed: 0 requests answered, \d+ unsolicited", lines[-1]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "client", "is_served"),
    [((), "v2", True), (("--transport", "v1"), "v2", False), (("--transport", "v2"), "v1", False)],
)
def test_a_client_may_encrypt(serve, options, client: str, is_served: bool):
    """If the server is not told otherwise; the lines say so."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    program = serve("--once", *options)
    address = f"127.0.0.1:{program.port}"
    probe = ["probe", "--network", NETWORK.id, "--transport", client, "--timeout", "3", address]
    done = subprocess.run(
        [sys.executable, "-m", "lbcproxy", *probe],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert (done.returncode == 0) is is_served, done.stderr
    assert program.process.wait(TIMEOUT) == 0
    shown = [line for line in program.output.splitlines() if line.startswith("#1 ")]
    if is_served:
        assert len(shown) >= 4
        assert all(line.endswith("  v2") for line in shown)
        assert re.search("^transport +v2, session id [0-9a-f]{64}$", done.stdout, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_in_order(serve, number, code):
    """Its clients are disconnected and reported."""
    program = serve("-q", "-p", 0)
    with Client(NETWORK, program.port) as client:
        client.greet()
        program.process.send_signal(number)
        assert program.process.wait(TIMEOUT) == code
    assert "replayed: 0 requests answered" in program.output
    assert "-> version" not in program.output
    assert "Traceback" not in program.output


@pytest.mark.slow
def test_a_port_in_use_is_reported(captures):
    """In words, with exit code 1."""
    with listening() as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*REPLAY, "server", "-p", str(port), str(captures / "lbcd-sync.pcap")],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"lbcproxy: cannot listen at 127.0.0.1:{port}: Address already in use\n"
    )


@pytest.mark.slow
def test_a_damaged_capture_is_served_up_to_the_damage(serve, captures, tmp_path):
    """It reports what is missing before anything else."""
    whole = (captures / "lbcd-sync.pcap").read_bytes()
    path = tmp_path / "cut.pcap"
    path.write_bytes(whole[: len(whole) // 2])
    program = serve(path=path)
    first = program.output.splitlines()[0]
    assert first.startswith(f"lbcproxy: {path} is damaged, the part before the damage is played: ")
    assert "of the file)" in first
    with socket.create_connection(("127.0.0.1", program.port), TIMEOUT):
        wait_until("it is met", lambda: "client connect" in program.output)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--session", 4), 1, "session 4 has no handshake; with a handshake there are: 1, 2, 3, 5"),
        (("--session", 77), 1, "session 77 is not there; with a handshake there are: 1, 2, 3, 5"),
        (("--unknown", "loud"), 2, "--unknown: 'loud' is not silence, notfound or pass:HOST:PORT"),
        (("--unknown", "pass:here"), 2, "--unknown: 'here' is not HOST:PORT"),
        (("--listen", "nowhere:"), 2, "--listen: 'nowhere:' is not HOST:PORT"),
        (("--network", "lbry-moon"), 2, "--network: "),
        (("-w", "new.pcapng"), 2, "-w needs --unknown pass:HOST:PORT"),
        (("--side", "both"), 2, "'both' is not one of 'upstream', 'client'"),
    ],
)
def test_invalid_captures_and_options_are_reported_at_once(
    lbcproxy, captures, arguments, code, words
):
    """With the reason, and what there is instead."""
    ended = lbcproxy("replay", "server", captures / "lbcd-probe.pcap", *arguments)
    assert ended.code == code
    assert words in ended.err
    assert ended.out == ""


def test_files_without_a_conversation_are_reported(lbcproxy, tmp_path):
    """Absent, empty, something else."""
    absent = lbcproxy("replay", "server", tmp_path / "no.pcap")
    assert (absent.code, "No such file" in absent.err) == (1, True)
    path = tmp_path / "some.pcap"
    for content in (b"", b"hello, this is a text", b"\xd4\xc3\xb2\xa1"):
        path.write_bytes(content)
        ended = lbcproxy("replay", "server", path)
        assert ended.code in (1, 3), ended
        assert ended.err.startswith("lbcproxy: ")


def test_new_messages_never_overwrite_a_file(lbcproxy, captures, tmp_path):
    """Neither over the capture itself nor over what was learned before."""
    path = tmp_path / "sync.pcap"
    path.write_bytes((captures / "lbcd-sync.pcap").read_bytes())
    live = ("--unknown", f"pass:127.0.0.1:{free_port()}")
    ended = lbcproxy("replay", "server", path, *live, "-w", path)
    assert (ended.code, f"{path} exists" in ended.err) == (2, True)
    beside = tmp_path / "sync.new.pcapng"
    beside.touch()
    ended = lbcproxy("replay", "server", path, *live)
    assert (ended.code, f"{beside} exists" in ended.err) == (2, True)


# Offline.


def test_without_plugins_nothing_changes(lbcproxy, captures, tmp_path):
    """What is written holds the same messages as what was read, and is shown the same."""
    path, out = captures / "lbcd-probe.pcap", tmp_path / "out.pcapng"
    ended = lbcproxy("replay", "offline", path, "-w", out)
    assert ended.code == 0
    assert ended.out == lbcproxy("show", path).out == lbcproxy("show", out).out
    one = [(each.session, each.direction, each.raw) for each in open_capture(path)]
    assert one == [(each.session, each.direction, each.raw) for each in open_capture(out)]


def test_plugins_and_faults_leave_their_verdicts_in_what_is_written(lbcproxy, captures, tmp_path):
    """The same file from the same seed, byte for byte; another from another."""
    path = captures / "lbcd-sync.pcap"
    plugin = tmp_path / "quiet.py"
    plugin.write_text(
        "from lbcproxy.plugin import Drop, Plugin\n\n\n"
        "class Quiet(Plugin):\n    def on_getaddr(self, session, message):\n"
        '        return Drop("nobody asked")\n'
    )
    made = []
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        out = tmp_path / f"{name}.pcapng"
        fault = ("--fault", "drop probability=0.3", "--seed", seed)
        ended = lbcproxy("replay", "offline", path, "-q", "-s", plugin, *fault, "-w", out)
        assert (ended.code, ended.out) == (0, ""), ended.err
        made.append(out)
    one, two, three = (each.read_bytes() for each in made)
    assert one == two != three
    entries = list(open_capture(made[0]))
    assert ("getaddr", "drop") in {(each.command, each.verdict) for each in entries}
    dropped = sum(each.verdict == "drop" for each in entries)
    assert 50 < dropped < 200
    raw = sorted((each.direction, each.raw) for each in entries)
    assert raw == sorted((each.direction, each.raw) for each in open_capture(path))


def test_a_damaged_capture_is_written_up_to_the_damage(lbcproxy, captures, tmp_path):
    """Exit code 3, and the file is there."""
    whole = (captures / "lbcd-sync.pcap").read_bytes()
    path, out = tmp_path / "cut.pcap", tmp_path / "out.pcapng"
    path.write_bytes(whole[: len(whole) // 2])
    ended = lbcproxy("replay", "offline", path, "-w", out)
    assert ended.code == 3
    assert "of the file)" in ended.err
    assert len(list(open_capture(out))) == len(ended.lines) > 50


def test_an_existing_file_is_not_overwritten(lbcproxy, captures, tmp_path):
    """Nothing is lost by a name typed twice."""
    out = tmp_path / "out.pcapng"
    out.write_text("precious")
    ended = lbcproxy("replay", "offline", captures / "lbcd-sync.pcap", "-w", out)
    assert (ended.code, out.read_text()) == (1, "precious")
    assert f"{out} exists: it is not overwritten" in ended.err
    ended = lbcproxy("replay", "offline", captures / "lbcd-sync.pcap", "--fault", "latency")
    assert ended.code == 2
    assert [each.name for each in tmp_path.iterdir()] == ["out.pcapng"]
