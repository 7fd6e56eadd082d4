"""What `script/slow` runs: sessions come and go through `twistd`, which records and rotates.

btcd nodes sync again and again, scripted clients ask one for blocks, others swap messages with a
node of ours and end in every way there is. In the end the files, joined, are held against what taps
saw of every connection. It stops by itself, and uses less disk than `MAX_DISK`.

    python -m tests.live.slow [SECONDS]
"""

import contextlib
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lbcproxy.wire.envelope import frame
from lbcproxy.wire.hashes import from_display
from lbcproxy.wire.messages.inventory import GetData, InventoryVector, InvType
from tests.echo import Echo
from tests.live.joined import Witness, joined, verdicts
from tests.live.proxies import Client
from tests.nodes import KINDS, Node, wait_until
from tests.proxy.loops import break_off
from tests.services import Service
from tests.taps import Tap, TappedConnection

__all__ = ["Slow", "main"]

KIND = KINDS["btcd"]
BLOCKS = 300
SIZES = (8, 8, 8, 40, 300, 300, 2_000, 2_000, 70_000, 300_000)
"""Payloads of what is swapped; above 64 KiB they are passed on in parts."""
ROTATE = 3 << 20
RATE = 100_000
"""Bytes a second that each scripted client has pass in the long run."""
SLACK = 1 << 18
"""Bytes by which a file may be longer than twice its size: what was read at once."""
MAX_DISK = 1 << 30
SETTLE = 60.0
"""Seconds that whoever is at work in the end may take to finish."""
ENDS = ("close", "half close", "reset", "reset in the middle")


class Slow:
    """One run, with its nodes, its service and what was seen."""

    def __init__(self, folder: Path, seconds: float, rotate: int, rate: int, seed: int) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.counts: Counter[str] = Counter()
        self.witnesses: list[Witness] = []
        self.memory: list[int] = []
        self.failure: BaseException | None = None
        self._seconds = seconds
        self._rotate = rotate
        self._rate = rate
        self._chance = random.Random(seed)
        self._over = threading.Event()
        self._mining = threading.Lock()
        """Held by anyone who wants the chain to stay as it is."""
        self._blocks: list[str] = []

    def run(self) -> str:
        """Do it all and return the service's log; raises what went wrong on the way."""
        self._a = Node(KIND, self.folder / "a")
        self._echo = Echo()
        with contextlib.ExitStack() as stack:
            stack.callback(self._a.stop)
            stack.callback(self._echo.close)
            self._a.start()
            self._blocks = self._a.generate(BLOCKS)
            self._service = Service(self.folder / "proxy", self._config())
            stack.callback(self._service.close)
            self._node_port, self._echo_port = self._service.ports
            self._door = Tap(self._node_port)
            self._echo_door = Tap(self._echo_port)
            stack.callback(self._door.close)
            stack.callback(self._echo_door.close)
            self._live()
            self._finish()
            return self._service.output

    def _config(self) -> dict[str, Any]:
        ways = {"node": self._a.port, "echo": self._echo.port}
        return {
            "network": KIND.network.id,
            "record": f"{self.files}/%Y%m%d-%H%M%S.pcapng",
            "rotate_size": self._rotate,
            "proxies": [
                {"name": name, "listen": 0, "upstream": f"127.0.0.1:{port}"}
                for name, port in ways.items()
            ],
        }

    def _live(self) -> None:
        actors = [self._sync, self._mine, self._ask, self._swap, self._swap, self._hang_up]
        threads = [threading.Thread(target=self._act, args=(each,), daemon=True) for each in actors]
        steady = Client(KIND.network, self._door.port)
        steady.greet()  # one session lasts from the first file to the last
        for thread in threads:
            thread.start()
        deadline, nonce = time.monotonic() + self._seconds, 0
        while time.monotonic() < deadline and not self._over.wait(min(1.0, self._seconds / 10)):
            nonce += 1
            assert steady.ping(nonce) == nonce
            self._look()
        self._over.set()
        for thread in threads:
            thread.join(SETTLE)
            assert not thread.is_alive(), "an actor does not finish"
        self._steady = steady
        if self.failure is not None:
            raise self.failure

    def _finish(self) -> None:
        """Stop the service, with one session open, once nothing passes any more."""
        wait_until("nothing passes any more", self._is_quiet)
        code = self._service.end()
        self.counts["exit code"] = code
        for tap, port in ((self._door, self._node_port), (self._echo_door, self._echo_port)):
            self.witnesses += [Witness(each, port) for each in tap.connections]
        self._steady.close()

    def _is_quiet(self) -> bool:
        def total() -> int:
            return sum(
                len(each.to_target) + len(each.to_client)
                for tap in (self._door, self._echo_door)
                for each in tap.connections[-8:]
            )

        before = total()
        time.sleep(0.3)
        return total() == before

    def _look(self) -> None:
        status = Path(f"/proc/{self._service.process.pid}/status").read_text()
        self.memory.append(int(status.split("VmRSS:")[1].split()[0]) * 1024)
        used = sum(each.stat().st_size for each in self.files.iterdir())
        assert used < MAX_DISK, "the files are too long"
        assert self._service.process.poll() is None, "the service has ended"

    # Actors: each does one thing, and is called again until the time is over.

    def _act(self, once: Callable[[random.Random], None]) -> None:
        chance = random.Random(self._chance.random())
        try:
            while not self._over.is_set():
                once(chance)
        except BaseException as error:  # tests fail with something that is no Exception
            self.failure = self.failure or error
            self._over.set()

    def _sync(self, chance: random.Random) -> None:
        folder = self.folder / "b"
        node = Node(KIND, folder, connect=self._door.port)
        try:
            node.start()
            wait_until("B has A's blocks", lambda: node.height >= BLOCKS, 60)
            with self._mining:
                wait_until("both have the same tip", lambda: node.tip == self._a.tip, 60)
                wait_until("nothing passes any more", self._is_still)
                node.stop()
                self.counts["syncs of a btcd node"] += 1
        finally:
            node.stop()
            shutil.rmtree(folder)
        self._over.wait(chance.uniform(0, 2))

    def _is_still(self) -> bool:
        last = self._door.connections[-1]
        before = len(last.to_target) + len(last.to_client)
        time.sleep(0.1)
        return before == len(last.to_target) + len(last.to_client)

    def _mine(self, chance: random.Random) -> None:
        with self._mining:
            self._a.generate(1)
            self.counts["blocks mined"] += 1
        self._over.wait(chance.uniform(0.5, 2))

    def _hang_up(self, chance: random.Random) -> None:
        if not self._over.wait(chance.uniform(2, 20)):
            self._service.hang_up()
            self.counts["SIGHUPs"] += 1

    def _ask(self, chance: random.Random) -> None:
        """Ask btcd for all blocks a few times."""
        size, rounds = 0, chance.randrange(1, 6)
        wanted = tuple(
            InventoryVector(type=InvType.BLOCK, hash=from_display(each)) for each in self._blocks
        )
        with self._mining, Client(KIND.network, self._door.port) as client:
            client.greet()
            for nonce in range(rounds):
                client.send(GetData(inventory=wanted))
                size += sum(len(client.wait_for("block").raw) for _ in wanted)
                assert client.ping(nonce) == nonce
        self.counts["clients that asked btcd for blocks"] += 1
        self._over.wait(size / self._rate)

    def _swap(self, chance: random.Random) -> None:
        """Swap messages with our own node, and end in one of the ways there are."""
        end = chance.choice(ENDS)
        tapped = end in ENDS[:2]
        port = self._echo_door.port if tapped else self._echo_port
        client = Swapper(port)
        for _ in range(chance.randrange(1, 8)):
            client.swap(_messages(chance))
        if not tapped:  # a tap would not pass a reset on as it is: the client is its own
            self.witnesses.append(Witness(client.seen, self._echo_port, exact="middle" not in end))
        size = client.end(end, _messages(chance))
        self.counts[f"sessions ended by a {end}"] += 1
        self._over.wait(size / self._rate)


