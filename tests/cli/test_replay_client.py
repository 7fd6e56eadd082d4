"""`lbcproxy replay client`: what it refuses before it connects; the live tests have the rest."""

from types import SimpleNamespace

import pytest
from twisted.internet.task import Clock

from lbcproxy.cli.replay_client import _Progress
from tests.replay.spoken import TALK, write

ERROR, USAGE = 1, 2


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "talk.pcapng", TALK)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "is not HOST:PORT"),
        (("127.0.0.1:0",), "is not HOST:PORT"),
        (("127.0.0.1:1", "--pace", "fast"), "no pace: causal, recorded, step"),
        (("127.0.0.1:1", "--ignore", "versoin"), "is version meant?"),
        (("127.0.0.1:1", "--timeout", "0"), "--timeout"),
        (("127.0.0.1:1", "--network", "x"), "--network"),
    ],
)
def test_wrong_options_are_refused(lbcproxy, file, arguments, words):
    ended = lbcproxy("replay", "client", file, *arguments)
    assert ended.code == USAGE
    assert words in ended.err


@pytest.mark.parametrize(
    ("session", "words"), [("7", "session 7 is not there"), ("2", "session 2 is not there")]
)
def test_a_session_that_is_not_there_is_an_error(lbcproxy, file, session, words):
    ended = lbcproxy("replay", "client", file, "127.0.0.1:1", "--session", session)
    assert ended.code == ERROR
    assert words in ended.err


def test_a_file_that_is_not_there_is_an_error(lbcproxy, tmp_path):
    ended = lbcproxy("replay", "client", tmp_path / "nothing", "127.0.0.1:1")
    assert ended.code == ERROR
    assert "No such file" in ended.err


def test_nothing_is_written_over(lbcproxy, file):
    """A recording of the replay is a new file."""
    ended = lbcproxy("replay", "client", file, "127.0.0.1:1", "-w", file)
    assert ended.code == USAGE
    assert f"{file} exists" in ended.err


def test_progress_is_shown_on_a_terminal(capsys, monkeypatch):
    """Messages, speed, time; it is wiped away in the end."""
    clock = Clock()
    script = SimpleNamespace(place=12_345, recorded_seconds=24.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    turns = SimpleNamespace(turns=range(40_000))
    progress = _Progress(SimpleNamespace(script=script), turns, clock, wanted=True)
    progress.begin()
    for _ in range(61):
        clock.advance(0.2)
    progress.end()
    assert "\r12,345/40,000 msgs 2.0x 00:12" in capsys.readouterr().err
    assert not clock.getDelayedCalls()


def test_progress_is_not_shown_elsewhere(capsys):
    clock = Clock()
    script = SimpleNamespace(place=1, recorded_seconds=0.0)
    turns = SimpleNamespace(turns=range(2))
    progress = _Progress(SimpleNamespace(script=script), turns, clock, wanted=True)
    progress.begin()
    progress.end()
    assert capsys.readouterr().err == ""
