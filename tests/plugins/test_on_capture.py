"""Every hook and every verdict over real captures of lbcd."""

from collections import Counter
from pathlib import Path

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.plugins.loader import PluginFile, PluginSpec
from lbcproxy.proxy import Plugins
from lbcproxy.replay import offline

CAPTURES = Path(__file__).parents[2] / "captures"
PLUGIN = """
from lbcproxy.plugin import *
from lbcproxy.wire.messages.keepalive import Ping

SEEN = []

class Everything(Plugin):
    def on_start(self, session):
        SEEN.append(("start", session.number))

    def on_handshake(self, session):
        SEEN.append(("handshake", session.upstream.version.start_height))

    def on_end(self, session, why):
        SEEN.append(("end", session.number))

    def on_message(self, session, message):
        SEEN.append(("message", message.command))

    def on_error(self, session, message):
        SEEN.append(("error", message.command))

    def on_version(self, session, message):
        if message.record is None:
            return None
        return Replace(message.replace(user_agent=b"/other/"), why="hidden")

    def on_getaddr(self, session, message):
        return Drop("nobody's business")

    async def on_inv(self, session, message):
        await session.sleep(0.5)
        return Delay(1, "late")

    def on_verack(self, session, message):
        back = Inject(Ping(9), direction=message.direction.other)
        return [Inject(Ping(7)), Inject(Ping(8), before=True), back]

    def on_tx(self, session, message):
        return Replace(message, Raw(b"garbage"))

    def on_getblocks(self, session, message):
        return Close("enough")
"""


@pytest.fixture(scope="module")
def through(tmp_path_factory):
    """Send a capture through the plugin; return its messages, their verdicts, and what it saw."""
    path = tmp_path_factory.mktemp("plugin") / "everything.py"
    path.write_text(PLUGIN)

    def run(name):
        complaints = []
        loaded = PluginFile(PluginSpec(str(path)))
        seen = loaded._classes[0].on_start.__globals__["SEEN"]
        seen.clear()
        capture = open_capture(CAPTURES / f"{name}.pcap")
        after = list(offline(capture, Plugins((loaded,)), complaints.append))
        assert complaints == []
        return list(open_capture(CAPTURES / f"{name}.pcap")), after, list(seen)

    return run


def test_each_verdict_is_said_of_the_messages_it_was_for(through):
    """And nothing else is touched; order is kept in each direction."""
    before, after, _ = through("lbcd-sync")
    verdicts = Counter((each.command, each.verdict) for each in after)
    assert verdicts["version", "rewrite"] == 2
    assert verdicts["getaddr", "drop"] == 1
    assert verdicts["inv", "delay"] == 28
    assert verdicts["ping", "inject"] == 6
    assert verdicts["tx", "rewrite"] == 32
    assert verdicts["block", "pass"] == 306
    touched = {"version", "getaddr", "inv", "tx"}
    passed = {command for command, verdict in verdicts if verdict == "pass"}
    assert passed == {each.command for each in before} - touched
    for direction in ("to_upstream", "to_client"):
        came = [each.raw for each in before if each.direction == direction]
        gone = [
            each.raw for each in after if each.direction == direction and each.verdict != "inject"
        ]
        assert gone == came


def test_each_hook_is_asked_and_each_trail_tells_why(through):
    """Events once, messages all."""
    _, after, seen = through("lbcd-sync")
    kinds = Counter(kind for kind, _ in seen)
    assert (kinds["start"], kinds["handshake"], kinds["end"]) == (1, 1, 1)
    assert ("handshake", 300) in seen
    trails = {each.command: each.trail for each in after if each.verdict != "inject"}
    assert trails["version"][0].startswith("everything: rewrite version")
    assert trails["version"][0].endswith(": hidden")
    assert trails["getaddr"] == ("everything: drop: nobody's business",)
    assert trails["inv"] == ("everything: delay 1 s: late",)
    assert trails["getblocks"] == ("everything: close: enough",)
    assert len(trails["verack"]) == 3
    # What was replaced or dropped by a command's own hook is not asked about again.
    asked = Counter(command for kind, command in seen if kind == "message")
    assert asked["block"] == 306
    assert asked["tx"] == 32  # it still goes on, before the garbage
    assert asked["getaddr"] == 0


def test_what_is_malformed_is_reported(through, tmp_path):
    """The probe's capture has messages that no node would take."""
    before, _, seen = through("lbcd-probe")
    wrong = Counter(each.command for each in before if each.message and each.message.error)
    reported = Counter(command for kind, command in seen if kind == "error")
    assert reported == wrong
