"""Records a real node by a proxy in front of it; the capture is kept if the test passes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred

from lbcproxy.capture import Recorder
from lbcproxy.endpoint import Endpoint
from lbcproxy.proxy import Mode, ProxyService, ProxySettings
from lbcproxy.pytest_plugin.loop import Loop
from lbcproxy.pytest_plugin.settings import Settings
from lbcproxy.replay.as_server.store import whole_file
from lbcproxy.session import SessionInfo
from lbcproxy.session.events import Delivered, SessionEnded, SessionEvent

__all__ = ["RecordingProxy"]

STOP_TIMEOUT = 5.0
"""Seconds in which sessions may close after the test."""


class RecordingProxy:
    """A recording proxy in front of `upstream`."""

    def __init__(self, loop: Loop, settings: Settings, upstream: Endpoint) -> None:
        self._loop = loop
        self._upstream = upstream
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # kept open
        self._ends: list[str] = []
        self.new = 0
        """Number of recorded messages."""
        network, transport = settings.needed_network, settings.listening_transport
        recorder = Recorder(self._file.write, network=network.id)
        mode = Mode("reverse", (upstream,), Endpoint("127.0.0.1", 0))
        proxy = ProxySettings(
            network=network,
            modes=(mode,),
            stream_above=None,
            dial_timeout=settings.timeout,
            client_transport=transport,
            upstream_transport=transport,
        )
        self._service = ProxyService(loop.reactor, proxy, [recorder, self])
        [opened] = loop.call(self._service.listen)
        self.address: Endpoint = opened.listen

    # What the proxy tells.

    def session_started(self, _info: SessionInfo) -> RecordingProxy:
        """Return itself: all sessions are counted together."""
        return self

    def handle(self, event: SessionEvent) -> None:
        """Count messages, and record why sessions ended."""
        match event:
            case Delivered():
                self.new += sum(len(each.entries) for each in event.deliveries)
            case SessionEnded():
                end = event.summary.end.describe()
                self._ends.append(f"session {event.info.number}: {end}")

    # Called by the plugin.

    def details(self) -> str:
        """Return how sessions ended; this shows if the node could not be reached."""
        ends = self._loop.call(lambda: list(self._ends))
        return "\n".join((f"recording from {self._upstream}, {self.new:,} messages", *ends))

    def stop(self) -> None:
        """End all sessions."""
        self._loop.call(self._stop)

    def keep(self, path: Path) -> None:
        """Write the capture atomically, replacing an existing one."""
        self._file.seek(0)
        with whole_file(path, shared=True) as write:
            while data := self._file.read(1 << 20):
                write(data)

    def close(self) -> None:
        """Delete the temporary file."""
        self._file.close()

    def _stop(self) -> Deferred[object]:
        late = self._loop.reactor.callLater(STOP_TIMEOUT, self._service.abort)
        stopped = self._service.stopService()

        def over(result: object) -> object:
            if late.active():
                late.cancel()
            return result

        return stopped.addBoth(over)
