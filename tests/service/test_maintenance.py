"""Old captures are tidied in a thread that nobody waits for."""

import threading

import pytest

from lbcproxy.background import Background
from lbcproxy.capture import CaptureFile, RetentionPolicy
from lbcproxy.service.maintenance import Maintenance
from tests.capture.recording.test_retention import NOW, capture
from tests.capture.scenes import NETWORK
from tests.nodes import wait_until


class Scene:
    """Maintenance over a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.told = []
        self.now = NOW
        self.seconds = 0.0
        self.work = Maintenance(
            lambda text, bad: self.told.append(text), lambda: self.now, lambda: self.seconds
        )

    def apply(self, pattern="x-{session}.pcapng", **keeping):
        """Give who is told of a file that is closed."""
        return self.work.apply(
            str(self.folder / pattern), RetentionPolicy(**keeping), network=NETWORK.id, name="main"
        )


@pytest.fixture
def scene(tmp_path):
    scene = Scene(tmp_path)
    yield scene
    scene.work.close()


def test_files_are_tidied_when_one_is_closed_and_when_it_is_asked_for(scene):
    """Those of its pattern; of the other when all are."""
    closed = scene.apply(age=50.0)
    scene.apply("y-{session}.pcapng", age=50.0)
    mine, other = (capture(scene.folder / f"{each}-1.pcapng", age=100) for each in "xy")
    closed(None)
    wait_until("it is gone", lambda: not mine.exists())
    assert other.exists()
    scene.work.run_all()
    wait_until("it is gone too", lambda: not other.exists())
    assert len(scene.told) == 2


def test_what_is_not_to_be_kept_otherwise_needs_no_thread(scene):
    """As by default."""
    before = threading.active_count()
    scene.apply()(None)
    assert scene.apply() is scene.apply()
    scene.work.run_all()
    assert threading.active_count() == before


def test_files_of_one_pattern_are_tidied_once(scene, monkeypatch):
    """However many recordings ask for it, and however often while it is under way."""
    assert scene.apply(size=1) is not None
    scene.apply(size=1)
    assert len(scene.work._retentions) == 1
    [tidier] = scene.work._retentions.values()
    begun, go_on, times = threading.Event(), threading.Event(), []

    def tidy():
        times.append(1)
        begun.set()
        assert go_on.wait(10)

    monkeypatch.setattr(tidier, "apply", tidy)
    closed = scene.apply(size=1)
    closed(None)
    assert begun.wait(10)
    for _ in range(100):
        closed(None)
    go_on.set()
    wait_until("it has looked again", lambda: len(times) == 2)
    scene.work.close()
    assert len(times) == 2


def test_behind_the_end_nothing_is_touched(scene):
    """What is left is done at the next start."""
    closed = scene.apply(age=50.0, compress="gz")
    scene.work.close()
    path = capture(scene.folder / "x-1.pcapng", age=100)
    closed(None)
    scene.work.run_all()
    scene.work.close()
    assert path.exists()


def test_what_was_written_before_it_was_to_be_deleted_is_known(scene):
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
