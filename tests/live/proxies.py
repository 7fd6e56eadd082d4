"""`lbcproxy run` as a program of its own, and a client of a node in a few lines."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from lbcproxy.networks import Network
from lbcproxy.wire import Codec, Frame, Framer
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import NetAddress, VerAck, Version
from lbcproxy.wire.messages.keepalive import Ping
from tests.nodes import wait_until
from tests.tools import TIMEOUT

__all__ = ["Client", "Program", "Proxy", "command", "lbcproxy"]

LISTENING = re.compile(r"listening at \S+:(\d+), ")
NOWHERE = NetAddress(services=0, ip=bytes(10) + b"\xff\xff" + bytes(4), port=0)


def lbcproxy(*arguments: object) -> str:
    """Run a command of lbcproxy and return what it prints."""
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command of lbcproxy, which may fail."""
    return subprocess.run(
        [sys.executable, "-m", "lbcproxy", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


class Program:
    """A running lbcproxy that says where it listens, by `pattern`, and writes to `output`."""

    def __init__(
        self, command: Sequence[str], output: Path, pattern: re.Pattern[str], **popen: Any
    ) -> None:
        self._output = output
        with output.open("wb") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lbcproxy", *command],
                stdout=printed,
                stderr=subprocess.STDOUT,
                **popen,
            )
        try:
            found = wait_until("lbcproxy listens", lambda: pattern.search(self.output))
        except BaseException:
            self.close()
            raise
        self.port = int(found[1])

    @property
    def output(self) -> str:
        """All that it has printed."""
        return self._output.read_text(errors="replace")

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(TIMEOUT)

    def close(self) -> None:
        """End it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Proxy(Program):
    """A running `lbcproxy run` that leads to ports of 127.0.0.1 and records to `capture`.

    Without a port its clients say where they want to go. `group` is that of its process, by
    which a firewall knows it.
    """

    def __init__(
        self,
        network: Network,
        upstream: int | tuple[int, ...],
        folder: Path,
        *options: str,
        kind: str = "reverse",
        listen: str = "0",
        group: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.capture = folder / "session.pcapng"
        ports = upstream if isinstance(upstream, tuple) else (upstream,)
        leads_to = ",".join(f"127.0.0.1:{port}" for port in ports)
        mode = f"{kind}{leads_to and ':'}{leads_to}@{listen}"
        command = ["run", "--network", network.id, "--mode", mode, "-w", str(self.capture)]
        super().__init__([*command, *options], folder / "output.txt", LISTENING, group=group)


class Client:
    """A node that says hello and asks for signs of life; reading waits for at most 10 s.

    With `encrypts` it has done the handshake of the encrypted transport as well.
    """

    def __init__(self, network: Network, port: int, *, encrypts: bool = False) -> None:
        self._codec = Codec(network)
        self._framer = Framer(network)
        self._frames: list[Frame] = []
        connection = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self._socket: Any = connection
        if encrypts:
            from tests.proxy.encrypted_sockets import EncryptedSocket

            self._socket = EncryptedSocket(connection, initiating=True, magic=network.magic)
            try:
                self._socket.shake_hands()
            except BaseException:
                connection.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def greet(self) -> None:
        """Do the handshake."""
        network = self._codec.network
        version = Version(
            version=network.protocol_version,
            services=0,
            timestamp=1_700_000_000,
            addr_recv=NOWHERE,
            addr_from=NOWHERE,
            nonce=0x6C6263,
            user_agent=b"/lbcproxy-test:0/",
            start_height=0,
            relay=False,
        )
        self.send(version)
        self.wait_for("version")
        self.send(VerAck())
        self.wait_for("verack")

    def send_ping(self, nonce: int) -> None:
        """Send a ping."""
        self.send(Ping(nonce=nonce))

    def ping(self, nonce: int) -> int:
        """Send a ping and return the nonce of the answer."""
        self.send_ping(nonce)
        pong: Any = self._codec.decode("pong", self.wait_for("pong").payload)
        return pong.nonce

    def send(self, record: Any) -> None:
        """Send a message."""
        payload = self._codec.encode(record)
        self._socket.sendall(frame(self._codec.network.magic, record.command, payload))

    def wait_for(self, command: str) -> Frame:
        """Read on to the next message of this command."""
        while True:
            while self._frames:
                found = self._frames.pop(0)
                if found.command == command:
                    return found
            data = self._socket.recv(65_536)
            assert data, f"closed while {command} was waited for"
            self._frames += [item for item in self._framer.feed(data) if isinstance(item, Frame)]

    def read_to_end(self) -> str:
        """Read until the connection is gone, and say how it went: "closed" or "reset"."""
        try:
            while self._socket.recv(65_536):
                pass
        except ConnectionError:
            return "reset"
        return "closed"
