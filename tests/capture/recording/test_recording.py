"""Recordings: which file a session goes to, when the next one begins, and what it holds."""

import os

import pytest

from lbcproxy.capture import (
    FilenamePatternError,
    file_name,
    open_capture,
)
from lbcproxy.capture.writing.capture_writer import CaptureWriter
from lbcproxy.capture.writing.recorder import SessionRecorder
from lbcproxy.session import Direction, Lost
from lbcproxy.session.events import DirectionClosed, NotRecorded, ObserverDropped
from lbcproxy.wire.envelope import frame
from tests.capture.fake_sessions import (
    DOWN,
    MIDNIGHT,
    NETWORK,
    SECOND,
    UP,
    frames_by_session,
    ping,
)
from tests.capture.recording.recorded_sessions import RecordedSessions
from tests.capture.recordings import INFO as SESSION
from tests.session.frames import verack, version


def test_all_sessions_go_to_one_file(tmp_path):
    """That is the default."""
    recorded = RecordedSessions(tmp_path)
    for number in (1, 2):
        recorded.start(number)
        recorded.receive(number, ping(number))
    recorded.end(1)
    recorded.receive(2, ping(3), DOWN)
    [file] = recorded.close()
    assert frames_by_session(file) == {(1, UP): [ping(1)], (2, UP): [ping(2)], (2, DOWN): [ping(3)]}


def test_each_session_may_have_its_file(tmp_path):
    """It is named by its number, begins with it and is closed at its end."""
    recorded = RecordedSessions(
        tmp_path, pattern=str(tmp_path / "{name}-{session}.pcapng"), per="session"
    )
    assert recorded.files == []
    for number in (1, 2, 3):
        recorded.start(number)
        recorded.receive(number, ping(number))
    recorded.end(2)
    assert recorded.disk.drain(10)
    sessions = recorded.recording._sessions
    assert set(sessions) == {1, 3}
    files = recorded.close()
    assert [file.name for file in files] == [f"main-{number}.pcapng" for number in (1, 2, 3)]
    for number, file in enumerate(files, 1):
        assert frames_by_session(file) == {(number, UP): [ping(number)]}


def test_a_file_that_is_full_is_followed_by_another(tmp_path):
    """Every file can be read alone, and together they hold everything, once."""
    recorded = RecordedSessions(tmp_path, rotate_size=4096)
    recorded.start(1)
    recorded.start(2)
    for number in range(200):
        recorded.receive(1 + number % 2, ping(number), DOWN if number % 3 else UP)
    recorded.end(1)
    recorded.end(2)
    files = recorded.close()
    assert len(files) > 3
    assert files[0].name == "x-2.pcapng" or files[0].name == "x.pcapng"
    order = sorted(files, key=lambda file: int(file.stem.partition("-")[2] or 1))
    got = {}
    for file in order:
        assert file.stat().st_size < 8192
        for key, frames in frames_by_session(file).items():
            got.setdefault(key, []).extend(frames)
    want = {}
    for number in range(200):
        key = (1 + number % 2, DOWN if number % 3 else UP)
        want.setdefault(key, []).append(ping(number))
    assert got == want


def test_no_message_is_cut_by_a_new_file(tmp_path):
    """It waits for the end of a long one, up to twice its size; then it waits no more."""
    long = frame(NETWORK.magic, "block", bytes(100_000))
    recorded = RecordedSessions(tmp_path, rotate_size=60_000)
    recorded.start(1)
    recorded.start(2)
    recorded.receive(1, long[:70_000])
    recorded.receive(2, ping(1))  # too long already, but a message is under way
    assert recorded.disk.drain(10)
    assert len(recorded.files) == 1
    recorded.receive(1, long[70_000:90_000])
    recorded.receive(1, long[90_000:])
    recorded.receive(2, ping(2))
    assert recorded.disk.drain(10)
    assert len(recorded.files) == 2
    files = recorded.close()
    assert [len(entry.raw) for entry in open_capture(min(files, key=lambda f: len(f.name)))] == [
        32,
        len(long),
    ]


def test_a_message_that_never_ends_does_not_hold_the_next_file_up(tmp_path):
    """Somebody may claim 32 MiB and say no more; a file has an end anyway."""
    recorded = RecordedSessions(tmp_path, rotate_size=4096)
    recorded.start(1)
    recorded.start(2)
    recorded.receive(1, frame(NETWORK.magic, "block", bytes(100_000))[:70])
    for number in range(400):
        recorded.receive(2, ping(number))
    assert all(file.stat().st_size < 12_288 for file in recorded.close())
    assert len(recorded.files) > 2


