"""`twistd` and `lbcproxy run -c`, as programs of their own: what signals change, and what not."""

import re
import signal
import socket
from contextlib import closing

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.wire.envelope import frame
from tests.echo import Echo
from tests.nodes import wait_until
from tests.proxy.encrypted_sockets import EncryptedSocket
from tests.services import RUN, TWISTD, Service, streams
from tests.tools import TIMEOUT

pytestmark = pytest.mark.slow

MAGIC = networks.get("lbry-regtest").magic
COMMANDS = {"twistd": TWISTD, "run": RUN}
each_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


def ping(number):
    """A message that nobody else sends."""
    return frame(MAGIC, "ping", number.to_bytes(8, "little"))


def swap(connection, number):
    """Have a message echoed through the proxy."""
    connection.sendall(ping(number))
    got = b""
    while len(got) < len(ping(number)):
        data = connection.recv(65_536)
        assert data, "the session has ended"
        got += data
    assert got == ping(number)


@pytest.fixture
def echo():
    """Run a node that sends everything back."""
    node = Echo()
    yield node
    node.close()


@pytest.fixture
def config(echo):
    """A config with one proxy, called one, whose upstream is the node."""
    proxy = {"name": "one", "listen": 0, "upstream": f"127.0.0.1:{echo.port}"}
    return {"network": "lbry-regtest", "record": "it.pcapng", "proxies": [proxy]}


@pytest.fixture
def start(tmp_path):
    """Start a service in the test's folder; it is ended with the test."""
    started = []

    def begin(config, command=TWISTD):
        started.append(Service(tmp_path, config, command))
        return started[-1]

    yield begin
    for each in started:
        each.close()


def connect(port):
    """Connect, with a deadline for everything."""
    return closing(socket.create_connection(("127.0.0.1", port), TIMEOUT))


def to_node(config, node):
    """The same config with another node as the upstream."""
    return {**config, "proxies": [{**config["proxies"][0], "upstream": f"127.0.0.1:{node.port}"}]}


def another(config, name="two"):
    """A config with one more proxy."""
    return {**config, "proxies": [*config["proxies"], {**config["proxies"][0], "name": name}]}


@each_command
def test_a_listener_is_added_and_nothing_else_happens(start, config, command):
    """The session that is open does not notice; both are recorded."""
    service = start(config, command)
    with connect(service.ports[0]) as old:
        swap(old, 1)
        service.configure(another(config))
        service.hang_up()
        with connect(service.ports[1]) as new:
            swap(new, 2)
            swap(old, 3)
            ends = [each.getsockname()[1] for each in (old, new)]
            assert " end: " not in service.output
            assert service.end() == 0
    passed = (ping(1) + ping(3), ping(2))
    found = streams(service.folder / "it.pcapng")
    assert found == {port: (data, data) for port, data in zip(ends, passed, strict=True)}


def test_a_proxy_that_is_removed_ends_its_sessions(start, config):
    """It is gone, port and all, and those that stay are left alone."""
    service = start(another(config))
    with connect(service.ports[0]) as kept, connect(service.ports[1]) as removed:
        swap(kept, 1)
        swap(removed, 2)
        service.configure(config)
        service.hang_up()
        assert removed.recv(1) == b""
        swap(kept, 3)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", service.ports[1]), TIMEOUT)
    service.said("proxy two stops: no longer configured")
    assert service.end() == 0


def test_a_proxy_with_another_upstream_is_restarted(start, config):
    """Its sessions end; new clients are connected to the new upstream."""
    service = start(config)
    other = Echo()
    with closing(other), connect(service.ports[0]) as old:
        swap(old, 1)
        moved = {**config["proxies"][0], "upstream": f"127.0.0.1:{other.port}"}
        service.configure({**config, "proxies": [moved]})
        service.hang_up()
        assert old.recv(1) == b""
        with connect(service.ports[1]) as new:
            swap(new, 2)
        assert other.received == [bytearray(ping(2))]
        assert service.end() == 0


