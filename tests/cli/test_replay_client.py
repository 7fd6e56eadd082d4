"""`lbcproxy replay client`: what it refuses, what it prints, how it ends."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from lbcproxy.capture import open_capture
from lbcproxy.cli.replay_client import _Progress
from lbcproxy.endpoint import Endpoint
from lbcproxy.replay import ReplayServer, load
from tests.nodes import free_port, wait_until
from tests.proxy.loops import listening
from tests.replay.conversations import NETWORK, TALK, write
from tests.tools import TIMEOUT

ERROR, USAGE, DAMAGED, DIVERGED, INTERRUPTED = 1, 2, 3, 4, 130


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "talk.pcapng", TALK)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "is not HOST:PORT"),
        (("127.0.0.1:0",), "is not HOST:PORT"),
        (("127.0.0.1:1", "--pace", "fast"), "not a pace: causal, recorded, step"),
        (("127.0.0.1:1", "--ignore", "versoin"), "did you mean version?"),
        (("127.0.0.1:1", "--timeout", "0"), "--timeout"),
        (("127.0.0.1:1", "--network", "x"), "--network"),
    ],
)
def test_wrong_options_are_refused(lbcproxy, file, arguments, words):
    ended = lbcproxy("replay", "client", file, *arguments)
    assert ended.code == USAGE
    assert words in ended.err


@pytest.mark.parametrize(
    ("session", "words"), [("7", "session 7 is not there"), ("2", "session 2 is not there")]
)
def test_a_session_that_is_not_there_is_an_error(lbcproxy, file, session, words):
    ended = lbcproxy("replay", "client", file, "127.0.0.1:1", "--session", session)
    assert ended.code == ERROR
    assert words in ended.err


def test_a_file_that_is_not_there_is_an_error(lbcproxy, tmp_path):
    ended = lbcproxy("replay", "client", tmp_path / "nothing", "127.0.0.1:1")
    assert ended.code == ERROR
    assert "No such file" in ended.err


def test_an_existing_recording_is_not_overwritten(lbcproxy, file):
    """A recording of the replay is a new file."""
    ended = lbcproxy("replay", "client", file, "127.0.0.1:1", "-w", file)
    assert ended.code == USAGE
    assert f"{file} exists" in ended.err


def test_progress_is_shown_on_a_terminal(capsys, monkeypatch):
    """Messages, speed, time; it is wiped away in the end."""
    clock = Clock()
    script = SimpleNamespace(position=12_345, recorded_seconds=24.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    turns = SimpleNamespace(turns=range(40_000))
    progress = _Progress(SimpleNamespace(script=script), turns, clock, wanted=True)
    progress.start()
    for _ in range(61):
        clock.advance(0.2)
    progress.stop()
    assert "\r12,345/40,000 msgs 2.0x 00:12" in capsys.readouterr().err
    assert not clock.getDelayedCalls()


def test_progress_is_not_shown_elsewhere(capsys):
    clock = Clock()
    script = SimpleNamespace(position=1, recorded_seconds=0.0)
    turns = SimpleNamespace(turns=range(2))
    progress = _Progress(SimpleNamespace(script=script), turns, clock, wanted=True)
    progress.start()
    progress.stop()
    assert capsys.readouterr().err == ""


# Against a node in this process.


@pytest.fixture
def node(loop) -> Iterator[Callable[[Path], str]]:
    """Begin recorded nodes; return where they are."""
    servers: list[ReplayServer] = []
    conversations = []

    def begin(path: Path) -> str:
        conversations.append(load(path))

        def listen() -> str:
            server = ReplayServer(conversations[-1], loop.reactor, listen=Endpoint("127.0.0.1", 0))
            servers.append(server)
            return str(server.listen())

        return str(loop.call(listen))

    yield begin
    for each in servers:
        loop.call(each.stop)
    for each in conversations:
        each.close()
    wait_until("all has been looked at", lambda: not loop.call(loop.reactor.getDelayedCalls))


def command(*arguments: object) -> list[str]:
    """The command line of a replay."""
    return [sys.executable, "-m", "lbcproxy", "replay", "client", *map(str, arguments)]


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Replay to the end."""
    options = {"capture_output": True, "text": True, "timeout": 60, **options}
    return subprocess.run(command(*arguments), check=False, **options)


