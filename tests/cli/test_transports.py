"""What the commands print of how messages were carried; nothing, if that was v1."""

import json

import pytest

from lbcproxy.capture import Recorder
from lbcproxy.cli.console import Console
from lbcproxy.cli.formatter import make_formatter
from lbcproxy.session import PacketForm
from lbcproxy.session.events import Delivered
from tests.capture.fake_sessions import (
    BOTH_V2,
    CLIENT_V2,
    DOWN,
    NETWORK,
    OPAQUE,
    UP,
    FakeSessions,
    ping,
)

FORM = PacketForm(is_long=True, decoys=2)


@pytest.fixture
def capture(tmp_path):
    """Return what records sessions with given transports in a file."""

    def record(*transports):
        path = tmp_path / "x.pcapng"
        with path.open("wb") as file:
            sessions = FakeSessions(Recorder(file.write, network=NETWORK.id))
            for number, each in enumerate(transports, 1):
                sessions.start(number)
                if each is not None:
                    sessions.agree(number, each)
                sessions.receive(number, ping(1))
                if each is None:
                    sessions.receive(number, ping(2), DOWN)
                else:
                    sessions.receive_packet(number, ping(2), FORM, DOWN)
                sessions.end(number)
        return path

    return record


def objects(ended):
    """Return the JSON of each line."""
    return [json.loads(line) for line in ended.lines]


def test_lines_say_how_a_message_came(lbcproxy, capture):
    """After everything else that is known of it, and before what is wrong with it."""
    first, second = lbcproxy("show", capture(BOTH_V2)).lines
    assert first.endswith("  v2")
    assert second.endswith("  v2: long type, 2 decoys before it")


def test_each_leg_has_its_own(lbcproxy, capture):
    """What came by v1 is printed as it always was."""
    mixed = lbcproxy("show", capture(CLIENT_V2)).lines
    plain = lbcproxy("show", capture(None)).lines
    assert mixed[0] == f"{plain[0]}  v2"
    assert plain[1] == mixed[1].removesuffix("  v2: long type, 2 decoys before it")


def test_a_session_in_the_clear_is_printed_as_it_always_was(lbcproxy, capture):
    """Scripts rely on it."""
    path = capture(None)
    for options in ((), ("-V",), ("-T", "ndjson"), ("-x",)):
        printed = lbcproxy("show", path, *options).out
        assert "v1" not in printed
        assert "transport" not in printed
    info = lbcproxy("info", path).out + lbcproxy("info", "-T", "json", path).out
    assert "transport" not in info


def test_the_tree_has_the_session_id(lbcproxy, capture):
    """With which the operator of a node finds the connection."""
    lines = lbcproxy("show", "-V", capture(BOTH_V2), "number == 1").lines
    assert lines[1] == f"    transport: v2 (session id {BOTH_V2.client.session_id.hex()})"


def test_objects_have_keys_for_it(lbcproxy, capture):
    """Only where there is something to say."""
    usual, unusual = objects(lbcproxy("show", "-T", "ndjson", capture(BOTH_V2)))
    assert usual["transport"] == unusual["transport"] == "v2"
    assert "form" not in usual
    assert unusual["form"] == {"long": True, "decoys": 2}
    [first, second] = objects(lbcproxy("show", "-T", "ndjson", capture(CLIENT_V2)))
    assert first["transport"] == "v2"
    assert "transport" not in second
    [opaque, _] = objects(lbcproxy("show", "-T", "ndjson", capture(OPAQUE)))
    assert opaque["transport"] == "opaque"


def test_fields_can_be_picked(lbcproxy, capture):
    """Whoever asks for the transport of v1 gets an answer."""
    pick = ("-T", "fields", "-e", "command", "-e", "transport", "-e", "form.decoys")
    assert lbcproxy("show", capture(CLIENT_V2), *pick).lines == ["ping\tv2\t", "ping\tv1\t2"]


