"""`lbcproxy info`: captures in numbers, held against what was found without lbcproxy."""

import json
import os
import pty
import re
import subprocess
import sys
from collections import Counter
from xml.etree import ElementTree as ET

import msgspec
import pytest

from lbcproxy import networks
from lbcproxy.capture import Recorder, open_capture
from lbcproxy.capture.packet import ACK, FIN, PSH, RST, SYN, Segment
from lbcproxy.capture.tools import summary
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Delivery, Direction, Session
from lbcproxy.wire.envelope import frame
from tests.capture.changed_traffic import TALK, record
from tests.capture.probe_segments import probe_segments, write_segments
from tests.capture.recordings import INFO_WITH_LOCAL as INFO
from tests.memory import most
from tests.session.feed import Feed

MAGIC = networks.get("lbry-regtest").magic
PING = frame(MAGIC, "ping", bytes(8))
SERVER = 29300


def objects(ended):
    """Return the objects of `-T json`, a line each."""
    return [json.loads(line) for line in ended.lines]


def truth(captures, name):
    """Return what tcpdump's capture really holds: by direction, messages and bytes by command."""
    found = {"to_upstream": Counter(), "to_client": Counter()}
    sizes = {"to_upstream": Counter(), "to_client": Counter()}
    for each in json.loads((captures / f"{name}.truth.json").read_text()):
        direction = "to_upstream" if each["dst"] == SERVER else "to_client"
        for command, length, _ in each["messages"]:
            found[direction][command] += 1
            sizes[direction][command] += 24 + length
    return found, sizes


@pytest.mark.parametrize("name", ["lbcd-sync", "lbcd-probe"])
def test_messages_and_bytes_are_those_of_the_capture(lbcproxy, captures, name):
    """By command and direction."""
    ended = lbcproxy("info", "-T", "json", captures / f"{name}.pcap")
    assert (ended.code, ended.err) == (0, "")
    [shown] = objects(ended)
    counts, sizes = truth(captures, name)
    assert {
        (each["command"], each["direction"]): (each["count"], each["bytes"])
        for each in shown["commands"]
    } == {
        (command, direction): (count, sizes[direction][command])
        for direction, commands in counts.items()
        for command, count in commands.items()
    }
    for direction, commands in counts.items():
        assert shown["messages"][direction]["count"] == commands.total()
        assert shown["messages"][direction]["bytes"] == sizes[direction].total()
    assert (shown["gap_count"], shown["damage"], shown["notices"]) == (0, None, [])


def test_the_keys_of_the_object_are_public(lbcproxy, captures):
    """Scripts rely on them."""
    [shown] = objects(lbcproxy("info", "-T", "json", captures / "lbcd-probe.pcap"))
    assert list(shown) == [
        *("file", "format", "size", "comments", "networks", "begin", "end", "seconds"),
        *("sections", "packets", "session_count", "sessions", "messages", "rates", "commands"),
        *("junk", "gap_count", "missing", "gaps_of_unknown_size", "gaps", "error_count", "errors"),
        *("verdicts", "deciders", "peers", "agents", "answers", "dropped", "silent"),
        *("notices", "assumed", "lost", "losses", "counters", "damage"),
    ]
    assert list(shown["answers"][0]) == [
        *("pair", "direction", "requests", "answered", "not_found", "unanswered"),
        *("not_followed", "median", "p99", "longest"),
    ]
    session = shown["sessions"][0]
    assert list(session) == [
        *("number", "network", "client", "server", "upstream", "begun", "begin", "end", "seconds"),
        *("how", "why", "missing", "protocol_version", "to_upstream", "to_client"),
    ]
    assert list(session["to_client"]) == [
        *("stage", "user_agent", "version", "services", "height", "messages", "bytes", "junk")
    ]


