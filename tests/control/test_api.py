"""The control API over real HTTP: what it does to the proxies, and what it refuses."""

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lbcproxy.wire.envelope import frame
from tests.control.serving import Serving
from tests.nodes import free_port, wait_until
from tests.proxy.encrypted_sockets import connect_over
from tests.proxy.loops import connect, listening
from tests.proxy.transports import NETWORK

PING = frame(NETWORK.magic, "ping", bytes(8))
LATENCY = {"type": "latency", "attributes": {"latency": 100}}


def proxy(server: socket.socket, **settings: Any) -> dict[str, Any]:
    """A proxy called `one` whose upstream is a listening socket."""
    upstream = f"127.0.0.1:{server.getsockname()[1]}"
    return {"name": "one", "listen": f"127.0.0.1:{free_port()}", "upstream": upstream, **settings}


def port_of(shown: dict[str, Any]) -> int:
    """Where a proxy listens."""
    return int(shown["listen"].rpartition(":")[2])


def refuses(port: int) -> bool:
    """Whether a port is free."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_created_proxy_forwards_and_records(serving: Serving, tmp_path: Path):
    """It inherits the settings at the top of the config: the network, the recording."""
    path = tmp_path / "x.pcapng"
    serving.start(proxies=[], record=str(path))
    with listening() as server:
        code, made = serving.ask("POST", "/proxies", proxy(server, listen="127.0.0.1:0"))
        assert (code, made["enabled"], made["network"]) == (201, True, NETWORK.id)
        with connect(port_of(made), server) as (client, node):
            client.sendall(PING)
            assert node.recv(100) == PING
    assert "changed by the control API: 1 proxies" in serving.log
    serving.loop.call(serving.service.stopService)
    assert PING in path.read_bytes()


def test_a_port_that_was_picked_is_kept(serving: Serving):
    """A proxy that is disabled and enabled again is where its clients know it."""
    with listening() as server:
        serving.start(proxies=[proxy(server, listen=0)])
        before = serving.ask("GET", "/proxies/one")[1]
        assert serving.ask("PATCH", "/proxies/one", {"enabled": False})[1]["enabled"] is False
        assert refuses(port_of(before))
        assert serving.ask("PATCH", "/proxies/one", {"enabled": True})[1] == before
        with connect(port_of(before), server) as (client, node):
            client.sendall(PING)
            assert node.recv(100) == PING


def test_disabling_ends_the_sessions(serving: Serving):
    """As if the node were gone."""
    with listening() as server:
        serving.start(proxies=[proxy(server)])
        port = port_of(serving.ask("GET", "/proxies/one")[1])
        with connect(port, server) as (client, node):
            serving.ask("POST", "/proxies/one", {"enabled": False})
            assert client.recv(10) == b""
            assert node.recv(10) == b""


def test_a_fault_is_added_to_a_session_that_is_open(serving: Serving, transport: str):
    """And removed again: the session goes on, and held bytes are sent."""
    with listening() as server:
        serving.start(proxies=[proxy(server)])
        port = port_of(serving.ask("GET", "/proxies/one")[1])
        with connect_over(transport, port, server) as (client, node):
            hold = {"type": "latency", "stream": "upstream", "attributes": {"latency": 60_000}}
            assert serving.ask("POST", "/proxies/one/toxics", hold)[0] == 200
            client.sendall(PING)
            [relay] = serving.service._proxies.services[0].sessions
            wait_until("it is held", lambda: relay.held >= len(PING))
            assert serving.ask("DELETE", "/proxies/one/toxics/latency_upstream") == (204, None)
            assert node.recv(100) == PING
            node.sendall(PING)
            assert client.recv(100) == PING
            assert relay.held == 0
    assert "proxy one: faults, of seed" in serving.log
    assert "proxy one: no faults" in serving.log


def test_a_reload_restores_the_settings_of_the_file(serving: Serving, transport: str):
    """SIGHUP undoes what was changed by the API, without an end of sessions for faults."""
    with listening() as server:
        one = proxy(server, faults=[LATENCY])
        serving.start(control=free_port(), proxies=[one])
        with connect_over(transport, port_of(one), server) as (client, node):
            serving.ask("DELETE", "/proxies/one/toxics/latency_downstream")
            serving.ask("POST", "/proxies", proxy(server, name="two"))
            serving.hang_up()
            assert list(serving.ask("GET", "/proxies")[1]) == ["one"]
            [toxic] = serving.ask("GET", "/proxies/one/toxics")[1]
            assert toxic["attributes"] == {"latency": 100, "jitter": 0}
            client.sendall(PING)
            assert node.recv(100) == PING


def test_a_schedule_is_returned_if_there_is_one(serving: Serving):
    """It is an extension, which other clients do not see."""
    serving.start(proxies=[{"name": "one", "listen": 0, "upstream": "127.0.0.1:1"}])
    timed = {**LATENCY, "after_bytes": 100, "for_seconds": 2.5}
    made = serving.ask("POST", "/proxies/one/toxics", timed)[1]
    assert (made["after_bytes"], made["for_seconds"]) == (100, 2.5)
    assert "from_seconds" not in made
    changed = serving.ask("PATCH", "/proxies/one/toxics/latency_downstream", {"after_bytes": 0})[1]
    assert "after_bytes" not in changed
    assert changed["for_seconds"] == 2.5


def test_a_proxy_that_cannot_move_stays(serving: Serving):
    """The answer says why; nothing is half changed."""
    with listening() as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        serving.start(proxies=[proxy(server, upstream="127.0.0.1:1")])
        before = serving.ask("GET", "/proxies")[1]
        code, answer = serving.ask("PATCH", "/proxies/one", {"listen": taken})
        assert (code, answer["status"]) == (500, 500)
        assert "Address already in use" in answer["error"]
        two = {"name": "two", "listen": taken, "upstream": "127.0.0.1:1"}
        assert serving.ask("POST", "/proxies", two)[0] == 500
        assert serving.ask("GET", "/proxies")[1] == before


@pytest.mark.parametrize("place", [0, 1, 2])
def test_populate_creates_all_or_none(serving: Serving, place: int):
    """What it was to change is as it was, and the answer says which proxy could not be had."""
    with listening() as server:
        serving.start(proxies=[{"name": "old", "listen": 0, "upstream": "127.0.0.1:1"}])
        before = serving.ask("GET", "/proxies")
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        good = [
            {"name": "old", "upstream": "127.0.0.1:9", "listen": before[1]["old"]["listen"]},
            {"name": "good", "upstream": "127.0.0.1:1"},
        ]
        good.insert(place, {"name": "bad", "upstream": "127.0.0.1:1", "listen": taken})
        code, answer = serving.ask("POST", "/populate", good)
        assert (code, answer["proxies"]) == (500, [])
        assert answer["error"].startswith(f"proxy bad: cannot listen at {taken}: ")
        assert serving.ask("GET", "/proxies") == before


def test_populate_changes_nothing_if_one_proxy_is_invalid(serving: Serving):
    """It is named by its number, as a field that is missing is."""
    serving.start(proxies=[])
    good = {"name": "good", "upstream": "127.0.0.1:1"}
    code, answer = serving.ask("POST", "/populate", [good, {"name": "bad", "upstream": "nowhere"}])
    assert (code, answer["proxies"]) == (400, [])
    assert answer["error"].startswith("bad request body: upstream: 'nowhere' is not")
    assert answer["error"].endswith(" at proxy 2")
    assert serving.ask("GET", "/proxies") == (200, {})


def test_populate_is_one_change(serving: Serving):
    """However many proxies: each change looks at all there are."""
    serving.start(proxies=[])
    wanted = [{"name": f"p{number}", "upstream": "127.0.0.1:1"} for number in range(40)]
    code, answer = serving.ask("POST", "/populate", wanted)
    assert (code, len(answer["proxies"])) == (201, 40)
    assert all(each["enabled"] for each in answer["proxies"])
    assert serving.log.count("changed by the control API: ") == 1
    assert serving.ask("POST", "/populate", answer["proxies"]) == (201, answer)
    assert serving.log.count("changed by the control API: ") == 1


def test_populate_accepts_a_repeated_name(serving: Serving):
    """The last counts, as when the proxies were made one by one."""
    serving.start(proxies=[])
    one = {"name": "one", "upstream": "127.0.0.1:1"}
    code, answer = serving.ask("POST", "/populate", [one, {**one, "upstream": "127.0.0.1:2"}])
    assert (code, [each["upstream"] for each in answer["proxies"]]) == (201, ["127.0.0.1:2"])


BODIES = {
    "POST /proxies": [
        (b"", 400, "bad request body: "),
        (b"{", 400, "bad request body: "),
        (b"\xff\xfe", 400, "bad request body: "),
        (b"[" * 100_000, 400, "bad request body: "),
        ([], 400, "bad request body: an object is expected"),
        ({}, 400, "missing required field: name"),
        ({"name": "x"}, 400, "missing required field: upstream"),
        ({"name": "x", "upstream": 5}, 400, "bad request body: upstream: "),
        ({"name": 5, "upstream": "a:1"}, 400, "bad request body: name: "),
        ({"name": "x", "upstream": "nowhere"}, 400, "bad request body: upstream: 'nowhere' is not"),
        ({"name": "x", "upstream": "a:1", "listen": "b:x"}, 400, "bad request body: listen: "),
        ({"name": "a/b", "upstream": "a:1"}, 400, "bad request body: name: 'a/b' has other"),
        ({"name": "x", "upstream": "a:1", "enabled": 3}, 400, "bad request body: enabled: "),
        ({"name": "x", "upstream": "a:1", "network": "no"}, 400, "bad request body: network: no"),
        (
            {"name": "x", "upstream": "a:1", "mode": "no"},
            400,
            "bad request body: mode: 'no' is not",
        ),
        ({"name": "one", "upstream": "a:1"}, 409, "proxy already exists"),
        (b" " * (1 << 20) + b"{}", 413, "bad request body: more than 1048576 bytes"),
    ],
    "POST /proxies/one": [
        ({"upstream": "nowhere"}, 400, "bad request body: upstream: 'nowhere' is not"),
        ({"enabled": "maybe"}, 400, "bad request body: enabled: "),
        ("one", 400, "bad request body: an object is expected"),
    ],
    "POST /proxies/one/toxics": [
        (b"{", 400, "bad request body: "),
        ({}, 400, "invalid toxic type"),
        ({"type": ["latency"]}, 400, "invalid toxic type"),
        ({"type": "latancy"}, 400, "invalid toxic type"),
        ({"type": "latency", "stream": "up"}, 400, "stream was invalid, can be either"),
        ({"type": "latency", "toxicity": 2}, 400, "bad request body: toxicity: Expected"),
        ({"type": "latency", "attributes": 5}, 400, "bad request body: attributes: "),
        (
            {"type": "latency", "attributes": {"latancy": 5}},
            400,
            "bad request body: attributes.latancy: latency has no such attribute, did you mean lat",
        ),
        (
            {"type": "latency", "attributes": {"latency": -1}},
            400,
            "bad request body: attributes.latency: Expected `int` >= 0",
        ),
        (
            {"type": "latency", "attributes": {"latency": 10**30}},
            400,
            "bad request body: attributes.latency: ",
        ),
        ({"type": "slicer"}, 400, "bad request body: attributes: Object missing required field"),
        (
            {"type": "slicer", "attributes": {"average_size": 5, "size_variation": 5}},
            400,
            "bad request body: attributes.size_variation: Expected fewer bytes than average_size",
        ),
        ({"type": "latency", "name": "a/b"}, 400, "bad request body: name: 'a/b' has a slash"),
        ({"type": "latency", "for_seconds": 0}, 400, "bad request body: for_seconds: a time above"),
        ({"type": "latency", "name": "there"}, 409, "toxic already exists"),
    ],
    "PATCH /proxies/one/toxics/there": [
        ({"toxicity": "often"}, 400, "bad request body: toxicity: "),
        ({"attributes": {"jitter": "x"}}, 400, "bad request body: attributes.jitter: "),
        ({"attributes": [1]}, 400, "bad request body: an object is expected"),
    ],
    "POST /populate": [
        ({}, 400, "bad request body: a list of proxies is expected"),
        ([1], 400, "bad request body: an object is expected"),
        ([{"upstream": "a:1"}], 400, "missing required field: name at proxy 1"),
        ([{"name": ["x"], "upstream": "a:1"}], 400, "bad request body: name: "),
        ([{"name": "x", "upstream": "a"}], 400, "bad request body: upstream: "),
    ],
    "GET /nowhere": [(None, 404, "not found")],
    "GET /": [(None, 404, "not found")],
    "GET /proxies/one/toxics/there/more": [(None, 404, "not found")],
    "GET /proxies/none": [(None, 404, "proxy not found")],
    "GET /proxies/none/toxics": [(None, 404, "proxy not found")],
    "POST /proxies/none/toxics": [(None, 404, "proxy not found")],
    "GET /proxies/one/toxics/none": [(None, 404, "toxic not found")],
    "DELETE /proxies/one/toxics/none": [(None, 404, "toxic not found")],
    "DELETE /proxies/none": [(None, 404, "proxy not found")],
    "PUT /proxies": [(None, 405, "method not allowed, there is GET, POST")],
    "DELETE /reset": [(None, 405, "method not allowed, there is POST")],
}


def test_invalid_requests_get_an_error_message(serving: Serving):
    """Whatever the body, the answer is JSON with toxiproxy's code, and all is as it was."""
    there = {"type": "latency", "name": "there", "attributes": {"latency": 1}}
    one = {"name": "one", "listen": 0, "upstream": "127.0.0.1:1", "faults": [there]}
    serving.start(proxies=[one])
    before = serving.ask("GET", "/proxies")
    for request, bodies in BODIES.items():
        for body, status, words in bodies:
            code, answer = serving.ask(*request.split(), body)
            assert (code, answer["status"]) == (status, status), (request, body, answer)
            assert answer["error"].startswith(words), (request, body, answer)
    assert serving.ask("GET", "/proxies") == before
    assert "Traceback" not in serving.log


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8474"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "[::1]:8474"}, 200),
        ({"Host": "10.1.2.3:8474"}, 200),
        ({"Host": "rebound.example:8474"}, 403),
        ({"Host": "localhost.example"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://127.0.0.1:8474"}, 403),
        ({"Origin": "null"}, 403),
        ({"User-Agent": "Mozilla/5.0"}, 403),
    ],
)
def test_requests_from_a_web_page_are_refused(
    serving: Serving, headers: dict[str, str], status: int
):
    """A browser lets any page send to 127.0.0.1, also by a name that resolves to it."""
    serving.start(proxies=[])
    code, answer = serving.ask("GET", "/proxies", headers=headers)
    assert code == status
    assert (code == 200) is (answer == {})


