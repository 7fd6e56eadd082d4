"""When reading or recording a session fails: its bytes are recorded anyway, or count as lost.

Nothing is given up silently: what is neither in the file nor counted makes a recorder worthless.
"""

import itertools
from pathlib import Path
from typing import Any

import pytest

from lbcproxy.background import Background
from lbcproxy.capture import (
    Choice,
    Recording,
    RecordingSettings,
    Rings,
    RingSettings,
    Switch,
    open_capture,
)
from lbcproxy.capture.recording.ring import Ring
from lbcproxy.capture.recording.switch import SwitchedSession
from lbcproxy.capture.writing.capture_writer import CaptureWriter
from lbcproxy.capture.writing.recorder import SessionRecorder
from lbcproxy.filters import parse
from lbcproxy.plugins.loader import PluginFile, parse_spec
from lbcproxy.plugins.pipeline import Pipeline
from lbcproxy.proxy.budget import Budget
from lbcproxy.proxy.settings import Plugins
from lbcproxy.session import Direction, Session
from lbcproxy.session.node_state import NodeState
from lbcproxy.session.stream_reader import StreamReader
from lbcproxy.wire import Framer
from lbcproxy.wire.envelope import frame
from tests.proxy.termination import Scene as TerminateScene
from tests.proxy.transports import NETWORK, Scene
from tests.proxy.transports import Recording as Told

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
PLUGIN = """
from lbcproxy.plugin import Plugin

class Quiet(Plugin):
    def on_tx(self, session, tx):
        pass
"""


def ping(number: int) -> bytes:
    """Return a frame that is like no other."""
    return frame(NETWORK.magic, "ping", number.to_bytes(8, "little"))


class Recorded:
    """A relay whose sessions go to a file."""

    def __init__(self, folder: Path, scene: Any = Scene, wanted: str = "", **settings: Any) -> None:
        self.path = folder / "x.pcapng"
        self.said: list[tuple[str, bool]] = []
        self.disk = Background(1 << 24)
        self.recording = Recording(
            RecordingSettings(pattern=str(self.path)),
            self.disk,
            lambda text, bad: self.said.append((text, bad)),
            network=NETWORK.id,
            name="main",
            changes=scene is TerminateScene,
            selection=parse(wanted) if wanted else None,
            now=lambda: 1,
        )
        self.recording.open()
        switch = Switch(self.recording, Choice(True), lambda: 1)
        self.scene = scene(before=[switch], **settings)

    def close(self) -> None:
        """Write everything to the disk."""
        self.recording.close()
        assert self.disk.close(10)

    def stream(self, direction: Direction) -> bytes:
        """Return the bytes that the file holds of a direction."""
        return b"".join(each.raw for each in open_capture(self.path) if each.direction is direction)


def failing(original: Any, at: int, error: Exception, *, after: bool = False) -> Any:
    """Return a function that fails at one call, before it has done anything or after."""
    calls = itertools.count(1)

    def function(*arguments: Any, **named: Any) -> Any:
        number = next(calls)
        if number == at and not after:
            raise error
        result = original(*arguments, **named)
        if number == at:
            raise error
        return result

    return function


DEFECTS = {
    "receive": (Session, "receive", 3),
    "feed": (Framer, "feed", 3),
    "run": (Framer, "_run", 4),
    "take": (Framer, "_take", 2),
    "see": (NodeState, "see_run", 2),
    "entry": (StreamReader, "_deliver", 2),
}


def play(scene: Any) -> tuple[bytes, bytes]:
    """Have both nodes send something, in pieces that are not messages; return what they sent."""
    scene.answer()
    said = {UP: b"", DOWN: b""}
    for number in range(8):
        data = b"".join(ping(10 * number + each) for each in range(4))
        for part in (data[:40], data[40:]):
            scene.client.arrive(part)
            said[UP] += part
        scene.upstream.arrive(ping(1000 + number))
        said[DOWN] += ping(1000 + number)
    scene.client.finish()
    scene.settle()
    scene.upstream.finish()
    scene.settle()
    return said[UP], said[DOWN]


@pytest.mark.parametrize("name", DEFECTS)
@pytest.mark.parametrize("plugin", [False, True])
@pytest.mark.parametrize("error", [MemoryError(), ZeroDivisionError("a defect")])
def test_what_cannot_be_read_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, plugin: bool, error: Exception
):
    """240 MB were given up once for want of memory, with exit code 0: bytes need no reading."""
    settings = {}
    if plugin:
        (tmp_path / "quiet.py").write_text(PLUGIN)
        settings["plugins"] = Plugins((PluginFile(parse_spec(str(tmp_path / "quiet.py"))),))
    recorded = Recorded(tmp_path, **settings)
    owner, method, at = DEFECTS[name]
    monkeypatch.setattr(owner, method, failing(getattr(owner, method), at, error))
    said = play(recorded.scene)
    recorded.close()
    monkeypatch.undo()
    assert (recorded.scene.upstream.got, recorded.scene.client.got) == said
    assert (recorded.stream(UP), recorded.stream(DOWN)) == said
    assert [entry.error for entry in open_capture(recorded.path)] == [None] * 40
    assert not recorded.recording.lost


