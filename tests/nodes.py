"""Real nodes on regtest, as the live tests start and stop them."""

import contextlib
import functools
import json
import os
import random
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lbcproxy import networks
from lbcproxy.networks import Network, output_address
from lbcproxy.wire.hashes import hash160
from tests.tools import TIMEOUT, program

__all__ = ["BTCD26", "ENCRYPTS", "KINDS", "Node", "NodeKind", "free_port", "wait_until"]

ANYONE = b"\x51"
"""The script OP_TRUE: whoever shows it may spend what was paid to its hash."""
PAY_TO_ANYONE = b"\xa9\x14" + hash160(ANYONE) + b"\x87"
SPEND = bytes((len(ANYONE),)) + ANYONE
"""What an input says to spend an output of `PAY_TO_ANYONE`."""

LOGIN = ("--rpcuser=u", "--rpcpass=p")


class NodeKind(NamedTuple):
    """A node program and the program that controls it."""

    node: str
    control: str
    network_id: str
    version: str = "v0.24.2"
    """The release of btcd that is needed; lbcd has no releases that can be installed."""

    @property
    def network(self) -> Network:
        """The network its nodes are on."""
        return networks.get(self.network_id)

    def programs(self) -> tuple[str, str]:
        """Return the paths of both, or end the test."""
        if self.node == "lbcd" and not all(map(os.environ.get, LBCD_VARIABLES)):
            # Not `absent`: no registry has lbcd, so that nobody can be required to have it.
            pytest.skip(f"set {' and '.join(LBCD_VARIABLES)} to the paths of lbcd and lbcctl")
        if self is BTCD26 and os.environ.get("LBCPROXY_WITHOUT_BTCD26"):
            pytest.skip("btcd v0.26.2 needs a newer Go than there is")
        how = "and" if self is BTCD26 else "or"  # both versions install programs of one name
        advice = (
            f"go install github.com/btcsuite/btcd@{self.version}"
            f" github.com/btcsuite/btcd/cmd/btcctl@{self.version}, {how}"
            f" set LBCPROXY_TEST_{self.node.upper()} and LBCPROXY_TEST_{self.control.upper()}"
        )
        return program(self.node, advice), program(self.control, advice)


LBCD_VARIABLES = ("LBCPROXY_TEST_LBCD", "LBCPROXY_TEST_LBCCTL")
KINDS = {
    "btcd": NodeKind("btcd", "btcctl", "bitcoin-regtest"),
    "lbcd": NodeKind("lbcd", "lbcctl", "lbry-regtest"),
}

BTCD26 = NodeKind("btcd26", "btcctl26", "bitcoin-regtest", "v0.26.2")
"""btcd that can encrypt, if it has the flag `ENCRYPTS`. Its programs are called btcd and btcctl."""
ENCRYPTS = "--v2transport"


def wait_until(what: str, true: Callable[[], Any], seconds: float = TIMEOUT) -> Any:
    """Ask until the answer is true, and return it; fails the test if that takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        answer = true()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


_chance = random.SystemRandom()  # pytest-randomly has `random` begin anew with each test


def free_port() -> int:
    """Return a port of 127.0.0.1 at which nobody listens, of those no connection is given.

    Tests in other processes look for one at the same time, so each has to draw its own.
    """
    while True:
        port = _chance.randrange(20_000, 32_000)
        with socket.socket() as probe:
            # As the nodes do it: a port whose last connection lingers is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


class Node:
    """One node, its files in a folder of its own; `connect` is the only peer it looks for.

    `flags` are more of its program's, each of which it has to have.
    """

    def __init__(
        self,
        kind: NodeKind,
        folder: Path,
        *,
        connect: int | None = None,
        flags: tuple[str, ...] = (),
    ) -> None:
        self.kind = kind
        self.port, self._control_port = free_port(), free_port()
        self._program, self._control = kind.programs()
        self._folder = folder
        self._connect = connect
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._settings = folder / "empty.conf"
        self._settings.touch()

    def start(self) -> None:
        """Start it and wait until it answers."""
        flags = [
            "--regtest",
            "--nodnsseed",
            "--notls",
            f"--configfile={self._settings}",
            f"--datadir={self._folder / 'data'}",
            f"--logdir={self._folder / 'logs'}",
            *LOGIN,
            f"--rpclisten=127.0.0.1:{self._control_port}",
            f"--listen=127.0.0.1:{self.port}",
            "--nostalldetect",
            "--nobanning",
            "--trickleinterval=100ms",
            f"--miningaddr={output_address(PAY_TO_ANYONE, self.kind.network)}",
        ]
        if self._connect is not None:
            flags.append(f"--connect=127.0.0.1:{self._connect}")
        command = [self._program, *_known(self._program, flags), *self._flags]
        with (self._folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        wait_until(f"{self.kind.node} answers", self._answers)

    def stop(self) -> None:
        """Let it shut down, and end it if it does not; nothing if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def control(self, *arguments: object) -> Any:
        """Ask it for something with its control program; the answer read as JSON, if it is."""
        done = self._ask(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr or done.stdout}"
        text = done.stdout.strip()
        try:
            return json.loads(text)
        except ValueError:
            return text

    @property
    def height(self) -> int:
        """How many blocks it has on the first one."""
        return int(self.control("getblockcount"))

    @property
    def tip(self) -> str:
        """Its last block's id."""
        return str(self.control("getbestblockhash"))

    @property
    def mempool(self) -> list[str]:
        """The ids of the transactions that it has and no block."""
        return list(self.control("getrawmempool"))

    def generate(self, blocks: int) -> list[str]:
        """Mine blocks, which pay `PAY_TO_ANYONE`, and give their ids."""
        return list(self.control("generate", blocks))

    def coinbase(self, height: int) -> tuple[str, int]:
        """Return the id of a block's first transaction and the base units it pays to anyone."""
        block = self.control("getblock", self.control("getblockhash", height), 2)
        transaction = (block.get("rawtx") or block["tx"])[0]
        return transaction["txid"], round(transaction["vout"][0]["value"] * 100_000_000)

    def _ask(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        flags = [
            "--regtest",
            "--notls",
            f"--configfile={self._settings}",
            *LOGIN,
            f"--rpcserver=127.0.0.1:{self._control_port}",
        ]
        command = [self._control, *_known(self._control, flags), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            output = (self._folder / "output.txt").read_text(errors="replace")
            pytest.fail(f"{self.kind.node} ended: {output[-2000:]}")
        return self._ask("getblockcount").returncode == 0


def _known(program: str, flags: list[str]) -> list[str]:
    """Leave out the flags that a program does not have: lbcd is an older btcd."""
    text = _help(program)
    return [flag for flag in flags if re.search(rf"{flag.partition('=')[0]}\b", text)]


@functools.cache
def _help(program: str) -> str:
    command = [program, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    return done.stdout + done.stderr