def test_sessions_say_who_and_how_they_ended(lbcproxy, captures):
    """Peers, user agents, versions, heights, as the probe was made."""
    [shown] = objects(lbcproxy("info", "-T", "json", captures / "lbcd-probe.pcap"))
    assert shown["networks"] == ["lbry-regtest"]
    assert [each["number"] for each in shown["sessions"]] == [1, 2, 3, 4, 5]
    agents = [each["to_upstream"]["user_agent"] for each in shown["sessions"]]
    assert agents == ["/spv-probe:1.0/", "/old:0.1/", "/dup/", "/ancient/", "/reject/"]
    first, old, _, ancient, _ = shown["sessions"]
    assert first["to_client"]["user_agent"] == "/btcwire:0.5.0/LBRY.GO:0.0.0-local.0+/"
    assert (first["to_client"]["height"], first["protocol_version"]) == (306, 70013)
    assert (old["to_upstream"]["version"], old["protocol_version"]) == (60002, 60002)
    assert (ancient["to_client"]["messages"], ancient["how"]) == (0, "server closed")
    assert all(each["begun"] for each in shown["sessions"])
    assert shown["begin"] <= first["begin"] < first["end"] <= shown["end"]
    assert [(each["command"], each["session"]) for each in shown["errors"]] == [
        ("version", 1),
        ("filterload", 2),
    ]


def test_tables_are_plain_text_in_a_pipe(lbcproxy, captures):
    """No colour, nothing cut, no spaces at the ends of lines."""
    ended = lbcproxy("info", captures / "lbcd-probe.pcap")
    assert (ended.code, ended.err) == (0, "")
    assert "\x1b" not in ended.out
    assert all(line == line.rstrip() for line in ended.lines)
    assert ended.lines[0] == str(captures / "lbcd-probe.pcap")
    assert "  format    pcap, 135,735 bytes, 226 packets" in ended.lines
    assert "  network   lbry-regtest" in ended.lines
    assert "  messages  104, 117,099 bytes" in ended.lines
    assert "  gaps      none" in ended.lines
    [row] = [line.split() for line in ended.lines if line.startswith("cfilter ")]
    assert row == ["cfilter", "15", "2,227"]
    assert any(line.endswith("services at byte 4: 8 bytes needed, 6 left") for line in ended.lines)


def test_several_files_are_summarised_separately(lbcproxy, captures):
    """An object a line, in the order asked for."""
    paths = [captures / "lbcd-sync.pcap", captures / "lbcd-probe.pcap"]
    ended = lbcproxy("info", "-T", "json", *paths)
    assert [each["file"] for each in objects(ended)] == list(map(str, paths))


def test_quick_decodes_nothing(lbcproxy, captures):
    """The two malformed messages of the probe have sound frames."""
    [shown] = objects(lbcproxy("info", "--quick", "-T", "json", captures / "lbcd-probe.pcap"))
    assert shown["error_count"] == 0
    assert sum(each["count"] for each in shown["messages"].values()) == 104


