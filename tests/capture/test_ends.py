"""Why a session ended, through every file that can hold it."""

import itertools

import pytest

from lbcproxy.capture import events, open_capture
from lbcproxy.capture.tools.anonymise import Anonymiser
from lbcproxy.capture.tools.convert import choose_format, open_writer
from lbcproxy.capture.tools.cut import Cutter, Selection
from lbcproxy.capture.tools.merge import Merger
from lbcproxy.capture.tools.summary import summarise
from lbcproxy.capture.writing.recorder import Recorder
from lbcproxy.proxy import Plugins
from lbcproxy.replay.offline import offline
from lbcproxy.session import Direction, End, EndCause
from lbcproxy.session.events import SessionEnding
from tests.capture.fake_sessions import NETWORK, FakeSessions, ping
from tests.capture.roundtrip import write_events

UP, DOWN = Direction
ENDS = [
    End(cause, by, detail, name)
    for cause in EndCause
    for by, detail, name in [(None, "", ""), (UP, "in words\x1b[2J", "guard"), (DOWN, "silent", "")]
    if cause not in (EndCause.OPEN, EndCause.SILENT)
]


def recorded(path, ends, legs="client"):
    """Write a capture whose sessions ended so; by a FIN, by one FIN, or by a reset."""
    with path.open("wb") as file:
        play = FakeSessions(Recorder(file.write, network=NETWORK.id, legs=legs))
        for number, end in enumerate(ends, 1):
            play.start(number, host=f"10.0.{number >> 8}.{number & 255}")
            info = play.sessions[number][1]
            play.receive(number, ping(number))
            play.observer.ending(info, end, play.tick())
            if number % 3 == 0:
                play.observer.reset(info, UP, play.tick())
            elif number % 3 == 1:
                play.observer.finished(info, DOWN, play.tick())
            play.finish(number, end)


def ends_of(path):
    """Return why its sessions ended."""
    found = {}
    capture = open_capture(path, NETWORK)
    capture.on_session_ended = lambda report: found.update({report.number: report.end})
    for _ in capture:
        pass
    return [found[number] for number in sorted(found)]


def as_format(path, out):
    """Write a capture in the format of a name; return what that cannot hold."""
    with open_writer(out, choose_format(out)) as writer:
        for event in events(open_capture(path, NETWORK)):
            writer.handle(event)
    return writer.unsupported


@pytest.mark.parametrize("legs", ["client", "both"])
def test_a_capture_gives_back_why_its_sessions_ended(tmp_path, legs):
    """Whatever TCP shows of it."""
    path = tmp_path / "a.pcapng"
    recorded(path, ENDS, legs)
    assert ends_of(path) == ENDS


@pytest.mark.parametrize("formats", [*itertools.product(["pcapng", "ndjson"], repeat=2)])
def test_formats_that_can_hold_it_hold_it(tmp_path, formats):
    """One made of another."""
    recorded(tmp_path / "0.pcapng", ENDS)
    path = tmp_path / "0.pcapng"
    for number, name in enumerate(formats, 1):
        out = tmp_path / f"{number}.{name}"
        assert not as_format(path, out)
        path = out
    assert ends_of(path) == ENDS


def test_what_a_pcap_shows_is_who_closed_or_broke_off(tmp_path):
    """And the rest is counted as what it cannot hold."""
    recorded(tmp_path / "a.pcapng", [End(EndCause.PLUGIN), *[End(EndCause.STOPPED)] * 2])
    out = tmp_path / "a.pcap"
    lacks = as_format(tmp_path / "a.pcapng", out)
    assert ends_of(out) == [
        End(EndCause.CLOSED, DOWN),
        End(EndCause.CLOSED, UP),
        End(EndCause.RESET, UP),
    ]
    assert lacks["why sessions ended"] == 3


def test_tools_keep_it(tmp_path):
    """`anonymise` leaves out the words, in which there may be addresses."""
    path, out = tmp_path / "a.pcapng", tmp_path / "out.pcapng"
    recorded(path, ENDS)
    write_events(Cutter(Selection()).apply(events(open_capture(path))), out)
    assert ends_of(out) == ENDS
    write_events(Merger([open_capture(path)], lambda *_: None).events(), out)
    assert ends_of(out) == ENDS
    bare = [End(each.cause, each.by, "", each.name) for each in ENDS]
    anonymiser = Anonymiser(b"key")
    write_events(anonymiser.apply(events(open_capture(path))), out)
    assert ends_of(out) == bare
    ends = [
        each.end
        for each in anonymiser.apply(events(open_capture(path)))
        if isinstance(each, SessionEnding)
    ]
    assert ends == bare


def test_info_has_it_as_data_and_in_words(tmp_path):
    """`how` stays what it was; `why` is for programs."""
    path = tmp_path / "a.pcapng"
    ends = [
        End(EndCause.PLUGIN, detail="bad block", name="guard"),
        End(EndCause.CLOSED, DOWN),
        End(EndCause.UNREACHABLE, DOWN, "refused"),
    ]
    recorded(path, ends)
    sessions = summarise(open_capture(path)).to_dict()["sessions"]
    assert [each["how"] for each in sessions] == [
        "plugin guard: bad block",
        "server closed",
        "server unreachable: refused",
    ]
    assert [each["why"] for each in sessions] == [
        {"cause": "plugin", "by": "proxy", "name": "guard", "detail": "bad block"},
        {"cause": "closed", "by": "upstream"},
        {"cause": "unreachable", "by": "upstream", "detail": "refused"},
    ]


@pytest.mark.parametrize(
    "said",
    [None, 7, "closed", [], {}, {"cause": "eaten"}, {"cause": ["closed"]}, {"cause": "open"}],
)
def test_what_a_file_says_wrongly_is_not_an_end(said):
    """A file may say anything."""
    assert End.from_dict(said) is None
    assert End.from_dict({"cause": "closed", "by": 7, "detail": None}).cause is EndCause.CLOSED


def test_what_is_replayed_offline_ended_as_it_did(tmp_path):
    """Plugins change what passes, not why the session was over."""
    path, out = tmp_path / "a.pcapng", tmp_path / "out.pcapng"
    recorded(path, ENDS)
    heard = []
    capture = open_capture(path)
    capture.on_session_ended = heard.append
    with open_writer(out, choose_format(out)) as writer:
        for _ in offline(capture, Plugins(), heard.append, observer=writer):
            pass
    assert ends_of(out) == ENDS
    assert [each.end for each in heard] == ENDS  # who listened before still hears it
