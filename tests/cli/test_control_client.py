"""Commands that ask a control API, met by servers that are none: a sentence, never a traceback."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from lbcproxy.cli import control_client
from lbcproxy.cli.main import _run
from tests.nodes import free_port
from tests.tools import TIMEOUT


class Server:
    """A server that is not lbcproxy: a function answers each connection."""

    def __init__(self, answer: Callable[[socket.socket], object], family: str = "") -> None:
        if family:
            self._listening = socket.socket(socket.AF_UNIX)
            self._listening.bind(family)
            self._listening.listen()
            self.address = family
        else:
            self._listening = socket.create_server(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._answer = answer
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(TIMEOUT)
                self._answer(connection)

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(TIMEOUT)


def says(data: bytes) -> Callable[[socket.socket], object]:
    """Answer whatever is asked with some bytes, and close."""

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    return answer


def http(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """An HTTP answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.fixture
def serve():
    """Start a server; it is stopped in the end."""
    made: list[Server] = []

    def start(answer: Callable[[socket.socket], object], family: str = "") -> str:
        made.append(Server(answer, family))
        return made[-1].address

    yield start
    for each in made:
        each.close()


COMMANDS = {
    "status": ["record"],
    "status of one": ["record", "status", "main"],
    "on": ["record", "on"],
    "off": ["record", "off", "main"],
    "dump": ["record", "dump"],
    "intercept": ["intercept"],
    "a filter": ["intercept", "ping"],
    "release": ["intercept", "--release", "1"],
    "edit": ["intercept", "--edit", "1", "nonce=1"],
}
every_command = pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
PAGE = b"<!DOCTYPE html><html><body>\x1b[31mIt works!</body></html>"
FOREIGN = "is not a control API of lbcproxy: "
SHAPE = FOREIGN + "its answer is not what lbcproxy answers"
ANSWERS = {
    "a page": (http(PAGE, kind="text/html"), SHAPE),
    "a page that is not there": (http(PAGE, "404 Not Found", "text/html"), SHAPE),
    "a failure": (http(b"", "500 Oops"), SHAPE),
    "a redirect": (
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        FOREIGN + "it answers with HTTP status 302",
    ),
    "a status of its own": (http(b"{}", "999 Odd"), FOREIGN + "it answers with HTTP status 999"),
    "text": (http(b"pong", kind="text/plain"), SHAPE),
    "a list": (http(b"[1, 2]"), SHAPE),
    "a number": (http(b"7"), SHAPE),
    "wrong names": (http(b'{"main": {"enabled": true}, "filter": 5}'), SHAPE),
    "wrong types": (
        http(
            json.dumps(
                {
                    "enabled": "yes",
                    "peers": [],
                    "file": 5,
                    "ring": None,
                    "sessions": {},
                    "filter": "x",
                    "timeout": "long",
                    "after": 1,
                    "held": [{"number": "one"}],
                    "written": "many",
                }
            ).encode()
        ),
        SHAPE,
    ),
    "nested": (http(b"[" * 100_000), SHAPE),
    "no UTF-8": (http(b'{"\xff": 1}'), SHAPE),
    "an error of another form": (http(b'{"error": {"code": 5}}', "400 Bad"), SHAPE),
    "garbage": (bytes(range(256)) * 10, FOREIGN + "it does not answer in HTTP"),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", FOREIGN + "it does not answer in HTTP"),
    "a long line": (b"HTTP/1.1 200 " + b"x" * 100_000, FOREIGN + "it does not answer in HTTP"),
    "many headers": (
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500 + b"\r\n",
        FOREIGN + "it does not answer in HTTP",
    ),
    "nothing": (b"", "Remote end closed connection without response"),
    "a part": (http(b"{}")[:-1], "the answer is cut off"),
    "a broken chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        FOREIGN + "it does not answer in HTTP",
    ),
}


@every_command
@pytest.mark.parametrize("name", ANSWERS)
def test_a_foreign_server_is_reported_in_a_sentence(serve, capsys, words, name):
    """Whatever it answers; nothing of it reaches the terminal as it came."""
    data, why = ANSWERS[name]
    address = serve(says(data))
    assert _run([words[0], "--control", address, *words[1:]]) == 1
    out, err = capsys.readouterr()
    [line] = err.splitlines()
    assert line.startswith("lbcproxy: ")
    assert address in line
    assert why in line
    assert "\x1b" not in out + err
    assert out == ""


