"""The proxy as a program that is kept running by a config: `twistd` or `lbcproxy run -c`."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lbcproxy.capture import open_capture
from lbcproxy.errors import CaptureError
from lbcproxy.session import Direction
from tests.nodes import wait_until
from tests.tools import TIMEOUT

__all__ = ["RUN", "TWISTD", "Service", "messages", "streams"]

TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "lbcproxy")
RUN = (sys.executable, "-m", "lbcproxy", "run", "--quiet")
LISTENING = re.compile(r"listening at 127\.0\.0\.1:(\d+)")


class Service:
    """A running service whose folder, with its `config.yaml`, is its own.

    `command` is what stands before `-c config.yaml`. All it prints is in `output`; it takes ports
    that are free where the config says `listen: 0`.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        command: Sequence[object] = TWISTD,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.configure(config)
        self._output = folder / "output.txt"
        self._skip = self._output.stat().st_size if self._output.exists() else 0
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                [*map(str, command), "-c", "config.yaml"],
                cwd=folder,
                env=dict(os.environ if environment is None else environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            listening = [each for each in config["proxies"] if each.get("enabled", True)]
            wait_until("it listens", lambda: len(self.ports) >= len(listening), TIMEOUT)
        except BaseException:
            self.close()
            raise

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write the config that it reads when it starts, and at SIGHUP."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump(dict(config)))

    def hang_up(self, says: str = "config reloaded: ") -> None:
        """Send SIGHUP and wait for what it says when that has been dealt with."""
        before = self.output.count(says)
        self.process.send_signal(signal.SIGHUP)
        wait_until(f"it says {says!r}", lambda: self.output.count(says) > before, TIMEOUT)

    @property
    def output(self) -> str:
        """All that it has printed."""
        return self._output.read_bytes()[self._skip :].decode(errors="replace")

    @property
    def ports(self) -> list[int]:
        """Where it has listened, in the order in which it began to."""
        return [int(port) for port in LISTENING.findall(self.output)]

    def said(self, pattern: str) -> re.Match[str]:
        """Wait until it has printed something, and return the match."""
        found = wait_until(f"it says {pattern}", lambda: re.search(pattern, self.output), TIMEOUT)
        assert isinstance(found, re.Match)
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT)

    def close(self) -> None:
        """End it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def messages(path: Path, *, torn: bool = False) -> dict[int, tuple[list[bytes], list[bytes]]]:
    """Return what a capture holds: by the client's port, the messages to the upstream and back.

    If it may be torn, damage at its end is not an error.
    """
    ports: dict[int, int] = {}
    parts: dict[tuple[int, Direction], list[bytes]] = {}
    capture = open_capture(path)
    capture.on_session_ended = lambda report: ports.update({report.number: report.client.port})
    with contextlib.suppress(*[CaptureError] * torn):
        for entry in capture:
            parts.setdefault((entry.session, entry.direction), []).append(entry.raw)
    up, down = Direction.TO_UPSTREAM, Direction.TO_CLIENT
    return {
        port: (parts.get((number, up), []), parts.get((number, down), []))
        for number, port in ports.items()
    }


def streams(path: Path) -> dict[int, tuple[bytes, bytes]]:
    """Return the same as the bytes of both directions."""
    found = messages(path)
    return {port: (b"".join(up), b"".join(down)) for port, (up, down) in found.items()}