@pytest.mark.slow
def test_against_the_recorded_node_nothing_differs(node, captures, tmp_path):
    """And the live conversation, recorded, is the same as a capture."""
    sync, out = captures / "lbcd-sync.pcap", tmp_path / "out.pcapng"
    where = node(sync)
    done = run(sync, where, "-w", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"recorded  {sync} #1",
        f"live      {where}",
        "no difference: recorded 398 messages, live 398",
    ]
    again = subprocess.run(
        [sys.executable, "-m", "lbcproxy", "diff", sync, out], check=False, capture_output=True
    )
    assert again.returncode == 0, again.stdout


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["v2", "auto"])
def test_a_recorded_client_can_encrypt(node, file, tmp_path, transport):
    """By choice; its recording is a capture like any other."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    out = tmp_path / "out.pcapng"
    done = run(file, node(file), "--transport", transport, "-w", out)
    assert (done.returncode, done.stderr) == (0, "")
    first, *_ = open_capture(out)
    assert first.raw[:4] == NETWORK.magic


@pytest.mark.slow
def test_messages_can_be_watched(node, file):
    """As `run` shows them; with an object on the standard output they go elsewhere."""
    where = node(file)
    done = run(file, where, "-v")
    shown, _, report = done.stdout.partition("\n\n")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [tuple(line.split()[1:3]) for line in shown.splitlines()]
    assert lines[:4] == [("->", "version"), ("<-", "version"), ("<-", "verack"), ("->", "verack")]
    assert lines.count(("<-", "block")) == 4
    assert report.splitlines()[-1].startswith("no difference")
    done = run(file, where, "-v", "-T", "json")
    assert json.loads(done.stdout)["same"] is True
    assert done.stderr.startswith("#1   -> version ")


@pytest.mark.slow
def test_the_recording_can_go_to_standard_output(node, file, tmp_path):
    """Then all text goes to the standard error."""
    done = run(file, node(file), "-w", "-", text=False)
    out = tmp_path / "out.pcapng"
    out.write_bytes(done.stdout)
    assert done.returncode == 0
    assert b"no difference" in done.stderr
    assert [entry.command for entry in open_capture(out)][:2] == ["version"] * 2


@pytest.mark.slow
def test_a_refused_connection_is_an_error_message(file):
    port = free_port()
    done = run(file, f"127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (ERROR, "")
    assert done.stderr == f"lbcproxy: 127.0.0.1:{port}: Connection refused\n"


@pytest.mark.slow
def test_a_node_that_hangs_up_has_diverged(file):
    """The report names the message after which it did."""
    with listening() as server:
        process = subprocess.Popen(
            command(file, f"127.0.0.1:{server.getsockname()[1]}"), stdout=subprocess.PIPE, text=True
        )
        with process:
            accepted, _ = server.accept()
            with accepted:
                accepted.recv(10)
            out, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == DIVERGED
    assert "closed: the node " in out
    assert "after message 1, version; of the messages recorded after it 5 were not sent" in out


@pytest.mark.slow
def test_ctrl_c_ends_it_with_the_report(file):
    """Of what was played."""
    with listening() as server:
        where = f"127.0.0.1:{server.getsockname()[1]}"
        process = subprocess.Popen(command(file, where), stdout=subprocess.PIPE, text=True)
        with process:
            accepted, _ = server.accept()
            with accepted:
                assert accepted.recv(1)
                process.send_signal(signal.SIGINT)
                while accepted.recv(65_536):
                    pass
            out, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == INTERRUPTED
    assert "note: 5 of the client's messages were not sent" in out


@pytest.mark.slow
def test_a_damaged_capture_is_played_up_to_the_damage(node, file, tmp_path):
    """Then the damage is reported."""
    damaged = tmp_path / "damaged.pcapng"
    damaged.write_bytes(file.read_bytes() + b"\xff" * 64)
    done = run(damaged, node(file))
    assert done.returncode == DAMAGED
    assert "no difference" in done.stdout
    assert "at byte" in done.stderr