def test_a_filter_does_not_leave_out_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It may be what was to be recorded."""
    recorded = Recorded(tmp_path, wanted="tx")
    monkeypatch.setattr(Session, "receive", failing(Session.receive, 1, MemoryError()))
    recorded.scene.answer()
    recorded.scene.client.arrive(ping(1))
    recorded.close()
    assert recorded.stream(UP) == ping(1)


@pytest.mark.parametrize("owner", [SessionRecorder, CaptureWriter])
def test_what_the_recorder_fails_at_is_written_without_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type
):
    """The bytes are what counts; no hole is invented for what was begun and not written."""
    recorded = Recorded(tmp_path)
    method = "deliver" if owner is SessionRecorder else "_data_blocks"
    monkeypatch.setattr(owner, method, failing(getattr(owner, method), 3, MemoryError()))
    said = play(recorded.scene)
    recorded.close()
    assert (recorded.stream(UP), recorded.stream(DOWN)) == said
    assert not recorded.recording.lost
    assert recorded.said == [("session 1 is recorded without notes: MemoryError", False)]


def test_what_cannot_be_written_at_all_counts_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The file shows the gap, and `run` ends with exit code 1."""
    recorded = Recorded(tmp_path)
    recorded.scene.answer()
    recorded.scene.client.arrive(ping(1))
    monkeypatch.setattr(
        CaptureWriter, "data", failing(CaptureWriter.data, 1, MemoryError(), after=False)
    )
    monkeypatch.setattr(CaptureWriter, "_data_blocks", lambda *_: 1 / 0)
    recorded.scene.client.arrive(ping(2) + ping(3))
    monkeypatch.undo()
    recorded.scene.client.arrive(ping(4))
    recorded.close()
    lost = recorded.recording.lost
    assert (lost.messages, lost.size) == (2, 2 * len(ping(1)))
    entries = list(open_capture(recorded.path))
    assert [each.missing for each in entries] == [0, 2 * len(ping(1)), 0]


def test_an_observer_that_fails_is_notified_how_much_it_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A defect in the switch itself costs the session's recording, and that is counted."""
    recorded = Recorded(tmp_path)
    recorded.scene.answer()
    recorded.scene.client.arrive(ping(1))
    monkeypatch.setattr(SwitchedSession, "_deliver", lambda *_: 1 / 0)
    recorded.scene.client.arrive(ping(2))
    monkeypatch.undo()
    recorded.scene.client.arrive(ping(3) + ping(4))
    recorded.scene.client.reset()
    recorded.scene.settle()
    recorded.close()
    lost = recorded.recording.lost
    assert (lost.messages, lost.size) == (3, 3 * len(ping(1)))
    assert recorded.stream(UP) == ping(1)


def test_a_console_that_fails_is_not_a_loss(tmp_path: Path):
    """What is printed is in the file."""
    recorded = Recorded(tmp_path, observer=Told(fails_at="passed"))
    said = play(recorded.scene)
    recorded.close()
    assert (recorded.stream(UP), recorded.stream(DOWN)) == said
    assert not recorded.recording.lost


def test_a_ring_that_failed_is_written_when_its_session_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It may have ended badly, which the ring was not notified of; what it lacks counts."""
    disk = Background(1 << 24)
    settings = RingSettings(
        messages=100, size=1 << 20, pattern=str(tmp_path / "ring.pcapng"), reasons=("death",)
    )
    said: list[tuple[str, bool]] = []
    rings = Rings(
        settings,
        disk,
        lambda text, bad: said.append((text, bad)),
        Budget(1 << 30),
        network=NETWORK.id,
        name="main",
        changes=False,
        now=lambda: 1,
    )
    scene = Scene(before=[rings]).answer()
    scene.client.arrive(ping(1))
    monkeypatch.setattr(Ring, "_add", lambda *_: 1 / 0)
    scene.client.arrive(ping(2))
    monkeypatch.undo()
    scene.client.arrive(ping(3))
    scene.client.finish()
    scene.upstream.finish()
    scene.settle()
    assert disk.close(10)
    assert rings.is_idle
    assert [each.raw for each in open_capture(tmp_path / "ring.pcapng")] == [ping(1)]
    assert (rings.lost.messages, rings.lost.size) == (2, 2 * len(ping(1)))


def test_a_defect_in_the_pipeline_ends_the_session_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Nobody knows what has become of the bytes."""
    (tmp_path / "quiet.py").write_text(PLUGIN)
    plugins = Plugins((PluginFile(parse_spec(str(tmp_path / "quiet.py"))),))
    recorded = Recorded(tmp_path, plugins=plugins)
    recorded.scene.answer()
    recorded.scene.client.arrive(ping(1))
    monkeypatch.setattr(Pipeline, "receive", lambda *_: 1 / 0)
    recorded.scene.client.arrive(ping(2))
    recorded.scene.settle()
    recorded.close()
    assert not recorded.scene.client.connected
    assert recorded.recording.lost.size == len(ping(2))
    assert recorded.stream(UP) == ping(1)


def test_a_defect_in_reading_a_leg_ends_a_terminated_session_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """There a message must be read to be passed on."""
    recorded = Recorded(tmp_path, TerminateScene)
    scene = recorded.scene
    scene.greet()
    monkeypatch.setattr(Framer, "feed", lambda *_: 1 / 0)
    scene.client.arrive(ping(1))
    monkeypatch.undo()
    scene.settle()
    recorded.close()
    assert len(scene.ended) == 1
    assert recorded.recording.lost.size == len(ping(1))
