"""Messages held by hand through the control API, and by the command that drives it."""

import subprocess
import sys

import pytest

from lbcproxy.wire.envelope import frame
from tests.nodes import wait_until
from tests.proxy.encrypted_sockets import connect_over
from tests.proxy.loops import listening
from tests.proxy.transports import NETWORK
from tests.tools import TIMEOUT

PONG = frame(NETWORK.magic, "pong", bytes(8))


def ping(nonce):
    return frame(NETWORK.magic, "ping", nonce.to_bytes(8, "little"))


def intercept(serving, *words, code=0):
    """Run the command against a service; return what it prints."""
    return serving.run("intercept", *words, code=code)


def waiting(serving, count):
    """Wait until so many messages are held, and return them."""

    def enough():
        held = serving.ask("GET", "/intercept")[1]["held"]
        return held if len(held) == count else None

    return wait_until(f"{count} messages are held", enough)


@pytest.mark.slow
@pytest.mark.parametrize("control", [0, "unix"])
def test_messages_are_held_released_edited_and_dropped(serving, control, transport):
    """From the command line, while the session is open."""
    address = 0 if control == 0 else str(serving.folder / "control.sock")
    with listening() as server:
        upstream = f"127.0.0.1:{server.getsockname()[1]}"
        serving.start(
            address,
            proxies=[{"listen": 0, "upstream": upstream}],
            record=str(serving.folder / "x.pcapng"),
        )
        port = int(serving.log.split("listening at 127.0.0.1:")[1].split(",")[0])
        with connect_over(transport, port, server) as (client, node):
            client.sendall(ping(1))
            assert node.recv(100) == ping(1)
            assert intercept(serving, "ping", "and", "ping.nonce > 1") == ""
            client.sendall(ping(1) + ping(2) + ping(3) + ping(4) + PONG)
            assert node.recv(100) == ping(1)
            [first] = [each for each in waiting(serving, 1) if each["command"] == "ping"]
            assert first["message"] == {"nonce": 2}
            assert "ping" in intercept(serving)
            intercept(serving, "--edit", first["number"], "nonce=99")
            assert node.recv(100) == ping(99)
            [second] = waiting(serving, 1)
            intercept(serving, "--drop", second["number"])
            [third] = waiting(serving, 1)
            intercept(serving, "--release", third["number"])
            read = b""
            while len(read) < len(ping(4) + PONG):
                read += node.recv(100)
            assert read == ping(4) + PONG
            client.sendall(ping(5))
            waiting(serving, 1)
            intercept(serving, "--off")
            assert node.recv(100) == ping(5)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"filter": "pign"}, "did you mean ping?"),
        ({"filter": 7}, "text is expected"),
        ({"timeout": 0}, "seconds above 0"),
        ({"timeout": True}, "seconds above 0"),
        ({"after": "explode"}, "release or drop"),
        ({"wat": 1}, "no setting 'wat'"),
        ([], "an object is expected"),
    ],
)
def test_wrong_settings_change_nothing(serving, body, words):
    """And the error says what is allowed."""
    serving.start(proxies=[])
    status, answer = serving.ask("POST", "/intercept", body)
    assert status == 400
    assert words in answer["error"]
    assert serving.ask("GET", "/intercept")[1] == {
        "filter": None,
        "timeout": 300.0,
        "after": "release",
        "held": [],
    }


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"do": "release"}, 404, "message 7 is not held"),
        ({"do": "edit"}, 404, "message 7 is not held"),
    ],
)
def test_a_message_that_is_not_held_cannot_be_decided_about(serving, body, status, words):
    """It may have been released in the meantime."""
    serving.start(proxies=[])
    found, answer = serving.ask("POST", "/intercept/7", body)
    assert found == status
    assert words in answer["error"]


@pytest.mark.slow
def test_the_command_prints_errors(serving):
    """With the text of the API, or that there is no server."""
    serving.start(proxies=[])
    assert "did you mean ping?" in intercept(serving, "pign", code=1)
    assert "message 3 is not held" in intercept(serving, "--drop", 3, code=1)
    assert "is not FIELD=VALUE" in intercept(serving, "--edit", 3, "nonce", code=2)
    intercept(serving, "ping", "--timeout", "5", "--after", "drop")
    state = serving.ask("GET", "/intercept")[1]
    assert (state["filter"], state["timeout"], state["after"]) == ("ping", 5.0, "drop")
    command = [sys.executable, "-m", "lbcproxy", "intercept", "--control", "127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 1
    assert "no control API at 127.0.0.1:1" in done.stderr