def test_a_new_file_begins_at_the_hour(tmp_path):
    """By the clock on the wall, not by when the program was started."""
    pattern = str(tmp_path / "%Y" / "%m%d-%H%M.pcapng")
    recorded = RecordedSessions(tmp_path, pattern=pattern, rotate_every=3600.0)
    recorded.now = MIDNIGHT + 59 * 60 * SECOND
    recorded.start(1)
    recorded.receive(1, ping(1))
    recorded.now = MIDNIGHT + 60 * 60 * SECOND
    recorded.receive(1, ping(2))
    recorded.now += 59 * 60 * SECOND
    recorded.receive(1, ping(3))
    recorded.now += 10 * 3600 * SECOND
    recorded.receive(1, ping(4))
    files = recorded.close()
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "2024/1004-0000.pcapng",
        "2024/1004-0100.pcapng",
        "2024/1004-1159.pcapng",
    ]
    assert [sum(map(len, frames_by_session(file).values())) for file in files] == [1, 2, 1]


def test_a_clock_that_is_put_back_does_not_keep_a_file_for_ever(tmp_path):
    """It was a year ahead: the file would have grown for a year."""
    pattern = str(tmp_path / "%Y%m%d-%H%M.pcapng")
    recorded = RecordedSessions(tmp_path, pattern=pattern, rotate_every=3600.0)
    recorded.now = MIDNIGHT + 365 * 86_400 * SECOND
    recorded.recording.reopen()
    recorded.start(1)
    recorded.now = MIDNIGHT
    for number in range(3):
        recorded.receive(1, ping(number))
        recorded.now += 3600 * SECOND
    files = recorded.close()
    held_by = {file.name: sum(map(len, frames_by_session(file).values())) for file in files}
    assert held_by["20251004-0000.pcapng"] == 0
    assert held_by["20241004-0000-2.pcapng"] == 1
    assert sum(held_by.values()) == 3


def test_a_later_file_knows_the_version_that_was_agreed(tmp_path):
    """Else its messages would be read as of another."""
    recorded = RecordedSessions(tmp_path, rotate_size=700)
    recorded.start(1)
    for number in range(10):
        recorded.receive(1, ping(number))
    files = recorded.close()
    text = b"".join(file.read_bytes() for file in files)
    assert text.count(b'"continued":true') == len(files) - 1
    assert f'"protocol_version":{NETWORK.protocol_version}'.encode() in text


def test_a_file_that_was_moved_away_is_replaced_by_a_new_one(tmp_path):
    """On SIGHUP; one that is where it was goes on."""
    recorded = RecordedSessions(tmp_path)
    recorded.start(1)
    recorded.receive(1, ping(1))
    assert recorded.disk.drain(10)
    recorded.recording.reopen()
    recorded.receive(1, ping(2))
    assert recorded.disk.drain(10)
    (tmp_path / "x.pcapng").rename(tmp_path / "old.pcapng")
    recorded.recording.reopen()
    recorded.receive(1, ping(3))
    recorded.close()
    assert frames_by_session(tmp_path / "old.pcapng") == {(1, UP): [ping(1), ping(2)]}
    assert frames_by_session(tmp_path / "x.pcapng") == {(1, UP): [ping(3)]}


def test_a_recording_that_is_no_longer_wanted_ends_with_its_last_session(tmp_path):
    """A change of the config loses nothing."""
    recorded = RecordedSessions(tmp_path)
    recorded.start(1)
    recorded.recording.retire()
    recorded.receive(1, ping(1))
    recorded.end(1)
    assert recorded.disk.drain(10)
    assert recorded.recording.last.is_done
    assert frames_by_session(tmp_path / "x.pcapng") == {(1, UP): [ping(1)]}
    assert recorded.disk.close(1)


def test_losses_are_summed_over_files(tmp_path):
    """Those of files long closed too."""
    recorded = RecordedSessions(tmp_path, pattern=str(tmp_path / "{session}.pcapng"), per="session")
    recorded.disk.most = 100
    for number in (1, 2, 3):
        recorded.start(number)
        recorded.receive(number, ping(1) * 10)
        recorded.end(number)
        assert recorded.disk.drain(10)
    assert recorded.recording.lost.messages == 30
    assert len([text for text, bad in recorded.notices if bad and "fails" in text]) == 3
    recorded.close()


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("x.pcapng", "x.pcapng"),
        ("%Y/%m-%d/{network}.pcapng", "2024/10-04/lbry-regtest.pcapng"),
        ("{name}-{session}", "main-7"),
        ("{{braces}}", "{braces}"),
        ("100%%", "100%"),
    ],
)
def test_names_are_filled_in(pattern, name):
    """As strftime and str.format do."""
    made = file_name(pattern, network="lbry-regtest", name="main", session=7, time_ns=MIDNIGHT)
    assert made == name