def test_a_changed_limit_applies_to_new_clients(start, config):
    """What changed is applied, to whom it concerns."""
    service = start(config)
    with connect(service.ports[0]) as first, connect(service.ports[0]) as second:
        swap(first, 1)
        swap(second, 2)
        service.configure({**config, "max_sessions": 1})
        service.hang_up()
        with connect(service.ports[0]) as third:
            assert third.recv(1) == b""
        service.said(r"refused: there are 1 sessions already \(max_sessions\)")
        swap(first, 3)
        swap(second, 4)
    assert service.end() == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("network: lbry-regtest\nproxies: [\n", r"config\.yaml, line 3: not valid YAML: "),
        (
            "network: lbry-regtest\nmax_sesions: 1\nproxies:\n- {listen: 0, upstream: 'x:1'}\n",
            r"config\.yaml, line 2: max_sesions: unknown setting, did you mean max_sessions\?",
        ),
        (
            "network: lbry-regtest\nproxies:\n- listen: 0\n  upstream: 127.0.0.1\n",
            r"config\.yaml, line 4: proxies\[0\]\.upstream: ",
        ),
    ],
    ids=["not valid YAML", "unknown key", "no port"],
)
@each_command
def test_an_invalid_config_leaves_everything_as_it_was(start, config, text, says, command):
    """The operator reads where the mistake is; the traffic does not learn of it."""
    service = start(config, command)
    with connect(service.ports[0]) as connection:
        swap(connection, 1)
        (service.folder / "config.yaml").write_text(text)
        service.hang_up("the config is unchanged: ")
        service.said(says)
        swap(connection, 2)
        with connect(service.ports[0]) as another_one:
            swap(another_one, 3)
        assert len(service.ports) == 1
        service.configure({**config, "max_sessions": 1})
        service.hang_up()
    assert service.end() == 0


@each_command
def test_a_log_that_was_moved_is_reopened(start, config, command, tmp_path):
    """As logrotate does it: move the file, send SIGHUP."""
    service = start(config, command)
    log, port = tmp_path / "logs" / "proxy.log", service.ports[0]
    logged = {**config, "log_file": "logs/proxy.log", "log_json": True}
    service.configure(logged)
    service.process.send_signal(signal.SIGHUP)
    wait_until("the log is there", log.exists)
    with connect(port) as connection:
        swap(connection, 1)
        wait_until("the first session is logged", lambda: "[#1 " in log.read_text())
        log.rename(tmp_path / "old.log")
        service.process.send_signal(signal.SIGHUP)
        wait_until("there is a new log", log.exists)
        with connect(port) as second:
            swap(second, 2)
        wait_until("the second is in the new one", lambda: "[#2 " in log.read_text())
    assert service.end() == 0
    assert "[#2 " not in (tmp_path / "old.log").read_text()
    assert '"text":"stopped: 2 sessions' in log.read_text()


@each_command
def test_a_capture_that_was_moved_is_reopened(start, config, command, tmp_path):
    """Sessions that are open go on in the new file, which can be read without the old one."""
    service = start(config, command)
    with connect(service.ports[0]) as connection:
        swap(connection, 1)
        whole = tmp_path / "it.pcapng"
        wait_until("it is recorded", lambda: whole.read_bytes().count(ping(1)) == 2)
        whole.rename(tmp_path / "old.pcapng")
        service.hang_up()
        swap(connection, 2)
        port = connection.getsockname()[1]
        assert service.end() == 0
    assert streams(tmp_path / "old.pcapng") == {port: (ping(1), ping(1))}
    assert streams(whole) == {port: (ping(2), ping(2))}


