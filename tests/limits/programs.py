"""The real program under test: started, watched from outside, and the nodes around it."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from lbcproxy import networks
from lbcproxy.wire import Codec, Frame, Framer
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import Version
from tests.live.proxies import NOWHERE, Client
from tests.nodes import wait_until
from tests.tools import REPOSITORY, TIMEOUT

__all__ = [
    "NETWORK",
    "STALL",
    "STARTS",
    "TIMEOUT",
    "Neighbour",
    "Node",
    "Program",
    "answer",
    "hello",
    "ignore",
    "message",
    "neighbour",
    "proxied",
    "start_of",
    "write_config",
]

NETWORK = networks.get("lbry-regtest")
STALL = 20.0
"""Seconds that no answer may take, on a loaded machine too: what stalls, stalls for ever."""
TWISTD = "from twisted.scripts.twistd import run; run()"
STARTS = {
    "run": [sys.executable, "-m", "lbcproxy", "run", "-q", "-c"],
    "twistd": [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "lbcproxy", "-c"],
}
"""Both ways to start the same proxies; the path of the config comes after it."""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def message(command: str, payload: bytes = b"") -> bytes:
    """Return a message as it goes over the wire."""
    return frame(NETWORK.magic, command, payload)


def proxied(upstream: int | str, **settings: Any) -> dict[str, Any]:
    """Give a proxy of a config that leads to a port of 127.0.0.1, at any port."""
    host = f"127.0.0.1:{upstream}" if isinstance(upstream, int) else upstream
    return {"listen": 0, "upstream": host, **settings}


def write_config(folder: Path, *proxies: Any, **settings: Any) -> Path:
    """Write a config file."""
    path = folder / "config.yaml"
    text = yaml.safe_dump({"network": NETWORK.id, **settings, "proxies": list(proxies)})
    path.write_text(text)
    return path


def start_of(kind: str, path: Path | str, *flags: str) -> list[str]:
    """Return the command line that starts what a config says."""
    return [*STARTS[kind], str(path), *flags]


class Program:
    """A running program and what it prints, of both streams, as it comes."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        begin: Callable[[], object] | None = None,
        shown: bool = True,
    ) -> None:
        self._printed = bytearray()
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if shown else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if shown else subprocess.PIPE,
            preexec_fn=begin,
        )
        self._pipe: Any = self.process.stdout or self.process.stderr
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()
        self._pipe.close()

    def _read(self) -> None:
        while data := self._pipe.read1(65536):
            self._printed += data

    @property
    def text(self) -> str:
        """All that it has printed."""
        return bytes(self._printed).decode(errors="replace")

    def wait_for(self, pattern: str, seconds: float = TIMEOUT) -> re.Match[str]:
        """Wait until something is printed that a pattern describes, and return the match."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            if time.monotonic() > deadline or self.process.poll() is not None:
                self._thread.join(1)
                if found := re.search(pattern, self.text):
                    return found
                pytest.fail(f"{pattern!r} was not printed: {self.text[-4000:]}")
            time.sleep(0.01)
        return found

    def ports(self, count: int = 1) -> list[int]:
        """Return where it listens, in the order of its proxies, once it does."""
        line = r"listening at [\d.]+:(\d+), forwarding to \S+\n"
        self.wait_for(f"(?s)(?:{line}.*){{{count}}}")
        return [int(port) for port in re.findall(line, self.text)]

    def end_of(self, client: int) -> str:
        """Wait until the session of a client's port is over, and return what is said of it."""
        return self.wait_for(rf"\[#\d+ 127\.0\.0\.1:{client}\] end: (.+)\n")[1]

    @property
    def ends(self) -> int:
        """How many sessions have ended."""
        return len(re.findall(r"\] end: ", self.text))

    @property
    def open_files(self) -> int:
        """How many descriptors it has."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def memory(self, kind: str = "VmRSS") -> int:
        """Give its resident bytes; `VmHWM` is the most it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{kind}:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) << 10

    def end(self, number: int | None = None) -> int:
        """Send a signal, if one is given, wait for the end, and return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(TIMEOUT)
        self._thread.join(TIMEOUT)
        return code

    def stop(self) -> int:
        """End it in order and return the exit code; nothing that it printed may be a traceback."""
        code = self.end(signal.SIGTERM)
        assert "Traceback" not in self.text, self.text
        return code


class Node:
    """A TCP server of 127.0.0.1 that does something with each connection, in a thread of it."""

    def __init__(self, behave: Callable[[socket.socket], object] | None = None) -> None:
        self._behave = behave or answer
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self._listening.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._talks: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(TIMEOUT)
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for talk in self._talks:
            talk.join(TIMEOUT)
            assert not talk.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._open.add(connection)
            talk = threading.Thread(target=self._talk, args=(connection,), daemon=True)
            self._talks = [each for each in self._talks if each.is_alive()]
            self._talks.append(talk)
            talk.start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError):
                self._behave(connection)
        finally:
            self._open.discard(connection)
            connection.close()


def ignore(connection: socket.socket) -> None:
    """Read nothing and say nothing until the connection is over."""
    poll = select.poll()
    poll.register(connection, 0)  # the end in both directions, or an error; no data
    poll.poll(TIMEOUT * 1000)


def answer(connection: socket.socket) -> None:
    """Be a node: do the handshake, answer pings, read everything else; to the end."""
    framer, codec = Framer(NETWORK, stream_above=65_536), Codec(NETWORK)
    while data := connection.recv(1 << 18):
        for item in framer.feed(data):
            if isinstance(item, Frame) and item.command == "version":
                theirs = codec.encode(_version())
                connection.sendall(message("version", theirs) + message("verack"))
            elif isinstance(item, Frame) and item.command == "ping":
                connection.sendall(message("pong", item.payload))


def _version() -> Version:
    return Version(
        version=NETWORK.protocol_version,
        services=0,
        timestamp=1_700_000_000,
        addr_recv=NOWHERE,
        addr_from=NOWHERE,
        nonce=0x6E6F6465,
        user_agent=b"/node:0/",
        start_height=0,
        relay=False,
    )


def hello() -> bytes:
    """Return what a client says first: its `version`."""
    return message("version", Codec(NETWORK).encode(_version()))


class Neighbour:
    """A session that is nobody's fault: it pings all the time, and times each answer."""

    def __init__(self, port: int) -> None:
        self.times: list[float] = []
        self._over = threading.Event()
        self._failed: BaseException | None = None
        self._client = Client(NETWORK, port)
        self._client.greet()
        self._thread = threading.Thread(target=self._ping, daemon=True)
        self._thread.start()

    def _ping(self) -> None:
        try:
            while not self._over.is_set():
                before = time.monotonic()
                nonce = len(self.times) + 1
                assert self._client.ping(nonce) == nonce
                self.times.append(time.monotonic() - before)
                time.sleep(0.01)
        except BaseException as error:
            self._failed = error

    def check(self) -> None:
        """Fail if it was ever kept waiting, or does not go on now."""
        before = len(self.times)
        wait_until("the neighbour pings on", lambda: self._failed or len(self.times) > before + 2)
        assert self._failed is None, repr(self._failed)
        assert max(self.times) < STALL

    def end(self) -> None:
        """Ping no more, and close."""
        self._over.set()
        self._thread.join(TIMEOUT)
        self._client.__exit__()


@contextmanager
def neighbour(port: int) -> Iterator[Neighbour]:
    """Have a neighbour while something happens, which it must not notice."""
    one = Neighbour(port)
    try:
        yield one
        one.check()
    finally:
        one.end()
