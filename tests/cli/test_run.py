"""`lbcproxy run`, as a program of its own: what it refuses, prints, records, and how it ends."""

import http.client
import json
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.filters import parse
from lbcproxy.peer import NonceCache, Peer, PeerConfig
from lbcproxy.wire.envelope import frame
from tests.cli.pong_server import MAGIC, PING, PONG, PongServer
from tests.echo import Echo
from tests.live.proxies import Client
from tests.nodes import wait_until
from tests.proxy.encrypted_sockets import EncryptedSocket
from tests.tools import TIMEOUT


class Program:
    """A running `lbcproxy run` and what it prints, line by line, as it comes."""

    def __init__(self, folder, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lbcproxy", "run", "--network", "lbry-regtest", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.printed = {"out": b"", "err": b""}
        self._news = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._read, args=(name, pipe), daemon=True)
            for name, pipe in (("out", self.process.stdout), ("err", self.process.stderr))
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, name, pipe):
        while data := pipe.read1(65536):
            self._news.put((name, data))

    def wait_for(self, pattern, stream="out"):
        """Wait until something is printed that a pattern describes, and return the match."""
        deadline = time.monotonic() + TIMEOUT
        while not (found := re.search(pattern.encode(), self.printed[stream])):
            try:
                name, data = self._news.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"{pattern!r} was not printed: {self.printed}")
            self.printed[name] += data
        return found

    def address(self, stream="out"):
        """Return where it listens, once it does."""
        found = self.wait_for(r"listening at ([\d.]+):(\d+), forwarding to [\d.:]+\n", stream)
        return found[1].decode(), int(found[2])

    def end(self, number=None):
        """Send a signal, if one is given, wait for the end, and return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(TIMEOUT)
        for thread in self._threads:
            thread.join(TIMEOUT)
        while not self._news.empty():
            name, data = self._news.get()
            self.printed[name] += data
        return code

    def text(self, stream="out"):
        """Return what was printed, as text."""
        return self.printed[stream].decode()

    def close(self):
        """Clean up."""
        if self.process.poll() is None:
            self.process.kill()
        self.end()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def node():
    """Run a server as the upstream."""
    node = PongServer()
    yield node
    node.close()


@pytest.fixture
def program(tmp_path, node):
    """Start `lbcproxy run` with the node as upstream, with more arguments."""
    started = []

    def start(*arguments):
        mode = f"reverse:127.0.0.1:{node.port}@0"
        started.append(Program(tmp_path, "--mode", mode, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.close()


def talk(address):
    """Be a client: send a `ping`, wait for the `pong`, close."""
    with socket.create_connection(address, TIMEOUT) as connection:
        connection.sendall(PING)
        got = b""
        while len(got) < len(PONG):
            data = connection.recv(65536)
            assert data, "the connection ended before the answer was there"
            got += data
    assert got == PONG


@pytest.mark.slow
def test_a_session_is_shown_and_recorded(program, tmp_path):
    """Who connected, which messages passed, how it ended, and a complete recording."""
    proxy = program()
    talk(proxy.address())
    end = proxy.wait_for(r"\[#1 127\.0\.0\.1:\d+\] end: (.+)\n")
    assert end[1] == b"client closed; 2 messages, 32 B up, 32 B down, no handshake"
    assert proxy.end(signal.SIGTERM) == 0
    assert proxy.text("err") == ""
    shown = [line for line in proxy.text().splitlines() if line.startswith("#")]
    assert shown == [
        "#1   -> ping                8B  nonce=0100000000000000",
        "#1   <- pong                8B  nonce=0100000000000000",
    ]
    [path] = (tmp_path / "captures").iterdir()
    assert re.fullmatch(r"\d{8}-\d{6}-lbry-regtest\.pcapng", path.name)
    assert [entry.raw for entry in open_capture(path)] == [PING, PONG]
    assert f"] recording to captures/{path.name}\n" in proxy.text()
    assert proxy.text().endswith(
        f"stopped: 1 sessions, 2 messages; recorded in captures/{path.name}\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_in_order(program, number, code):
    """An open session is ended and recorded to its end; the exit code tells the signal."""
    proxy = program("-w", "open.pcapng")
    address = proxy.address()
    with socket.create_connection(address, TIMEOUT) as connection:
        connection.sendall(PING)
        proxy.wait_for("<- pong ")
        assert proxy.end(number) == code
        assert connection.recv(65536) in (PONG, b"")
    assert "] end: proxy stopped; 2 messages, " in proxy.text()
    assert "recorded in open.pcapng" in proxy.text().splitlines()[-1]


@pytest.mark.slow
def test_with_a_recording_on_standard_output_text_goes_to_standard_error(program, tmp_path):
    """So that it can be piped into Wireshark."""
    proxy = program("-w", "-")
    talk(proxy.address("err"))
    proxy.wait_for("end: client closed", "err")
    assert proxy.end(signal.SIGTERM) == 0
    path = tmp_path / "piped.pcapng"
    path.write_bytes(proxy.printed["out"])
    assert [entry.raw for entry in open_capture(path)] == [PING, PONG]
    assert "#1   -> ping " in proxy.text("err")
    assert not (tmp_path / "captures").exists()


@pytest.mark.slow
def test_a_pipe_gets_each_message_as_it_passes(program):
    """Wireshark shows a session while it lasts, not after."""
    proxy = program("-w", "-")
    with socket.create_connection(proxy.address("err"), TIMEOUT) as connection:
        connection.sendall(PING)
        proxy.wait_for("ping" + r"\0" * 8)
        assert proxy.process.poll() is None


@pytest.mark.slow
def test_with_objects_on_standard_output_the_log_goes_to_standard_error(program):
    """Every line is JSON; the log goes to standard error."""
    proxy = program("-T", "ndjson", "-x")
    talk(proxy.address("err"))
    proxy.wait_for("end: client closed", "err")
    assert proxy.end(signal.SIGTERM) == 0
    found = [json.loads(line) for line in proxy.text().splitlines()]
    assert [(each["direction"], each["command"]) for each in found] == [
        ("to_upstream", "ping"),
        ("to_client", "pong"),
    ]
    assert found[0]["message"] == {"nonce": 1 << 56}
    assert found[0]["payload"] == PING[24:].hex()


@pytest.mark.slow
@pytest.mark.parametrize("legs", ["client", "both"])
def test_a_filter_chooses_what_is_printed_and_all_is_recorded(program, node, tmp_path, legs):
    """The recording is for later questions, between whom it was too."""
    proxy = program("--legs", legs, "-w", "all.pcapng", "pong.nonce", ">", "0", "and", "size == 8")
    talk(proxy.address())
    proxy.wait_for("end: client closed")
    assert proxy.end(signal.SIGTERM) == 0
    lines = [line for line in proxy.text().splitlines() if line.startswith("#")]
    assert [line.split()[1:3] for line in lines] == [["<-", "pong"]]
    capture = open_capture(tmp_path / "all.pcapng")
    wanted = parse(
        f'upstream == "127.0.0.1:{node.port}" and client =~ "^127" and listen != upstream'
    )
    found = [
        (entry.raw, wanted(entry, capture.stats.open_sessions.get(entry.session)))
        for entry in capture
    ]
    assert found == [(PING, True), (PONG, True)]


@pytest.mark.slow
@pytest.mark.parametrize(("text", "shown"), [("tx.outputs", True), ("tx and size > 3", False)])
def test_a_filter_by_fields_sees_complete_long_messages(program, text, shown):
    """What asks for fields holds a long message; what asks for its header lets it through."""
    script = bytes(10_000)  # the longest a script may be: ten inputs make a long message
    spent = bytes(36) + b"\xfd" + len(script).to_bytes(2, "little") + script + bytes(4)
    output = bytes(8) + b"\x01\x51"
    tx = frame(MAGIC, "tx", bytes(4) + b"\x0a" + spent * 10 + b"\x01" + output + bytes(4))
    proxy = program("--no-record", text)
    with socket.create_connection(proxy.address(), TIMEOUT) as connection:
        connection.sendall(tx)
        proxy.wait_for("#1   -> tx ")
    proxy.wait_for("end: client ")
    assert proxy.end(signal.SIGTERM) == 0
    assert ("(long, not read)" in proxy.text()) is not shown


@pytest.mark.slow
def test_faults_act_on_encrypted_sessions_too(tmp_path):
    """With the same lines."""
    with closing(Echo(encrypts=True)) as node:
        mode = f"reverse:127.0.0.1:{node.port}@0"
        faults = ("--fault", "drop filter=ping stream=downstream", "--fault", "latency latency=1")
        with closing(Program(tmp_path, "--mode", mode, *faults, "--no-record")) as proxy:
            with socket.create_connection(proxy.address(), TIMEOUT) as connection:
                client = EncryptedSocket(connection, initiating=True).shake_hands()
                client.sendall(PING)
                proxy.wait_for(r"#1   <- ping +8B  .* drop:drop_downstream")
                client.check_wire()
            proxy.wait_for("end: client closed")
            assert "faults: latency_downstream" in proxy.text()
            assert proxy.end(signal.SIGTERM) == 0


@pytest.mark.slow
def test_faults_come_from_the_command_line(program):
    """In the place of what a file has; the line says which did what."""
    proxy = program("--fault", "drop filter=pong", "--fault", "latency latency=1", "--no-record")
    with socket.create_connection(proxy.address(), TIMEOUT) as connection:
        connection.sendall(PING)
        proxy.wait_for(r"#1   <- pong +8B  .* drop:drop_both")
    proxy.wait_for("end: client closed")
    assert "faults: latency_downstream" in proxy.text()
    assert proxy.end(signal.SIGTERM) == 0


@pytest.mark.slow
def test_quiet_prints_the_log_but_no_messages(program):
    """For a proxy that only records."""
    proxy = program("-q")
    talk(proxy.address())
    proxy.wait_for("end: client closed")
    assert proxy.end(signal.SIGTERM) == 0
    assert not [line for line in proxy.text().splitlines() if line.startswith("#")]


@pytest.mark.slow
def test_recording_can_be_turned_off(program, tmp_path):
    """Nothing is written, and the farewell names no file."""
    proxy = program("--no-record")
    talk(proxy.address())
    proxy.wait_for("end: client closed")
    assert proxy.end(signal.SIGTERM) == 0
    assert list(tmp_path.iterdir()) == []
    assert proxy.text().endswith("stopped: 1 sessions, 2 messages\n")


@pytest.mark.slow
def test_both_legs_are_recorded_when_asked(program, tmp_path):
    """The reader gives each message once anyway."""
    proxy = program("-w", "both.pcapng", "--legs", "both")
    talk(proxy.address())
    proxy.wait_for("end: client closed")
    assert proxy.end(signal.SIGTERM) == 0
    path = tmp_path / "both.pcapng"
    assert path.read_bytes().count(PING) == 2
    assert [entry.raw for entry in open_capture(path)] == [PING, PONG]


@pytest.mark.slow
def test_a_recording_is_continued(program, tmp_path):
    """A second run adds to the file; both are read."""
    for _ in range(2):
        proxy = program("-w", "same.pcapng")
        talk(proxy.address())
        proxy.wait_for("end: client closed")
        assert proxy.end(signal.SIGTERM) == 0
    assert "] continuing same.pcapng\n" in proxy.text()
    assert [entry.raw for entry in open_capture(tmp_path / "same.pcapng")] == [PING, PONG] * 2


class Shown:
    """The callbacks of an upstream: what it was shown, and the pings it got."""

    def __init__(self):
        self.versions = []
        self.pings = []

    def on_version(self, peer, record):
        """Store the identity that the other node claims."""
        self.versions.append(record)

    def on_ping(self, peer, record):
        """Keep its number."""
        self.pings.append(record.nonce)


@pytest.mark.slow
def test_the_upstream_sees_the_identity_of_the_options(tmp_path, loop):
    """All that is said of terminate mode reaches it, and the client's pings do."""
    shown, network = Shown(), networks.get("lbry-regtest")
    options = {"clock": loop.reactor, "callbacks": shown, "nonces": NonceCache()}
    node = loop.listen(lambda: Peer(PeerConfig(network=network), **options))
    said = ("--user-agent", "/us:1/", "--services", "9", "--protocol-version", "70012")
    more = ("--height", "4", "--relay", "--pass-pings", "--no-record")
    mode = f"terminate:127.0.0.1:{node.getHost().port}@0"
    proxy = Program(tmp_path, "--mode", mode, *said, *more)
    try:
        with Client(network, proxy.address()[1]) as client:
            client.greet()
            assert client.ping(77) == 77
    finally:
        proxy.close()
        loop.call(node.stopListening)
    [version] = shown.versions
    assert (version.user_agent, version.services, version.version) == (b"/us:1/", 9, 70012)
    assert (version.start_height, version.relay) == (4, True)
    assert shown.pings == [77]


