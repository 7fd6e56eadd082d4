"""The log: lines and JSON, levels, files, and escaping."""

import errno
import json
import os
from typing import Any

import pytest
from twisted.logger import Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from lbcproxy.errors import LbcproxyError
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.service import Logs, json_line, text_line

EVENT = {
    "log_time": 1_700_000_000.25,
    "log_level": LogLevel.warn,
    "log_namespace": "lbcproxy.session",
    "log_format": "[#{session} {client}] {text}",
    "session": 3,
    "client": "127.0.0.1:40866",
    "text": "end: client closed",
}


@pytest.fixture
def logs(tmp_path):
    """A log with a terminal that keeps lines, joined to Twisted's."""
    lines: list[tuple[str, bool]] = []
    logs: Any = Logs(lambda line, bad: lines.append((line, bad)))
    logs.lines = lines
    logs.join()
    yield logs
    logs.end()
    globalLogPublisher.removeObserver(logs)


OURS = Logger(namespace="lbcproxy.test", observer=LOG_FILTER)
OTHERS = Logger(namespace="twisted.test")


def test_a_line_names_time_session_and_what():
    """As mitmdump's."""
    line = text_line(EVENT)
    assert line[0] == "["
    assert line.endswith(".250][#3 127.0.0.1:40866] end: client closed")
    plain = text_line({**EVENT, "log_format": "listening"})
    assert plain.endswith(".250] listening")


def test_an_object_has_the_values_by_name():
    """For programs that collect logs."""
    assert json.loads(json_line(EVENT)) == {
        "time": "2023-11-14T22:13:20.250+00:00",
        "level": "warn",
        "logger": "lbcproxy.session",
        "text": "[#3 127.0.0.1:40866] end: client closed",
        "session": 3,
        "client": "127.0.0.1:40866",
    }


def test_an_object_keeps_its_own_keys():
    """Events of Twisted's old log have a time of their own."""
    line = json.loads(json_line({**EVENT, "time": 5.0, "level": "x", "logger": "y"}))
    assert (line["time"][:4], line["level"], line["logger"]) == ("2023", "warn", "lbcproxy.session")


def test_what_remote_nodes_say_cannot_forge_a_line():
    """Neither another line nor a terminal's colours."""
    forged = {**EVENT, "text": "x\n[00:00:00] all is well \x1b[31m"}
    for line in (text_line(forged), json_line(forged)):
        assert "\n" not in line
        assert "\x1b" not in line


def test_a_failure_has_its_traceback():
    """In one line."""
    event = {**EVENT, "log_failure": Failure(ValueError("broken"))}
    assert "broken" in text_line(event)
    assert "\n" not in text_line(event)
    assert "broken" in json.loads(json_line(event))["text"]


def test_below_the_level_nothing_is_even_formatted(logs):
    """A busy proxy pays for what is shown."""
    asked = []
    logs.set(level="warn", path=None, json=False)
    OURS.info("{what()}", what=lambda: asked.append(1) or "no")
    OURS.warn("{what()}", what=lambda: asked.append(2) or "yes")
    assert asked == [2]
    assert [(line.partition("] ")[2], bad) for line, bad in logs.lines] == [("yes", True)]
    logs.set(level="debug", path=None, json=False)
    OURS.debug("now")
    assert logs.lines[-1][0].endswith("now")


def test_only_warnings_of_other_libraries_are_logged(logs):
    """Twisted tells of every port it opens."""
    logs.set(level="debug", path=None, json=False)
    OTHERS.info("chatter")
    OTHERS.warn("trouble")
    assert [line.partition("] ")[2] for line, _ in logs.lines] == ["trouble"]