def test_an_endless_body_is_not_buffered(serving: Serving):
    """It is dropped as it comes, and its sender cut off."""
    serving.start(proxies=[])
    host, _, port = serving.api.partition(":")
    with socket.create_connection((host, int(port)), 20) as client:
        head = b"POST /proxies HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n"
        client.sendall(head)
        sent = 0
        with suppress(OSError):  # reset, or a broken pipe
            while sent < 1 << 30:
                sent += client.send(bytes(1 << 16))
    assert sent < 64 << 20


def test_a_unix_socket_is_for_this_user_alone(serving: Serving, tmp_path: Path):
    """If the address is a path; a socket that a crash left there does not matter."""
    path = tmp_path / "control.sock"
    serving.start(control=str(path), proxies=[])
    assert path.stat().st_mode & 0o777 == 0o600
    assert serving.ask("GET", "/version")[0] == 200
    serving.loop.call(serving.service.stopService)
    assert not path.exists()


def test_the_api_moves_with_the_config(serving: Serving):
    """SIGHUP lets it listen elsewhere, or nowhere."""
    first, second = free_port(), free_port()
    one = {"name": "one", "listen": 0, "upstream": "127.0.0.1:1"}
    serving.start(control=first, proxies=[one])
    serving.configure(control=second, proxies=[one])
    serving.hang_up()
    wait_until("the first is free", lambda: refuses(first))
    wait_until("the second listens", lambda: not refuses(second))
    serving.configure(proxies=[one])
    serving.hang_up()
    wait_until("nobody listens", lambda: refuses(second))


def test_a_taken_port_is_an_error_at_start(serving: Serving):
    """With its words, and nothing left open."""
    from lbcproxy.control.port import CannotControl

    with listening() as server:
        port = server.getsockname()[1]
        with pytest.raises(CannotControl, match=f"cannot listen at 127.0.0.1:{port}: Address al"):
            serving.start(control=port, proxies=[])
