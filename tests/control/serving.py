"""A service whose control API is asked over real HTTP."""

import http.client
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from lbcproxy.config import load
from lbcproxy.service import LbcproxyService, Logs
from tests.proxy.loops import Loop
from tests.proxy.transports import NETWORK
from tests.tools import TIMEOUT

__all__ = ["Serving", "UnixConnection"]


class Serving:
    """A service with a control API; everything is stopped by `stop`."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self.loop = loop
        self.folder = folder
        self.lines: list[str] = []
        self._logs = Logs(lambda line, bad: self.lines.append(line))
        self.service: Any = None
        self.next: dict[str, Any] = {}

    def start(self, control: str | int = 0, **settings: Any) -> "Serving":
        """Start it."""
        self.configure(control=control, **settings)
        self.service = LbcproxyService(
            self.loop.reactor,
            load(self.next),
            self._logs,
            reload=lambda: load(self.next),
        )
        self.service.set_logs(self.service.config)
        self._logs.join()
        self.loop.call(self.service.open)
        return self

    def configure(self, **settings: Any) -> None:
        """Write the config, for the start and for `hang_up`."""
        self.next = {"network": NETWORK.id, "record": None, **settings}

    def hang_up(self) -> None:
        """Reload the config."""
        self.loop.call(self.service.hang_up)

    @property
    def api(self) -> str:
        """Where the API is."""
        [line] = [line for line in self.lines if "control: listening at " in line]
        return line.rpartition(" ")[2].strip()

    @property
    def log(self) -> str:
        """All lines, without their times."""
        return "\n".join(line.partition("]")[2].strip() for line in self.lines)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Send a request; return status and answer. A body other than bytes is sent as JSON."""
        connection: http.client.HTTPConnection
        if "/" in self.api:
            connection = UnixConnection(self.api)
        else:
            connection = http.client.HTTPConnection(self.api, timeout=TIMEOUT)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        try:
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            if text:
                assert answer.getheader("content-type") == "application/json"
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def run(self, command: str, *words: object, code: int = 0) -> str:
        """Run a command against it; return its output, or its error output if it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "lbcproxy", command, "--control", self.api, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    def stop(self) -> None:
        """Stop it, wait, and be no log any more."""
        from twisted.logger import globalLogPublisher

        if self.service is not None:
            self.loop.call(self.service.stopService)
        self._logs.end()
        globalLogPublisher.removeObserver(self._logs)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__("whatever.example", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)