def test_filters_work_on_files(lbcproxy, capture):
    """And say what is possible."""
    path = capture(CLIENT_V2, None)
    found = objects(lbcproxy("show", "-T", "ndjson", path, "transport == 'v2'"))
    assert [(each["session"], each["direction"]) for each in found] == [(1, "to_upstream")]
    assert len(lbcproxy("show", path, "transport == 'v1'").lines) == 3
    ended = lbcproxy("show", path, "transport == 'tls'")
    assert ended.code == 2
    assert "v1" in ended.err


def test_info_has_a_column(lbcproxy, capture):
    """If any session is not v1."""
    lines = lbcproxy("info", capture(BOTH_V2, CLIENT_V2, None)).lines
    [head] = [line for line in lines if "transport" in line]
    rows = lines[lines.index(head) + 1 :][:3]
    column = head.index("transport")
    assert [row[column:].partition("  ")[0] for row in rows] == ["v2", "v2, v1 to the node", "v1"]


def test_info_has_the_session_ids(lbcproxy, capture):
    """In its object, for the sessions that have them."""
    [shown] = objects(lbcproxy("info", "-T", "json", capture(BOTH_V2, None)))
    encrypted, plain = shown["sessions"]
    assert encrypted["transports"] == BOTH_V2.to_dict()
    assert "transports" not in plain


@pytest.mark.parametrize(
    "options", [[], ["--fault", "drop probability=0.0001"]], ids=["plain", "fault"]
)
def test_a_replay_through_plugins_keeps_it(lbcproxy, capture, options, tmp_path):
    """A message that no plugin changes is what it was."""
    path, out = capture(BOTH_V2), tmp_path / "out.pcapng"
    ended = lbcproxy("replay", "offline", path, "--seed", "1", *options, "-w", out)
    assert [line.rpartition("B  ")[2] for line in ended.lines] == [
        line.rpartition("B  ")[2] for line in lbcproxy("show", path).lines
    ]
    assert lbcproxy("show", out).lines == ended.lines


class Sink:
    """Where a console prints."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_a_running_proxy_prints_it_too():
    """As `show` does later."""
    sink = Sink()
    look = make_formatter("text", tree=False, hexdump=False, fields=(), colour=False)
    sessions = FakeSessions(Console(look, sink, sink, colour=False))
    sessions.start(1)
    sessions.agree(1, CLIENT_V2)
    sessions.receive(1, ping(1), UP)
    sessions.receive(1, ping(1), DOWN)
    first, second = sink.text.splitlines()
    assert first.endswith("  v2")
    assert not second.endswith("v2")


def test_conversions_count_what_a_format_cannot_hold(lbcproxy, capture, tmp_path):
    """A pcap has packets, and Core's files have messages only."""
    path = capture(BOTH_V2)
    for target in (("x.pcap",), ("core", "-F", "core")):
        ended = lbcproxy("convert", path, tmp_path / target[0], *target[1:])
        assert "cannot hold transports of sessions: 1\n" in ended.err
        assert "cannot hold how messages came in encrypted packets: 1\n" in ended.err
    ended = lbcproxy("convert", path, tmp_path / "x.ndjson")
    assert ended.err == ""


def test_what_is_shown_can_be_read_again_with_its_form(lbcproxy, capture, tmp_path):
    """Lines of `show -T ndjson -x` are a capture."""
    printed = tmp_path / "shown.ndjson"
    printed.write_text(lbcproxy("show", "-T", "ndjson", "-x", capture(BOTH_V2)).out)
    again = objects(lbcproxy("show", "--network", NETWORK.id, "-T", "ndjson", printed))
    assert [each.get("form") for each in again] == [None, {"long": True, "decoys": 2}]


def test_events_of_the_console_are_those_of_the_session():
    """A formatter that is called without the session says what the entry itself knows."""
    found = []

    class Seen:
        def session_started(self, _info):
            return self

        def handle(self, event):
            if isinstance(event, Delivered):
                found.extend(event.deliveries[0].entries)

    sessions = FakeSessions(Seen())
    sessions.start(1)
    sessions.receive_packet(1, ping(1), FORM)
    look = make_formatter("text", tree=False, hexdump=False, fields=(), colour=False)
    assert look(found[0]).endswith("  v2: long type, 2 decoys before it")
