"""Recording switched on and off while sessions last: what files then hold."""

import pytest

from lbcproxy.background import Background
from lbcproxy.capture import (
    Choice,
    Recording,
    RecordingSettings,
    Switch,
    involves_host,
    open_capture,
)
from lbcproxy.errors import CaptureError
from lbcproxy.session.end import STOPPED
from lbcproxy.session.events import ObserverDropped
from lbcproxy.wire.envelope import frame
from tests.capture.fake_sessions import DOWN, NETWORK, UP, FakeSessions, frames_by_session, ping

FEE = frame(NETWORK.magic, "feefilter", bytes(8))
LONG = frame(NETWORK.magic, "block", bytes(100_000))


class Scene(FakeSessions):
    """A recording with its switch."""

    def __init__(self, folder, *, on, pattern="x.pcapng", changes=False, **settings):
        super().__init__()
        self.folder = folder
        self.notices = []
        self.disk = Background(1 << 24)
        self.recording = Recording(
            RecordingSettings(pattern=str(folder / pattern), **settings),
            self.disk,
            lambda text, bad: self.notices.append((text, bad)),
            network=NETWORK.id,
            name="main",
            changes=changes,
            now=self.tick,
        )
        if on:
            self.recording.open()
        self.observer = self.switch = Switch(self.recording, Choice(on), self.tick)

    def close(self):
        """Wait for the disk, and return the files by name."""
        self.recording.close()
        assert self.disk.close(10)
        assert not [text for text, bad in self.notices if bad]
        return sorted(self.folder.rglob("*.pcapng"))


def raws(path):
    """Return the messages of a file."""
    entries = list(open_capture(path))
    assert [each.error for each in entries if each.error] == []
    return [each.raw for each in entries]


def test_nothing_is_recorded_and_no_file_made_before_it_is_asked_for(tmp_path):
    """Nor is there a file of headers only."""
    scene = Scene(tmp_path, on=False)
    scene.start(1)
    scene.receive(1, ping(1))
    scene.end(1)
    assert scene.close() == []


@pytest.mark.parametrize("changes", [False, True])
def test_a_session_is_recorded_from_its_middle(tmp_path, changes):
    """The file can be read alone: it knows the version that was agreed."""
    scene = Scene(tmp_path, on=False, changes=changes)
    scene.start(1, version=60_000)
    scene.receive(1, ping(1))
    assert scene.switch.turn(True) == 1
    scene.receive(1, FEE)
    scene.receive(1, ping(2), DOWN)
    scene.end(1)
    [file] = scene.close()
    entries = list(open_capture(file))
    assert [each.raw for each in entries] == [FEE, ping(2)]
    assert "60000 was agreed" in str(entries[0].error)
    text = file.read_bytes()
    assert text.count(b'"continued":true') == 1
    assert b'"protocol_version":60000' in text


def test_a_message_under_way_is_not_recorded(tmp_path):
    """What begins after it is, in either direction at once."""
    scene = Scene(tmp_path, on=False)
    scene.start(1)
    scene.receive(1, ping(1) + LONG[:70_000])
    scene.switch.turn(True)
    scene.receive(1, ping(2), DOWN)
    scene.receive(1, LONG[70_000:90_000])
    scene.receive(1, LONG[90_000:] + ping(3) + LONG)
    [file] = scene.close()
    assert raws(file) == [ping(2), ping(3), LONG]


@pytest.mark.parametrize("changes", [False, True])
def test_a_session_that_was_off_goes_on_in_another_file(tmp_path, changes):
    """With all others: no file has a hole in a session, and of those nothing is missing."""
    scene = Scene(tmp_path, on=True, changes=changes)
    scene.start(1, version=70_000)
    scene.start(2)
    scene.receive(1, ping(1))
    scene.switch.turn(False, lambda info: info.number == 1)
    scene.receive(1, ping(2))
    scene.receive(2, ping(3))
    assert scene.recording.files == 1
    scene.switch.turn(True, lambda info: info.number == 1)
    scene.receive(1, ping(4))
    scene.receive(2, ping(5), DOWN)
    scene.end(1)
    scene.end(2)
    second, first = scene.close()
    assert (raws(first)[4:], raws(second)) == ([ping(1), ping(3)], [ping(4), ping(5)])
    assert [file.read_bytes().count(b'"continued":true') for file in (first, second)] == [0, 2]


def test_off_closes_the_file_and_on_begins_another(tmp_path):
    """So that one can be taken away while the proxy runs."""
    scene = Scene(tmp_path, on=True)
    scene.start(1)
    scene.receive(1, ping(1))
    scene.switch.turn_all(False)
    assert scene.disk.drain(10)
    assert scene.recording.last.is_done
    scene.receive(1, ping(2))
    scene.switch.turn(True)
    scene.receive(1, ping(3))
    scene.end(1)
    first, second = scene.close()
    assert (first.name, second.name) == ("x-2.pcapng", "x.pcapng")
    assert (raws(second), raws(first)) == ([ping(1)], [ping(3)])