@pytest.mark.parametrize("pattern", ["{nme}", "{", "{0}", "{name.x}", "", "{session!x}"])
def test_a_pattern_that_means_nothing_is_refused(pattern):
    """Before anything is recorded."""
    with pytest.raises(FilenamePatternError):
        file_name(pattern, network="n", name="n", session=1, time_ns=0)


def test_a_later_file_is_read_with_the_numbers_and_the_version_of_the_first(tmp_path):
    """`feefilter` is none at 60000, and session 7 is session 7 in every file."""
    recorded = RecordedSessions(tmp_path, rotate_size=1500)
    recorded.start(6)
    recorded.start(7)
    for direction in Direction:
        recorded.receive(7, version(60_000) + verack(), direction)
    fee = frame(NETWORK.magic, "feefilter", bytes(8))
    for _ in range(20):
        recorded.receive(7, fee)
    files = recorded.close()
    assert len(files) > 2
    entries = [entry for file in files for entry in open_capture(file)]
    assert {entry.session for entry in entries} == {7}
    errors = [entry.error for entry in entries if entry.command == "feefilter"]
    assert len(errors) == 20
    assert {each for each in errors if "60000 was agreed" not in str(each)} == set()


def test_a_second_run_in_a_file_has_other_numbers(tmp_path):
    """Each counts from 1; a file does not mix them up."""
    for _ in range(2):
        recorded = RecordedSessions(tmp_path)
        recorded.start(1)
        recorded.receive(1, ping(1))
        recorded.end(1)
        recorded.close()
    assert [entry.session for entry in open_capture(tmp_path / "x.pcapng")] == [1, 2]


def test_a_file_that_is_continued_is_as_long_as_it_is(tmp_path):
    """A service that is started each hour has files of a size anyway."""
    for _ in range(4):
        recorded = RecordedSessions(tmp_path, rotate_size=4096)
        recorded.start(1)
        for number in range(20):
            recorded.receive(1, ping(number))
        recorded.end(1)
        recorded.close()
    assert len(recorded.files) > 1
    assert all(file.stat().st_size < 8192 for file in recorded.files)


def test_a_file_of_yesterday_is_not_continued_for_long(tmp_path):
    """With a file each day, what comes today is not in it."""
    recorded = RecordedSessions(tmp_path)
    recorded.start(1)
    recorded.end(1)
    [old] = recorded.close()
    os.utime(old, ns=(MIDNIGHT - SECOND, MIDNIGHT - SECOND))
    recorded = RecordedSessions(tmp_path, rotate_every=86400.0)
    recorded.start(1)
    recorded.receive(1, ping(1))
    files = recorded.close()
    assert [sum(map(len, frames_by_session(file).values())) for file in files] == [1, 0]


def test_no_file_begins_while_the_disk_fails(tmp_path):
    """It would fail as well; and the one there has to say what is missing."""
    recorded = RecordedSessions(tmp_path, rotate_size=4096)
    recorded.start(1)
    recorded.disk.most = 1
    for number in range(200):
        recorded.receive(1, ping(number))
    assert recorded.disk.drain(10)
    assert len(recorded.files) == 1
    recorded.disk.most = 1 << 20
    recorded.receive(1, ping(200))
    recorded.receive(1, ping(201))
    files = recorded.close()
    assert len([text for text, bad in recorded.notices if "fails" in text]) == 1
    text = b"".join(file.read_bytes() for file in files)
    assert text.count(b"200 messages (") == 1


# What goes wrong.


def fail(*_):
    """Fail as a defect does."""
    raise ZeroDivisionError("a defect")


def test_what_cannot_be_described_is_recorded_as_bytes(tmp_path, monkeypatch):
    """The user is notified once for each session, and nothing is lost."""
    recorded = RecordedSessions(tmp_path)
    recorded.start(1)
    recorded.receive(1, ping(1))
    with monkeypatch.context() as patch:
        patch.setattr(SessionRecorder, "deliver", fail)
        recorded.receive(1, ping(2))
        recorded.receive(1, ping(3))
    recorded.receive(1, ping(4))
    assert recorded.notices == [
        ("session 1 is recorded without notes: ZeroDivisionError: a defect", False)
    ]
    assert not recorded.recording.lost
    [file] = recorded.close()
    assert frames_by_session(file) == {(1, UP): [ping(1), ping(2), ping(3), ping(4)]}


