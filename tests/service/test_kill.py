"""`kill -9` during traffic, 20 times at random moments: what had passed is in the file."""

import contextlib
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.capture.tools.repair import find_damage
from lbcproxy.errors import CaptureError
from lbcproxy.wire.envelope import frame
from tests.echo import Echo
from tests.live.proxies import lbcproxy
from tests.nodes import wait_until
from tests.services import RUN, TWISTD, Service, messages
from tests.taps import Tap, TappedConnection
from tests.tools import TIMEOUT

pytestmark = pytest.mark.slow

FILES, KILLS = 4, 5
SESSIONS = 3
AGE = 1.0
"""Seconds after which a message that passed may not be missing."""
MAGIC = networks.get("lbry-regtest").magic
SIZES = (8, 8, 8, 40, 300, 300, 2_000, 30_000, 200_000)
"""Payloads; the longest are passed on in parts."""
RATE = 1_500_000
"""Bytes a second that each client sends, in bursts: a file must be read in the test's time."""
HURRY = 0.1
"""Seconds before the kill in which they send without a pause, so that the disk is busy."""
SEED = int(os.environ.get("LBCPROXY_TEST_SEED", random.randrange(1 << 32)))


class Traffic:
    """Clients that send bursts of messages through a tap and the proxy, and wait for them.

    They pause between them until they are told to `hurry`.
    """

    def __init__(self, port: int, seed: int) -> None:
        self.tap = Tap(port)
        self.hurry = threading.Event()
        self._over = False
        self._threads = [
            threading.Thread(target=self._swap, args=(random.Random(seed + number),), daemon=True)
            for number in range(SESSIONS)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Wait for the clients, whose sessions are over, and end the tap."""
        self._over = True
        self.hurry.set()
        for thread in self._threads:
            thread.join(TIMEOUT)
        self.tap.close()

    def _swap(self, chance: random.Random) -> None:
        address = ("127.0.0.1", self.tap.port)
        with contextlib.suppress(OSError), socket.create_connection(address, TIMEOUT) as client:
            while not self._over:
                sizes = chance.choices(SIZES, k=20)
                data = b"".join(frame(MAGIC, "bulk", chance.randbytes(size)) for size in sizes)
                client.sendall(data)
                left = len(data)
                while left:
                    got = client.recv(65_536)
                    if not got:
                        return
                    left -= len(got)
                self.hurry.wait(len(data) / RATE)


def completed(chunks: list[tuple[float, bytes]], until: float) -> list[bytes]:
    """Return the messages that a tap saw whole before a moment."""
    data = memoryview(b"".join(each for moment, each in list(chunks) if moment < until))
    found = []
    while len(data) >= 24 and len(data) >= (size := 24 + int.from_bytes(data[16:20], "little")):
        found.append(bytes(data[:size]))
        data = data[size:]
    return found


def oldest_missing(chunks: list[tuple[float, bytes]], size: int) -> float | None:
    """Return the moment of the first chunk that is not within so many bytes; None if all are."""
    total = 0
    for moment, data in list(chunks):
        total += len(data)
        if total > size:
            return moment
    return None


@pytest.fixture
def echo() -> Iterator[Echo]:
    """Run a node that sends everything back."""
    node = Echo()
    yield node
    node.close()


def run_until_killed(
    folder: Path, config: dict[str, Any], command: tuple[str, ...], chance: random.Random
) -> tuple[float, list[TappedConnection]]:
    """Run it with traffic, kill it at a random moment; return that and what a tap saw."""
    seconds, hurry = chance.uniform(AGE + 0.1, AGE + 0.6), chance.uniform(0, HURRY)
    say(f"kill -9 after {seconds + hurry:.3f} s")
    with closing(Service(folder, config, command)) as service:
        with closing(Traffic(service.ports[0], chance.randrange(1 << 32))) as traffic:
            wait_until("all clients talk", lambda: talking(traffic.tap) == SESSIONS)
            time.sleep(seconds)
            traffic.hurry.set()
            time.sleep(hurry)  # the moment that is tested
            killed = time.monotonic()
            service.end(signal.SIGKILL)
        return killed, traffic.tap.connections


@pytest.mark.parametrize("number", range(FILES))
def test_what_passed_a_second_before_a_kill_is_recorded(tmp_path, echo, number, count):
    """And the next run continues the same file, with or without `repair`."""
    chance = random.Random(SEED + number)
    path = tmp_path / "it.pcapng"
    proxy = {"listen": 0, "upstream": f"127.0.0.1:{echo.port}"}
    config = {"network": "lbry-regtest", "record": path.name, "proxies": [proxy]}
    command = (TWISTD, RUN)[number % 2]
    before: set[int] = set()
    for kill in range(KILLS):
        count(f"kill -9 (LBCPROXY_TEST_SEED={SEED})")
        killed, tapped = run_until_killed(tmp_path, config, command, chance)
        if kill < 2 and not is_torn(path):  # a crash of the machine would
            os.truncate(path, path.stat().st_size - chance.randrange(1, 100))
        count(f"of them left {'a torn tail' if is_torn(path) else 'a whole file'}")
        found = messages(path, torn=True)
        assert before <= found.keys()
        for each in tapped:
            check(each, found[each.port], killed)
        before = set(found)
        if kill % 2:
            say(lbcproxy("repair", path))
            assert not is_torn(path)
    recorded = entries(path)  # not of `found`: a later client may have an earlier one's port
    with closing(Service(tmp_path, config, command)) as service:
        assert service.end() == 0
    assert len(list(open_capture(path))) == recorded


def entries(path: Path) -> int:
    """How many messages are in a file, before what a crash left."""
    found = 0
    with contextlib.suppress(CaptureError):
        for _ in open_capture(path):
            found += 1
    return found


def talking(tap: Tap) -> int:
    """How many clients have had an answer."""
    return sum(bool(each.to_client_chunks) for each in list(tap.connections))


def is_torn(path: Path) -> bool:
    """Whether a crash left an incomplete block at the end of a file; the rest must be complete."""
    with path.open("rb") as file:
        found = find_damage(file)
    say(f"{found.size:,} bytes, of which {found.size - found.kept:,} are torn")
    assert found.only_tail
    return bool(found.damages)


def say(text: str) -> None:
    """Print, for whoever has to find out why it failed."""
    sys.stdout.write(text + "\n")


def check(tapped: TappedConnection, found: tuple[list[bytes], list[bytes]], killed: float) -> None:
    """Hold a session of the capture against what the tap saw of it."""
    both = zip((tapped.to_target_chunks, tapped.to_client_chunks), found, strict=True)
    for chunks, recorded in both:
        expected = completed(chunks, killed - AGE)
        assert expected  # not an empty truth
        assert recorded[: len(expected)] == expected
        stream = b"".join(recorded)
        passed = b"".join(data for _, data in chunks)
        assert stream[: len(passed)] == passed[: len(stream)]
        missing = oldest_missing(chunks, len(stream))
        if missing is not None:
            say(f"oldest missing: {(killed - missing) * 1000:.1f} ms before the kill")
