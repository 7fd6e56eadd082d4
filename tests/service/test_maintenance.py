"""Retention of old captures in a background thread."""

import threading

import pytest

from lbcproxy.background import Background
from lbcproxy.capture import CaptureFile, RetentionPolicy
from lbcproxy.service.maintenance import Maintenance
from tests.capture.fake_sessions import NETWORK
from tests.capture.recording.aged_files import NOW, capture
from tests.nodes import wait_until
from tests.tools import TIMEOUT


class Scene:
    """Maintenance over a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.notices = []
        self.now = NOW
        self.seconds = 0.0
        self.work = Maintenance(
            lambda text, bad: self.notices.append(text), lambda: self.now, lambda: self.seconds
        )

    def apply(self, pattern="x-{session}.pcapng", **keeping):
        """Return what to call when a file is closed."""
        return self.work.apply(
            str(self.folder / pattern), RetentionPolicy(**keeping), network=NETWORK.id, name="main"
        )


@pytest.fixture
def scene(tmp_path):
    scene = Scene(tmp_path)
    yield scene
    scene.work.close()


def test_retention_runs_when_a_file_is_closed_and_on_request(scene):
    """Those of its pattern; of the other when all are."""
    closed = scene.apply(age=50.0)
    scene.apply("y-{session}.pcapng", age=50.0)
    mine, other = (capture(scene.folder / f"{each}-1.pcapng", age=100) for each in "xy")
    closed(None)
    wait_until("it is gone", lambda: not mine.exists())
    assert other.exists()
    scene.work.run_all()
    wait_until("it is gone too", lambda: not other.exists())
    assert len(scene.notices) == 2


def test_without_a_policy_nothing_runs(scene):
    """As by default."""
    before = threading.active_count()
    scene.apply()(None)
    assert scene.apply() is scene.apply()
    scene.work.run_all()
    assert threading.active_count() == before


def test_retention_of_one_pattern_runs_once(scene, monkeypatch):
    """However many recordings ask for it, and however often while it is under way."""
    assert scene.apply(size=1) is not None
    scene.apply(size=1)
    assert len(scene.work._retentions) == 1
    [tidier] = scene.work._retentions.values()
    begun, go_on, times = threading.Event(), threading.Event(), []

    def tidy():
        times.append(1)
        begun.set()
        assert go_on.wait(TIMEOUT)

    monkeypatch.setattr(tidier, "apply", tidy)
    closed = scene.apply(size=1)
    closed(None)
    assert begun.wait(TIMEOUT)
    for _ in range(100):
        closed(None)
    go_on.set()
    wait_until("it has looked again", lambda: len(times) == 2)
    scene.work.close()
    assert len(times) == 2


def test_nothing_is_touched_after_the_end(scene):
    """What is left is done at the next start."""
    closed = scene.apply(age=50.0, compress="gz")
    scene.work.close()
    path = capture(scene.folder / "x-1.pcapng", age=100)
    closed(None)
    scene.work.run_all()
    scene.work.close()
    assert path.exists()


def test_files_finished_before_a_policy_applies_are_known(scene):
    """The config may be read again, and the clock jump: a file is as old as it is."""
    mine = capture(scene.folder / "x-1.pcapng", age=10**9)
    file = CaptureFile(str(mine), Background(0), print)
    scene.apply()(file)
    closed = scene.apply(age=50.0)
    scene.seconds = 49.0
    closed(None)
    scene.work._thread.drain(10)
    assert mine.exists()
    scene.seconds = 51.0
    closed(None)
    wait_until("it is gone", lambda: not mine.exists())