def test_a_defect_without_words_is_reported_by_its_kind(tmp_path, monkeypatch):
    """MemoryError usually has none."""
    recorded = RecordedSessions(tmp_path)
    recorded.start(1)

    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(SessionRecorder, "deliver", fail)
        recorded.receive(1, ping(1))
    assert recorded.notices == [("session 1 is recorded without notes: MemoryError", False)]
    recorded.close()


def test_what_cannot_be_written_even_as_bytes_is_lost(tmp_path, monkeypatch):
    """Its messages and bytes are counted, once, and the file says so."""
    recorded = RecordedSessions(tmp_path)
    recorded.start(1)
    recorded.receive(1, ping(1))
    with monkeypatch.context() as patch:
        patch.setattr(SessionRecorder, "deliver", fail)
        patch.setattr(CaptureWriter, "data", fail)
        recorded.receive(1, ping(2) + ping(3))
    recorded.receive(1, ping(4))
    lost = recorded.recording.lost
    assert (lost.messages, lost.size) == (2, 64)
    [file] = recorded.close()
    assert b"2 messages (64 bytes of capture) were not recorded" in file.read_bytes()


def test_what_an_observer_lost_is_counted(tmp_path):
    """In the file that is there, otherwise by the recording."""
    for at_once in (True, False):
        recorded = RecordedSessions(tmp_path / str(at_once))
        recorded.start(1)
        if not at_once:
            recorded.recording.close()
        info = recorded.sessions[1][1]
        recorded.observer.handle(NotRecorded(info, Lost(messages=2, size=9), recorded.now))
        recorded.observer.handle(NotRecorded(info, Lost(), recorded.now))
        assert (recorded.recording.lost.messages, recorded.recording.lost.size) == (2, 9)
        [file] = recorded.close()
        assert (b"2 messages" in file.read_bytes()) is at_once


@pytest.mark.parametrize("per", ["run", "session"])
def test_a_session_whose_observer_failed_stays_open_in_the_file(tmp_path, per):
    """Nobody knows how it ended; a file of its own is closed."""
    recorded = RecordedSessions(tmp_path, per=per)
    recorded.start(1)
    recorded.receive(1, ping(1))
    recorded.recording.retire()
    info = recorded.sessions[1][1]
    recorded.observer.handle(ObserverDropped(info, recorded.now))
    assert recorded.recording.is_closed
    assert recorded.disk.drain(10)
    assert recorded.recording.last.is_done
    reports = []
    capture = open_capture(tmp_path / "x.pcapng")
    capture.on_session_ended = reports.append
    assert [each.raw for each in capture] == [ping(1)]
    assert [each.how for each in reports] == ["open at the end"]
    recorded.close()


def test_endpoints_are_written_again_whatever_ends_a_failure(tmp_path):
    """The end of another session, say: the file may lack the start of this one."""
    recorded = RecordedSessions(tmp_path)
    for number in (1, 2):
        recorded.start(number)
    assert recorded.disk.drain(10)
    recorded.disk.most = 1
    recorded.receive(1, ping(1))
    recorded.disk.most = 1 << 20
    recorded.observer.finished(recorded.sessions[2][1], UP, recorded.now)
    assert not recorded.recording.last.failing
    for number in (1, 1, 2):
        recorded.receive(number, ping(2), DOWN)
    [file] = recorded.close()
    data = file.read_bytes()
    assert [data.count(b"session %d client leg goes on" % number) for number in (1, 2)] == [1, 1]


@pytest.mark.parametrize("how", ["close", "leave"])
def test_what_happens_to_a_session_that_is_not_recorded_any_more(tmp_path, how):
    """It is neither written nor an error."""
    recorded = RecordedSessions(tmp_path)
    recorded.start(1)
    session = recorded.recording._sessions[1]
    recorded.receive(1, ping(1))
    recorded.recording.close() if how == "close" else session.leave()
    assert recorded.disk.drain(10)
    size = (tmp_path / "x.pcapng").stat().st_size
    info = recorded.sessions[1][1]
    session.handle(DirectionClosed(info, UP, recorded.now))
    recorded.receive(1, ping(2))
    session.handle(DirectionClosed(info, DOWN, recorded.now))
    assert recorded.disk.drain(10)
    assert (tmp_path / "x.pcapng").stat().st_size == size
    assert not recorded.recording.lost
    recorded.close()