def test_a_damaged_file_is_summarised_up_to_the_damage(lbcproxy, captures, tmp_path):
    """Exit code 3, the place on standard error, and in the object."""
    whole = (captures / "lbcd-sync.pcap").read_bytes()
    path = tmp_path / "cut.pcap"
    path.write_bytes(whole[: len(whole) // 2])
    ended = lbcproxy("info", "-T", "json", path)
    assert ended.code == 3
    [shown] = objects(ended)
    assert shown["messages"]["to_client"]["count"] > 100
    place = f"(at byte {shown['damage']['offset']:,} of the file)"
    assert ended.err == f"lbcproxy: {path}: {shown['damage']['what']} {place}\n"
    text = lbcproxy("info", path)
    assert text.code == 3
    assert any(line.startswith("  damage    at byte ") for line in text.lines)


def test_a_bad_file_hides_no_other(lbcproxy, captures, tmp_path):
    """The worst exit code counts."""
    note = tmp_path / "note.txt"
    note.write_text("nothing to see")
    ended = lbcproxy(
        *("info", "-T", "json", note, tmp_path / "absent.pcap", captures / "lbcd-sync.pcap")
    )
    assert ended.code == 1
    assert len(objects(ended)) == 1
    first, second = ended.err.splitlines()
    assert first.startswith(f"lbcproxy: {note}: not a capture: it begins with 6e6f7468")
    assert second == f"lbcproxy: cannot read {tmp_path}/absent.pcap: No such file or directory"


def test_the_network_must_be_given_if_the_magic_is_ambiguous(lbcproxy, captures, tmp_path):
    """As `show` does."""
    shared = (captures / "lbcd-probe.pcap").read_bytes()
    path = tmp_path / "simnet.pcap"
    path.write_bytes(shared.replace(bytes.fromhex("fae4aad1"), bytes.fromhex("161c1412")))
    ended = lbcproxy("info", path)
    assert (ended.code, ended.out) == (2, "")
    assert "say --network" in ended.err
    [shown] = objects(lbcproxy("info", "--network", "lbry-simnet", "-T", "json", path))
    assert shown["networks"] == ["lbry-simnet"]


def test_gaps_are_listed_with_size_and_place(lbcproxy, tmp_path):
    """Which session, which direction, where in the stream."""
    packets = list(probe_segments())
    lost = next(at for at, each in enumerate(packets) if len(each.payload) > 1_000)
    size = len(packets.pop(lost).payload)
    path = write_segments(packets, tmp_path)
    ended = lbcproxy("info", "-T", "json", path)
    assert ended.code == 0
    [shown] = objects(ended)
    assert (shown["gap_count"], shown["missing"]) == (1, size)
    [gap] = shown["gaps"]
    assert (gap["missing"], gap["direction"], gap["session"]) == (size, "to_client", 1)
    assert gap["what"].startswith(f"{size:,} bytes are missing from the capture, at byte ")
    assert shown["sessions"][0]["missing"] == size
    text = lbcproxy("info", path)
    assert f"  gaps      1, {size:,} bytes missing" in text.lines
    assert "Gaps" in text.lines
    shown_line = next(line for line in lbcproxy("show", path).lines if " (gap) " in line)
    assert f"! {gap['what']}" in shown_line


CLIENT, NODE = Endpoint("10.0.0.1", 50000), Endpoint("10.0.0.2", 9246)
FLOW = [Segment(CLIENT, NODE, 99, 0, SYN, b""), Segment(CLIENT, NODE, 100, 1, PSH | ACK, PING)]
END = 100 + len(PING)


@pytest.mark.parametrize(
    ("more", "how"),
    [
        ([], "open at the end"),
        ([Segment(CLIENT, NODE, END, 1, FIN | ACK, b"")], "client closed"),
        ([Segment(NODE, CLIENT, 1, END, FIN | ACK, b"")], "server closed"),
        ([Segment(CLIENT, NODE, END, 1, RST, b"")], "client reset"),
        ([Segment(NODE, CLIENT, 1, END, RST, b"")], "server reset"),
        (
            [Segment(NODE, CLIENT, 1, END, FIN, b""), Segment(CLIENT, NODE, END, 2, RST, b"")],
            "client reset",
        ),
    ],
)
def test_how_a_session_ended(lbcproxy, tmp_path, more, how):
    """The first to close, or the one that reset it."""
    [shown] = objects(lbcproxy("info", "-T", "json", write_segments([*FLOW, *more], tmp_path)))
    [session] = shown["sessions"]
    assert session["how"] == how


def test_a_session_without_its_start_says_so(lbcproxy, tmp_path):
    """Its beginning is not that of the conversation."""
    path = write_segments(FLOW[1:], tmp_path)
    [shown] = objects(lbcproxy("info", "-T", "json", path))
    assert not shown["sessions"][0]["begun"]
    assert any(
        "before 1970-01-01" in line or "before 00:00" in line
        for line in lbcproxy("info", path).lines
    )


def test_verdicts_and_both_legs_of_our_captures(lbcproxy, tmp_path):
    """In terminate mode each node is the one on its leg; sessions are counted once."""
    path = tmp_path / "own.pcapng"
    record(path, TALK)
    [shown] = objects(lbcproxy("info", "-T", "json", path))
    verdicts = Counter(entry.verdict for entry in open_capture(path))
    del verdicts["pass"]
    assert shown["verdicts"] == dict(verdicts)
    assert verdicts
    assert Counter({each["verdict"]: each["count"] for each in shown["deciders"]}) == verdicts
    assert {each["who"] for each in shown["deciders"]} == {"terminate"}
    text = lbcproxy("info", path)
    assert ["drop", "terminate", str(verdicts["drop"])] in [line.split() for line in text.lines]
    assert [each["number"] for each in shown["sessions"]] == list(
        range(1, shown["session_count"] + 1)
    )
    assert "recorded by lbcproxy" in shown["comments"][0]


def test_the_decider_is_named_once_for_each_message(lbcproxy, tmp_path):
    """However much it did; plugins and modes alike."""
    path = tmp_path / "own.pcapng"
    deciders = [("quiet: drop: no pings", "slow: delay 2 s", "quiet: close"), ("terminate", "why")]
    with path.open("wb") as file:
        recorder = Feed(Recorder(file.write, network="lbry-regtest", changes=True))
        recorder.started(INFO, 1)
        recorder.upstream_connected(INFO, 1)
        session = Session(1, networks.get("lbry-regtest"), stream_above=None)
        for time, trail in enumerate(deciders, 2):
            [delivery] = session.receive(Direction.TO_UPSTREAM, PING, time)
            entry = msgspec.structs.replace(delivery.entries[0], verdict="drop", trail=trail)
            recorder.passed(INFO, Direction.TO_UPSTREAM, [Delivery(PING, (entry,), b"")], time)
    [shown] = objects(lbcproxy("info", "-T", "json", path))
    assert shown["deciders"] == [
        {"verdict": "drop", "who": who, "count": 1} for who in ("quiet", "slow", "terminate")
    ]


def test_rates_peers_and_agents_are_listed(lbcproxy, captures):
    """As the tables of all sessions have it."""
    [shown] = objects(lbcproxy("info", "-T", "json", captures / "lbcd-probe.pcap"))
    assert shown["rates"]["messages"] == pytest.approx(104 / shown["seconds"])
    assert shown["rates"]["bytes"] == pytest.approx(117_099 / shown["seconds"])
    assert shown["peers"] == [
        {"side": "client", "address": "127.0.0.1", "count": 5},
        {"side": "node", "address": "127.0.0.1:29300", "count": 5},
    ]
    agents = {(each["side"], each["user_agent"]): each for each in shown["agents"]}
    assert agents["client", "/old:0.1/"]["version"] == 60002
    assert agents["node", "/btcwire:0.5.0/LBRY.GO:0.0.0-local.0+/"]["count"] == 4
    text = lbcproxy("info", captures / "lbcd-probe.pcap")
    assert "  rate      7.4 messages/s, 8.3 kB/s" in text.lines


def test_answer_times_are_those_of_the_packets(lbcproxy, captures):
    """The probe asked for a block and seven transactions, of which two are not there."""
    [shown] = objects(lbcproxy("info", "-T", "json", captures / "lbcd-probe.pcap"))
    rows = {(each["pair"], each["direction"]): each for each in shown["answers"]}
    row = rows["getdata-tx", "to_upstream"]
    assert (row["requests"], row["answered"], row["not_found"]) == (7, 5, 2)
    times = {
        entry.command: entry.time_ns
        for entry in open_capture(captures / "lbcd-probe.pcap")
        if entry.command in ("ping", "pong")
    }
    assert rows["ping-pong", "to_upstream"]["median"] == (times["pong"] - times["ping"]) / 1e9
    text = lbcproxy("info", captures / "lbcd-probe.pcap")
    [line] = [line.split() for line in text.lines if line.startswith("getdata-tx") and "->" in line]
    assert line[:5] == ["getdata-tx", "->", "7", "5", "2"]
    [quick] = objects(lbcproxy("info", "--quick", "-T", "json", captures / "lbcd-probe.pcap"))
    assert quick["answers"] == []


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".svg", ".SVG"])
def test_a_picture_is_drawn(lbcproxy, captures, tmp_path, suffix):
    """Beside the tables; an SVG says in text what is in it."""
    picture = tmp_path / f"found{suffix}"
    ended = lbcproxy("info", "--plot", picture, captures / "lbcd-probe.pcap")
    assert (ended.code, ended.err) == (0, "")
    assert "  messages  104, 117,099 bytes" in ended.lines
    data = picture.read_bytes()
    if suffix == ".png":
        assert data.startswith(b"\x89PNG")
        return
    assert data.startswith(b"<?xml")
    drawn = ET.fromstring(data)
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}path"))) > 100
    for comment in (b"<!-- cfilter -->", b"<!-- messages / s -->", b"getdata-tx by client: 5"):
        assert comment in data


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [False, True])
def test_a_picture_of_what_there_is(lbcproxy, captures, tmp_path, damaged):
    """Of a damaged file what is before it; of an empty one nothing, and no error."""
    path, picture = tmp_path / "some.pcap", tmp_path / "some.svg"
    whole = (captures / "lbcd-sync.pcap").read_bytes()
    path.write_bytes(whole[: 24 if not damaged else len(whole) // 2])
    ended = lbcproxy("info", "--plot", picture, path)
    assert ended.code == (3 if damaged else 0)
    assert (b"<!-- no messages -->" in picture.read_bytes()) is not damaged


@pytest.mark.slow
def test_a_picture_that_cannot_be_drawn_is_refused(lbcproxy, captures, tmp_path, monkeypatch):
    """Before a long file is read."""
    one = captures / "lbcd-sync.pcap"
    ended = lbcproxy("info", "--plot", tmp_path / "x.pcap", one)
    assert (ended.code, ended.out) == (2, "")
    assert "the name must end with .png or .svg" in ended.err
    ended = lbcproxy("info", "--plot", tmp_path / "x.png", one, one)
    assert (ended.code, ended.out) == (2, "")
    ended = lbcproxy("info", "--plot", tmp_path / "no" / "x.png", one)
    assert ended.code == 1
    assert ended.err == f"lbcproxy: cannot write {tmp_path}/no/x.png: No such file or directory\n"
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ended = lbcproxy("info", "--plot", tmp_path / "x.png", one)
    assert (ended.code, ended.out) == (1, "")
    assert "pip install 'lbcproxy[plot]'" in ended.err


def test_lists_are_bounded(lbcproxy, captures, monkeypatch):
    """Memory must not grow with the file; what is not listed is counted."""
    monkeypatch.setattr(summary, "MAX_SESSIONS", 2)
    monkeypatch.setattr(summary, "MAX_LISTED", 1)
    monkeypatch.setattr(summary, "MAX_COMMANDS", 5)
    monkeypatch.setattr(summary, "MAX_NAMES", 2)
    [shown] = objects(lbcproxy("info", "-T", "json", captures / "lbcd-probe.pcap"))
    assert (len(shown["sessions"]), shown["session_count"]) == (2, 5)
    assert (len(shown["errors"]), shown["error_count"]) == (1, 2)
    assert len(shown["commands"]) <= 5 + 2
    assert sum(each["count"] for each in shown["commands"]) == 104
    assert any(each["command"] == "(others)" for each in shown["commands"])
    assert {each["user_agent"] for each in shown["agents"]} > {"(others)"}
    assert sum(each["count"] for each in shown["agents"]) == 9
    assert any(
        line.split() == ["3", "more"]
        for line in lbcproxy("info", captures / "lbcd-probe.pcap").lines
    )


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(lbcproxy, tmp_path, monkeypatch):
    """A capture of a month is read as one of a minute; the first sessions alone are listed."""
    monkeypatch.setattr(summary, "MAX_SESSIONS", 20)
    monkeypatch.setattr(summary, "MAX_NAMES", 20)
    packets = probe_segments()
    peaks = []
    for times in (1, 40, 80):  # the first is for what is imported and cached
        many = [
            Segment(
                each.source
                if each.source.port == SERVER
                else Endpoint(f"10.0.0.{turn}", each.source.port),
                each.target
                if each.target.port == SERVER
                else Endpoint(f"10.0.0.{turn}", each.target.port),
                *(each.sequence, each.acknowledgment, each.flags, each.payload),
            )
            for turn in range(times)
            for each in packets
        ]
        (tmp_path / str(times)).mkdir()
        path = write_segments(many, tmp_path / str(times))
        peaks.append(most(lambda: lbcproxy("info", "--quick", path)))  # noqa: B023
    assert peaks[2] - peaks[1] < 300_000, peaks


def on_terminal(*arguments, columns=100, error_too=True, environment=None, long=None):
    """Run the command on a terminal; return what it shows."""
    code = "from lbcproxy.cli import main, progress\n"
    code += "" if long is None else f"progress.SUMMARY_AFTER = {long}\n"
    master, slave = pty.openpty()
    os.set_inheritable(slave, True)
    subprocess.run(["stty", "cols", str(columns)], stdin=slave, check=True)
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}main.main()", *map(str, arguments)],
        stdin=slave,
        stdout=slave,
        stderr=slave if error_too else subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", **(environment or {})},
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            data = os.read(master, 65_536)
        except OSError:
            break
        if not data:
            break
        shown += data
    process.communicate()
    os.close(master)
    return shown.decode()


ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 100, 200])
def test_tables_fit_the_terminal(captures, columns):
    """Lines that wrap are not a table."""
    shown = on_terminal("info", captures / "lbcd-probe.pcap", columns=columns, error_too=False)
    lines = [ESCAPES.sub("", line) for line in shown.split("\r\n")]
    table = lines[lines.index("Sessions") :]
    assert max(map(len, table)) <= columns
    assert "\x1b[1m" in shown


