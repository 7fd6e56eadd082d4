"""Litecoin Core, of the line of Bitcoin Core 0.21, which does not encrypt."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.nodes import free_port, wait_until
from tests.tools import TIMEOUT, program

__all__ = ["Node", "is_where"]

LOGIN = ("-rpcuser=u", "-rpcpassword=p")


class Node:
    """A litecoind, its files in a folder of its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        advice = "apt-get install litecoind"
        node, self._control = program("litecoind", advice), program("litecoin-cli", advice)
        folder.mkdir()
        self.port, self._rpc = free_port(), free_port()
        self._own = ("-regtest", f"-datadir={folder}", f"-rpcport={self._rpc}", *LOGIN)
        self._process = subprocess.Popen(
            [node, *self._own, f"-bind=127.0.0.1:{self.port}", "-fallbackfee=0.001", *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, *words: str) -> Any:
        """Have it do something, and return its answer."""
        command = [self._control, *self._own, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
        text = done.stdout.strip()
        return json.loads(text) if text[:1] in ("{", "[") or text.isdigit() else text

    def answers(self) -> bool:
        """Whether it is there already."""
        try:
            self.ask("getblockcount")
        except subprocess.CalledProcessError:
            return False
        return True

    def stop(self) -> None:
        """Let it shut down, and end it if it does not."""
        self._process.terminate()
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def is_where(one: Node, other: Node) -> None:
    """Wait until a node has the chain of another, and says that it has all."""
    height = other.ask("getblockcount")
    wait_until("it has the chain", lambda: one.ask("getblockcount") == height, 60)
    wait_until("it is done", lambda: not one.ask("getblockchaininfo")["initialblockdownload"], 60)