# Several files.


def test_files_of_sessions_that_were_moved_away_are_replaced(tmp_path):
    """Each by itself."""
    recorded = RecordedSessions(tmp_path, pattern=str(tmp_path / "{session}.pcapng"), per="session")
    for number in (1, 2):
        recorded.start(number)
        recorded.receive(number, ping(number))
    assert recorded.disk.drain(10)
    (tmp_path / "1.pcapng").rename(tmp_path / "old.pcapng")
    recorded.recording.reopen()
    for number in (1, 2):
        recorded.receive(number, ping(10 + number))
    assert recorded.recording.files == 3
    recorded.close()
    assert frames_by_session(tmp_path / "old.pcapng") == {(1, UP): [ping(1)]}
    assert frames_by_session(tmp_path / "1.pcapng") == {(1, UP): [ping(11)]}
    assert frames_by_session(tmp_path / "2.pcapng") == {(2, UP): [ping(2), ping(12)]}


def test_a_file_of_a_session_that_is_full_is_followed_by_another(tmp_path):
    """As the file that sessions share."""
    pattern = str(tmp_path / "{session}.pcapng")
    recorded = RecordedSessions(tmp_path, pattern=pattern, per="session", rotate_size=2000)
    recorded.start(1)
    for number in range(50):
        recorded.receive(1, ping(number))
    files = sorted(recorded.close(), key=lambda file: (len(file.name), file.name))
    assert [file.name for file in files[:2]] == ["1.pcapng", "1-2.pcapng"]
    found = [frame for file in files for frame in frames_by_session(file)[1, UP]]
    assert found == [ping(number) for number in range(50)]


def test_a_file_is_named_while_there_is_one(tmp_path):
    """For the control API."""
    recorded = RecordedSessions(tmp_path)
    assert recorded.recording.file_name == str(tmp_path / "x.pcapng")
    assert not recorded.recording.is_closed
    session = recorded.recording.session_started(SESSION)
    assert session.file_name == str(tmp_path / "x.pcapng")
    recorded.close()
    assert (recorded.recording.file_name, session.file_name) == (None, None)
    assert recorded.recording.is_closed


def test_a_file_with_open_sessions_is_not_closed_when_nothing_is_recorded(tmp_path):
    """The next session would begin another."""
    recorded = RecordedSessions(tmp_path)
    recorded.start(1)
    recorded.recording.rest()
    assert recorded.recording.file_name is not None
    recorded.end(1)
    recorded.recording.rest()
    assert recorded.recording.file_name is None
    recorded.recording.rest()
    recorded.recording.wake()
    assert recorded.recording.file_name == str(tmp_path / "x-2.pcapng")
    recorded.recording.wake()
    assert recorded.recording.files == 2
    recorded.close()
    recorded.recording.wake()
    assert recorded.recording.files == 2


def test_a_recording_without_sessions_is_closed_at_once(tmp_path):
    """Nothing has to be waited for."""
    recorded = RecordedSessions(tmp_path)
    recorded.recording.retire()
    assert recorded.recording.is_closed
    recorded.close()


def test_a_session_that_begins_after_the_end_is_not_recorded(tmp_path):
    """Of a recording that is no longer wanted."""
    for per in ("run", "session"):
        recorded = RecordedSessions(tmp_path, pattern=str(tmp_path / per / "x.pcapng"), per=per)
        recorded.recording.close()
        recorded.start(1)
        recorded.receive(1, ping(1))
        recorded.end(1)
        assert not recorded.recording.lost
        assert recorded.close() == [tmp_path / "run" / "x.pcapng"]
        assert frames_by_session(tmp_path / "run" / "x.pcapng") == {}


def test_only_what_is_selected_is_recorded(tmp_path):
    """A read without any such message leaves nothing in the file."""
    recorded = RecordedSessions(tmp_path, selection="ping.nonce == 2")
    recorded.start(1)
    recorded.receive(1, ping(1))
    assert recorded.disk.drain(10)
    size = (tmp_path / "x.pcapng").stat().st_size
    recorded.receive(1, ping(1))
    assert recorded.disk.drain(10)
    assert (tmp_path / "x.pcapng").stat().st_size == size
    recorded.receive(1, ping(1) + ping(2) + ping(3))
    [file] = recorded.close()
    assert frames_by_session(file) == {(1, UP): [ping(2)]}