def test_colours_can_be_refused(captures):
    """https://no-color.org."""
    shown = on_terminal(
        *("info", captures / "lbcd-sync.pcap"), error_too=False, environment={"NO_COLOR": "1"}
    )
    assert "\x1b[3" not in shown


@pytest.mark.slow
@pytest.mark.parametrize("name", ["info", "repair"])
def test_a_progress_bar_is_shown_on_a_terminal_and_removed(captures, name):
    """It counts bytes of the file; the output follows it."""
    shown = on_terminal(name, captures / "lbcd-sync.pcap")
    assert "lbcd-sync.pcap" in shown.split("226.2/226.2 kB")[0]
    assert "226.2/226.2 kB" in shown
    assert "\x1b[2K" in shown.split("226.2/226.2 kB")[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["info", "repair", "cut", "merge", "anonymise"])
def test_a_long_read_reports_its_speed(captures, tmp_path, name):
    """After the bar, on standard error; all files share one bar."""
    files = [str(captures / "lbcd-sync.pcap"), str(captures / "lbcd-probe.pcap")]
    out = str(tmp_path / "out.pcapng")
    arguments = {"merge": [*files, "-w", out], "info": files[:1], "repair": files[:1]}
    shown = on_terminal(name, *arguments.get(name, [files[0], out]), long=0)
    size = "0.4" if name == "merge" else "0.2"
    assert re.search(rf"lbcproxy: read {re.escape(size)} MB in [\d.]+ s, [\d.]+ MB/s\r\n", shown)
    assert ("2 files" in shown) is (name == "merge")