@pytest.mark.parametrize("words", [["record", "on"], ["record", "off"]])
def test_recording_without_a_proxy_is_an_error(serve, capsys, words):
    """An empty answer may come from lbcproxy without proxies, or from another server."""
    address = serve(says(http(b"{}")))
    assert _run([words[0], "--control", address, *words[1:]]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"lbcproxy: there is no proxy at {address}: nothing is recorded\n")


@every_command
def test_an_endless_response_is_bounded(serve, capsys, monkeypatch, words):
    """Neither a long one, nor one of unknown length."""
    monkeypatch.setattr(control_client, "MAX_RESPONSE", 1 << 16)

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n[")
        while True:
            connection.sendall(b"1," * 10_000)

    assert _run([words[0], "--control", serve(answer), *words[1:]]) == 1
    assert "its answer is longer than" in capsys.readouterr().err


def drip(connection: socket.socket, data: bytes, ending: threading.Event) -> None:
    """Send a byte now and then."""
    connection.recv(65536)
    connection.sendall(data)
    while not ending.wait(0.05):
        connection.sendall(b"a")


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [b"", b"HTTP/1.1 200 OK\r\nX-", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"],
    ids=["silent", "headers", "body", "continue"],
)
@pytest.mark.parametrize("dripping", [True, False])
@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_a_slow_server_is_given_up_after_the_timeout(
    serve, capsys, tmp_path, monkeypatch, data, dripping, family
):
    """The timeout is for the complete response: sending a byte now and then does not extend it."""
    ending = threading.Event()

    def answer(connection: socket.socket) -> None:
        if dripping:
            drip(connection, data, ending)
        else:
            connection.recv(65536)
            connection.sendall(data)
            ending.wait(TIMEOUT)

    monkeypatch.setattr(control_client, "RESPONSE_TIMEOUT", 0.3)
    address = serve(answer, str(tmp_path / "socket") if family == "unix" else "")
    assert _run(["record", "--control", address]) == 1
    ending.set()
    [line] = capsys.readouterr().err.splitlines()
    assert f"no control API at {address}: no answer in 0.3 s" in line


def test_a_missing_server_is_reported(tmp_path, capsys):
    """A port, a socket, a file that is none, and a folder."""
    port = free_port()
    file = tmp_path / "file"
    file.write_text("")
    for address in (f"127.0.0.1:{port}", str(tmp_path / "none"), str(file), f"{tmp_path}/"):
        assert _run(["intercept", "--control", address]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"lbcproxy: no control API at {address}: ")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:99999999999", "a:\u00b2", "a b:80"],
)
def test_a_malformed_address_is_a_usage_error(address, capsys):
    """Said before anything is asked."""
    assert _run(["record", "--control", address]) == 2
    assert "is not HOST:PORT, or a path with a slash" in capsys.readouterr().err


def test_an_unresolvable_host_is_reported(capsys):
    """It fails in the encoding of names, long before any network."""
    assert _run(["record", "--control", f"{'x' * 100}.invalid:80"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("lbcproxy: ")


def test_an_error_of_the_api_is_printed_as_it_is(serve, capsys):
    """Cleaned of what a terminal would act on."""
    body = json.dumps({"error": "proxy not found\x1b[2J", "status": 404}).encode()
    assert _run(["record", "--control", serve(says(http(body, "404 Not Found")))]) == 1
    assert capsys.readouterr().err == "lbcproxy: proxy not found\\x1b[2J\n"


def test_names_from_the_server_are_escaped(serve, capsys):
    """They are its own."""
    session = {"session": 1, "client": "a\x1b[2J", "upstream": "b", "file": "c\x07", "ring": 0}
    state = {"enabled": True, "peers": {}, "file": "d\x1b", "ring": 0, "sessions": [session]}
    body = json.dumps({"main\x1b[31m": state}).encode()
    assert _run(["record", "--control", serve(says(http(body)))]) == 0
    out = capsys.readouterr().out
    assert "main\\x1b[31m: on, into d\\x1b" in out
    assert "\x1b" not in out