def test_a_log_file_replaces_the_terminal(logs, tmp_path):
    """Folders are created; the file is appended to, and reopened after it was moved."""
    path = tmp_path / "logs" / "x.log"
    path.parent.mkdir()
    path.write_text("before\n")
    logs.set(level="info", path=str(path), json=True)
    OURS.info("one")
    path.rename(tmp_path / "old.log")
    OURS.info("two")
    logs.reopen()
    OURS.info("three")
    assert logs.lines == []
    old = (tmp_path / "old.log").read_text().splitlines()
    assert old[0] == "before"
    assert [json.loads(line)["text"] for line in old[1:]] == ["one", "two"]
    assert [json.loads(line)["text"] for line in path.read_text().splitlines()] == ["three"]
    logs.set(level="info", path=None, json=False)
    OURS.info("four")
    assert len(logs.lines) == 1


def test_a_log_that_cannot_be_opened_is_named(logs, tmp_path):
    """And the one there is stays."""
    logs.set(level="info", path=str(tmp_path / "x"), json=False)
    with pytest.raises(LbcproxyError, match="cannot log to .*x/y: "):
        logs.set(level="info", path=str(tmp_path / "x" / "y"), json=False)
    OURS.info("still here")
    assert "still here" in (tmp_path / "x").read_text()


class Disk:
    """Replaces `os.write` by a disk with limited space."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._write = os.write
        monkeypatch.setattr("lbcproxy.service.logs.os.write", self)

    def __call__(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("json_lines", [False, True])
@pytest.mark.parametrize("room", [0, 10])
def test_a_log_on_a_full_disk_is_reported_and_recovers(
    logs, tmp_path, monkeypatch, room, json_lines
):
    """What is missing is counted, in the log too; a line that was cut is completed."""
    path = tmp_path / "log"
    logs.set(level="info", path=str(path), json=json_lines)
    OURS.info("first")
    disk = Disk(monkeypatch, room)
    for number in range(3):
        OURS.info("while it was full {number}", number=number)
    kept = 1 if room else 0
    assert logs.lines == [
        (f"lbcproxy: the log to {path} fails: No space left on device", True),
    ]
    assert logs.lost == 3 - kept
    disk.room = 1 << 20
    OURS.info("last")
    assert logs.lines[1:] == [(f"lbcproxy: the log to {path} works again", True)]
    lines = path.read_text().splitlines()
    texts = [json.loads(each)["text"] for each in lines] if json_lines else lines
    missing = f"{3 - kept} lines of the log are missing: No space left on device"
    wanted = ["first", *["while it was full 0"] * kept, missing, "last"]
    assert [each.endswith(end) for each, end in zip(texts, wanted, strict=True)] == [True] * len(
        wanted
    )
    assert logs.lost == 3 - kept
    assert logs.why == "No space left on device"


def test_what_was_lost_is_known_after_the_file_was_changed(logs, tmp_path, monkeypatch):
    """The exit code depends on it."""
    logs.set(level="info", path=str(tmp_path / "one"), json=False)
    disk = Disk(monkeypatch, 10)
    OURS.info("cut")
    OURS.info("lost")
    logs.set(level="info", path=str(tmp_path / "two"), json=False)
    assert logs.lost == 2
    disk.room = 1000
    OURS.info("kept")
    logs.end()
    assert logs.lost == 2


def test_a_log_to_a_pipe_never_blocks(logs, tmp_path):
    """Neither for a reader at the start, nor for one that is slow."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    logs.set(level="info", path=str(path), json=False)
    for _ in range(2000):
        OURS.info("x" * 100)
    assert logs.lost > 0
    with path.open("rb", buffering=0) as reading:
        assert reading.read(20_000).count(b"x" * 100 + b"\n") > 100


def test_a_log_is_readable_only_by_its_owner(tmp_path):
    """It holds what nodes said; one that is there keeps its mode."""
    log = Logs(lambda line, bad: None)
    old = tmp_path / "old.log"
    old.write_text("")
    old.chmod(0o640)
    for path in (tmp_path / "new" / "x.log", old):
        log.set(level="info", path=str(path), json=False)
    log.end()
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "new", tmp_path / "new" / "x.log")]
    assert modes == [0o700, 0o600]
    assert old.stat().st_mode & 0o777 == 0o640