def test_a_session_with_a_file_of_its_own_begins_another(tmp_path):
    """What was recorded before stays as it is."""
    scene = Scene(tmp_path, on=True, pattern="{session}.pcapng", per="session")
    scene.start(1)
    scene.start(2)
    scene.receive(1, ping(1))
    scene.switch.turn(False, involves_host("10.0.0.1"))
    assert scene.disk.drain(10)  # each has its name
    scene.receive(1, ping(2))
    scene.switch.turn(True, lambda info: info.number == 1)
    scene.receive(1, ping(3))
    scene.receive(2, ping(4))
    scene.end(1)
    scene.end(2)
    files = scene.close()
    assert [file.name for file in files] == ["1-2.pcapng", "1.pcapng", "2.pcapng"]
    assert [raws(file) for file in files] == [[ping(3)], [ping(1)], []]


def test_a_peer_may_be_chosen_or_left_out(tmp_path):
    """The sessions to come of a host, whichever side it is on."""
    scene = Scene(tmp_path, on=False)
    scene.switch.choice.peers["10.9.9.9"] = True
    scene.start(1, host="10.9.9.9")
    scene.start(2)
    for number in (1, 2):
        scene.receive(number, ping(number))
    scene.switch.choice.peers["10.0.0.3"] = True  # every upstream
    scene.start(3)
    scene.receive(3, ping(3))
    [file] = scene.close()
    assert raws(file) == [ping(1), ping(3)]


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_session_that_is_over_does_not_start_again(tmp_path, how):
    """Both directions end before the session does."""
    scene = Scene(tmp_path, on=True)
    scene.start(1)
    _, info = scene.sessions[1]
    if how == "reset":
        scene.observer.reset(info, DOWN, scene.tick())
    else:
        for direction in (UP, DOWN):
            scene.observer.finished(info, direction, scene.tick())
    scene.switch.turn(False)
    scene.switch.turn(True)
    scene.finish(1, "whatever")
    assert len(scene.close()) == 1
    assert scene.switch.is_idle


def test_a_side_that_has_closed_stays_closed(tmp_path):
    """The file says so where the session goes on in it."""
    scene = Scene(tmp_path, on=False)
    scene.start(1)
    scene.observer.finished(scene.sessions[1][1], UP, scene.tick())
    scene.switch.turn(True)
    scene.receive(1, ping(1), DOWN)
    scene.end(1)
    [file] = scene.close()
    reports = []
    capture = open_capture(file)
    capture.on_session_ended = reports.append
    assert [each.raw for each in capture] == [ping(1)]
    assert [each.how for each in reports] == ["client closed"]


def test_a_recording_no_longer_wanted_waits_for_sessions_that_are_off(tmp_path):
    """They may yet be switched on."""
    scene = Scene(tmp_path, on=False)
    scene.start(1)
    scene.recording.retire()
    assert not scene.recording.is_closed
    scene.switch.turn(True)
    scene.receive(1, ping(1))
    scene.end(1)
    assert scene.recording.is_closed
    assert frames_by_session(scene.close()[0]) == {(1, UP): [ping(1)]}


def test_a_session_that_is_recorded_late_keeps_its_number(tmp_path):
    """As in the log, though others of the file have begun before it was recorded."""
    scene = Scene(tmp_path, on=False)
    for number in (3, 5):
        scene.start(number)
    for number in (5, 3):
        scene.switch.turn(True, lambda info, number=number: info.number == number)
    for number in (3, 5):
        scene.receive(number, ping(number))
    assert frames_by_session(scene.close()[0]) == {(3, UP): [ping(3)], (5, UP): [ping(5)]}


def test_a_session_that_nobody_closes_ends_in_its_file(tmp_path):
    """A proxy that is stopped ends its sessions itself."""
    scene = Scene(tmp_path, on=True, pattern="{session}.pcapng", per="session")
    scene.start(1)
    scene.receive(1, ping(1))
    scene.finish(1, STOPPED)
    assert scene.recording.last.is_done or scene.disk.drain(10)
    assert scene.recording.last.is_done
    reports = []
    capture = open_capture(tmp_path / "1.pcapng")
    capture.on_session_ended = reports.append
    assert [each.raw for each in capture] == [ping(1)]
    assert [each.end for each in reports] == [STOPPED]
    scene.close()


