"""Who stands between two ends: lbcproxy and its rivals, each a program of its own.

A contestant is started for a port that it leads to, and ended when it is done. Programs that
`script/benchmark` installs are looked for in `.tools`, then on the PATH.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.blocks import NETWORK
from benchmarks.measure import US, Absent

__all__ = [
    "ALL",
    "DIRECT",
    "HAPROXY",
    "LBCPROXY",
    "MITMDUMP",
    "MITMDUMP_W",
    "NO_RECORD",
    "SOCAT",
    "TOXIPROXY",
    "TWISTED",
    "Contestant",
    "Running",
    "free_port",
    "recording",
    "started",
]

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / ".tools"
TIMEOUT = 30.0
"""Seconds a contestant may take to listen or to end."""
RECORDING = "recording"

Command = Callable[[str, int, int, Path], Sequence[object]]


class Contestant(msgspec.Struct, frozen=True):
    """Who: a name, its program, and the command line for a listening and an upstream port."""

    who: str
    program: str = ""
    command: Command | None = None
    records: bool = False
    """Whether it records into the file `RECORDING` of its folder."""

    @property
    def path(self) -> str | None:
        """Where its program is, if it is there."""
        own = {"mitmdump": TOOLS / "mitmproxy" / "bin"}.get(self.program, TOOLS / "bin")
        return shutil.which(self.program, path=f"{own}{os.pathsep}{os.environ['PATH']}")

    @property
    def absent(self) -> Absent | None:
        """Say so if it cannot be measured here."""
        if self.command is None or self.path is not None:
            return None
        return Absent(self.who, f"{self.program} is not installed; script/benchmark does that")


class Running(msgspec.Struct):
    """A contestant at work."""

    port: int
    """Where it listens."""
    folder: Path
    """Its own."""
    process: subprocess.Popen[bytes] | None
    cpu: float = 0.0
    """Seconds of processor time it has taken, once it has ended."""
    ended: float = 0.0
    """When that was, by `time.monotonic`."""

    @property
    def recorded(self) -> int:
        """How many bytes its recording has."""
        return (self.folder / RECORDING).stat().st_size

    @property
    def resident(self) -> int:
        """Bytes of memory it has now."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def end(self) -> None:
        """End it in order; raises RuntimeError if it ends with an error or not at all."""
        process, self.process = self.process, None
        if process is None:
            return
        os.kill(process.pid, signal.SIGTERM)  # Popen's would take the exit code from us
        code = self._wait(process)
        self.ended = time.monotonic()
        if code not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
            output = (self.folder / "output.txt").read_text(errors="replace")
            raise RuntimeError(f"{process.args!r} ended with {code}: {output[-2000:]}")

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end as `Popen.wait` does, and note what it has cost."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                self.cpu = usage.ru_utime + usage.ru_stime
                return process.returncode
            time.sleep(0.002)
        process.kill()
        process.wait()
        raise RuntimeError(f"{process.args!r} does not end")


@contextlib.contextmanager
def started(contestant: Contestant, upstream: int) -> Iterator[Running]:
    """Start a contestant that leads to a port; it is ended behind the block, its folder deleted."""
    if contestant.command is None:
        yield Running(upstream, Path(), None)
        return
    with tempfile.TemporaryDirectory(prefix="lbcproxy-benchmark-") as name:
        folder, port = Path(name), free_port()
        assert contestant.path is not None
        command = contestant.command(contestant.path, port, upstream, folder)
        with (folder / "output.txt").open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  # our own command lines
                [str(each) for each in command],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        running = Running(port, folder, process)
        try:
            wait_listening(port, process)
            yield running
            running.end()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def free_port() -> int:
    """Return a port of 127.0.0.1 at which nobody listens, of those no connection is given."""
    chance = random.SystemRandom()  # others look for one at the same time, with any seed
    while True:
        port = chance.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def wait_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens at a port, without a connection that would be passed on."""
    deadline = time.monotonic() + TIMEOUT
    while not _listening(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} does not listen")
        time.sleep(0.002)


def _listening(port: int) -> bool:
    wanted = f":{port:04X}"
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(wanted) and fields[3] == "0A":
                return True
    return False


def recording(network: str = NETWORK.id) -> Contestant:
    """Return lbcproxy as users run it, for a network."""
    return Contestant(US, sys.executable, _lbcproxy(network), records=True)


def _lbcproxy(network: str, *options: str) -> Command:
    def command(python: str, listen: int, upstream: int, folder: Path) -> Sequence[object]:
        mode = f"reverse:127.0.0.1:{upstream}@{listen}"
        record = options or ("-w", folder / RECORDING)
        program = (python, "-m", "lbcproxy", "run", "-q", "--network", network)
        return (*program, "--mode", mode, *record)

    return command


def _twisted(python: str, listen: int, upstream: int, _: Path) -> Sequence[object]:
    return (python, ROOT / "benchmarks" / "rivals" / "twisted_forward.py", listen, upstream)


def _haproxy(program: str, listen: int, upstream: int, folder: Path) -> Sequence[object]:
    """TCP_NODELAY is HAProxy's own choice."""
    settings = folder / "haproxy.cfg"
    settings.write_text(
        "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 10m\n"
        "  timeout server 10m\n"
        f"listen forward\n  bind 127.0.0.1:{listen}\n  server upstream 127.0.0.1:{upstream}\n"
    )
    return (program, "-db", "-f", settings)


def _socat(program: str, listen: int, upstream: int, _: Path) -> Sequence[object]:
    """Without `fork`, so for one session: it counts what it takes as its own."""
    return (
        program,
        f"TCP-LISTEN:{listen},bind=127.0.0.1,reuseaddr,nodelay",
        f"TCP:127.0.0.1:{upstream},nodelay",
    )


def _toxiproxy(program: str, listen: int, upstream: int, folder: Path) -> Sequence[object]:
    """TCP_NODELAY is what Go does."""
    settings = folder / "toxiproxy.json"
    ends = {"listen": f"127.0.0.1:{listen}", "upstream": f"127.0.0.1:{upstream}"}
    settings.write_text(json.dumps([{"name": "forward", "enabled": True, **ends}]))
    return (program, "-port", free_port(), "-config", settings)


def _mitmdump(*, records: bool) -> Command:
    def command(program: str, listen: int, upstream: int, folder: Path) -> Sequence[object]:
        mode = f"reverse:tcp://127.0.0.1:{upstream}@127.0.0.1:{listen}"
        options = ("-w", folder / RECORDING) if records else ()
        return (program, "-q", "--set", f"confdir={folder}", "--mode", mode, *options)

    return command


DIRECT = Contestant("direct")
TWISTED = Contestant("plain Twisted", sys.executable, _twisted)
LBCPROXY = recording()
NO_RECORD = Contestant(f"{US} --no-record", sys.executable, _lbcproxy(NETWORK.id, "--no-record"))
HAPROXY = Contestant("HAProxy", "haproxy", _haproxy)
SOCAT = Contestant("socat", "socat", _socat)
TOXIPROXY = Contestant("toxiproxy", "toxiproxy-server", _toxiproxy)
MITMDUMP = Contestant("mitmdump", "mitmdump", _mitmdump(records=False))
MITMDUMP_W = Contestant("mitmdump -w", "mitmdump", _mitmdump(records=True), records=True)
ALL = (
    DIRECT,
    TWISTED,
    LBCPROXY,
    NO_RECORD,
    HAPROXY,
    SOCAT,
    TOXIPROXY,
    MITMDUMP,
    MITMDUMP_W,
)
