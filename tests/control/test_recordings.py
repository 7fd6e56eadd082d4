"""Recording switched on and off and rings written, by the control API and `lbcproxy record`."""

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.wire.envelope import frame
from tests.nodes import free_port, wait_until
from tests.proxy.loops import connect, listening
from tests.proxy.transports import NETWORK


def ping(nonce):
    return frame(NETWORK.magic, "ping", nonce.to_bytes(8, "little"))


def record(serving, *words, code=0):
    """Run the command against a service; return what it prints."""
    return serving.run("record", *words, code=code)


def nonces(path):
    """Return those of a file's pings."""
    return [each.message.record.nonce for each in open_capture(path)]


class Line:
    """A client and a node with a service between them."""

    def __init__(self, client, node):
        self.client = client
        self.node = node

    def say(self, *numbers):
        """Have pings pass."""
        for number in numbers:
            self.client.sendall(ping(number))
            assert self.node.recv(100) == ping(number)


def proxied(server, name, **settings):
    upstream = f"127.0.0.1:{server.getsockname()[1]}"
    return {"listen": free_port(), "upstream": upstream, "name": name, **settings}


def test_recording_is_turned_on_and_off_during_sessions(serving):
    """On in a session's middle, off, and on again: three states, two files."""
    with listening() as server:
        main = proxied(server, "main")
        pattern = str(serving.folder / "x.pcapng")
        serving.start(proxies=[main], record=pattern, record_on_demand=True)
        with connect(main["listen"], server) as (client, node):
            line = Line(client, node)
            line.say(1)
            state = serving.ask("GET", "/recordings/main")[1]
            assert (state["enabled"], state["file"], state["ring"]) == (False, None, 0)
            [session] = state["sessions"]
            assert session["file"] is None
            assert session["client"].startswith("127.0.0.1:")

            assert record(serving, "on").startswith(f"main: on, into {pattern}\n  #1    127.0.0.1:")
            line.say(2)
            assert serving.ask("POST", "/recordings/main", {"enabled": False})[0] == 200
            line.say(3)
            assert "not recorded" in record(serving)
            state = serving.ask("POST", "/recordings", {"enabled": True})[1]["main"]
            assert state["sessions"][0]["file"] == pattern.replace("x.", "x-2.")
            line.say(4)
    serving.stop()
    assert nonces(serving.folder / "x.pcapng") == [2]
    assert nonces(serving.folder / "x-2.pcapng") == [4]


def test_recording_is_turned_on_and_off_for_a_session_or_peer(serving):
    """The others stay as they are; of a peer those to come, too."""
    with listening() as server, listening() as other:
        pair = proxied(server, "a"), proxied(other, "b")
        serving.start(
            proxies=list(pair), record=str(serving.folder / "{name}.pcapng"), record_per="listener"
        )
        with (
            connect(pair[0]["listen"], server) as first,
            connect(pair[0]["listen"], server) as second,
        ):
            state = serving.ask("GET", "/recordings")[1]
            one, two = (each["session"] for each in state["a"]["sessions"])
            assert state["b"]["sessions"] == []
            shown = record(serving, "off", "--session", one)
            assert "a: on" in shown
            assert f"#{one}" in shown
            assert f"#{two}" not in shown
            Line(*first).say(1)
            Line(*second).say(2)
            status, state = serving.ask("POST", "/recordings/a", {"enabled": False, "peer": "::1"})
            assert (status, state["peers"]) == (200, {"::1": False})
            Line(*second).say(3)
            record(serving, "off", "a", "--peer", "127.0.0.1")
            with connect(pair[0]["listen"], server) as third:
                Line(*third).say(4)
                record(serving, "on", "a", "--session", two + 1)
                Line(*third).say(5)
            with connect(pair[1]["listen"], other) as line:
                Line(*line).say(6)
            assert serving.ask("POST", "/recordings/a", {"enabled": True})[1]["peers"] == {}
            Line(*first).say(7)
    serving.stop()
    found = {each.name: nonces(each) for each in serving.folder.glob("*.pcapng")}
    assert found.pop("b.pcapng") == [6]
    assert sorted(nonce for each in found.values() for nonce in each) == [2, 3, 5, 7]


def test_rings_are_written_by_hand(serving):
    """Though nothing is recorded."""
    pattern = str(serving.folder / "ring-{name}-{session}.pcapng")
    with listening() as server:
        main = proxied(server, "main")
        serving.start(proxies=[main], ring=2, ring_file=pattern)
        with connect(main["listen"], server) as line:
            Line(*line).say(1, 2, 3)
            assert "ring of 2 messages" in record(serving)
            assert serving.ask("POST", "/rings/main", {})[1] == {"written": 1}
            file = serving.folder / "ring-main-1.pcapng"
            wait_until("it is written", lambda: f"are in {file}" in serving.log)
            assert nonces(file) == [2, 3]
            assert serving.ask("POST", "/rings", {"session": 7})[1] == {"written": 0}
            done = record(serving, "dump", "main", "--session", 1)
            assert done == ""
            wait_until("it is again", lambda: serving.log.count("by hand, its last 2") == 2)


