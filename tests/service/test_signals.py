"""Two signals: the first ends in order, the second at once; under `twistd` and under `run`."""

import contextlib
import signal
import socket
import threading
import time
from contextlib import closing

import pytest

from lbcproxy import networks
from lbcproxy.wire.envelope import frame
from tests.echo import Echo
from tests.nodes import wait_until
from tests.services import RUN, TWISTD, Service, streams
from tests.tools import TIMEOUT

pytestmark = pytest.mark.slow

MAGIC = networks.get("lbry-regtest").magic
ONE = frame(MAGIC, "bulk", bytes(50_000))
LINGER = 5.0
"""Seconds that a node has to read what waits for it, once the proxy is to stop."""
COMMANDS = {"twistd": TWISTD, "run": RUN}
PATIENT = (
    "import functools; from lbcproxy.proxy import service; "
    "service.RelaySettings = functools.partial(service.RelaySettings, stop_linger=600.0); "
)
"""What has the proxy wait so long for such a node that only a second signal can end it in time."""
each_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


class Flood:
    """A client that sends as long as anybody takes it, and reads nothing."""

    def __init__(self, port):
        self.sent = 0
        self.connection = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.port = self.connection.getsockname()[1]
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self):
        with contextlib.suppress(OSError):
            while True:
                self.sent += self.connection.send(ONE[self.sent % len(ONE) :])

    def is_stuck(self):
        """Whether nothing has been taken for a moment."""
        before = self.sent
        time.sleep(0.1)
        return before and before == self.sent

    def close(self):
        """Stop sending."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(TIMEOUT)
        self.connection.close()


@pytest.fixture
def echo():
    """Run a node that reads nothing yet."""
    node = Echo(answers=False)
    node.reads.clear()
    yield node
    node.close()


@pytest.fixture
def start(tmp_path, echo):
    """Start a service whose upstream is the node."""
    started = []

    def begin(command, *, patient=True):
        proxy = {"listen": 0, "upstream": f"127.0.0.1:{echo.port}"}
        config = {"network": "lbry-regtest", "record": "it.pcapng", "proxies": [proxy]}
        started.append(Service(tmp_path, config, with_patience(command) if patient else command))
        return started[-1]

    yield begin
    for each in started:
        each.close()


@each_command
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_the_second_signal_ends_at_once(start, command, number, code):
    """A node that never reads holds up the first, as long as it may, and not the second."""
    service = start(command)
    with closing(Flood(service.ports[0])) as flood:
        wait_until("nothing is taken any more", flood.is_stuck)
        service.process.send_signal(number)
        wait_until("no more clients are taken", lambda: _refuses(service.ports[0]))
        assert service.process.poll() is None
        assert service.end(number) == code
    service.said("end: proxy stopped")
    up, _ = streams(service.folder / "it.pcapng")[flood.port]
    assert (ONE * (1 + len(up) // len(ONE))).startswith(up)
    assert len(up) > len(ONE)


@each_command
def test_the_first_signal_sends_what_has_been_received(start, command, echo):
    """What the capture says has passed arrives, though the node reads it late."""
    service = start(command)
    with closing(Flood(service.ports[0])) as flood:
        wait_until("nothing is taken any more", flood.is_stuck)
        service.process.send_signal(signal.SIGTERM)
        wait_until("no more clients are taken", lambda: _refuses(service.ports[0]))
        echo.reads.set()
        assert service.process.wait(TIMEOUT) == 0
        up, _ = streams(service.folder / "it.pcapng")[flood.port]
        wait_until("all has arrived", lambda: len(echo.received[0]) >= len(up))
    assert echo.received[0] == up


@each_command
def test_a_node_that_never_reads_delays_the_first_signal(start, command):
    """It has five seconds; an init system waits longer than that before it kills."""
    service = start(command, patient=False)
    with closing(Flood(service.ports[0])) as flood:
        wait_until("nothing is taken any more", flood.is_stuck)
        began = time.monotonic()
        assert service.end() == 0
        assert time.monotonic() - began > LINGER - 1
        assert flood.port in streams(service.folder / "it.pcapng")


def with_patience(command):
    """Return a command that starts the same with patience."""
    python, _, code, *rest = command
    code = "from lbcproxy.cli.main import main; main()" if command is RUN else code
    return python, "-c", PATIENT + code, *rest


def _refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), TIMEOUT).close()
    except ConnectionRefusedError:
        return True
    return False