def test_messages_on_a_terminal_are_not_mangled_by_a_bar(captures):
    """`show` on a terminal has none."""
    shown = on_terminal("show", captures / "lbcd-sync.pcap")
    assert "kB" not in shown
    assert shown.count("\r\n") == 400


def test_show_into_a_pipe_has_a_bar_on_the_terminal(captures, tmp_path):
    """The output goes elsewhere, so the bar is what shows progress."""
    master, slave = pty.openpty()
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "lbcproxy", "show", str(captures / "lbcd-sync.pcap")],
            stdout=out,
            stderr=slave,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(slave)
        shown = b""
        while True:
            try:
                shown += os.read(master, 65_536)
            except OSError:
                break
        process.communicate()
    os.close(master)
    assert b"226.2/226.2 kB" in shown
    assert len((tmp_path / "out").read_text().splitlines()) == 400


@pytest.mark.parametrize("name", ["info", "repair", "show"])
def test_without_a_terminal_nothing_is_on_standard_error(lbcproxy, captures, name):
    """Logs of jobs stay readable."""
    ended = lbcproxy(name, captures / "lbcd-sync.pcap")
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["info", "show"])
def test_a_pipe_is_read_once(captures, name):
    """`ssh host tcpdump -w - | lbcproxy info /dev/stdin`: nothing can be wound back."""
    done = subprocess.run(
        f"cat {captures}/lbcd-sync.pcap | {sys.executable} -m lbcproxy {name} /dev/stdin",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    if name == "show":
        assert len(done.stdout.splitlines()) == 400
    else:
        assert "  format    pcap, 217 packets" in done.stdout
        assert "  messages  400, 208,415 bytes" in done.stdout


def test_a_reader_that_stops_early_is_not_an_error(captures):
    """`lbcproxy info FILE... | head -1`."""
    files = " ".join([f"{captures}/lbcd-sync.pcap"] * 10)
    done = subprocess.run(
        f"({sys.executable} -m lbcproxy info {files}; echo code $? >&2) | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "code 0\n"
