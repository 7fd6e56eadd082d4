"""The node that a test connects to: replayed from a capture, or a real one that is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lbcproxy.endpoint import Endpoint
from lbcproxy.pytest_plugin.loop import Loop
from lbcproxy.pytest_plugin.mismatch import Played, describe
from lbcproxy.pytest_plugin.recording import RecordingProxy
from lbcproxy.pytest_plugin.replaying import CaptureReplay
from lbcproxy.pytest_plugin.settings import SUFFIX, Settings
from lbcproxy.session import Message

__all__ = ["Node"]


class Node:
    """The node that a test's client connects to.

    Args:
        loop: Where the node runs.
        settings: The settings of the test.
        path: The capture.
        shown: The capture's path for display.
    """

    def __init__(self, loop: Loop, settings: Settings, path: Path, shown: str) -> None:
        self._settings = settings
        self._shown = shown
        self.path = path
        """The capture."""
        self.mode = settings.record_mode
        upstream = settings.real_node
        records = self.mode in ("all", "rewrite") or (self.mode != "none" and not path.exists())
        if records or (self.mode == "new_episodes"):
            if upstream is None:
                raise ValueError(
                    f'record mode {self.mode}: of which node? say upstream="HOST:PORT"'
                )
            if path.suffix != SUFFIX:
                raise ValueError(f"cannot record {shown}: the name must end in {SUFFIX}")
        elif not path.exists():
            raise ValueError(f"there is no capture {shown}; {self._hint}")
        self._part: RecordingProxy | CaptureReplay
        if records and upstream is not None:
            self._part = RecordingProxy(loop, settings, upstream)
        else:
            passed_on = upstream if self.mode == "new_episodes" else None
            self._part = CaptureReplay(loop, settings, path, passed_on)
        self.address: Endpoint = self._part.address
        """Host and port, as a tuple that prints as HOST:PORT."""

    def __repr__(self) -> str:
        return f"<Node {self.address} {'records' if self.is_recording else 'plays'} {self._shown}>"

    @property
    def host(self) -> str:
        """The host to connect to."""
        return self.address.host

    @property
    def port(self) -> int:
        """The port to connect to."""
        return self.address.port

    @property
    def is_recording(self) -> bool:
        """Whether it is a real node that is recorded."""
        return isinstance(self._part, RecordingProxy)

    @property
    def unknown(self) -> Sequence[Message]:
        """The requests that the capture has no response to."""
        return (
            [] if isinstance(self._part, RecordingProxy) else [q for q, _ in self._part.unknown()]
        )

    @property
    def play_count(self) -> int:
        """Number of recorded messages that were sent, without handshake and pings."""
        return 0 if isinstance(self._part, RecordingProxy) else self._part.play_count()

    @property
    def all_played(self) -> bool:
        """Whether all recorded messages of the node were sent, without handshake and pings."""
        return isinstance(self._part, RecordingProxy) or not self._part.unplayed()

    # Called by the plugin.

    def problem(self) -> str:
        """Return why the test fails; empty if it does not."""
        part = self._part
        if isinstance(part, RecordingProxy):
            return ""
        questions = part.unknown() if self._settings.unknown == "fail" else []
        if questions:
            return describe(Played(Path(self._shown), self.mode, self._hint), questions)
        unplayed = part.unplayed() if self._settings.strict else []
        if unplayed:
            listed = "\n".join(f"  message {each}" for each in unplayed[:10])
            more = f"\n  and {len(unplayed) - 10:,} more" if len(unplayed) > 10 else ""
            return (
                f"{len(unplayed):,} recorded messages were not sent (strict)\n"
                f"capture: {self._shown} (record mode {self.mode})\n{listed}{more}"
            )
        return ""

    def details(self) -> str:
        """Return what helps to explain a failure."""
        return self._part.details()

    def finish(self, *, passed: bool) -> str:
        """Stop; keep the recording if the test has passed. Return what happened to the capture."""
        try:
            self._part.stop()
            new = self._part.new
            if not new and passed and self.mode == "rewrite" and self.path.exists():
                self.path.unlink()
                return f"deleted {self._shown}, since nothing passed"
            if not new:
                return f"nothing passed, so nothing is recorded: {self._shown}" * self.is_recording
            if not passed:
                return f"not recorded, since the test failed: {self._shown}"
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._part.keep(self.path)
            return f"recorded {self._shown} ({new:,} {'messages' * (new > 1) or 'message'})"
        finally:
            self._part.close()

    @property
    def _hint(self) -> str:
        if self._settings.upstream is None:
            return (
                'to record it, say where the real node is (upstream="HOST:PORT" in the mark or in '
                "lbcproxy_config)\nand run with --record-mode=once or new_episodes"
            )
        if self.mode == "new_episodes":
            return f"the node at {self._settings.upstream} has not answered either"
        mode = "new_episodes" if self.path.exists() else "once"
        return f"to record it from {self._settings.upstream}: --record-mode={mode}"