def test_a_choice_outlives_other_changes(serving):
    """Until the setting itself is another; sessions go on as they were."""
    with listening() as server:
        main = proxied(server, "main")
        settings = {"record": str(serving.folder / "x.pcapng"), "record_on_demand": True}
        serving.start(proxies=[main], **settings)
        with connect(main["listen"], server) as line:
            Line(*line).say(1)
            record(serving, "on")
            Line(*line).say(2)
            serving.configure(control=0, proxies=[main], idle_timeout=100, **settings)
            serving.hang_up()
            assert serving.ask("GET", "/recordings/main")[1]["enabled"]
            Line(*line).say(3)
            serving.configure(control=0, proxies=[main], **{**settings, "record_on_demand": False})
            serving.hang_up()
            record(serving, "off")
            Line(*line).say(4)
            serving.configure(control=0, proxies=[main], **settings)
            serving.hang_up()
            assert not serving.ask("GET", "/recordings/main")[1]["enabled"]
            assert len(serving.ask("GET", "/recordings/main")[1]["sessions"]) == 1
    serving.stop()
    assert nonces(serving.folder / "x.pcapng") == [2, 3]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("recordings", [], 400, "an object is expected"),
        ("recordings", {}, 400, "enabled: true or false"),
        ("recordings", {"enabled": 1}, 400, "enabled: true or false"),
        ("recordings", {"enabled": True, "wat": 1}, 400, "no setting 'wat'"),
        ("recordings", {"enabled": True, "session": "1"}, 400, "session: a number"),
        ("recordings", {"enabled": True, "session": True}, 400, "session: a number"),
        ("recordings", {"enabled": True, "peer": 1}, 400, "peer: a host"),
        ("recordings", {"enabled": True, "peer": "a", "session": 1}, 400, "exclude each other"),
        ("recordings", {"enabled": True, "session": 9}, 404, "no session 9"),
        ("recordings/none", {"enabled": True}, 404, "proxy not found"),
        ("recordings/quiet", {"enabled": True}, 409, "`record` is null"),
        ("rings", {}, 409, "`ring` is 0"),
        ("rings/none", {}, 404, "proxy not found"),
        ("rings/main", {"enabled": True}, 400, "no setting 'enabled'"),
    ],
)
def test_invalid_requests_get_an_error_message(serving, path, body, status, words):
    """And changes nothing."""
    with listening() as server:
        pair = [proxied(server, "main"), proxied(server, "quiet", record=None)]
        serving.start(proxies=pair, record=str(serving.folder / "x.pcapng"))
        before = serving.ask("GET", "/recordings")[1]
        found, answer = serving.ask("POST", f"/{path}", body)
        assert found == status
        assert words in answer["error"]
        assert serving.ask("GET", "/recordings")[1] == before


def test_a_recording_failure_is_returned_to_the_client(serving):
    """At once, while the traffic goes on."""
    (serving.folder / "file").write_text("")
    with listening() as server:
        main = proxied(server, "main")
        pattern = str(serving.folder / "file" / "x.pcapng")
        serving.start(proxies=[main], record=pattern, record_on_demand=True)
        with connect(main["listen"], server) as line:
            assert "its folder is a file" in record(serving, "on", code=1)
            assert "its folder is a file" in record(serving, "on", "--session", 1, code=1)
            Line(*line).say(1)
            assert "not recorded" in record(serving)


def test_too_many_choices_are_refused(serving):
    """They are kept for ever."""
    with listening() as server:
        serving.start(proxies=[proxied(server, "main")], record=str(serving.folder / "x.pcapng"))
        choice = serving.service._recordings.choice("main")
        choice.peers.update({str(number): False for number in range(1000)})
        status, answer = serving.ask("POST", "/recordings", {"enabled": False, "peer": "x"})
        assert (status, "1000 peers" in answer["error"]) == (409, True)


def test_the_command_prints_errors(serving):
    """As the others do."""
    serving.start(proxies=[])
    assert "exclude each other" in record(serving, "on", "--session", 1, "--peer", "x", code=2)
    assert "proxy not found" in record(serving, "status", "nobody", code=1)
    assert "`record` is null" in record(serving, "on", code=1)
    assert record(serving) == ""