@pytest.mark.parametrize("on", [True, False])
def test_a_session_whose_observer_failed_is_forgotten(tmp_path, on):
    """Its number may be retired; it stays open in the file."""
    scene = Scene(tmp_path, on=on)
    scene.start(1)
    scene.receive(1, ping(1))
    _, info = scene.sessions[1]
    scene.recording.retire()
    assert not scene.recording.is_closed
    scene.observer.handle(ObserverDropped(info, scene.tick()))
    assert scene.switch.is_idle
    assert scene.recording.is_closed
    assert len(scene.close()) == on


def test_which_file_a_session_goes_to(tmp_path):
    """While it is recorded."""
    scene = Scene(tmp_path, on=True)
    scene.start(1)
    [session] = scene.switch.sessions
    assert session.file_name == str(tmp_path / "x.pcapng")
    scene.switch.turn(False)
    assert session.file_name is None
    scene.close()


@pytest.mark.parametrize("per", ["run", "session"])
def test_a_file_that_cannot_be_written_is_known_at_once(tmp_path, per):
    """To whoever switches a session on; it is off as before."""
    (tmp_path / "a").write_text("")
    scene = Scene(tmp_path, on=False, pattern="a/x.pcapng", per=per)
    scene.start(1)
    with pytest.raises(CaptureError, match="its folder is a file"):
        scene.switch.turn(True)
    [session] = scene.switch.sessions
    assert not session.on
    scene.close()


def test_the_next_file_that_cannot_be_written_is_known_at_once_too(tmp_path):
    """A session that was off goes on in another file."""
    scene = Scene(tmp_path, on=True, pattern="a/x.pcapng")
    scene.start(1)
    scene.switch.turn(False)
    assert scene.disk.drain(10)
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").write_text("")
    with pytest.raises(CaptureError, match="its folder is a file"):
        scene.switch.turn(True)
    assert scene.recording.files == 1
    assert len(scene.close()) == 1


def test_switching_twice_changes_nothing(tmp_path):
    """The session neither begins nor ends again; all that match are counted."""
    scene = Scene(tmp_path, on=True)
    for number in (1, 2, 3):
        scene.start(number, host=f"10.0.0.{number}")
    assert scene.switch.turn(True) == 3
    scene.receive(1, ping(1))
    assert scene.switch.turn(False, involves_host("10.0.0.3")) == 3  # the upstream of all
    assert scene.switch.turn(False, involves_host("10.0.0.1")) == 1
    assert scene.recording.files == 1
    scene.switch.turn(True, involves_host("10.0.0.1"))
    scene.switch.turn(True, involves_host("10.0.0.1"))
    scene.receive(1, ping(2))
    assert scene.recording.files == 2
    second, first = scene.close()
    assert (raws(first), raws(second)) == ([ping(1)], [ping(2)])


def test_switching_all_on_opens_the_file_at_once(tmp_path):
    """So that a folder that cannot be written is known to whoever asked for it."""
    scene = Scene(tmp_path, on=False)
    assert scene.recording.file_name is None
    scene.switch.turn_all(True)
    assert scene.recording.file_name == str(tmp_path / "x.pcapng")
    scene.switch.turn_all(True)
    assert scene.recording.files == 1
    scene.switch.turn_all(False)
    assert scene.recording.file_name is None
    scene.close()


def test_a_choice_is_for_either_end(tmp_path):
    """A choice for the client takes precedence over one for the upstream."""
    scene = Scene(tmp_path, on=True)
    choice = scene.switch.choice
    scene.start(1, host="10.9.9.9")
    _, info = scene.sessions[1]
    assert choice.of(info)
    choice.peers["10.0.0.3"] = False
    assert not choice.of(info)
    choice.peers["10.9.9.9"] = True
    assert choice.of(info)
    scene.close()


def test_what_a_message_under_way_leaves_over_is_not_recorded_twice(tmp_path):
    """Only the first message after the switch may be incomplete."""
    scene = Scene(tmp_path, on=False)
    scene.start(1)
    scene.receive(1, LONG[:50])
    scene.switch.turn(True)
    scene.receive(1, LONG[50:])
    scene.receive(1, ping(1))
    scene.receive(1, ping(2))
    [file] = scene.close()
    assert raws(file) == [ping(1), ping(2)]


def test_one_direction_that_is_closed_is_not_the_end(tmp_path):
    """The other one may go on for hours, and be switched on."""
    scene = Scene(tmp_path, on=False)
    scene.start(1)
    scene.observer.finished(scene.sessions[1][1], UP, scene.tick())
    assert scene.switch.turn(True) == 1
    [session] = scene.switch.sessions
    assert session.on
    scene.switch.turn(False)
    scene.observer.reset(scene.sessions[1][1], DOWN, scene.tick())
    scene.switch.turn(True)
    assert not session.on
    scene.close()