@pytest.mark.slow
def test_an_upstream_that_is_not_there_ends_the_session(tmp_path):
    """The client sees a reset, the operator sees the reason, and the proxy goes on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    proxy = Program(tmp_path, "--mode", f"reverse:127.0.0.1:{port}@0")
    try:
        with socket.create_connection(proxy.address(), TIMEOUT) as connection:
            connection.settimeout(TIMEOUT)
            with pytest.raises(ConnectionResetError):
                connection.recv(65536)
        proxy.wait_for(r"end: upstream unreachable: ")
        assert proxy.process.poll() is None
        assert proxy.end(signal.SIGTERM) == 0
    finally:
        proxy.close()


@pytest.mark.slow
def test_a_busy_port_is_an_error(tmp_path):
    """Exit code 1, naming the address and the reason."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        proxy = Program(tmp_path, "--mode", f"reverse:127.0.0.1:1@{port}")
        try:
            assert proxy.end() == 1
        finally:
            proxy.close()
    first, hint = proxy.text("err").splitlines()
    assert first == f"lbcproxy: cannot listen at 127.0.0.1:{port}: Address already in use"
    assert hint.startswith("Hint: ")


MODE = ("--mode", "reverse:127.0.0.1:1@0")
NETWORK = ("--network", "lbry-regtest")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (MODE, "--network: choose a network"),
        (NETWORK, "nothing to listen at: use --mode, or a config file with -c"),
        ((*NETWORK, *MODE, "--extra"), "No such option"),
        ((*NETWORK, *MODE, "--fault", "latncy"), "--fault: type: 'latncy' is not a type of fault"),
        ((*NETWORK, *MODE, *2 * ("--fault", "drop")), "another fault has the name 'drop_both'"),
        *(
            (
                (*NETWORK, "--mode", "terminate:127.0.0.1:1@0", "--fault", fault),
                f"packets, so there is nothing for {fault} to act on",
            )
            for fault in ("latency", "tag", "handshake")
        ),
        (("--network", "nope", *MODE), "no network 'nope'; known: bitcoin-mainnet, "),
        ((*NETWORK, "--mode", "forward@1080"), "'forward' is not among reverse"),
        ((*NETWORK, "--mode", "reverse:host:1"), "write reverse:HOST:PORT[,...]@[HOST:]PORT"),
        ((*NETWORK, "--mode", "reverse:9246@9246"), "'9246' names no host to connect to"),
        ((*NETWORK, "--mode", "reverse:host:0@1"), "0 is not a TCP port"),
        ((*NETWORK, "--mode", "reverse:host:1@65536"), "65536 is not a TCP port"),
        ((*NETWORK, "--mode", "reverse:::1:9246@1"), "is not HOST:PORT (IPv6 as [::1]:9246)"),
        ((*NETWORK, *MODE, "--no-record", "-w", "x"), "--no-record and -w exclude each other"),
        ((*NETWORK, *MODE, "--legs", "three"), "'three' is not one of"),
        ((*NETWORK, *MODE, "-T", "fields"), "-T fields needs at least one -e PATH"),
        ((*NETWORK, *MODE, "--dial-timeout", "0"), "--dial-timeout: a time above 0 is expected"),
        ((*NETWORK, *MODE, "--user-agent", "x" * 257), "257 bytes, at most 256 are allowed"),
        *(
            ((*NETWORK, *MODE, *option), "it has no effect without a proxy of mode terminate")
            for option in (
                ("--user-agent", ""),
                ("--services", "0"),
                ("--protocol-version", "70013"),
                ("--height", "0"),
                ("--relay",),
                ("--no-relay",),
                ("--pass-pings",),
            )
        ),
    ],
)
def test_wrong_usage_says_what_is_wrong(lbcproxy, tmp_path, monkeypatch, arguments, text):
    """Exit code 2 and a hint, before anything starts."""
    monkeypatch.chdir(tmp_path)
    ended = lbcproxy("run", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert text in ended.err
    assert ended.err.splitlines()[-1] == "Hint: see `lbcproxy run --help`"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_a_capture_is_not_overwritten(lbcproxy, tmp_path):
    """A slip of the keyboard must not cost a file."""
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader")
    ended = lbcproxy("run", *NETWORK, *MODE, "-w", path)
    assert (ended.code, ended.out) == (1, "")
    assert "exists and is not a pcapng: it is not overwritten" in ended.err
    assert path.read_text() == "Dear reader"


@pytest.mark.slow
def test_a_control_api_alone_is_enough_to_run(tmp_path):
    """Its clients create the proxies."""
    log = tmp_path / "output.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "lbcproxy",
                "run",
                "--network",
                "lbry-regtest",
                "--control",
                "0",
            ],
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        found = wait_until(
            "it listens", lambda: re.search(r"control: listening at (\S+)", log.read_text())
        )
        connection = http.client.HTTPConnection(found[1], timeout=TIMEOUT)
        body = '{"name": "one", "upstream": "127.0.0.1:1"}'
        connection.request("POST", "/proxies", body)
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["enabled"]) == (201, True)
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()
