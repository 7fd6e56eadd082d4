"""What a running `lbcproxy run` prints into what takes nothing, and how it ends."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from lbcproxy.capture import open_capture
from tests.cli.pong_server import PING, PongServer
from tests.nodes import wait_until
from tests.tools import TIMEOUT

PROBE = Path(__file__).parent.parent.parent / "captures" / "lbcd-probe.pcap"


@pytest.fixture
def node():
    """A node that answers."""
    made = PongServer()
    yield made
    made.close()


class Printing:
    """`lbcproxy run -T ndjson` whose outputs the test chooses; standard error goes to a file."""

    def __init__(self, folder: Path, node: PongServer, *arguments: str, **options: Any) -> None:
        self.errors = folder / "errors"
        self._file = self.errors.open("wb")
        where = f"reverse:127.0.0.1:{node.port}@0"
        recorded = [] if "-w" in arguments else ["--no-record"]
        command = [sys.executable, "-m", "lbcproxy", "run", "--network", "lbry-regtest"]
        self.process = subprocess.Popen(
            [*command, "--mode", where, *recorded, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stderr=self._file,
            **options,
        )

    @property
    def said(self) -> str:
        """What standard error got."""
        return self.errors.read_text()

    def port(self, where: Path | None = None) -> int:
        """Where it listens, as its log says."""
        log = self.errors if where is None else where
        text = wait_until(
            "it listens", lambda: (text := log.read_text()).count("forwarding to") and text
        )
        return int(text.partition("listening at 127.0.0.1:")[2].partition(",")[0])

    def talk(self, port: int, pings: int) -> None:
        """Have messages pass."""
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
            for _ in range(pings):
                connection.sendall(PING)
                connection.recv(1000)

    def end(self, number: int | None = None) -> int:
        """Send a signal, if one is given, and return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(TIMEOUT)

    def close(self) -> None:
        """Clean up."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT)
        self._file.close()


@pytest.fixture
def printing(tmp_path, node):
    """Start it; it is ended in the end."""
    made: list[Printing] = []

    def start(*arguments: str, **options: Any) -> Printing:
        made.append(Printing(tmp_path, node, *arguments, **options))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.mark.slow
def test_a_full_device_is_reported_and_lost_lines_are_counted(printing):
    """The traffic goes on; the exit code says that not everything was printed."""
    with Path("/dev/full").open("wb") as full:
        proxy = printing("-T", "ndjson", stdout=full)
        port = proxy.port()
        proxy.talk(port, 3)
        wait_until("it says so", lambda: "standard output: No space left" in proxy.said)
        proxy.talk(port, 2)
        assert proxy.end(signal.SIGTERM) == 1
    assert proxy.said.count("standard output: No space left on device") == 1
    assert "10 lines could not be printed: No space left on device" in proxy.said
    assert "Traceback" not in proxy.said


@pytest.mark.slow
def test_lost_text_lines_are_reported_too(printing):
    """The log is lost with them, and standard error says why."""
    with Path("/dev/full").open("wb") as full:
        proxy = printing(stdout=full)
        wait_until("it says so", lambda: "standard output: No space left" in proxy.said)
        assert proxy.end(signal.SIGTERM) == 1
    assert "lines could not be printed: No space left on device" in proxy.said


@pytest.mark.slow
def test_a_file_at_its_size_limit_is_retried(printing, tmp_path):
    """Like a full disk: every line is complete, and none is lost once there is space."""
    out = tmp_path / "out"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

    with out.open("wb") as file:
        proxy = printing("-T", "ndjson", stdout=file, preexec_fn=limit)
        proxy.talk(proxy.port(), 20)
        wait_until("it says so", lambda: "standard output: File too large" in proxy.said)
        assert out.stat().st_size == 1000
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, unlimited)
        wait_until("it goes on", lambda: "standard output: it takes lines again" in proxy.said)
        assert proxy.end(signal.SIGTERM) == 0
    lines = out.read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(1, 41))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ndjson", "text"])
def test_a_reader_that_leaves_ends_it_in_order(printing, kind):
    """As `| head` ends any program; sessions are ended as by a signal, and it is said why."""
    reading, writing = os.pipe()
    proxy = printing("-T", kind, "--log-file", "log", stdout=writing)
    os.close(writing)
    log = proxy.errors.parent / "log"
    wait_until("it logs", log.exists)
    port = proxy.port(log)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.sendall(PING)
        assert os.read(reading, 10)
        os.close(reading)
        connection.sendall(PING)
        left = threading.Event()
        while connection.recv(1000):
            pass  # the pongs, then the end of the session in order
        left.set()
    assert proxy.end() == 1
    assert "standard output: Broken pipe" in proxy.said
    assert "could not be printed: Broken pipe" in proxy.said
    assert "proxy stopped" in log.read_text()


@pytest.mark.slow
def test_a_reader_of_the_log_alone_may_leave(printing):
    """With -q nothing is printed but the log: the traffic is worth more."""
    reading, writing = os.pipe()
    proxy = printing("-q", stdout=writing)
    os.close(writing)
    first = b""
    while b"forwarding to" not in first:
        first += os.read(reading, 1000)
    os.close(reading)
    port = int(first.decode().partition("listening at 127.0.0.1:")[2].partition(",")[0])
    proxy.talk(port, 1)
    wait_until("it is told", lambda: "standard output: Broken pipe" in proxy.said)
    proxy.talk(port, 1)
    assert proxy.end(signal.SIGTERM) == 1


@pytest.mark.slow
def test_a_log_on_a_full_device_is_reported_and_counted(printing, tmp_path):
    """On the terminal, which is there beside it."""
    with (tmp_path / "out").open("wb") as out:
        proxy = printing("-q", "--log-file", "/dev/full", stdout=out)
        wait_until(
            "it says so",
            lambda: "the log to /dev/full fails: No space" in (tmp_path / "out").read_text(),
        )
        assert proxy.end(signal.SIGTERM) == 1
    assert "lines of the log could not be written: No space left on device" in proxy.said


@pytest.mark.slow
def test_recording_into_a_pipe_does_not_wait_for_its_reader(printing, tmp_path):
    """It starts, the traffic flows, and a later reader gets everything."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    proxy = printing("-T", "ndjson", "-w", str(pipe), stdout=subprocess.DEVNULL)
    proxy.talk(proxy.port(), 3)
    assert f"waiting for a reader of {pipe}" in proxy.said
    copy = tmp_path / "copy.pcapng"
    thread = threading.Thread(target=lambda: copy.write_bytes(pipe.read_bytes()), daemon=True)
    thread.start()
    wait_until("it has a reader", lambda: f"{pipe} has a reader" in proxy.said)
    assert proxy.end(signal.SIGTERM) == 0
    thread.join(TIMEOUT)
    assert [entry.command for entry in open_capture(copy)] == ["ping", "pong"] * 3


@pytest.mark.slow
def test_a_pipe_that_nobody_reads_costs_the_exit_code(printing, tmp_path):
    """What was to be recorded is lost."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    proxy = printing("-q", "--log-file", "log", "-w", str(pipe), stdout=subprocess.DEVNULL)
    log = tmp_path / "log"
    wait_until("it logs", log.exists)
    proxy.talk(proxy.port(log), 2)
    assert proxy.end(signal.SIGTERM) == 1
    assert "4 messages (" in log.read_text()
    assert "were not recorded" in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["show", str(PROBE)],
        ["show", "-T", "ndjson", str(PROBE)],
        ["info", str(PROBE)],
        ["info", "-T", "json", str(PROBE)],
        ["options"],
        ["schema", "tx"],
        ["convert", "-F", "ndjson", str(PROBE), "-"],
    ],
    ids=lambda words: " ".join(words[:-1]),
)
def test_other_commands_name_a_full_output_too(words):
    """And not the file that they read."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lbcproxy", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT,
            check=False,
        )
    [line] = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert line.startswith("lbcproxy: ")
    assert line.endswith("No space left on device")
    assert "cannot read" not in line