def _messages(chance: random.Random) -> bytes:
    sizes = chance.choices(SIZES, k=chance.randrange(1, 6))
    return b"".join(frame(KIND.network.magic, "bulk", chance.randbytes(size)) for size in sizes)


class Swapper:
    """A client of the node that sends everything back; it keeps what it sent and got."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 30)
        self.seen = TappedConnection(self._socket.getsockname()[1])

    def swap(self, data: bytes) -> None:
        """Send something and wait until all of it has come back."""
        sending = threading.Thread(target=self._send, args=(data,))
        sending.start()
        left = len(data)
        while left:
            left -= len(self._read())
        sending.join()

    def end(self, how: str, data: bytes) -> int:
        """End the session in a way, with something to send; return how many bytes passed in all."""
        if how == "half close":
            threading.Thread(target=self._send_and_finish, args=(data,)).start()
            while self._read():
                pass
            assert self.seen.to_client == self.seen.to_target
        if how == "reset in the middle":
            self._send(data)
        if how.startswith("reset"):
            break_off(self._socket)
        self._socket.close()
        return len(self.seen.to_target) + len(self.seen.to_client)

    def _send_and_finish(self, data: bytes) -> None:
        self._send(data)
        self._socket.shutdown(socket.SHUT_WR)

    def _send(self, data: bytes) -> None:
        self.seen.to_target_chunks.append((0.0, data))
        self._socket.sendall(data)

    def _read(self) -> bytes:
        data = self._socket.recv(65_536)
        self.seen.to_client_chunks.append((0.0, data))
        return data


def main(seconds: float, rotate: int = ROTATE, rate: int = RATE) -> None:
    """Run, and say what it was; raises AssertionError or the like if something does not hold."""

    def out(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    seed = random.randrange(1 << 32)
    out(f"{seconds:g} s, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="lbcproxy-slow-") as name:
        slow = Slow(Path(name), seconds, rotate, rate, seed)
        log = slow.run()
        paths = list(slow.files.iterdir())
        sizes = [each.stat().st_size for each in paths]
        sessions = joined(paths)
        found = verdicts(sessions, slow.witnesses)
        steady = max(session.files for session in sessions.values())
    for what, number in sorted((slow.counts + found).items()):
        out(f"{number:14,} {what}")
    out(f"{len(sizes):14,} files of {min(sizes):,} to {max(sizes):,} bytes, {sum(sizes):,} in all")
    out(f"{steady:14,} of them have a part of the longest session")
    early = slow.memory[len(slow.memory) // 10]
    out(f"{slow.memory[-1]:14,} bytes resident in the end, {early:,} after a tenth of the time")
    assert slow.counts["exit code"] == 0
    assert max(sizes) < 2 * rotate + SLACK
    assert "Traceback" not in log
    assert f"stopped: {len(sessions)} sessions" in log
    assert steady == len(sizes)
    assert found["sessions equal to the byte"]


if __name__ == "__main__":
    try:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0)
    except (AssertionError, pytest.fail.Exception, pytest.skip.Exception) as error:
        sys.exit(f"script/slow: {error}")
    sys.stdout.write("the files hold what the taps saw\n")