def test_moved_files_are_reopened_even_if_the_config_is_invalid(start, config, tmp_path):
    """A log rotator does not know about the error, and moves the files away."""
    log, capture = tmp_path / "proxy.log", tmp_path / "it.pcapng"
    service = start({**config, "log_file": log.name})
    with connect(service.ports[0]) as connection:
        swap(connection, 1)
        for path in (log, capture):
            path.rename(path.with_suffix(".old"))
        (tmp_path / "config.yaml").write_text("nonsense")
        service.process.send_signal(signal.SIGHUP)
        wait_until("both are there", lambda: log.exists() and capture.exists())
        swap(connection, 2)
        assert service.end() == 0
    assert "stopped: 1 sessions" in log.read_text()
    assert list(streams(capture).values()) == [(ping(2), ping(2))]


def test_options_still_take_precedence_after_a_reload(start, config):
    """What was said on the command line holds until the end."""
    service = start(config, (*RUN, "-w", "flag.pcapng", "--max-sessions", "1"))
    with connect(service.ports[0]) as connection:
        swap(connection, 1)
        service.configure({**config, "max_sessions": 5})
        service.hang_up()
        with connect(service.ports[0]) as another_one:
            assert another_one.recv(1) == b""
        swap(connection, 2)
    assert service.end() == 0
    assert [each.name for each in service.folder.glob("*.pcapng")] == ["flag.pcapng"]


@each_command
def test_a_reload_without_changes_changes_nothing(start, config, command):
    """Files are reopened only if they were moved."""
    service = start(config, command)
    with connect(service.ports[0]) as connection:
        swap(connection, 1)
        service.hang_up()
        service.hang_up()
        swap(connection, 2)
        assert service.end() == 0
    assert [each.name for each in service.folder.glob("*.pcapng")] == ["it.pcapng"]
    assert [entry.session for entry in open_capture(service.folder / "it.pcapng")] == [1] * 4
    assert not re.search("settings changed|stops", service.output)


@each_command
def test_a_recording_that_fails_ends_it_as_a_failure(start, config, command):
    """With `record_failure: stop`; an init system starts what ended with 1 again, not with 0."""
    service = start({**config, "record": "/dev/full", "record_failure": "stop"}, command)
    assert service.process.wait(TIMEOUT) == 1
    service.said("No space left on device; all sessions are ended")


@each_command
def test_lost_messages_make_the_exit_code_a_failure(start, config, command):
    """The traffic went on; the exit code says that something is missing."""
    service = start({**config, "record": "/dev/full"}, command)
    with connect(service.ports[0]) as connection:
        swap(connection, 1)
        service.said("recording into /dev/full fails: No space left on device")
        swap(connection, 2)
    assert service.end() == 1
    service.said("were not recorded")


@pytest.mark.parametrize(("command", "encrypts"), [(TWISTD, False), (RUN, False), (RUN, True)])
def test_faults_change_without_ending_sessions(start, config, command, encrypts):
    """What waits in a fault that is gone from the file arrives, over either transport."""
    with closing(Echo(encrypts=encrypts)) as node:
        faults_change(start, to_node(config, node), command, encrypts)


def faults_change(start, config, command, encrypts):
    config = {**config, "control": "./control.sock", "seed": 7}
    service = start(config, command)
    service.said("control: listening at ./control.sock")
    with connect(service.ports[0]) as connection:
        client = connection
        if encrypts:
            client = EncryptedSocket(connection, initiating=True).shake_hands()
        swap(client, 1)
        hold = {"type": "latency", "attributes": {"latency": 3_600_000}}
        service.configure({**config, "proxies": [{**config["proxies"][0], "faults": [hold]}]})
        service.hang_up()
        service.said(r"proxy one: faults, of seed 7: latency_downstream \(latency 3600000, ")
        client.sendall(ping(2))
        service.configure(config)
        service.hang_up()
        assert client.recv(65_536) == ping(2)
        swap(client, 3)
        service.said("proxy one: no faults")
        assert service.end() == 0
        if encrypts:
            client.check_wire()
    assert not (service.folder / "control.sock").exists()
